//! Whether temporary keys can work: what the instance's sshd asks for keys.

use std::time::SystemTime;

use tokio::time::Instant;

use super::{Exam, not_known, without_target};
use crate::cache::DAY;
use crate::cloud::AgentStatus;
use crate::cmd::cache;
use crate::cmd::command::{Step, TIMEOUT, done, watched};
use crate::cmd::target::Found;
use crate::credentials::shell_word;
use crate::doctor::{Outcome, Trouble};
use crate::explain::{ExitCode, Explain as _, printable};

/// What the instance runs if it is asked for. It reads, and changes nothing.
const SCRIPT: &str = r#"#!/bin/sh
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
settings() {
    sshd -T -C user=root,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22 2>/dev/null ||
        sshd -T 2>/dev/null
}
settings=$(settings)
# sshd tells nothing where the folder is missing that only its running service makes.
[ -n "$settings" ] || settings=$(cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null)
if [ -z "$settings" ]; then
    echo 'sshd has no configuration'
    exit 1
fi
printf '%s\n' "$settings" | grep -i '^[[:blank:]]*authorizedkeyscommand[[:blank:]=]'
exit 0
"#;
/// What paths of the plug-in's programs have in them.
const PLUGIN: [&str; 3] = ["ecs_instance_connect", "aliyun", "acs"];

impl Exam<'_> {
    /// Whether keys can be sent. Nothing is run in the instance to find out, unless that is asked for.
    pub(super) async fn key_plugin(&self) -> Outcome {
        let Some(words) = &self.args.target else { return without_target() };
        let Some(found) = self.found.get() else { return not_known("the instance") };
        if self.agent.get().is_some_and(AgentStatus::is_windows) {
            return Outcome::needless("not needed: it is for Linux");
        }
        if self.args.send_key {
            return key_command(found, &shell_word(words)).await;
        }
        let topic = found.cloud.topic("plugin", &[&found.id]);
        let is_known = cache(&self.args.look_up).get::<()>(&topic, DAY, SystemTime::now());
        match is_known {
            Some(_) => Outcome::passed("known to be installed for less than a day"),
            None => Outcome::needless(format!(
                "not known to be there; temporary keys need it, and `ecs-bridge send-key -i {}` \
                 installs it",
                shell_word(words)
            )),
        }
    }
}

/// Asks the instance which program its sshd asks for keys.
async fn key_command(found: &Found, target: &str) -> Outcome {
    let (client, instance, began) = (&found.cloud.client, found.id.as_str(), Instant::now());
    let run = client.run_command(instance, SCRIPT, TIMEOUT);
    let work = done(client, instance, Step::KeyCommand, began, run);
    let output = match watched(client, instance, Step::KeyCommand, true, work).await {
        Ok((result, _)) => result.output,
        Err(error) if error.exit_code() == ExitCode::Permission => return Outcome::failed(&error),
        Err(error) => return Outcome::Unknown(Trouble::of(&error)),
    };
    match program(&output) {
        None => Outcome::needless(format!(
            "sshd asks no program for keys; temporary keys need the key plug-in, and `ecs-bridge \
             send-key --reinstall -i {target}` installs it"
        )),
        Some(program) if is_of_plugin(program) => {
            Outcome::passed(format!("sshd asks {} for keys", printable(program)))
        }
        Some(program) => {
            let what = format!("sshd asks another program for keys: {}", printable(program));
            let why = "sshd_config has an AuthorizedKeysCommand of its own. The key plug-in does \
                       not replace it, though its installation succeeds: temporary keys never work";
            let fix = format!(
                "log in with a key that this program knows; or remove AuthorizedKeysCommand from \
                 sshd_config, restart sshd, and run: ecs-bridge send-key --reinstall -i {target}"
            );
            Outcome::Failed(Trouble::plain(what, ExitCode::Target).why(why).fix(fix))
        }
    }
}

/// The path of the program in the first line of what the script prints: sshd takes the first, too.
fn program(output: &str) -> Option<&str> {
    let is_gap = |c: char| c.is_whitespace() || c == '=';
    let (_, value) = output.lines().next()?.trim().split_once(is_gap)?;
    let value = value.trim_start_matches(is_gap).trim_start_matches('"');
    let path = value.split(|c: char| c.is_whitespace() || c == '"').next()?;
    Some(path).filter(|path| !path.is_empty() && !path.eq_ignore_ascii_case("none"))
}

fn is_of_plugin(program: &str) -> bool {
    let program = program.to_ascii_lowercase();
    PLUGIN.iter().any(|part| program.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_read_as_sshd_reads_it() {
        for (output, path) in [
            ("authorizedkeyscommand none\n", None),
            ("", None),
            ("AuthorizedKeysCommand", None),
            (
                "authorizedkeyscommand /usr/bin/sss_ssh_authorizedkeys %u\n",
                Some("/usr/bin/sss_ssh_authorizedkeys"),
            ),
            ("  AuthorizedKeysCommand=\"/opt/a b\" %u", Some("/opt/a")),
            ("AuthorizedKeysCommand = /opt/x\nAuthorizedKeysCommand /opt/y", Some("/opt/x")),
        ] {
            assert_eq!(program(output), path, "{output}");
        }
    }

    #[test]
    fn programs_of_the_plug_in_are_known_by_their_paths() {
        for (path, is_its) in [
            ("/usr/local/share/aliyun-assist/plugin/x", true),
            ("/usr/bin/ecs_instance_connect", true),
            ("/opt/ACS/keys", true),
            ("/usr/bin/sss_ssh_authorizedkeys", false),
        ] {
            assert_eq!(is_of_plugin(path), is_its, "{path}");
        }
    }
}
