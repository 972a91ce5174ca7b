//! `ecs-bridge configure`: the profile file of the vendor's tools, changed by its owner.

mod ask;
mod check;
mod set;
mod show;

use std::env;
use std::path::Path;

use serde_json::Value;

use crate::app::{Done, Result, UsageError};
use crate::cli::{Configure, ConfigureAction, Global};
use crate::credentials::edit::{Document, Entry};
use crate::credentials::form::{self, BROWSER_MODES, Mode, ORDER};
use crate::credentials::store::{self, Store};
use crate::credentials::{Error, home, shell_word};
use crate::explain::{ExitCode, printable};
use crate::platform::logging;

/// A field, and the value it is to have; none takes it out.
type Change = (&'static str, Option<Value>);

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &Configure) -> Result<Done> {
    if args.action.is_some() && (args.mode.is_some() || args.no_check) {
        return Err(UsageError {
            what: "--mode and --no-check are for the questions, and there is a subcommand"
                .to_owned(),
            remedy: "leave them out, or write --mode behind 'set'".to_owned(),
            exit_code: ExitCode::Usage,
        }
        .into());
    }
    match &args.action {
        None => ask::run(global, args).await,
        Some(ConfigureAction::Set(args)) => set::run(global, args).await,
        Some(ConfigureAction::Get(args)) => show::get(global, args),
        Some(ConfigureAction::List(args)) => show::list(global, args),
        Some(ConfigureAction::Delete(args)) => {
            delete(global, name_of(global, args.name.as_deref(), "delete")?).await
        }
        Some(ConfigureAction::Switch(args)) => {
            switch(global, name_of(global, args.name.as_deref(), "switch")?).await
        }
    }
}

/// The profile that a command line names: as an argument, or by --profile as for the aliyun CLI. A
/// variable does not name one: nobody may have thought of it.
fn name_of<'a>(global: &'a Global, given: Option<&'a str>, word: &str) -> Result<&'a str> {
    let by_flag = global.profile.as_deref().filter(|_| global.profile_is_given);
    let wrong = |what: String, remedy: String| {
        Err(UsageError { what, remedy, exit_code: ExitCode::Usage }.into())
    };
    match (given, by_flag) {
        (Some(name), Some(flag)) if name != flag => wrong(
            format!("two profiles are named: '{}' and '{}'", printable(name), printable(flag)),
            "name one; nothing was changed".to_owned(),
        ),
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => wrong(
            "no profile is named".to_owned(),
            format!(
                "name it: ecs-bridge configure {word} PROFILE; ecs-bridge configure list shows them"
            ),
        ),
    }
}

fn open(global: &Global) -> Result<Store> {
    let config = global.config.as_deref();
    Ok(Store::open(config, &|name| env::var_os(name), home().as_deref())?)
}

/// The mode that somebody has named for a profile.
fn parse_mode(text: &str, profile: &str) -> Result<&'static Mode> {
    let wrong = |what, remedy| UsageError { what, remedy, exit_code: ExitCode::Usage };
    if let Some(mode) = form::mode(text) {
        return Ok(mode);
    }
    if let Some(mode) = BROWSER_MODES.iter().find(|mode| mode.eq_ignore_ascii_case(text)) {
        return Err(wrong(
            format!("mode {mode} needs a browser to sign in with, which is the aliyun CLI's part"),
            format!(
                "run: aliyun configure --mode {mode} --profile {}\nthen this profile can be used here",
                shell_word(profile)
            ),
        )
        .into());
    }
    Err(wrong(
        format!("there is no mode {text:?}"),
        format!(
            "give one of {}; or {}, with the aliyun CLI",
            form::mode_names(),
            BROWSER_MODES.join(" or ")
        ),
    )
    .into())
}

/// Makes changes to a profile in the text of a file, and makes the profile, if it is new.
///
/// # Errors
/// When the profile is not what it was when somebody last looked at it, or of a shape that is not known.
fn put(
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

async fn switch(global: &Global, name: &str) -> Result<Done> {
    let store = open(global)?;
    store.need(name)?;
    let path = store.file_of_current();
    store::change(path, |document| {
        document.set_current(name);
        Ok(())
    })
    .await?;
    note(global, &format!("profile '{}' is the current one now", printable(name)));
    Ok(Done::Normally)
}

async fn delete(global: &Global, name: &str) -> Result<Done> {
    let store = open(global)?;
    let found = store.need(name)?;
    let others: Vec<_> =
        store.profiles().into_iter().filter(|other| other.entry.name != name).collect();
    let is_current = store.current().as_deref() == Some(name);
    if is_current && !others.is_empty() {
        let names: Vec<_> = others.iter().map(|other| other.entry.name.as_str()).collect();
        return Err(UsageError {
            what: format!("profile '{}' is the current one: it was not deleted", printable(name)),
            remedy: format!(
                "make another one current first: ecs-bridge configure switch NAME\nthere are: {}",
                names.join(", ")
            ),
            exit_code: ExitCode::Usage,
        }
        .into());
    }
    let path = &found.file.path;
    let count = store::change(path, |document| {
        let count = document.delete(name);
        if document.current().as_deref() == Some(name) {
            document.set_current("");
        }
        Ok(count)
    })
    .await?;
    let times = if count > 1 { format!(" ({count} of that name)") } else { String::new() };
    note(
        global,
        &format!("profile '{}' is taken out of {}{times}", printable(name), path.display()),
    );
    let is_user = |entry: &Entry| entry.text("source_profile").as_deref() == Some(name);
    for other in others.iter().filter(|other| is_user(&other.entry)) {
        let other = printable(&other.entry.name);
        note(global, &format!("profile '{other}' takes its keys from it, and cannot be used now"));
    }
    Ok(Done::Normally)
}

/// Says something to whoever sits there, unless only failures are to be told.
fn note(global: &Global, text: &str) {
    if !global.quiet {
        logging::tell(&text);
    }
}
