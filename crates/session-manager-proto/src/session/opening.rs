//! How far a session has opened, and when local bytes may flow (docs/protocol.md, 5).

use std::time::{Duration, Instant};

use super::config::Config;
use super::end::Failure;
use super::link::RECONNECT_TIMEOUT;
use super::ssh::Greeting;
use crate::generation::Generation;

/// How long a session may take to open after the upgrade.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long after Opened the target is taken to be dialled, unless the agent has reported a failure:
/// agents dial after a second.
const DIAL_GRACE: Duration = Duration::from_millis(1500);
/// How much longer than after Opened to wait when no status comes at all.
pub(super) const NO_STATUS_GRACE: Duration = Duration::from_millis(1500);

/// The opening of a session.
#[derive(Debug)]
pub(super) struct Opening {
    started: Instant,
    /// Since when the peer has had the time to open.
    since: Instant,
    has_progress: bool,
    opened: Option<Instant>,
    /// Since when the target is taken to be listening.
    reached: Option<Instant>,
}

impl Opening {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, since: now, has_progress: false, opened: None, reached: None }
    }

    /// A status reports progress.
    pub(super) fn handle_progress(&mut self) {
        self.has_progress = true;
    }

    /// The agent has joined. Whether that is news.
    pub(super) fn handle_opened(&mut self, now: Instant) -> bool {
        let is_new = self.opened.is_none();
        self.opened.get_or_insert(now);
        is_new
    }

    /// The target is listening. Whether that is news.
    pub(super) fn handle_reached(&mut self, now: Instant) -> bool {
        let is_new = self.reached.is_none();
        self.reached.get_or_insert(now);
        is_new
    }

    /// There is another socket, and the peer has its time once more.
    pub(super) fn handle_reconnected(&mut self, now: Instant) {
        self.since = now;
    }

    pub(super) fn is_opened(&self) -> bool {
        self.opened.is_some()
    }

    /// The session has not opened in time.
    pub(super) fn failure(&self, now: Instant) -> Failure {
        let waited = now.saturating_duration_since(self.started);
        Failure::NotOpened { waited, progress: self.has_progress }
    }

    /// When local bytes may flow although the target has not spoken. Where it speaks first that is
    /// the last resort, since agents of generation A drop what comes before they have dialled. Others
    /// keep it until then.
    pub(super) fn ready_at(
        &self,
        config: &Config,
        agent: Option<Generation>,
        greeting: Greeting,
    ) -> Option<Instant> {
        let delay = match agent {
            Some(agent) if agent.holds_early_input() && !config.is_shell() => Duration::ZERO,
            _ => config.ready_delay,
        };
        self.after_opened(config, greeting, delay, config.ready_delay + NO_STATUS_GRACE)
    }

    /// When the target is taken to be listening although it has not spoken.
    pub(super) fn reached_at(&self, config: &Config, greeting: Greeting) -> Option<Instant> {
        if self.reached.is_some() {
            return None;
        }
        let delay = config.ready_delay.max(DIAL_GRACE);
        self.after_opened(config, greeting, delay, delay + NO_STATUS_GRACE)
    }

    /// From when the target can have what it was sent: it has sent data, or is taken to be dialled.
    pub(super) fn dialled_from(&self, config: &Config, greeting: Greeting) -> Option<Instant> {
        self.reached.or_else(|| self.reached_at(config, greeting))
    }

    /// So long after Opened, or after the upgrade where no status reports it.
    fn after_opened(
        &self,
        config: &Config,
        greeting: Greeting,
        opened: Duration,
        upgraded: Duration,
    ) -> Option<Instant> {
        let server_first = match greeting {
            Greeting::Nothing => config.server_first,
            Greeting::Begun(_) | Greeting::Ssh => true,
            // It does not depend on the bytes of a shell.
            Greeting::Other => config.is_shell() && config.server_first,
        };
        let at = self.opened.map(|at| at + opened);
        match (at, server_first) {
            (Some(at), true) => Some(at.max(self.since + OPEN_TIMEOUT)),
            (Some(at), false) => Some(at),
            (None, false) if !self.has_progress => Some(self.since + upgraded),
            (None, _) => None,
        }
    }

    /// When a session has to be open. A gateway that restarts has its time once more, but not again and
    /// again.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        if self.is_opened() {
            return None;
        }
        let within = OPEN_TIMEOUT.max(config.ready_delay + NO_STATUS_GRACE);
        Some((self.since + within).min(self.started + within + RECONNECT_TIMEOUT))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn readiness_follows_from_the_statuses_the_agent_and_who_speaks_first() {
        let now = Instant::now();
        let config = Config::new(1);
        let ready = |opening: &Opening, agent, greeting| {
            opening.ready_at(&config, agent, greeting).map(|at| at - now)
        };
        let mut opening = Opening::new(now);
        assert_eq!(ready(&opening, None, Greeting::Other), Some(3000 * MS));
        assert_eq!(ready(&opening, None, Greeting::Ssh), None);
        opening.handle_progress();
        assert_eq!(ready(&opening, None, Greeting::Other), None, "the agent is on its way");
        assert!(opening.handle_opened(now + 100 * MS) && !opening.handle_opened(now + 200 * MS));
        assert_eq!(ready(&opening, None, Greeting::Other), Some(1600 * MS));
        assert_eq!(ready(&opening, Some(Generation::A), Greeting::Other), Some(1600 * MS));
        assert_eq!(ready(&opening, Some(Generation::B), Greeting::Other), Some(100 * MS));
        assert_eq!(ready(&opening, Some(Generation::D), Greeting::Ssh), Some(OPEN_TIMEOUT));
        assert_eq!(opening.reached_at(&config, Greeting::Other), Some(now + 1600 * MS));
        assert!(opening.handle_reached(now) && !opening.handle_reached(now));
        assert_eq!(opening.reached_at(&config, Greeting::Other), None);
    }

    #[test]
    fn a_session_has_to_open_in_time_and_a_restart_gives_it_once_more() {
        let now = Instant::now();
        let config = Config::new(1);
        let mut opening = Opening::new(now);
        assert_eq!(opening.deadline(&config), Some(now + OPEN_TIMEOUT));
        for restart in [10, 1000] {
            opening.handle_reconnected(now + restart * Duration::from_secs(1));
            let most = (restart * Duration::from_secs(1)).min(RECONNECT_TIMEOUT);
            assert_eq!(opening.deadline(&config), Some(now + most + OPEN_TIMEOUT));
        }
        opening.handle_opened(now);
        assert_eq!(opening.deadline(&config), None);
    }
}
