//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{Cloud, Done, Mistake, Plain, Result};
use crate::cli::{self, Global};
use crate::cloud::{Client, ConnectionType, InstanceState, StartTerminalSession, TerminalSession};
use crate::explain::ExitCode;
use crate::proto::session::{Config, End, Session};
use crate::shutdown::{Signal, Signals};
use crate::tunnel::dial::dial;
use crate::tunnel::driver::{Outcome, splice};
use crate::tunnel::endpoint::{self, Endpoint, LocalWrite, Stdin, Stdout};
use crate::tunnel::error::{SessionError, Target};

/// The port on which the far side is known to speak first.
const SSH: u16 = 22;
/// How long EndTerminalSession may take; the quota is given back without it too, only later.
const END_WITHIN: Duration = Duration::from_millis(700);
/// How long to wait for a call that may have started a session, so that it can be ended.
const ANSWER_WITHIN: Duration = Duration::from_millis(1200);
/// How long to look for the cause when a session did not open.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// Runs the command until either side has ended, or a signal comes.
pub(super) async fn run(global: &Global, args: &cli::Proxy) -> Result<Done> {
    let target = target(args)?;
    let mut signals =
        Signals::new().map_err(|error| Plain(format!("cannot listen for signals: {error}")))?;
    let mut local = endpoint::stdio()
        .map_err(|error| Plain(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = Cloud::open(global)?;
    let Some(started) = start(&cloud.client, args, &target, &mut signals, &mut local).await? else {
        return Ok(Done::Normally);
    };
    let (session, signal) = match started {
        Started::Session(session) => (session, Cell::new(None)),
        Started::Interrupted(signal) => return Ok(Done::By(signal)),
    };

    // The session is ended once its WebSocket is closed, however that comes about, while the local
    // side may still be taking what came last.
    let (closed, is_closed) = oneshot::channel();
    let carry = carry(&cloud, args, &session, &mut signals, local, &signal, closed);
    let end = async {
        let _ = is_closed.await;
        end(&cloud.client, &session).await;
    };
    let (carried, ()) = tokio::join!(carry, end);

    if let Some(signal) = signal.get() {
        return Ok(Done::By(signal));
    }
    let Some(outcome) = carried? else { return Ok(Done::Normally) };
    info!("{} bytes sent, {} bytes received", outcome.sent, outcome.delivered);
    match outcome.end {
        End::Failed(failure) => {
            let request_id = session.request_id.clone();
            let mut error = SessionError { failure, target, finding: None, request_id };
            if error.did_not_open() {
                let look = look(&cloud.client, &error.target.instance);
                tokio::select! {
                    finding = look => error.finding = finding,
                    signal = signals.next() => return Ok(Done::By(signal)),
                }
            }
            Err(error.into())
        }
        End::Remote(_) if !outcome.has_output => {
            warn!("{target} took the connection and closed it without a word");
            Ok(Done::Normally)
        }
        End::Remote(_) | End::Local => Ok(Done::Normally),
    }
}

/// What came of the attempt to start a session.
enum Started {
    Session(TerminalSession),
    Interrupted(Signal),
}

/// Starts a session. `None` says that nobody is left to use it.
async fn start(
    client: &Client,
    args: &cli::Proxy,
    target: &Target,
    signals: &mut Signals,
    local: &mut Endpoint<Stdin, Stdout>,
) -> Result<Option<Started>> {
    let mut request = StartTerminalSession::to_port(&target.instance, target.port);
    request.target_server = target.remote_host.clone();
    request.connection_type = args.connection_type.map(|kind| match kind {
        cli::ConnectionType::Internet => ConnectionType::Internet,
        cli::ConnectionType::Intranet => ConnectionType::Intranet,
    });
    let mut call = std::pin::pin!(client.start_terminal_session(&request));
    let interrupted = tokio::select! {
        session = &mut call => return Ok(Some(Started::Session(session?))),
        signal = signals.next() => Some(Started::Interrupted(signal)),
        () = local.writer.closed() => None,
    };
    debug!("asked to end while the session was being started");
    if let Ok(Ok(session)) = timeout(ANSWER_WITHIN, call).await {
        end(client, &session).await;
    }
    Ok(interrupted)
}

/// Dials the gateway and carries bytes until the end. `None` says that nobody was left to use it,
/// or that a signal came, which is then in `ended_by`.
async fn carry(
    cloud: &Cloud,
    args: &cli::Proxy,
    session: &TerminalSession,
    signals: &mut Signals,
    mut local: Endpoint<Stdin, Stdout>,
    ended_by: &Cell<Option<Signal>>,
    closed: oneshot::Sender<()>,
) -> Result<Option<Outcome>> {
    let socket = tokio::select! {
        socket = dial(&session.websocket_url, &session.security_token, &cloud.tls) => socket?,
        signal = signals.next() => {
            ended_by.set(Some(signal));
            return Ok(None);
        }
        () = local.writer.closed() => return Ok(None),
    };
    debug!("connected to the gateway");
    let core = Session::new(Instant::now(), config(args));
    let shutdown = async { ended_by.set(Some(signals.next().await)) };
    let outcome = splice(socket, core, local, shutdown, || {
        let _ = closed.send(());
    });
    Ok(Some(outcome.await))
}

/// Ends a session, as far as that is possible in a short time.
async fn end(client: &Client, session: &TerminalSession) {
    match timeout(END_WITHIN, client.end_terminal_session(&session.session_id)).await {
        Ok(Ok(())) => debug!("the session is ended"),
        Ok(Err(error)) => debug!("cannot end the session: {error}"),
        Err(_) => debug!("the API did not answer in time whether the session is ended"),
    }
}

/// What the instance's state says about a session that did not open.
async fn look(client: &Client, instance: &str) -> Option<String> {
    let calls =
        async { tokio::join!(client.instance_status(instance), client.agent_status(instance)) };
    let (instance_status, agent) = timeout(LOOK_WITHIN, calls).await.ok()?;
    match instance_status.ok().flatten().map(|status| status.state) {
        None | Some(InstanceState::Running) => {}
        Some(state) => return Some(format!("the instance does not run: it is {state:?}")),
    }
    let agent = agent.ok()??;
    if agent.online == Some(false) {
        return Some("the instance's Cloud Assistant agent is not online".to_owned());
    }
    if agent.supports_sessions == Some(false) {
        let version = agent.version.unwrap_or_else(|| "unknown".to_owned());
        return Some(format!(
            "the instance's Cloud Assistant agent (version {version}) does not support sessions"
        ));
    }
    None
}

fn config(args: &cli::Proxy) -> Config {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis());
    let seconds = |value| (value > 0).then(|| Duration::from_secs(value));
    Config {
        server_first: args.port == SSH,
        ready_delay: Duration::from_secs_f64(args.ready_delay),
        keepalive: seconds(args.keepalive),
        idle_timeout: seconds(args.idle_timeout),
        ..Config::new(u64::try_from(unix_ms).unwrap_or(u64::MAX))
    }
}

fn target(args: &cli::Proxy) -> Result<Target> {
    let id = &args.target;
    let tail = id.strip_prefix("i-").or_else(|| id.strip_prefix("mi-")).unwrap_or_default();
    if tail.is_empty() || !tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Mistake {
            what: format!("{id:?} is not the id of an instance"),
            remedy: "give an id as the ECS console shows it: i-… for an ECS instance, mi-… for a \
                     managed one"
                .to_owned(),
            exit_code: ExitCode::Usage,
        }
        .into());
    }
    if let Some(host) = &args.remote_host
        && (host.is_empty()
            || host.len() > 128
            || host.contains(|c: char| c.is_whitespace() || c.is_control()))
    {
        return Err(Mistake {
            what: format!("{host:?} is not a host"),
            remedy: "give --remote-host a name or an address of at most 128 characters, as the \
                     instance would use it"
                .to_owned(),
            exit_code: ExitCode::Usage,
        }
        .into());
    }
    Ok(Target { instance: id.clone(), remote_host: args.remote_host.clone(), port: args.port })
}
