//! The command line of starting an instance: types only.

use clap::Args;

use super::whole;

/// Whether an instance that is stopped is to be started.
#[derive(Args, Clone, Debug)]
pub struct Start {
    /// Start the instance if it is stopped, and wait for its agent. Where it runs, this costs no
    /// further call
    #[arg(long)]
    pub start: bool,

    /// How long starting may take, in seconds
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 180,
        requires = "start",
        value_parser = whole::<u64>(1, 3_600)
    )]
    pub start_timeout: u64,
}
