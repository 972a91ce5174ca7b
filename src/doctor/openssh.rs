//! This machine's ssh: whether it comes to the instance, and with which key.

use std::env;
use std::path::{Path, PathBuf};

use super::context::{DoctorContext, Through, not_known};
use super::outcome::Outcome;
use crate::credentials::{home, in_home};
use crate::explain::{ExitCode, Report, printable};
use crate::keys::public_key;
use crate::openssh::ssh_config::absolute::of_ssh;
use crate::openssh::ssh_config::blocks::is_host;
use crate::openssh::{self, Ssh};
use crate::target::SSH_PORT;

/// The host that stands for all where there is no TARGET.
const SAMPLE: &str = "i-bp1example0001";
/// What writes the configuration.
const WRITE: &str = "ecs-bridge ssh-config --write";

impl DoctorContext<'_> {
    /// Why nothing of ssh is looked at.
    fn without_ssh(&self) -> Option<Outcome> {
        let is_for_ssh = self.args.port == SSH_PORT && self.args.remote_host.is_none();
        let why = "not looked at: it is for port 22 of the instance";
        (!is_for_ssh).then(|| Outcome::skipped(why))
    }

    /// There is an OpenSSH, and how old it is.
    pub(crate) async fn ssh(&self) -> Outcome {
        if let Some(skipped) = self.without_ssh() {
            return skipped;
        }
        let ssh = openssh::installed().await;
        let outcome = match &ssh {
            Ssh::Version { name, .. } if ssh.knows_known_hosts_command() => {
                Outcome::passed(name.clone())
            }
            Ssh::Version { name, .. } => Outcome::passed(format!(
                "{name}; OpenSSH 8.5 or newer can check host keys over the control plane"
            )),
            other => Outcome::Unknown(
                Report::plain(other.to_string(), ExitCode::Config)
                    .why("ssh, scp, git and VS Code need OpenSSH's client; forward does not")
                    .fix("install OpenSSH's client, 8.5 or newer, and have it in PATH"),
            ),
        };
        // No other check sets it.
        let _ = self.ssh.set(ssh);
        outcome
    }

    /// `ssh TARGET` uses this program as its ProxyCommand, and the program is there.
    pub(crate) async fn ssh_config(&self) -> Outcome {
        if let Some(skipped) = self.without_ssh() {
            return skipped;
        }
        let Some(Ssh::Version { name, .. }) = self.ssh.get() else {
            return not_known("what ssh does");
        };
        let mut other = None;
        let hosts = self.hosts();
        for host in &hosts {
            let options = match openssh::options(host).await {
                Ok(options) => options,
                Err(said) => return stopped(name, &said),
            };
            let Some(command) = options.get("proxycommand") else { continue };
            let words = openssh::words(command);
            let Some(program) = words.iter().find(|word| is_bridge(word)).map(PathBuf::from) else {
                other = words.first().cloned();
                continue;
            };
            let outcome = match openssh::executable(&program) {
                Some(path) => Outcome::passed(format!(
                    "ssh {host} uses {} as its ProxyCommand",
                    path.display()
                )),
                None => failed(
                    format!("ssh {host} would run {}, which is not there", program.display()),
                    "the ProxyCommand of ssh's configuration names a program that is not there, or \
                     not executable, or not in PATH",
                    format!("write the configuration again: {WRITE}"),
                ),
            };
            let _ = self.through.set(Through { options, words, program });
            return outcome;
        }
        let Some(host) = hosts.last() else {
            return Outcome::skipped("not looked at: no host of ssh's is known for TARGET");
        };
        let (why, fix) = match other {
            Some(program) => (
                format!("its ProxyCommand is another program: {}", printable(&program)),
                format!("remove that line for {host} from ssh's configuration, and run {WRITE}"),
            ),
            None => (
                format!("ssh's configuration has no ProxyCommand for {host}"),
                format!("write it: {WRITE}"),
            ),
        };
        let what = format!("ssh {host} does not use ecs-bridge");
        let report = Report::plain(what, ExitCode::Config).why(why).fix(fix);
        match self.args.target {
            Some(_) => Outcome::Failed(report),
            // It may be there for some hosts only.
            None => Outcome::Unknown(report),
        }
    }

    /// What TARGET may be called to ssh.
    fn hosts(&self) -> Vec<String> {
        let Some(target) = &self.args.target else { return vec![SAMPLE.to_owned()] };
        if is_host(target) {
            return vec![target.clone()];
        }
        // The user may have a host of that name in ssh's configuration.
        let name = format!("{target}.ecs");
        if is_host(&name) {
            return vec![target.clone(), name];
        }
        self.found.get().map(|found| found.id.clone()).into_iter().collect()
    }

    /// The shell that ssh runs its ProxyCommand with can run it.
    pub(crate) async fn proxy_shell(&self) -> Outcome {
        let Some(through) = self.through.get() else { return not_known("the ProxyCommand") };
        let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let program = through.program.to_string_lossy();
        match openssh::check_shell(shell.as_deref(), &program).await {
            Some(problem) => failed(problem.what, problem.why, problem.fix),
            None => {
                let shell = shell.map(|shell| shell.to_string_lossy().into_owned());
                let is_microsofts = self.ssh.get().is_some_and(Ssh::is_microsofts);
                Outcome::passed(runs_proxy_command(cfg!(windows), is_microsofts, shell))
            }
        }
    }

    /// The program that ssh asks for host keys is there.
    pub(crate) async fn known_hosts_command(&self) -> Outcome {
        let Some(through) = self.through.get() else { return not_known("the ProxyCommand") };
        let Some(command) = through.options.get("knownhostscommand") else {
            return Outcome::skipped("not set; ssh asks for each new host key");
        };
        let words = openssh::words(command);
        let program = words.first().map(PathBuf::from).unwrap_or_default();
        let is_microsofts = self.ssh.get().is_some_and(Ssh::is_microsofts);
        let found = match cfg!(windows) {
            true => of_ssh(&program.to_string_lossy(), is_microsofts).map(PathBuf::from),
            false => program.is_absolute().then(|| program.clone()),
        };
        match found.and_then(|program| openssh::executable(&program)) {
            Some(path) => Outcome::passed(path.display().to_string()),
            None => failed(
                format!("KnownHostsCommand {} cannot be run", program.display()),
                "ssh requires the absolute path of an existing program; without it every login \
                 fails",
                format!("write the configuration again: {WRITE} --send-key"),
            ),
        }
    }

    /// There is a key, and ssh offers it.
    pub(crate) async fn ssh_key(&self) -> Outcome {
        let Some(through) = self.through.get() else { return not_known("the ProxyCommand") };
        let home = home();
        let files: Vec<PathBuf> = through
            .options
            .all("identityfile")
            .map(|file| in_home(Path::new(&file.replace("%%", "%")), home.as_deref()))
            .collect();
        let agent = openssh::agent_keys().await;
        if let Some(sent) = through.words.iter().position(|word| word == "--send-key") {
            let named = through.words.get(sent + 1).filter(|word| !word.starts_with('-'));
            return sent_key(named.map(String::as_str), &files, agent.as_deref());
        }
        if let Some(file) = files.iter().find(|file| file.is_file()) {
            return Outcome::passed(format!("ssh offers {}", file.display()));
        }
        let is_only = through.options.get("identitiesonly") == Some("yes");
        match agent {
            Some(keys) if !is_only => {
                let s = if keys.len() == 1 { "" } else { "s" };
                Outcome::passed(format!("ssh offers {} key{s} of the agent", keys.len()))
            }
            _ => Outcome::Unknown(
                Report::plain("ssh has no key to offer", ExitCode::Config)
                    .why(
                        "none of its IdentityFiles is there, and no agent has a key that it offers",
                    )
                    .fix(
                        "where the instance lets nobody in by password: give the key with ssh -i \
                         FILE, or have a temporary one registered: ecs-bridge ssh-config --write \
                         --send-key",
                    ),
            ),
        }
    }
}

/// What runs the ProxyCommand.
fn runs_proxy_command(on_windows: bool, is_microsofts: bool, shell: Option<String>) -> String {
    match shell {
        _ if on_windows && is_microsofts => {
            "Microsoft's ssh runs the ProxyCommand without a shell".to_owned()
        }
        _ if on_windows => "ssh runs the ProxyCommand with a shell of its own".to_owned(),
        Some(shell) => format!("{} runs the ProxyCommand", printable(&shell)),
        None => "/bin/sh runs the ProxyCommand".to_owned(),
    }
}

/// Whether the key that each login registers is one that ssh offers.
fn sent_key(named: Option<&str>, files: &[PathBuf], agent: Option<&[String]>) -> Outcome {
    let loaded = match public_key::of_login(named) {
        Ok(loaded) => loaded,
        Err(error) => return Outcome::failed(&error),
    };
    let private = loaded.path.as_deref().map(|path| path.with_extension(""));
    let (key, fix) = match &loaded.path {
        Some(path) => {
            let path = path.display().to_string();
            let fix = format!("{WRITE} --send-key {path} writes IdentityFile; or: ssh-add FILE");
            (path, fix)
        }
        // The variable may have the key itself.
        None => {
            let fix = "ssh-add FILE, with the file of its private half".to_owned();
            (format!("the key {}", loaded.key.fingerprint()), fix)
        }
    };
    let is_in_agent = agent.is_some_and(|keys| keys.iter().any(|key| key == loaded.key.base64()));
    match private.filter(|private| files.contains(private)) {
        Some(private) if private.is_file() => {
            Outcome::passed(format!("each login registers {key}, and ssh offers it"))
        }
        _ if is_in_agent => {
            Outcome::passed(format!("each login registers {key}, and the agent has it"))
        }
        _ => failed(
            format!("each login registers {key}, which ssh does not offer"),
            "its private half is not among ssh's IdentityFiles, or not there, and no agent has it",
            fix,
        ),
    }
}

/// ssh ends at a line of its configuration.
fn stopped(name: &str, said: &str) -> Outcome {
    let fix = match said.to_ascii_lowercase().contains("knownhostscommand") {
        true => format!("have it written as {name} knows it: {WRITE} --send-key"),
        false => "correct that line of ssh's configuration".to_owned(),
    };
    failed("ssh stops at its configuration".to_owned(), format!("ssh says: {said}"), fix)
}

fn failed(what: String, why: impl Into<String>, fix: String) -> Outcome {
    Outcome::Failed(Report::plain(what, ExitCode::Config).why(why).fix(fix))
}

fn is_bridge(word: &str) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ecs-bridge")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_the_proxy_command_depends_on_the_system_and_on_ssh() {
        let bash = Some("/bin/bash".to_owned());
        for (on_windows, is_microsofts, shell, named) in [
            (false, false, bash.clone(), "/bin/bash runs"),
            (false, false, None, "/bin/sh runs"),
            (true, true, bash.clone(), "without a shell"),
            (true, false, bash, "a shell of its own"),
            (true, false, None, "a shell of its own"),
        ] {
            let text = runs_proxy_command(on_windows, is_microsofts, shell);
            assert!(text.contains(named), "{text}");
        }
    }
}
