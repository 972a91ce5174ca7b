//! The command line of finding instances: types only.

use clap::Args;

use crate::cloud::{EndpointError, Region};

/// A region, or nothing: between two commas, or behind the last of them.
fn region(text: &str) -> Result<Option<Region>, EndpointError> {
    match text.trim() {
        "" => Ok(None),
        text => Region::parse(text).map(Some),
    }
}

impl LookUp {
    /// The further regions to look in.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().flatten()
    }
}

/// How an instance is found.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LookUp {
    /// Also search these regions (comma-separated)
    ///
    /// A target is searched for there if the profile's region does not have it.
    #[arg(
        long,
        value_name = "REGION,…",
        env = "ECS_BRIDGE_REGIONS",
        value_delimiter = ',',
        value_parser = region
    )]
    regions: Vec<Option<Region>>,

    /// Do not read or write the cache; `ecs-bridge cache clear` deletes it
    #[arg(long, hide_short_help = true)]
    pub no_cache: bool,
}
