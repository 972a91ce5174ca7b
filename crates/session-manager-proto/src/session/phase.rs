//! The states of a session, and the end that waits for missing output.

use std::time::{Duration, Instant};

use super::end::{End, RemoteEnd};

/// How long after the end of the stream missing output may take, and each piece of it after the other.
const PENDING_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer to the Sync on a new socket may take, if the stream ends before it.
const SYNC_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of a session. The docs of [`super`] draw how one leads to the other.
#[derive(Debug)]
pub(super) enum Phase {
    /// The stream goes on. Local bytes are sent once it is open; after the local end of file output is
    /// delivered until the peer ends the stream or is quiet.
    Streaming,
    /// The session is closed once the local bytes have gone out.
    Flushing {
        /// When it is closed even if they have not.
        by: Instant,
    },
    /// The peer has ended the stream, and output of it is missing.
    PeerEnded(PendingEnd),
    /// The session has ended; queued output is still delivered.
    Ended {
        /// How it ended.
        end: End,
        /// Whether a Close frame is to be sent.
        close_due: bool,
        /// Whether it ended because another session needed its place.
        yielded: bool,
    },
}

impl Phase {
    pub(super) fn end(&self) -> Option<&End> {
        match self {
            Self::Ended { end, .. } => Some(end),
            _ => None,
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    pub(super) fn pending_end(&self) -> Option<&PendingEnd> {
        match self {
            Self::PeerEnded(pending) => Some(pending),
            _ => None,
        }
    }

    pub(super) fn pending_end_mut(&mut self) -> Option<&mut PendingEnd> {
        match self {
            Self::PeerEnded(pending) => Some(pending),
            _ => None,
        }
    }

    /// When a session that is to be closed is closed at the latest.
    pub(super) fn flush_by(&self) -> Option<Instant> {
        match self {
            Self::Flushing { by } => Some(*by),
            Self::PeerEnded(pending) => pending.flush_by,
            _ => None,
        }
    }

    /// The session is to be closed once the local bytes have gone out, or at an instant.
    pub(super) fn flush(&mut self, by: Instant) {
        match self {
            Self::Ended { .. } | Self::Flushing { .. } => {}
            Self::PeerEnded(pending) => {
                pending.flush_by.get_or_insert(by);
            }
            Self::Streaming => *self = Self::Flushing { by },
        }
    }
}

/// The peer has ended the stream, and something of it is missing.
#[derive(Clone, Debug)]
pub(super) struct PendingEnd {
    end: RemoteEnd,
    /// When the missing output has to be there.
    by: Instant,
    /// Whether more may come that is not known to be missing: the socket is new, and the peer has not
    /// answered the Sync on it.
    awaits_sync_answer: bool,
    /// Whether a Sync was sent on the present socket since the peer has ended the stream.
    is_sync_sent: bool,
    /// When the session is closed although output is missing, if this side wants it closed.
    pub(super) flush_by: Option<Instant>,
}

impl PendingEnd {
    pub(super) fn new(now: Instant, end: RemoteEnd, is_missing: bool, awaits_sync: bool) -> Self {
        let timeout = if is_missing { PENDING_END_TIMEOUT } else { SYNC_ANSWER_TIMEOUT };
        Self {
            end,
            by: now + timeout,
            awaits_sync_answer: awaits_sync,
            is_sync_sent: false,
            flush_by: None,
        }
    }

    pub(super) fn end(&self) -> &RemoteEnd {
        &self.end
    }

    /// The end, if nothing more can come than what is known to be missing.
    pub(super) fn if_complete(&self) -> Option<&RemoteEnd> {
        (!self.awaits_sync_answer).then_some(&self.end)
    }

    /// Starts the time-out anew: a piece of the output has come, or is not read.
    pub(super) fn restart(&mut self, now: Instant) {
        self.by = now + PENDING_END_TIMEOUT;
    }

    /// There is another socket.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        self.is_sync_sent = false;
        self.restart(now);
    }

    /// A Sync is sent. Only the first on a socket gives time: it is sent again as long as Outputs are missing.
    pub(super) fn note_sync_sent(&mut self, now: Instant) {
        if self.awaits_sync_answer && !std::mem::replace(&mut self.is_sync_sent, true) {
            self.by = now + SYNC_ANSWER_TIMEOUT;
        }
    }

    /// When the missing output has to be there. What is only requested on a new socket has its time
    /// from when the Sync is sent, or since when the socket takes none (`blocked`).
    pub(super) fn deadline(&self, is_sync_due: bool, blocked: Option<Instant>) -> Option<Instant> {
        if self.awaits_sync_answer && !self.is_sync_sent && is_sync_due {
            return blocked.map(|since| self.by.max(since + SYNC_ANSWER_TIMEOUT));
        }
        Some(self.by)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    #[test]
    fn an_end_on_a_new_socket_has_its_time_from_the_sync() {
        let now = Instant::now();
        let mut pending = PendingEnd::new(now, RemoteEnd::Close, false, true);
        assert_eq!((pending.deadline(true, None), pending.if_complete()), (None, None));
        assert_eq!(pending.deadline(true, Some(now)), Some(now + SYNC_ANSWER_TIMEOUT));
        let later = now + Duration::from_secs(1);
        pending.note_sync_sent(later);
        assert_eq!(pending.deadline(false, None), Some(later + SYNC_ANSWER_TIMEOUT));
        let again = later + Duration::from_secs(1);
        pending.note_sync_sent(again);
        assert_eq!(pending.deadline(false, None), Some(later + SYNC_ANSWER_TIMEOUT));
        pending.handle_reconnected(again);
        pending.note_sync_sent(again);
        assert_eq!(pending.deadline(false, None), Some(again + SYNC_ANSWER_TIMEOUT));
        let mut pending = PendingEnd::new(now, RemoteEnd::Close, true, false);
        pending.note_sync_sent(later);
        assert_eq!(pending.deadline(true, None), Some(now + PENDING_END_TIMEOUT));
        pending.restart(later);
        assert_eq!(pending.deadline(true, None), Some(later + PENDING_END_TIMEOUT));
        assert_eq!(pending.if_complete(), Some(&RemoteEnd::Close));
    }
}
