//! The in-process SSH server against the machine's own OpenSSH client.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, which clippy does not see

mod access;
mod commands;
mod files;
mod forwarding;
mod lab;
mod lifetime;
mod terminal;
