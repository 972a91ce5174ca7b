//! Reads and writes the local side of a splice, and notices that it has gone.

use std::time::{Duration, Instant};

use bytes::Buf as _;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::debug;

use super::{Driver, FLUSH_WITHIN, Input, READ, Stop};
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::{LocalSide, QUIET};
use crate::session::event::SessionEvent;

/// How long gateway and agent may take to pass on what has arrived at the gateway: agents of generation A
/// end with the WebSocket. A protocol's goodbye is not waited for.
const PASSED_ON_WITHIN: Duration = Duration::from_secs(1);

impl Driver<'_> {
    pub(super) fn take_local(&mut self, now: Instant, read: usize) {
        self.sent += read as u64;
        self.report_progress();
        self.session.handle_local(now, &self.buffer[..read]);
    }

    pub(super) fn take_written(&mut self, written: usize) {
        self.chunk.advance(written);
        self.delivered += written as u64;
        self.report_progress();
    }

    fn report_progress(&self) {
        let (sent, delivered) = (self.sent, self.delivered);
        (self.on_event)(SessionEvent::Progress { sent, delivered });
    }

    /// Takes what the local side has written already, without waiting.
    pub(super) fn read_what_is_there(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        now: Instant,
    ) -> Input {
        let Some((reader, _)) = local.halves() else { return Input::Open };
        while !self.session.is_input_ended() {
            let room = self.session.local_room().min(READ);
            if room == 0 {
                return Input::Unread;
            }
            let read = tokio::task::unconstrained(reader.read(&mut self.buffer[..room]));
            match read.now_or_never() {
                Some(Ok(0)) => break,
                Some(Ok(read)) => self.take_local(now, read),
                Some(Err(_)) | None => return Input::Open,
            }
        }
        Input::Ended
    }

    /// The session is to end, now.
    pub(super) fn end_now(&mut self, now: Instant, input: Input) {
        self.stop = Stop::Now(input);
        self.session.handle_shutdown(now, FLUSH_WITHIN);
    }

    /// Ends a session that goes on for what its local side has sent, once that has arrived, or the local side
    /// turns out not to have sent all.
    pub(super) fn end_if_delivered(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        now: Instant,
    ) {
        if !matches!(self.stop, Stop::Delivering { .. }) {
            return;
        }
        if self.delivered_at().is_none_or(|at| now < at) {
            if self.session.local_room() == 0 {
                self.stop = Stop::Delivering { quiet_since: now };
            }
            return;
        }
        if self.session.is_input_ended() {
            debug!("what the local side has sent has arrived");
            return self.session.handle_shutdown(now, FLUSH_WITHIN);
        }
        // Something may have come since this task was last awake.
        let sent = self.sent;
        match self.read_what_is_there(local, now) {
            Input::Ended => self.session.handle_local_eof(now),
            Input::Open if self.sent == sent => self.end_now(now, Input::Open),
            Input::Open | Input::Unread => self.stop = Stop::Delivering { quiet_since: now },
        }
    }

    /// When a session that goes on for what its local side has sent is to be ended, as far as that is known.
    pub(super) fn delivered_at(&self) -> Option<Instant> {
        let Stop::Delivering { quiet_since } = self.stop else { return None };
        if self.session.end().is_some() {
            return None;
        }
        if self.session.is_input_ended() {
            let passed_on = if self.unanswered() > 0 { PASSED_ON_WITHIN } else { Duration::ZERO };
            let delivered = || Some(self.session.delivered_at()? + passed_on);
            return if self.sent == 0 { Some(quiet_since) } else { delivered() };
        }
        (self.session.local_room() > 0).then_some(quiet_since + QUIET)
    }

    pub(super) fn handle_reader_gone(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        now: Instant,
    ) {
        self.read_what_is_there(local, now);
        self.reader_gone = true;
        self.chunk.clear();
        match self.stop {
            Stop::Delivering { .. } => self.session.handle_output_unwanted(),
            Stop::No | Stop::Now(_) => self.session.handle_local_gone(now, FLUSH_WITHIN),
        }
    }
}
