//! What the peer may count within one second (docs/protocol.md, 4).
//!
//! It counts what arrives, and all that is known here is what was sent. On a way that stalls the two
//! differ: what was sent over seconds arrives at once. So bytes count from when they are known to
//! have arrived at the latest, and until that is known they do not cease to count. Then no second of
//! the peer's carries more than one of ours, whatever happens on the way: while the last byte of
//! that second was sent, all others of it either were not known to have arrived, or had arrived
//! within a second.
//!
//! Where nothing is ever known ([`Window::set_confirmed`]), bytes count from when they were sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the peer is taken to measure over, and a little beside it for timers that are late.
pub(crate) const WINDOW: Duration = Duration::from_millis(1008);

/// Payloads sent within this time are remembered as one, which bounds the memory of a window.
const MERGE_WITHIN: Duration = Duration::from_millis(2);
/// The same where it lasts for longer, since nothing is known to arrive.
const MAX_PIECES: usize = 1024;

/// Up to this, everything was as late as the probe behind it. What is later was held up, and then
/// all of it came when that was over.
const JITTER: Duration = Duration::from_millis(50);
/// As little before its probe may something be sent that is taken to have come like that. What was
/// sent earlier may have been held up, and come with it.
const JUST_BEFORE: Duration = Duration::from_millis(100);

/// Payload bytes that are known to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// All that were sent up to this position.
    pub(crate) position: u64,
    /// When the probe was sent that was answered behind them.
    pub(crate) asked: Instant,
    /// How much longer than usual the answer took.
    pub(crate) late: Duration,
}

/// The bytes that count.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Oldest first; their times never go back.
    sent: VecDeque<Sent>,
    /// The sum of `sent`.
    bytes: u64,
    /// How many payload bytes were ever sent.
    position: u64,
    /// How many of them are known to have arrived.
    confirmed: u64,
    is_confirmed: bool,
    /// Whether the last piece ends at a probe.
    sealed: bool,
}

/// Payload bytes that were sent between two instants at most [`MERGE_WITHIN`] apart.
#[derive(Debug)]
struct Sent {
    first: Instant,
    /// From when they count for a second.
    last: Instant,
    bytes: u64,
    /// The position behind them.
    end: u64,
}

impl Window {
    /// How many bytes count.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing was sent for a second.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.sent.back().is_none_or(|sent| now.saturating_duration_since(sent.last) >= WINDOW)
    }

    /// How many payload bytes were ever sent.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes may be under way, as far as that matters.
    pub(crate) fn unconfirmed(&self) -> u64 {
        if self.is_confirmed { self.position - self.confirmed } else { 0 }
    }

    /// Whether bytes count until they are known to have arrived.
    pub(crate) fn set_confirmed(&mut self, is_confirmed: bool) {
        self.is_confirmed = is_confirmed;
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// Forgets what does not count any more.
    pub(crate) fn refresh(&mut self, now: Instant) {
        while let Some(sent) = self.sent.front() {
            if !self.is_known(sent) || now.saturating_duration_since(sent.last) < WINDOW {
                break;
            }
            self.bytes -= sent.bytes;
            self.confirmed = self.confirmed.max(sent.end);
            self.sent.pop_front();
        }
    }

    /// When bytes cease to count, oldest first, as far as that is known already.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (Instant, u64)> {
        let known = self.sent.iter().take_while(|sent| self.is_known(sent));
        known.map(|sent| (sent.last + WINDOW, sent.bytes))
    }

    /// Bytes were sent.
    pub(crate) fn push(&mut self, at: Instant, bytes: u64) {
        self.position += bytes;
        self.count(at, bytes);
    }

    /// Counts bytes as sent that may not have been.
    pub(crate) fn count(&mut self, at: Instant, bytes: u64) {
        // An empty piece has no effect.
        if bytes == 0 {
            return;
        }
        let end = self.position;
        self.bytes += bytes;
        let is_full = self.sent.len() >= MAX_PIECES;
        let sealed = std::mem::take(&mut self.sealed) && !is_full;
        match self.sent.back_mut() {
            Some(sent) if is_full || (is_near(sent, at) && !sealed) => {
                sent.last = sent.last.max(at);
                sent.bytes += bytes;
                sent.end = end;
            }
            back => {
                let last = back.map_or(at, |sent| sent.last.max(at));
                self.sent.push_back(Sent { first: at, last, bytes, end });
            }
        }
    }

    /// A probe is sent behind the bytes so far: its answer confirms that they have arrived.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Bytes are known to have arrived.
    pub(crate) fn confirm(&mut self, arrival: Arrival) {
        let Arrival { position, asked, late } = arrival;
        if position <= self.confirmed {
            return;
        }
        let first = self.sent.partition_point(|sent| sent.end <= self.confirmed);
        let before = first.checked_sub(1).and_then(|index| self.sent.get(index));
        let mut least = before.map(|sent| sent.last);
        let by = asked + late;
        for sent in self.sent.iter_mut().skip(first).take_while(|sent| sent.end <= position) {
            let is_seen =
                late <= JITTER && asked.saturating_duration_since(sent.last) <= JUST_BEFORE;
            let came = if is_seen { by.min(sent.last + late) } else { by };
            sent.last = sent.last.max(came).max(least.unwrap_or(came));
            least = Some(sent.last);
        }
        self.confirmed = position.min(self.position);
    }

    /// Nothing is under way any more: what may have been is taken to have arrived now.
    pub(crate) fn confirm_all(&mut self, now: Instant) {
        for sent in self.sent.iter_mut().rev().take_while(|sent| sent.end > self.confirmed) {
            sent.last = sent.last.max(now);
        }
        self.confirmed = self.position;
    }

    fn is_known(&self, sent: &Sent) -> bool {
        !self.is_confirmed || sent.end <= self.confirmed
    }
}

fn is_near(sent: &Sent, at: Instant) -> bool {
    at.saturating_duration_since(sent.first) < MERGE_WITHIN
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn is_confirmed() -> Window {
        Window { is_confirmed: true, ..Window::default() }
    }

    /// How many bytes count at a time.
    fn at(window: &mut Window, now: Instant) -> u64 {
        window.refresh(now);
        window.bytes()
    }

    #[test]
    fn what_is_not_known_to_have_arrived_counts_for_as_long_as_it_takes() {
        let now = Instant::now();
        let mut window = is_confirmed();
        window.push(now, 100);
        window.seal();
        window.push(now + MS, 20);
        assert_eq!(at(&mut window, now + 60 * WINDOW), 120);
        assert_eq!((window.unconfirmed(), window.expiries().next()), (120, None));
        window.confirm(Arrival { position: 100, asked: now, late: Duration::ZERO });
        assert_eq!((at(&mut window, now + 60 * WINDOW), window.unconfirmed()), (20, 20));
        window.set_confirmed(false);
        assert_eq!((at(&mut window, now + 60 * WINDOW), window.unconfirmed()), (0, 0));
        window.set_confirmed(true);
        assert_eq!(window.unconfirmed(), 0, "it was taken to have arrived");
    }

    #[test]
    fn what_came_late_counts_from_when_it_came() {
        let now = Instant::now();
        for (late, first) in [(0, 0), (40, 40), (3000, 3070)] {
            let mut window = is_confirmed();
            window.push(now, 1);
            window.push(now + 70 * MS, 10);
            window.seal();
            window.push(now + 90 * MS, 100);
            let late = late * MS;
            window.confirm(Arrival { position: 11, asked: now + 70 * MS, late });
            let times: Vec<_> = window.expiries().map(|(at, _)| at - WINDOW - now).collect();
            let second = 70 * MS + late;
            assert_eq!(times, [first * MS, second]);
            // What was sent behind it came behind it.
            window.confirm(Arrival { position: 111, asked: now + 90 * MS, late: Duration::ZERO });
            let third = second.max(90 * MS);
            assert_eq!(window.expiries().last(), Some((now + third + WINDOW, 100)));
            assert_eq!(window.unconfirmed(), 0);
        }
    }

    #[test]
    fn what_was_sent_long_before_the_question_may_have_come_with_it() {
        let now = Instant::now();
        let mut window = is_confirmed();
        window.push(now, 1);
        window.push(now + 30 * MS, 10);
        window.confirm(Arrival { position: 11, asked: now + 130 * MS, late: Duration::ZERO });
        let times: Vec<_> = window.expiries().map(|(at, _)| at - WINDOW - now).collect();
        assert_eq!(times, [130 * MS, 130 * MS], "and nothing before it");
    }

    #[test]
    fn times_never_go_back() {
        let now = Instant::now();
        let mut window = is_confirmed();
        window.push(now, 1);
        window.confirm(Arrival { position: 1, asked: now, late: 100 * MS });
        window.push(now + 50 * MS, 2);
        window.confirm(Arrival { position: 3, asked: now + 50 * MS, late: Duration::ZERO });
        let times: Vec<_> = window.expiries().map(|(at, _)| at).collect();
        assert_eq!(times, [now + 100 * MS + WINDOW; 2]);
    }

    #[test]
    fn its_memory_is_bounded_though_nothing_is_known_to_arrive() {
        let now = Instant::now();
        let mut window = Window::default();
        for step in 0..100_000_u32 {
            let now = now + Duration::from_micros(20) * step;
            window.refresh(now);
            window.push(now, 1);
            assert!(window.sent.len() <= 506);
        }
        let mut window = is_confirmed();
        for step in 0..100_000_u32 {
            window.push(now + 3 * MS * step, 1);
            window.seal();
        }
        assert!(window.sent.len() <= MAX_PIECES);
        window.confirm(Arrival { position: 100_000, asked: now, late: Duration::ZERO });
        assert_eq!(window.unconfirmed(), 0);
        assert_eq!(at(&mut window, now + 3 * MS * 100_000 + WINDOW), 0);
    }

    #[test]
    fn a_new_beginning_counts_what_may_have_come_last() {
        let now = Instant::now();
        let mut window = is_confirmed();
        window.push(now, 100);
        window.confirm_all(now + 5 * WINDOW);
        assert_eq!(window.unconfirmed(), 0);
        assert_eq!(at(&mut window, now + 6 * WINDOW - MS), 100);
        assert_eq!(at(&mut window, now + 7 * WINDOW), 0);
    }
}
