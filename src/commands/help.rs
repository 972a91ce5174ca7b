//! `ecs-bridge help`: the help of a command or of a topic.

use crate::app::{Done, Result, UsageError, print};
use crate::cli;

/// Prints the page.
pub(crate) fn run(args: &cli::Help) -> Result<Done> {
    let page = cli::help_page(&args.words).map_err(|word| {
        UsageError::new(
            format!("there is no help for '{word}'"),
            "name a command (ecs-bridge -h lists them), or options, credentials, environment \
             or exit-codes",
        )
    })?;
    print(&page.trim_end())?;
    Ok(Done::Normally)
}
