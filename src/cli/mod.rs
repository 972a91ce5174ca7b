//! The command line: types only, one file a command, and the texts of the help.

mod cache;
mod completions;
mod configure;
mod doctor;
mod forward;
mod global;
mod help;
mod help_page;
mod keys;
mod list;
mod log;
mod look_up;
mod policy;
mod process;
mod proxy;
mod root;
mod session;
mod settle;
mod shell;
mod ssh_config;
mod start;
mod text;
mod values;
mod version;
mod via;

pub use self::cache::{Cache, CacheAction};
pub use self::completions::{CompleteTargets, Completions, Man};
pub use self::configure::{
    Configure, ConfigureAction, ConfigureDelete, ConfigureGet, ConfigureList, ConfigureSet,
    ConfigureSwitch,
};
pub use self::doctor::Doctor;
pub use self::forward::Forward;
pub use self::global::{Global, Signature};
pub use self::help::Help;
pub(crate) use self::help_page::page as help_page;
pub use self::keys::{KnownHosts, SendKey};
pub use self::list::List;
pub use self::log::Log;
pub use self::look_up::LookUp;
pub use self::policy::Policy;
pub use self::proxy::Proxy;
pub(crate) use self::root::command;
pub use self::root::{Cli, Command};
pub use self::session::{ConnectionType, Opening, Session};
pub use self::shell::{EscapeChar, Shell};
pub use self::ssh_config::SshConfig;
pub use self::start::Start;
pub use self::version::Version;
pub use self::via::Via;

#[cfg(test)]
mod tests;
