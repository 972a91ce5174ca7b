//! The upgrade itself: the request to the gateway, and whether its answer is a WebSocket's
//! (RFC 6455, 4.1).
//!
//! The library's own handshake compares the whole `Connection` header with `Upgrade`, though it is a
//! list, and takes an answer that comes in small pieces for an attack. Its parts are used here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{
    CapacityError, Error, ProtocolError, SubProtocolError,
};
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::net::Io;

/// The most that an answer's head may have, in bytes. Gateways send a few hundred.
const MAX_HEAD: usize = 32 * 1024;

/// A WebSocket to the gateway.
pub(crate) type Socket = WebSocketStream<GatewayIo>;

/// The connection under a WebSocket. The first error of a write is kept here, and nothing is written from
/// then on: the library, which answers pings while it reads, would return it in place of what has come.
#[derive(Debug)]
pub(crate) struct GatewayIo {
    io: Box<dyn Io>,
    write_error: Arc<OnceLock<io::Error>>,
}

impl GatewayIo {
    pub(crate) fn new(io: Box<dyn Io>) -> Self {
        Self { io, write_error: Arc::default() }
    }

    /// Where the first error of a write is kept.
    pub(crate) fn write_error(&self) -> Arc<OnceLock<io::Error>> {
        Arc::clone(&self.write_error)
    }
}

impl AsyncRead for GatewayIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for GatewayIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_error.get().is_none() {
            match Pin::new(&mut self.io).poll_write(cx, buf) {
                Poll::Ready(Err(error)) => drop(self.write_error.set(error)),
                written => return written,
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_error.get().is_none() {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Err(error)) => drop(self.write_error.set(error)),
                flushed => return flushed,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) struct NoUpgrade {
    /// What is wrong. An answer that is none is [`Error::Http`], with what has come of its body.
    pub(super) error: Error,
    /// Whether a byte of an answer has come.
    pub(super) is_answered: bool,
}

/// Makes a WebSocket of a connection.
pub(super) async fn upgrade(
    request: Request,
    mut io: Box<dyn Io>,
    config: WebSocketConfig,
) -> Result<Socket, NoUpgrade> {
    let mut read = Vec::with_capacity(1024);
    match exchange(request, &mut io, &mut read).await {
        Ok(rest) => {
            let (io, role) = (GatewayIo::new(io), Role::Client);
            Ok(WebSocketStream::from_partially_read(io, rest, role, Some(config)).await)
        }
        Err(error) => Err(NoUpgrade { error, is_answered: !read.is_empty() }),
    }
}

/// Requests the upgrade and reads the answer; gives the bytes behind it.
async fn exchange(
    request: Request,
    io: &mut Box<dyn Io>,
    read: &mut Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let (request, key) = generate_request(request)?;
    io.write_all(&request).await?;
    io.flush().await?;
    let (response, head) = loop {
        if io.read_buf(read).await? == 0 {
            return Err(Error::Protocol(ProtocolError::HandshakeIncomplete));
        }
        if let Some((head, response)) = Response::try_parse(read)? {
            break (response, head);
        }
        if read.len() > MAX_HEAD {
            return Err(Error::Capacity(CapacityError::TooManyHeaders));
        }
    };
    let rest = read[head..].to_vec();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Http(Box::new(response.map(|_| Some(rest)))));
    }
    check(response.headers(), &key).map_err(Error::Protocol)?;
    Ok(rest)
}

fn check(headers: &HeaderMap, key: &str) -> Result<(), ProtocolError> {
    if !names(headers, header::UPGRADE, "websocket") {
        return Err(ProtocolError::MissingUpgradeWebSocketHeader);
    }
    if !names(headers, header::CONNECTION, "upgrade") {
        return Err(ProtocolError::MissingConnectionUpgradeHeader);
    }
    let accepted = derive_accept_key(key.as_bytes());
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| *accept != accepted) {
        return Err(ProtocolError::SecWebSocketAcceptKeyMismatch);
    }
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let unasked = SubProtocolError::ServerSentSubProtocolNoneRequested;
        return Err(ProtocolError::SecWebSocketSubProtocolError(unasked));
    }
    Ok(())
}

/// Whether a header that is a list, in one line or in many, names something.
fn names(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    use super::*;

    /// What becomes of an answer, in which `KEY` stands for the right one, in pieces of so many bytes.
    async fn answered(answer: &str, piece: usize) -> Result<Socket, Error> {
        followed(answer, &[], piece).await
    }

    /// The same with something behind it.
    async fn followed(answer: &str, by: &[u8], piece: usize) -> Result<Socket, Error> {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (answer, by) = (answer.to_owned(), by.to_owned());
        tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(far.read_u8().await.unwrap());
            }
            let asked = String::from_utf8(asked).unwrap();
            let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let answer = answer.replace("KEY", &derive_accept_key(key.unwrap().as_bytes()));
            for piece in [answer.as_bytes(), &by].concat().chunks(piece) {
                let _ = far.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        });
        let request = "ws://h/session?token=t".into_client_request().unwrap();
        let upgraded = upgrade(request, Box::new(near), WebSocketConfig::default()).await;
        upgraded.map_err(|no| {
            assert!(no.is_answered, "{:?}", no.error);
            no.error
        })
    }

    fn switching(connection: &str) -> String {
        format!(
            "HTTP/1.1 101 x\r\nupgrade: WebSocket\r\n{connection}sec-websocket-accept: KEY\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn the_connection_header_is_a_list() {
        for connection in [
            "Connection: Upgrade\r\n",
            "connection: keep-alive, upgrade\r\n",
            "Connection: keep-alive\r\nConnection: Upgrade\r\n",
        ] {
            let upgraded = answered(&switching(connection), 4096).await;
            assert!(upgraded.is_ok(), "{connection}: {upgraded:?}");
        }
        for connection in ["", "Connection: keep-alive\r\n", "Connection: upgraded\r\n"] {
            let error = answered(&switching(connection), 4096).await.unwrap_err();
            let expected = ProtocolError::MissingConnectionUpgradeHeader;
            assert!(matches!(error, Error::Protocol(found) if found == expected), "{connection}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_come_in_small_pieces() {
        let long = format!("Connection: Upgrade\r\nX-Long: {}\r\n", "x".repeat(300));
        assert!(answered(&switching(&long), 1).await.is_ok());
    }

    #[tokio::test]
    async fn what_comes_with_the_answer_is_the_stream_s() {
        let answer = switching("Connection: Upgrade\r\n");
        let mut upgraded = followed(&answer, b"\x82\x02hi", 4096).await.unwrap();
        let message = upgraded.next().await.unwrap().unwrap();
        assert_eq!(message, Message::Binary("hi".into()));
    }

    #[tokio::test]
    async fn what_is_no_upgrade_is_told_with_its_body() {
        let error = answered("HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\nno way", 4096).await;
        let Err(Error::Http(response)) = error else { panic!("{error:?}") };
        assert_eq!(response.status(), 403);
        assert_eq!(response.body().as_deref(), Some(&b"no way"[..]));
        let wrong = switching("Connection: Upgrade\r\n").replace("KEY", "AAAA");
        let error = answered(&wrong, 4096).await.unwrap_err();
        let expected = ProtocolError::SecWebSocketAcceptKeyMismatch;
        assert!(matches!(error, Error::Protocol(found) if found == expected));
    }

    #[tokio::test]
    async fn a_head_has_an_end() {
        let endless = format!("HTTP/1.1 101 x\r\nX: {}", "y".repeat(40_000));
        let error = answered(&endless, 4096).await.unwrap_err();
        assert!(matches!(error, Error::Capacity(_)), "{error:?}");
        let error = answered("HTTP/1.1 101 x\r\n", 4096).await.unwrap_err();
        let expected = ProtocolError::HandshakeIncomplete;
        assert!(matches!(error, Error::Protocol(found) if found == expected));
    }
}
