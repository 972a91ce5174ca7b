//! One session from StartTerminalSession to EndTerminalSession, and why it could not be had.

pub(crate) mod agent;
pub(crate) mod diagnose;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod plan;
pub(crate) mod queue;
mod reason;
pub(crate) mod runner;
pub(crate) mod start;
pub(crate) mod target;
pub(crate) mod warning;
