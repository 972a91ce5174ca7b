//! Agents: which there are, and how each behaves.

use std::time::Duration;

use crate::resumption::Resumption;

/// Which agent runs on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Generation {
    /// Up to early 2024: drops Input that comes before the target is dialled; says nothing when the target
    /// closes, and dials it again on the next Input of any kind.
    Old,
    /// Newer: holds early Input, and ends the session when the target closes.
    Newer,
    /// Speaks 1.02, and is a newer one else: numbers, acknowledges, and takes a stream up again on another WebSocket.
    Resumable,
}

impl Generation {
    /// Whether Input that comes before the target is dialled waits for it.
    pub(crate) fn holds_input(self) -> bool {
        self != Self::Old
    }

    /// Whether the session is over when the target closes.
    pub(crate) fn ends_with_target(self) -> bool {
        self != Self::Old
    }
}

/// What an agent does when the target cannot be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DialFailure {
    /// Status 5 with `OpenTargetPortFailed`, then a WebSocket close.
    #[default]
    Status,
    /// Nothing at all; the next Input makes it try again.
    Silent,
}

/// An instance's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agent {
    /// How it behaves.
    pub generation: Generation,
    /// From the upgrade until it joins the gateway.
    pub join_delay: Duration,
    /// From joining until it dials the target.
    pub dial_delay: Duration,
    /// For how long a newer one holds early Input before it gives the session up.
    pub hold: Duration,
    /// What it does when the target cannot be dialled.
    pub dial_failure: DialFailure,
    /// How it takes a stream up again, if it does.
    pub resumption: Resumption,
}

impl Agent {
    fn new(generation: Generation) -> Self {
        Self {
            generation,
            join_delay: Duration::from_millis(200),
            dial_delay: Duration::from_secs(1),
            hold: Duration::from_secs(10),
            dial_failure: DialFailure::Status,
            resumption: Resumption::default(),
        }
    }

    /// An agent of early 2024 or before, with the delays of the real one.
    #[must_use]
    pub fn old() -> Self {
        Self::new(Generation::Old)
    }

    /// A newer agent, with the delays of the real one.
    #[must_use]
    pub fn newer() -> Self {
        Self::new(Generation::Newer)
    }

    /// One that speaks 1.02, with the delays of a newer one.
    #[must_use]
    pub fn resumable() -> Self {
        Self::new(Generation::Resumable)
    }

    /// From the upgrade until it joins the gateway (200 ms).
    #[must_use]
    pub fn join_delay(mut self, delay: Duration) -> Self {
        self.join_delay = delay;
        self
    }

    /// From joining until it dials the target (1 s).
    #[must_use]
    pub fn dial_delay(mut self, delay: Duration) -> Self {
        self.dial_delay = delay;
        self
    }

    /// Both delays as short as makes sense in a test.
    #[must_use]
    pub fn quick(self) -> Self {
        self.join_delay(Duration::from_millis(5)).dial_delay(Duration::from_millis(5))
    }

    /// For how long a newer one holds early Input (10 s).
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// What it does when the target cannot be dialled.
    #[must_use]
    pub fn dial_failure(mut self, dial_failure: DialFailure) -> Self {
        self.dial_failure = dial_failure;
        self
    }

    /// How a resumable one takes a stream up again.
    #[must_use]
    pub fn resumption(mut self, resumption: Resumption) -> Self {
        self.resumption = resumption;
        self
    }
}
