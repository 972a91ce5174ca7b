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

pub(crate) use self::cache::{Cache, CacheAction};
pub(crate) use self::completions::{CompleteTargets, Completions, Man};
pub(crate) use self::configure::{
    Configure, ConfigureAction, ConfigureGet, ConfigureList, ConfigureSet,
};
pub(crate) use self::doctor::Doctor;
pub(crate) use self::forward::Forward;
pub(crate) use self::global::{Global, Signature};
pub(crate) use self::help::Help;
pub(crate) use self::help_page::page as help_page;
pub(crate) use self::keys::{KnownHosts, SendKey};
pub(crate) use self::list::List;
pub(crate) use self::log::Log;
pub(crate) use self::look_up::LookUp;
pub(crate) use self::policy::Policy;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::root::{Cli, Command, command};
pub(crate) use self::session::{ConnectionType, Opening, READY_DELAY, Session};
pub(crate) use self::shell::Shell;
pub(crate) use self::ssh_config::SshConfig;
pub(crate) use self::start::Start;
pub(crate) use self::text::append_to_known_hosts;
pub(crate) use self::version::Version;
pub(crate) use self::via::Via;

#[cfg(test)]
mod tests;
