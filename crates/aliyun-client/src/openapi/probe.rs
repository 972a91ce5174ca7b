//! A read-only call that tests whether the API accepts the credentials.

use crate::openapi::answer::ClockReading;
use crate::openapi::client::Client;
use crate::openapi::error::{Error, Kind};

/// What a read-only call has shown of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credentials are valid, and the call was allowed.
    Good,
    /// The credentials are valid, but lack the permission for this call, or its parameters were refused.
    ValidButDenied,
    /// The service refuses the credentials or the clock.
    Refused,
    /// Not known: the service could not be reached, or failed.
    Unknown,
}

impl Client {
    /// Makes a call without credentials, to see whether the API answers.
    ///
    /// # Errors
    /// When nothing answers, or something that is not the API.
    pub async fn check_reachable(&self) -> Result<Option<ClockReading>, Error> {
        let mut call = self.prepare("DescribeRegions", None, Ok(()))?;
        call.is_signed = false;
        match self.call(&call).await {
            Ok(_) => Ok(None),
            // A refusal proves as well that the API has answered.
            Err(error) => match error.times() {
                Some(times) if !error.kind().is_transient() => Ok(Some(times)),
                _ => Err(error),
            },
        }
    }

    /// `DescribeInstanceStatus` of no instance in particular: the cheapest call there is.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn probe(&self) -> Result<(), Error> {
        let call = self.prepare("DescribeInstanceStatus", None, Ok(()))?;
        self.call(&call).await.map(drop)
    }
}

impl Error {
    /// What the failure of [`Client::probe`] says of the credentials.
    pub fn verdict(&self) -> Verdict {
        match self.kind() {
            kind if kind.is_credentials() => Verdict::Refused,
            Kind::ClockWrong | Kind::TimestampFormat => Verdict::Refused,
            // The service refuses with these only after it has verified the credentials.
            Kind::PermissionMissing | Kind::RegionNotFound | Kind::RegionNotSupported => {
                Verdict::ValidButDenied
            }
            _ => Verdict::Unknown,
        }
    }
}
