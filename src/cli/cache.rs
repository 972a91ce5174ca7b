//! The command line of the cache: types only.

use clap::{Args, Subcommand};

pub(super) const CACHE_ABOUT: &str = "Delete the cache, or print its folder.\n\nThe cache has resolved names, targets for \
        completion, host keys, installed key plug-ins, and the versions of agents, for a day at \
        most. It is in $XDG_CACHE_HOME/ecs-bridge (~/.cache/ecs-bridge; macOS: ~/Library/Caches/ecs-bridge; \
        Windows: %LOCALAPPDATA%\\ecs-bridge). Delete it after you replaced a system disk, for example. To \
        bypass it once: --no-cache, known-hosts --refresh, send-key --reinstall.";

/// `ecs-bridge cache`
#[derive(Args, Debug)]
#[command(after_help = CACHE_EXAMPLES)]
pub(crate) struct Cache {
    /// What to do with it.
    #[command(subcommand)]
    pub action: CacheAction,
}

const CACHE_EXAMPLES: &str = "\
Examples:
  ecs-bridge cache clear
  ecs-bridge cache path";

/// What to do with the cache.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Delete all entries of the cache
    Clear,
    /// Print the folder of the cache
    Path,
}
