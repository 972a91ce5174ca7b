//! How much Input came within a sliding second, and whether that was too much.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The second that is looked at.
const WINDOW: Duration = Duration::from_secs(1);
/// What comes within it counts as one arrival: bounds the memory of a stream of tiny frames.
const GRAIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Arrival {
    at: Instant,
    bytes: u64,
    /// For how long the gateway itself had not been reading before this came.
    waited: Duration,
}

/// Counts payload bytes over the last second.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    arrivals: VecDeque<Arrival>,
    bytes: u64,
    waited: Duration,
}

impl Meter {
    /// Takes note of `bytes` that came at `now`, after the gateway had not read for `waited` because the
    /// target would not take more. Returns the bytes of the last second, scaled to one second of reading: what
    /// piled up in the meantime was not sent all at once.
    pub(crate) fn arrived(&mut self, now: Instant, bytes: usize, waited: Duration) -> u64 {
        while let Some(first) = self.arrivals.front() {
            if now.saturating_duration_since(first.at) < WINDOW {
                break;
            }
            self.bytes -= first.bytes;
            self.waited -= first.waited;
            self.arrivals.pop_front();
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes += bytes;
        self.waited += waited;
        match self.arrivals.back_mut() {
            Some(last) if now.saturating_duration_since(last.at) < GRAIN => {
                last.bytes += bytes;
                last.waited += waited;
            }
            _ => self.arrivals.push_back(Arrival { at: now, bytes, waited }),
        }
        let scale = 1.0 + self.waited.as_secs_f64();
        // Rounded down; a rate is far below 2^52, where this would lose digits.
        (self.bytes as f64 / scale) as u64
    }
}

/// How long an older, higher limit still counts after a change: the client has to hear of the new one first,
/// and a second of sending by the old one has to leave the window.
const GRACE: Duration = Duration::from_millis(1_500);

/// The limit in force, in bits per second, and those that were a moment ago.
#[derive(Debug)]
pub(crate) struct Limits {
    current: u64,
    replaced: VecDeque<(Instant, u64)>,
}

impl Limits {
    pub(crate) fn new(limit: u64) -> Self {
        Self { current: limit, replaced: VecDeque::new() }
    }

    /// Another limit from `now` on.
    pub(crate) fn change(&mut self, now: Instant, limit: u64) {
        let old = std::mem::replace(&mut self.current, limit);
        match self.replaced.back_mut() {
            Some((at, highest)) if now.saturating_duration_since(*at) < GRAIN => {
                *highest = old.max(*highest);
            }
            _ => self.replaced.push_back((now, old)),
        }
        self.forget(now);
    }

    /// The most that may be held against a client at `now`.
    pub(crate) fn in_force(&mut self, now: Instant) -> u64 {
        self.forget(now);
        self.replaced.iter().map(|(_, limit)| *limit).fold(self.current, u64::max)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.replaced.front() {
            if now.saturating_duration_since(*at) < GRACE {
                break;
            }
            self.replaced.pop_front();
        }
    }
}

/// Whether so many bytes in a second are more than a limit in bits, with a tolerance.
pub(crate) fn exceeds(bytes_per_second: u64, limit: u64, tolerance_percent: u32) -> bool {
    let allowed = u128::from(limit) * u128::from(100 + tolerance_percent);
    u128::from(bytes_per_second) * 800 > allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_by_the_millisecond() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::default();
        assert_eq!(meter.arrived(at(0), 1_000, Duration::ZERO), 1_000);
        assert_eq!(meter.arrived(at(500), 1_000, Duration::ZERO), 2_000);
        assert_eq!(meter.arrived(at(999), 1, Duration::ZERO), 2_001);
        assert_eq!(meter.arrived(at(1_000), 0, Duration::ZERO), 1_001);
        assert_eq!(meter.arrived(at(1_500), 0, Duration::ZERO), 1);
        assert_eq!(meter.arrived(at(9_000), 0, Duration::ZERO), 0);
    }

    #[test]
    fn what_piled_up_while_nobody_read_is_spread_over_that_time() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let rate = meter.arrived(start, 3_000, Duration::from_secs(2));
        assert_eq!(rate, 1_000);
    }

    #[test]
    fn memory_stays_bounded() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for step in 0..100_000 {
            meter.arrived(start + Duration::from_micros(step * 20), 1, Duration::ZERO);
        }
        assert!(meter.arrivals.len() <= 1_001, "{}", meter.arrivals.len());
        assert_eq!(meter.bytes, 50_000);
    }

    #[test]
    fn an_older_higher_limit_counts_for_a_moment() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut limits = Limits::new(1_000);
        limits.change(at(0), 500);
        assert_eq!(limits.in_force(at(1_499)), 1_000);
        assert_eq!(limits.in_force(at(1_500)), 500);
        limits.change(at(1_600), 2_000);
        assert_eq!(limits.in_force(at(1_600)), 2_000, "a higher one counts at once");
    }

    #[test]
    fn the_tolerance_is_a_share_of_the_limit() {
        assert!(!exceeds(25_600, 204_800, 0));
        assert!(exceeds(25_601, 204_800, 0));
        assert!(!exceeds(26_880, 204_800, 5));
        assert!(exceeds(26_881, 204_800, 5));
        assert!(exceeds(1, 0, 5), "a limit of nothing");
    }
}
