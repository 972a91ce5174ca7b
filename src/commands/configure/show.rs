//! `configure get` and `configure list`: what the files hold, without what is secret.

use serde_json::{Map, Value, json};

use super::profile::open;
use crate::app::table::Table;
use crate::app::{Done, Result, UsageError, note, print, query, resolve};
use crate::cli::{ConfigureGet, ConfigureList, Global};
use crate::credentials::edit::Entry;
use crate::credentials::{Error, Source, form, problems};
use crate::explain::{ExitCode, printable};

/// Prints fields of a profile.
pub(crate) fn get(global: &Global, args: &ConfigureGet) -> Result<Done> {
    let store = open(global)?;
    let name = store.name(global.profile.as_deref());
    let entry = store.need(&name)?.entry;
    let wanted: Vec<String> = args.fields.iter().map(|field| field_name(field)).collect();
    let fields: Vec<&str> = match wanted.is_empty() {
        true => entry.names(),
        false => wanted.iter().map(String::as_str).collect(),
    };
    let value = |field: &str| match entry.get(field) {
        Some(value) if args.show_secrets => value.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) if !form::is_secret(field) => {
            value.clone()
        }
        Some(value) => form::shown(field, value).into(),
        None => Value::Null,
    };
    let is_missing = |field: &&&str| entry.get(field).is_none_or(|value| *value == Value::Null);
    if let Some(field) = fields.iter().find(is_missing).filter(|_| !wanted.is_empty()) {
        return Err(UsageError::new(
            format!("profile '{}' has no {}", printable(&name), printable(field)),
            format!("it has: {}", printable(&entry.names().join(", "))),
        )
        .exits(ExitCode::Config)
        .into());
    }
    let is_hidden = |field: &&str| match entry.get(field) {
        Some(Value::String(text)) => *text != form::shown(field, &text.as_str().into()),
        Some(value) => value.is_object() || value.is_array() || form::is_secret(field),
        None => false,
    };
    // A script would take a part of the value for the value. The id is no secret.
    let is_refused =
        |field: &&&str| is_hidden(field) && !field.eq_ignore_ascii_case("access_key_id");
    let is_asked_for = !args.show_secrets && !wanted.is_empty();
    if let Some(field) = fields.iter().find(is_refused).filter(|_| is_asked_for) {
        let is = if form::is_secret(field) { "is" } else { "may hold" };
        return Err(UsageError::new(
            format!(
                "{} of profile '{}' was not printed: it {is} a secret",
                printable(field),
                printable(&name)
            ),
            "print it as it is with: ecs-bridge configure get --show-secrets",
        )
        .exits(ExitCode::Failed)
        .into());
    }
    if args.json {
        let object: Map<_, _> =
            fields.iter().map(|field| ((*field).to_owned(), value(field))).collect();
        print(&format_args!("{:#}", Value::Object(object)))?;
    } else {
        for field in &fields {
            let text = match value(field) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            match wanted.is_empty() {
                true => print(&format_args!("{} = {}", printable(field), printable(&text)))?,
                false => print(&text)?,
            }
        }
    }
    if is_asked_for && fields.iter().any(is_hidden) {
        note(
            global,
            "not all is shown; ecs-bridge configure get --show-secrets prints it as it is",
        );
    }
    Ok(Done::Normally)
}

/// The name of a field as the file has it: `--region` and `access-key-id` are known, too.
fn field_name(given: &str) -> String {
    match given.trim_start_matches('-').replace('-', "_") {
        name if name == "region" => "region_id".to_owned(),
        name if name == "profile" => "name".to_owned(),
        name if name == "role_session_name" => "ram_session_name".to_owned(),
        name => name,
    }
}

/// Lists the profiles.
pub(crate) fn list(global: &Global, args: &ConfigureList) -> Result<Done> {
    let store = open(global)?;
    let current = store.current();
    let profiles = store.profiles();
    let names: Vec<_> = profiles.iter().map(|found| found.entry.name.as_str()).collect();
    let problems = problems(&query(global, None), &names)?;
    let problems = problems.iter().map(|problem| problem.as_ref().map(Error::in_short));
    let profiles: Vec<_> = profiles.iter().zip(problems).collect();
    if args.json {
        let list: Vec<Value> = profiles
            .iter()
            .map(|(found, problem)| {
                let entry = &found.entry;
                json!({
                    "name": entry.name,
                    "current": current.as_ref() == Some(&entry.name),
                    "mode": form::mode_of(entry),
                    "access_key_id": id(entry),
                    "region_id": entry.text("region_id"),
                    "file": found.file.path.display().to_string(),
                    "problem": problem,
                })
            })
            .collect();
        print(&format_args!("{:#}", Value::from(list)))?;
        return Ok(Done::Normally);
    }
    if profiles.is_empty() {
        note(global, "there are no profiles; make one with: ecs-bridge configure");
        note_other_source(global, None);
        return Ok(Done::Normally);
    }
    let columns = if store.is_several() { 6 } else { 5 };
    let head = ["PROFILE", "MODE", "ACCESS KEY", "REGION", "STATUS", "FILE"];
    let mut table = Table::new(&head[..columns]);
    for (found, problem) in profiles {
        let entry = &found.entry;
        let mark = if current.as_ref() == Some(&entry.name) { " *" } else { "" };
        let row = [
            format!("{}{mark}", entry.name),
            form::mode_of(entry),
            id(entry).unwrap_or_default(),
            entry.text("region_id").unwrap_or_default(),
            problem.unwrap_or_else(|| "ok".to_owned()),
            found.file.path.display().to_string(),
        ];
        table.row(&row[..columns]);
    }
    print(&table)?;
    note_other_source(global, current.as_deref());
    Ok(Done::Normally)
}

/// Tells where commands get their credentials, if not from the current profile.
fn note_other_source(global: &Global, current: Option<&str>) {
    let Ok(resolved) = resolve(global, global.profile.as_deref()) else { return };
    match resolved.credential_source.source() {
        Source::Profile { name, .. } if Some(name.as_str()) == current => {}
        Source::Instance => {
            note(global, "commands ask the metadata service of this instance for credentials");
        }
        _ => {
            note(global, &format!("commands use the credentials of {}", resolved.credential_source))
        }
    }
}

fn id(entry: &Entry) -> Option<String> {
    let id = entry.text("access_key_id")?;
    Some(printable(&form::shown("access_key_id", &id.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_several_names() {
        for (given, name) in [
            ("region", "region_id"),
            ("profile", "name"),
            ("--access-key-id", "access_key_id"),
            ("role-session-name", "ram_session_name"),
            ("odd", "odd"),
        ] {
            assert_eq!(field_name(given), name);
        }
    }
}
