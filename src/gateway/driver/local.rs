//! Reads and writes the local side of a splice, and notices that it has gone.

use std::time::Instant;

use bytes::Buf as _;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Driver, FLUSH_WITHIN, READ};
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::LocalSide;
use crate::session::event::SessionEvent;

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
    ) {
        let Some((reader, _)) = local.halves() else { return };
        loop {
            let room = self.session.local_room().min(READ);
            let read = reader.read(&mut self.buffer[..room]);
            match read.now_or_never() {
                Some(Ok(read)) if read > 0 => self.take_local(now, read),
                _ => return,
            }
        }
    }

    pub(super) fn handle_reader_gone(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        now: Instant,
    ) {
        self.read_what_is_there(local, now);
        self.reader_gone = true;
        self.chunk.clear();
        self.session.handle_local_gone(now, FLUSH_WITHIN);
    }
}
