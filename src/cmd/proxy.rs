//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use super::command::Failed;
use super::register::{Registration, check_user};
use super::session::{Carried, Plan, Witness, carry, check_instance};
use super::{Cloud, Done, Mistake, Plain, Result, cache, home, known_hosts};
use crate::cli::{self, Global};
use crate::cloud::TerminalSession;
use crate::explain::{ExitCode, Explain};
use crate::proto::session::End;
use crate::public_key::{self, PublicKey};
use crate::shutdown::Signals;
use crate::tunnel::driver::{LocalError, Observer};
use crate::tunnel::endpoint::{self, Endpoint};
use crate::tunnel::error::Target;
use crate::tunnel::gate::Gate;

/// How long a registration that has failed lets the session be started that is to be ended.
const STARTED_WITHIN: Duration = Duration::from_secs(15);

/// Runs the command until either side has ended, or a signal comes.
pub(super) async fn run(global: &Global, args: &cli::Proxy) -> Result<Done> {
    let target = Target {
        instance: args.target.clone(),
        remote_host: args.remote_host.clone(),
        port: args.port,
    };
    check_send_key(args)?;
    let plan = Plan::new(target, &args.session)?;
    let key = match &args.send_key {
        Some(given) => Some(key(given.as_deref(), &args.user)?),
        None => None,
    };
    let mut signals =
        Signals::new().map_err(|error| Plain(format!("cannot listen for signals: {error}")))?;
    let local = endpoint::stdio()
        .map_err(|error| Plain(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = Cloud::open(global)?;

    let (gate, writer) = Gate::new(local.writer);
    let writer = writer.shown_to(known_hosts::watch(&cloud, &plan.target));
    let mut local = Endpoint::new(local.reader, writer);
    let keeper = Keeper { gate, stays_shut: Cell::new(false), started: Notify::new() };
    let (ended_by, failed) = (Cell::new(None), Cell::new(None));
    let stop = async {
        let not_registered = async {
            if let Some(key) = &key
                && let Err(error) = register(&cloud, &plan.target.instance, &args.user, key).await
            {
                keeper.stays_shut.set(true);
                failed.set(Some(error));
                // A session that is being started can only be ended once it is known.
                let _ = timeout(STARTED_WITHIN, keeper.started.notified()).await;
                return;
            }
            keeper.gate.open();
            std::future::pending().await
        };
        tokio::select! {
            biased;
            signal = signals.next() => ended_by.set(Some(signal)),
            () = not_registered => {}
        }
    };
    let carried = carry(&cloud, &plan, &mut local, stop, &keeper).await;
    if let Some(signal) = ended_by.get() {
        return Ok(Done::By(signal));
    }
    if let Some(error) = failed.take() {
        return Err(error.into());
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

/// The key to register. It is read before anything is sent.
fn key(given: Option<&str>, user: &str) -> Result<PublicKey> {
    check_user(user)?;
    // The variable that send-key takes its key from.
    let set =
        std::env::var("ECS_BRIDGE_PUBLIC_KEY").ok().filter(|key| !key.is_empty() && key != "-");
    Ok(public_key::load(given.or(set.as_deref()), home().as_deref())?.key)
}

/// `--send-key` may be followed by a file, and takes what is none for one.
fn check_send_key(args: &cli::Proxy) -> Result<()> {
    let remedy = match args.send_key.as_ref().and_then(Option::as_deref) {
        Some("-") => "name a file: stdin carries the SSH stream",
        Some(path) if check_instance(path).is_ok() && !Path::new(path).exists() => {
            "put another option behind it, as in  proxy --send-key --user %r %h %p"
        }
        _ => return Ok(()),
    };
    let given = args.send_key.clone().flatten().unwrap_or_default();
    Err(Mistake {
        what: format!("--send-key takes {given:?} for the file of a public key"),
        remedy: remedy.to_owned(),
        exit_code: ExitCode::Usage,
    }
    .into())
}

async fn register(
    cloud: &Cloud,
    instance: &str,
    user: &str,
    key: &PublicKey,
) -> std::result::Result<(), Failed> {
    let registration = Registration { cloud, cache: &cache(), instance, user, key };
    if !registration.is_fresh() {
        registration.register(false).await?;
    }
    Ok(())
}

/// ssh tells its user what there is to tell. The gate opens once the key is registered, so that
/// authentication finds it, or once there is nobody left to authenticate with. It stays shut if the
/// key cannot be registered: no password is asked for in place of it.
struct Keeper {
    gate: Gate,
    stays_shut: Cell<bool>,
    started: Notify,
}

impl Observer for Keeper {
    fn ended(&self) {
        if !self.stays_shut.get() {
            self.gate.open();
        }
    }
}

impl Witness for Keeper {
    fn started(&self, _: &TerminalSession) {
        self.started.notify_one();
    }
}

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
