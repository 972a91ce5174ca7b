//! The help pages: the order of their parts, the groups of commands, and the topics of `ecs-bridge help`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Command;
use clap::builder::StyledStr;

use super::root;
use super::text::{CREDENTIALS, ENVIRONMENT, EXIT_CODES};

/// The commands in the order of `ecs-bridge -h`.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Connect", &["session", "forward", "proxy"]),
    ("Keys", &["send-key", "known-hosts"]),
    ("Set up", &["configure", "ssh-config", "policy", "completions, man"]),
    ("Find out", &["list", "doctor", "log, cache"]),
];
/// The lines of commands that share one.
const SHARED: [(&str, &str); 2] = [
    ("completions, man", "Print completion scripts, and manual pages"),
    ("log, cache", "Print the log and the last failure; delete the cache"),
];

const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// How much of the help is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// One screen: `-h`.
    Short,
    /// All of it: `--help`.
    Long,
}

/// The command line, with the help of each command in its final form.
pub(super) fn command(length: Length) -> Command {
    let mut command = root::command();
    let global: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    // clap gives its copy of these to the commands that have none of their own.
    command = command
        .mut_subcommands(|command| command.args(global.iter().map(|arg| arg.clone().hide(true))));
    if length == Length::Short {
        command = command.mut_args(|arg| {
            let is_global = arg.is_global_set();
            arg.hide_short_help(is_global)
        });
    }
    let groups = groups(&command);
    let options = match length {
        Length::Short => "",
        Length::Long => "\n\nOptions:\n{options}",
    };
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{before-help}}{groups}{options}{{after-help}}"
    );
    shape(command, length).help_template(template)
}

/// Puts examples before options, and leaves variables out of the short help.
fn shape(command: Command, length: Length) -> Command {
    let text = |text: Option<&StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let examples = text(command.get_after_help());
    let long = text(command.get_after_long_help());
    let rest = long.split_once("\n\n").map(|(_, rest)| format!("{rest}\n\n"));
    let global = "Global options (--profile, -v, …): ecs-bridge help options";
    let after = match length {
        Length::Short => format!("More: --help. {global}"),
        Length::Long => format!("{}{global}", rest.unwrap_or_default()),
    };
    let command = match length {
        Length::Short => command.mut_args(|arg| arg.hide_env(true)),
        Length::Long => command,
    };
    let command = match examples.as_str() {
        "" => command,
        examples => command.before_help(examples.to_owned()),
    };
    let command = command.after_help(after.clone()).after_long_help(after).help_template(TEMPLATE);
    command.mut_subcommands(|command| shape(command, length))
}

/// The commands, a line each, below the group that they belong to.
fn groups(command: &Command) -> String {
    let mut lines = Vec::new();
    for (group, names) in GROUPS {
        let mut heading = format!("{group}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let shared = SHARED.iter().find(|(names, _)| names == name);
            let shared = shared.map(|(_, about)| (*about).to_owned()).unwrap_or_default();
            let about = about.map_or(shared, ToString::to_string);
            lines.push(format!("{heading:<11}{name:<17}{about}"));
            heading.clear();
        }
    }
    lines.join("\n")
}

/// The help of a topic, or of the command that these words lead to.
///
/// # Errors
/// When there is neither.
pub(crate) fn page(words: &[String]) -> Result<String, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = command(Length::Long);
    match words.as_slice() {
        ["options"] => return Ok(global_options(command)),
        ["credentials"] => return Ok(CREDENTIALS.to_owned()),
        ["environment"] => return Ok(environment(&command)),
        ["exit-codes"] => return Ok(EXIT_CODES.to_owned()),
        _ => {}
    }
    command.build();
    let mut found = &mut command;
    for word in words {
        found = found.find_subcommand_mut(word).ok_or_else(|| word.to_owned())?;
    }
    Ok(found.render_long_help().to_string())
}

fn global_options(command: Command) -> String {
    let mut command = command.help_template("Options that every command takes:\n\n{options}");
    command.render_long_help().to_string()
}

/// The variables that stand for options, with the options, and those that stand for themselves.
fn environment(command: &Command) -> String {
    let mut variables = BTreeMap::new();
    collect_variables(command, &mut variables);
    let mut text = "Variables in place of options; the command line comes first:\n".to_owned();
    for (variable, option) in variables {
        let _ = writeln!(text, "  {variable:<30}  --{option}");
    }
    text + "\n" + ENVIRONMENT
}

fn collect_variables(command: &Command, variables: &mut BTreeMap<String, String>) {
    for arg in command.get_arguments() {
        if let (Some(variable), Some(option)) = (arg.get_env(), arg.get_long()) {
            variables.insert(variable.to_string_lossy().into_owned(), option.to_owned());
        }
    }
    command.get_subcommands().for_each(|command| collect_variables(command, variables));
}
