//! The command line of `version`: types only.

use clap::Args;

pub(super) const VERSION_ABOUT: &str = "Print the version, or all that a bug report needs.\n\nWith --json: version, commit, \
        target, operating system, TLS, and the version of the installed ssh.";

/// `ecs-bridge version`
#[derive(Args, Debug)]
#[command(after_help = VERSION_EXAMPLES)]
pub(crate) struct Version {
    /// Print the version, the commit, the target, and facts of this computer as JSON
    #[arg(long)]
    pub json: bool,
}

const VERSION_EXAMPLES: &str = "\
Examples:
  ecs-bridge version
  ecs-bridge version --json";
