//! What commands fail with, and how one that did not fail has ended.

use crate::explain::{Explain, UsageError};
use crate::platform::signals::Signal;

/// Whatever went wrong, it can be explained.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Explain>>;

impl<E: Explain + 'static> From<E> for Box<dyn Explain> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// As it ought to.
    Normally,
    /// A signal asked for it.
    By(Signal),
    /// With the exit code of the program that it was for.
    Code(u8),
}

/// An error that its one sentence says all about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(pub(crate) String);

impl Explain for Message {}

/// Fails with a mistake in what the user asked for, and the way to ask for it.
pub(crate) fn usage<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T> {
    Err(UsageError::new(what, remedy).into())
}
