//! What has arrived of what was sent: the peer is asked by pings, so that an outage does not end
//! in a burst beyond its limit (PROTOCOL.md, 4), and an upload does not end before it has arrived
//! (PROTOCOL.md, 7).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Disconnect, End, Event, Failure, Session};
use crate::flow::probes::Sending;
use crate::flow::window::Arrival;

/// What was so late is told to have been held up.
const REPORT_DELAY_FROM: Duration = Duration::from_secs(1);
/// After the local end of file the peer may take nothing, and tell of no arrival, for so long.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(65);
/// After so long without an acknowledgement the peer is asked (1.02).
const REQUEST_ACK_AFTER: Duration = Duration::from_secs(60);
/// How long it may take to answer that.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// What the peer is given to ask for frames of before it said which version it speaks.
const UNKNOWN_VERSION_CAP: usize = 256 * 1024;

/// Bytes that were sent in 1.02 and are not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacked {
    /// The last Input that carried any.
    sequence: u32,
    /// Since when nothing was acknowledged.
    since: Instant,
    /// When the peer was last asked.
    asked: Option<Instant>,
}

impl Unacked {
    /// There is another socket, over which the peer is asked anyway.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.asked) = (now, Some(now));
    }
}

/// Whether what was sent has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// All of it, as far as the gateway tells, or the agent where it speaks 1.02.
    Yes,
    /// Not all of it yet: the peer tells what has arrived.
    NotYet,
    /// The peer tells nothing.
    Unknown,
}

impl Session {
    /// The payload of a WebSocket ping, if one is due.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Bytes> {
        if !self.wants_remote() || self.poll_ping_timeout(now)? > now {
            return None;
        }
        if self.probes.keepalive_ping_at() <= now {
            return Some(self.ping(now));
        }
        // It follows what can be sent at once, so that its answer speaks for all of that.
        let waits = self.can_send(now) && !self.probes.is_overdue(self.sending());
        (!waits).then(|| self.ping(now))
    }

    /// Whether a pong is due that nobody has asked for: while nothing is read the gateway's own pings
    /// are not answered, and it hears at least this.
    pub fn poll_pong(&mut self, now: Instant) -> bool {
        let is_due =
            !self.wants_remote() && self.poll_ping_timeout(now).is_some_and(|at| at <= now);
        if is_due {
            self.probes.note_pong_sent(now);
        }
        is_due
    }

    /// When to call [`Self::poll_ping`] and [`Self::poll_pong`] next, as far as the caller has room for
    /// a message.
    pub fn poll_ping_timeout(&self, now: Instant) -> Option<Instant> {
        if !self.is_connected() || self.end.is_some() {
            return None;
        }
        let life = self.probes.keepalive_ping_at();
        let behind = self.wants_remote().then(|| self.probes.due_at(now, self.sending())).flatten();
        Some(behind.map_or(life, |behind| behind.min(life)))
    }

    /// Whether Input waits until it is known that what was sent before has arrived.
    pub fn waits_for_arrival(&self) -> bool {
        self.pace.waits_for_arrival()
    }

    pub(super) fn ping(&mut self, now: Instant) -> Bytes {
        self.pace.mark();
        self.probes.send(now, self.pace.position(), self.last_new_input)
    }

    /// A WebSocket pong has come, asked for or not.
    pub fn handle_pong(&mut self, now: Instant, payload: &[u8]) {
        match self.probes.answer(now, payload) {
            Some(arrival) => self.handle_arrival(arrival),
            None => self.handle_activity(now),
        }
    }

    /// Something has come that is no answer to a ping.
    pub fn handle_activity(&mut self, now: Instant) {
        if self.probes.on_activity(now) {
            self.update_confirmation();
            self.emit(Event::Unanswered);
        }
    }

    /// This machine has slept. Few sockets survive that.
    pub fn handle_slept(&mut self, now: Instant) {
        self.probes.handle_slept(now);
    }

    /// When the gateway is taken to be gone.
    pub(super) fn silence_at(&self) -> Option<Instant> {
        let waits = self.blocked.is_some() || self.probes.arrived() < self.pace.position();
        self.probes.timeout_at(waits).filter(|_| self.wants_remote())
    }

    pub(super) fn handle_silence(&mut self, now: Instant) {
        self.handle_disconnect(now, Disconnect::Broken(self.probes.timeout_reason()));
    }

    /// Whether what was sent has arrived.
    pub fn arrived(&self) -> Arrived {
        let position = self.pace.position();
        let is_confirmed = self.probes.arrived() >= position;
        let is_acknowledged = self.version.is_resumable() && self.unacked.is_none();
        if position == 0 || is_acknowledged || (is_confirmed && self.is_ack_requested()) {
            Arrived::Yes
        } else if self.probes.were_ever_answered() || self.may_acknowledge() {
            Arrived::NotYet
        } else {
            Arrived::Unknown
        }
    }

    /// How many payload bytes are not known to have arrived.
    pub fn not_arrived(&self) -> u64 {
        self.pace.position() - self.probes.arrived() + self.local.len() as u64
    }

    /// Whether an acknowledgement can be waited for: of an agent that has given one before, or was not
    /// asked yet.
    fn may_acknowledge(&self) -> bool {
        let is_resumable = self.version.is_resumable();
        is_resumable && (self.replay.peer_acknowledges() || !self.is_ack_requested())
    }

    /// An agent of 1.02 whose target is silent acknowledges nothing by itself. Once it was asked, and
    /// asks for nothing, the gateway's word counts.
    fn is_ack_requested(&self) -> bool {
        !self.version.is_resumable() || self.unacked.is_none_or(|unacked| unacked.asked.is_some())
    }

    /// When what was sent before the local end of file is given up.
    pub(super) fn arrival_deadline(&self) -> Option<Instant> {
        let eof = self.local_eof?;
        let since = match self.blocked {
            Some(blocked) => eof.max(blocked),
            None if self.is_sent() && self.arrived() == Arrived::NotYet => {
                let arrival = self.probes.last_arrival();
                eof.max(self.last_input).max(self.taken.1).max(arrival.unwrap_or(eof))
            }
            None => return None,
        };
        Some(since + ARRIVAL_TIMEOUT)
    }

    /// Whether the socket has everything.
    pub(super) fn is_sent(&self) -> bool {
        self.local.is_empty() && self.retransmit_next.is_none() && self.blocked.is_none()
    }

    pub(super) fn handle_not_arrived(&mut self) {
        let bytes = self.not_arrived();
        self.finish(End::Failed(Failure::NotArrived { bytes }), true);
    }

    /// Bytes are sent in a frame with this sequence.
    pub(super) fn note_unacked(&mut self, now: Instant, sequence: u32) {
        let new = Unacked { sequence, since: now, asked: None };
        self.unacked.get_or_insert(new).sequence = sequence;
    }

    /// Input has been acknowledged, and so has arrived.
    pub(super) fn handle_input_arrived(&mut self, now: Instant, up_to: u32) {
        if let Some(unacked) = &mut self.unacked {
            // The greater half of all distances is behind.
            if up_to.wrapping_sub(unacked.sequence) <= u32::MAX / 2 {
                self.unacked = None;
            } else {
                (unacked.since, unacked.asked) = (now, None);
            }
        }
        if let Some(arrival) = self.probes.acknowledged(now, up_to) {
            self.handle_arrival(arrival);
        }
    }

    /// When the peer is asked what it has (1.02). Before an end it is asked at once.
    pub(super) fn request_ack_at(&self) -> Option<Instant> {
        let Unacked { since, asked, .. } = self.unacked.filter(|_| self.version.is_resumable())?;
        let is_ending = self.local_eof.is_some() && self.is_sent();
        match asked {
            None if is_ending => Some(since + Duration::from_millis(100)),
            Some(asked) => Some(asked + REQUEST_ACK_AFTER),
            None => Some(since + REQUEST_ACK_AFTER),
        }
        .filter(|_| !self.sync_due && self.peer_ack_deadline.is_none())
    }

    pub(super) fn request_ack(&mut self, now: Instant) {
        if let Some(unacked) = &mut self.unacked {
            unacked.asked = Some(now);
            self.sync_due = true;
        }
    }

    /// When it is told that the agent does not answer.
    pub(super) fn no_answer_at(&self) -> Option<Instant> {
        let is_busy = !self.deliver.is_empty() || self.local_eof.is_some();
        if self.no_answer_reported || is_busy || self.ready.is_none() {
            return None;
        }
        // What the gateway has not taken nobody can answer.
        let is_taken =
            self.probes.arrived() >= self.pace.position() || !self.probes.were_ever_answered();
        if !self.is_sent() || !is_taken {
            return None;
        }
        let since = self.last_input.max(self.probes.last_arrival().unwrap_or(self.last_input));
        if self.version.is_resumable() {
            // One that has never acknowledged anything may have its own way.
            let asked = self.unacked?.asked.filter(|_| self.replay.peer_acknowledges())?;
            return Some((asked + ACK_TIMEOUT).max(since + REQUEST_ACK_AFTER));
        }
        (self.last_input > self.last_output).then(|| since + REQUEST_ACK_AFTER)
    }

    pub(super) fn report_no_answer(&mut self, now: Instant) {
        self.no_answer_reported = true;
        self.emit(Event::NoAnswer(now.saturating_duration_since(self.last_input)));
    }

    /// Forgets Input that nobody will ask for again: in 1.01, once it is known that the peer
    /// speaks it.
    pub(super) fn drop_unneeded_replay(&mut self) {
        let is_undecided = self.outputs == 0 && self.replay.bytes() < UNKNOWN_VERSION_CAP;
        if !self.version.is_resumable() && !is_undecided {
            self.replay.forget();
            self.unacked = None;
        }
    }

    /// What the local side does not take stops the reading of the peer, and what is not read is
    /// not heard: then nothing waits for an answer.
    pub(super) fn update_confirmation(&mut self) {
        let reads = self.wants_remote();
        if !reads {
            self.probes.mark_unread();
        }
        self.pace.set_confirmed(reads && self.probes.are_answered());
    }

    fn handle_arrival(&mut self, arrival: Arrival) {
        self.update_confirmation();
        self.pace.confirm(arrival, self.probes.min_rtt());
        if arrival.late >= REPORT_DELAY_FROM {
            self.emit(Event::HeldUp(arrival.late));
        }
    }

    fn sending(&self) -> Sending {
        let is_ending = self.local_eof.is_some() && self.probes.arrived() < self.pace.position();
        Sending {
            position: self.pace.position(),
            second: self.pace.second(),
            waits: self.pace.waits_for_arrival() || is_ending,
        }
    }

    /// Whether [`Self::poll_transmit`] has something now.
    fn can_send(&mut self, now: Instant) -> bool {
        if self.sync_due || self.peer_ack_deadline.is_some() || self.pending_end.is_some() {
            return self.sync_due;
        }
        if let Some(sequence) = self.retransmit_next {
            let payload = self.replay.get(sequence).map(|(_, payload)| payload.len());
            return payload.is_some_and(|payload| self.pace.allows_whole(now, payload));
        }
        let queued = self.local.len();
        self.ready.is_some() && queued > 0 && self.pace.allowance(now, queued) > 0
    }
}
