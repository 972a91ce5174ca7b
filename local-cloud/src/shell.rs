//! Shells: what an instance has for sessions without a port, and what is asked of them.

use std::time::Duration;

/// How an instance runs shells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shells {
    /// The users that there are.
    pub users: Vec<String>,
    /// From joining until there is a terminal, and from then until it is read.
    pub delay: Duration,
}

impl Default for Shells {
    fn default() -> Self {
        Self {
            users: ["ecs-assist-user", "root"].map(str::to_owned).to_vec(),
            delay: Duration::from_secs(1),
        }
    }
}

impl Shells {
    /// One more user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.users.push(name.into());
        self
    }

    /// From joining until there is a terminal, and from then until it is read (1 s each).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What StartTerminalSession was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShellRequest {
    pub(crate) username: Option<String>,
    pub(crate) command_line: Option<String>,
    pub(crate) password_name: Option<String>,
}
