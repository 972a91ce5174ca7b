//! ecs-bridge reaches Alibaba Cloud ECS instances that have no public address with ordinary
//! OpenSSH: it opens a Session Manager WebSocket to a port of an instance and splices it to stdin
//! and stdout.
//!
//! ```text
//!  OpenSSH ── stdin/stdout ─┐
//!  TCP / unix listener ─────┤→ local side → driver (one task, one select!) → session core → frames → gateway
//!  command → target → session → OpenAPI client (signed, with credentials) → WebSocket URL
//! ```
//!
//! A byte goes in one direction through each module once:
//!
//! - `cli`: the command line, types only. `commands`: from the command line to the exit code.
//! - `app`: what every command needs. `target`: which instance is meant.
//! - `session`: one session from its start to its end. `gateway`: dial, splice. The rules of the
//!   stream are `session-manager-proto`'s, a crate of its own.
//! - `shell`: the keys, the output and the window of `session`.
//! - `forward`: listeners, sessions and connections of `forward`. `keys`: SSH keys. `doctor`: checks.
//!   `openssh`: this machine's `ssh` and its configuration.
//! - `cloud`, `credentials`: what is used of `aliyun-client`, the crate of signed calls, and profile files.
//! - `http`: requests and answers, by reqwest. `net`: a connection to the gateway. Both go through a
//!   `proxy` if one holds for the host. `tls`: whom to trust.
//! - `vendor`: the command line of ali-instance-cli, translated to this one. `policy`: RAM policies.
//! - `platform`: signals, terminal, prompts, files, cache and log.
//! - `explain`: what a user is told when something failed.
//!
//! The library exists for the binary and for the fuzzers; its API may change with every version.

mod app;
mod cli;
mod cloud;
mod commands;
mod credentials;
mod doctor;
mod explain;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod keys;
mod net;
mod openssh;
mod platform;
mod policy;
mod proxy;
mod session;
mod shell;
mod target;
mod tls;
mod vendor;

/// Runs the command line of this process, and gives its exit code.
pub fn run() -> u8 {
    platform::stack::on_large_stack(|| commands::run(&cli::Cli::from_process()))
}
