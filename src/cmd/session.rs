//! One session from StartTerminalSession to EndTerminalSession, as every subcommand needs it.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{FusedFuture, LocalBoxFuture, Shared};
use secrecy::ExposeSecret as _;
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};
use tracing::debug;

use super::agent::AgentVersions;
use super::broken::Broken;
use super::look::look_for_session;
use super::queue::{Queue, carry_queued};
use super::target::Found;
use super::{Cloud, Mistake, Result};
use crate::cli;
use crate::cloud::{self, Client, ConnectionType, StartTerminalSession, TerminalSession};
use crate::explain::ExitCode;
use crate::proto::session::{Config, End, Failure, Keepalive, RemoteEnd, Session};
use crate::tunnel::dial::{DialError, Line, connect, dial, redial};
use crate::tunnel::driver::{Notice, Observer, Outcome, splice};
use crate::tunnel::endpoint::{Endpoint, LocalWrite};
use crate::tunnel::error::{NotDialled, SessionError, Target};
use crate::tunnel::hidden::Hidden;
use crate::tunnel::wire::{AgentLookUp, NotRedialled, Redialling, Wire};

/// The port on which the far side is known to speak first.
const SSH: u16 = 22;
/// How long EndTerminalSession may take, from when a session has ended: the last frames and the close
/// of its WebSocket may take half of it, and a new connection to the API may be needed. The quota is
/// given back without it too, only later. An ssh that has ended waits for this.
const END_WITHIN: Duration = Duration::from_millis(1300);
/// The same where nobody waits for it, until the command is asked to stop.
const END_WITHIN_UNAWAITED: Duration = Duration::from_secs(5);
/// How long to wait for a call that may have started a session, so that it can be ended.
const ANSWER_WITHIN: Duration = Duration::from_millis(1200);
/// How long both of these may take together.
const ANSWER_AND_END_WITHIN: Duration = Duration::from_millis(1900);
/// How long the close of a WebSocket may take, at most, before that call.
const CLOSED_WITHIN: Duration = Duration::from_millis(600);
/// After how much silence of this side a keepalive is sent, unless something else is asked for.
const KEEPALIVE: Duration = Duration::from_secs(50);

/// What sessions of one kind are to be like.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Target,
    connection_type: Option<ConnectionType>,
    /// Whether the far side is known to speak first.
    server_first: bool,
    ready_delay: Duration,
    keepalive: Keepalive,
    idle_timeout: Option<Duration>,
    linger: Duration,
    agents: Option<(Rc<AgentVersions>, Ask)>,
    end_within: Duration,
    queue: Option<Rc<Queue>>,
    /// Whether bytes of the local side may have been read for an earlier session.
    was_read: bool,
}

/// When the version of the instance's agent is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Beside the call that starts the session.
    AtOnce,
    /// Once the stream is known not to be SSH's, for which it changes nothing.
    IfNotSsh,
}

impl Plan {
    /// A plan from the command line.
    ///
    /// # Errors
    /// When the host is not a host.
    pub(super) fn new(target: Target, options: &cli::Session) -> Result<Self> {
        check(&target)?;
        let server_first = target.port == SSH;
        let seconds = |value| (value > 0).then(|| Duration::from_secs(value));
        Ok(Self {
            target,
            connection_type: options.connection_type.map(|kind| match kind {
                cli::ConnectionType::Internet => ConnectionType::Internet,
                cli::ConnectionType::Intranet => ConnectionType::Intranet,
            }),
            server_first,
            ready_delay: Duration::from_secs_f64(options.ready_delay),
            keepalive: match options.keepalive.map(seconds) {
                None => Keepalive::ByAgent(KEEPALIVE),
                Some(None) => Keepalive::Never,
                Some(Some(after)) => Keepalive::Always(after),
            },
            idle_timeout: seconds(options.idle_timeout),
            linger: Duration::from_secs(options.linger),
            agents: None,
            end_within: END_WITHIN,
            queue: None,
            was_read: false,
        })
    }

    /// The same for sessions whose EndTerminalSession nobody waits for.
    pub(super) fn unawaited(self) -> Self {
        Self { end_within: END_WITHIN_UNAWAITED, ..self }
    }

    /// The same for sessions that heed the version of the instance's agent. On port 22 it changes
    /// nothing.
    pub(super) fn heeding(self, agents: &Rc<AgentVersions>, ask: Ask) -> Self {
        let agents = (!self.server_first).then(|| (Rc::clone(agents), ask));
        Self { agents, ..self }
    }

    /// The same for sessions that wait for a place where a quota is full.
    pub(super) fn queued(self, queue: &Rc<Queue>) -> Self {
        Self { queue: Some(Rc::clone(queue)), ..self }
    }

    /// The same for a further session of a local side that has been read already.
    pub(super) fn again(&self) -> Self {
        Self { was_read: true, ..self.clone() }
    }

    /// Whether bytes of the local side may have been read for an earlier session.
    pub(super) fn was_read(&self) -> bool {
        self.was_read
    }

    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queue.as_deref()
    }

    /// What is known of the instance's agent, and what is asked for.
    fn agent<'a>(&'a self, cloud: &'a Cloud) -> (Shared<AgentLookUp<'a>>, bool) {
        match &self.agents {
            Some((agents, ask)) => {
                (agents.look_up(cloud, &self.target.instance), *ask == Ask::AtOnce)
            }
            None => (std::future::pending().boxed_local().shared(), false),
        }
    }

    /// The same for the instance that was found.
    pub(super) fn to(&self, found: &Found) -> Self {
        let (instance, name) = (found.id.clone(), found.name.clone());
        Self { target: Target { instance, name, ..self.target.clone() }, ..self.clone() }
    }

    /// The same for a session in which nothing is to be said: a target that should speak first and
    /// does not is told like any other.
    pub(super) fn for_listening(&self) -> Self {
        Self { server_first: false, ..self.clone() }
    }

    fn request(&self) -> StartTerminalSession {
        let mut request = StartTerminalSession::to_port(&self.target.instance, self.target.port);
        request.target_server = self.target.remote_host.clone();
        request.connection_type = self.connection_type;
        request
    }

    fn config(&self) -> Config {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = now.map_or(1, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Config {
            server_first: self.server_first,
            ready_delay: self.ready_delay,
            keepalive: self.keepalive,
            idle_timeout: self.idle_timeout,
            linger: self.linger,
            random: random(),
            ..Config::new(unix_ms)
        }
    }
}

/// An observer that is also told which session it is.
pub(super) trait Witness: Observer {
    /// The API has started the session.
    fn started(&self, _session: &TerminalSession) {}

    /// Whether it waits for a place where a quota is full.
    fn may_wait(&self) -> bool {
        true
    }

    /// The gateway has accepted it.
    fn connected(&self) {}

    /// The API has ended it, or did not answer in time.
    fn given_back(&self) {}
}

/// How a session that did not fail went.
#[derive(Debug)]
pub(super) enum Carried {
    /// It was open, and has ended.
    Ended(Outcome),
    /// It was stopped before it was open, or nobody was left to use it.
    Stopped,
}

/// Starts a session, carries bytes between it and the local side, and ends it, however that comes
/// about, while the local side may still be taking what came last.
///
/// `stop` asks for an early end; all of the clean-up takes 2 seconds at most.
///
/// # Errors
/// When no session can be started or dialled, and when it fails. A session that did not open is
/// looked into, for 3 seconds at most.
pub(super) async fn carry<R, W>(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut Endpoint<R, W>,
    stop: impl Future<Output = ()>,
    observer: &impl Witness,
) -> std::result::Result<Carried, Broken>
where
    R: AsyncRead + Unpin,
    W: LocalWrite,
{
    let mut stop = std::pin::pin!(stop.fuse());
    let carried = carry_queued(cloud, plan, local, stop.as_mut(), observer).await;
    if let (
        Ok(Carried::Ended(Outcome { end: End::Remote(RemoteEnd::Idle), .. })),
        Some((agents, _)),
    ) = (&carried, &plan.agents)
    {
        agents.warn_of_idle_end(cloud, &plan.target.instance);
    }
    let mut broken = match carried {
        Err(broken) if broken.is_unexplained() => broken,
        carried => return carried,
    };
    tokio::select! {
        seen = look_for_session(&cloud.client, &plan.target.instance) => broken.explain(seen),
        () = stop => {}
        // Nobody is left who wants to know.
        () = local.writer.closed() => {}
    }
    Err(broken)
}

/// The same without a look into what has failed, and without waiting for a place.
///
/// # Errors
/// As [`carry`].
pub(super) async fn carry_only<R, W>(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut Endpoint<R, W>,
    stop: impl Future<Output = ()>,
    observer: &impl Witness,
) -> std::result::Result<Carried, Broken>
where
    R: AsyncRead + Unpin,
    W: LocalWrite,
{
    let mut stop = stop.boxed_local().shared();
    let (look_up, is_at_once) = plan.agent(cloud);
    let agent = is_at_once.then(|| look_up.clone());
    // The way to the gateway is made while the API is asked, if it is known from the last session.
    let line = async {
        let place = cloud.gateway.borrow().clone()?;
        connect(place, &cloud.net).await.ok()
    };
    let mut line = std::pin::pin!(line.fuse());
    let started = {
        let started = beside(agent.as_ref(), start(cloud, plan, local, &mut stop));
        let mut started = std::pin::pin!(started);
        let mut early = None;
        let session = loop {
            tokio::select! {
                session = &mut started => break session?,
                made = &mut line => {
                    debug!("connected to the gateway ahead of the session: {}", made.is_some());
                    early = made;
                }
            }
        };
        session.map(|session| (session, early))
    };
    let Some((session, early)) = started else { return Ok(Carried::Stopped) };
    let line = async {
        // What is half made is nearer than a new beginning.
        match early {
            None if !line.is_terminated() => line.await,
            early => early,
        }
    };
    observer.started(&session);
    let closed = Notify::new();
    let watch = Watch { observer, closed: &closed, ended: Cell::new(None) };
    let hurry = stop.clone();
    let carried = async {
        let session = (&session, look_up, is_at_once);
        let carried = dial_and_splice(cloud, plan, session, line, local, &mut stop, &watch).await;
        // It is not told where there was nothing to close. A second notice changes nothing.
        closed.notify_one();
        carried
    };
    let ended = async {
        closed.notified().await;
        let now = Instant::now();
        let earliest = now.checked_sub(CLOSED_WITHIN).unwrap_or(now);
        let since = watch.ended.get().unwrap_or(now).max(earliest);
        let hurry = async {
            hurry.await;
            sleep(END_WITHIN).await;
        };
        tokio::select! {
            () = end(&cloud.client, &session, since + plan.end_within) => {}
            () = hurry => debug!("the session may not be ended: the command was asked to stop"),
        }
        observer.given_back();
    };
    let (carried, ()) = tokio::join!(carried, ended);
    match carried? {
        Carried::Ended(Outcome { end: End::Failed(failure), .. }) => {
            Err(failed(plan, &session, failure).into())
        }
        carried => Ok(carried),
    }
}

/// Waits for something while the agent's version is looked up, which is not waited for.
async fn beside<T>(agent: Option<&Shared<AgentLookUp<'_>>>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Some(agent) = agent {
        tokio::select! {
            biased;
            done = work.as_mut() => return done,
            _ = agent.clone() => {}
        }
    }
    work.await
}

fn failed(plan: &Plan, session: &TerminalSession, failure: Failure) -> SessionError {
    SessionError {
        failure,
        target: plan.target.clone(),
        finding: None,
        request_id: session.request_id.clone(),
    }
}

/// An observer that also tells when it is time to end the session with the API.
struct Watch<'a, O> {
    observer: &'a O,
    closed: &'a Notify,
    /// When the session has ended, if it ever was one.
    ended: Cell<Option<Instant>>,
}

impl<O: Observer> Observer for Watch<'_, O> {
    fn ready(&self) {
        self.observer.ready();
    }

    fn reached(&self) {
        self.observer.reached();
    }

    fn notice(&self, notice: Notice) {
        self.observer.notice(notice);
    }

    fn carried(&self, sent: u64, delivered: u64) {
        self.observer.carried(sent, delivered);
    }

    fn place_wanted(&self) -> LocalBoxFuture<'_, ()> {
        self.observer.place_wanted()
    }

    fn ended(&self) {
        self.ended.set(Some(Instant::now()));
        self.observer.ended();
    }

    fn closed(&self) {
        self.observer.closed();
        self.closed.notify_one();
    }
}

/// Starts a session, or gives nothing when there is no use for it any more.
async fn start<R, W: LocalWrite>(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut Endpoint<R, W>,
    stop: impl Future<Output = ()>,
) -> std::result::Result<Option<TerminalSession>, cloud::Error> {
    let (request, unwanted) = (plan.request(), Notify::new());
    let call = cloud.client.start_terminal_session(&request, unwanted.notified());
    let mut call = std::pin::pin!(call);
    tokio::select! {
        session = &mut call => return Ok(Some(session?)),
        () = stop => {}
        () = local.writer.closed() => {}
    }
    debug!("asked to end while the session was being started");
    let deadline = Instant::now() + ANSWER_AND_END_WITHIN;
    unwanted.notify_one();
    if let Ok(Ok(session)) = timeout(ANSWER_WITHIN, call).await {
        end(&cloud.client, &session, deadline).await;
    }
    Ok(None)
}

async fn dial_and_splice<R, W>(
    cloud: &Cloud,
    plan: &Plan,
    (session, agent, is_at_once): (&TerminalSession, Shared<AgentLookUp<'_>>, bool),
    line: impl Future<Output = Option<Line>>,
    local: &mut Endpoint<R, W>,
    mut stop: impl Future<Output = ()> + Unpin,
    observer: &Watch<'_, impl Witness>,
) -> std::result::Result<Carried, NotDialled>
where
    R: AsyncRead + Unpin,
    W: LocalWrite,
{
    let dialled = async {
        let (url, token) = (&session.websocket_url, &session.security_token);
        dial(url, token, &cloud.net, line.await).await
    };
    let (socket, place) = tokio::select! {
        dialled = beside(is_at_once.then_some(&agent), dialled) => {
            let request_id = session.request_id.clone();
            dialled.map_err(|error| NotDialled { error, request_id })?
        }
        () = &mut stop => return Ok(Carried::Stopped),
        () = local.writer.closed() => return Ok(Carried::Stopped),
    };
    debug!("connected to the gateway");
    observer.observer.connected();
    cloud.gateway.replace(Some(place));
    let core = Session::new(Instant::now(), plan.config());
    let (url, token, net) = (&session.websocket_url, &session.security_token, &cloud.net);
    let redial = move |channel_id: Bytes| -> Redialling<'_> {
        Box::pin(async move {
            let redialled = redial(url, token, &channel_id, net).await;
            redialled.map_err(|error| not_redialled(&error))
        })
    };
    let hidden = Hidden::of(url.expose_secret(), token.expose_secret());
    let wire = Wire {
        socket,
        redial: &redial,
        hidden,
        agent: agent.boxed_local(),
        agent_is_asked: is_at_once,
    };
    Ok(Carried::Ended(splice(wire, core, local, stop, observer).await))
}

/// A gateway that restarts may refuse for a while. What it forbids stays forbidden.
fn not_redialled(error: &DialError) -> NotRedialled {
    let is_final = match error {
        DialError::Refused { status, .. } => matches!(status.as_u16(), 401 | 403 | 410),
        DialError::Url(_) | DialError::TlsSetup(_) => true,
        _ => false,
    };
    let detail = match error {
        DialError::Connect { cause, .. } | DialError::Resolve { cause, .. } => format!(": {cause}"),
        _ => String::new(),
    };
    NotRedialled { how: format!("{error}{detail}"), is_final }
}

/// Ends a session, as far as that is possible in a short time.
async fn end(client: &Client, session: &TerminalSession, deadline: Instant) {
    let ending = client.end_terminal_session(&session.session_id);
    match timeout_at(deadline.into(), ending).await {
        Ok(Ok(())) => debug!("the session is ended"),
        Ok(Err(error)) => debug!("cannot end the session: {error}"),
        Err(_) => debug!("the API did not answer in time whether the session is ended"),
    }
}

/// A seed. Without randomness there is no jitter, and nothing else is wrong.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn check(target: &Target) -> Result<()> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if let Some(host) = &target.remote_host
        && (host.is_empty() || host.len() > 128 || host.contains(odd))
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
    Ok(())
}
