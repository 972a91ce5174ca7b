//! The command line of starting an instance: types only.

use clap::Args;

/// Whether an instance that is stopped is to be started.
#[derive(Args, Clone, Debug)]
pub struct Start {
    /// Start the instance if it is stopped, and wait for its agent. One that runs is asked for
    /// nothing more than without
    #[arg(long)]
    pub start: bool,

    /// How long that may take, in seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 180,
        requires = "start",
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub start_timeout: u64,
}
