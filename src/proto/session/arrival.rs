//! What has arrived of what was sent: the far side is asked by pings, so that an outage does not end
//! in a burst beyond its limit (PROTOCOL.md, 4).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Event, Session};
use crate::proto::pings::Sending;
use crate::proto::window::Arrival;

/// What was so late is told to have been held up.
const HELD_UP: Duration = Duration::from_secs(1);

impl Session {
    /// The payload of a WebSocket ping, if one is due behind what was sent.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Bytes> {
        if self.ping_at(now)? > now {
            return None;
        }
        // It follows what can be sent at once, so that its answer speaks for all of that.
        let waits = self.can_send(now) && !self.pings.is_overdue(self.sending());
        (!waits).then(|| self.ping(now))
    }

    /// When to call [`Self::poll_ping`] next, as far as the caller has room for a message.
    pub fn ping_at(&self, now: Instant) -> Option<Instant> {
        let asks = self.is_connected() && self.wants_remote();
        if asks { self.pings.due_at(now, self.sending()) } else { None }
    }

    /// Whether Input waits until it is known that what was sent before has arrived.
    pub fn waits_for_arrival(&self) -> bool {
        self.pace.waits_for_arrival()
    }

    /// The payload of a WebSocket ping that is sent now for whatever reason.
    pub fn ping(&mut self, now: Instant) -> Bytes {
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

    /// Input has been acknowledged, and so has arrived.
    pub(super) fn handle_input_arrived(&mut self, now: Instant, up_to: u32) {
        if let Some(arrival) = self.pings.acknowledged(now, up_to) {
            self.handle_arrival(arrival);
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
        Sending {
            position: self.pace.position(),
            second: self.pace.second(),
            waits: self.pace.waits_for_arrival(),
        }
    }

    /// Whether [`Self::poll_transmit`] has something now.
    fn can_send(&mut self, now: Instant) -> bool {
        if self.sync_due || self.told_by.is_some() || self.last.is_some() {
            return self.sync_due;
        }
        if let Some(sequence) = self.resend {
            let payload = self.replay.get(sequence).map(Bytes::len);
            return payload.is_some_and(|payload| self.pace.allows_whole(now, payload));
        }
        let queued = self.local.len();
        self.ready.is_some() && queued > 0 && self.pace.allowance(now, queued) > 0
    }
}
