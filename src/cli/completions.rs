//! The command line of what shells and man need: types only.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

pub(super) const COMPLETIONS_ABOUT: &str = "Print a completion script for a shell.\n\nIn bash, zsh and fish, instance names that you \
        listed or used in the last 24 hours also complete. They are cached (`ecs-bridge \
        cache path` prints where); completion makes no API call.";

pub(super) const MAN_ABOUT: &str = "Print the manual page, or write all pages.\n\nWith --dir, the page of each command is \
        written to a folder, too: ecs-bridge-proxy.1 and so on.";

pub(super) const COMPLETE_TARGETS_ABOUT: &str = "Print the cached targets that begin with this, one per line.\n\nThe scripts of \
        `ecs-bridge completions` call it. It needs neither credentials nor a network.\n\nExamples:\n  \
        ecs-bridge complete-targets web\n\nExit codes:\n  0    always";

/// `ecs-bridge completions`
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct Completions {
    /// Print the script for this shell
    pub shell: Shell,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  ecs-bridge completions bash > ~/.local/share/bash-completion/completions/ecs-bridge
  ecs-bridge completions zsh > ~/.zfunc/_ecs-bridge    # with ~/.zfunc in fpath
  ecs-bridge completions fish > ~/.config/fish/completions/ecs-bridge.fish";

/// `ecs-bridge man`
#[derive(Args, Debug)]
#[command(after_help = MAN_EXAMPLES)]
pub(crate) struct Man {
    /// Write all pages to this folder; it is created if it does not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

const MAN_EXAMPLES: &str = "\
Examples:
  ecs-bridge man | man -l -
  ecs-bridge man --dir ~/.local/share/man/man1";

/// `ecs-bridge complete-targets`
#[derive(Args, Debug)]
pub(crate) struct CompleteTargets {
    /// What they begin with
    #[arg(default_value = "")]
    pub prefix: String,
}
