//! The end of a splice: whether what was sent has arrived, and what the local side still takes.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::future::FusedFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::debug;

use super::outcome::{LocalError, Outcome, is_gone};
use super::{Driver, Input, Stop, clock};
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::{GOODBYE, LocalSide};
use crate::gateway::upgrade::Socket;
use crate::session::event::SessionEvent;
use session_manager_proto::session::{Arrived, End, Failure, Session};

/// How long the gateway may take to answer the WebSocket's close.
const CLOSE_WITHIN: Duration = Duration::from_millis(400);
/// The same where that answer alone tells that what was sent has arrived.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// An answer that comes within this time comes from a gateway that had read all before.
const AT_ONCE: Duration = Duration::from_secs(2);
/// An end that comes so soon after this machine woke is taken to come of its sleep.
const AFTER_SLEEP: Duration = Duration::from_secs(30);
/// How long the local side may take for what is left for it after the end, once the process is to end.
const DELIVER_AT_ONCE: Duration = Duration::from_millis(100);

impl Driver<'_> {
    /// Closes the WebSocket while the local side takes what is left for it.
    pub(super) async fn finish(
        mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        mut shutdown: impl FusedFuture<Output = ()> + Unpin,
    ) -> Outcome {
        let mut end = self.session.end().cloned().unwrap_or(End::Local);
        // By its own end of file, and not because it was to end or has gone.
        let is_of_eof = end == End::Local
            && match self.stop {
                Stop::No => !self.reader_gone,
                Stop::Delivering { .. } => true,
                Stop::Now(_) => false,
            };
        if is_of_eof && self.session.arrived() == Arrived::Unknown {
            let is_early = self.wait_for_arrival(&mut shutdown).await;
            if is_early {
                self.stop = Stop::Now(Input::Ended);
            }
            if self.halves.is_some() && !is_early {
                let bytes = self.session.not_arrived();
                end = End::Failed(Failure::NotArrived { bytes });
            }
        }
        let failed = matches!(end, End::Failed(_));
        let goes_on = self.stop == Stop::No;
        let is_unanswered = is_of_eof && goes_on && self.session.is_unanswered();
        let unanswered = if is_unanswered { self.unanswered() } else { 0 };
        let mut not_arrived = self.not_arrived(&end);
        let awake = self.woke.map(|(woke, slept)| (clock().saturating_duration_since(woke), slept));
        let slept = awake.filter(|(awake, _)| *awake <= AFTER_SLEEP).map(|(_, slept)| slept);
        let not_sent = self.not_sent(&end, local).await;
        // After a clean end, a program that has received nothing would not notice that its bytes are lost.
        let is_lost = !self.session.has_output() && not_sent.is_some_and(|bytes| bytes > 0);
        let is_notified = end.notified().is_some();
        let complete = !failed && goes_on && !is_unanswered && !is_notified && !is_lost;
        let (halves, on_event) = (&mut self.halves, self.on_event);
        let write_error = &*self.write_error;
        let close = async {
            let mut is_all_read = false;
            if let Some((sink, stream)) = halves {
                let close = close(sink, stream, write_error, self.peer_closed);
                match timeout(CLOSE_WITHIN, close).await {
                    Ok(is_all) => is_all_read = is_all,
                    Err(_) => debug!("the gateway did not answer the close in time"),
                }
            }
            on_event(SessionEvent::Closed);
            is_all_read
        };
        let (arrived, unsent) = (self.session.arrived(), self.session.unsent());
        let mut rest = FinalDelivery {
            session: &mut self.session,
            chunk: self.chunk,
            delivered: self.delivered,
        };
        let sent = self.sent - unsent;
        let on_progress = |delivered| on_event(SessionEvent::Progress { sent, delivered });
        on_progress(rest.delivered);
        let writer = local.last_halves().map(|(_, writer)| writer);
        let deliver = async {
            let Some(writer) = writer.filter(|_| !self.reader_gone) else { return (Ok(()), true) };
            tokio::select! {
                delivered = rest.deliver(writer, complete, on_progress), if goes_on => {
                    let is_all = delivered.is_ok();
                    return (delivered, is_all);
                }
                () = shutdown, if goes_on => {}
                else => {}
            }
            // An early end does not wait for a slow reader.
            let delivered = rest.deliver(writer, false, on_progress);
            match timeout(DELIVER_AT_ONCE, delivered).await {
                Err(_) => (Ok(()), false),
                Ok(delivered) => (delivered, false),
            }
        };
        let (is_all_read, (delivered, is_all)) = tokio::join!(close, deliver);
        let delivered_bytes = rest.delivered;
        if arrived == Arrived::Unknown && is_all_read {
            not_arrived = not_arrived.min(unsent);
        }
        let may_be_unread = self.stop == Stop::Now(Input::Unread) && end == End::Local;
        if may_be_unread && !self.session.is_ssh() {
            // A local side that has not sent all notices that the session has ended.
            not_arrived = local.rest().await.map_or(0, |unread| not_arrived + unread);
        }
        Outcome {
            end,
            has_output: self.session.has_output(),
            sent,
            delivered: delivered_bytes,
            not_sent,
            unanswered,
            not_arrived,
            slept,
            input_ended: self.session.is_input_ended(),
            #[cfg(test)]
            output_after_eof: self.session.has_output_after_eof(),
            yielded: self.session.has_yielded(),
            complete: complete && is_all,
            local_error: self.local_error.or(delivered.err()),
        }
    }

    /// See [`Outcome::unanswered`].
    pub(super) fn unanswered(&self) -> u64 {
        let ignored = if self.session.has_output() { GOODBYE as u64 } else { 0 };
        Some(self.sent - self.answered).filter(|bytes| *bytes > ignored).unwrap_or(0)
    }

    /// See [`Outcome::not_arrived`].
    fn not_arrived(&self, end: &End) -> u64 {
        let is_cut_off = matches!(self.stop, Stop::Now(Input::Ended | Input::Unread));
        let is_lost = match end {
            End::Failed(Failure::Disconnected(_)) => true,
            End::Local => is_cut_off,
            End::Failed(_) | End::Remote(_) => false,
        };
        let bytes = if is_lost && !self.session.is_ssh() { self.session.not_arrived() } else { 0 };
        // A gateway that confirms nothing leaves open what has arrived; an answer of the target tells.
        match self.session.arrived() {
            Arrived::Unknown => bytes.min(self.sent - self.answered),
            Arrived::Yes | Arrived::NotYet => bytes,
        }
    }

    /// See [`Outcome::not_sent`].
    async fn not_sent(
        &self,
        end: &End,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
    ) -> Option<u64> {
        let is_wanted = !self.reader_gone || matches!(self.stop, Stop::Delivering { .. });
        let may_be_cut = matches!(end, End::Remote(_)) && !self.session.is_ssh() && is_wanted;
        let ended = self.ended.unwrap_or_else(clock);
        match self.session.not_sent(ended) {
            _ if !may_be_cut => None,
            // It may be the next request on a connection that was idle.
            0 if self.session.has_output() => Some(0),
            0 => {
                let ignored = if self.sent == 0 { 0 } else { GOODBYE };
                Some(local.read_more(Duration::ZERO, ignored).await)
            }
            bytes => Some(bytes),
        }
    }

    /// Closes the WebSocket of a gateway that answers no pings, and waits for its answer: only that
    /// tells that what was sent has been read (RFC 6455, 5.5.1). One that comes late was not read while
    /// it was quiet, and may not have got any further: the close of its WebSocket ends the stream. The
    /// socket is gone once all has arrived. Whether an early end was requested meanwhile.
    async fn wait_for_arrival(&mut self, shutdown: impl Future<Output = ()>) -> bool {
        let Some((sink, stream)) = &mut self.halves else { return false };
        debug!("waiting for the gateway to take what was sent");
        let began = Instant::now();
        let close = close(sink, stream, &self.write_error, self.peer_closed);
        let answered = tokio::select! {
            answered = timeout(ARRIVES_WITHIN, close) => answered,
            () = shutdown => return true,
        };
        if answered.unwrap_or(false) && began.elapsed() < AT_ONCE {
            self.halves = None;
        }
        false
    }
}

/// Closes a WebSocket, or answers the remote side's close. Whether all that was sent before has been read,
/// as far as that can be told.
async fn close(
    sink: &mut SplitSink<Socket, Message>,
    stream: &mut SplitStream<Socket>,
    write_error: &OnceLock<io::Error>,
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
    if sink.send(Message::Close(Some(normal))).await.is_err() || write_error.get().is_some() {
        return false;
    }
    loop {
        match stream.next().await {
            Some(Ok(message)) if message.is_close() => return true,
            Some(Ok(_)) => {}
            // One that is closed with bytes unread is reset, so an end of file is as good.
            None
            | Some(Err(
                WsError::ConnectionClosed
                | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            )) => return write_error.get().is_none(),
            Some(Err(WsError::Io(error))) => {
                return error.kind() == io::ErrorKind::UnexpectedEof && write_error.get().is_none();
            }
            Some(Err(_)) => return false,
        }
    }
}

/// What the local side has not taken when a session has ended.
struct FinalDelivery<'a> {
    session: &'a mut Session,
    chunk: Bytes,
    delivered: u64,
}

impl FinalDelivery<'_> {
    /// Waits for the local side to take it, however long it pauses, and then shuts it down, if the
    /// stream is complete. The session is ended meanwhile.
    async fn deliver(
        &mut self,
        writer: &mut impl LocalWrite,
        complete: bool,
        on_progress: impl Fn(u64),
    ) -> Result<(), LocalError> {
        loop {
            if self.chunk.is_empty() {
                self.chunk = self.session.poll_deliver().unwrap_or_default();
            }
            let step = async {
                if !self.chunk.is_empty() {
                    writer.may_write().await;
                    return writer.write(&self.chunk).await;
                }
                writer.flush().await?;
                if complete {
                    writer.shutdown().await?;
                }
                Ok(0)
            };
            match step.await {
                Ok(0) => return Ok(()),
                Ok(written) => {
                    self.chunk.advance(written);
                    self.delivered += written as u64;
                    on_progress(self.delivered);
                }
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(LocalError::Write(error)),
            }
        }
    }
}
