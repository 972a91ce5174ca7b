//! The command line of ali-instance-cli, the vendor's client: in its place when this program is called by
//! that name, and as hidden commands of this one.
//!
//! `table` has its commands and options, `words` its syntax. `translate` makes a command line of this
//! program of it: there is one implementation of each command.

mod help;
mod table;
mod translate;
mod words;

use std::ffi::OsString;
use std::path::Path;

use self::table::Command;
use self::words::{Kind, Line, Wrong};
use crate::explain::{ExitCode, Explain};

pub(crate) use self::translate::{Translated, Vendor};

/// The name of the vendor's client.
const NAME: &str = "ali-instance-cli";
/// The commands that this program has not, and takes in the vendor's words.
const HIDDEN: [&str; 3] = ["ssh", "portforward", "send_public_key"];
/// Of these, the ones that a user may type without knowing the vendor's client.
const GUESSED: [&str; 2] = ["ssh", "portforward"];

/// What the words of the process are.
pub(crate) enum Words {
    /// A command line of this program.
    Own,
    /// A command line of ali-instance-cli.
    Vendor(Box<Translated>),
    /// A text is to be printed.
    Print(String),
    /// A command line of ali-instance-cli that is wrong.
    Wrong(Wrong),
}

/// Reads the words of the process.
pub(crate) fn read(args: &[OsString]) -> Words {
    let called = args.first().map(Path::new).and_then(Path::file_stem).unwrap_or_default();
    let is_vendor = called.eq_ignore_ascii_case(NAME);
    let first = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    if !is_vendor && !HIDDEN.contains(&first) {
        return Words::Own;
    }
    let program = if is_vendor { NAME } else { "ecs-bridge" };
    let words: Option<Vec<String>> =
        args.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
    let Some(words) = words else {
        let what = "an argument is not text in UTF-8";
        let fix = "give it another name, or a relative path";
        return Words::Wrong(Wrong::new(Kind::Value, what, fix));
    };
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
        return Words::Print(help::help(command_in(&words), program));
    }
    let line = Line::read(&words, program);
    // A guess has a target as a word, and options of ssh; no valid command line lacks the instance.
    let is_guess = !is_vendor && GUESSED.contains(&first);
    let is_guessed = match &line {
        Err(wrong) => matches!(wrong.kind, Kind::Option | Kind::Positional),
        Ok(line) => line.options.is_empty(),
    };
    if is_guess && is_guessed {
        return Words::Own;
    }
    line.and_then(|line| run(line, program, is_vendor)).unwrap_or_else(Words::Wrong)
}

fn run(line: Line, program: &str, is_vendor: bool) -> Result<Words, Wrong> {
    Ok(match line.command {
        None => {
            let fix = format!("`{program} help` lists the commands");
            return Err(Wrong::new(Kind::Command, "no command is given", fix));
        }
        Some(Command::Version) => Words::Print(format!("ecs-bridge {}", env!("CARGO_PKG_VERSION"))),
        Some(Command::Help) => {
            let asked = command_in(&line.words);
            if let (None, Some(word)) = (asked, line.words.first()) {
                let what = format!("there is no help for '{}'", crate::explain::printable(word));
                let fix = format!("`{program} help` lists the commands");
                return Err(Wrong::new(Kind::Command, what, fix));
            }
            Words::Print(help::help(asked, program))
        }
        Some(command) => {
            Words::Vendor(Box::new(translate::translate(command, &line, program, is_vendor)?))
        }
    })
}

/// The command whose name is among some words.
fn command_in(words: &[String]) -> Option<Command> {
    let mut names = words.iter().filter(|word| !word.starts_with('-'));
    let first = names.find(|word| Command::named(word).is_some())?;
    let pair = names.next().and_then(|second| Command::named(&format!("{first} {second}")));
    pair.or(Command::named(first)).filter(|command| words.len() == 1 || *command != Command::Help)
}

impl Wrong {
    /// The same for the log: what was typed is not kept.
    pub(crate) fn for_log(&self) -> Self {
        let what = match self.kind {
            Kind::Command => "unknown command",
            Kind::Option => "unknown option",
            Kind::Positional => "an argument without an option",
            Kind::Twice => "an option is given twice",
            Kind::Value => "a value is missing or invalid",
            Kind::Missing => "no instance is given",
            Kind::Refused => "an option is refused",
        };
        let what = format!("a command line in the words of {NAME} is wrong: {what}");
        let fix = "correct the command, of ssh its ProxyCommand";
        Self::new(self.kind, what, fix)
    }
}

impl Explain for Wrong {
    fn remedy(&self) -> Option<String> {
        Some(self.fix.clone())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Words {
        read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_name_of_the_program_decides_whose_words_they_are() {
        for line in [
            "ecs-bridge proxy i-1",
            "ecs-bridge ssh root@web-1",
            "ecs-bridge ssh -l ops web-1",
            "ecs-bridge ssh",
            "ecs-bridge portforward web-1 80",
            "ecs-bridge session i-1",
            "ecs-bridge configure list",
            "ecs-bridge",
        ] {
            assert!(matches!(read_line(line), Words::Own), "{line}");
        }
        for line in [
            "ecs-bridge ssh --instance i-1 --port 22",
            "ecs-bridge portforward -i i-1 -l 0 -r 22",
            "ecs-bridge send_public_key -i i-1",
            "ali-instance-cli ssh -i i-1",
            "/opt/ali-instance-cli.exe configure list",
            "./Ali-Instance-CLI session -i i-1",
        ] {
            assert!(matches!(read_line(line), Words::Vendor(_)), "{line}");
        }
        for line in [
            "ali-instance-cli",
            "ali-instance-cli help",
            "ali-instance-cli help configure set",
            "ali-instance-cli ssh -i i-1 --nosuch --help",
            "ali-instance-cli version",
            "ecs-bridge ssh --help",
        ] {
            assert!(matches!(read_line(line), Words::Print(_)), "{line}");
        }
        for line in [
            "ali-instance-cli ssh root@web-1",
            "ali-instance-cli ssh",
            "ali-instance-cli --profile x",
            "ali-instance-cli help nosuch",
            "ecs-bridge ssh --instance i-1 -i i-2",
            "ecs-bridge send_public_key",
        ] {
            assert!(matches!(read_line(line), Words::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn the_log_has_nothing_that_was_typed() {
        let Words::Wrong(error) = read_line("ali-instance-cli ssh --hush=hush") else { panic!() };
        assert!(error.to_string().contains("hush"));
        assert!(!error.for_log().to_string().contains("hush"));
    }

    #[test]
    fn each_command_has_its_help() {
        for command in Command::all() {
            let text = help::help(Some(command), NAME);
            assert!(text.contains(command.about()), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        }
    }
}
