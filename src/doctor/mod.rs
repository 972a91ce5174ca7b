//! `ecs-bridge doctor`: all that a connection needs, checked one after the other.
//!
//! - [`outcome`]: what came of a check. [`check`]: the order of checks, those side by side that do not
//!   need each other. [`report`]: what is printed of them.
//! - [`context`]: the checks, and what they find out for each other; the other modules have one
//!   area each.

mod access;
mod banner;
pub(crate) mod check;
pub(crate) mod context;
mod instance;
mod keys;
mod network;
mod openssh;
pub(crate) mod outcome;
pub(crate) mod report;
mod session;
mod setup;
