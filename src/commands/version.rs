//! `ecs-bridge version`: the version, and what else a bug report needs.

use crate::app::{Done, Result, about, print};
use crate::cli;
use crate::openssh::installed;

/// Prints the version.
pub(crate) async fn run(args: &cli::Version) -> Result<Done> {
    match args.json {
        true => print(&format!("{:#}", about(&installed().await).await))?,
        false => print(&concat!("ecs-bridge ", env!("CARGO_PKG_VERSION")))?,
    }
    Ok(Done::Normally)
}
