//! Settings that are invalid, and where they were set.

use std::env;

use crate::cloud::EndpointError;
use crate::credentials::Setting;
use crate::explain::{ExitCode, Explain};

/// A region or an endpoint that is invalid, and where it was set.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct InvalidSetting {
    error: EndpointError,
    origin: String,
}

impl InvalidSetting {
    pub(crate) fn new(error: EndpointError, setting: &Setting) -> Self {
        Self { error, origin: setting.origin.clone() }
    }
}

impl Explain for InvalidSetting {
    fn why(&self) -> Option<String> {
        let origin = format!("it is that of {}", self.origin);
        Some(match self.error.why() {
            Some(why) => format!("{origin}; {why}"),
            None => origin,
        })
    }

    fn remedy(&self) -> Option<String> {
        self.error.remedy()
    }

    fn exit_code(&self) -> ExitCode {
        self.error.exit_code()
    }
}

/// What has set the endpoint: the option, or the variable that stands in its place.
pub(crate) fn endpoint_option(value: &str) -> String {
    let variable = "ECS_BRIDGE_ENDPOINT";
    let is_of_variable = env::var_os(variable).is_some_and(|set| set == value);
    if is_of_variable { variable.to_owned() } else { "--endpoint".to_owned() }
}
