//! `ecs-bridge policy`: the RAM policy that the user's commands need.

use crate::app::{Done, Result, print};
use crate::cli::{self, PolicyUse};
use crate::policy::{Policy, Purpose, actions};

/// Prints one policy for all uses.
pub(crate) fn run(args: &cli::Policy) -> Result<Done> {
    let purposes: Vec<_> = args.uses.iter().map(|one| purpose(*one)).collect();
    print(&Policy::of(&actions(&purposes)).pretty())?;
    Ok(Done::Normally)
}

fn purpose(one: PolicyUse) -> Purpose {
    match one {
        PolicyUse::Connect => Purpose::Connect,
        PolicyUse::SendKey => Purpose::SendKey,
        PolicyUse::List => Purpose::List,
        PolicyUse::Start => Purpose::Start,
    }
}
