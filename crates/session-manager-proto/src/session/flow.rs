//! When frames may be sent, what of them has arrived, and whether the gateway is still there: token
//! bucket, window and probes as one (docs/protocol.md, 4).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::Event;
use crate::flow::pace::{DEFAULT_LIMIT, Pace};
use crate::flow::probes::{Probes, Sending};
use crate::flow::window::Arrival;

/// A delay of what was sent is reported from this length on.
const REPORT_DELAY_FROM: Duration = Duration::from_secs(1);

/// The payload of a frame that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// So many bytes, as many of them as one frame may carry.
    New(usize),
    /// So many bytes that were sent before in one frame, and cannot be cut.
    Again(usize),
}

/// The flow control of one session.
#[derive(Debug)]
pub(super) struct FlowControl {
    pub(super) pace: Pace,
    pub(super) probes: Probes,
    /// Since when the socket has taken nothing although there is something for it.
    blocked: Option<Instant>,
    /// How many payload bytes the socket has taken, and when it took the last of them.
    taken: (u64, Instant),
    /// Until when nothing was read, or since when there is a session.
    unread: Instant,
}

impl FlowControl {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(now, DEFAULT_LIMIT),
            probes: Probes::new(now, 0),
            blocked: None,
            taken: (0, now),
            unread: now,
        }
    }

    /// How many bytes of a payload may be sent now in one frame. `None` says wait.
    pub(super) fn may_send(&mut self, now: Instant, payload: Payload) -> Option<usize> {
        match payload {
            Payload::New(0) => None,
            Payload::New(queued) => Some(self.pace.allowance(now, queued)).filter(|len| *len > 0),
            Payload::Again(len) => self.pace.allows_whole(now, len).then_some(len),
        }
    }

    /// When to ask [`Self::may_send`] again; `None` is once more is known to have arrived.
    pub(super) fn may_send_at(&self, payload: Payload) -> Option<Instant> {
        match payload {
            Payload::New(queued) => self.pace.retry_at(queued),
            Payload::Again(len) => self.pace.whole_at(len),
        }
    }

    /// A frame is sent with as many bytes as [`Self::may_send`] allowed.
    pub(super) fn handle_sent(&mut self, now: Instant, len: usize) {
        self.pace.spend(now, len);
    }

    /// How many payload bytes are not known to have arrived at the gateway.
    pub(super) fn not_arrived(&self) -> u64 {
        self.pace.position() - self.probes.arrived()
    }

    /// How many of them the gateway has not taken, as far as it tells by reading nothing.
    pub(super) fn stuck(&self, now: Instant) -> u64 {
        let position = self.pace.position();
        let is_stuck = self.probes.is_stuck_before(now, position);
        if is_stuck { self.not_arrived() } else { 0 }
    }

    /// The socket has taken nothing since an instant, although there is something for it.
    pub(super) fn handle_socket_blocked(&mut self, since: Instant) {
        self.blocked = Some(since);
    }

    /// The socket has taken everything.
    pub(super) fn handle_socket_drained(&mut self, now: Instant) {
        self.blocked = None;
        if self.pace.position() > self.taken.0 {
            self.taken = (self.pace.position(), now);
        }
    }

    /// Since when the socket has taken nothing.
    pub(super) fn blocked(&self) -> Option<Instant> {
        self.blocked
    }

    /// When the socket had taken everything for the first time.
    pub(super) fn taken_at(&self) -> Instant {
        self.taken.1
    }

    /// There is another socket: nothing is known of it, and nothing arrives by the old one.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        self.probes = Probes::new(now, self.pace.position());
        self.blocked = None;
        self.pace.handle_new_path(now);
    }

    /// The payload of a ping that is sent now, behind an Input.
    pub(super) fn ping(&mut self, now: Instant, last_new_input: Option<u32>) -> Bytes {
        self.pace.mark();
        self.probes.send(now, self.pace.position(), last_new_input)
    }

    /// Whether a ping that is due may wait no longer for what else can be sent at once.
    pub(super) fn is_ping_overdue(&self, is_closed: bool) -> bool {
        self.probes.is_overdue(self.sending(is_closed))
    }

    /// When the next ping is due, or the pong that takes its place while nothing is read.
    pub(super) fn ping_at(&self, now: Instant, reads: bool, is_closed: bool) -> Instant {
        let keepalive = self.probes.keepalive_ping_at();
        let behind = reads.then(|| self.probes.due_at(now, self.sending(is_closed))).flatten();
        behind.map_or(keepalive, |behind| behind.min(keepalive))
    }

    /// A pong has come. `reads` says whether the peer is read.
    pub(super) fn handle_pong(
        &mut self,
        now: Instant,
        payload: &[u8],
        reads: bool,
    ) -> Option<Event> {
        match self.probes.answer(now, payload) {
            Some(arrival) => self.handle_arrival(arrival, reads),
            None => self.handle_activity(now, reads),
        }
    }

    /// Something has come that is no answer to a ping.
    pub(super) fn handle_activity(&mut self, now: Instant, reads: bool) -> Option<Event> {
        self.probes.on_activity(now).then(|| {
            self.update_reading(reads);
            Event::Unanswered
        })
    }

    /// Input has been acknowledged, and so has arrived.
    pub(super) fn handle_acknowledged(
        &mut self,
        now: Instant,
        up_to: u32,
        reads: bool,
    ) -> Option<Event> {
        let arrival = self.probes.acknowledged(now, up_to)?;
        self.handle_arrival(arrival, reads)
    }

    fn handle_arrival(&mut self, arrival: Arrival, reads: bool) -> Option<Event> {
        self.update_reading(reads);
        self.pace.confirm(arrival, self.probes.min_rtt());
        (arrival.late >= REPORT_DELAY_FROM).then_some(Event::HeldUp(arrival.late))
    }

    /// As long as the local side does not take output, the peer is not read: no answer is expected
    /// then.
    pub(super) fn update_reading(&mut self, reads: bool) {
        if !reads {
            self.probes.mark_unread();
        }
        self.pace.set_confirmed(reads && self.probes.are_answered());
    }

    /// Reading has paused, so that nothing could come.
    pub(super) fn handle_not_reading(&mut self, now: Instant) {
        self.probes.note_activity(now);
        self.unread = now;
    }

    /// Until when reading has paused, as far as reported. What should have come by then may still come.
    pub(super) fn unread(&self) -> Instant {
        self.unread
    }

    /// When a gateway that is silent is taken to be gone.
    pub(super) fn silence_at(&self) -> Option<Instant> {
        self.probes.timeout_at(self.blocked.is_some() || self.not_arrived() > 0)
    }

    fn sending(&self, is_closed: bool) -> Sending {
        Sending {
            position: self.pace.position(),
            second: self.pace.second(),
            waits: self.pace.waits_for_arrival() || (is_closed && self.not_arrived() > 0),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends full frames for as long as they are allowed.
    fn send_all(flow: &mut FlowControl, now: Instant) -> usize {
        let mut bytes = 0;
        while let Some(len) = flow.may_send(now, Payload::New(2048)) {
            flow.handle_sent(now, len);
            bytes += len;
        }
        bytes
    }

    #[test]
    fn one_rule_holds_for_new_payloads_and_for_those_that_are_sent_again() {
        let now = Instant::now();
        let mut flow = FlowControl::new(now);
        assert_eq!(flow.may_send(now, Payload::New(0)), None);
        assert_eq!(flow.may_send(now, Payload::Again(0)), Some(0));
        assert_eq!(send_all(&mut flow, now), 8192);
        assert_eq!(flow.may_send(now, Payload::Again(2048)), None);
        let at = flow.may_send_at(Payload::Again(2048)).unwrap();
        assert_eq!(at, flow.may_send_at(Payload::New(2048)).unwrap());
        assert_eq!(flow.may_send(at, Payload::Again(2048)), Some(2048));
    }

    #[test]
    fn what_was_sent_has_arrived_once_a_ping_behind_it_is_answered() {
        let now = Instant::now();
        let mut flow = FlowControl::new(now);
        send_all(&mut flow, now);
        assert_eq!((flow.pace.position(), flow.not_arrived()), (8192, 8192));
        assert!(!flow.probes.were_ever_answered());
        assert_eq!(flow.ping_at(now, true, false), now, "the way is not known");
        let ping = flow.ping(now, None);
        assert_eq!(flow.handle_pong(now + SECOND / 2, &ping, true), None);
        assert_eq!((flow.not_arrived(), flow.probes.were_ever_answered()), (0, true));
        assert_eq!(flow.probes.last_arrival(), Some(now + SECOND / 2));
        // A ping whose answer is late says so, and a pong that answers nothing is only activity.
        let ping = flow.ping(now + SECOND, None);
        let event = flow.handle_pong(now + 4 * SECOND, &ping, true);
        assert!(matches!(event, Some(Event::HeldUp(late)) if late >= 2 * SECOND), "{event:?}");
        assert_eq!(flow.handle_pong(now + 4 * SECOND, b"other", true), None);
    }

    #[test]
    fn a_gateway_that_has_answered_is_gone_after_silence_and_later_while_the_socket_is_blocked() {
        let now = Instant::now();
        let mut flow = FlowControl::new(now);
        assert_eq!(flow.silence_at(), None, "it may never answer");
        let ping = flow.ping(now, None);
        flow.handle_pong(now, &ping, true);
        let quiet = flow.silence_at().unwrap();
        flow.handle_socket_blocked(now);
        assert!(flow.silence_at().unwrap() > quiet);
        flow.handle_socket_drained(now);
        assert_eq!((flow.silence_at(), flow.taken_at()), (Some(quiet), now));
        flow.handle_reconnected(now);
        assert_eq!(flow.silence_at(), None);
    }

    #[test]
    fn what_is_sent_again_by_another_socket_counts_once() {
        let now = Instant::now();
        let mut flow = FlowControl::new(now);
        send_all(&mut flow, now);
        flow.handle_reconnected(now);
        assert_eq!(flow.not_arrived(), 0, "nothing was sent by it yet");
        let later = now + SECOND;
        let again = send_all(&mut flow, later);
        assert_eq!(flow.not_arrived(), again as u64);
        let ping = flow.ping(later, None);
        flow.handle_pong(later, &ping, true);
        assert_eq!(flow.not_arrived(), 0);
    }
}
