//! The help of a command line in the words of ali-instance-cli.

use std::fmt::Write as _;

use super::table::{Command, OPTIONS, Opt, Value};

/// The help of a command, or of the program.
pub(super) fn help(command: Option<Command>, program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = match command {
        Some(command) => format!("{}\n\nUsage: {program} {} ", command.about(), command.name()),
        None => format!(
            "ecs-bridge {version}, with the commands and options of ali-instance-cli\n\nUsage: {program} \
             COMMAND "
        ),
    };
    let words = match command {
        Some(Command::ConfigureGet) => "[FIELD…] [OPTIONS]",
        Some(Command::Help) => "[COMMAND]",
        _ => "[OPTIONS]",
    };
    text.push_str(words);
    let Some(command) = command else {
        text.push_str("\n\nCommands:\n");
        for command in Command::all() {
            let _ = writeln!(text, "  {:17} {}", command.name(), command.about());
        }
        let _ = write!(
            text,
            "\nOptions: {program} help COMMAND\nThis program's own commands: ecs-bridge --help\n\n{DIFFERENCES}"
        );
        return text;
    };
    let used: Vec<_> = OPTIONS.iter().filter(|option| option.is_used_by(command)).collect();
    if !matches!(command, Command::Help | Command::Version) {
        text.push_str("\n\nOptions:");
        for option in used {
            let short = option.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
            let _ = write!(text, "\n  {short}{:30} {}", long(option), option.help);
        }
        text.push_str(
            "\n\nA value follows its option as in --name value, --name=value or --name:value.",
        );
    }
    text
}

const DIFFERENCES: &str = "\
What differs: portforward listens on this computer only, unless --bind is given; the exit code is 0
after a normal end, 2 for a wrong command line; certificates are always verified.";

fn long(option: &Opt) -> String {
    let value = match option.value {
        Value::None => "",
        Value::Text => " VALUE",
        Value::Optional => " [NAME]",
        Value::Port(_) => " PORT",
        Value::HostPort => " [HOST:]PORT",
        Value::IdleTimeout => " SECONDS",
        Value::Number => " NUMBER",
        Value::Mode => " [MODE]",
        Value::ConnectionType => " TYPE",
    };
    format!("--{}{value}", option.name)
}
