//! From the peer to the local side: the queue, the sequence of the Outputs, gaps in it, and what is to
//! be acknowledged (docs/protocol.md, 8).
//!
//! Only an Output beyond a gap shows the gap: what the sequences of Status frames count is not
//! published.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::SessionKind;
use super::end::{End, Failure, RemoteEnd};
use super::event::Event;
use super::link::RECONNECT_TIMEOUT;
use super::ssh::{Greeting, SshDetector};
use crate::redial::RedialWatch;

/// With this many payload bytes waiting to be delivered, the peer is not read. One message more may
/// be on its way.
pub const DELIVER_CAP: usize = 64 * 1024;
/// The same as a number of pieces, since small ones cost more than their bytes.
pub(super) const DELIVER_PIECES: usize = 256;

/// How long after a Sync the missing Outputs may take before they are requested again.
const RESYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The same once the peer has ended the stream: it may not stay for long.
const RESYNC_INTERVAL_AT_END: Duration = Duration::from_millis(400);
/// After so many bytes of Output they are acknowledged, if nothing else was to be sent. The peer keeps
/// what is not acknowledged.
const ACK_AFTER_BYTES: usize = 256 * 1024;
/// A target that sends so much, and has sent within this time, has not closed: a download goes on.
const DOWNLOAD: (usize, Duration) = (64 * 1024, Duration::from_secs(2));

/// The direction from the peer to the local side.
#[derive(Debug)]
pub(super) struct Inbound {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Whether nothing takes output any more.
    is_discarding: bool,
    /// Whether the stream has ended, so that no more output is needed.
    is_finished: bool,
    ssh: SshDetector,
    /// Only for the target of a port: agents dial it again.
    redial: Option<RedialWatch>,
    /// Whether an Output has come, though it may be empty: the agent has joined.
    has_joined: bool,
    /// When the target last sent something, if it has.
    last_payload: Option<Instant>,
    has_output_after_eof: bool,
    last_output: Instant,
    /// Bytes of Output since the last frame of this side.
    since_last_sent: usize,
    /// The number that the next 1.01 Output has to have, and whether a gap was reported.
    next_single: Option<i64>,
    is_gap_reported: bool,
    /// The last Output of 1.02 that came in order.
    received: u32,
    gap: Option<OutputGap>,
    /// Bytes of Output that are not acknowledged.
    unacked_bytes: usize,
    is_sync_due: bool,
}

/// Outputs that were sent and have not come.
#[derive(Clone, Copy, Debug)]
struct OutputGap {
    /// Since when nothing has come of them.
    since: Instant,
    /// When they were last requested.
    requested: Instant,
    /// How often that was, for as long as nothing came.
    requests: u32,
    /// The last Output that has come, beyond the gap.
    got: u32,
}

/// How an Output of 1.02 stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Next,
    Ahead,
    Duplicate,
}

impl Inbound {
    pub(super) fn new(now: Instant, kind: SessionKind) -> Self {
        let (ssh, redial) = match kind {
            SessionKind::Port => (SshDetector::default(), Some(RedialWatch::default())),
            SessionKind::Shell => (SshDetector::Other, None),
        };
        Self {
            queue: VecDeque::new(),
            queued: 0,
            is_discarding: false,
            is_finished: false,
            ssh,
            redial,
            has_joined: false,
            last_payload: None,
            has_output_after_eof: false,
            last_output: now,
            since_last_sent: 0,
            next_single: None,
            is_gap_reported: false,
            received: 0,
            gap: None,
            unacked_bytes: 0,
            is_sync_due: false,
        }
    }

    /// Whether there is room for more output. There is none once the stream has ended.
    pub(super) fn has_room(&self) -> bool {
        !self.is_finished && self.queued < DELIVER_CAP && self.queue.len() < DELIVER_PIECES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn has_joined(&self) -> bool {
        self.has_joined
    }

    pub(super) fn has_output(&self) -> bool {
        self.last_payload.is_some()
    }

    /// When the target last sent something, if it has. Nothing else counts.
    pub(super) fn last_payload(&self) -> Option<Instant> {
        self.last_payload
    }

    pub(super) fn has_output_after_eof(&self) -> bool {
        self.has_output_after_eof
    }

    /// When output came last, or something else that counts as activity of the target.
    pub(super) fn last_output(&self) -> Instant {
        self.last_output
    }

    pub(super) fn note_activity(&mut self, now: Instant) {
        self.last_output = now;
    }

    /// Whether the target's first bytes are SSH's.
    pub(super) fn is_ssh(&self) -> bool {
        self.ssh.is_ssh()
    }

    /// The next bytes for the local side.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.queue.pop_front()?;
        self.queued -= bytes.len();
        Some(bytes)
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !self.is_discarding && !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// The local side takes no more.
    pub(super) fn discard(&mut self) {
        self.is_discarding = true;
        self.queue.clear();
        self.queued = 0;
    }

    /// The stream has ended: what was kept back is output after all.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
        let rest = self.ssh.rest();
        self.push(Bytes::from_static(rest));
    }

    /// The number of an Output of 1.01. A gap is reported once.
    pub(super) fn check_single(&mut self, got: i64) -> Option<Event> {
        let expected = self.next_single.replace(got.wrapping_add(1)).unwrap_or(got);
        let is_new = expected != got && !std::mem::replace(&mut self.is_gap_reported, true);
        is_new.then_some(Event::Gap { expected, got })
    }

    /// The number of an Output of 1.02. One that comes in order is acknowledged from now on.
    pub(super) fn check_pair(&mut self, now: Instant, got: u32) -> Order {
        // The distance tells a duplicate from a gap even where the counter wraps.
        match got.wrapping_sub(self.received.wrapping_add(1)) {
            0 => {
                self.received = got;
                if let Some(gap) = &mut self.gap {
                    let left = gap.got.wrapping_sub(got);
                    (gap.since, gap.requested, gap.requests) = (now, now, 0);
                    if left == 0 || left > u32::MAX / 2 {
                        self.gap = None;
                    }
                }
                Order::Next
            }
            ahead if ahead < u32::MAX / 2 => Order::Ahead,
            _ => Order::Duplicate,
        }
    }

    /// An Output of 1.02 with so many bytes has come in order. Whether an acknowledgement is due.
    pub(super) fn count_unacked(&mut self, bytes: usize) -> bool {
        self.unacked_bytes += bytes;
        self.unacked_bytes >= ACK_AFTER_BYTES
    }

    /// An Output has come ahead of its turn: the missing ones are requested, once.
    pub(super) fn handle_ahead(&mut self, now: Instant, got: u32) -> Option<Event> {
        let expected = self.received.wrapping_add(1);
        let event = self.gap.is_none().then_some(Event::Missing { expected, got });
        let new = OutputGap { since: now, requested: now, requests: 0, got };
        let gap = self.gap.get_or_insert(new);
        if got.wrapping_sub(gap.got) <= u32::MAX / 2 {
            gap.got = got;
        }
        self.request_missing();
        event
    }

    /// Requests the missing Outputs unless they are requested already.
    pub(super) fn request_missing(&mut self) {
        if let Some(gap) = &mut self.gap
            && gap.requests == 0
        {
            gap.requests = 1;
            self.is_sync_due = true;
        }
    }

    /// Takes the payload of an Output that came in order. An end, if the target was dialled again.
    pub(super) fn handle_output(
        &mut self,
        now: Instant,
        payload: Bytes,
        greeting: Greeting,
        is_closed: bool,
    ) -> Option<End> {
        self.has_joined = true;
        // An empty one of 1.02 acknowledges, and is no output of the target.
        if !payload.is_empty() {
            self.last_output = now;
            self.last_payload = Some(now);
        }
        self.since_last_sent = self.since_last_sent.saturating_add(payload.len());
        self.ssh.detect(&payload, greeting);
        let is_ssh = self.is_ssh() || greeting == Greeting::Ssh;
        let redial = self.redial.as_mut();
        if redial.is_some_and(|redial| redial.is_second_greeting(now, &payload)) && !is_ssh {
            return Some(End::Failed(Failure::Redialled));
        }
        self.has_output_after_eof |= is_closed && !payload.is_empty();
        let passed = self.ssh.pass(payload);
        self.push(Bytes::from_static(passed.released));
        self.push(passed.payload);
        passed.ended.then_some(End::Remote(RemoteEnd::Redialled))
    }

    /// A frame of this side is sent, which acknowledges all that has come: the last Output.
    pub(super) fn acknowledge(&mut self) -> u32 {
        self.unacked_bytes = 0;
        self.since_last_sent = 0;
        self.received
    }

    /// Bytes of the local side are sent.
    pub(super) fn handle_input_sent(&mut self) {
        self.redial.iter_mut().for_each(RedialWatch::handle_input);
    }

    /// A keepalive is sent that makes an agent dial a closed target again.
    pub(super) fn handle_keepalive_sent(&mut self, now: Instant) {
        self.redial.iter_mut().for_each(|redial| redial.handle_keepalive(now));
    }

    pub(super) fn is_downloading(&self) -> bool {
        self.since_last_sent >= DOWNLOAD.0
    }

    /// A download that has paused is none any more.
    pub(super) fn update_download(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.last_output);
        if self.is_downloading() && quiet > DOWNLOAD.1 {
            self.since_last_sent = 0;
        }
    }

    /// Whether Outputs are missing.
    pub(super) fn has_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// The missing Outputs as a failure.
    pub(super) fn lost_output(&self) -> Option<Failure> {
        let got = self.gap?.got;
        Some(Failure::Lost { expected: self.received.wrapping_add(1), got })
    }

    /// Whether a Sync is due.
    pub(super) fn is_sync_due(&self) -> bool {
        self.is_sync_due
    }

    pub(super) fn request_sync(&mut self) {
        self.is_sync_due = true;
    }

    /// Whether a Sync is due, which is sent now.
    pub(super) fn take_sync(&mut self, now: Instant) -> bool {
        let is_due = std::mem::take(&mut self.is_sync_due);
        if is_due && let Some(gap) = &mut self.gap {
            gap.requested = now;
        }
        is_due
    }

    /// The socket is lost.
    pub(super) fn handle_disconnect(&mut self) {
        self.is_sync_due = false;
    }

    /// There is another socket, and a Sync is sent on it. What was missing is so until it comes.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        self.last_output = now;
        self.is_sync_due = true;
        if let Some(gap) = &mut self.gap {
            (gap.since, gap.requests) = (now, 1);
        }
    }

    /// When the missing Outputs are requested again, or given up: the socket may take no Sync.
    pub(super) fn resync_at(&self, is_ended: bool) -> Option<Instant> {
        let gap = self.gap?;
        let pause = if is_ended { RESYNC_INTERVAL_AT_END } else { RESYNC_INTERVAL };
        Some(if self.is_sync_due { gap.since + RECONNECT_TIMEOUT } else { gap.requested + pause })
    }

    /// Requests the missing Outputs again, or gives them up.
    pub(super) fn resync(&mut self, now: Instant) -> Option<Failure> {
        let has_room = self.has_room();
        let gap = self.gap.as_mut()?;
        if !has_room {
            // What the local side does not take is not read, and may well have come.
            (gap.since, gap.requested) = (now, now);
        } else if now.saturating_duration_since(gap.since) < RECONNECT_TIMEOUT {
            gap.requests += 1;
            self.is_sync_due = true;
        } else {
            return self.lost_output();
        }
        None
    }

    #[cfg(test)]
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// How many pieces and bytes are queued.
    #[cfg(any(test, fuzzing))]
    pub(super) fn queued(&self) -> (usize, usize) {
        assert_eq!(self.queue.iter().map(Bytes::len).sum::<usize>(), self.queued);
        (self.queue.len(), self.queued)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    fn take(inbound: &mut Inbound, now: Instant, payload: &[u8]) -> Option<End> {
        inbound.handle_output(now, Bytes::copy_from_slice(payload), Greeting::Nothing, false)
    }

    #[test]
    fn it_has_room_up_to_its_caps_and_again_once_something_is_taken() {
        let now = Instant::now();
        for (size, pieces) in [(2048, DELIVER_CAP / 2048), (1, DELIVER_PIECES)] {
            let mut inbound = Inbound::new(now, SessionKind::Port);
            for _ in 0..pieces {
                assert!(inbound.has_room());
                assert_eq!(take(&mut inbound, now, &vec![b'x'; size]), None);
            }
            assert!(!inbound.has_room());
            assert_eq!(inbound.pop().unwrap().len(), size);
            assert!(inbound.has_room());
            inbound.discard();
            assert_eq!(take(&mut inbound, now, b"x"), None);
            assert!(inbound.is_empty() && inbound.has_room() && inbound.has_output());
        }
    }

    #[test]
    fn missing_outputs_are_requested_once_and_the_gap_closes_with_the_last() {
        let now = Instant::now();
        let mut inbound = Inbound::new(now, SessionKind::Port);
        assert_eq!(inbound.check_pair(now, 1), Order::Next);
        assert_eq!(inbound.check_pair(now, 4), Order::Ahead);
        assert_eq!(inbound.handle_ahead(now, 4), Some(Event::Missing { expected: 2, got: 4 }));
        assert!(inbound.take_sync(now) && !inbound.take_sync(now));
        assert_eq!(inbound.handle_ahead(now, 5), None);
        assert!(!inbound.is_sync_due());
        assert_eq!(inbound.resync_at(false), Some(now + RESYNC_INTERVAL));
        assert_eq!(inbound.resync_at(true), Some(now + RESYNC_INTERVAL_AT_END));
        assert_eq!(inbound.resync(now + RESYNC_INTERVAL), None);
        assert!(inbound.take_sync(now));
        for number in 2..=5 {
            assert!(inbound.has_gap());
            assert_eq!(inbound.check_pair(now, number), Order::Next);
            assert_eq!(inbound.check_pair(now, number), Order::Duplicate);
        }
        assert!(!inbound.has_gap() && inbound.resync_at(false).is_none());
        assert_eq!(inbound.acknowledge(), 5);
    }

    #[test]
    fn missing_outputs_are_given_up_after_a_minute_that_is_read() {
        let now = Instant::now();
        let mut inbound = Inbound::new(now, SessionKind::Port);
        inbound.handle_ahead(now, 2);
        let late = now + RECONNECT_TIMEOUT;
        assert_eq!(inbound.resync(late), Some(Failure::Lost { expected: 1, got: 2 }));
        while inbound.has_room() {
            take(&mut inbound, now, &[b'x'; 2048]);
        }
        assert_eq!(inbound.resync(late), None, "nothing is read");
        while inbound.pop().is_some() {}
        assert_eq!(inbound.resync(late), None, "and it has its time again");
    }

    #[test]
    fn the_counter_may_wrap_and_a_gap_of_1_01_is_reported_once() {
        let now = Instant::now();
        let mut inbound =
            Inbound { received: u32::MAX - 1, ..Inbound::new(now, SessionKind::Port) };
        assert_eq!(inbound.check_pair(now, 1), Order::Ahead);
        for number in [u32::MAX, 0, 1] {
            assert_eq!(inbound.check_pair(now, number), Order::Next);
        }
        assert_eq!(inbound.check_pair(now, u32::MAX), Order::Duplicate);
        assert_eq!(inbound.check_single(7), None);
        assert_eq!(inbound.check_single(9), Some(Event::Gap { expected: 8, got: 9 }));
        assert_eq!(inbound.check_single(12), None);
    }

    #[test]
    fn output_is_acknowledged_after_so_many_bytes() {
        let now = Instant::now();
        let mut inbound = Inbound::new(now, SessionKind::Port);
        assert!(!inbound.count_unacked(ACK_AFTER_BYTES - 1) && inbound.count_unacked(1));
        inbound.acknowledge();
        assert!(!inbound.count_unacked(1));
    }

    #[test]
    fn a_download_that_pauses_is_none() {
        let now = Instant::now();
        let mut inbound = Inbound::new(now, SessionKind::Port);
        take(&mut inbound, now, &[b'x'; DOWNLOAD.0]);
        inbound.update_download(now + DOWNLOAD.1);
        assert!(inbound.is_downloading());
        inbound.update_download(now + DOWNLOAD.1 + Duration::from_millis(1));
        assert!(!inbound.is_downloading());
    }
}
