//! `ecs-bridge policy`: the RAM policy that the user's commands need.

use crate::app::{Done, Result, print};
use crate::cli;
use crate::policy::{Policy, actions};

/// Prints one policy for all uses.
pub(crate) fn run(args: &cli::Policy) -> Result<Done> {
    print(&Policy::of(&actions(&args.uses)).pretty())?;
    Ok(Done::Normally)
}
