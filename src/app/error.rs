//! The errors of commands, and how a command that did not fail has ended.

use crate::explain::{Explain, UsageError};
use crate::platform::signals::Signal;

/// Any error that can be explained.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Explain>>;

impl<E: Explain + 'static> From<E> for Box<dyn Explain> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Normally.
    Normally,
    /// By a signal.
    By(Signal),
    /// With this exit code: that of a program, or one of [`ExitCode`](crate::explain::ExitCode).
    Code(u8),
}

/// An error of one sentence, without cause and fix.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(pub(crate) String);

impl Explain for Message {}

/// Fails with a usage error: what is wrong, and how to correct it.
pub(crate) fn usage<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T> {
    Err(UsageError::new(what, remedy).into())
}
