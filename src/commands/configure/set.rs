//! `configure set`: fields of a profile, without questions.

use std::env;
use std::io::{self, IsTerminal as _, Read as _};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::check::check;
use super::profile::{Change, open, parse_mode, put, set_current};
use crate::app::{Done, Message, Result, note, query, resolve, until_signal, usage};
use crate::cli::{ConfigureSet, Global};
use crate::cloud::regions;
use crate::credentials::{form, problems, shell_word, store};
use crate::explain::printable;

/// The most that is read of stdin, in bytes.
const MOST: u64 = 64 * 1024;
/// A value that is on stdin instead.
const STDIN: &str = "-";

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &ConfigureSet) -> Result<Done> {
    // As where a script's variable is not set: another profile must not be changed for it.
    if global.profile.as_deref() == Some("") {
        return usage(
            "--profile is empty",
            "name a profile, or leave --profile out to change the current one; nothing was \
             written",
        );
    }
    let store = open(global)?;
    let name = store.name(global.profile.as_deref());
    let changes = changes(global, args, &name, store.find(&name).is_none())?;
    if changes.is_empty() {
        return usage(
            "there is nothing to set",
            "give a field, such as --region cn-hangzhou; see --help",
        );
    }
    let path = store.file_of(&name).to_owned();
    let is_first = store.current().is_none();
    store::change(&path, |document| {
        put(document, &path, &name, &changes)?;
        if is_first && document.current().is_none() {
            document.set_current(&name);
        }
        Ok(())
    })
    .await?;
    // As ali-instance-cli does with each profile that it writes.
    let is_vendor = global.vendor.is_some();
    if is_vendor {
        set_current(&store, &name).await?;
    }
    for (field, value) in &changes {
        let text = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        if ["region_id", "sts_region"].contains(field)
            && let Some(id) = regions::meant_by(text)
        {
            note(global, &format!("note: did you mean {id}, the public region?"));
        }
    }
    let shown = printable(&name);
    note(global, &format!("profile '{shown}' is written to {}", path.display()));
    let problem = problems(&query(global, Some(&name)), &[&name])?.pop().flatten();
    if let Some(problem) = &problem {
        note(global, &format!("it cannot be used as it is: {}", printable(&problem.in_short())));
    }
    if !is_vendor && !is_first && store.current().as_ref() != Some(&name) {
        let word = shell_word(&name);
        note(
            global,
            &format!("use it with --profile {word}, or: ecs-bridge configure switch {word}"),
        );
    }
    match args.check {
        true => until_signal(try_out(global, &name)).await,
        false => Ok(Done::Normally),
    }
}

/// Tests the profile as it is in the file now.
async fn try_out(global: &Global, name: &str) -> Result<Done> {
    let finding = check(global, || resolve(global, Some(name))).await;
    if !finding.said.is_empty() {
        note(global, &finding.said);
    }
    finding.failure.map_or(Ok(Done::Normally), Err)
}

/// The changes of the command line.
fn changes(global: &Global, args: &ConfigureSet, name: &str, is_new: bool) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    let mode = args.mode.as_deref().or(is_new.then_some("AK"));
    if let Some(mode) = mode {
        changes.push(("mode", Some(parse_mode(mode, name)?.name.into())));
    }
    let mut stdin = Lines::default();
    if let Some(id) = &args.access_key_id {
        let text = match id.as_str() {
            STDIN => stdin.next("--access-key-id")?,
            id => Zeroizing::new(id.to_owned()),
        };
        changes.push(change("--access-key-id", "access_key_id", &text)?);
    }
    let secrets = [
        ("--access-key-secret", "access_key_secret", &args.access_key_secret),
        ("--sts-token", "sts_token", &args.sts_token),
    ];
    for (option, field, given) in secrets {
        let Some(given) = given else { continue };
        let text = match given.expose_secret() {
            STDIN => stdin.next(option)?,
            text => {
                warn_if_visible(global, option, given);
                Zeroizing::new(text.to_owned())
            }
        };
        changes.push(change(option, field, &text)?);
    }
    // What a variable has is meant for all commands. A profile without a region would not work.
    let of_all =
        |value: &Option<String>, is_given: bool| value.clone().filter(|_| is_new || is_given);
    let plain = [
        ("--sts-expiration", "sts_expiration", args.sts_expiration.clone()),
        ("--sts-region", "sts_region", args.sts_region.clone()),
        ("--ram-role-name", "ram_role_name", args.ram_role_name.clone()),
        ("--ram-role-arn", "ram_role_arn", args.ram_role_arn.clone()),
        ("--ram-session-name", "ram_session_name", args.ram_session_name.clone()),
        ("--external-id", "external_id", args.external_id.clone()),
        ("--source-profile", "source_profile", args.source_profile.clone()),
        ("--expired-seconds", "expired_seconds", args.expired_seconds.clone()),
        ("--credentials-uri", "credentials_uri", args.credentials_uri.clone()),
        ("--process-command", "process_command", args.process_command.clone()),
        ("--oidc-provider-arn", "oidc_provider_arn", args.oidc_provider_arn.clone()),
        ("--oidc-token-file", "oidc_token_file", args.oidc_token_file.clone()),
        ("--endpoint-type", "endpoint_type", args.endpoint_type.clone()),
        ("--language", "language", args.language.clone()),
        ("--output-format", "output_format", args.output_format.clone()),
        ("--region", "region_id", of_all(&global.region, global.given.region)),
        ("--endpoint", "endpoint", of_all(&global.endpoint, global.given.endpoint)),
    ];
    for (option, field, given) in plain {
        if let Some(text) = given {
            changes.push(change(option, field, &text)?);
        }
    }
    Ok(changes)
}

fn change(option: &str, field: &'static str, text: &str) -> Result<Change> {
    if text.trim().is_empty() {
        return Ok((field, None));
    }
    match form::check(field, text) {
        Ok(value) => Ok((field, Some(value))),
        Err(problem) => usage(
            format!("{option} is not accepted: {problem}"),
            format!("correct {option}; nothing was written"),
        ),
    }
}

/// Warns of a secret on the command line: all who can list processes see it, and the shell keeps it.
fn warn_if_visible(global: &Global, option: &str, given: &SecretString) {
    let variable = match option {
        "--sts-token" => "ECS_BRIDGE_STS_TOKEN",
        _ => "ECS_BRIDGE_ACCESS_KEY_SECRET",
    };
    let is_visible = env::var(variable).ok().as_deref() != Some(given.expose_secret());
    if is_visible && !given.expose_secret().is_empty() {
        note(
            global,
            &format!(
                "others on this machine could see the value of {option}, and your shell may remember \
                 it: better give it on stdin ({option} -) or in {variable}"
            ),
        );
    }
}

/// The lines of stdin, read when the first one is needed.
#[derive(Default)]
struct Lines {
    text: Option<Zeroizing<String>>,
    taken: usize,
}

impl Lines {
    fn next(&mut self, option: &str) -> Result<Zeroizing<String>> {
        if self.text.is_none() {
            self.text = Some(read()?);
        }
        let text = self.text.as_ref().map_or("", |text| text);
        let line = text.lines().nth(self.taken).map(str::trim).filter(|line| !line.is_empty());
        self.taken += 1;
        match line {
            Some(line) => Ok(Zeroizing::new(line.to_owned())),
            None => usage(
                format!("stdin has no line for {option}"),
                "write each value on a line of its own, in the order: access key id, secret, \
                 token; nothing was written",
            ),
        }
    }
}

fn read() -> Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return usage(
            "stdin is a terminal, where a secret would be seen",
            "use: ecs-bridge configure, which prompts for it and does not display it",
        );
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST as usize + 1));
    let read = stdin.lock().take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Message(format!("stdin cannot be read: {error}")))?;
    let text = std::str::from_utf8(&bytes).ok().filter(|_| bytes.len() as u64 <= MOST);
    match text {
        Some(text) => Ok(Zeroizing::new(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())),
        None => {
            Err(Message("stdin is not UTF-8 or is too long: nothing was written".to_owned()).into())
        }
    }
}
