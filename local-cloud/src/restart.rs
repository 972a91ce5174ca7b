//! A gateway that restarts.

use std::time::Duration;

/// How the gateway restarts: it says so (Status 8), closes its WebSockets after a moment, takes none for a while, and is back.
///
/// Who connects between the announcement and the close is taken, as though another gateway did it, and stays. Streams of
/// agents that do not resume end with their WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until it is given to the cloud"]
pub struct Restart {
    pub(crate) session: Option<String>,
    pub(crate) announced: bool,
    pub(crate) close_after: Duration,
    pub(crate) code: u16,
    pub(crate) down: Duration,
    pub(crate) refusal: u16,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            session: None,
            announced: true,
            close_after: Duration::from_millis(50),
            code: 1012,
            down: Duration::from_millis(100),
            refusal: 503,
        }
    }
}

impl Restart {
    /// One of all sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only for one session.
    pub fn of(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Whether it is announced with Frozen (yes).
    pub fn announced(mut self, announced: bool) -> Self {
        self.announced = announced;
        self
    }

    /// From the announcement to the close (50 ms).
    pub fn close_after(mut self, delay: Duration) -> Self {
        self.close_after = delay;
        self
    }

    /// The code of the close (1012). 1005 is a close frame without a code, 1006 none at all.
    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// For how long after the close upgrades are refused (100 ms).
    pub fn down(mut self, down: Duration) -> Self {
        self.down = down;
        self
    }

    /// The HTTP status that they are refused with (503).
    pub fn refusal(mut self, status: u16) -> Self {
        self.refusal = status;
        self
    }
}
