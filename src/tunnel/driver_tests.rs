//! The splice over a socket whose ends fail one by one, as the test asks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{DuplexStream, ReadBuf, duplex};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::proto::frame::{Frame, FrameType, Sequence, Version};
use crate::proto::session::Config;

/// More than all the queues on the way to the local side take.
const MUCH: usize = 300_000;
/// No test of this file takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A transport with all that a gateway sent before it went: it can be read, and not be written to.
#[derive(Debug)]
struct Gone {
    sent: io::Cursor<Vec<u8>>,
    noticed: Arc<Notify>,
}

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sent).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.noticed.notify_one();
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A local side that holds little.
struct Local(DuplexStream);

impl tokio::io::AsyncWrite for Local {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl LocalWrite for Local {
    async fn closed(&mut self) {
        std::future::pending().await
    }
}

struct Nobody;
impl Observer for Nobody {}

/// A message of a server: a frame of the stream in a frame of the WebSocket, which is unmasked.
fn message(kind: FrameType, sequence: i64, payload: &[u8]) -> Vec<u8> {
    let frame = Frame {
        kind,
        version: Version::V1_01,
        channel_id: Bytes::from_static(b"d-1"),
        instance_id: Bytes::new(),
        created_ms: 1,
        sequence: Sequence::Single(sequence),
        payload: Bytes::copy_from_slice(payload),
    };
    let frame = frame.encode().unwrap();
    let length = u16::try_from(frame.len()).unwrap();
    [&[0x82, 126][..], &length.to_be_bytes(), &frame].concat()
}

#[tokio::test]
async fn what_has_come_is_delivered_although_the_gateway_takes_nothing_any_more() {
    let bytes: Vec<u8> = (0..MUCH).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut sent = message(FrameType::STATUS, 0, &[3]);
    for (number, payload) in bytes.chunks(2048).enumerate() {
        sent.extend(message(FrameType::OUTPUT, i64::try_from(number).unwrap(), payload));
    }
    sent.extend(message(FrameType::STATUS, 0, b"\x05Exit"));
    let noticed = Arc::new(Notify::new());
    let io = Gone { sent: io::Cursor::new(sent), noticed: Arc::clone(&noticed) };
    let io: Box<dyn crate::net::Io> = Box::new(io);
    let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;

    let mut config = Config::new(1);
    config.keepalive = Some(Duration::from_millis(10)); // this is how it is noticed
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = Endpoint::new(reader, Local(local));
    let splice = splice(
        socket,
        Session::new(Instant::now(), config),
        &mut local,
        std::future::pending(),
        &Nobody,
    );
    let read = async {
        noticed.notified().await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        read
    };
    let (outcome, read) =
        timeout(PATIENCE, futures_util::future::join(splice, read)).await.expect("it ends");
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == bytes, "{} bytes came", read.len());
}
