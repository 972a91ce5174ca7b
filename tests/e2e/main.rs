//! The built binary, end to end: real OpenSSH programs against the stand-in cloud.
//!
//! Every test of what users do runs against an SSH server in this process and, where it is
//! installed, against OpenSSH's `sshd`; and with an agent of each generation. With `CI` set a
//! program that is not installed is a failure, never a skip.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod world;

mod copying;
mod forwarding;
mod running;
