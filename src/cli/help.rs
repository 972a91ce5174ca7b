//! `ecs-bridge help`: its arguments.

use clap::Args;

pub(super) const HELP_ABOUT: &str = "Print the help of a command, or of a topic.\n\nTopics: options (the options that every \
        command takes), credentials, environment, exit-codes.";

/// `ecs-bridge help`
#[derive(Args, Debug)]
#[command(after_help = HELP_EXAMPLES)]
pub(crate) struct Help {
    /// Print the help of this: proxy, configure set, options, …
    #[arg(value_name = "COMMAND|TOPIC")]
    pub words: Vec<String>,
}

const HELP_EXAMPLES: &str = "\
Examples:
  ecs-bridge help forward
  ecs-bridge help options
  ecs-bridge help exit-codes";
