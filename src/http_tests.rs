//! Which of the kept connections a call uses.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::yield_now;

use aliyun_client::ecs::TerminalSession;
use aliyun_client::openapi::scripted::{
    self, config as plain, harmful, header, query, session, start,
};
use aliyun_client::openapi::{Client, Config, Error as CallError, NetworkError};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::cloud::Endpoint;
use crate::explain::{Explain as _, Report};
use crate::tls::{CHECKED_BY_SYSTEM, Fault, Tls};

const SESSION: &str = r#"{"SessionId":"s-1","SecurityToken":"t","WebSocketUrl":"wss://h"}"#;
const AGAIN: &str = r#"{"Code":"IdempotentProcessing","Message":"m"}"#;

/// What a server has seen, and how it is to go on.
struct State {
    /// The connection, counted from 0, and the head of each request.
    requests: Mutex<Vec<(usize, String)>>,
    /// The connections before this one take requests and answer none.
    silent_before: AtomicUsize,
    /// They send the first half of each answer all the same.
    begins: AtomicBool,
    /// What is answered on each connection from this one on.
    refused_from: AtomicUsize,
    /// So many requests have to be there before any is answered.
    together: usize,
}

/// A server that keeps its connections.
struct Server {
    port: u16,
    state: Arc<State>,
    /// Lets the silent connections answer after all.
    answers: watch::Sender<bool>,
}

impl Server {
    async fn new(together: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            requests: Mutex::default(),
            silent_before: AtomicUsize::new(0),
            begins: AtomicBool::new(false),
            refused_from: AtomicUsize::new(usize::MAX),
            together,
        });
        let answers = watch::Sender::new(false);
        let (kept, subscribed) = (state.clone(), answers.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let socket = listener.accept().await.unwrap().0;
                tokio::spawn(serve(socket, number, kept.clone(), subscribed.subscribe()));
            }
        });
        Self { port, state, answers }
    }

    fn client(&self) -> (Client, Http) {
        let http = http(Tls::new(None).unwrap());
        (Client::new(config(&self.endpoint(), &http)).unwrap(), http)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn requests(&self) -> Vec<(usize, String)> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The connection of each request so far.
    fn connections(&self) -> Vec<usize> {
        self.requests().iter().map(|(connection, _)| *connection).collect()
    }

    /// The connections that there are, and so many that follow, answer nothing.
    fn silence(&self, more: usize) {
        let there = self.connections().into_iter().max().map_or(0, |last| last + 1);
        self.state.silent_before.store(there + more, Ordering::Relaxed);
    }

    async fn has_seen(&self, count: usize) {
        while self.requests().len() < count {
            yield_now().await;
        }
    }
}

async fn serve(
    mut socket: tokio::net::TcpStream,
    number: usize,
    state: Arc<State>,
    mut answers: watch::Receiver<bool>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        state.requests.lock().unwrap().push((number, String::from_utf8(head).unwrap()));
        while state.requests.lock().unwrap().len() < state.together {
            yield_now().await;
        }
        let is_refused = number >= state.refused_from.load(Ordering::Relaxed);
        let (status, body) = if is_refused { ("400 x", AGAIN) } else { ("200 OK", SESSION) };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut answer = &*answer;
        if number < state.silent_before.load(Ordering::Relaxed) {
            if state.begins.load(Ordering::Relaxed) {
                let (half, rest) = answer.split_at(answer.len() - length / 2);
                socket.write_all(half.as_bytes()).await.unwrap();
                answer = rest;
            }
            if answers.wait_for(|answers| *answers).await.is_err() {
                return;
            }
        }
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Lets time pass that nobody has to wait for.
async fn advance(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// A call during which something happens.
async fn meanwhile(
    client: &Client,
    happens: impl Future<Output = ()>,
) -> Result<TerminalSession, CallError> {
    tokio::join!(start(client), happens).0
}

#[tokio::test]
async fn after_a_try_without_an_answer_no_kept_connection_is_used_again() {
    no_kept_connection_is_used_after(false).await;
}

#[tokio::test]
async fn after_an_answer_that_stops_no_kept_connection_is_used_again() {
    no_kept_connection_is_used_after(true).await;
}

async fn no_kept_connection_is_used_after(begins: bool) {
    let server = Server::new(2).await;
    server.state.begins.store(begins, Ordering::Relaxed);
    let (client, _) = server.client();
    let (one, other) = tokio::join!(start(&client), start(&client));
    one.unwrap();
    other.unwrap();
    let mut kept = server.connections();
    kept.sort_unstable();
    assert_eq!(kept, [0, 1]);

    server.silence(0);
    let passes = async {
        server.has_seen(3).await;
        // What is answered comes here.
        for _ in 0..100 {
            yield_now().await;
        }
        advance(5).await;
    };
    meanwhile(&client, passes).await.unwrap();
    let connections = server.connections();
    assert!(connections[2] < 2, "a kept connection comes first");
    assert_eq!(connections[3..], [2], "the other kept connection is not tried");
    let requests = server.requests();
    let token = |at: usize| query(&requests[at].1, "ClientToken");
    let nonce = |at: usize| header(&requests[at].1, "x-acs-signature-nonce").to_owned();
    assert_eq!(token(2), token(3));
    assert_ne!(nonce(2), nonce(3));

    // The new connection is kept in its turn.
    start(&client).await.unwrap();
    assert_eq!(server.connections()[4..], [2]);
}

#[tokio::test]
async fn four_seconds_are_no_reason_for_another_try() {
    let server = Server::new(1).await;
    server.silence(1);
    let (client, _) = server.client();
    // Beside it the time stands still, however long a busy machine takes for the answer.
    let (answered, is_answered) = std::sync::mpsc::channel::<()>();
    let beside = tokio::task::spawn_blocking(move || is_answered.recv());
    let passes = async {
        server.has_seen(1).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(4)).await;
        for _ in 0..100 {
            yield_now().await;
        }
        server.answers.send_replace(true);
    };
    meanwhile(&client, passes).await.unwrap();
    drop(answered);
    beside.await.unwrap().unwrap_err();
    assert_eq!(server.connections(), [0]);
}

/// A new connection may be as silent as the first, and each has its own time.
#[tokio::test]
async fn a_service_that_stays_silent_ends_the_call_in_its_time() {
    let server = Server::new(1).await;
    server.silence(9);
    let (client, _) = server.client();
    let passes = async {
        server.has_seen(1).await;
        advance(5).await;
        server.has_seen(2).await;
        advance(5).await;
        server.has_seen(3).await;
        advance(5).await;
    };
    let error = meanwhile(&client, passes).await.unwrap_err();
    assert_eq!(server.connections(), [0, 1, 2]);
    assert!(error.to_string().contains("no answer within 15 s"), "{error}");
    assert_eq!(error.tries(), 3);
}

#[tokio::test]
async fn an_answer_that_comes_late_counts_all_the_same() {
    // The try beside it is silent too, or is told that the first is still being worked on.
    for refused_from in [usize::MAX, 1] {
        let server = Server::new(1).await;
        server.silence(if refused_from == 1 { 1 } else { 9 });
        server.state.refused_from.store(refused_from, Ordering::Relaxed);
        let (client, _) = server.client();
        let passes = async {
            server.has_seen(1).await;
            advance(5).await;
            server.has_seen(if refused_from == 1 { 4 } else { 2 }).await;
            server.answers.send_replace(true);
        };
        let session = meanwhile(&client, passes).await.unwrap();
        assert_eq!(session.session_id, "s-1");
    }
}

#[tokio::test]
async fn what_may_have_been_obeyed_is_waited_for_and_not_sent_again_unless_that_does_no_harm() {
    let server = Server::new(1).await;
    server.silence(1);
    let (client, _) = server.client();
    let passes = async {
        server.has_seen(1).await;
        advance(5).await;
        for _ in 0..100 {
            yield_now().await;
        }
        server.answers.send_replace(true);
    };
    let (answered, ()) = tokio::join!(harmful(&client), passes);
    answered.unwrap();
    assert_eq!(server.connections(), [0]);
}

#[tokio::test]
async fn a_call_that_is_given_up_without_an_answer_leaves_no_connection() {
    let server = Server::new(2).await;
    let (client, _) = server.client();
    let (one, other) = tokio::join!(start(&client), start(&client));
    one.unwrap();
    other.unwrap();
    server.silence(0);
    tokio::select! {
        _ = start(&client) => panic!("the connection is silent"),
        () = server.has_seen(3) => {}
    }
    start(&client).await.unwrap();
    assert_eq!(server.connections()[3..], [2]);
}

/// The clock of the pool stands still meanwhile.
#[tokio::test]
async fn after_a_sleep_of_the_machine_no_kept_connection_is_used() {
    let server = Server::new(1).await;
    let (client, http) = server.client();
    start(&client).await.unwrap();
    start(&client).await.unwrap();
    http.sleep();
    start(&client).await.unwrap();
    start(&client).await.unwrap();
    assert_eq!(server.connections(), [0, 0, 1, 1]);
    for (_, request) in server.requests() {
        assert_eq!(header(&request, "user-agent"), crate::net::USER_AGENT);
    }
}

fn http(tls: Tls) -> Http {
    Http::new(Net { tls, proxies: Proxies::none() })
}

fn trusting(pem: &str) -> Http {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    http(Tls::new(Some(file.path())).unwrap())
}

fn config(endpoint: &str, http: &Http) -> Config {
    Config { http: Arc::new(http.clone()), ..plain(endpoint) }
}

/// All that a user or a log could see of an error.
fn shown(error: &CallError) -> String {
    format!("{}\n{error:?}", Report::new(error))
}

/// An HTTPS server for the given name, and the certificate that it shows.
async fn https(name: &str) -> (scripted::Server, String) {
    https_as(name, rcgen::IsCa::NoCa).await
}

/// A server whose certificate signs itself, as one of an authority or not.
async fn https_as(name: &str, is_ca: rcgen::IsCa) -> (scripted::Server, String) {
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = is_ca;
    let cert = params.self_signed(&signing_key).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accept = move |socket| {
        let accepted = acceptor.accept(socket);
        async move { accepted.await.ok() }
    };
    (scripted::Server::with(&[session()], accept).await, cert.pem())
}

fn fault(error: &CallError) -> &Fault {
    match error.network() {
        Some(NetworkError::Tls { fault, .. }) => fault.downcast_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Accepts connections, sends these bytes and waits.
async fn raw(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(bytes).await;
            open.push(socket);
        }
    });
    port
}

/// As `openssl req -x509` makes it for a private cloud.
#[tokio::test]
async fn a_server_s_own_certificate_is_trusted_where_it_was_given() {
    let authority = || rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (server, pem) = https_as("localhost", authority()).await;
    let mut config = plain(&format!("https://localhost:{}", server.port));
    config.http = Arc::new(trusting(&pem));
    start(&Client::new(config.clone()).unwrap()).await.unwrap();

    let (_, stranger) = https_as("localhost", authority()).await;
    config.http = Arc::new(trusting(&stranger));
    let error = start(&Client::new(config).unwrap()).await.unwrap_err();
    let unknown = if CHECKED_BY_SYSTEM { Fault::NotTrusted } else { Fault::SelfSigned };
    assert_eq!(fault(&error), &unknown);
    assert!(shown(&error).contains("not trusted") && shown(&error).contains("--ca-file"));
}

#[tokio::test]
async fn certificates_are_checked() {
    let (server, pem) = https("localhost").await;
    let endpoint = format!("https://localhost:{}", server.port);
    let mut config = config(&endpoint, &trusting(&pem));
    start(&Client::new(config.clone()).unwrap()).await.unwrap();

    let (_, stranger) = https("localhost").await;
    config.http = Arc::new(trusting(&stranger));
    let error = start(&Client::new(config.clone()).unwrap()).await.unwrap_err();
    assert_eq!((fault(&error), error.tries()), (&Fault::NotTrusted, 1));
    assert!(error.remedy().unwrap().contains("--ca-file"));

    let (server, pem) = https("other.example.com").await;
    config.endpoint = Endpoint::parse(&format!("https://localhost:{}", server.port)).unwrap();
    config.http = Arc::new(trusting(&pem));
    let error = start(&Client::new(config.clone()).unwrap()).await.unwrap_err();
    let names = if CHECKED_BY_SYSTEM { &[][..] } else { &["other.example.com"] };
    let presented = names.iter().map(ToString::to_string).collect();
    assert_eq!(fault(&error), &Fault::WrongName { presented });
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_and_one_that_says_nothing() {
    let mut config = plain(&format!("https://localhost:{}", raw(b"HTTP/1.1 400 x\r\n\r\n").await));
    config.http = Arc::new(trusting(&https("x").await.1));
    let error = start(&Client::new(config.clone()).unwrap()).await.unwrap_err();
    assert_eq!(fault(&error), &Fault::NotTls);

    config.endpoint = Endpoint::parse(&format!("https://localhost:{}", raw(b"").await)).unwrap();
    config.connect_timeout = Duration::from_millis(50);
    config.max_tries = 2;
    let error = start(&Client::new(config).unwrap()).await.unwrap_err();
    assert!(matches!(error.network(), Some(NetworkError::TlsTimeout { .. })), "{error:?}");
    assert_eq!(error.tries(), 2);
}

#[test]
fn an_unencrypted_endpoint_needs_no_certificates() {
    let mut config = plain("http://127.0.0.1:1");
    // Nothing is read of it before TLS is used.
    let tls = Tls::new(None).unwrap();
    config.http = Arc::new(http(tls.clone()));
    assert!(Client::new(config.clone()).is_ok());
    assert!(format!("{tls:?}").contains("built: false"));
    assert!(Tls::new(Some(std::path::Path::new("/no/such/file"))).is_err());
}

#[tokio::test]
async fn a_refused_connection_and_a_name_that_does_not_resolve() {
    // Nobody listens there, and nobody else is given the port.
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = bound.local_addr().unwrap().port();
    let error = start(
        &Client::new(config(&format!("http://127.0.0.1:{port}"), &http(Tls::new(None).unwrap())))
            .unwrap(),
    )
    .await;
    let error = error.unwrap_err();
    assert!(matches!(error.network(), Some(NetworkError::Refused { .. })), "{error:?}");
    assert_eq!(error.tries(), 4);

    let mut config = plain("https://no-such-host.invalid");
    let cert = rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap().cert;
    config.http = Arc::new(trusting(&cert.pem()));
    let error = start(&Client::new(config).unwrap()).await.unwrap_err();
    assert!(matches!(error.network(), Some(NetworkError::Dns { .. })), "{error:?}");
    assert!(error.to_string().contains("'no-such-host.invalid' does not resolve"), "{error}");
}
