//! Settings that are invalid, and where they were set.

use std::env;

use crate::cloud::EndpointError;
use crate::credentials::Setting;
use crate::explain::{Explain, UsageError};

/// A region or an endpoint that is invalid, and where it was set.
pub(crate) fn invalid(error: &EndpointError, setting: &Setting) -> UsageError {
    let origin = format!("it is that of {}", setting.origin);
    let why = match error.why() {
        Some(why) => format!("{origin}; {why}"),
        None => origin,
    };
    UsageError::new(error.to_string(), error.remedy().unwrap_or_default())
        .because(why)
        .exits(error.exit_code())
}

/// What has set the endpoint: the option, or the variable that stands in its place.
pub(crate) fn endpoint_option(value: &str) -> String {
    let variable = "ECS_BRIDGE_ENDPOINT";
    let is_of_variable = env::var_os(variable).is_some_and(|set| set == value);
    if is_of_variable { variable.to_owned() } else { "--endpoint".to_owned() }
}
