//! What several options together mean, and what is said of a command line that is not run.

use std::ffi::OsString;
use std::io::Write as _;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::root::{Cli, Command};
use crate::explain::{ExitCode, Explain as _, Report, unwritten};
use crate::platform::{logging, pipe};
use crate::target::{SSH_PORT, unquoted};

impl Cli {
    /// Puts the instance where each command looks for it.
    ///
    /// # Errors
    /// When it is named twice.
    pub(super) fn settle(&mut self) -> Result<(), clap::Error> {
        let (name, target) = match &mut self.command {
            Command::Proxy(args) => {
                // A URL has its instance: the word is the port.
                if args.via.wss_url.is_some()
                    && args.instance.is_none()
                    && let Some(port) = args.target.as_ref().and_then(|word| word.parse().ok())
                {
                    (args.port, args.target) = (port, None);
                }
                ("proxy", with_port(&mut args.target, &mut args.port, args.instance.take()))
            }
            Command::Session(args) => ("session", one(&mut args.target, args.instance.take())),
            Command::Doctor(args) => {
                ("doctor", with_port(&mut args.target, &mut args.port, args.instance.take()))
            }
            Command::KnownHosts(args) => {
                ("known-hosts", one(&mut args.target, args.instance.take()))
            }
            Command::SendKey(args) => {
                // A variable stands behind what the command line has.
                let of_variable = std::env::var("ECS_BRIDGE_INSTANCE").ok();
                let given = args.instance.take();
                let given = given
                    .filter(|given| args.target.is_none() || Some(given) != of_variable.as_ref());
                ("send-key", one(&mut args.target, given))
            }
            Command::List(args) => {
                args.filters.append(&mut args.instance);
                return Ok(());
            }
            _ => return Ok(()),
        };
        target.map_err(|twice| {
            let mut command = Self::command();
            command.build();
            let text = format!("the instance is given twice, as {} and as {}", twice.0, twice.1);
            match command.find_subcommand_mut(name) {
                Some(command) => command.error(ErrorKind::ArgumentConflict, text),
                None => command.error(ErrorKind::ArgumentConflict, text),
            }
        })
    }
}

/// Both, as they were given.
type Twice = (String, String);

fn one(target: &mut Option<String>, instance: Option<String>) -> Result<(), Twice> {
    if let (Some(target), Some(instance)) = (&target, &instance) {
        return Err((target.clone(), instance.clone()));
    }
    let given = target.take().or(instance);
    *target = given.map(|words| unquoted(&words).to_owned());
    Ok(())
}

/// With `-i`, the first word by position is the port.
fn with_port(
    target: &mut Option<String>,
    port: &mut u16,
    instance: Option<String>,
) -> Result<(), Twice> {
    if instance.is_some() && *port == SSH_PORT {
        let number = target.as_ref().and_then(|word| word.parse().ok()).filter(|port| *port > 0);
        if let Some(number) = number {
            *port = number;
            *target = None;
        }
    }
    one(target, instance)
}

/// Ends with what clap says; or, for a command of other programs, with the line that does it here.
pub(super) fn refuse(error: &clap::Error) -> ! {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) {
        let mut words = std::env::args_os().skip_while(|other| other != word.as_str());
        let words: Vec<_> = words.by_ref().skip(1).collect();
        if let Some(line) = line_for(word, &words) {
            logging::eprint(&format!(
                "ecs-bridge: error: there is no command '{word}'\n  fix: {line}"
            ));
            std::process::exit(i32::from(ExitCode::Usage as u8));
        }
    }
    if error.use_stderr() {
        error.exit();
    }
    // clap would call help and the version printed whether they are or not.
    exit_after_print(|| error.print())
}

/// Prints a requested text, and ends the process.
pub(super) fn exit_after_print(print: impl FnOnce() -> std::io::Result<()>) -> ! {
    let printed = print().and_then(|()| std::io::stdout().flush());
    let code = match printed {
        // A closed pipe is no failure.
        Err(error) if !pipe::is_closed(&error) => {
            let unwritten = unwritten(&error);
            logging::eprint(&Report::new(&unwritten));
            unwritten.exit_code()
        }
        _ => ExitCode::Ok,
    };
    std::process::exit(i32::from(code as u8))
}

/// What other programs call it, and the line that does it here.
fn line_for(command: &str, words: &[OsString]) -> Option<String> {
    const SSH: [&str; 4] = ["connect", "ssh", "login", "open"];
    const SHELL: [&str; 5] = ["shell", "console", "attach", "start-session", "terminal"];
    const COMMAND: [&str; 2] = ["exec", "run"];
    const COPY: [&str; 6] = ["scp", "sftp", "rsync", "cp", "copy", "upload"];
    const FORWARD: [&str; 4] = ["tunnel", "port-forward", "portforward", "port-forwarding"];
    let once = "(once before that: ecs-bridge ssh-config --write)";
    let shell = || format!("ecs-bridge session {}", name(words));
    if SSH.contains(&command) {
        let (ssh, shell) = (host(words), shell());
        return Some(format!("plain ssh does that: ssh {ssh} {once}; without SSH: {shell}"));
    }
    if SHELL.contains(&command) {
        return Some(format!("{} does that", shell()));
    }
    if COMMAND.contains(&command) {
        return Some(format!("{} --command COMMAND does that", shell()));
    }
    if COPY.contains(&command) {
        // The instance has a colon behind it, and files have none.
        let there = words.iter().filter_map(|word| Some(word.to_str()?.split_once(':')?.0.into()));
        let host = host(&there.collect::<Vec<OsString>>());
        return Some(format!("plain scp, sftp and rsync do that: scp FILE {host}: {once}"));
    }
    FORWARD.contains(&command).then(|| {
        let instance = name(words);
        format!("ecs-bridge forward -i {instance} -L PORT does that")
    })
}

/// The instance in the host that ssh is to be called with.
fn name(words: &[OsString]) -> String {
    let host = host(words);
    host.rsplit('@').next().unwrap_or(&host).to_owned()
}

/// The host that ssh is to be called with: that of the words which may be one.
fn host(words: &[OsString]) -> String {
    let (mut user, mut words) = ("root", words.iter().filter_map(|word| word.to_str()));
    let mut found = None;
    while let Some(word) = words.next() {
        match word {
            "-l" | "--user" | "--user-name" => user = words.next().unwrap_or(user),
            "-i" | "--instance" | "--target" => found = words.next(),
            word if word.starts_with('-') => {}
            word => found = found.or(Some(word)),
        }
    }
    let word = unquoted(found.unwrap_or("INSTANCE"));
    let (user, name) = word.rsplit_once('@').unwrap_or((user, word));
    let is_plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
    };
    let name = name.strip_suffix(".ecs").unwrap_or(name);
    match (is_plain(user) && is_plain(name), crate::target::is_id(name)) {
        (false, _) => "root@INSTANCE.ecs".to_owned(),
        (true, true) => format!("{user}@{name}"),
        (true, false) => format!("{user}@{name}.ecs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_lead_to_the_line_of_ssh() {
        let line = |text: &str| {
            let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            line_for(words[0].to_str().unwrap(), &words[1..])
        };
        for (typed, says) in [
            ("connect web-1", "ssh root@web-1.ecs"),
            ("ssh admin@web-1.ecs", "ssh admin@web-1.ecs"),
            ("login -i i-bp1 -l ops", "ssh ops@i-bp1"),
            ("shell", "ecs-bridge session INSTANCE.ecs does that"),
            ("start-session --target i-bp1", "ecs-bridge session i-bp1 does that"),
            ("exec web-1 ls", "ecs-bridge session web-1.ecs --command COMMAND does that"),
            ("ssh web-1", "without SSH: ecs-bridge session web-1.ecs"),
            ("ssh a;b", "ssh root@INSTANCE.ecs"),
            ("scp file ops@i-bp1:/tmp", "scp FILE ops@i-bp1: "),
            ("sftp web-1", "scp FILE root@INSTANCE.ecs: "),
            ("port-forward web-1", "ecs-bridge forward -i web-1.ecs -L PORT"),
        ] {
            let said = line(typed).unwrap();
            assert!(said.contains(says), "{typed}: {said}");
        }
        assert_eq!(line("prxoy i-bp1"), None);
    }
}
