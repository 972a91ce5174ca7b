//! ecs-bridge reaches Alibaba Cloud ECS instances that have no public address with ordinary
//! OpenSSH: it opens a Session Manager WebSocket to a port of an instance and splices it to stdin
//! and stdout.
//!
//! ```text
//!  OpenSSH ── stdin/stdout ──▶ endpoint ─▶ driver ─▶ session core ─▶ frames ─▶ gateway ─▶ agent ─▶ port
//!                              cmd ─▶ cloud (signed API), with credentials, for a WebSocket URL
//! ```
//!
//! A byte goes in one direction through each room once:
//!
//! - [`cli`]: the command line, types only.
//! - [`run`]: a command, from the command line to the exit code.
//! - [`cloud`]: the signed API. [`credentials`]: where the keys come from. [`tls`]: whom to trust.
//! - [`tunnel`]: the async half of a session: dial, splice.
//! - `http`: requests and answers, by reqwest. [`net`]: a connection to the gateway. Both go through a
//!   [`proxy`] if one holds for the host.
//! - `session-manager-proto`, a crate of its own: the rules of the stream, as a pure machine. [`keys`]: the
//!   host key that a server shows.
//! - [`target`]: which instance is meant. [`terminal`]: that of the process. [`table`]: rows for people.
//! - [`spec`]: what `forward` forwards where. [`public_key`]: SSH keys as users and instances give
//!   them. [`cache`]: what is remembered from one run to the next.
//! - [`prompt`]: questions on a terminal. [`replace`]: files of the user's that are changed.
//! - [`explain`]: what a user is told when something failed. [`doctor`]: how its causes are looked for.
//!
//! The library exists for the binary and for its tests; its API may change with every version.

pub mod cache;
pub mod cli;
pub mod cloud;
mod cmd;
pub mod credentials;
pub mod doctor;
mod event_loop;
pub mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
pub mod keys;
pub mod logging;
pub mod net;
mod openssh;
mod policy;
pub mod prompt;
pub mod proxy;
pub mod public_key;
pub mod replace;
pub mod shutdown;
pub mod spec;
mod ssh_config;
pub mod table;
pub mod target;
pub mod terminal;
pub mod tls;
pub mod tunnel;

pub use cmd::run;

/// How this program names itself to the API and to the gateway.
pub const USER_AGENT: &str = concat!("ecs-bridge/", env!("CARGO_PKG_VERSION"));
