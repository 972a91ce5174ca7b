//! What a user is told when something failed: what happened, why, what to do next.
//!
//! Every error type that can end the program implements [`Explain`]; [`Report`] is what is printed
//! on stderr. The order of the parts never changes, so that a message can be read by habit.

mod advice;
mod call;
mod cause;
mod cloud;
mod credentials;
mod failure;
mod file;
mod open_files;
mod proxy;
mod report;
pub(crate) mod source;
mod tls;

pub(crate) use advice::{SET_CLOCK, UPDATE_AGENT, apart, switch_on};
pub(crate) use aliyun_client::text::printable;
pub(crate) use failure::{ExitCode, Explain, UsageError};
pub(crate) use report::{Report, message, unwritten};
