//! A call that changes nothing, to find out whether calls are of any use.

use crate::openapi::answer::ClockReading;
use crate::openapi::client::Client;
use crate::openapi::error::{Error, Kind};

/// What a harmless call has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credentials are good, and the call was allowed.
    Good,
    /// The credentials are good; but they may not make this call, or it was refused for what it asked.
    ValidButDenied,
    /// The service does not take the credentials, or finds the clock wrong.
    Refused,
    /// Nobody knows: the service could not be reached, or is not well.
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
            // Whatever it says of the call, it is the API that says it.
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
            // These come only after the service has looked at who is asking.
            Kind::PermissionMissing | Kind::RegionNotFound | Kind::RegionNotSupported => {
                Verdict::ValidButDenied
            }
            _ => Verdict::Unknown,
        }
    }
}
