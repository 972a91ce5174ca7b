//! The command line of finding instances: types only.

use clap::Args;

use crate::cloud::Region;

/// How an instance is found.
#[derive(Args, Clone, Debug, Default)]
pub struct LookUp {
    /// More regions to look in, with commas between them: list shows them too, and a target is
    /// looked for there if the profile's region does not have it
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
