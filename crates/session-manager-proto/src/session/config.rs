//! What a session is to do.

use std::time::Duration;

/// How long after Opened there is a terminal: agents wait a second before they make one.
const SHELL_DELAY: Duration = Duration::from_secs(5);

/// What a session leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionKind {
    /// A TCP port: a stream of bytes.
    #[default]
    Port,
    /// A shell on a terminal of the instance (docs/protocol.md, 9).
    Shell,
}

/// How a silent session is kept open: by an empty Input, or by a Resize where that does no harm (docs/protocol.md, 5
/// and 6). A time has to be less than the 180 s after which an agent ends a silent session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Not at all.
    Never,
    /// After so long without a frame of ours, as far as that is harmless with the agent that there is.
    ByAgent(Duration),
    /// After so long without a frame of ours, whatever the agent does with it.
    Always(Duration),
}

impl Keepalive {
    /// After how long without a frame of ours.
    pub(super) fn after(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::ByAgent(after) | Self::Always(after) => Some(after),
        }
    }
}

/// What a session is to do. [`Config::new`] gives the values of docs/protocol.md, 5 to 7.
#[derive(Clone, Debug)]
pub struct Config {
    /// The time of day at the upgrade, in milliseconds since 1970-01-01 UTC; never 0. It goes into frames.
    pub unix_ms: u64,
    /// What the session leads to.
    pub kind: SessionKind,
    /// Whether the target is known to speak first, so that local bytes can wait for it. What is
    /// sent tells too: an SSH client's first bytes are `SSH-`, and then its server speaks first.
    pub server_first: bool,
    /// How long after Opened the target is taken to be dialled, if it has not spoken, by an agent that
    /// drops earlier Input or whose generation is not known: 1.5 s (docs/protocol.md, 5). In a shell: how long after
    /// Opened there is a terminal, whatever the agent: 5 s.
    pub ready_delay: Duration,
    /// How a session without local bytes is kept open: after 50 s without a frame of ours, where that does no
    /// harm. An agent ends a session after 180 s (docs/protocol.md, 6).
    pub keepalive: Keepalive,
    /// After how much time without payload in either direction the session is ended; `None`, the default, for
    /// never.
    pub idle_timeout: Option<Duration>,
    /// How long before that end [`Event::IdleSoon`](super::Event::IdleSoon) announces it.
    pub idle_warning: Option<Duration>,
    /// How long the peer may be quiet after the local end of file before it is taken to be done: 10 s
    /// (docs/protocol.md, 7). 0 ends the session once what was sent has arrived.
    pub linger: Duration,
    /// Any random number, so that clients do not all come back to a gateway at once. 0, the default, for none.
    pub random: u64,
}

impl Config {
    /// The defaults, with the time of day at the upgrade in milliseconds since 1970-01-01 UTC.
    pub fn new(unix_ms: u64) -> Self {
        Self {
            unix_ms: unix_ms.max(1),
            kind: SessionKind::Port,
            server_first: false,
            ready_delay: Duration::from_millis(1500),
            keepalive: Keepalive::ByAgent(Duration::from_secs(50)),
            idle_timeout: None,
            idle_warning: None,
            linger: Duration::from_secs(10),
            random: 0,
        }
    }

    /// The same for a shell. `is_silent` says that it may wait for input before it has written anything,
    /// as a command may; a shell writes its prompt first.
    pub fn shell(unix_ms: u64, is_silent: bool) -> Self {
        Self {
            kind: SessionKind::Shell,
            server_first: !is_silent,
            ready_delay: SHELL_DELAY,
            ..Self::new(unix_ms)
        }
    }

    pub(super) fn is_shell(&self) -> bool {
        self.kind == SessionKind::Shell
    }
}
