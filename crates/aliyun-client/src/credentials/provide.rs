//! What gives a client its credentials.

use std::fmt;

use futures_util::future::BoxFuture;

use super::keys::Credentials;
use super::source::Source;
use crate::cause::Cause;

/// Credentials that are being found.
pub type Providing<'a, T> = BoxFuture<'a, Result<T, Cause>>;

/// Gives credentials for calls.
pub trait ProvideCredentials: fmt::Debug + Send + Sync {
    /// Where its credentials come from, for messages.
    fn source(&self) -> &Source;

    /// The credentials that hold now. A call waits for them for as long as they take.
    fn provide(&self) -> Providing<'_, Credentials>;

    /// The same for a call that no other follows: credentials that hold are not renewed in time for others.
    fn provide_last(&self) -> Providing<'_, Credentials> {
        self.provide()
    }

    /// Other credentials than these, which the service has found to be over; `None` if there are no others.
    fn renew<'a>(&'a self, refused: &'a Credentials) -> Providing<'a, Option<Credentials>> {
        let _ = refused;
        Box::pin(async { Ok(None) })
    }
}

/// Gives itself, and no other.
impl ProvideCredentials for Credentials {
    fn source(&self) -> &Source {
        Self::source(self)
    }

    fn provide(&self) -> Providing<'_, Credentials> {
        Box::pin(async { Ok(self.clone()) })
    }
}
