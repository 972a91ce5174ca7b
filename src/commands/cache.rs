//! `ecs-bridge cache`: deletes the cache, or prints its folder.

use std::env;

use crate::app::{Done, Result, UsageError, note, print};
use crate::cli::{self, CacheAction, Global};
use crate::credentials::{HOME_VARIABLE, home};
use crate::explain::ExitCode;
use crate::platform::cache::Cache;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &cli::Cache) -> Result<Done> {
    let cache = Cache::of_user(&|name| env::var_os(name), home().as_deref());
    let wrong = |what, remedy: &str| UsageError::new(what, remedy).exits(ExitCode::Failed);
    let Some(folder) = cache.folder() else {
        let what = "there is no folder for the cache: no home folder is known".to_owned();
        return Err(wrong(what, &format!("set {HOME_VARIABLE}")).into());
    };
    match args.action {
        CacheAction::Path => print(&folder.display())?,
        CacheAction::Clear => {
            let count = cache.clear().map_err(|error| {
                let what = format!("the cache {} cannot be deleted: {error}", folder.display());
                wrong(what, "check who owns the folder and its files, and whether it is read-only")
            })?;
            let text = match count {
                0 => format!("the cache {} is empty already", folder.display()),
                1 => format!("1 entry is deleted from the cache {}", folder.display()),
                _ => format!("{count} entries are deleted from the cache {}", folder.display()),
            };
            note(global, &text);
        }
    }
    Ok(Done::Normally)
}
