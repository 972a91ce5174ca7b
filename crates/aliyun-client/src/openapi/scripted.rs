//! A server that plays a script, for the tests of the client.

use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::config::Call;
use super::sign::Params;
use super::{Client, Config, Error};
use crate::credentials::{Credentials, Source};
use crate::ecs::{StartTerminalSession, TerminalSession};
use crate::endpoint::{Endpoint, Region};
use crate::transport::plain_client;

pub const SECRET: &str = "hush-secret+/=";
pub const TOKEN: &str = "hush-token+/=";

/// What a silent server keeps when the other side closes the connection.
pub const CLOSED: &str = "closed";

/// What the server does with one request.
#[derive(Clone)]
pub enum Act {
    /// Sends these bytes and closes the connection.
    Send(String),
    /// Reads the request and closes the connection.
    Close,
    /// Sends these bytes and says nothing more; keeps [`CLOSED`] when the other side closes.
    Stall(String),
    /// Reads the request and says nothing; keeps [`CLOSED`] when the other side closes.
    Silence,
}

pub fn json(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
    ))
}

pub fn refusal(code: &str) -> Act {
    json("400 Bad Request", "", &format!(r#"{{"Code":"{code}","Message":"m","RequestId":"R"}}"#))
}

pub fn session() -> Act {
    let body = r#"{"SessionId":"s-1","SecurityToken":"hush-t","WebSocketUrl":"wss://hush","RequestId":"R-ok"}"#;
    json("200 OK", "", body)
}

/// Plays its script, one act a connection, and keeps the requests; the last act is repeated.
pub struct Server {
    pub port: u16,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn new(script: &[Act]) -> Self {
        Self::with(script, |socket| std::future::ready(Some(socket))).await
    }

    /// The same, with something between the connection and the script, such as TLS.
    pub async fn with<F, T>(
        script: &[Act],
        accept: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, kept) = (script.to_vec(), requests.clone());
        tokio::spawn(async move {
            for at in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let act = script[at.min(script.len() - 1)].clone();
                let (kept, accepted) = (kept.clone(), accept(socket));
                tokio::spawn(async move {
                    if let Some(socket) = accepted.await {
                        play(socket, act, kept).await;
                    }
                });
            }
        });
        Self { port, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub async fn play(
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
        Act::Stall(_) | Act::Silence => {
            if let Act::Stall(bytes) = act {
                let _ = socket.write_all(bytes.as_bytes()).await;
            }
            let _ = socket.read_to_end(&mut Vec::new()).await;
            kept.lock().unwrap().push(CLOSED.to_owned());
        }
    }
}

pub fn config(endpoint: &str) -> Config {
    let source =
        Source::Environment { variable: "ALIBABA_CLOUD_ACCESS_KEY_ID".into(), temporary: true };
    let credentials = Credentials::new("LTAI0123456789", SECRET, Some(TOKEN), source).unwrap();
    let mut config = Config::new(
        Endpoint::parse(endpoint).unwrap(),
        Region::parse("cn-test").unwrap(),
        Arc::new(credentials),
        Arc::new(plain_client().unwrap()),
    );
    config.backoff = Duration::from_millis(2);
    config
}

pub fn client(server: &Server) -> Client {
    Client::new(config(&format!("http://127.0.0.1:{}", server.port))).unwrap()
}

pub async fn start(client: &Client) -> Result<TerminalSession, Error> {
    client.start_terminal_session(&StartTerminalSession::to_port("i-1", 22), pending()).await
}

/// All that a user or a log could see of an error.
pub fn shown(error: &Error) -> String {
    format!("{error}\n{error:?}")
}

pub fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {request}")).split_once(':').unwrap().1.trim()
}

pub fn query(request: &str, name: &str) -> String {
    let target = request.split(' ').nth(1).unwrap();
    let pairs = target.split_once('?').unwrap().1.split('&');
    let found = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    found.unwrap_or_else(|| panic!("no {name} in {request}")).1.to_owned()
}

/// A call that is not idempotent.
pub async fn harmful(client: &Client) -> Result<(), Error> {
    let call = Call {
        action: "Other",
        version: "1",
        params: Params::new(),
        idempotent: false,
        is_signed: true,
        is_last: false,
        secret: None,
        subject: None,
    };
    client.call(&call).await.map(drop)
}
