//! The end of a splice: closing the WebSocket, and what the local side has still to take.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::dial::Socket;
use super::endpoint::LocalWrite;
use session_manager_proto::session::Session;

/// What can be wrong with a local side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// It cannot be read.
    #[error("cannot read from the local side: {0}")]
    Read(#[source] io::Error),
    /// It cannot be written to; what was left for it is lost.
    #[error("cannot write to the local side: {0}")]
    Write(#[source] io::Error),
    /// It has taken nothing for too long; what was left for it is lost.
    #[error("the local side has taken nothing for {} s", .0.as_secs())]
    Stalled(Duration),
}

/// Whether the local side has gone, which is no error of its own.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// Closes a WebSocket, or answers the far side's close. Whether all that was sent before has been read,
/// as far as that can be told.
pub(super) async fn close(
    sink: &mut SplitSink<Socket, Message>,
    stream: &mut SplitStream<Socket>,
    peer_closed: bool,
) -> bool {
    if peer_closed {
        // The library has the answer ready. It refuses what else was on its way, and says so first.
        if sink.flush().await.is_err() {
            let _ = sink.flush().await;
        }
        return false;
    }
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if sink.send(Message::Close(Some(normal))).await.is_err() {
        return false;
    }
    loop {
        match stream.next().await {
            Some(Ok(message)) if message.is_close() => return true,
            Some(Ok(_)) => {}
            // One that is closed with bytes unread is reset, so an end of file is as good.
            None | Some(Err(WsError::ConnectionClosed)) => return true,
            Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                return true;
            }
            Some(Err(WsError::Io(error))) => return error.kind() == io::ErrorKind::UnexpectedEof,
            Some(Err(_)) => return false,
        }
    }
}

/// What the local side has not taken when a session has ended.
pub(super) struct FinalDelivery<'a, W> {
    pub(super) writer: &'a mut W,
    pub(super) session: &'a mut Session,
    pub(super) chunk: Bytes,
    pub(super) delivered: u64,
}

impl<W: LocalWrite> FinalDelivery<'_, W> {
    /// Waits for the local side to take it, as long as it takes something `within` that time, and
    /// then tells it of the end, if the stream is complete.
    pub(super) async fn deliver(
        &mut self,
        within: Duration,
        complete: bool,
        told: impl Fn(u64),
    ) -> Result<(), LocalError> {
        loop {
            if self.chunk.is_empty() {
                self.chunk = self.session.poll_deliver().unwrap_or_default();
            }
            let step = async {
                if !self.chunk.is_empty() {
                    self.writer.may_write().await;
                    return self.writer.write(&self.chunk).await;
                }
                self.writer.flush().await?;
                if complete {
                    self.writer.shutdown().await?;
                }
                Ok(0)
            };
            match timeout(within, step).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(written)) => {
                    self.chunk.advance(written);
                    self.delivered += written as u64;
                    told(self.delivered);
                }
                Ok(Err(error)) if is_gone(&error) => return Ok(()),
                Ok(Err(error)) => return Err(LocalError::Write(error)),
                Err(_) => return Err(LocalError::Stalled(within)),
            }
        }
    }
}

/// What the system says, without the library's words around it.
pub(super) fn plain(error: WsError) -> String {
    match error {
        WsError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
