//! Whether the gateway is still there: pings, silence, and this machine's own sleep.

use std::time::{Duration, Instant, SystemTime};

/// How often the gateway is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);
/// After so much silence the socket is taken to be broken.
const SILENT: Duration = Duration::from_secs(60);
/// How much longer while something waits to be taken: whoever does not read does not answer either, and
/// may go on in a moment.
const NOT_READING: Duration = Duration::from_secs(5);
/// A wait that took so much longer than it was to take was this machine's sleep. A socket seldom
/// survives that.
const ASLEEP: Duration = Duration::from_secs(30);
/// How long a gateway may take to show that it did.
const AFTER_SLEEP: Duration = Duration::from_secs(2);

/// The signs of life of one socket.
#[derive(Debug)]
pub(super) struct Vitals {
    ping_at: Instant,
    broken_at: Instant,
    slept: bool,
    waits: bool,
    looked: (Instant, SystemTime),
}

impl Vitals {
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        let (ping_at, broken_at) = (now + PING_EVERY, now + SILENT);
        Self { ping_at, broken_at, slept: false, waits: false, looked: (now, wall) }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.broken_at = now + SILENT;
        self.slept = false;
    }

    /// To be called after each wait, none of which is longer than [`Self::deadline`] says. Either
    /// clock shows a sleep: some stand still meanwhile, and others can be set.
    pub(super) fn look(&mut self, now: Instant, wall: SystemTime) -> bool {
        let (last, last_wall) = std::mem::replace(&mut self.looked, (now, wall));
        let passed = now.saturating_duration_since(last);
        let passed = passed.max(wall.duration_since(last_wall).unwrap_or_default());
        let slept = passed > PING_EVERY + ASLEEP;
        if slept {
            self.ping_at = now;
            self.broken_at = now + AFTER_SLEEP;
            self.slept = true;
        }
        slept
    }

    /// Whether it is time for a ping.
    pub(super) fn ping(&mut self, now: Instant) -> bool {
        let due = self.ping_at <= now;
        if due {
            self.ping_at = now + PING_EVERY;
        }
        due
    }

    /// Why the socket is broken, if it is. `is_read` says whether what comes is read at all: what
    /// is not read is not heard. `waits` says whether there is something that the gateway does not
    /// take.
    pub(super) fn broken(&mut self, now: Instant, is_read: bool, waits: bool) -> Option<String> {
        self.waits = waits;
        if !is_read {
            self.broken_at = now + SILENT;
        }
        (self.broken_at() <= now).then(|| match self.slept {
            true => "this machine slept, and the gateway does not answer any more".to_owned(),
            false => {
                format!("nothing was heard for {} s, not even an answer to pings", SILENT.as_secs())
            }
        })
    }

    fn broken_at(&self) -> Instant {
        if self.waits && !self.slept { self.broken_at + NOT_READING } else { self.broken_at }
    }

    /// When to look again at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.ping_at.min(self.broken_at())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds pass one by one, on both clocks.
    fn pass(vitals: &mut Vitals, (now, wall): (Instant, SystemTime), seconds: u32) -> (u32, bool) {
        let mut pings = 0;
        for second in 1..=seconds {
            let passed = SECOND * second;
            vitals.look(now + passed, wall + passed);
            pings += u32::from(vitals.ping(now + passed));
            if vitals.broken(now + passed, true, false).is_some() {
                return (pings, true);
            }
        }
        (pings, false)
    }

    fn begin() -> (Vitals, (Instant, SystemTime)) {
        let start = (Instant::now(), SystemTime::now());
        (Vitals::new(start.0, start.1), start)
    }

    #[test]
    fn silence_is_asked_into_three_times_and_then_it_is_the_end() {
        let (mut vitals, start) = begin();
        assert_eq!(vitals.deadline(), start.0 + PING_EVERY);
        assert_eq!(pass(&mut vitals, start, 59), (2, false));
        assert!(pass(&mut vitals, start, 60).1);
        let (mut vitals, (now, wall)) = begin();
        vitals.heard(now + 30 * SECOND);
        assert_eq!(pass(&mut vitals, (now, wall), 89), (4, false));
        assert!(vitals.broken(now + 90 * SECOND, true, false).unwrap().contains("60 s"));
    }

    #[test]
    fn a_gateway_that_takes_nothing_has_a_little_longer() {
        let (mut vitals, (now, _)) = begin();
        assert_eq!(vitals.broken(now + 64 * SECOND, true, true), None);
        vitals.ping(now + 64 * SECOND);
        assert_eq!(vitals.deadline(), now + 65 * SECOND, "no deadline in the past");
        assert!(vitals.broken(now + 65 * SECOND, true, true).unwrap().contains("60 s"));
        assert!(vitals.broken(now + 64 * SECOND, true, false).is_some());
    }

    #[test]
    fn what_is_not_read_cannot_be_heard() {
        let (mut vitals, (now, _)) = begin();
        assert_eq!(vitals.broken(now + 100 * SECOND, false, false), None);
        assert_eq!(vitals.broken(now + 159 * SECOND, true, false), None);
        assert!(vitals.broken(now + 160 * SECOND, true, false).is_some());
    }

    #[test]
    fn a_sleep_shows_on_either_clock_and_leaves_two_seconds() {
        for (monotonic, wall_clock) in [(0, 3600), (3600, 3600), (3600, 0)] {
            let (mut vitals, (now, wall)) = begin();
            let (now, wall) = (now + SECOND * monotonic, wall + SECOND * wall_clock);
            assert!(vitals.look(now, wall));
            assert!(vitals.ping(now), "it is asked at once");
            assert_eq!(vitals.broken(now + SECOND, true, false), None);
            assert!(vitals.broken(now + 2 * SECOND, true, false).unwrap().contains("slept"));
            vitals.heard(now + SECOND);
            assert_eq!(vitals.broken(now + 2 * SECOND, true, false), None, "it was still there");
        }
        let (mut vitals, (now, wall)) = begin();
        assert!(!vitals.look(now + 20 * SECOND, wall - 3600 * SECOND), "a clock that was set back");
    }
}
