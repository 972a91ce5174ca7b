//! From the local side to the peer: the queue, what is kept to be sent again, what is acknowledged, and
//! the keepalive (docs/protocol.md, 6 to 8).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::config::SessionKind;
use super::end::{Arrived, Failure};
use super::flow::{FlowControl, Payload};
use super::shell::{MAX_SHELL_PAYLOAD, shell_payload};
use super::ssh::Greeting;
use crate::frame::{FrameType, MAX_PAYLOAD};
use crate::replay::Replay;

/// The most bytes from the local side that wait to be sent.
pub const LOCAL_CAP: usize = 32 * 1024;

/// How long after a reconnect the peer may take to report what it has received.
const PEER_ACK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after the local end of file the peer may accept and confirm nothing.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(65);
/// After so long without an acknowledgement one is requested (1.02).
const REQUEST_ACK_AFTER: Duration = Duration::from_secs(60);
/// The same once all is sent and nothing more follows.
const REQUEST_ACK_AT_END_AFTER: Duration = Duration::from_millis(100);
/// How long the peer may take to answer that.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How much is kept for a peer whose version is not known yet.
const UNKNOWN_VERSION_CAP: usize = 256 * 1024;

/// The direction from the local side to the peer.
#[derive(Debug)]
pub(super) struct Outbound {
    queue: BytesMut,
    /// How many bytes were dropped from the queue.
    dropped: u64,
    kind: SessionKind,
    greeting: Greeting,
    /// When the local side had sent all.
    closed: Option<Instant>,
    /// Since when local bytes may be sent.
    open: Option<Instant>,
    replay: Replay,
    /// The Input that was sent last, unless another was sent again since.
    last_new_input: Option<u32>,
    /// The next frame that is to be sent again.
    retransmit_next: Option<u32>,
    /// Until when that waits for the peer to report what it has.
    peer_ack_deadline: Option<Instant>,
    unacked: Option<Unacked>,
    /// When all bytes that were sent had last become acknowledged (1.02).
    acknowledged: Option<Instant>,
    /// Whether an empty Output has ever acknowledged something: the agent does so without its target.
    acknowledges_by_empty: bool,
    is_keepalive_due: bool,
    last_sent: Instant,
    last_input: Instant,
    /// When this machine last woke.
    woke: Option<Instant>,
    is_no_answer_reported: bool,
}

/// Bytes that were sent in 1.02 and are not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Unacked {
    /// The last Input that carried any.
    sequence: u32,
    /// Since when nothing was acknowledged.
    since: Instant,
    /// When an acknowledgement was last requested.
    requested: Option<Instant>,
}

impl Outbound {
    pub(super) fn new(now: Instant, kind: SessionKind) -> Self {
        let greeting = match kind {
            SessionKind::Port => Greeting::Nothing,
            SessionKind::Shell => Greeting::Other,
        };
        Self {
            queue: BytesMut::new(),
            dropped: 0,
            kind,
            greeting,
            closed: None,
            open: None,
            replay: Replay::default(),
            last_new_input: None,
            retransmit_next: None,
            peer_ack_deadline: None,
            unacked: None,
            acknowledged: None,
            acknowledges_by_empty: false,
            is_keepalive_due: false,
            last_sent: now,
            last_input: now,
            woke: None,
            is_no_answer_reported: false,
        }
    }

    /// How many more bytes the queue takes.
    pub(super) fn room(&self) -> usize {
        match self.closed {
            None => LOCAL_CAP.saturating_sub(self.queue.len()),
            Some(_) => 0,
        }
    }

    /// How many bytes wait to be sent for the first time.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes bytes of the local side.
    pub(super) fn push(&mut self, now: Instant, bytes: &[u8]) {
        self.greeting = self.greeting.and(bytes);
        self.last_input = now;
        self.queue.extend_from_slice(bytes);
    }

    /// How many bytes were not sent, and some of them never will be.
    pub(super) fn not_sent(&self) -> u64 {
        self.dropped + self.queue.len() as u64
    }

    /// Drops the bytes that were not sent yet.
    pub(super) fn clear(&mut self) {
        self.dropped = self.not_sent();
        self.queue.clear();
    }

    /// What the local side has sent first.
    pub(super) fn greeting(&self) -> Greeting {
        self.greeting
    }

    /// The local side has sent all.
    pub(super) fn close(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
        self.is_keepalive_due = false;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Local bytes may be sent from now on. Whether they could not before.
    pub(super) fn open(&mut self, now: Instant) -> bool {
        let is_new = self.open.is_none();
        self.open.get_or_insert(now);
        is_new
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When both the end of file and the leave to send were there.
    pub(super) fn drained_from(&self) -> Option<Instant> {
        Some(self.closed?.max(self.open?))
    }

    pub(super) fn last_sent(&self) -> Instant {
        self.last_sent
    }

    /// When the local side last sent something, or something of it went out.
    pub(super) fn last_input(&self) -> Instant {
        self.last_input
    }

    /// When that last made a difference to the peer: it was sent, or acknowledged.
    pub(super) fn last_activity(&self) -> Instant {
        self.acknowledged.map_or(self.last_input, |at| at.max(self.last_input))
    }

    /// The sequence of the last Input or Resize.
    pub(super) fn last_sequence(&self) -> u32 {
        self.replay.last()
    }

    pub(super) fn last_new_input(&self) -> Option<u32> {
        self.last_new_input
    }

    /// How many payload bytes a peer that acknowledges has not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.replay.bytes() as u64
    }

    /// Whether the socket has everything.
    pub(super) fn is_sent(&self, flow: &FlowControl) -> bool {
        self.queue.is_empty() && self.retransmit_next.is_none() && flow.blocked().is_none()
    }

    pub(super) fn is_retransmitting(&self) -> bool {
        self.retransmit_next.is_some()
    }

    /// The payload that the next frame has, if one is to be sent.
    fn next_payload(&self) -> Option<Payload> {
        if self.peer_ack_deadline.is_some() {
            return None;
        }
        if let Some(sequence) = self.retransmit_next {
            return self.replay.get(sequence).map(|(_, payload)| Payload::Again(payload.len()));
        }
        let is_some = self.open.is_some() && !self.queue.is_empty();
        is_some.then(|| self.next_new())
    }

    fn next_new(&self) -> Payload {
        let most = match self.kind {
            SessionKind::Port => MAX_PAYLOAD,
            SessionKind::Shell => MAX_SHELL_PAYLOAD,
        };
        Payload::New(self.queue.len().min(most))
    }

    /// When the next frame may be sent, if one has to wait for that.
    pub(super) fn send_at(&self, flow: &FlowControl) -> Option<Instant> {
        flow.may_send_at(self.next_payload()?)
    }

    /// Whether a frame may be sent now.
    pub(super) fn can_send(&self, now: Instant, flow: &mut FlowControl) -> bool {
        self.next_payload().is_some_and(|payload| flow.may_send(now, payload).is_some())
    }

    /// The frame that is to be sent again now.
    pub(super) fn poll_retransmit(
        &mut self,
        now: Instant,
        flow: &mut FlowControl,
    ) -> Option<(FrameType, u32, Bytes)> {
        if self.peer_ack_deadline.is_some() {
            return None;
        }
        let mut sequence = self.retransmit_next?;
        if self.replay.get(sequence).is_none() {
            // It was acknowledged meanwhile, as all before it: what is left is further on.
            self.retransmit_next = self.replay.oldest();
            sequence = self.retransmit_next?;
        }
        let (kind, payload) = self.replay.get(sequence).cloned()?;
        let len = flow.may_send(now, Payload::Again(payload.len()))?;
        flow.handle_sent(now, len);
        self.last_new_input = None;
        self.last_input = now;
        self.retransmit_next = (sequence != self.replay.last()).then(|| sequence.wrapping_add(1));
        Some((kind, sequence, payload))
    }

    /// The local bytes that are to be sent now.
    pub(super) fn poll_input(&mut self, now: Instant, flow: &mut FlowControl) -> Option<Bytes> {
        let most = flow.may_send(now, self.next_new())?;
        let len = match self.kind {
            SessionKind::Port => most,
            SessionKind::Shell => shell_payload(self.queue.get(..most)?),
        };
        flow.handle_sent(now, len);
        self.last_input = now;
        Some(self.queue.split_to(len).freeze())
    }

    /// An Input or a Resize is sent for the first time: its sequence.
    pub(super) fn keep(&mut self, now: Instant, kind: FrameType, payload: Bytes) -> u32 {
        let has_bytes = kind == FrameType::INPUT && !payload.is_empty();
        let sequence = self.replay.push(kind, payload);
        self.last_new_input = Some(sequence);
        if has_bytes {
            let new = Unacked { sequence, since: now, requested: None };
            self.unacked.get_or_insert(new).sequence = sequence;
        }
        sequence
    }

    /// A frame is sent, whatever it is.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
        self.is_keepalive_due = false;
    }

    pub(super) fn set_keepalive_due(&mut self, is_due: bool) {
        self.is_keepalive_due = is_due;
    }

    pub(super) fn take_keepalive(&mut self) -> bool {
        std::mem::take(&mut self.is_keepalive_due)
    }

    /// When a keepalive is due that is sent after so long without a frame of this side.
    pub(super) fn keepalive_at(&self, after: Duration) -> Option<Instant> {
        let is_wanted = self.is_open() && !self.is_keepalive_due;
        is_wanted.then(|| self.last_sent + after)
    }

    /// Drops Input that will not be requested again: in 1.01, once it is known that the peer speaks it.
    pub(super) fn forget_unneeded(&mut self, has_acks: bool, has_output: bool) {
        let is_undecided = !has_output && self.replay.bytes() < UNKNOWN_VERSION_CAP;
        if !has_acks && !is_undecided {
            self.replay.forget();
            self.unacked = None;
        }
    }

    /// The peer reports which Input it has.
    pub(super) fn handle_acknowledged(
        &mut self,
        now: Instant,
        up_to: u32,
        by_empty: bool,
    ) -> Result<(), Failure> {
        self.peer_ack_deadline = None;
        let Ok(is_new) = self.replay.acknowledge(up_to) else {
            return Err(Failure::NeverSent { got: up_to, sent: self.replay.last() });
        };
        self.acknowledges_by_empty |= is_new && by_empty;
        if let Some(unacked) = &mut self.unacked {
            // The greater half of all distances is behind.
            if up_to.wrapping_sub(unacked.sequence) <= u32::MAX / 2 {
                self.unacked = None;
                self.acknowledged = Some(now);
            } else {
                (unacked.since, unacked.requested) = (now, None);
            }
        }
        Ok(())
    }

    /// The peer requests all Input from a sequence on: the first frame that it gets again.
    pub(super) fn handle_sync(&mut self, from: u32) -> Result<u32, Failure> {
        self.peer_ack_deadline = None;
        let from = self.replay.resume_at(from).map_err(|_| Failure::LostInput(from))?;
        // It has all before that.
        let _ = self.replay.acknowledge(from.wrapping_sub(1));
        self.retransmit_next = self.replay.get(from).map(|_| from);
        Ok(from)
    }

    /// The socket is lost.
    pub(super) fn handle_disconnect(&mut self) {
        self.retransmit_next = None;
        self.peer_ack_deadline = None;
        self.is_keepalive_due = false;
    }

    /// There is another socket. What the peer has not acknowledged may be lost, or only the
    /// acknowledgement. Its next frame reports that; otherwise it gets all of it again, and drops what it
    /// has.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        self.last_new_input = None;
        self.retransmit_next = self.replay.oldest();
        self.peer_ack_deadline = self.retransmit_next.map(|_| now + PEER_ACK_TIMEOUT);
        if let Some(unacked) = &mut self.unacked {
            // The peer is asked over the new socket anyway.
            (unacked.since, unacked.requested) = (now, Some(now));
        }
        self.last_sent = now;
    }

    pub(super) fn peer_ack_deadline(&self) -> Option<Instant> {
        self.peer_ack_deadline
    }

    /// The peer has not reported what it has.
    pub(super) fn handle_no_peer_ack(&mut self) {
        self.peer_ack_deadline = None;
    }

    /// Whether what was sent has arrived. `has_acks` says whether the peer speaks 1.02.
    pub(super) fn arrived(&self, flow: &FlowControl, has_acks: bool) -> Arrived {
        // A keepalive that is not acknowledged has nothing that could be missing.
        let is_acknowledged = has_acks && (self.unacked.is_none() || self.replay.bytes() == 0);
        let is_requested = self.unacked.is_none_or(|unacked| unacked.requested.is_some());
        // An agent of 1.02 whose target is silent may acknowledge nothing by itself. Once it was asked,
        // and asks for nothing, the gateway's word counts.
        let gateway_decides = !has_acks || (is_requested && !self.acknowledges_by_empty);
        let is_confirmed = flow.not_arrived() == 0;
        // An acknowledgement can be waited for from an agent that has given one before, or was not
        // asked yet.
        let may_acknowledge = has_acks && (self.replay.peer_acknowledges() || !is_requested);
        if flow.pace.position() == 0 || is_acknowledged || (is_confirmed && gateway_decides) {
            Arrived::Yes
        } else if flow.probes.were_ever_answered() || may_acknowledge {
            Arrived::NotYet
        } else {
            Arrived::Unknown
        }
    }

    /// Whether there is nothing, or nothing more, that has to arrive.
    pub(super) fn is_done(&self, flow: &FlowControl, has_acks: bool) -> bool {
        let is_handed_over =
            self.queue.is_empty() && (!self.is_retransmitting() || self.replay.bytes() == 0);
        is_handed_over && self.arrived(flow, has_acks) == Arrived::Yes
    }

    /// When what was sent before the local end of file is given up, as long as the peer is read.
    pub(super) fn arrival_deadline(&self, flow: &FlowControl, has_acks: bool) -> Option<Instant> {
        let closed = self.closed?;
        let since = match flow.blocked() {
            Some(_) if self.is_done(flow, has_acks) => return None,
            Some(blocked) => closed.max(blocked),
            None if self.is_sent(flow) && self.arrived(flow, has_acks) == Arrived::NotYet => {
                let arrival = flow.probes.last_arrival().unwrap_or(closed);
                closed.max(self.last_input).max(flow.taken_at()).max(arrival)
            }
            None => return None,
        };
        Some(since.max(flow.unread()) + ARRIVAL_TIMEOUT)
    }

    /// When an acknowledgement is requested (1.02): before an end, at once.
    pub(super) fn request_ack_at(&self, flow: &FlowControl, has_acks: bool) -> Option<Instant> {
        let Unacked { since, requested, .. } = self.unacked.filter(|_| has_acks)?;
        if self.peer_ack_deadline.is_some() {
            return None;
        }
        let is_ending = self.is_closed() && self.is_sent(flow);
        Some(match requested {
            Some(requested) => requested + REQUEST_ACK_AFTER,
            None if is_ending => since + REQUEST_ACK_AT_END_AFTER,
            None => since + REQUEST_ACK_AFTER,
        })
    }

    /// An acknowledgement is requested. Whether there is anything to acknowledge.
    pub(super) fn request_ack(&mut self, now: Instant) -> bool {
        let Some(unacked) = &mut self.unacked else { return false };
        unacked.requested = Some(now);
        true
    }

    /// When it is reported that the agent does not answer.
    pub(super) fn no_answer_at(
        &self,
        flow: &FlowControl,
        has_acks: bool,
        last_output: Instant,
    ) -> Option<Instant> {
        if self.is_no_answer_reported || self.is_closed() || !self.is_open() {
            return None;
        }
        // What the gateway has not accepted cannot be answered.
        let is_taken = flow.not_arrived() == 0 || !flow.probes.were_ever_answered();
        if !self.is_sent(flow) || !is_taken {
            return None;
        }
        let since = self.last_input.max(flow.probes.last_arrival().unwrap_or(self.last_input));
        // Nothing could come in its sleep.
        let since = self.woke.map_or(since, |woke| since.max(woke));
        if has_acks {
            // One that has never acknowledged anything may not do so at all.
            let can_answer = self.replay.peer_acknowledges();
            let requested = self.unacked?.requested.filter(|_| can_answer)?;
            return Some((requested + ACK_TIMEOUT).max(since + REQUEST_ACK_AFTER));
        }
        (self.last_input > last_output).then(|| since + REQUEST_ACK_AFTER)
    }

    /// This machine has slept.
    pub(super) fn handle_slept(&mut self, now: Instant) {
        self.woke = Some(now);
    }

    /// It is reported that the agent does not answer: for how long.
    pub(super) fn report_no_answer(&mut self, now: Instant) -> Duration {
        self.is_no_answer_reported = true;
        now.saturating_duration_since(self.last_input)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn replay(&self) -> &Replay {
        &self.replay
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_keepalive_due(&self) -> bool {
        self.is_keepalive_due
    }
}

#[cfg(test)]
mod tests;
