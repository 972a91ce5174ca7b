//! This machine's `ssh`: which version it is, what it makes of its configuration, and whether the
//! user's shell can run its `ProxyCommand`; and the blocks for ssh_config.

mod agent;
mod config;
mod printed;
mod shell;
pub(crate) mod ssh_config;
mod version;

pub(crate) use self::agent::agent_keys;
pub(crate) use self::config::{Options, executable, options, words};
pub(crate) use self::printed::printed;
pub(crate) use self::shell::{ShellProblem, check_shell};
pub(crate) use self::version::{Ssh, installed};
