//! What the subcommands of `configure` have in common: the files, a profile's mode, a change.

use std::env;
use std::path::Path;

use serde_json::Value;

use crate::app::{Result, usage};
use crate::cli::Global;
use crate::credentials::edit::Document;
use crate::credentials::form::{self, BROWSER_MODES, Mode, ORDER};
use crate::credentials::store::{self, Store};
use crate::credentials::{Error, home, shell_word};
use crate::explain::printable;

/// A field and its new value; `None` removes it.
pub(crate) type Change = (&'static str, Option<Value>);

/// Reads the profile files.
pub(crate) fn open(global: &Global) -> Result<Store> {
    let config = global.config.as_deref();
    Ok(Store::open(config, &|name| env::var_os(name), home().as_deref())?)
}

/// Parses the mode that the user has given for a profile.
pub(crate) fn parse_mode(text: &str, profile: &str) -> Result<&'static Mode> {
    if let Some(mode) = form::mode(text) {
        return Ok(mode);
    }
    if let Some(mode) = BROWSER_MODES.iter().find(|mode| mode.eq_ignore_ascii_case(text)) {
        return usage(
            format!("mode {mode} needs a browser to sign in with, which is the aliyun CLI's part"),
            format!(
                "run: aliyun configure --mode {mode} --profile {}\nthen this profile can be used here",
                shell_word(profile)
            ),
        );
    }
    usage(
        format!("there is no mode {text:?}"),
        format!(
            "give one of {}; or {}, with the aliyun CLI",
            form::MODES.map(|mode| mode.name).join(", "),
            BROWSER_MODES.join(" or ")
        ),
    )
}

/// Makes a profile the current one, in the file that decides it.
pub(crate) async fn set_current(store: &Store, name: &str) -> std::result::Result<(), Error> {
    if store.current().as_deref() == Some(name) {
        return Ok(());
    }
    let path = store.file_of_current();
    store::change(path, |document| {
        document.set_current(name);
        Ok(())
    })
    .await
}

/// Makes changes to a profile in the text of a file, and makes the profile, if it is new.
///
/// # Errors
/// When a field of the profile is a list or an object.
pub(crate) fn put(
    document: &mut Document,
    path: &Path,
    name: &str,
    changes: &[Change],
) -> std::result::Result<(), Error> {
    let present = document.profile(name);
    let get = |field: &str| present.as_ref().and_then(|entry| entry.get(field));
    let is_of_key =
        |field: &str| ["access_key_id", "access_key_secret", "sts_token"].contains(&field);
    let is_other_key =
        changes.iter().any(|(field, value)| is_of_key(field) && value.as_ref() != get(field));
    let tells_end = changes.iter().any(|(field, _)| *field == "sts_expiration");
    let mut changes: Vec<(&str, Option<Value>)> = changes.to_vec();
    if is_other_key && !tells_end && get("sts_expiration").is_some() {
        // It was of the token before.
        changes.push(("sts_expiration", None));
    }
    let new = |field: &str| changes.iter().find(|(name, _)| *name == field).map(|(_, new)| new);
    let is_other_id = new("access_key_id").is_some_and(|id| id.as_ref() != get("access_key_id"));
    let mode = new("mode").cloned().flatten().or_else(|| get("mode").cloned());
    let needs_token = mode.is_some_and(|mode| mode == "StsToken");
    if is_other_id && !needs_token && new("sts_token").is_none() && get("sts_token").is_some() {
        // It was of the key before, and would be sent with this one for a role.
        changes.push(("sts_token", None));
    }
    if present.is_none() {
        // As the vendor's CLI has it in each profile.
        for (field, value) in [("output_format", "json"), ("language", "en")] {
            if !changes.iter().any(|(given, _)| *given == field) {
                changes.push((field, Some(value.into())));
            }
        }
        let place = |field: &str| ORDER.iter().position(|known| *known == field);
        changes.sort_by_key(|(field, _)| place(field));
    }
    document.set(name, &changes).map_err(|field| Error::Unusable {
        path: path.to_owned(),
        problem: format!("the {field} of profile '{}' is no text", printable(name)),
    })
}
