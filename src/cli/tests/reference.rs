//! `docs/reference.md` is what clap knows of the command line.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

use crate::cli::help_page::{self, Length, page};

const HOW: &str = "UPDATE_DOCS=1 cargo test --lib the_reference_is_what_clap_knows";

#[test]
#[cfg_attr(windows, ignore = "the help of known-hosts has another example there")]
fn the_reference_is_what_clap_knows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let reference = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference).unwrap();
        return;
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    assert!(before == reference, "docs/reference.md differs from --help; regenerate it:\n  {HOW}");
}

fn reference() -> String {
    let mut command = help_page::command(Length::Long);
    command.build();
    let mut text = format!(
        "<!-- generated: {HOW} -->\n# Reference\n\nEvery command, option, default and variable. \
         `--help` of each command prints the same.\n\n"
    );
    for command in commands(&command) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "- [`{name}`](#{}): {about}", name.replace(' ', "-")).unwrap();
    }
    text.push_str("\n## Global options\n\nEvery command takes these options.\n\n");
    let global = command.get_arguments().filter(|arg| arg.is_global_set());
    text.push_str(&table("option", &global.collect::<Vec<_>>()));
    for command in commands(&command) {
        section(&mut text, command);
    }
    for (title, topic) in [
        ("Credentials", "credentials"),
        ("Environment", "environment"),
        ("Exit codes", "exit-codes"),
    ] {
        let page = page(&[topic.to_owned()]).unwrap();
        writeln!(text, "\n## {title}\n\n```text\n{}\n```", page.trim_end()).unwrap();
    }
    text
}

/// The commands that users see, each before those within it.
fn commands(command: &Command) -> Vec<&Command> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    // clap's own `help` of the commands that have commands.
    let shown =
        shown.filter(|inner| command.get_name() == "ecs-bridge" || inner.get_name() != "help");
    shown.flat_map(|command| [command].into_iter().chain(commands(command))).collect()
}

fn section(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(text, "\n## {name}\n\n{}\n\n```text\n{usage}\n```", escaped(&about)).unwrap();
    if let Some(examples) = command.get_before_help() {
        let examples = examples.to_string();
        let lines: Vec<_> =
            examples.lines().skip(1).map(|line| line.trim_start_matches("  ")).collect();
        writeln!(text, "\n```sh\n{}\n```", lines.join("\n")).unwrap();
    }
    let own = |arg: &&Arg| !arg.is_hide_set() && arg.get_action().takes_values_or_counts();
    let positional: Vec<_> = command.get_positionals().filter(own).collect();
    let options: Vec<_> =
        command.get_arguments().filter(|arg| !arg.is_positional()).filter(own).collect();
    for (title, args) in [("argument", positional), ("option", options)] {
        if !args.is_empty() {
            text.push('\n');
            text.push_str(&table(title, &args));
        }
    }
}

/// What is not the help or the version.
trait Shown {
    fn takes_values_or_counts(&self) -> bool;
}

impl Shown for ArgAction {
    fn takes_values_or_counts(&self) -> bool {
        !matches!(self, Self::Help | Self::HelpShort | Self::HelpLong | Self::Version)
    }
}

fn table(title: &str, args: &[&Arg]) -> String {
    let mut table = format!("| {title} | meaning | default | variable |\n|---|---|---|---|\n");
    for arg in args {
        let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string);
        let values: Vec<_> = arg
            .get_possible_values()
            .iter()
            .filter(|_| arg.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let mut meaning =
            escaped(&help.unwrap_or_default().replace("\n\n", ". ").replace('\n', " "));
        if !values.is_empty() {
            write!(meaning, ": {}", values.join(", ")).unwrap();
        }
        let aliases = arg.get_visible_aliases().unwrap_or_default();
        for alias in aliases {
            write!(meaning, " (also `--{alias}`)").unwrap();
        }
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match arg.get_action().takes_values() && !defaults.is_empty() {
            true => format!("`{}`", defaults.join(",")),
            false => String::new(),
        };
        let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let name = arg.to_string().replace('|', "\\|");
        let short = arg.get_short().filter(|_| arg.get_long().is_some());
        let short = short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let variable = variable.unwrap_or_default();
        writeln!(table, "| {short}`{name}` | {meaning} | {default} | {variable} |").unwrap();
    }
    table
}

/// Text that Markdown would take for something else.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}
