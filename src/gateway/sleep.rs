//! Detects that this machine has slept: few sockets survive that.

use std::time::{Duration, Instant, SystemTime};

/// No wait is longer than this, so that a sleep is seen soon after it.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// A wait that took so much longer than it was to take was a sleep.
const ASLEEP: Duration = Duration::from_secs(30);

/// Whether this machine has slept between two times of both clocks. Where the monotonic one counts the
/// sleep too, it does not show here: what is old is old by that clock.
pub(crate) fn has_slept(then: (Instant, SystemTime), now: (Instant, SystemTime)) -> bool {
    let monotonic = now.0.saturating_duration_since(then.0);
    let wall = now.1.duration_since(then.1).unwrap_or_default();
    wall > monotonic + ASLEEP
}

/// Compares the clocks before and after each wait.
#[derive(Debug)]
pub(super) struct SleepWatch {
    looked: (Instant, SystemTime),
}

impl SleepWatch {
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        Self { looked: (now, wall) }
    }

    /// For how long this machine has slept since the last call, and a wait before it, if it has. Either
    /// clock shows it: some stand still meanwhile, and others can be set. To be called after each wait, none
    /// of which is longer than [`Self::deadline`] says.
    pub(super) fn slept(&mut self, now: Instant, wall: SystemTime) -> Option<Duration> {
        let (last, last_wall) = std::mem::replace(&mut self.looked, (now, wall));
        let passed = now.saturating_duration_since(last);
        let passed = passed.max(wall.duration_since(last_wall).unwrap_or_default());
        (passed > LOOK_EVERY + ASLEEP).then_some(passed)
    }

    /// When to look again at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.looked.0 + LOOK_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sleep_shows_on_either_clock() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        for (monotonic, wall_clock) in [(0, 3600), (3600, 3600), (3600, 0), (51, 51)] {
            let mut watch = SleepWatch::new(now, wall);
            let (now, wall) = (now + SECOND * monotonic, wall + SECOND * wall_clock);
            let slept = monotonic.max(wall_clock);
            assert_eq!(watch.slept(now, wall), Some(SECOND * slept));
            assert_eq!(watch.slept(now, wall), None, "that was before");
        }
    }

    #[test]
    fn what_was_there_before_a_sleep_is_known() {
        let then = (Instant::now(), SystemTime::now());
        let later = |monotonic, wall| (then.0 + SECOND * monotonic, then.1 + SECOND * wall);
        assert!(has_slept(then, later(10, 3600)));
        assert!(has_slept(later(5, 5), later(10, 41)));
        for (monotonic, wall) in [(10, 10), (10, 40), (3600, 3600), (3600, 0)] {
            assert!(!has_slept(then, later(monotonic, wall)), "{monotonic} {wall}");
        }
        assert!(!has_slept(later(0, 10), later(1, 0)), "the clock was set back");
    }

    #[test]
    fn a_wait_and_a_clock_that_was_set_back_are_no_sleep() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut watch = SleepWatch::new(now, wall);
        assert_eq!(watch.deadline(), now + LOOK_EVERY);
        assert_eq!(watch.slept(now + 20 * SECOND, wall + 20 * SECOND), None);
        assert_eq!(watch.slept(now + 40 * SECOND, wall - 3600 * SECOND), None);
        assert_eq!(watch.slept(now + 85 * SECOND, wall - 3555 * SECOND), None);
    }
}
