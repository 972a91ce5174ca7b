//! What has arrived of what was sent: the far side is asked by pings, so that an outage does not end
//! in a burst beyond its limit (PROTOCOL.md, 4), and an upload does not end before it has arrived
//! (PROTOCOL.md, 7).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Disconnect, End, Event, Failure, Session};
use crate::flow::probes::Sending;
use crate::flow::window::Arrival;

/// What was so late is told to have been held up.
const HELD_UP: Duration = Duration::from_secs(1);
/// After the local end of file the far side may take nothing, and tell of no arrival, for so long.
const ARRIVES_WITHIN: Duration = Duration::from_secs(65);
/// After so long without an acknowledgement the far side is asked (1.02).
const ASK_AFTER: Duration = Duration::from_secs(60);
/// How long it may take to answer that.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What the far side is given to ask for frames of before it said which version it speaks.
const UNDECIDED_CAP: usize = 256 * 1024;

/// Bytes that were sent in 1.02 and are not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacked {
    /// The last Input that carried any.
    sequence: u32,
    /// Since when nothing was acknowledged.
    since: Instant,
    /// When the far side was last asked.
    asked: Option<Instant>,
}

impl Unacked {
    /// There is another socket, over which the far side is asked anyway.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.asked) = (now, Some(now));
    }
}

/// Whether what was sent has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// All of it, as far as the gateway tells, or the agent where it speaks 1.02.
    Yes,
    /// Not all of it yet: the far side tells what has arrived.
    NotYet,
    /// The far side tells nothing.
    Unknown,
}

impl Session {
    /// The payload of a WebSocket ping, if one is due.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Bytes> {
        if !self.wants_remote() || self.ping_at(now)? > now {
            return None;
        }
        if self.pings.sign_of_life_at() <= now {
            return Some(self.ping(now));
        }
        // It follows what can be sent at once, so that its answer speaks for all of that.
        let waits = self.can_send(now) && !self.pings.is_overdue(self.sending());
        (!waits).then(|| self.ping(now))
    }

    /// Whether a pong is due that nobody has asked for: while nothing is read the gateway's own pings
    /// are not answered, and it hears at least this.
    pub fn poll_pong(&mut self, now: Instant) -> bool {
        let is_due = !self.wants_remote() && self.ping_at(now).is_some_and(|at| at <= now);
        if is_due {
            self.pings.signed(now);
        }
        is_due
    }

    /// When to call [`Self::poll_ping`] and [`Self::poll_pong`] next, as far as the caller has room for
    /// a message.
    pub fn ping_at(&self, now: Instant) -> Option<Instant> {
        if !self.is_connected() || self.end.is_some() {
            return None;
        }
        let life = self.pings.sign_of_life_at();
        let behind = self.wants_remote().then(|| self.pings.due_at(now, self.sending())).flatten();
        Some(behind.map_or(life, |behind| behind.min(life)))
    }

    /// Whether Input waits until it is known that what was sent before has arrived.
    pub fn waits_for_arrival(&self) -> bool {
        self.pace.waits_for_arrival()
    }

    pub(super) fn ping(&mut self, now: Instant) -> Bytes {
        self.pace.mark();
        self.pings.send(now, self.pace.position(), self.newest)
    }

    /// A WebSocket pong has come, asked for or not.
    pub fn handle_pong(&mut self, now: Instant, payload: &[u8]) {
        match self.pings.answer(now, payload) {
            Some(arrival) => self.handle_arrival(arrival),
            None => self.handle_sign_of_life(now),
        }
    }

    /// Something has come that is no answer to a ping.
    pub fn handle_sign_of_life(&mut self, now: Instant) {
        if self.pings.heard(now) {
            self.note_reading();
            self.tell(Event::Unanswered);
        }
    }

    /// This machine has slept. Few sockets survive that.
    pub fn handle_slept(&mut self, now: Instant) {
        self.pings.handle_slept(now);
    }

    /// When the gateway is taken to be gone.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let waits = self.blocked.is_some() || self.pings.arrived() < self.pace.position();
        self.pings.gone_at(waits).filter(|_| self.wants_remote())
    }

    pub(super) fn handle_silence(&mut self, now: Instant) {
        self.handle_disconnect(now, Disconnect::Broken(self.pings.gone()));
    }

    /// Whether what was sent has arrived.
    pub fn arrived(&self) -> Arrived {
        let position = self.pace.position();
        let is_confirmed = self.pings.arrived() >= position;
        let is_acknowledged = self.version.is_resumable() && self.unacked.is_none();
        if position == 0 || is_acknowledged || (is_confirmed && self.asked_for_acknowledgement()) {
            Arrived::Yes
        } else if self.pings.were_answered() || self.may_acknowledge() {
            Arrived::NotYet
        } else {
            Arrived::Unknown
        }
    }

    /// How many payload bytes are not known to have arrived.
    pub fn not_arrived(&self) -> u64 {
        self.pace.position() - self.pings.arrived() + self.local.len() as u64
    }

    /// Whether an acknowledgement can be waited for: of an agent that has given one before, or was not
    /// asked yet.
    fn may_acknowledge(&self) -> bool {
        let is_resumable = self.version.is_resumable();
        is_resumable && (self.replay.peer_acknowledges() || !self.asked_for_acknowledgement())
    }

    /// An agent of 1.02 whose target is silent acknowledges nothing by itself. Once it was asked, and
    /// asks for nothing, the gateway's word counts.
    fn asked_for_acknowledgement(&self) -> bool {
        !self.version.is_resumable() || self.unacked.is_none_or(|unacked| unacked.asked.is_some())
    }

    /// When what was sent before the local end of file is given up.
    pub(super) fn arrival_by(&self) -> Option<Instant> {
        let eof = self.eof?;
        let since = match self.blocked {
            Some(blocked) => eof.max(blocked),
            None if self.is_sent() && self.arrived() == Arrived::NotYet => {
                let arrival = self.pings.last_arrival();
                eof.max(self.last_input).max(self.taken.1).max(arrival.unwrap_or(eof))
            }
            None => return None,
        };
        Some(since + ARRIVES_WITHIN)
    }

    /// Whether the socket has everything.
    pub(super) fn is_sent(&self) -> bool {
        self.local.is_empty() && self.resend.is_none() && self.blocked.is_none()
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
        if let Some(arrival) = self.pings.acknowledged(now, up_to) {
            self.handle_arrival(arrival);
        }
    }

    /// When the far side is asked what it has (1.02). Before an end it is asked at once.
    pub(super) fn ask_acknowledgement_at(&self) -> Option<Instant> {
        let Unacked { since, asked, .. } = self.unacked.filter(|_| self.version.is_resumable())?;
        let is_ending = self.eof.is_some() && self.is_sent();
        match asked {
            None if is_ending => Some(since + Duration::from_millis(100)),
            Some(asked) => Some(asked + ASK_AFTER),
            None => Some(since + ASK_AFTER),
        }
        .filter(|_| !self.sync_due && self.told_by.is_none())
    }

    pub(super) fn ask_acknowledgement(&mut self, now: Instant) {
        if let Some(unacked) = &mut self.unacked {
            unacked.asked = Some(now);
            self.sync_due = true;
        }
    }

    /// When it is told that the agent does not answer.
    pub(super) fn no_answer_at(&self) -> Option<Instant> {
        let is_busy = !self.deliver.is_empty() || self.eof.is_some();
        if self.no_answer_told || is_busy || self.ready.is_none() {
            return None;
        }
        // What the gateway has not taken nobody can answer.
        let is_taken = self.pings.arrived() >= self.pace.position() || !self.pings.were_answered();
        if !self.is_sent() || !is_taken {
            return None;
        }
        let since = self.last_input.max(self.pings.last_arrival().unwrap_or(self.last_input));
        if self.version.is_resumable() {
            // One that has never acknowledged anything may have its own way.
            let asked = self.unacked?.asked.filter(|_| self.replay.peer_acknowledges())?;
            return Some((asked + ANSWER_WITHIN).max(since + ASK_AFTER));
        }
        (self.last_input > self.last_output).then(|| since + ASK_AFTER)
    }

    pub(super) fn tell_no_answer(&mut self, now: Instant) {
        self.no_answer_told = true;
        self.tell(Event::NoAnswer(now.saturating_duration_since(self.last_input)));
    }

    /// Forgets Input that nobody will ask for again: in 1.01, once it is known that the far side
    /// speaks it.
    pub(super) fn forget_unasked(&mut self) {
        let is_undecided = self.outputs == 0 && self.replay.bytes() < UNDECIDED_CAP;
        if !self.version.is_resumable() && !is_undecided {
            self.replay.forget();
            self.unacked = None;
        }
    }

    /// What the local side does not take stops the reading of the far side, and what is not read is
    /// not heard: then nothing waits for an answer.
    pub(super) fn note_reading(&mut self) {
        let reads = self.wants_remote();
        if !reads {
            self.pings.not_read();
        }
        self.pace.set_confirmed(reads && self.pings.are_answered());
    }

    fn handle_arrival(&mut self, arrival: Arrival) {
        self.note_reading();
        self.pace.confirm(arrival, self.pings.usual());
        if arrival.late >= HELD_UP {
            self.tell(Event::HeldUp(arrival.late));
        }
    }

    fn sending(&self) -> Sending {
        let is_ending = self.eof.is_some() && self.pings.arrived() < self.pace.position();
        Sending {
            position: self.pace.position(),
            second: self.pace.second(),
            waits: self.pace.waits_for_arrival() || is_ending,
        }
    }

    /// Whether [`Self::poll_transmit`] has something now.
    fn can_send(&mut self, now: Instant) -> bool {
        if self.sync_due || self.told_by.is_some() || self.last.is_some() {
            return self.sync_due;
        }
        if let Some(sequence) = self.resend {
            let payload = self.replay.get(sequence).map(|(_, payload)| payload.len());
            return payload.is_some_and(|payload| self.pace.allows_whole(now, payload));
        }
        let queued = self.local.len();
        self.ready.is_some() && queued > 0 && self.pace.allowance(now, queued) > 0
    }
}
