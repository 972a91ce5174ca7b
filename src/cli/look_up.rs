//! The command line of finding instances: types only.

use clap::Args;

use crate::cloud::Region;

/// How an instance is found.
#[derive(Args, Clone, Debug, Default)]
pub struct LookUp {
    /// Regions to look in for an instance that the profile's region does not have, with commas
    /// between them
    #[arg(
        long,
        value_name = "REGION,…",
        env = "ECS_BRIDGE_REGIONS",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = Region::parse
    )]
    pub regions: Vec<Region>,

    /// Neither use what is remembered from earlier runs, nor remember anything
    #[arg(long)]
    pub no_cache: bool,
}
