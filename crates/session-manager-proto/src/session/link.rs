//! The WebSocket under a session: whether there is one, and getting another one (PROTOCOL.md, 8).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Disconnect, End, Event, Failure, RemoteEnd, Session};
use crate::flow::probes::Probes;
use crate::frame::FrameType;

/// How long after a socket has gone the first try begins.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(8);
/// A socket that lives so long, or brings something of the target, is a good one.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long a stream is worth the trying.
pub(super) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after it is found again the peer may take to say what it has received.
const PEER_ACK_TIMEOUT: Duration = Duration::from_secs(1);
/// After so many bytes of Output it is told that they have come, if nothing else was to be said. It
/// keeps what it has not heard of.
const ACK_AFTER_BYTES: usize = 256 * 1024;

/// The state of the WebSocket.
#[derive(Debug)]
pub(super) enum Link {
    Up,
    Down {
        since: Instant,
        why: Disconnect,
        tries: u32,
        /// When the next try begins; `None` while one is made.
        next: Option<Instant>,
        /// How the last try failed.
        last: Option<String>,
    },
}

/// The tries that led to the present socket, until it has shown that it is a good one.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReconnectAttempt {
    since: Instant,
    tries: u32,
    connected: Instant,
}

impl Session {
    /// Whether there is a WebSocket as far as the session knows. Without one frames are neither
    /// sent nor expected, and [`Self::poll_reconnect`] tells when to make another.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// The WebSocket is gone, or no good any more. It is to be dropped, whatever the answer is:
    /// either the session has ended, or it waits for another one.
    pub fn handle_disconnect(&mut self, now: Instant, why: Disconnect) {
        if self.end.is_some() || !self.is_connected() {
            return;
        }
        self.close_due = false;
        if self.is_agent_idle_end(now) && !self.is_resumable() {
            return self.finish(End::Remote(RemoteEnd::Idle), false);
        }
        if !self.is_resumable() || why.is_final() || self.flush_by.is_some() {
            return self.end_without_socket(why);
        }
        self.emit(Event::Disconnected(why.clone()));
        // One that is gone as soon as it is there was no success.
        let is_new = |attempt: &ReconnectAttempt| {
            now.saturating_duration_since(attempt.connected) < STABLE_AFTER
        };
        let attempt = self.attempt.take().filter(is_new);
        let (since, tries) = attempt.map_or((now, 0), |attempt| (attempt.since, attempt.tries));
        let next = Some(now + jitter(&mut self.random, pause(tries)));
        self.link = Link::Down { since, why, tries, next, last: None };
        self.retransmit_next = None;
        self.peer_ack_deadline = None;
        self.sync_due = false;
        self.keepalive_due = false;
    }

    /// The channel id with which a new WebSocket is to be asked for, once it is time for that. One
    /// of [`Self::handle_reconnected`] and [`Self::handle_not_reconnected`] has to follow.
    pub fn poll_reconnect(&mut self, now: Instant) -> Option<Bytes> {
        if self.end.is_some() {
            return None;
        }
        let Link::Down { next, tries, .. } = &mut self.link else { return None };
        if next.is_none_or(|next| next > now) {
            return None;
        }
        *next = None;
        *tries += 1;
        Some(self.channel_id.clone())
    }

    /// There is a WebSocket again.
    pub fn handle_reconnected(&mut self, now: Instant) {
        if self.end.is_some() || self.is_connected() {
            return;
        }
        if let Link::Down { since, tries, .. } = self.link {
            self.attempt = Some(ReconnectAttempt { since, tries, connected: now });
        }
        self.link = Link::Up;
        self.probes = Probes::new(now);
        self.blocked = None;
        self.last_new_input = None;
        self.pace.handle_new_path(now);
        self.emit(Event::Reconnected);
        // What the peer has not acknowledged may be lost, or only the acknowledgement. It tells
        // with its next frame, or else it gets all of it again, and drops what it has.
        self.retransmit_next = self.replay.oldest();
        self.peer_ack_deadline = self.retransmit_next.map(|_| now + PEER_ACK_TIMEOUT);
        self.sync_due = true;
        self.resync_on_new_socket(now);
        if let Some(unacked) = &mut self.unacked {
            unacked.restart(now);
        }
        // It could not be heard, nor could we.
        self.last_output = now;
        self.last_sent = now;
        self.opening = now;
    }

    /// Whether the peer has said nothing yet that answers the Sync on a new socket.
    pub(super) fn is_unanswered_since_reconnect(&self, now: Instant) -> bool {
        let is_new = |attempt: &ReconnectAttempt| {
            now.saturating_duration_since(attempt.connected) < STABLE_AFTER
        };
        self.attempt.as_ref().is_some_and(is_new)
    }

    /// No WebSocket could be made: `final_` says that none ever can.
    pub fn handle_not_reconnected(&mut self, now: Instant, how: String, is_final: bool) {
        let Link::Down { next, tries, last, why, .. } = &mut self.link else { return };
        *last = Some(how);
        if is_final {
            let why = why.clone();
            return self.end_without_socket(why);
        }
        *next = Some(now + jitter(&mut self.random, pause(*tries)));
    }

    /// Nothing brings the stream back.
    fn end_without_socket(&mut self, why: Disconnect) {
        let begun = self.opened.is_some() || self.outputs > 0;
        let was_to_end = self.pending_end.is_some() || (why.is_normal() && begun);
        let end = match std::mem::replace(&mut self.link, Link::Up) {
            _ if was_to_end && let Some(failure) = self.lost_output() => End::Failed(failure),
            _ if why.is_normal() && begun => End::Remote(RemoteEnd::WebSocket),
            Link::Down { last: Some(last), .. } => End::Failed(Failure::NotResumed { why, last }),
            _ if why == Disconnect::Frozen => End::Failed(Failure::Frozen),
            _ => End::Failed(Failure::Disconnected(why)),
        };
        self.finish(end, false);
    }

    /// Whether another socket could go on with the stream.
    fn is_resumable(&self) -> bool {
        self.version.is_resumable() && !self.channel_id.is_empty()
    }

    pub(super) fn reconnect_at(&self) -> Option<Instant> {
        match self.link {
            Link::Down { next, .. } => next,
            Link::Up => None,
        }
    }

    pub(super) fn give_up_at(&self) -> Option<Instant> {
        match self.link {
            Link::Down { since, .. } => Some(since + RECONNECT_TIMEOUT),
            Link::Up => None,
        }
    }

    pub(super) fn give_up(&mut self) {
        if let Link::Down { why, last, .. } = &mut self.link {
            let why = why.clone();
            last.get_or_insert_with(|| why.to_string());
            self.end_without_socket(why);
        }
    }

    /// The peer tells which Input it has.
    pub(super) fn handle_acknowledged(&mut self, now: Instant, up_to: u32) {
        self.attempt = None;
        self.peer_ack_deadline = None;
        if self.replay.acknowledge(up_to).is_err() {
            let (got, sent) = (up_to, self.replay.last());
            return self.finish(End::Failed(Failure::NeverSent { got, sent }), true);
        }
        self.handle_input_arrived(now, up_to);
    }

    /// The peer asks for all Input from a sequence on.
    pub(super) fn handle_sync(&mut self, from: u32) {
        self.attempt = None;
        self.peer_ack_deadline = None;
        match self.replay.resume_at(from) {
            Ok(from) => {
                self.emit(Event::Replaying { from });
                // It has all before that.
                let _ = self.replay.acknowledge(from.wrapping_sub(1));
                self.retransmit_next = self.replay.get(from).map(|_| from);
            }
            Err(_) => self.finish(End::Failed(Failure::LostInput(from)), true),
        }
    }

    /// Output has come, and nothing was said since that tells so.
    pub(super) fn count_unacked_output(&mut self, bytes: usize) {
        self.unacked_output_bytes += bytes;
        if self.unacked_output_bytes >= ACK_AFTER_BYTES {
            self.keepalive_due = true;
        }
    }

    /// The next frame that a working socket is due before new Input.
    pub(super) fn transmit_retransmission(&mut self, now: Instant) -> Option<Bytes> {
        if std::mem::take(&mut self.sync_due) {
            self.note_sync_sent(now);
            return self.transmit(now, FrameType::SYNC, self.replay.last(), Bytes::new());
        }
        if self.peer_ack_deadline.is_some() || self.pending_end.is_some() {
            return None;
        }
        let sequence = self.retransmit_next?;
        let Some((kind, payload)) = self.replay.get(sequence).cloned() else {
            // It was acknowledged meanwhile, as all before it: what is left is further on.
            self.retransmit_next = self.replay.oldest();
            return self.retransmit_next.and_then(|_| self.transmit_retransmission(now));
        };
        if !self.pace.allows_whole(now, payload.len()) {
            return None;
        }
        self.pace.spend(now, payload.len());
        self.last_new_input = None;
        self.last_input = now;
        self.retransmit_next = (sequence != self.replay.last()).then(|| sequence.wrapping_add(1));
        self.transmit(now, kind, sequence, payload)
    }
}

/// The pause after so many tries.
fn pause(tries: u32) -> Duration {
    (FIRST_RETRY_DELAY * 2u32.pow(tries.min(8))).min(MAX_RETRY_DELAY)
}

/// Up to a quarter more, from the randomness that was passed in: many clients of a gateway that
/// restarts do not all come back at once.
fn jitter(random: &mut u64, pause: Duration) -> Duration {
    // xorshift64, which stays 0 if it begins so: that is no jitter at all.
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let share = u32::try_from(*random >> 48).unwrap_or(0);
    pause + pause / 4 * share / (1 << 16)
}
