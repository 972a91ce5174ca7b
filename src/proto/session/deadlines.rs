//! What a session waits for, and for how long.

use std::time::{Duration, Instant};

use super::link::GIVE_UP;
use super::{Arrived, End, Failure, Greeting, Session};
use crate::proto::timer::Timer;

/// How long a session may take to open after the upgrade.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long after Opened an agent that nobody has heard complain has dialled the target: agents dial
/// after a second.
const DIALLED: Duration = Duration::from_millis(1500);
/// How much longer than after Opened to wait when no progress is told at all.
pub(super) const UNTOLD: Duration = Duration::from_millis(1500);

/// How long a session that lingers has to be quiet before it may be ended for another one.
const YIELD_AFTER: Duration = Duration::from_secs(1);
/// The same where the target has not answered yet.
const YIELD_UNANSWERED_AFTER: Duration = Duration::from_secs(3);

impl Session {
    /// A deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.wants_remote() {
            // What is not read cannot be heard.
            self.pings.note_heard(now);
        }
        for timer in Timer::ALL {
            if self.deadline(timer).is_some_and(|deadline| deadline <= now) {
                self.expire(now, timer);
            }
        }
    }

    /// When [`Self::handle_timeout`] is to be called next. `can_transmit` says whether the caller
    /// has room for a frame: the pace is waited for only then.
    pub fn poll_timeout(&self, can_transmit: bool) -> Option<Instant> {
        let waits = |timer| can_transmit || timer != Timer::Pace;
        Timer::earliest(|timer| self.deadline(timer).filter(|_| waits(timer)))
    }

    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let opening = self.ready.is_none();
        match timer {
            Timer::Reconnect => self.reconnect_at(),
            Timer::GiveUp => self.give_up_at(),
            Timer::Flush => self.flush_by,
            _ if !self.is_connected() => None,
            Timer::AskAgain => self.ask_again_at(),
            Timer::Tail => self.tail_by(),
            // The far side has ended the stream, and only what is missing is still waited for.
            _ if self.last.is_some() => None,
            Timer::Told => self.told_by.filter(|_| !self.sync_due),
            Timer::Pace if self.told_by.is_some() => None,
            Timer::Pace if self.resend.is_some() => {
                let (_, payload) = self.resend.and_then(|sequence| self.replay.get(sequence))?;
                self.pace.whole_at(payload.len())
            }
            Timer::Ready if opening => self.ready_at(),
            Timer::Reached if !self.reached => self.reached_at(),
            Timer::Silent => self.silent_at(),
            Timer::Unacknowledged => self.ask_acknowledgement_at(),
            Timer::NoAnswer => self.no_answer_at(),
            Timer::AgentIdle => self.agent_idle_at(),
            Timer::Arrival => self.arrival_by(),
            Timer::Open if opening && self.opened.is_none() => Some(self.open_by()),
            Timer::Pace if !opening && !self.local.is_empty() => {
                self.pace.retry_at(self.local.len())
            }
            Timer::KeepAlive => self.keepalive_at(),
            Timer::Idle => Some(self.last_input.max(self.last_output) + self.config.idle_timeout?),
            // The far side is not quiet as long as something is still to be sent again, either way, or
            // has not arrived.
            Timer::Linger
                if self.is_sent()
                    && self.missing.is_none()
                    && self.arrived() != Arrived::NotYet =>
            {
                let quiet = self.quiet_since()?;
                // A local side that is busy is looked at again, but not at once and for ever.
                let least = Duration::from_secs(u64::from(!self.deliver.is_empty()));
                Some(quiet + self.config.linger.max(least))
            }
            _ => None,
        }
    }

    /// Since when nothing has come or gone after the local end of file.
    fn quiet_since(&self) -> Option<Instant> {
        let quiet = self.eof?.max(self.ready?).max(self.last_input).max(self.last_output);
        let arrival = self.pings.last_arrival().unwrap_or(quiet);
        Some(quiet.max(self.taken.1).max(arrival))
    }

    /// From when on a session that lingers may be ended because another one needs its place. One whose
    /// target has not answered what was sent last is given longer.
    pub fn may_yield_at(&self) -> Option<Instant> {
        self.deadline(Timer::Linger)?;
        if !self.deliver.is_empty() || !self.local.is_empty() {
            return None;
        }
        let is_answered = self.outputs > 0 && self.last_output > self.last_input;
        let least = if is_answered { YIELD_AFTER } else { YIELD_UNANSWERED_AFTER };
        Some(self.quiet_since()? + least.min(self.config.linger))
    }

    /// Another session needs the place of this one, which lingers.
    pub fn handle_yield(&mut self, now: Instant) {
        if self.may_yield_at().is_some_and(|at| at <= now) {
            self.yielded = true;
            self.finish(End::Local, true);
        }
    }

    /// Whether the session was ended because another one needed its place.
    pub fn has_yielded(&self) -> bool {
        self.yielded
    }

    fn expire(&mut self, now: Instant, timer: Timer) {
        // A local side that does not take what waits for it is busy, and the far side is not quiet.
        let busy = !self.deliver.is_empty() || !self.local.is_empty();
        match timer {
            Timer::Ready => self.make_ready(now),
            Timer::Reached => self.make_reached(now),
            Timer::Silent => self.handle_silence(now),
            Timer::Unacknowledged => self.ask_acknowledgement(now),
            Timer::NoAnswer => self.tell_no_answer(now),
            Timer::AgentIdle => self.end_idle(),
            Timer::Arrival => self.handle_not_arrived(),
            Timer::Open => {
                let waited = now.saturating_duration_since(self.started);
                let failure = Failure::NotOpened { waited, progress: self.progress };
                self.finish(End::Failed(failure), true);
            }
            Timer::Pace => {}
            Timer::KeepAlive => self.note_keepalive_due(now),
            Timer::Idle | Timer::Linger if busy => self.last_output = now,
            Timer::Idle => {
                let allowed = self.config.idle_timeout.unwrap_or_default();
                self.finish(End::Failed(Failure::Idle(allowed)), true);
            }
            Timer::Linger => self.finish(End::Local, true),
            Timer::AskAgain => self.ask_again(now),
            Timer::Tail => self.handle_tail_timeout(now),
            Timer::GiveUp => self.give_up(),
            Timer::Told => self.told_by = None,
            // The caller asks for it.
            Timer::Reconnect => {}
            Timer::Flush => {
                self.local.clear();
                self.finish(End::Local, true);
            }
        }
    }

    /// When local bytes may flow although the target has not spoken. Where it speaks first that is
    /// the last resort, since agents of generation A drop what comes before they have dialled. Others
    /// keep it until then.
    fn ready_at(&self) -> Option<Instant> {
        let delay = match self.agent {
            Some(agent) if agent.holds_early_input() => Duration::ZERO,
            _ => self.config.ready_delay,
        };
        self.after_opening(delay, self.config.ready_delay + UNTOLD)
    }

    /// When the target is taken to be listening although it has not spoken.
    fn reached_at(&self) -> Option<Instant> {
        let delay = self.config.ready_delay.max(DIALLED);
        self.after_opening(delay, delay + UNTOLD)
    }

    /// So long after Opened, or after the upgrade where no status tells of it.
    fn after_opening(&self, opened: Duration, untold: Duration) -> Option<Instant> {
        let server_first = match self.greeting {
            Greeting::Nothing => self.config.server_first,
            Greeting::Ssh => true,
            Greeting::Other => false,
        };
        let told = self.opened.map(|at| at + opened);
        match (told, server_first) {
            (Some(told), true) => Some(told.max(self.opening + OPEN_WITHIN)),
            (Some(told), false) => Some(told),
            (None, false) if !self.progress => Some(self.opening + untold),
            (None, _) => None,
        }
    }

    /// A gateway that restarts has its time once more, but not again and again.
    fn open_by(&self) -> Instant {
        let within = OPEN_WITHIN.max(self.config.ready_delay + UNTOLD);
        (self.opening + within).min(self.started + within + GIVE_UP)
    }
}
