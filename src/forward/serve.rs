//! From the listeners to the end of the last connection.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::debug;

use super::context::{Context, Phase};
use super::exec;
use super::exec::Program;
use super::forwarding::Forwarding;
use super::listener::Listener;
use super::pool::Pool;
use super::report::{Event, Reporter};
use super::request::{self, Request};
use super::spec::Forward;
use crate::app::{Done, Message, Result, cache, with_notice};
use crate::cli::{self, Global};
use crate::explain::ExitCode;
use crate::platform::signals::{Signal, Signals};
use crate::session::agent::AgentVersions;
use crate::session::origin::{Origin, not_of_own};
use crate::session::plan::{Plan, When};
use crate::session::queue::Queue;
use crate::session::target::Target;
use crate::target::finder::{Finder, Instances as _};

/// How long the clean-up of sessions may take once they are told to end.
const CLEAN_UP: Duration = Duration::from_secs(3);

/// The tasks that accept connections and keep channels ready; one may give an exit code that is the command's.
type Accepting = JoinSet<Option<ExitCode>>;

/// Serves the forwards until a signal comes, or what the command was started for is done.
///
/// # Errors
/// When a listener cannot be bound, the instance cannot be found, or a probe fails.
pub(crate) async fn serve(
    global: &Global,
    args: &cli::Forward,
    reporter: &Reporter,
) -> Result<Done> {
    let Request { instance, forwards } = Request::new(args)?;
    let origin = Origin::new(&args.via, Some(&instance))?;
    if !origin.is_url() {
        Finder::check(&instance)?;
    }
    if args.start.start && !origin.is_api() {
        return Err(not_of_own("--start", &origin).into());
    }
    let places = request::places(&forwards, args.bind)?;
    let agents = Rc::new(AgentVersions::new(cache(&args.look_up), global.quiet));
    let told = reporter.clone();
    let queue = Rc::new(Queue::new(args.session.opening.wait, move |text| told.note(text)));
    let plan = |forward| {
        let plan = plan(args, &instance, forward)?;
        Ok(plan.of_origin(&origin).with_agents(&agents, When::AtOnce).queued(&queue))
    };
    let plans = forwards.iter().map(plan).collect::<Result<Vec<_>>>()?;
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let cloud = origin.open(global)?;
    let finder = origin.instance(&cloud, &instance, &args.look_up)?;
    if let Some(session) = origin.session_id() {
        reporter.started(session);
    }
    let listeners = places.iter().map(Listener::bind).collect::<Result<Vec<_>>>()?;
    let found = tokio::select! {
        found = finder.find() => found?,
        signal = signals.next() => return Ok(Done::By(signal)),
    };
    let plans: Vec<_> = plans.iter().map(|plan| plan.to(&found)).collect();
    let context = Context::new(global, args, finder, found, reporter.clone(), queue);
    let pool = Rc::new(Pool::new(context));
    let mut forwardings = Vec::new();
    for (listener, plan) in listeners.into_iter().zip(plans) {
        let forwarding = Rc::new(Forwarding::new(plan, listener.addresses()));
        if listener.is_exposed() {
            reporter.note(&format!(
                "warning: {} is open to other machines: whoever reaches it reaches {}",
                forwarding.address(),
                forwarding.plan.target
            ));
        }
        if let Some(warning) = listener.warning() {
            reporter.note(&format!("warning: {warning}"));
        }
        pool.add(Rc::clone(&forwarding.warm));
        forwardings.push((forwarding, listener));
    }

    let hint = forwardings
        .first()
        .and_then(|(forwarding, _)| Request::hint(args, &forwarding.plan.target));
    if let Some(hint) = hint {
        reporter.note(&hint);
    }

    let ended = work(&pool, args, forwardings, &mut signals).await;
    // Sessions that are still open are ended, and given the time for it.
    pool.context.advance(Phase::Closing);
    pool.sessions_ended(CLEAN_UP).await;
    ended
}

/// From the probe to the end of what the command was started for, and of the connections.
async fn work(
    pool: &Rc<Pool>,
    args: &cli::Forward,
    forwardings: Vec<(Rc<Forwarding>, Listener)>,
    signals: &mut Signals,
) -> Result<Done> {
    let addresses: Vec<_> =
        forwardings.iter().map(|(forwarding, _)| forwarding.address().to_owned()).collect();
    let is_url = args.via.wss_url.is_some();
    // One task a forward accepts; they and the connections end with this function or before.
    let mut accepting = JoinSet::new();
    let mut probed = Vec::new();
    for (forwarding, listener) in forwardings {
        probed.push(Rc::clone(&forwarding));
        let (pool, once) = (Rc::clone(pool), args.once || is_url);
        accepting.spawn_local(async move { listener.accept(&pool, &forwarding, once).await });
    }
    // No connection is taken before the probes are begun: the first is to have their session.
    let ended = serve_forwards(pool, args, probed, &addresses, &mut accepting, signals).await;
    let grace = Duration::from_secs(args.grace);
    let (phase, grace) = match &ended {
        Ok(_) if args.command.is_empty() => (Phase::Draining, grace),
        // The program has ended, and with it what it has left open.
        Ok(Done::Code(_)) => (Phase::Delivering, grace),
        // Nothing can be forwarded.
        _ => (Phase::Draining, Duration::ZERO),
    };
    if let Ok(Done::By(signal)) = &ended
        && let Some(text) = waiting(pool.context.open_connections(), grace, *signal)
    {
        pool.context.reporter.note(&text);
    }
    let failed = drain(pool, phase, grace, accepting, signals).await;
    match ended {
        Ok(Done::Code(0)) if failed => Ok(Done::Code(ExitCode::Session as u8)),
        ended => ended,
    }
}

/// The same until the connections have to come to their ends.
async fn serve_forwards(
    pool: &Rc<Pool>,
    args: &cli::Forward,
    forwardings: Vec<Rc<Forwarding>>,
    addresses: &[String],
    accepting: &mut Accepting,
    signals: &mut Signals,
) -> Result<Done> {
    // A URL has one session, which is for the connection.
    let is_url = args.via.wss_url.is_some();
    if is_url {
        let text = "one connection is forwarded: the URL of --wss-url has one session";
        pool.context.reporter.note(text);
    }
    if !args.no_probe && !is_url {
        let probes = futures_util::future::try_join_all(
            forwardings.iter().map(|forwarding| forwarding.probe(pool)),
        );
        let waits =
            || pool.context.reporter.note("waiting for a session, to see that the target is there");
        let probes = with_notice(waits, probes);
        let mut probes = std::pin::pin!(probes);
        loop {
            tokio::select! {
                // A failure of the probe goes before the end of the connection that had its session.
                biased;
                probed = &mut probes => {
                    probed?;
                    break;
                }
                signal = signals.next() => return Ok(Done::By(signal)),
                Some(ended) = accepting.join_next() => {
                    if let Some(done) = done(ended) {
                        return Ok(done);
                    }
                }
            }
        }
    }
    for forwarding in &forwardings {
        pool.context.reporter.emit(&Event::Listening {
            address: forwarding.address(),
            addresses: &forwarding.addresses,
            instance: (!is_url).then_some(&forwarding.plan.target.instance),
            name: forwarding.plan.target.name.as_deref(),
            remote_host: forwarding.plan.target.remote_host.as_deref(),
            remote_port: forwarding.plan.target.port.unwrap_or_default(),
        });
    }
    pool.context.reporter.hint("Press Ctrl-C to stop forwarding");
    let warm = if is_url { 0 } else { args.warm };
    let (count, warm_for) = (warm, Duration::from_secs(args.warm_for));
    for forwarding in forwardings {
        let pool = Rc::clone(pool);
        accepting.spawn_local(async move {
            forwarding.keep_warm(&pool, count, warm_for).await;
            None
        });
    }
    let live = pool.context.reporter.clone();
    let mut program = Program::start(&args.command, addresses)?;
    let mut live = std::pin::pin!(live.keep_live());
    loop {
        tokio::select! {
            never = &mut live => match never {},
            signal = signals.next() => match &program {
                // The program decides what a signal means, and its end is ours.
                Some(program) => program.signal(signal),
                None => return Ok(Done::By(signal)),
            },
            code = exec::ended(&mut program) => return Ok(Done::Code(code?)),
            Some(ended) = accepting.join_next() => if let Some(done) = done(ended) {
                return Ok(done);
            },
        }
    }
}

/// What the end of an accepting task means for the command: with `--once`, that it is over.
fn done(ended: std::result::Result<Option<ExitCode>, JoinError>) -> Option<Done> {
    match ended {
        Ok(Some(ExitCode::Ok)) => Some(Done::Normally),
        Ok(Some(code)) => Some(Done::Code(code as u8)),
        _ => None,
    }
}

/// What the end of the command waits for, if it waits.
fn waiting(open: usize, grace: Duration, signal: Signal) -> Option<String> {
    let (connections, them) = match open {
        0 => return None,
        1 => ("1 open connection".to_owned(), "it"),
        open => (format!("{open} open connections"), "them"),
    };
    let again = if signal == Signal::Interrupt { "Ctrl-C again" } else { "a second signal" };
    let seconds = grace.as_secs();
    (seconds > 0)
        .then(|| format!("waiting up to {seconds} s for {connections}; {again} ends {them}"))
}

/// Lets open connections come to their ends for a while; a second signal cuts that short. Returns
/// whether one of them failed.
async fn drain(
    pool: &Pool,
    phase: Phase,
    grace: Duration,
    mut accepting: Accepting,
    signals: &mut Signals,
) -> bool {
    let context = &pool.context;
    context.advance(phase);
    pool.clear();
    let mut failed = false;
    let mut ended = async || {
        while let Some(ended) = accepting.join_next().await {
            failed |= !matches!(ended, Ok(None | Some(ExitCode::Ok)));
        }
    };
    let notice = || {
        if phase == Phase::Delivering {
            let seconds = grace.as_secs();
            context.reporter.note(&format!(
                "waiting up to {seconds} s until what was sent has arrived; Ctrl-C ends it"
            ));
        }
    };
    tokio::select! {
        _ = timeout(grace, with_notice(notice, ended())) => {}
        _ = signals.next() => {}
    }
    context.advance(Phase::Closing);
    if timeout(CLEAN_UP, ended()).await.is_err() {
        debug!("some connections could not be closed in time");
        failed = true;
    }
    failed
}

fn plan(args: &cli::Forward, instance: &str, forward: &Forward) -> Result<Plan> {
    let target = Target {
        instance: instance.to_owned(),
        name: None,
        remote_host: forward.host.clone(),
        port: Some(forward.port),
    };
    Plan::new(target, &args.session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_what_it_waits_for() {
        let text = |open, seconds, signal| waiting(open, Duration::from_secs(seconds), signal);
        assert_eq!(
            text(1, 5, Signal::Interrupt).unwrap(),
            "waiting up to 5 s for 1 open connection; Ctrl-C again ends it"
        );
        assert_eq!(
            text(2, 60, Signal::Terminate).unwrap(),
            "waiting up to 60 s for 2 open connections; a second signal ends them"
        );
        assert!(text(0, 5, Signal::Interrupt).or(text(1, 0, Signal::Interrupt)).is_none());
    }
}
