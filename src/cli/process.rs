//! From the words of the process to a command.

use std::ffi::{OsStr, OsString};

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use clap::parser::ValueSource;

use super::global::Given;
use super::help_page::{self, Length};
use super::root::Cli;
use super::settle::{exit_after_print, refuse};
use crate::explain::{ExitCode, Report};
use crate::keys::public_key::{KeyError, is_private};
use crate::platform::logging;
use crate::vendor::{self, Words};

impl Cli {
    /// The command line of the process. A variable that is empty counts as one that is not set.
    pub(crate) fn from_process() -> Self {
        let is_long = std::env::args_os().any(|word| word == "--help");
        let command = help_page::command(if is_long { Length::Long } else { Length::Short });
        let command = unset_empty(command);
        // Words that are not understood are shown, and one of them may be a private key.
        let mut words = std::env::args_os().take_while(|word| word != "--");
        if words.any(|word| is_private(&word.to_string_lossy())) {
            let error = KeyError::Private { path: None };
            logging::eprint(&Report::new(&error));
            logging::usage_failed(&error);
            std::process::exit(i32::from(ExitCode::Usage as u8));
        }
        let mut args: Vec<OsString> = std::env::args_os().collect();
        let translated = match vendor::read(&args) {
            Words::Own => None,
            Words::Vendor(translated) => {
                args.truncate(1);
                args.extend(translated.words.iter().map(OsString::from));
                Some(*translated)
            }
            Words::Print(text) => print_and_exit(&text),
            Words::Wrong(error) => {
                logging::eprint(&Report::new(&error));
                logging::usage_failed(&error.for_log());
                std::process::exit(i32::from(ExitCode::Usage as u8));
            }
        };
        let matches = command.try_get_matches_from(args).unwrap_or_else(|error| {
            log_wrong_usage(&error);
            refuse(&error)
        });
        let parsed = Self::from_arg_matches(&matches).and_then(|mut cli| {
            cli.settle()?;
            let is_given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
            cli.global.given = Given {
                profile: is_given("profile"),
                region: is_given("region"),
                endpoint: is_given("endpoint"),
            };
            if let Some(translated) = translated {
                cli.global.overrides = translated.overrides;
                cli.global.vendor = Some(translated.vendor);
            }
            Ok(cli)
        });
        parsed.unwrap_or_else(|error| {
            log_wrong_usage(&error);
            error.exit()
        })
    }
}

fn print_and_exit(text: &str) -> ! {
    use std::io::Write as _;
    exit_after_print(|| writeln!(std::io::stdout(), "{text}"))
}

/// Help and the version are no failures, requested or not.
fn log_wrong_usage(error: &clap::Error) {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && !is_help {
        logging::usage_failed(&logging::wrong_usage(error));
    }
}

fn unset_empty(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(None::<&'static str>),
        _ => arg,
    });
    command.mut_subcommands(unset_empty)
}
