//! A client as small as it can be, of the tests' own: signs a call, opens a WebSocket, writes frames.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in what they share")]

mod commands;
mod resuming;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use local_cloud::{Instance, LocalCloud};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest as _},
};

pub use commands::*;
pub use resuming::*;

pub const SOON: Duration = Duration::from_secs(10);

/// Whatever is awaited comes soon, or the test fails.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it did not come in time")
}

// ---------------------------------------------------------------- targets

/// Echoes what each connection sends, until it closes.
pub async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.set_nodelay(true).unwrap();
                let (mut from, mut to) = tcp.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addr
}

/// Says `hello N\n` on the Nth connection; closes it when a line has come.
pub async fn greeter() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut tcp, _)) = listener.accept().await {
            count += 1;
            let _ = tcp.write_all(format!("hello {count}\n").as_bytes()).await;
            let mut byte = [0];
            while matches!(tcp.read(&mut byte).await, Ok(1)) && byte[0] != b'\n' {}
        }
    });
    addr
}

pub async fn cloud_with(instance: Instance) -> LocalCloud {
    LocalCloud::builder().instance(instance).start().await.unwrap()
}

// ---------------------------------------------------------------- HTTP and the API

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One HTTP exchange over a connection of its own; nothing if it broke before the head was there.
pub async fn exchange(cloud: &LocalCloud, request: &str) -> Option<Answer> {
    let mut tcp = TcpStream::connect(cloud.addr()).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let _ = soon(tcp.read_to_end(&mut all)).await;
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let escape = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(escape).collect()
}

fn query(params: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> =
        params.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn fresh_nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A call, with all that can be got wrong about it.
#[derive(Clone)]
pub struct Call {
    pub action: String,
    pub params: BTreeMap<String, String>,
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub nonce: String,
    pub date: String,
    pub method: &'static str,
    pub version: &'static str,
}

impl Call {
    pub fn new(action: &str, params: &[(&str, &str)]) -> Self {
        let mut all: BTreeMap<String, String> =
            params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.entry("RegionId".to_owned()).or_insert_with(|| "cn-hangzhou".to_owned());
        Self {
            action: action.to_owned(),
            params: all,
            id: "testid".to_owned(),
            secret: "testsecret".to_owned(),
            token: None,
            nonce: fresh_nonce(),
            date: timestamp(SystemTime::now()),
            method: "POST",
            version: "2014-05-26",
        }
    }

    pub fn v3(&self) -> String {
        self.v3_tampered(|request| request)
    }

    /// The request, changed after it was signed.
    pub fn v3_tampered(&self, tamper: impl FnOnce(String) -> String) -> String {
        let mut headers = BTreeMap::from([
            ("host", "127.0.0.1".to_owned()),
            ("x-acs-action", self.action.clone()),
            ("x-acs-version", self.version.to_owned()),
            ("x-acs-date", self.date.clone()),
            ("x-acs-signature-nonce", self.nonce.clone()),
            ("x-acs-content-sha256", hex(&Sha256::digest(b""))),
        ]);
        if let Some(token) = &self.token {
            headers.insert("x-acs-security-token", token.clone());
            headers.insert("x-acs-accesskey-id", self.id.clone());
        }
        let lines: String = headers.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
        let names: Vec<&str> = headers.keys().copied().collect();
        let (names, query) = (names.join(";"), query(&self.params));
        let body = hex(&Sha256::digest(b""));
        let canonical = format!("{}\n/\n{query}\n{lines}\n{names}\n{body}", self.method);
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let head: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        tamper(format!(
            "{} /?{query} HTTP/1.1\r\n{head}authorization: ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.method, self.id
        ))
    }

    /// V1, with the call's own parameters in the query or in a form.
    pub fn v1(&self, form: bool) -> String {
        let mut common = BTreeMap::from([
            ("Action".to_owned(), self.action.clone()),
            ("Version".to_owned(), self.version.to_owned()),
            ("Format".to_owned(), "JSON".to_owned()),
            ("AccessKeyId".to_owned(), self.id.clone()),
            ("SignatureMethod".to_owned(), "HMAC-SHA1".to_owned()),
            ("SignatureVersion".to_owned(), "1.0".to_owned()),
            ("SignatureNonce".to_owned(), self.nonce.clone()),
            ("Timestamp".to_owned(), self.date.clone()),
        ]);
        if let Some(token) = &self.token {
            common.insert("SecurityToken".to_owned(), token.clone());
        }
        let mut all = common.clone();
        all.extend(self.params.clone());
        let to_sign = format!("{}&%2F&{}", self.method, encode(&query(&all)));
        let mut mac = Hmac::<Sha1>::new_from_slice(format!("{}&", self.secret).as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let (mut in_query, body) =
            if form { (common, query(&self.params)) } else { (all, String::new()) };
        in_query.insert("Signature".to_owned(), signature);
        let kind = if form { "content-type: application/x-www-form-urlencoded\r\n" } else { "" };
        format!(
            "{} /?{} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.method,
            // As Go's SDK escapes it: a space is a plus.
            query(&in_query).replace("%20", "+"),
            body.len()
        )
    }
}

pub async fn call(cloud: &LocalCloud, action: &str, params: &[(&str, &str)]) -> Answer {
    exchange(cloud, &Call::new(action, params).v3()).await.unwrap()
}

/// A session that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub id: String,
    pub token: String,
    pub url: String,
}

pub async fn start(cloud: &LocalCloud, instance: &str, port: u16) -> Started {
    let port = port.to_string();
    let params = [("InstanceId.1", instance), ("PortNumber", port.as_str())];
    started(&call(cloud, "StartTerminalSession", &params).await)
}

pub fn started(answer: &Answer) -> Started {
    let json = answer.json();
    let text = |name: &str| {
        json[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.body)).to_owned()
    };
    Started { id: text("SessionId"), token: text("SecurityToken"), url: text("WebSocketUrl") }
}

// ---------------------------------------------------------------- the stream

pub const INPUT: u32 = 0;
pub const OUTPUT: u32 = 1;
pub const CLOSE: u32 = 3;
pub const STATUS: u32 = 5;

pub fn frame(kind: u32, sequence: i64, payload: &[u8]) -> Bytes {
    frame_created(kind, sequence, payload, 1_700_000_000_000)
}

pub fn frame_created(kind: u32, sequence: i64, payload: &[u8], created_ms: u64) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32_le(kind);
    out.put_slice(b"1.01\0\0");
    out.put_u64_le(created_ms);
    out.put_i64_le(sequence);
    out.put_u32_le(u32::try_from(payload.len()).unwrap());
    out.put_slice(payload);
    out.freeze()
}

#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Frame {
        kind: u32,
        channel: String,
        sequence: i64,
        payload: Vec<u8>,
    },
    /// The WebSocket's close, with its code.
    Closed(u16),
    /// The socket broke.
    Broken,
    /// Neither: a text, a ping.
    Other(Message),
    /// A binary message that is no frame.
    Malformed(Bytes),
}

fn parse(message: Bytes) -> Got {
    let inner = || {
        let kind = u32::from_le_bytes(message.get(..4)?.try_into().ok()?);
        let id = usize::from(*message.get(8)?);
        let channel = String::from_utf8(message.get(9..9 + id)?.to_vec()).ok()?;
        let rest = message.get(9 + id..)?;
        let created = u64::from_le_bytes(rest.get(1..9)?.try_into().ok()?);
        let sequence = i64::from_le_bytes(rest.get(9..17)?.try_into().ok()?);
        let length = u32::from_le_bytes(rest.get(17..21)?.try_into().ok()?);
        let payload = rest.get(21..)?.to_vec();
        let sound = created > 0 && payload.len() == length as usize && &message[4..8] == b"1.01";
        sound.then_some(Got::Frame { kind, channel, sequence, payload })
    };
    inner().unwrap_or(Got::Malformed(message.clone()))
}

pub struct Client {
    pub ws: WebSocketStream<TcpStream>,
    pub sequence: i64,
}

impl Client {
    pub async fn try_connect(
        cloud: &LocalCloud,
        started: &Started,
        header: Option<&str>,
    ) -> Result<Self, WsError> {
        let url = started.url.replacen("sessionid", "sessionId", 1);
        Self::connect_url(cloud, &url, header).await
    }

    pub async fn connect_url(
        cloud: &LocalCloud,
        url: &str,
        header: Option<&str>,
    ) -> Result<Self, WsError> {
        let mut request = url.into_client_request().unwrap();
        if let Some(header) = header {
            request.headers_mut().insert("x-acs-session-token", header.parse().unwrap());
        }
        let tcp = TcpStream::connect(cloud.addr()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (ws, _) = soon(client_async(request, tcp)).await?;
        Ok(Self { ws, sequence: 0 })
    }

    pub async fn connect(cloud: &LocalCloud, started: &Started) -> Self {
        Self::try_connect(cloud, started, Some(&started.token)).await.unwrap()
    }

    /// A session and a WebSocket for it.
    pub async fn open(cloud: &LocalCloud, instance: &str, port: u16) -> (Self, Started) {
        let started = start(cloud, instance, port).await;
        (Self::connect(cloud, &started).await, started)
    }

    pub async fn send(&mut self, kind: u32, payload: &[u8]) {
        let frame = frame(kind, self.sequence, payload);
        self.sequence += 1;
        self.ws.send(Message::Binary(frame)).await.unwrap();
    }

    pub async fn input(&mut self, payload: &[u8]) {
        self.send(INPUT, payload).await;
    }

    pub async fn next(&mut self) -> Got {
        match soon(self.ws.next()).await {
            Some(Ok(Message::Binary(message))) => parse(message),
            Some(Ok(Message::Close(frame))) => {
                let _ = self.ws.flush().await; // the answer to it
                Got::Closed(frame.map_or(1005, |frame| frame.code.into()))
            }
            Some(Ok(other)) => Got::Other(other),
            Some(Err(_)) | None => Got::Broken,
        }
    }

    /// Sends a WebSocket ping, and waits for its pong: nothing else may come before it.
    pub async fn pinged(&mut self) {
        self.ws.send(Message::Ping("x".into())).await.unwrap();
        match self.next().await {
            Got::Other(Message::Pong(_)) => {}
            other => panic!("no pong but {other:?}"),
        }
    }

    /// The next frame, which is a status.
    pub async fn status(&mut self) -> (u8, String) {
        match self.next().await {
            Got::Frame { kind: STATUS, payload, channel, .. } => {
                assert!(channel.starts_with("d-"), "{channel}");
                (payload[0], String::from_utf8_lossy(&payload[1..]).into_owned())
            }
            other => panic!("no status but {other:?}"),
        }
    }

    /// Initial, Opening, Opened.
    pub async fn opened(&mut self) {
        for state in [0, 1, 3] {
            assert_eq!(self.status().await, (state, String::new()));
        }
    }

    /// Output until there are so many bytes of it.
    pub async fn output(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.next().await {
                Got::Frame { kind: OUTPUT, payload, .. } => all.extend(payload),
                other => panic!("after {} bytes no output but {other:?}", all.len()),
            }
        }
        all
    }
}
