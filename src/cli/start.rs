//! The command line of starting an instance: types only.

use clap::Args;

use super::values::whole;

/// Whether an instance that is stopped is to be started.
#[derive(Args, Clone, Debug)]
pub(crate) struct Start {
    /// Start the instance first if it is stopped
    ///
    /// Then waits for its agent. If it is already running, no extra API call is made.
    #[arg(long)]
    pub start: bool,

    /// Wait at most this many seconds for a started instance
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        default_value_t = 180,
        requires = "start",
        value_parser = whole::<u64>(1, 3_600)
    )]
    pub start_timeout: u64,
}
