//! Outputs that were sent and have not come (PROTOCOL.md, 8): they are asked for, and waited for
//! before the end is taken for one. Only an Output beyond the gap tells of one: what the sequences of
//! Status frames count is not published.

use std::time::{Duration, Instant};

use super::link::RECONNECT_TIMEOUT;
use super::{End, Event, Failure, RemoteEnd, Session};
use crate::status::Reason;

/// How long after a Sync what it asked for may take before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The same once the peer has ended the stream: it may not stay for long.
const RESYNC_INTERVAL_AT_END: Duration = Duration::from_millis(400);
/// How long after the end of the stream what is missing may take, and each piece of it after the other.
const PENDING_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer to the Sync on a new socket may take, if the stream ends before it.
const SYNC_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is missing from the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputGap {
    /// Since when nothing has come of it.
    since: Instant,
    /// When it was last asked for.
    pub(super) asked: Instant,
    /// How often that was, for as long as nothing came.
    asks: u32,
    /// The last Output that has come, beyond the gap.
    got: u32,
}

/// The peer has ended the stream, and something of it is missing.
#[derive(Clone, Debug)]
pub(super) struct PendingEnd {
    end: RemoteEnd,
    /// When it has to be there.
    by: Instant,
    /// Whether more may come that is not known to be missing: the socket is new, and the peer has not
    /// answered the Sync on it.
    may_be_more: bool,
}

impl Session {
    /// An Output has come that is not the next one: what is missing is asked for, once.
    pub(super) fn handle_missing(&mut self, now: Instant, got: u32) {
        let missing = self.note_gap(now, got);
        if missing.asks == 0 {
            missing.asks = 1;
            self.sync_due = true;
        }
    }

    /// The next Output has come.
    pub(super) fn handle_next_output(&mut self, now: Instant) {
        if let Some(last) = &mut self.pending_end {
            last.by = now + PENDING_END_TIMEOUT;
        }
        let Some(missing) = &mut self.gap else { return };
        let left = missing.got.wrapping_sub(self.received);
        if left == 0 || left > u32::MAX / 2 {
            self.gap = None;
        } else {
            (missing.since, missing.asked, missing.asks) = (now, now, 0);
        }
    }

    /// The peer has ended the stream. That is its end once all of it is there.
    pub(super) fn handle_end(&mut self, now: Instant, end: RemoteEnd) {
        if !self.has_begun(&end) {
            let reason = match end {
                RemoteEnd::Status(reason) => reason,
                _ => Reason::parse(b""),
            };
            return self.finish(End::Failed(Failure::Ended(reason)), false);
        }
        let may_be_more = self.is_unanswered_since_reconnect(now);
        match &mut self.gap {
            _ if self.pending_end.is_some() => {}
            None if may_be_more => {
                self.local.clear();
                self.pending_end =
                    Some(PendingEnd { end, by: now + SYNC_ANSWER_TIMEOUT, may_be_more });
            }
            None => self.finish(End::Remote(end), false),
            Some(missing) => {
                if missing.asks == 0 {
                    missing.asks = 1;
                    self.sync_due = true;
                }
                // Nobody is left to take it.
                self.local.clear();
                self.pending_end =
                    Some(PendingEnd { end, by: now + PENDING_END_TIMEOUT, may_be_more });
            }
        }
    }

    /// Whether there was a stream that could end. A target that has closed was there.
    fn has_begun(&self, end: &RemoteEnd) -> bool {
        let closed = matches!(end, RemoteEnd::Status(reason) if reason.is_of_target());
        closed || self.opened.is_some() || self.outputs > 0
    }

    /// Ends a stream that was over once what was missing has come.
    pub(super) fn finish_if_complete(&mut self) {
        if self.gap.is_none()
            && let Some(PendingEnd { end, may_be_more: false, .. }) = &self.pending_end
        {
            let end = End::Remote(end.clone());
            self.finish(end, false);
        }
    }

    /// What was missing at the end has not come. What the local side does not take is not read, and
    /// has no time to keep.
    pub(super) fn handle_pending_end_timeout(&mut self, now: Instant) {
        if !self.wants_remote() {
            if let Some(last) = &mut self.pending_end {
                last.by = now + PENDING_END_TIMEOUT;
            }
        } else if let Some(failure) = self.lost_output() {
            self.finish(End::Failed(failure), true);
        } else if let Some(PendingEnd { end, .. }) = self.pending_end.take() {
            self.finish(End::Remote(end), false);
        }
    }

    /// When what is missing has to be there. What is only asked for on a new socket has its time from
    /// when the Sync is sent.
    pub(super) fn pending_end_deadline(&self) -> Option<Instant> {
        let last = self.pending_end.as_ref()?;
        (!last.may_be_more || !self.sync_due).then_some(last.by)
    }

    /// That something is missing, as a failure.
    pub(super) fn lost_output(&self) -> Option<Failure> {
        let got = self.gap?.got;
        Some(Failure::Lost { expected: self.received.wrapping_add(1), got })
    }

    /// There is another socket, and a Sync is sent on it.
    pub(super) fn resync_on_new_socket(&mut self, now: Instant) {
        match (&mut self.gap, &mut self.pending_end) {
            (missing, Some(last)) => {
                if let Some(missing) = missing {
                    missing.since = now;
                    missing.asks = 1;
                }
                last.by = now + PENDING_END_TIMEOUT;
            }
            (missing, None) => *missing = None,
        }
    }

    /// A Sync is sent.
    pub(super) fn note_sync_sent(&mut self, now: Instant) {
        if let Some(missing) = &mut self.gap {
            missing.asked = now;
        }
        if let Some(last) = &mut self.pending_end
            && last.may_be_more
        {
            last.by = now + SYNC_ANSWER_TIMEOUT;
        }
    }

    pub(super) fn resync_at(&self) -> Option<Instant> {
        let missing = self.gap?;
        let pause = if self.pending_end.is_some() { RESYNC_INTERVAL_AT_END } else { ASK_AGAIN };
        (self.is_connected() && !self.sync_due).then(|| missing.asked + pause)
    }

    pub(super) fn resync(&mut self, now: Instant) {
        let is_read = self.wants_remote();
        let Some(missing) = &mut self.gap else { return };
        if !is_read {
            // What the local side does not take is not read, and may well have come.
            (missing.since, missing.asked) = (now, now);
            return;
        }
        if now.saturating_duration_since(missing.since) < RECONNECT_TIMEOUT {
            missing.asks += 1;
            self.sync_due = true;
        } else if let Some(failure) = self.lost_output() {
            self.finish(End::Failed(failure), true);
        }
    }

    fn note_gap(&mut self, now: Instant, got: u32) -> &mut OutputGap {
        if self.gap.is_none() {
            self.emit(Event::Missing { expected: self.received.wrapping_add(1), got });
        }
        let new = OutputGap { since: now, asked: now, asks: 0, got };
        let missing = self.gap.get_or_insert(new);
        if got.wrapping_sub(missing.got) <= u32::MAX / 2 {
            missing.got = got;
        }
        missing
    }
}
