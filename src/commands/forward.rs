//! `ecs-bridge forward`: local ports and sockets that lead to ports of an instance.

use tokio::task::LocalSet;

use crate::app::{Done, Result};
use crate::cli::{self, Global};
use crate::forward::report::Reporter;
use crate::forward::serve::serve;

/// Runs the command until a signal comes, or what it was started for is done.
pub(crate) async fn run(global: &Global, args: &cli::Forward) -> Result<Done> {
    let is_vendor = global.vendor.is_some();
    let reporter = Reporter::new(args.json, global.quiet, !args.command.is_empty(), is_vendor);
    let local = LocalSet::new();
    let done = local.run_until(Box::pin(serve(global, args, &reporter))).await;
    if let (Err(error), true) = (&done, args.json) {
        reporter.failed(None, &**error);
    }
    reporter.finish();
    done
}
