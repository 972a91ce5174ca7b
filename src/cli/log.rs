//! The command line of `log`: types only.

use clap::Args;

pub(super) const LOG_ABOUT: &str = "Print the log of today and yesterday, or the last failure.\n\nEach run writes what it does and \
        why it fails, without secrets, to $XDG_STATE_HOME/ecs-bridge/log (~/.local/state/ecs-bridge/log; \
        macOS: ~/Library/Logs/ecs-bridge; Windows: %LOCALAPPDATA%\\ecs-bridge\\log): a file a day (UTC), \
        kept for a week, 10 MB at most in all. Each line has the time, the level, and in brackets the \
        process, the command and its target. --no-log or ECS_BRIDGE_LOG=off disables it.\n\n\
        ssh with ControlPersist does not show why its ProxyCommand fails: `ecs-bridge log --last` does.";

/// `ecs-bridge log`
#[derive(Args, Debug)]
#[command(after_help = LOG_EXAMPLES)]
pub(crate) struct Log {
    /// Print the last failure: time, command, what, why, fix, RequestId
    #[arg(long, conflicts_with_all = ["path", "follow"])]
    pub last: bool,

    /// Print the folder of the log
    #[arg(long, conflicts_with = "follow")]
    pub path: bool,

    /// Print the last 10 lines, and new lines as they are written
    #[arg(short, long)]
    pub follow: bool,
}

const LOG_EXAMPLES: &str = "\
Examples:
  ecs-bridge log --last
  ecs-bridge log --follow
  ecs-bridge log | grep ' ERROR '";
