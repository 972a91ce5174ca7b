//! What may go wrong with single frames on their way, in either direction.

use std::time::Duration;

/// On whose way it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Between the agent and the client.
    ToClient,
    /// Between the client and the agent. What the client does wrong is judged before.
    ToAgent,
}

/// Which frames the fault applies to. They are counted over all WebSockets of a stream, and those that are sent again count again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The nth from when the fault was put in, counted from 1.
    Nth(u64),
    /// The nth, the 2nth, and so on.
    Every(u64),
    /// A share of them, in thousandths, drawn with a seed: the same seed chooses the same frames.
    Share {
        /// Of 1,000 frames so many.
        per_mille: u32,
        /// What is drawn from.
        seed: u64,
    },
}

/// What happens to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// It comes twice.
    Duplicate,
    /// It comes behind the next one of its type, or 100 ms late if none follows.
    Swap,
    /// It does not come.
    Lose,
    /// Only so many of its first bytes come.
    Truncate(usize),
    /// A byte of it has all its bits flipped. Positions past the end count from the start again.
    Flip(usize),
    /// Its length field says so many bytes more than there are. An agent gets it as it is, and ends with `ProcessDataError`.
    WrongLength(u8),
    /// It, and all that follows, comes so much later.
    Delay(Duration),
}

/// Something that goes wrong with frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameFault {
    /// On whose way.
    pub way: Way,
    /// Which frames.
    pub which: Which,
    /// What happens to them.
    pub corrupt: Corruption,
    /// Frames of which type are counted: Outputs to the client and Inputs to the agent, unless another is named.
    pub kind: u32,
    /// How many more times it applies; `None` is each time.
    pub times: Option<u32>,
}

impl FrameFault {
    /// For Outputs.
    #[must_use]
    pub fn to_client(which: Which, corrupt: Corruption) -> Self {
        Self { way: Way::ToClient, which, corrupt, kind: 1, times: None }
    }

    /// For Inputs.
    #[must_use]
    pub fn to_agent(which: Which, corrupt: Corruption) -> Self {
        Self { way: Way::ToAgent, which, corrupt, kind: 0, times: None }
    }

    /// For frames of another type, such as 5 for statuses and 6 for Syncs.
    #[must_use]
    pub fn of_type(mut self, kind: u32) -> Self {
        self.kind = kind;
        self
    }

    /// Strikes so many frames of a stream, and then no more.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}
