//! The channels that are kept ready for the connections of one forward.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use super::channel::{Channel, Stage};
use crate::app::Result;
use crate::session::SessionOutcome;
use crate::session::warning::Warning;

/// How much longer than `--warm-for` a channel is kept that has no replacement yet.
const OVERDUE: Duration = Duration::from_secs(10);
/// The longest pause before a channel is opened anew that was over at once.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// The channels that are kept ready.
pub(crate) struct Warm {
    /// The address of the forward, for messages.
    address: String,
    channels: RefCell<VecDeque<Channel>>,
    /// Notified when the task that keeps channels ready has something to check.
    pub(super) changed: Notify,
    /// A probe has opened a channel, which a connection that waits may take.
    pub(super) offered: Notify,
}

impl Warm {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            channels: RefCell::default(),
            changed: Notify::new(),
            offered: Notify::new(),
        }
    }

    /// Keeps the channel of a probe, which a connection may take.
    pub(super) fn offer(&self, channel: Channel) {
        self.channels.borrow_mut().push_back(channel);
        self.offered.notify_waiters();
    }

    /// Watches the stages of the channels.
    pub(super) fn watch(&self) -> Vec<watch::Receiver<Stage>> {
        self.channels.borrow().iter().map(Channel::watch).collect()
    }

    /// Ends the channels that are kept for connections.
    pub(super) fn clear(&self) {
        self.channels.borrow_mut().clear();
    }

    /// Takes the channel that has come farthest.
    pub(super) fn take(&self) -> Option<Channel> {
        let mut warm = self.channels.borrow_mut();
        let now = Instant::now();
        warm.retain(|channel| is_usable(channel, now));
        // The newest: the target is the least likely to have closed it.
        let find = |stage| warm.iter().rposition(|channel| channel.stage() == stage);
        let found =
            find(Stage::Reached).or_else(|| find(Stage::Ready)).or_else(|| find(Stage::Opening))?;
        self.changed.notify_one();
        warm.remove(found)
    }

    /// Ends a channel that is kept ready, for a connection that waits. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        let mut warm = self.channels.borrow_mut();
        let found = warm.iter().rposition(|channel| !channel.is_ending() && !channel.is_probing());
        found.and_then(|found| warm.remove(found)).is_some()
    }

    /// Replaces what is over or stale, and returns when to check again.
    pub(super) fn refill(
        &self,
        open: impl Fn() -> Option<Channel>,
        count: usize,
        warm_for: Duration,
        pause: &mut Pause,
        warn: impl Fn(&Warning),
    ) -> Instant {
        let now = Instant::now();
        let mut warm = self.channels.borrow_mut();
        warm.retain_mut(|channel| {
            let outcome = channel.outcome();
            if let Some(outcome) = &outcome {
                let warning = match outcome {
                    Err(error) if channel.is_of_probe() => {
                        Warning::of_kept(&self.address, &**error)
                    }
                    _ => None,
                };
                warning.iter().for_each(&warn);
                if count > 0 {
                    let address = warning.is_none().then_some(&*self.address);
                    pause.note(now, channel.since, warm_for, address, outcome);
                }
            }
            outcome.is_none()
        });
        warm.retain(|channel| channel.age(now) < warm_for + OVERDUE && is_usable(channel, now));
        let is_fresh = |channel: &&Channel| channel.age(now) < warm_for;
        // One that is just ending has its place until it is known why.
        let mut fresh = warm.iter().filter(is_fresh).count();
        while fresh < count && pause.is_over(now) {
            let Some(channel) = open() else { break };
            warm.push_back(channel);
            fresh += 1;
        }
        // A stale channel goes once the target was reached for its successor.
        let reached = |channel: &&Channel| channel.stage() == Stage::Reached;
        if warm.iter().filter(is_fresh).filter(reached).count() >= count {
            warm.retain(|channel| is_fresh(&channel));
        }
        let until = |channel: &Channel| {
            let left = |end: Duration| end.checked_sub(channel.age(now)).filter(|l| !l.is_zero());
            left(warm_for).or_else(|| left(warm_for + OVERDUE))
        };
        // One that is still being opened tells when it is.
        let reached = warm.iter().filter(reached);
        let stale = reached.filter_map(until).min().map(|left| now + left);
        let unusable = warm.iter().filter_map(Channel::usable_until).min();
        let again = pause.until.filter(|until| *until > now);
        [stale, unusable, again].into_iter().flatten().min().unwrap_or(now + warm_for)
    }
}

fn is_usable(channel: &Channel, now: Instant) -> bool {
    channel.usable_until().is_none_or(|until| now < until) && !channel.has_slept()
}

/// When to try again after channels that were over at once.
#[derive(Default)]
pub(super) struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// A channel that was kept ready is over. Without an address it has been reported.
    fn note(
        &mut self,
        now: Instant,
        since: Instant,
        warm_for: Duration,
        address: Option<&str>,
        outcome: &Result<SessionOutcome>,
    ) {
        if now.saturating_duration_since(since) > warm_for / 4 {
            debug!("a channel that was kept ready is over");
            *self = Self::default();
            return;
        }
        if let Some(address) = address.filter(|_| self.failures == 0) {
            let why = match outcome {
                Ok(_) => "the target has closed it".to_owned(),
                Err(error) => error.to_string(),
            };
            warn!("{address}: no channel could be kept ready, trying again now and then: {why}");
        }
        self.failures = (self.failures + 1).min(16);
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(MOST_PAUSE);
        self.until = Some(now + pause);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}
