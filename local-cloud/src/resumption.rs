//! How an agent of 1.02, and the gateway before it, take a stream up again: where the published sources leave two readings
//! open, the one that is kinder to clients is the default and the other a switch.

use std::time::Duration;

/// What the Sync of an agent names in its `input sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncNames {
    /// The first Input that it wants, which is what the published client takes it for.
    #[default]
    FirstWanted,
    /// The last Input that it has, as all its other frames do. The client may have forgotten that one.
    LastReceived,
}

/// Whether an agent answers a client's Sync with one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncAnswer {
    /// If the client's says that Inputs were sent which have not come.
    #[default]
    IfMissing,
    /// Each time.
    Always,
    /// Never: that something is missing shows when the next Input comes, and is not asked for again by the clock either.
    Never,
}

/// How a resumable agent takes a stream up again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumption {
    /// How long a stream lives on without a WebSocket; then the session ends.
    pub grace: Duration,
    /// How many bytes of Output are kept for a client that has not acknowledged them; then the target is read no more.
    pub keeps: usize,
    /// Whether Initial, Opening and Opened, as far as it had come to that, are told again on another WebSocket.
    pub reannounces: bool,
    /// What its Sync names.
    pub sync_names: SyncNames,
    /// Whether it answers a client's Sync with its own.
    pub sync_answer: SyncAnswer,
    /// Whether new Outputs are sent on another WebSocket before the client's Sync has come.
    pub early_outputs: bool,
    /// Whether statuses carry no sequences, as though they did not come from the agent.
    pub bare_statuses: bool,
    /// How long after its first frame a client may still speak 1.01, because it had not read that yet.
    pub version_grace: Duration,
    /// How long after the last status the gateway waits for the client to close, before it does so itself.
    pub linger: Duration,
    /// Whether a WebSocketUrl that has expired still takes up a stream that lives.
    pub outlives_url: bool,
    /// Whether the sequence of a 1.01 frame counts as its number too.
    pub strict: bool,
}

impl Default for Resumption {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(60),
            keeps: 4 << 20,
            reannounces: true,
            sync_names: SyncNames::default(),
            sync_answer: SyncAnswer::default(),
            early_outputs: false,
            bare_statuses: false,
            version_grace: Duration::from_secs(1),
            linger: Duration::from_secs(1),
            outlives_url: true,
            strict: false,
        }
    }
}

impl Resumption {
    /// How long a stream lives on without a WebSocket (60 s).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many bytes of Output are kept (4 MiB).
    #[must_use]
    pub fn keeps(mut self, bytes: usize) -> Self {
        self.keeps = bytes;
        self
    }

    /// Whether the progress is told again on another WebSocket (yes).
    #[must_use]
    pub fn reannounces(mut self, reannounces: bool) -> Self {
        self.reannounces = reannounces;
        self
    }

    /// What its Sync names (the first Input that it wants).
    #[must_use]
    pub fn sync_names(mut self, names: SyncNames) -> Self {
        self.sync_names = names;
        self
    }

    /// Whether it answers a client's Sync with its own (if Inputs are missing).
    #[must_use]
    pub fn sync_answer(mut self, answer: SyncAnswer) -> Self {
        self.sync_answer = answer;
        self
    }

    /// Whether new Outputs are sent on another WebSocket before the client's Sync has come (no).
    #[must_use]
    pub fn early_outputs(mut self, early: bool) -> Self {
        self.early_outputs = early;
        self
    }

    /// Whether statuses carry no sequences (they do: the acknowledgement, and the last Output that was sent).
    #[must_use]
    pub fn bare_statuses(mut self, bare: bool) -> Self {
        self.bare_statuses = bare;
        self
    }

    /// How long after its first frame a client may still speak 1.01 (1 s).
    #[must_use]
    pub fn version_grace(mut self, grace: Duration) -> Self {
        self.version_grace = grace;
        self
    }

    /// How long after the last status the gateway waits for the client to close (1 s).
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Whether Inputs and Resizes have to be numbered without a gap, from 1 on, those of 1.01 by their sequence (no). What comes
    /// twice is then asked for by Sync as well as what is missing. [`crate::SessionRecord::input_gaps`] and
    /// [`crate::SessionRecord::duplicate_inputs`] count them.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Whether a WebSocketUrl that has expired still takes up a stream that lives (yes).
    #[must_use]
    pub fn outlives_url(mut self, outlives: bool) -> Self {
        self.outlives_url = outlives;
        self
    }
}
