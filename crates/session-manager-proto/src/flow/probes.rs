//! WebSocket pings: each answer confirms that all bytes before the ping have arrived, how long that
//! took, and that the gateway is alive.
//!
//! A WebSocket ping is answered in its turn (RFC 6455, 5.5.2), so a peer that answers has read all
//! bytes before it. An answer to a later ping, or an acknowledgement, counts as well. Whether a gateway
//! answers pings at all is not known (docs/protocol.md, 6): nothing waits for one that never has, and its
//! silence has no meaning.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::window::Arrival;
use crate::frame::MAX_PAYLOAD;

/// No two pings behind Input are closer together.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(75);
/// A ping is due behind a full frame, or so much of what a second may carry.
const PING_SHARE: u64 = 16;
/// And before anything else is sent behind this much, and this many frames.
const OVERDUE_SHARE: u64 = 8;
const OVERDUE_FRAMES: u64 = 5;
/// The interval of further pings while Input waits for an answer.
const WAITING_PING_INTERVAL: Duration = Duration::from_secs(2);
/// The most unanswered pings, at first and once one was answered.
const MAX_UNANSWERED: [usize; 2] = [8, 64];
/// A peer that sends other messages for so long answers no more. A pause counts for at most so much:
/// after an outage other messages may come first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_COUNTED_PAUSE: Duration = Duration::from_secs(5);

/// A ping that is unanswered for so long means that the gateway reads nothing: the way takes less.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// A ping is due after so long without one.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// After so much silence a gateway that has answered before is taken to be gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer while the gateway does not accept data: as long as it does not read, it does not
/// answer either.
const BLOCKED_GRACE: Duration = Duration::from_secs(5);
/// How long a gateway that has answered before may take to answer once this machine has slept.
const WAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same after a sleep that the session may have outlived, if it cannot outlive its socket: the network
/// comes back seconds after the machine.
const SHORT_SLEEP_WAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A way is taken to be no longer than this: what takes longer may have been held up.
const MAX_RTT: Duration = Duration::from_millis(500);
/// What a way usually takes is the least of this time and the one before, of so many answers each.
const RTT_WINDOW: Duration = Duration::from_secs(10);
const RTT_SAMPLES: u32 = 8;

/// The pings of one socket.
#[derive(Debug)]
pub(crate) struct Probes {
    waiting: VecDeque<Ping>,
    began: Instant,
    /// The number of the last one.
    number: u32,
    /// When it was sent.
    last: Option<Instant>,
    /// The position of the last ping.
    asked: u64,
    /// The position up to which all has arrived, and when it last grew.
    arrived: u64,
    last_arrival: Option<Instant>,
    min_rtt: MinRtt,
    support: PingSupport,
    /// When another message last came, and for how long since the last answer.
    last_activity: Option<Instant>,
    unanswered_activity: Duration,
    /// Since when nothing at all has come.
    silent_since: Instant,
    /// By when something has to come after this machine has slept.
    wake_deadline: Option<Instant>,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PingSupport {
    #[default]
    Unknown,
    Answers,
    /// It has answered before, and seems to answer no more.
    Stopped,
}

/// One that was not answered.
#[derive(Debug)]
struct Ping {
    number: u32,
    at: Instant,
    /// How many payload bytes were sent before it.
    position: u64,
    /// The Input before it, whose acknowledgement is as good as an answer.
    input: Option<u32>,
    /// Whether its answer may have come, and waits to be read.
    unread: bool,
}

/// What is sent, and how much may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    /// How many payload bytes were sent.
    pub(crate) position: u64,
    /// What a second may carry.
    pub(crate) second: u64,
    /// Whether more waits for an answer.
    pub(crate) waits: bool,
}

impl Probes {
    /// Those of a socket that is there since `now`, for what is sent from a position on.
    pub(crate) fn new(now: Instant, position: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            began: now,
            number: 0,
            last: None,
            asked: position,
            arrived: position,
            last_arrival: None,
            min_rtt: MinRtt::default(),
            support: PingSupport::default(),
            last_activity: None,
            unanswered_activity: Duration::ZERO,
            silent_since: now,
            wake_deadline: None,
        }
    }

    /// Whether the peer has ever answered.
    pub(crate) fn were_ever_answered(&self) -> bool {
        self.support != PingSupport::Unknown
    }

    /// The position up to which all that was sent is known to have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// When that was last known of more than before.
    pub(crate) fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    /// Whether a peer that answers has read nothing for 2 s, up to a ping behind all that was sent.
    pub(crate) fn is_stuck_before(&self, now: Instant, position: u64) -> bool {
        let is_past = |at: Instant| now.saturating_duration_since(at) >= STUCK_AFTER;
        let is_behind = |ping: &Ping| ping.position == position && !ping.unread && is_past(ping.at);
        self.are_answered()
            && self.arrived < position
            && self.last_arrival.is_none_or(is_past)
            && self.waiting.iter().any(is_behind)
    }

    /// When the next activity of this side is due.
    pub(crate) fn keepalive_ping_at(&self) -> Instant {
        self.last.unwrap_or(self.began) + PING_INTERVAL
    }

    /// An unsolicited pong was sent.
    pub(crate) fn note_pong_sent(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// When the gateway is taken to be gone unless something comes. `waits` says whether data waits that
    /// it does not accept.
    pub(crate) fn timeout_at(&self, waits: bool) -> Option<Instant> {
        let patience = if waits { SILENCE_TIMEOUT + BLOCKED_GRACE } else { SILENCE_TIMEOUT };
        self.were_ever_answered().then(|| match self.wake_deadline {
            Some(deadline) => deadline,
            None => self.silent_since + patience,
        })
    }

    /// The error for that.
    pub(crate) fn timeout_reason(&self) -> String {
        match self.wake_deadline {
            Some(_) => "this machine slept, and the gateway does not answer any more".to_owned(),
            None => {
                format!("no data and no ping response for {} s", SILENCE_TIMEOUT.as_secs())
            }
        }
    }

    /// This machine has slept: the gateway is pinged at once. `is_patient` says that the session may still
    /// be alive, and only over this socket.
    pub(crate) fn handle_slept(&mut self, now: Instant, is_patient: bool) {
        let timeout = if is_patient { SHORT_SLEEP_WAKE_TIMEOUT } else { WAKE_TIMEOUT };
        self.wake_deadline = Some(now + timeout);
        self.last = now.checked_sub(PING_INTERVAL).or(self.last);
    }

    /// Whether the peer answers, so that what it has not answered may be under way.
    pub(crate) fn are_answered(&self) -> bool {
        self.support == PingSupport::Answers
    }

    /// When the next ping is due behind what was sent, if anything was.
    pub(crate) fn due_at(&self, now: Instant, sending: Sending) -> Option<Instant> {
        let most = MAX_UNANSWERED[usize::from(self.are_answered())];
        if self.support == PingSupport::Stopped || self.waiting.len() >= most {
            return None;
        }
        let unasked = sending.position - self.asked;
        let is_due = unasked >= (sending.second / PING_SHARE).clamp(1, MAX_PAYLOAD as u64);
        let pause = match unasked {
            1.. if is_due || sending.waits || self.number == 0 => MIN_PING_INTERVAL,
            0 if sending.waits => WAITING_PING_INTERVAL,
            _ => return None,
        };
        Some(self.last.map_or(now, |last| last + pause))
    }

    /// Whether a ping that is due may wait no longer for other frames that can be sent at once. The first
    /// one measures the round trip, and waits for a few frames only, whatever the limit.
    pub(crate) fn is_overdue(&self, sending: Sending) -> bool {
        let frames = OVERDUE_FRAMES * MAX_PAYLOAD as u64;
        let share = if self.number == 0 { 0 } else { sending.second / OVERDUE_SHARE };
        sending.position - self.asked > share.max(frames)
    }

    /// The payload of a ping that is sent now, behind `position` bytes.
    pub(crate) fn send(&mut self, now: Instant, position: u64, input: Option<u32>) -> Bytes {
        self.number = self.number.wrapping_add(1);
        self.last = Some(now);
        self.asked = position;
        // One that answers no more may begin again.
        if self.support == PingSupport::Stopped && self.waiting.len() == MAX_UNANSWERED[0] {
            self.waiting.pop_front();
        }
        if self.waiting.len() < MAX_UNANSWERED[1] {
            let number = self.number;
            self.waiting.push_back(Ping { number, at: now, position, input, unread: false });
        }
        Bytes::copy_from_slice(&self.number.to_be_bytes())
    }

    /// A pong has come. What it confirms, if it is an answer.
    pub(crate) fn answer(&mut self, now: Instant, payload: &[u8]) -> Option<Arrival> {
        let number = u32::from_be_bytes(payload.try_into().ok()?);
        let known = self.waiting.iter().position(|ping| ping.number == number)?;
        self.support = PingSupport::Answers;
        self.unanswered_activity = Duration::ZERO;
        self.note_activity(now);
        let ping = self.waiting.drain(..=known).next_back()?;
        self.note_arrived(now, ping.position);
        let took = now.saturating_duration_since(ping.at);
        // The first one may have been held up as well as any other.
        let min_rtt = self.min_rtt.get().unwrap_or_default();
        if !ping.unread {
            self.min_rtt.record(now, took.min(MAX_RTT));
        }
        Some(ping.arrived(now, min_rtt))
    }

    /// Input has been acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Instant, up_to: u32) -> Option<Arrival> {
        let min_rtt = self.min_rtt.get()?;
        // The greater half of all distances is behind.
        let is_covered = |input: u32| up_to.wrapping_sub(input) <= u32::MAX / 2;
        let known = self.waiting.iter().rposition(|ping| ping.input.is_some_and(is_covered))?;
        let arrived = self.waiting.get(known)?.arrived(now, min_rtt);
        self.note_arrived(now, arrived.position);
        self.waiting.drain(..known);
        // It is answered all the same, and that tells how long the way is.
        self.waiting.front_mut()?.input = None;
        Some(arrived)
    }

    /// Reading has paused: the time at which answers arrive is not known.
    pub(crate) fn mark_unread(&mut self) {
        self.waiting.iter_mut().for_each(|ping| ping.unread = true);
    }

    fn note_arrived(&mut self, now: Instant, position: u64) {
        if position > self.arrived {
            self.arrived = position;
            self.last_arrival = Some(now);
        }
    }

    /// Something has come, or reading has paused, so that nothing could come.
    pub(crate) fn note_activity(&mut self, now: Instant) {
        self.silent_since = now;
        self.wake_deadline = None;
    }

    /// The peer has sent another message. Whether it is taken to answer no more.
    pub(crate) fn on_activity(&mut self, now: Instant) -> bool {
        self.note_activity(now);
        let previous = self.last_activity.replace(now);
        let (true, Some(ping)) = (self.are_answered(), self.waiting.front()) else { return false };
        let since = previous.map_or(ping.at, |previous| previous.max(ping.at));
        self.unanswered_activity += now.saturating_duration_since(since).min(MAX_COUNTED_PAUSE);
        let gives_up = self.unanswered_activity >= ANSWER_TIMEOUT;
        if gives_up {
            self.support = PingSupport::Stopped;
            self.waiting.clear();
        }
        gives_up
    }

    /// How long the way there and back usually takes.
    pub(crate) fn min_rtt(&self) -> Duration {
        self.min_rtt.get().unwrap_or_default()
    }
}

impl Ping {
    fn arrived(&self, now: Instant, min_rtt: Duration) -> Arrival {
        let took = now.saturating_duration_since(self.at);
        let late = if self.unread { Duration::ZERO } else { took.saturating_sub(min_rtt) };
        Arrival { position: self.position, asked: self.at, late }
    }
}

/// The least that the way there and back has taken lately.
#[derive(Debug, Default)]
struct MinRtt {
    present: Option<Duration>,
    before: Option<Duration>,
    since: Option<Instant>,
    answers: u32,
}

impl MinRtt {
    fn record(&mut self, now: Instant, took: Duration) {
        let since = *self.since.get_or_insert(now);
        if self.answers >= RTT_SAMPLES && now.saturating_duration_since(since) >= RTT_WINDOW {
            self.before = self.present.take();
            self.since = Some(now);
            self.answers = 0;
        }
        self.answers += 1;
        self.present = Some(self.present.map_or(took, |least| least.min(took)));
    }

    fn get(&self) -> Option<Duration> {
        self.present.into_iter().chain(self.before).min()
    }
}

#[cfg(test)]
mod tests;
