//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::Cell;

use tracing::{info, warn};

use super::session::{Carried, Plan, Witness, carry};
use super::{Cloud, Done, Plain, Result};
use crate::cli::{self, Global};
use crate::explain::Explain;
use crate::proto::session::End;
use crate::shutdown::Signals;
use crate::tunnel::driver::{LocalError, Observer};
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
    if let Carried::Ended(mut outcome) = carried? {
        info!("{} bytes sent, {} bytes received", outcome.sent, outcome.delivered);
        if matches!(outcome.end, End::Remote(_)) && !outcome.has_output {
            warn!("{} took the connection and closed it without a word", plan.target);
        }
        if outcome.end == End::Local && outcome.sent > 0 && outcome.delivered == 0 {
            warn!("{} did not answer what was sent within --linger", plan.target);
        }
        if let Some(error) = outcome.local_error.take() {
            return Err(LocalFailure(error).into());
        }
    }
    Ok(Done::Normally)
}

/// ssh tells its user what there is to tell.
struct Nobody;

impl Observer for Nobody {}
impl Witness for Nobody {}

/// stdin or stdout themselves are at fault: bytes are lost.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LocalFailure(LocalError);

impl Explain for LocalFailure {
    fn why(&self) -> Option<String> {
        let why = match &self.0 {
            LocalError::Read(_) => "stdin cannot be read: nothing more could be sent",
            LocalError::Write(_) => "stdout cannot be written to: bytes of the far side are lost",
            LocalError::Stalled(_) => {
                "whoever reads stdout stopped before the end: bytes of the far side are lost"
            }
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        Some("check what stdin and stdout are connected to".to_owned())
    }
}
