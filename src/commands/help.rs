//! `ecs-bridge help`: the help of a command or of a topic.

use crate::app::{Done, Result, UsageError, print};
use crate::cli;
use crate::explain::ExitCode;

/// Prints the page.
pub(crate) fn run(args: &cli::Help) -> Result<Done> {
    let page = cli::help_page(&args.words).map_err(|word| UsageError {
        what: format!("there is no help for '{word}'"),
        remedy: "name a command (ecs-bridge -h lists them), or options, credentials, environment \
                 or exit-codes"
            .to_owned(),
        exit_code: ExitCode::Usage,
    })?;
    print(&page.trim_end())?;
    Ok(Done::Normally)
}
