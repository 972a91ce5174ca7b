//! Against gateways that play a script.

use std::future::pending;
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::proxy::Proxies;
use crate::tls::Tls;

/// What a gateway does with a connection.
#[derive(Clone, Copy)]
enum Act {
    /// Answers the upgrade.
    Upgrade,
    /// Closes at once.
    Close,
    /// Resets at once.
    Reset,
    /// Takes the request, and closes without an answer.
    CloseInstead,
    /// Takes the request, sends a part of an answer, and closes.
    CloseInAnswer,
}

/// A gateway that plays its script, one act a connection; the last is repeated.
struct Gateway {
    port: u16,
    /// What has happened, such as `connected` or `closed`, each with the connection's number.
    seen: Arc<Mutex<Vec<(&'static str, usize)>>>,
    /// Lets a step of a gateway that waits for it go on.
    go: Arc<Notify>,
    tls: Tls,
}

impl Gateway {
    async fn new(script: &'static [Act]) -> Self {
        Self::start(script, None).await
    }

    /// One that serves TLS, and waits to be told before TLS and before its answer.
    async fn slow() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let tls = (TlsAcceptor::from(Arc::new(config)), made.cert.pem());
        Self::start(&[Act::Upgrade], Some(tls)).await
    }

    async fn start(script: &'static [Act], tls: Option<(TlsAcceptor, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, go) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Notify>::default());
        let trusted = match &tls {
            None => Tls::new(None).unwrap(),
            Some((_, pem)) => {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), pem).unwrap();
                Tls::new(Some(file.path())).unwrap()
            }
        };
        let (kept, goes) = (seen.clone(), go.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let socket = listener.accept().await.unwrap().0;
                let act = script[number.min(script.len() - 1)];
                let (seen, go) = (kept.clone(), goes.clone());
                let tell = move |what| seen.lock().unwrap().push((what, number));
                tell("connected");
                match tls.clone() {
                    None => drop(tokio::spawn(play(socket, act, tell))),
                    Some((acceptor, _)) => drop(tokio::spawn(async move {
                        // The other side has begun, and with it the time for it.
                        socket.readable().await.unwrap();
                        tell("hello");
                        go.notified().await;
                        if let Ok(socket) = acceptor.accept(socket).await {
                            answer(socket, Some(go), tell).await;
                        }
                    })),
                }
            }
        });
        Self { port, seen, go, tls: trusted }
    }

    fn url(&self, scheme: &str) -> SecretString {
        format!("{scheme}://localhost:{}/session?sessionId=s-1&token=t", self.port).into()
    }

    fn net(&self) -> Net {
        Net { tls: self.tls.clone(), proxies: Proxies::none() }
    }

    async fn transport(&self, scheme: &str) -> Result<GatewayTransport, DialError> {
        connect(address(self.url(scheme).expose_secret())?.1, &self.net()).await
    }

    async fn dial(
        &self,
        scheme: &str,
        transport: Option<GatewayTransport>,
    ) -> Result<Socket, DialError> {
        let made = |transport: GatewayTransport| Preconnect {
            addr: transport.addr.clone(),
            transport: MaybeDone::Done(Ok(transport)),
        };
        Ok(dial(&self.url(scheme), &"t".into(), &self.net(), transport.map(made)).await?.0)
    }

    async fn has_seen(&self, what: &'static str, number: usize) {
        while !self.seen.lock().unwrap().contains(&(what, number)) {
            yield_now().await;
        }
    }

    fn count(&self, what: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(seen, _)| *seen == what).count()
    }
}

async fn play(mut socket: TcpStream, act: Act, tell: impl Fn(&'static str)) {
    match act {
        Act::Upgrade => return answer(socket, None, tell).await,
        Act::Close => drop(socket),
        Act::Reset => {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            drop(socket);
        }
        Act::CloseInstead => drop(request(&mut socket).await),
        Act::CloseInAnswer => {
            request(&mut socket).await;
            socket.write_all(b"HTTP/1.1 101 Swi").await.unwrap();
        }
    }
    tell("closed");
}

async fn request(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers an upgrade, once it is told to, and keeps the connection.
async fn answer(mut socket: impl Io, go: Option<Arc<Notify>>, tell: impl Fn(&'static str)) {
    let Some(head) = request(&mut socket).await else { return tell("closed") };
    tell("asked");
    if let Some(go) = go {
        go.notified().await;
    }
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.flush().await;
    tell("upgraded");
    let _ = socket.read_to_end(&mut Vec::new()).await;
    tell("closed");
}

/// Lets time pass that nobody has to wait for.
async fn advance(millis: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(millis)).await;
    tokio::time::resume();
}

/// A gateway that has moved, and whose old address may answer nothing any more.
#[tokio::test]
async fn a_connection_made_ahead_to_another_gateway_is_closed_and_not_waited_for() {
    let (old, new) = (Gateway::new(&[Act::Upgrade]).await, Gateway::new(&[Act::Upgrade]).await);
    let addr = address(old.url("ws").expose_secret()).unwrap().1;
    let net = old.net();
    let half_made =
        Preconnect { addr: addr.clone(), transport: maybe_done(pending().boxed_local()) };
    let mut made = Preconnect::new(addr, &net);
    assert!(made.made().await);
    for ahead in [half_made, made] {
        dial(&new.url("ws"), &"t".into(), &net, Some(ahead)).await.unwrap();
    }
    old.has_seen("closed", 0).await;
    assert_eq!((old.count("upgraded"), new.count("upgraded")), (0, 2));
}

#[tokio::test]
async fn a_connection_that_is_still_being_made_ahead_is_waited_for() {
    let gateway = Gateway::new(&[Act::Upgrade]).await;
    let (net, url) = (gateway.net(), gateway.url("ws"));
    let ahead = Preconnect::new(address(url.expose_secret()).unwrap().1, &net);
    dial(&url, &"t".into(), &net, Some(ahead)).await.unwrap();
    assert_eq!((gateway.count("connected"), gateway.count("upgraded")), (1, 1));
}

#[tokio::test]
async fn a_connection_that_was_made_ahead_is_used() {
    let gateway = Gateway::new(&[Act::Upgrade]).await;
    let transport = gateway.transport("ws").await.unwrap();
    gateway.has_seen("connected", 0).await;
    gateway.dial("ws", Some(transport)).await.unwrap();
    assert_eq!((gateway.count("connected"), gateway.count("upgraded")), (1, 1));
}

#[tokio::test]
async fn a_connection_that_was_made_ahead_and_is_closed_is_made_anew() {
    for script in [
        &[Act::Close, Act::Upgrade][..],
        &[Act::Reset, Act::Upgrade],
        &[Act::CloseInstead, Act::Upgrade],
    ] {
        let gateway = Gateway::new(script).await;
        let transport = gateway.transport("ws").await.unwrap();
        if !matches!(script[0], Act::CloseInstead) {
            gateway.has_seen("closed", 0).await;
        }
        gateway.dial("ws", Some(transport)).await.unwrap();
        assert_eq!((gateway.count("connected"), gateway.count("upgraded")), (2, 1));
    }
}

#[tokio::test]
async fn a_connection_that_was_not_made_ahead_is_made_once() {
    for act in [&[Act::Close][..], &[Act::Reset], &[Act::CloseInstead]] {
        let gateway = Gateway::new(act).await;
        let error = gateway.dial("ws", None).await.unwrap_err();
        assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
        assert_eq!(gateway.count("connected"), 1);

        // The one that is made in place of one that was closed is no other.
        let gateway = Gateway::new(act).await;
        let transport = gateway.transport("ws").await.unwrap();
        let error = gateway.dial("ws", Some(transport)).await.unwrap_err();
        assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
        assert_eq!(gateway.count("connected"), 2);
    }
}

#[tokio::test]
async fn what_breaks_in_the_answer_is_not_tried_again() {
    let gateway = Gateway::new(&[Act::CloseInAnswer, Act::Upgrade]).await;
    let transport = gateway.transport("ws").await.unwrap();
    let error = gateway.dial("ws", Some(transport)).await.unwrap_err();
    assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
    assert_eq!(gateway.count("connected"), 1);
}

#[tokio::test]
async fn a_connection_that_was_made_more_than_2_s_ahead_is_not_used() {
    for (millis, connections) in [(1_000, 1), (2_100, 2)] {
        let gateway = Gateway::new(&[Act::Upgrade]).await;
        let mut transport = gateway.transport("ws").await.unwrap();
        // A machine that is busy for long changes nothing.
        transport.made.1 = SystemTime::now() + Duration::from_secs(60);
        tokio::time::pause();
        transport.made.0 = Instant::now();
        tokio::time::advance(Duration::from_millis(millis)).await;
        let dialled = gateway.dial("ws", Some(transport));
        tokio::time::resume();
        dialled.await.unwrap();
        assert_eq!(gateway.count("connected"), connections, "{millis}");
    }
    // The other clock goes on while the machine sleeps.
    let gateway = Gateway::new(&[Act::Upgrade]).await;
    let mut transport = gateway.transport("ws").await.unwrap();
    transport.made.1 -= Duration::from_secs(3);
    gateway.dial("ws", Some(transport)).await.unwrap();
    assert_eq!(gateway.count("connected"), 2);
}

/// 6 s for TLS leave 4 s for the upgrade, whether the connection is made ahead or not.
#[tokio::test]
async fn tls_and_upgrade_have_one_time_together() {
    for (is_ahead, is_in_time) in [(false, true), (false, false), (true, true), (true, false)] {
        let gateway = Gateway::slow().await;
        let dialled = async {
            let transport = match is_ahead {
                true => Some(gateway.transport("wss").await.unwrap()),
                false => None,
            };
            gateway.dial("wss", transport).await
        };
        let passes = async {
            gateway.has_seen("hello", 0).await;
            advance(6_000).await;
            gateway.go.notify_one();
            gateway.has_seen("asked", 0).await;
            advance(if is_in_time { 2_000 } else { 4_500 }).await;
            gateway.go.notify_one();
        };
        let (dialled, ()) = tokio::join!(dialled, passes);
        match dialled {
            Ok(_) => assert!(is_in_time, "ahead: {is_ahead}"),
            Err(DialError::Silent { within, .. }) => {
                assert!(!is_in_time && within.as_secs() == 10, "ahead: {is_ahead}");
            }
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(gateway.count("connected"), 1);
    }
}

#[tokio::test]
async fn tls_alone_has_no_more_time() {
    let gateway = Gateway::slow().await;
    let passes = async {
        gateway.has_seen("hello", 0).await;
        advance(10_100).await;
    };
    let (dialled, ()) = tokio::join!(gateway.dial("wss", None), passes);
    assert!(matches!(dialled, Err(DialError::Silent { .. })), "{dialled:?}");
}
