//! Cloud Assistant's commands: what an instance may be told to do, what comes of it, and who asks for the keys that are
//! registered on the way.

mod ending;
mod fault;
mod keys;
mod life;
mod record;
mod settings;
mod shell;
mod sshd;

use std::time::Duration;

use tokio::time::Instant;

pub use ending::Ending;
pub use fault::CommandFault;
pub(crate) use fault::{Mask, take as take_fault};
pub(crate) use keys::{PATH as KEYS_PATH, answer as answer_key_query};
pub(crate) use life::run;
pub(crate) use record::Log;
pub use record::{InvocationRecord, KeyQueryRecord, KeyRecord, Poll};
pub use settings::{Commands, KeyPlugin, Os};
pub use sshd::Sshd;

/// The script that puts the plug-in for temporary keys onto an instance. It is known by this text and never executed.
pub const INSTALL_COMMAND: &str =
    "acs-plugin-manager -e -P config_ecs_instance_connect --params --install";
/// The command of the vendor's that registers a temporary key.
pub const SEND_KEY_COMMAND: &str = "cmd-ACS-ECS-SendSshPublicKey-linux.sh";

/// A command, as far as the cloud tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommandKind {
    /// RunCommand with [`INSTALL_COMMAND`].
    Install,
    /// InvokeCommand of [`SEND_KEY_COMMAND`].
    SendKey,
    /// RunCommand with any other script.
    Script,
}

/// What an instance is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Install,
    SendKey { user: String, key: String },
    Script { content: Vec<u8> },
}

impl Order {
    pub(crate) fn kind(&self) -> CommandKind {
        match self {
            Self::Install => CommandKind::Install,
            Self::SendKey { .. } => CommandKind::SendKey,
            Self::Script { .. } => CommandKind::Script,
        }
    }
}

/// A command on its way through one instance.
#[derive(Debug)]
pub(crate) struct Task {
    /// Its record in the [`Log`].
    pub(crate) serial: u64,
    pub(crate) instance: String,
    pub(crate) order: Order,
    pub(crate) begun: Instant,
    /// From the call to the end; a script may take longer.
    pub(crate) time: Duration,
    /// How long it may run.
    pub(crate) limit: Duration,
    /// How a fault ends it.
    pub(crate) ends: Option<Ending>,
}
