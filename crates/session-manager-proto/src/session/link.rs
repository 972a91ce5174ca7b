//! The WebSocket under a session: up, down, or being reconnected (docs/protocol.md, 8).

use std::time::{Duration, Instant};

use super::end::Disconnect;

/// How long after the loss of a socket the first try begins.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(8);
/// A socket that lives so long, or brings something of the target, counts as a success.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long a session tries to reconnect.
pub(super) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The WebSocket.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    random: u64,
}

#[derive(Debug)]
enum State {
    /// There is a socket. It is on trial until it has shown that it works.
    Up(Option<ReconnectAttempt>),
    /// The next try begins at an instant.
    Down(Outage, Instant),
    /// A try is made.
    Reconnecting(Outage),
}

/// Why there is no socket, and what was done about it.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    since: Instant,
    /// How the socket was lost.
    pub(super) why: Disconnect,
    tries: u32,
    /// How the last try failed.
    pub(super) last_error: Option<String>,
}

/// The tries that led to the present socket, until it has shown that it works.
#[derive(Clone, Copy, Debug)]
struct ReconnectAttempt {
    since: Instant,
    tries: u32,
    connected: Instant,
}

impl ReconnectAttempt {
    fn is_new(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.connected) < STABLE_AFTER
    }
}

impl Link {
    pub(super) fn new(random: u64) -> Self {
        Self { state: State::Up(None), random }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The socket is lost, and another one is to be made.
    pub(super) fn handle_disconnect(&mut self, now: Instant, why: Disconnect) {
        let State::Up(attempt) = self.state else { return };
        // A socket that is lost as soon as it is there was no success.
        let attempt = attempt.filter(|attempt| attempt.is_new(now));
        let (since, tries) = attempt.map_or((now, 0), |attempt| (attempt.since, attempt.tries));
        let next = now + self.delay(tries);
        self.state = State::Down(Outage { since, why, tries, last_error: None }, next);
    }

    /// Whether another socket is to be made now. Either of [`Self::handle_reconnected`] and
    /// [`Self::handle_not_reconnected`] has to follow.
    pub(super) fn poll_reconnect(&mut self, now: Instant) -> bool {
        let State::Down(outage, next) = &mut self.state else { return false };
        let is_due = *next <= now;
        if is_due {
            outage.tries += 1;
            self.state = State::Reconnecting(outage.clone());
        }
        is_due
    }

    /// There is a socket again.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        if let State::Down(outage, _) | State::Reconnecting(outage) = &self.state {
            let Outage { since, tries, .. } = *outage;
            self.state = State::Up(Some(ReconnectAttempt { since, tries, connected: now }));
        }
    }

    /// No socket could be made. Whether there is none.
    pub(super) fn handle_not_reconnected(&mut self, now: Instant, how: String) -> bool {
        let (State::Down(outage, _) | State::Reconnecting(outage)) = &self.state else {
            return false;
        };
        let outage = Outage { last_error: Some(how), ..outage.clone() };
        let next = now + self.delay(outage.tries);
        self.state = State::Down(outage, next);
        true
    }

    /// The peer has sent something that shows the socket to work.
    pub(super) fn handle_peer_answer(&mut self) {
        if let State::Up(attempt) = &mut self.state {
            *attempt = None;
        }
    }

    /// Whether the peer has not answered the Sync on a new socket yet.
    pub(super) fn awaits_sync_answer(&self, now: Instant) -> bool {
        matches!(&self.state, State::Up(Some(attempt)) if attempt.is_new(now))
    }

    pub(super) fn outage(&self) -> Option<&Outage> {
        match &self.state {
            State::Up(_) => None,
            State::Down(outage, _) | State::Reconnecting(outage) => Some(outage),
        }
    }

    /// No other socket is made.
    pub(super) fn abandon(&mut self) {
        self.state = State::Up(None);
    }

    pub(super) fn reconnect_at(&self) -> Option<Instant> {
        match self.state {
            State::Down(_, next) => Some(next),
            State::Up(_) | State::Reconnecting(_) => None,
        }
    }

    pub(super) fn give_up_at(&self) -> Option<Instant> {
        Some(self.outage()?.since + RECONNECT_TIMEOUT)
    }

    /// The pause after so many tries and up to a quarter more, from the randomness that was passed in:
    /// many clients of a gateway that restarts do not all come back at once.
    fn delay(&mut self, tries: u32) -> Duration {
        let delay = (FIRST_RETRY_DELAY * 2u32.pow(tries.min(8))).min(MAX_RETRY_DELAY);
        // xorshift64, which stays 0 if it begins so: that is no jitter at all.
        let random = &mut self.random;
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let share = u32::try_from(*random >> 48).unwrap_or(0);
        delay + delay / 4 * share / (1 << 16)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn down(now: Instant) -> Link {
        let mut link = Link::new(0);
        link.handle_disconnect(now, Disconnect::Frozen);
        assert!(!link.is_up());
        link
    }

    #[test]
    fn tries_are_made_one_at_a_time_with_longer_and_longer_pauses() {
        let mut now = Instant::now();
        let mut link = down(now);
        let give_up = link.give_up_at();
        for pause in [1, 2, 4, 8, 8] {
            assert_eq!(link.reconnect_at(), Some(now + pause * SECOND));
            assert!(!link.poll_reconnect(now));
            now += pause * SECOND;
            assert!(link.poll_reconnect(now) && !link.poll_reconnect(now));
            assert_eq!(link.reconnect_at(), None);
            assert!(link.handle_not_reconnected(now, "HTTP 503".into()));
            assert_eq!(link.outage().unwrap().last_error.as_deref(), Some("HTTP 503"));
        }
        assert_eq!(link.give_up_at(), give_up);
    }

    #[test]
    fn a_new_socket_that_is_lost_before_an_answer_continues_the_outage() {
        let now = Instant::now();
        let since = |link: &Link| link.give_up_at().unwrap() - RECONNECT_TIMEOUT;
        for (answers, lives, continues) in [(false, 9, true), (true, 9, false), (false, 10, false)]
        {
            let mut link = down(now);
            assert!(link.poll_reconnect(now + SECOND));
            link.handle_reconnected(now + SECOND);
            assert!(link.is_up() && link.awaits_sync_answer(now + SECOND));
            if answers {
                link.handle_peer_answer();
                assert!(!link.awaits_sync_answer(now + SECOND));
            }
            let lost = now + SECOND + lives * SECOND;
            link.handle_disconnect(lost, Disconnect::Frozen);
            assert_eq!(since(&link), if continues { now } else { lost });
            assert_eq!(link.reconnect_at(), Some(lost + if continues { 2 } else { 1 } * SECOND));
        }
    }

    #[test]
    fn the_jitter_is_at_most_a_quarter() {
        let now = Instant::now();
        let mut pauses = Vec::new();
        for random in 0..100_u64 {
            let mut link = Link::new(random.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            link.handle_disconnect(now, Disconnect::Frozen);
            pauses.push(link.reconnect_at().unwrap() - now);
        }
        assert!(pauses.iter().all(|pause| (SECOND..SECOND * 5 / 4).contains(pause)), "{pauses:?}");
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 90, "{pauses:?}");
    }
}
