//! The Session Manager stream as a pure machine: no socket, no clock, no runtime.
//!
//! Everything that decides whether a byte arrives, arrives once and arrives in order lives here, so
//! that every order of events can be tried by a test. The time is an argument of every call; the
//! caller moves bytes and waits ([`crate::tunnel`] does).
//!
//! - [`frame`]: one frame, decoded and encoded.
//! - [`generation`]: how the agents of an instance differ, by their version.
//! - [`status`]: what a Status frame says, and the reasons of an end.
//! - [`session`]: one stream from the upgrade to its end.
//! - [`pace`]: how fast Input may be sent; `window`: what the far side may count of it within a second;
//!   `pings`: what has arrived, and whether the gateway is still there.
//! - [`replay`]: what was sent and is not yet acknowledged.
//! - [`identification`]: SSH's identification line, which must not come twice; `redial`: the same for
//!   the greeting of any server; [`host_key`]: the host
//!   key that a server shows.
//! - [`timer`]: the deadlines of a session, reduced to one.
#![deny(clippy::disallowed_methods)]

pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
pub mod generation;
pub mod host_key;
pub mod identification;
pub mod pace;
mod pings;
mod redial;
pub mod replay;
pub mod session;
pub mod status;
pub mod timer;
mod window;
