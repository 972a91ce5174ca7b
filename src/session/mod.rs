//! One session from StartTerminalSession to EndTerminalSession, and why it could not be had.

pub(crate) mod agent;
mod attempt;
pub(crate) mod diagnose;
pub(crate) mod end_calls;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod failure;
pub(crate) mod key;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod queue;
mod reason;
mod runner;
#[cfg(test)]
mod shell_tests;
pub(crate) mod start;
pub(crate) mod target;
pub(crate) mod warning;

pub(crate) use self::attempt::SessionOutcome;
pub(crate) use self::runner::{SessionRequest, run};
