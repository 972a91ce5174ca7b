//! How fast Input may be sent (docs/protocol.md, 4).
//!
//! The gateway ends a session that sends faster than its limit. How it measures is not published:
//! payload bytes over about a second is the assumption. So two bounds hold at once:
//!
//! - A token bucket, filled at the limit. An idle stream has credit for a burst of a few frames, so
//!   that what a person types, or an SSH handshake, never waits.
//! - No second may carry more than a second's worth, bursts included. A bucket alone would exceed
//!   the limit by its burst in the first second of a copy: by a third at 200 kbit/s.
//!
//! A copy therefore starts with the burst, pauses once when the first second is spent, and then
//! runs evenly at 99.2 % of the limit.
//!
//! Where the peer confirms what has arrived (`set_confirmed`), unconfirmed bytes keep counting and
//! are bounded: an outage does not end in a burst.

use std::time::{Duration, Instant};

use super::window::{Arrival, Window};
use crate::frame::MAX_PAYLOAD;

/// The limit until a Stream status tells another: 200 kbit/s, in bits per second.
pub(crate) const DEFAULT_LIMIT: u64 = 204_800;

/// A timer that fires this late costs nothing: a frame that had to wait counts from when it was due.
const TIMER_SLACK: Duration = Duration::from_millis(8);

/// The burst of an idle stream: this many full frames, or what the limit allows in
/// [`BURST_TIME_MS`], whichever is more, but never more than a second's worth.
const BURST_FRAMES: u64 = 4;
const BURST_TIME_MS: u64 = 20;

/// A frame is cut short to use up a window only if it carries at least this many bytes.
const MIN_CUT: u64 = 256;

/// How much may be under way that is not known to have arrived: twice what the way there and back
/// usually takes, within these bounds, and at least [`BURST_FRAMES`].
const INFLIGHT: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(900)];

/// The pace of one stream.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bits per second, never 0.
    limit: u64,
    /// What may be sent at once, as the time that the limit takes to earn it.
    credit: Duration,
    /// When `credit` was last brought up to date.
    updated: Instant,
    /// What the peer may count in its present second.
    window: Window,
    /// How long the way there and back usually takes.
    min_rtt: Duration,
    /// Whether bytes have to wait for the window. Credit must not pile up meanwhile, or the next
    /// second would begin with another burst, and so would every one after it.
    held: bool,
    /// When the bytes that last had to wait could be sent, if that was known.
    due: Option<Instant>,
    /// Whether bytes have to wait until it is known what has arrived.
    waits: bool,
}

impl Pace {
    /// A pace of `limit` bits per second (at least 1) with its burst to spend.
    pub(crate) fn new(now: Instant, limit: u64) -> Self {
        let mut pace = Self {
            limit: limit.max(1),
            credit: Duration::ZERO,
            updated: now,
            window: Window::default(),
            min_rtt: Duration::ZERO,
            held: false,
            due: None,
            waits: false,
        };
        pace.credit = pace.time_for(pace.burst());
        pace
    }

    /// The limit in bits per second.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Applies another limit from now on, in bits per second (at least 1). Credit in bytes is kept as
    /// far as the new burst allows.
    pub(crate) fn set_limit(&mut self, now: Instant, limit: u64) {
        self.refresh(now);
        let bytes = self.credit.as_nanos() * u128::from(self.limit) / 8_000_000_000;
        self.limit = limit.max(1);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(self.burst());
        self.credit = self.time_for(bytes);
    }

    /// How many of `queued` bytes may be sent now as the payload of one frame; 0 says wait.
    pub(crate) fn allowance(&mut self, now: Instant, queued: usize) -> usize {
        self.refresh(now);
        let fits = Self::fit(self.want(queued), self.budget());
        self.held = fits.is_none();
        match fits {
            Some(payload) if self.credit >= self.time_for(payload) => {
                self.waits = false;
                usize::try_from(payload).unwrap_or(MAX_PAYLOAD)
            }
            _ => {
                self.wait_until(self.retry_at(queued));
                0
            }
        }
    }

    /// Whether a frame may be sent now that cannot be made shorter, since it was sent before. One
    /// that is longer than a second of this limit is sent when no other was for a second.
    pub(crate) fn allows_whole(&mut self, now: Instant, payload: usize) -> bool {
        self.refresh(now);
        let bytes = payload as u64;
        let fits = bytes <= self.budget() || self.window.bytes() == 0;
        self.held = !fits;
        let allowed = fits && self.credit >= self.time_for(bytes.min(self.quantum()));
        match allowed {
            true => self.waits = false,
            false => self.wait_until(self.whole_at(payload)),
        }
        allowed
    }

    /// When to ask [`Self::allows_whole`] again; `None` is once more is known to have arrived.
    pub(crate) fn whole_at(&self, payload: usize) -> Option<Instant> {
        let bytes = payload as u64;
        let (at, _) = self.budget_at(|budget| bytes <= budget)?;
        Some(at.max(self.earned_at(bytes.min(self.quantum()))))
    }

    /// Records a frame that was sent with `payload` bytes, as many as [`Self::allowance`] gave, or
    /// [`Self::allows_whole`] allowed.
    pub(crate) fn spend(&mut self, now: Instant, payload: usize) {
        self.refresh(now);
        let bytes = payload as u64;
        let cost = self.time_for(bytes);
        // A frame that costs more than there is leaves a debt: nothing is earned for so long.
        self.updated += cost.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(cost);
        if bytes == 0 {
            return;
        }
        let earliest = now.checked_sub(TIMER_SLACK).unwrap_or(now);
        self.window.push(self.due.unwrap_or(now).clamp(earliest, now), bytes);
    }

    /// What was sent within the last while was held up on the way, and arrives now: as much as a
    /// second may carry is taken to be spent. Where the peer tells what has arrived it is known
    /// better.
    pub(crate) fn handle_unblocked(&mut self, now: Instant) {
        if !self.window.is_confirmed() {
            self.refresh(now);
            self.window.count(now, self.left());
            self.credit = Duration::ZERO;
        }
    }

    /// Whether the peer confirms what has arrived: then all else may still be under way.
    pub(crate) fn set_confirmed(&mut self, is_confirmed: bool) {
        self.window.set_confirmed(is_confirmed);
        self.waits &= is_confirmed;
    }

    /// Bytes are known to have arrived, on a way that usually takes so long.
    pub(crate) fn confirm(&mut self, arrival: Arrival, min_rtt: Duration) {
        self.min_rtt = min_rtt;
        self.window.confirm(arrival);
    }

    /// The connection is a new one. What may still be under way on the old one is taken to arrive now.
    pub(crate) fn handle_new_path(&mut self, now: Instant) {
        self.window.confirm_all(now);
        self.set_confirmed(false);
    }

    /// Whether bytes have to wait until it is known what has arrived.
    pub(crate) fn waits_for_arrival(&self) -> bool {
        self.waits
    }

    /// How many payload bytes were ever sent.
    pub(crate) fn position(&self) -> u64 {
        self.window.position()
    }

    /// A probe is sent behind the bytes so far: its answer confirms them.
    pub(crate) fn mark(&mut self) {
        self.window.seal();
    }

    /// What a second may carry.
    pub(crate) fn second(&self) -> u64 {
        (self.limit / 8).max(1)
    }

    /// When to ask [`Self::allowance`] again for `queued` bytes that had to wait; `None` is once more
    /// is known to have arrived.
    pub(crate) fn retry_at(&self, queued: usize) -> Option<Instant> {
        let want = self.want(queued);
        let (at, budget) = self.budget_at(|budget| Self::fit(want, budget).is_some())?;
        Some(at.max(self.earned_at(Self::fit(want, budget).unwrap_or(want))))
    }

    /// When what may be sent is enough, or nothing counts any more, and how much it is then.
    fn budget_at(&self, is_enough: impl Fn(u64) -> bool) -> Option<(Instant, u64)> {
        let (mut left, mut budget, mut at) = (self.window.bytes(), self.left(), self.updated);
        let (mut expiries, free) = (self.window.expiries(), self.inflight_room());
        while left > 0 && !is_enough(budget.min(free)) {
            let (when, expired) = expiries.next()?;
            (left, budget, at) = (left - expired, budget + expired, when);
        }
        Some((at, budget.min(free)))
    }

    /// When there is credit for so many bytes.
    fn earned_at(&self, bytes: u64) -> Instant {
        self.updated + self.time_for(bytes).saturating_sub(self.credit)
    }

    fn wait_until(&mut self, due: Option<Instant>) {
        self.due = due;
        self.waits = due.is_none();
    }

    /// How much of `want` fits into what is left of the window.
    fn fit(want: u64, budget: u64) -> Option<u64> {
        if budget >= want { Some(want) } else { (budget >= MIN_CUT).then_some(budget) }
    }

    fn want(&self, queued: usize) -> u64 {
        self.quantum().min(queued as u64)
    }

    /// The most that one frame carries: less than [`MAX_PAYLOAD`] if a second allows less.
    fn quantum(&self) -> u64 {
        (self.limit / 8).clamp(1, MAX_PAYLOAD as u64)
    }

    fn burst(&self) -> u64 {
        let second = self.second();
        (BURST_FRAMES * MAX_PAYLOAD as u64).max(second * BURST_TIME_MS / 1000).min(second)
    }

    /// What may be sent now, whatever the credit.
    fn budget(&self) -> u64 {
        self.left().min(self.inflight_room())
    }

    /// What the window still allows.
    fn left(&self) -> u64 {
        self.second().saturating_sub(self.window.bytes())
    }

    /// How many bytes more may be under way.
    fn inflight_room(&self) -> u64 {
        let [least, most] = INFLIGHT;
        let time = u64::try_from((2 * self.min_rtt).clamp(least, most).as_millis()).unwrap_or(0);
        let bytes = self.second().saturating_mul(time) / 1000;
        match self.window.is_confirmed() {
            true => {
                let most = bytes.max(BURST_FRAMES * MAX_PAYLOAD as u64);
                most.saturating_sub(self.window.unconfirmed())
            }
            false => u64::MAX,
        }
    }

    /// The time in which the limit earns `bytes`, rounded up.
    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 8_000_000_000).div_ceil(u128::from(self.limit));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn refresh(&mut self, now: Instant) {
        self.window.refresh(now);
        let held = self.held && !self.window.is_quiet(now);
        let most = if held { self.burst().min(2 * self.quantum()) } else { self.burst() };
        let most = self.time_for(most);
        let earned = now.saturating_duration_since(self.updated);
        self.credit = self.credit.saturating_add(earned).min(most);
        self.updated = self.updated.max(now);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends as much as allowed until `bytes` are gone, waking `late` after each deadline.
    fn saturate(
        limit: u64,
        bytes: usize,
        late: impl Fn(usize) -> Duration,
    ) -> Vec<(Duration, usize)> {
        let start = Instant::now();
        let (mut now, mut left, mut log) = (start, bytes, Vec::new());
        let mut pace = Pace::new(now, limit);
        while left > 0 {
            match pace.allowance(now, left) {
                0 => {
                    let at = pace.retry_at(left).unwrap();
                    assert!(at > now, "a deadline in the past");
                    now = at + late(log.len());
                }
                payload => {
                    pace.spend(now, payload);
                    left -= payload;
                    log.push((now - start, payload));
                }
            }
        }
        log
    }

    /// The most that any window of `length` carries.
    fn heaviest(log: &[(Duration, usize)], length: Duration) -> usize {
        let (mut worst, mut sum, mut first) = (0, 0, 0);
        for &(at, bytes) in log {
            sum += bytes;
            while at - log[first].0 >= length {
                sum -= log[first].1;
                first += 1;
            }
            worst = worst.max(sum);
        }
        worst
    }

    #[test]
    fn a_copy_uses_the_limit_and_never_exceeds_it() {
        for limit in [8_000, 204_800, 300_001, 1_638_400, 50_000_000] {
            let per_second = usize::try_from(limit / 8).unwrap();
            for most_late in [0, 1, 8] {
                // As late as a timer can be that is not always equally late.
                let late = |n: usize| Duration::from_millis(n as u64 * 7 % (most_late + 1));
                let log = saturate(limit, per_second * 20, late);
                assert!(heaviest(&log, SECOND) <= per_second, "{limit} exceeded");
                let share = 20.0 / log.last().unwrap().0.as_secs_f64();
                assert!(share >= 0.985, "{limit}, {most_late} ms late: only {share}");
                let frames = 21 * (per_second / MAX_PAYLOAD + 3);
                assert!(log.len() < frames, "{limit}: {} frames, not filled", log.len());
            }
        }
    }

    #[test]
    fn a_copy_bursts_once_and_then_runs_evenly() {
        let log = saturate(DEFAULT_LIMIT, 25_600 * 10, |_| Duration::ZERO);
        let burst = log.iter().take_while(|(at, _)| at.is_zero()).count();
        assert_eq!(burst, 4);
        let later: Vec<_> = log.iter().filter(|(at, _)| *at > 3 * SECOND).collect();
        for pair in later.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap <= Duration::from_millis(170), "a pause of {gap:?} at {:?}", pair[0].0);
        }
    }

    #[test]
    fn a_stream_that_was_idle_does_not_wait() {
        let now = Instant::now();
        let mut pace = Pace::new(now, DEFAULT_LIMIT);
        for round in 0..100 {
            let now = now + 2 * SECOND * round;
            for payload in [1500, 100, 2048, 2048, 36] {
                assert_eq!(pace.allowance(now, payload), payload);
                pace.spend(now, payload);
            }
        }
    }

    #[test]
    fn a_limit_is_obeyed_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now, 1);
        assert_eq!(pace.allowance(now, 5000), 1);
        pace.spend(now, 1);
        assert_eq!(pace.allowance(now, 5000), 0);
        assert_eq!(pace.retry_at(5000), Some(now + 8 * SECOND));
        pace.set_limit(now, u64::from(u32::MAX));
        let at = pace.retry_at(5000).unwrap();
        assert!(at < now + Duration::from_micros(10));
        assert_eq!(pace.allowance(at, 5000), MAX_PAYLOAD);
        pace.spend(at, MAX_PAYLOAD);
        pace.set_limit(at, 8_000);
        assert_eq!(pace.allowance(at + SECOND / 2, 10), 0, "the last second was full already");
        assert_eq!(pace.allowance(at + 2 * SECOND, 5000), 1000);
    }

    #[test]
    fn a_limit_that_is_told_again_gives_no_credit() {
        let now = Instant::now();
        let mut pace = Pace::new(now, DEFAULT_LIMIT);
        while let payload @ 1.. = pace.allowance(now, 50_000) {
            pace.spend(now, payload);
        }
        pace.set_limit(now, DEFAULT_LIMIT);
        assert_eq!(pace.allowance(now, 50_000), 0);
    }

    #[test]
    fn what_was_held_up_on_the_way_counts_when_it_arrives() {
        let now = Instant::now();
        let mut pace = Pace::new(now, DEFAULT_LIMIT);
        pace.spend(now, 2048);
        let now = now + 3 * SECOND;
        pace.handle_unblocked(now);
        assert_eq!(pace.allowance(now, 100), 0);
        assert!(pace.retry_at(100).unwrap() >= now + SECOND);
        assert_eq!(pace.allowance(now + 2 * SECOND, 100), 100);
    }

    /// Found by fuzzing: a window that was full already is no more held up.
    #[test]
    fn a_frame_that_is_sent_again_has_no_deadline_in_the_past() {
        let now = Instant::now();
        let mut pace = Pace::new(now, DEFAULT_LIMIT);
        pace.spend(now, 2048);
        pace.set_limit(now, 22);
        let mut now = now + SECOND / 2;
        pace.handle_unblocked(now);
        for _ in 0..5 {
            if pace.allows_whole(now, 2048) {
                return;
            }
            let at = pace.whole_at(2048).unwrap();
            assert!(at > now, "a deadline in the past");
            now = at;
        }
        panic!("it waits for ever");
    }

    proptest! {
        #[test]
        fn no_second_carries_more_than_the_limit_whatever_comes_when(
            limit in 1u64..100_000_000,
            steps in proptest::collection::vec((0u64..400_000, 1usize..30_000), 1..200),
        ) {
            let start = Instant::now();
            let (mut now, mut log) = (start, Vec::new());
            let mut pace = Pace::new(now, limit);
            for (micros, queued) in steps {
                now += Duration::from_micros(micros);
                let payload = pace.allowance(now, queued);
                prop_assert!(payload <= queued.min(MAX_PAYLOAD));
                if payload == 0 {
                    prop_assert!(pace.retry_at(queued).unwrap() > now);
                } else {
                    pace.spend(now, payload);
                    log.push((now - start, payload));
                }
            }
            prop_assert!(heaviest(&log, SECOND) as u64 <= (limit / 8).max(1));
        }
    }
}
