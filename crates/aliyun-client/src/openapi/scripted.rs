//! A server that plays a script, for the tests of the client.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Client, Config, Endpoint, Error, Region, StartTerminalSession, TerminalSession};
use crate::credentials::{Credentials, Source};
use crate::explain::Report;
use crate::http::Http;
use crate::net::Net;
use crate::proxy::Proxies;
use crate::tls::Tls;

pub(crate) const SECRET: &str = "hush-secret+/=";
pub(crate) const TOKEN: &str = "hush-token+/=";

/// What a silent server keeps when the other side closes the connection.
pub(crate) const CLOSED: &str = "closed";

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these bytes and closes the connection.
    Send(String),
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request and says nothing; keeps [`CLOSED`] when the other side closes.
    Silence,
}

pub(crate) fn json(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
    ))
}

pub(crate) fn refusal(code: &str) -> Act {
    json("400 Bad Request", "", &format!(r#"{{"Code":"{code}","Message":"m","RequestId":"R"}}"#))
}

pub(crate) fn session() -> Act {
    let body = r#"{"SessionId":"s-1","SecurityToken":"hush-t","WebSocketUrl":"wss://hush","RequestId":"R-ok"}"#;
    json("200 OK", "", body)
}

/// Plays its script, one act a connection, and keeps the requests; the last act is repeated.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn new(script: &[Act]) -> Self {
        Self::with(script, None).await
    }

    pub(crate) async fn with(script: &[Act], tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, kept) = (script.to_vec(), requests.clone());
        tokio::spawn(async move {
            for at in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let act = script[at.min(script.len() - 1)].clone();
                let (kept, tls) = (kept.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => play(socket, act, kept).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                play(socket, act, kept).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) async fn play(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    act: Act,
    kept: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    kept.lock().unwrap().push(String::from_utf8(request).unwrap());
    match act {
        Act::Send(bytes) => {
            let _ = socket.write_all(bytes.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
        Act::Close => {}
        Act::Silence => {
            let _ = socket.read_to_end(&mut Vec::new()).await;
            kept.lock().unwrap().push(CLOSED.to_owned());
        }
    }
}

pub(crate) fn config(endpoint: &str) -> Config {
    let source =
        Source::Environment { variable: "ALIBABA_CLOUD_ACCESS_KEY_ID".into(), temporary: true };
    let credentials = Credentials::new("LTAI0123456789", SECRET, Some(TOKEN), source).unwrap();
    let mut config = Config::new(
        Endpoint::parse(endpoint).unwrap(),
        Region::parse("cn-test").unwrap(),
        credentials,
        http(Tls::new(None).unwrap()),
    );
    config.backoff = Duration::from_millis(2);
    config
}

pub(crate) fn client(server: &Server) -> Client {
    Client::new(config(&format!("http://127.0.0.1:{}", server.port))).unwrap()
}

pub(crate) async fn start(client: &Client) -> Result<TerminalSession, Error> {
    client.start_terminal_session(&StartTerminalSession::to_port("i-1", 22), pending()).await
}

/// All that a user or a log could see of an error.
pub(crate) fn shown(error: &Error) -> String {
    format!("{}\n{error:?}", Report::new(error))
}

pub(crate) fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {request}")).split_once(':').unwrap().1.trim()
}

pub(crate) fn query(request: &str, name: &str) -> String {
    let target = request.split(' ').nth(1).unwrap();
    let pairs = target.split_once('?').unwrap().1.split('&');
    let found = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    found.unwrap_or_else(|| panic!("no {name} in {request}")).1.to_owned()
}

fn http(tls: Tls) -> Http {
    Http::new(Net { tls, proxies: Proxies::none() })
}

pub(crate) fn trusting(pem: &str) -> Http {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    http(Tls::new(Some(file.path())).unwrap())
}

/// An HTTPS server for the given name, and the certificate that it shows.
pub(crate) async fn https(name: &str) -> (Server, String) {
    https_as(name, rcgen::IsCa::NoCa).await
}

/// A server whose certificate signs itself, as one of an authority or not.
pub(crate) async fn https_as(name: &str, is_ca: rcgen::IsCa) -> (Server, String) {
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
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    (Server::with(&[session()], Some(acceptor)).await, cert.pem())
}
