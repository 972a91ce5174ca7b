//! The command line as the log may show it: without secrets.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};
use secrecy::SecretString;

use crate::cli::{CacheAction, Cli, Command, ConfigureAction};
use crate::credentials::shell_word;
use crate::explain::{UsageError, printable};

/// What stands in the place of a secret.
const HIDDEN: &str = "…";
/// An option whose value is shown to the user, and may hold a password.
const COMMAND: &str = "command";

/// The command and its target, for each line of the log.
pub(super) fn label(command: &Command) -> String {
    let (name, target) = match command {
        Command::Proxy(args) => ("proxy", args.target.as_deref()),
        Command::Forward(args) => ("forward", args.instance.as_deref().or(args.target.as_deref())),
        Command::Session(args) => ("session", args.target.as_deref()),
        Command::SendKey(args) => ("send-key", args.target.as_deref()),
        Command::KnownHosts(args) => ("known-hosts", args.target.as_deref()),
        Command::Doctor(args) => ("doctor", args.target.as_deref()),
        Command::List(_) => ("list", None),
        Command::Configure(args) => (configure(args.action.as_ref()), None),
        Command::Cache(args) => match args.action {
            CacheAction::Clear => ("cache clear", None),
            CacheAction::Path => ("cache path", None),
        },
        Command::SshConfig(_) => ("ssh-config", None),
        Command::Policy(_) => ("policy", None),
        Command::Log(_) => ("log", None),
        Command::Version(_) => ("version", None),
        Command::Completions(_) => ("completions", None),
        Command::Man(_) => ("man", None),
        Command::Help(_) => ("help", None),
        Command::CompleteTargets(_) => ("complete-targets", None),
    };
    match target {
        Some(target) => printable(&format!("{name} {target}")),
        None => name.to_owned(),
    }
}

fn configure(action: Option<&ConfigureAction>) -> &'static str {
    match action {
        None => "configure",
        Some(ConfigureAction::Set(_)) => "configure set",
        Some(ConfigureAction::Get(_)) => "configure get",
        Some(ConfigureAction::List(_)) => "configure list",
        Some(ConfigureAction::Delete(_)) => "configure delete",
        Some(ConfigureAction::Switch(_)) => "configure switch",
    }
}

/// The command line of the process, for a shell. Of `configure`, which takes secrets, only its name;
/// nothing of a program that `forward --exec` runs.
pub(super) fn command_line(cli: &Cli) -> String {
    if let Some(vendor) = &cli.global.vendor {
        return vendor.shown.clone();
    }
    match &cli.command {
        Command::Configure(args) => format!("ecs-bridge {}", configure(args.action.as_ref())),
        _ => shown(std::env::args_os().skip(1)),
    }
}

/// The options whose values are or may hold a secret, by all their names.
fn secret_options(command: &clap::Command) -> Vec<String> {
    let is_secret = |arg: &clap::Arg| {
        arg.get_value_parser().type_id() == TypeId::of::<SecretString>() || arg.get_id() == COMMAND
    };
    let names = |arg: &clap::Arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let names = arg.get_long().into_iter().chain(aliases);
        names.map(|name| format!("--{name}")).collect::<Vec<_>>()
    };
    let own = command.get_arguments().filter(|arg| is_secret(arg)).flat_map(names);
    own.chain(command.get_subcommands().flat_map(secret_options)).collect()
}

fn shown(words: impl Iterator<Item = OsString>) -> String {
    let secret_options = secret_options(&Cli::command());
    let is_option = |word: &str| secret_options.iter().any(|option| option == word);
    let mut line = "ecs-bridge".to_owned();
    let mut is_secret = false;
    for word in words {
        let word = word.to_string_lossy();
        let text = match word.split_once('=') {
            _ if is_secret => HIDDEN.to_owned(),
            Some((option, _)) if is_option(option) => format!("{option}={HIDDEN}"),
            _ => shell_word(&without_password(&word)),
        };
        is_secret = !is_secret && is_option(&word);
        line.push(' ');
        line.push_str(&text);
        if word == "--" {
            line.push_str(" …");
            break;
        }
    }
    printable(&line)
}

/// A word without the user and the password that a URL in it has.
fn without_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may have a '/' that is not encoded.
    match rest.rsplit_once('@') {
        Some((_, host)) if authority.contains('@') || rest.contains(':') => {
            format!("{scheme}://{HIDDEN}@{host}")
        }
        _ => word.to_owned(),
    }
}

/// The subcommand in a command line that may not be understood; nothing else of it.
pub(super) fn subcommand(words: &[OsString]) -> String {
    let command = Cli::command();
    let known = |word: &OsStr| command.get_subcommands().find(|known| known.get_name() == word);
    let found = words.iter().find_map(|word| known(word));
    found.map(|command| command.get_name().to_owned()).unwrap_or_default()
}

/// A command line that is not understood, without what was typed.
pub(crate) fn wrong_usage(error: &clap::Error) -> UsageError {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = format!("ecs-bridge {}", subcommand(&words));
    let command = command.trim_end();
    let mut what = format!("the command line of {command} is wrong");
    if let Some(kind) = error.kind().as_str() {
        what.push_str(&format!(": {kind}"));
    }
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => Some(argument),
        Some(ContextValue::Strings(arguments)) => arguments.first(),
        _ => None,
    };
    if let Some(option) = argument.and_then(|argument| option(argument)) {
        what.push_str(&format!(" ({option})"));
    }
    let fix = format!("correct the command, of ssh its ProxyCommand; see {command} --help");
    UsageError::new(what, fix).because("what was typed is not kept here: it may hold a secret")
}

/// The name of an option, without a value.
fn option(argument: &str) -> Option<&str> {
    let name = argument.split(['=', ' ']).next()?;
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    (name.starts_with("--") && name.len() < 40 && name.chars().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (words, expected) in [
            ("proxy i-1 22", "ecs-bridge proxy i-1 22"),
            ("--proxy http://me:shush@proxy:1 proxy i-1", "ecs-bridge --proxy … proxy i-1"),
            ("proxy i-1 --proxy=me:shush@proxy:1", "ecs-bridge proxy i-1 --proxy=…"),
            ("--proxy --proxy proxy i-1", "ecs-bridge --proxy … proxy i-1"),
            (
                "--endpoint https://me:shush@host/x list",
                "ecs-bridge --endpoint 'https://…@host/x' list",
            ),
            (
                "--endpoint https://me:shu/sh@host list",
                "ecs-bridge --endpoint 'https://…@host' list",
            ),
            ("--endpoint https://host/x list", "ecs-bridge --endpoint https://host/x list"),
            ("forward -i i-1 --exec -- mysql -pshush", "ecs-bridge forward -i i-1 --exec -- …"),
            ("session i-1 --command cmd", "ecs-bridge session i-1 --command …"),
            ("session i-1 --password=shush", "ecs-bridge session i-1 --password=…"),
            ("session i-1 --passwd shush", "ecs-bridge session i-1 --passwd …"),
            ("session --passwd=shush i-1", "ecs-bridge session --passwd=… i-1"),
            ("proxy --wss-url wss://h/x?token=shush", "ecs-bridge proxy --wss-url …"),
            ("proxy --wss-url=wss://h/x?token=shush", "ecs-bridge proxy --wss-url=…"),
            ("list tag:a=b", "ecs-bridge list 'tag:a=b'"),
        ] {
            let words = words.split(' ').map(OsString::from);
            assert_eq!(shown(words), expected);
        }
    }

    #[test]
    fn each_name_of_an_option_with_a_secret_is_known() {
        let mut options = secret_options(&Cli::command());
        options.sort_unstable();
        let known =
            "--access-key-secret --command --passwd --password --proxy --sts-token --wss-url";
        options.dedup();
        assert_eq!(options.join(" "), known);
    }

    #[test]
    fn only_names_of_options_are_shown() {
        for (argument, expected) in [
            ("--port", Some("--port")),
            ("--access-key-secret=shush", Some("--access-key-secret")),
            ("--max-connections <N>", Some("--max-connections")),
            ("shush", None),
            ("--Shush1", None),
        ] {
            assert_eq!(option(argument), expected);
        }
    }
}
