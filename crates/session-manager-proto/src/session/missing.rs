//! Outputs that were sent and have not come (PROTOCOL.md, 8): they are asked for, and waited for
//! before the end is taken for one. Only an Output beyond the gap tells of one: what the sequences of
//! Status frames count is not published.

use std::time::{Duration, Instant};

use super::link::GIVE_UP;
use super::{End, Event, Failure, RemoteEnd, Session};
use crate::status::Reason;

/// How long after a Sync what it asked for may take before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The same once the far side has ended the stream: it may not stay for long.
const ASK_AGAIN_AT_THE_END: Duration = Duration::from_millis(400);
/// How long after the end of the stream what is missing may take, and each piece of it after the other.
const AT_THE_END: Duration = Duration::from_secs(2);
/// How long an answer to the Sync on a new socket may take, if the stream ends before it.
const AFTER_RECONNECT: Duration = Duration::from_secs(5);

/// What is missing from the far side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    /// Since when nothing has come of it.
    since: Instant,
    /// When it was last asked for.
    pub(super) asked: Instant,
    /// How often that was, for as long as nothing came.
    asks: u32,
    /// The last Output that has come, beyond the gap.
    got: u32,
}

/// The far side has ended the stream, and something of it is missing.
#[derive(Clone, Debug)]
pub(super) struct Last {
    end: RemoteEnd,
    /// When it has to be there.
    by: Instant,
    /// Whether more may come that is not known to be missing: the socket is new, and the far side has not
    /// answered the Sync on it.
    may_be_more: bool,
}

impl Session {
    /// An Output has come that is not the next one: what is missing is asked for, once.
    pub(super) fn handle_missing(&mut self, now: Instant, got: u32) {
        let missing = self.expect(now, got);
        if missing.asks == 0 {
            missing.asks = 1;
            self.sync_due = true;
        }
    }

    /// The next Output has come.
    pub(super) fn handle_next(&mut self, now: Instant) {
        if let Some(last) = &mut self.last {
            last.by = now + AT_THE_END;
        }
        let Some(missing) = &mut self.missing else { return };
        let left = missing.got.wrapping_sub(self.received);
        if left == 0 || left > u32::MAX / 2 {
            self.missing = None;
        } else {
            (missing.since, missing.asked, missing.asks) = (now, now, 0);
        }
    }

    /// The far side has ended the stream. That is its end once all of it is there.
    pub(super) fn handle_end(&mut self, now: Instant, end: RemoteEnd) {
        if !self.has_begun(&end) {
            let reason = match end {
                RemoteEnd::Status(reason) => reason,
                _ => Reason::parse(b""),
            };
            return self.finish(End::Failed(Failure::Ended(reason)), false);
        }
        let may_be_more = self.is_unanswered_since_reconnect(now);
        match &mut self.missing {
            _ if self.last.is_some() => {}
            None if may_be_more => {
                self.local.clear();
                self.last = Some(Last { end, by: now + AFTER_RECONNECT, may_be_more });
            }
            None => self.finish(End::Remote(end), false),
            Some(missing) => {
                if missing.asks == 0 {
                    missing.asks = 1;
                    self.sync_due = true;
                }
                // Nobody is left to take it.
                self.local.clear();
                self.last = Some(Last { end, by: now + AT_THE_END, may_be_more });
            }
        }
    }

    /// Whether there was a stream that could end. A target that has closed was there.
    fn has_begun(&self, end: &RemoteEnd) -> bool {
        let closed = matches!(end, RemoteEnd::Status(reason) if reason.is_of_target());
        closed || self.opened.is_some() || self.outputs > 0
    }

    /// Ends a stream that was over once what was missing has come.
    pub(super) fn end_if_complete(&mut self) {
        if self.missing.is_none()
            && let Some(Last { end, may_be_more: false, .. }) = &self.last
        {
            let end = End::Remote(end.clone());
            self.finish(end, false);
        }
    }

    /// What was missing at the end has not come. What the local side does not take is not read, and
    /// has no time to keep.
    pub(super) fn handle_tail_timeout(&mut self, now: Instant) {
        if !self.wants_remote() {
            if let Some(last) = &mut self.last {
                last.by = now + AT_THE_END;
            }
        } else if let Some(failure) = self.lost() {
            self.finish(End::Failed(failure), true);
        } else if let Some(Last { end, .. }) = self.last.take() {
            self.finish(End::Remote(end), false);
        }
    }

    /// When what is missing has to be there. What is only asked for on a new socket has its time from
    /// when the Sync is sent.
    pub(super) fn tail_by(&self) -> Option<Instant> {
        let last = self.last.as_ref()?;
        (!last.may_be_more || !self.sync_due).then_some(last.by)
    }

    /// That something is missing, as a failure.
    pub(super) fn lost(&self) -> Option<Failure> {
        let got = self.missing?.got;
        Some(Failure::Lost { expected: self.received.wrapping_add(1), got })
    }

    /// There is another socket, and a Sync is sent on it.
    pub(super) fn ask_on_another_socket(&mut self, now: Instant) {
        match (&mut self.missing, &mut self.last) {
            (missing, Some(last)) => {
                if let Some(missing) = missing {
                    missing.since = now;
                    missing.asks = 1;
                }
                last.by = now + AT_THE_END;
            }
            (missing, None) => *missing = None,
        }
    }

    /// A Sync is sent.
    pub(super) fn note_asked(&mut self, now: Instant) {
        if let Some(missing) = &mut self.missing {
            missing.asked = now;
        }
        if let Some(last) = &mut self.last
            && last.may_be_more
        {
            last.by = now + AFTER_RECONNECT;
        }
    }

    pub(super) fn ask_again_at(&self) -> Option<Instant> {
        let missing = self.missing?;
        let pause = if self.last.is_some() { ASK_AGAIN_AT_THE_END } else { ASK_AGAIN };
        (self.is_connected() && !self.sync_due).then(|| missing.asked + pause)
    }

    pub(super) fn ask_again(&mut self, now: Instant) {
        let is_read = self.wants_remote();
        let Some(missing) = &mut self.missing else { return };
        if !is_read {
            // What the local side does not take is not read, and may well have come.
            (missing.since, missing.asked) = (now, now);
            return;
        }
        if now.saturating_duration_since(missing.since) < GIVE_UP {
            missing.asks += 1;
            self.sync_due = true;
        } else if let Some(failure) = self.lost() {
            self.finish(End::Failed(failure), true);
        }
    }

    fn expect(&mut self, now: Instant, got: u32) -> &mut Missing {
        if self.missing.is_none() {
            self.tell(Event::Missing { expected: self.received.wrapping_add(1), got });
        }
        let new = Missing { since: now, asked: now, asks: 0, got };
        let missing = self.missing.get_or_insert(new);
        if got.wrapping_sub(missing.got) <= u32::MAX / 2 {
            missing.got = got;
        }
        missing
    }
}
