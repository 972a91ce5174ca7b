//! Whether temporary keys can work: which program the instance's sshd runs for keys.

use std::time::SystemTime;

use tokio::time::Instant;

use super::context::{DoctorContext, not_known, without_target};
use super::outcome::Outcome;
use crate::app::cache;
use crate::cloud::AgentStatus;
use crate::credentials::shell_word;
use crate::explain::{ExitCode, Explain as _, Report, printable};
use crate::keys::command::{Step, TIMEOUT, done, run_while_agent_online};
use crate::platform::cache::DAY;
use crate::target::finder::Found;

/// The read-only script that `--send-key` runs in the instance. It prints the AuthorizedKeysCommand
/// that holds for root, as far as sshd reports it, and the lines about it that are included and that
/// are written in the file to which the key plug-in adds its own.
const SCRIPT: &str = r#"#!/bin/sh
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
settings() {
    sshd -T -C user=root,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22 2>/dev/null ||
        sshd -T 2>/dev/null
}
settings=$(settings)
# sshd tells nothing where the folder is missing that only its running service makes.
if [ -z "$settings" ] && [ ! -r /etc/ssh/sshd_config ]; then
    echo 'sshd has no configuration'
    exit 1
fi
if [ -n "$settings" ]; then
    found=$(printf '%s\n' "$settings" | grep -i '^authorizedkeyscommand ')
    printf 'effective %s\n' "${found:-authorizedkeyscommand none}"
fi
lines() {
    grep -i '^[[:blank:]]*authorizedkeyscommand' "$@" 2>/dev/null
}
cat /etc/ssh/sshd_config.d/*.conf 2>/dev/null | lines | sed 's/^/included /'
lines /etc/ssh/sshd_config | sed 's/^/written /'
exit 0
"#;
/// What the plug-in's program has in its path. The vendor's plug-in, and some of its images, call it
/// by timeout(1) or directly.
const PLUGIN: [&str; 3] = ["ecs_config_instance_connect", "ecs_instance_connect", "aliyun"];
/// Without this one a setting does not count: it is what sshd runs.
const COMMAND: &str = "authorizedkeyscommand";
/// How much of a command is shown, in characters.
const SHOWN: usize = 120;

impl DoctorContext<'_> {
    /// Whether keys can be sent. Nothing is run in the instance to find out without `--send-key`.
    pub(crate) async fn key_plugin(&self) -> Outcome {
        let Some(target) = &self.args.target else { return without_target() };
        let Some(found) = self.found.get() else { return not_known("the instance") };
        if self.agent.get().is_some_and(AgentStatus::is_windows) {
            return Outcome::skipped("not needed: it is for Linux");
        }
        if self.args.send_key {
            return key_command(found, &shell_word(target)).await;
        }
        let topic = found.cloud.topic("plugin", &[&found.id]);
        let is_known = cache(&self.args.look_up).get::<()>(&topic, DAY, SystemTime::now());
        match is_known {
            Some(_) => Outcome::passed("known to be installed for less than a day"),
            None => Outcome::skipped(format!(
                "not known to be there; temporary keys need it, and `ecs-bridge send-key -i {}` \
                 installs it",
                shell_word(target)
            )),
        }
    }
}

/// Finds out which program the instance's sshd runs for keys.
async fn key_command(found: &Found, target: &str) -> Outcome {
    let (client, instance, began) = (&found.cloud.client, found.id.as_str(), Instant::now());
    let run = client.run_command(instance, SCRIPT, TIMEOUT);
    let work = done(client, instance, Step::KeyCommand, began, run);
    let output = match run_while_agent_online(client, instance, Step::KeyCommand, true, work).await
    {
        Ok((result, _)) => result.output,
        // Sessions do not need this permission.
        Err(error) if error.exit_code() == ExitCode::Permission => {
            return Outcome::skipped(format!("not looked at: {error}"));
        }
        Err(error) => return Outcome::Unknown(Report::new(&error)),
    };
    let failed = |what: String, why: &str, fix: String| {
        Outcome::Failed(Report::plain(what, ExitCode::Target).why(why).fix(fix))
    };
    let install = format!("ecs-bridge send-key --reinstall -i {target}");
    match KeyCommand::of(&output) {
        KeyCommand::Missing => Outcome::skipped(format!(
            "sshd asks no program for keys; temporary keys need the key plug-in, and `{install}` \
             installs it"
        )),
        KeyCommand::Plugin(command) => {
            Outcome::passed(format!("sshd asks the key plug-in: {}", shown(command)))
        }
        KeyCommand::Other(command) => failed(
            format!("sshd asks another program for keys: {}", shown(command)),
            "sshd has an AuthorizedKeysCommand of somebody else's. The key plug-in does not replace \
             it, though its installation succeeds: temporary keys never work",
            format!(
                "log in with a key that this program knows; or remove AuthorizedKeysCommand from \
                 sshd_config, restart sshd, and run: {install}"
            ),
        ),
        KeyCommand::KeptOut(line) => failed(
            format!("sshd_config keeps the key plug-in out: {}", shown(line)),
            "the key plug-in changes nothing where /etc/ssh/sshd_config has such a line, though its \
             installation succeeds: temporary keys never work",
            format!("remove the line from /etc/ssh/sshd_config, and run: {install}"),
        ),
        KeyCommand::NotForRoot => failed(
            "sshd does not ask the key plug-in for root's keys".to_owned(),
            "the plug-in's AuthorizedKeysCommand is at the end of /etc/ssh/sshd_config: there it is \
             part of a Match block that does not hold for root, or behind another one",
            "move AuthorizedKeysCommand and AuthorizedKeysCommandUser above the first Match in \
             /etc/ssh/sshd_config, and restart sshd"
                .to_owned(),
        ),
    }
}

/// What the configuration of an sshd means for temporary keys.
#[derive(Debug, PartialEq, Eq)]
enum KeyCommand<'a> {
    /// It has no AuthorizedKeysCommand, and the plug-in's can be added.
    Missing,
    /// It has the plug-in's.
    Plugin(&'a str),
    /// It has another one.
    Other(&'a str),
    /// It has none that holds, and a line for which the plug-in does not add its own.
    KeptOut(&'a str),
    /// It has the plug-in's, which does not hold.
    NotForRoot,
}

impl<'a> KeyCommand<'a> {
    /// From what the script prints.
    fn of(output: &'a str) -> Self {
        let of = |origin: &str| {
            let lines = output.lines().filter_map(move |line| line.strip_prefix(origin));
            lines.map(str::trim).collect::<Vec<_>>()
        };
        let (effective, included, written) = (of("effective "), of("included "), of("written "));
        // sshd takes the first, and reads what is included first, as distributions have it.
        let lines = match effective.is_empty() {
            true => [&*included, &*written].concat(),
            false => effective,
        };
        let effective = lines.iter().find_map(|line| command(line)).filter(|value| !is_none(value));
        match effective {
            Some(command) if is_of_plugin(command) => Self::Plugin(command),
            Some(command) => Self::Other(command),
            None if written.iter().any(|line| is_of_plugin(line)) => Self::NotForRoot,
            None => written.first().map_or(Self::Missing, |line| Self::KeptOut(line)),
        }
    }
}

/// The value of a line, if it is an AuthorizedKeysCommand.
fn command(line: &str) -> Option<&str> {
    let is_gap = |c: char| c.is_whitespace() || c == '=';
    let (keyword, value) = line.split_once(is_gap)?;
    let value = value.trim_start_matches(is_gap).trim_matches('"');
    (keyword.eq_ignore_ascii_case(COMMAND) && !value.is_empty()).then_some(value)
}

fn is_none(value: &str) -> bool {
    value.eq_ignore_ascii_case("none")
}

fn is_of_plugin(command: &str) -> bool {
    PLUGIN.iter().any(|part| command.contains(part))
}

fn shown(text: &str) -> String {
    printable(text).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
