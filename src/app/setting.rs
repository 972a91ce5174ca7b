//! Settings that are invalid, and where they were set.

use std::env;
use std::ffi::OsStr;

use crate::cli::Global;
use crate::cloud::EndpointError;
use crate::credentials::Setting;
use crate::explain::{Explain, UsageError};

/// A region or an endpoint that is invalid, and where it was set.
pub(crate) fn invalid(error: &EndpointError, setting: &Setting) -> UsageError {
    let origin = format!("set by {}", setting.origin);
    let why = match error.why() {
        Some(why) => format!("{origin}; {why}"),
        None => origin,
    };
    UsageError::new(error.to_string(), error.remedy().unwrap_or_default())
        .because(why)
        .exits(error.exit_code())
}

/// A value, and what has set it: the option, or the variable that stands in its place.
pub(crate) fn option<T: AsRef<OsStr>>(name: &str, variable: &str, value: T) -> Setting<T> {
    let is_of_variable = env::var_os(variable).is_some_and(|set| set == value.as_ref());
    let origin = if is_of_variable { variable } else { name }.to_owned();
    Setting { value, origin }
}

/// The endpoint that is given by hand.
pub(crate) fn endpoint_option(global: &Global) -> Option<Setting> {
    let given = global.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
    given.map(|value| option("--endpoint", "ECS_BRIDGE_ENDPOINT", value))
}
