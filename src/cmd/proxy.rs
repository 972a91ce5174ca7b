//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::Cell;

use tracing::{info, warn};

use super::session::{Carried, Plan, Witness, carry};
use super::{Cloud, Done, Plain, Result};
use crate::cli::{self, Global};
use crate::proto::session::End;
use crate::shutdown::Signals;
use crate::tunnel::driver::Observer;
use crate::tunnel::endpoint;
use crate::tunnel::error::Target;

/// Runs the command until either side has ended, or a signal comes.
pub(super) async fn run(global: &Global, args: &cli::Proxy) -> Result<Done> {
    let target = Target {
        instance: args.target.clone(),
        remote_host: args.remote_host.clone(),
        port: args.port,
    };
    let plan = Plan::new(target, &args.session)?;
    let mut signals =
        Signals::new().map_err(|error| Plain(format!("cannot listen for signals: {error}")))?;
    let mut local = endpoint::stdio()
        .map_err(|error| Plain(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = Cloud::open(global)?;

    let ended_by = Cell::new(None);
    let stop = async { ended_by.set(Some(signals.next().await)) };
    let carried = carry(&cloud, &plan, &mut local, stop, &Nobody).await;
    if let Some(signal) = ended_by.get() {
        return Ok(Done::By(signal));
    }
    if let Carried::Ended(outcome) = carried? {
        info!("{} bytes sent, {} bytes received", outcome.sent, outcome.delivered);
        if matches!(outcome.end, End::Remote(_)) && !outcome.has_output {
            warn!("{} took the connection and closed it without a word", plan.target);
        }
    }
    Ok(Done::Normally)
}

/// ssh tells its user what there is to tell.
struct Nobody;

impl Observer for Nobody {}
impl Witness for Nobody {}
