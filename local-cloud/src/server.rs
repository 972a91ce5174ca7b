//! The listener: HTTP or HTTPS, the API on it, the gateway behind an upgrade, and the question for temporary keys.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    api::{self, Body, Cut},
    command::{self, KEYS_PATH, Task},
    gateway::{self, Admission, Io},
    sources,
    world::Shared,
};

/// Where the gateway is.
const SESSION_PATH: &str = "/session";
/// Largest body of a call.
const MAX_BODY: usize = 1 << 20;
/// So many connections at a time; more are dropped.
const MAX_CONNECTIONS: usize = 4_096;
/// How long a TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// After accept failed (too many descriptors), before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is dropped, and all connections and commands with it.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut tasks: mpsc::Receiver<Vec<Task>>,
) {
    let (mut connections, mut commands) = (JoinSet::new(), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(connection(Arc::clone(&shared), tcp, tls.clone()));
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            Some(tasks) = tasks.recv() => {
                commands.spawn(command::run(Arc::clone(&shared), tasks));
            }
            Some(_) = commands.join_next() => {}
        }
    }
}

/// One connection: calls, and perhaps a session in the end.
async fn connection(shared: Arc<Shared>, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    let accepted = Instant::now();
    // Without it small frames would be late, but would come.
    let _ = tcp.set_nodelay(true);
    let io = match tls {
        None => Io::plain(tcp, Arc::clone(&shared.vanished)),
        Some(acceptor) => match timeout(TLS_TIMEOUT, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Io::tls(stream, Arc::clone(&shared.vanished)),
            Ok(Err(_)) | Err(_) => return, // the client did not like the certificate: that is its business
        },
    };
    let admitted: Mutex<Option<Admission>> = Mutex::new(None);
    let service = service_fn(|request| route(&shared, request, accepted, &admitted));
    // An error is a client that went away, or a fault that cut it off.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).with_upgrades().await;
    let admission = admitted.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(admission) = admission {
        admission.run(shared).await;
    }
}

async fn route(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    accepted: Instant,
    admitted: &Mutex<Option<Admission>>,
) -> Result<Response<Body>, Cut> {
    if request.uri().path() == SESSION_PATH {
        let (response, admission) = gateway::upgrade(shared, &mut request).await;
        *admitted.lock().unwrap_or_else(PoisonError::into_inner) = admission;
        return Ok(response);
    }
    if request.uri().path() == KEYS_PATH {
        return Ok(command::answer_key_query(shared, request.method(), request.uri()));
    }
    let source = sources::concerns(request.uri().path());
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    if let Some(part) = source {
        return sources::answer(shared, part, &parts, &body).await;
    }
    api::answer(shared, parts, body, accepted).await
}
