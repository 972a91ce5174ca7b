//! What is set up on this machine: configuration and credentials.

use super::context::{DoctorContext, not_known};
use super::outcome::Outcome;
use crate::app::{Cloud, endpoint_option, resolve};
use crate::credentials::{Error, mask};

impl DoctorContext<'_> {
    /// The files and variables make sense, and say which region and endpoint.
    pub(crate) async fn configuration(&self) -> Outcome {
        let resolved = match resolve(self.global, self.global.profile.as_deref()) {
            Ok(resolved) => resolved,
            Err(error) if is_of_configuration(&error) => return Outcome::failed(&error),
            Err(error) => {
                let is_empty = matches!(error, Error::None { .. });
                self.no_credentials.replace(Some(error.into()));
                return match is_empty {
                    true => Outcome::skipped("there is none yet, in files or in the environment"),
                    false => Outcome::passed("it can be read"),
                };
            }
        };
        let (region, endpoint) = (resolved.region.clone(), resolved.endpoint.clone());
        let cloud = match Cloud::of(self.global, || Ok(resolved)) {
            Ok(cloud) => cloud,
            Err(error) => return Outcome::failed(&*error),
        };
        let config = cloud.client.config();
        let from = region.map(|region| format!(" ({})", region.origin));
        let endpoint = endpoint_option(self.global).or(endpoint);
        let endpoint = endpoint.map(|endpoint| format!(" ({})", endpoint.origin));
        let found = format!(
            "region {}{}, endpoint {}{}",
            config.region,
            from.unwrap_or_default(),
            config.endpoint,
            endpoint.unwrap_or_default()
        );
        // No other check sets it.
        let _ = self.cloud.set(cloud);
        Outcome::passed(found)
    }

    /// There are credentials: which source is used.
    pub(crate) async fn credentials(&self) -> Outcome {
        if let Some(error) = &*self.no_credentials.borrow() {
            return Outcome::failed(&**error);
        }
        let Some(cloud) = self.cloud.get() else { return not_known("the configuration") };
        let provider = &cloud.provider;
        match provider.get().await {
            Ok(credentials) => {
                let source = provider.credential_source().source_of(&credentials);
                Outcome::passed(format!("{source}, key {}", mask(credentials.access_key_id())))
            }
            Err(error) => Outcome::failed(&*error),
        }
    }
}

/// Whether an error is about what was written where, rather than about keys.
fn is_of_configuration(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownProfile { .. }
            | Error::NoFile { .. }
            | Error::Unreadable { .. }
            | Error::Unusable { .. }
            | Error::BadEndpoint { .. }
            | Error::BadVariable { .. }
            | Error::NotText { .. }
    )
}
