//! The notes of ssh-config beside what it writes: what this machine's ssh lacks, and what overrides
//! the configuration.

use std::env;
use std::path::Path;

use crate::app::{note, resolve};
use crate::cli::{Global, append_to_known_hosts};
use crate::credentials::{Error, Source};
use crate::keys::public_key;
use crate::openssh::ssh_config::blocks::{Blocks, HostKeys};
use crate::openssh::ssh_config::clash::{Clash, Effect, ShortName, clashes, short_names};
use crate::openssh::{self, Ssh};

/// Prints what the installed ssh does not support of what was to be written.
pub(crate) fn of_ssh(global: &Global, ssh: &Ssh, blocks: &Blocks) {
    match ssh {
        Ssh::Version { .. } => {}
        Ssh::Missing => note(
            global,
            "there is no ssh in PATH: install OpenSSH's client, 8.5 or newer, to use what is \
             written",
        ),
        _ => note(global, &format!("{ssh}; what is written is for OpenSSH")),
    }
    if blocks.send_key.is_some() && blocks.host_keys != HostKeys::ByCommand {
        note(global, &host_keys_unchecked(ssh, blocks.host_keys, cfg!(windows)));
    }
}

/// That host keys are not checked over the control plane, why, and what to do.
fn host_keys_unchecked(ssh: &Ssh, host_keys: HostKeys, is_windows: bool) -> String {
    let without = match host_keys {
        HostKeys::Guarded => "skips KnownHostsCommand",
        _ => "would be stopped by KnownHostsCommand, which is left out",
    };
    let name = match ssh {
        Ssh::Version { name, .. } => name.as_str(),
        _ => "ssh, whose version is not known,",
    };
    let shell = if is_windows { ", in PowerShell" } else { "" };
    let append = append_to_known_hosts(is_windows);
    format!(
        "{name} {without} (OpenSSH 8.5 and newer know it): host keys are not checked over the control \
         plane, and ssh asks at the first login; to have the keys of an instance before that{shell}: \
         ecs-bridge known-hosts INSTANCE.ecs {append}"
    )
}

/// Warns that the user's shell cannot run what was written.
pub(crate) async fn of_shell(global: &Global, blocks: &Blocks) {
    let program = blocks.program.first().map_or("", String::as_str);
    let shell = env::var_os("SHELL");
    if let Some(problem) = openssh::check_shell(shell.as_deref(), program).await {
        let openssh::ShellProblem { what, why, fix } = problem;
        note(global, &format!("{what}: {why}\n  fix: {fix}"));
    }
}

/// Warns that there is no key to register, or that ssh has no private half of it.
pub(crate) fn of_key(global: &Global, blocks: &Blocks) {
    match &blocks.send_key {
        Some(Some(key)) => {
            let private = key.strip_suffix(".pub").filter(|private| !Path::new(private).is_file());
            if let Some(private) = private {
                note(
                    global,
                    &format!(
                        "there is no private key {private}: ssh needs it, or an agent that has it"
                    ),
                );
            }
        }
        Some(None) => {
            if let Err(error) = public_key::of_login(None) {
                let fix = crate::explain::Explain::remedy(&error).unwrap_or_default();
                note(global, &format!("no login will work yet: {error}\n  fix: {fix}"));
            }
        }
        None => {}
    }
}

/// Prints which lines of the user's configuration are for the same hosts, and which names do not use
/// what was written.
pub(crate) fn of_clashes(global: &Global, config: &Path, blocks: &Blocks) {
    // It was read a moment ago; if it cannot be read now, ssh reports that.
    let Ok(bytes) = std::fs::read(config) else { return };
    let mut keywords = vec!["ProxyCommand"];
    if blocks.send_key.is_some() {
        let host_keys = ["KnownHostsCommand", "StrictHostKeyChecking"];
        keywords.extend(&host_keys[..if blocks.host_keys == HostKeys::ByCommand { 2 } else { 0 }]);
    }
    let text = String::from_utf8_lossy(&bytes);
    for ShortName { line, alias, host } in short_names(&text) {
        note(
            global,
            &format!(
                "{}, line {line}: {alias} stands for {host}, and ecs-bridge's part holds only for what is \
                 typed as an id or NAME.ecs: ssh {alias} does not use it\n  fix: add this line to the \
                 block of {alias}, or connect to {host}:\n{}",
                config.display(),
                blocks.proxy_command_for(&host).trim_end(),
            ),
        );
    }
    let found = clashes(&text, &keywords);
    if found.is_empty() {
        return;
    }
    let lines = found.iter().map(line).collect::<Vec<_>>().join("\n");
    let path = config.display();
    note(
        global,
        &format!(
            "{path} has lines for the same hosts as ecs-bridge's part:\n{lines}\n  fix: remove these \
             lines, or the part with ecs-bridge ssh-config --uninstall"
        ),
    );
}

fn line(clash: &Clash) -> String {
    let effect = match clash.effect {
        Effect::Wins => "comes first: ecs-bridge's own has no effect",
        Effect::Loses => "has no effect: ecs-bridge's part comes first",
        Effect::Holds => "holds beside ecs-bridge's part",
    };
    format!("  line {}: {} {effect}", clash.line, clash.text)
}

/// What there is to do next, and whether credentials will be there when ssh is run.
pub(crate) fn next(global: &Global) -> &'static str {
    const SSH: &str =
        "next: ssh root@INSTANCE-ID or ssh root@NAME.ecs (ecs-bridge list shows them)";
    match resolve(global, global.profile.as_deref()) {
        Ok(resolved) => {
            if let Source::Environment { .. } | Source::Variables { .. } =
                resolved.credential_source.source()
            {
                note(
                    global,
                    &format!(
                        "the credentials are those of {}: VS Code, cron and other shells do not \
                         have them; ecs-bridge configure writes them into a profile",
                        resolved.credential_source.source()
                    ),
                );
            }
            SSH
        }
        Err(Error::None { .. }) => "next: ecs-bridge configure, for there are no credentials yet",
        // Each command tells what is wrong with them.
        Err(_) => SSH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_as_each_system_s_shell_does_it() {
        let ssh = Ssh::Version { name: "OpenSSH_for_Windows_8.1p1".to_owned(), version: (8, 1) };
        let unix = host_keys_unchecked(&ssh, HostKeys::Guarded, false);
        let command = "before that: ecs-bridge known-hosts INSTANCE.ecs >> ~/.ssh/known_hosts";
        assert!(unix.starts_with("OpenSSH_for_Windows_8.1p1 skips KnownHostsCommand "), "{unix}");
        assert!(unix.ends_with(command), "{unix}");
        let windows = host_keys_unchecked(&ssh, HostKeys::Unchecked, true);
        let command = "before that, in PowerShell: ecs-bridge known-hosts INSTANCE.ecs | \
                       Add-Content -Encoding ascii \"$HOME\\.ssh\\known_hosts\"";
        assert!(windows.ends_with(command), "{windows}");
    }
}
