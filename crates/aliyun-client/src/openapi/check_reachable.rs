//! Is this the API, and what time is it there? A call that nobody signs is refused, which tells both.

use crate::openapi::answer::ClockReading;
use crate::openapi::client::Client;
use crate::openapi::error::Error;

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
}
