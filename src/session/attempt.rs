//! One attempt at a session: from StartTerminalSession to EndTerminalSession, without a retry.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::agent::AgentLookUp;
use super::end_calls::end;
use super::error::SessionError;
use super::event::{OnEvent, SessionEvent};
use super::failure::{NotDialled, SessionFailure};
use super::plan::{Plan, When};
use super::queue::Ending;
use crate::app::Cloud;
use crate::cloud::{self, TerminalSession};
use crate::gateway::connection::{GatewayConnection, NotReconnected, Reconnect};
use crate::gateway::dial::{DialError, Preconnect, dial, reconnect};
use crate::gateway::driver::{Driver, Outcome};
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::LocalSide;
use crate::gateway::redactor::Redactor;
use session_manager_proto::session::{End, Session};

/// How long to wait for a call that may have started a session, so that it can be ended.
const ANSWER_WITHIN: Duration = Duration::from_millis(1200);
/// How long both of these may take together.
const ANSWER_AND_END_WITHIN: Duration = Duration::from_millis(1900);
/// How long the close of a WebSocket may take, at most, before that call.
const CLOSED_WITHIN: Duration = Duration::from_millis(600);
/// How a session that did not fail went.
#[derive(Debug)]
pub(crate) enum SessionOutcome {
    /// It was open, and has ended.
    Ended(Outcome),
    /// It was stopped before it was open, or nobody was left to use it.
    Stopped,
}

/// Starts a session, copies bytes between it and the local side, and ends it, however that comes
/// about, while the local side may still be taking what came last. The call that ends it is waited for,
/// unless the plan leaves it to [`EndCalls`](super::end_calls::EndCalls).
///
/// `stop` asks for an early end; all of the clean-up takes 2 seconds at most.
///
/// # Errors
/// When no session can be started or dialled, and when it fails.
pub(super) async fn attempt(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
    stop: impl Future<Output = ()>,
    on_event: OnEvent<'_>,
) -> std::result::Result<SessionOutcome, SessionError> {
    let mut stop = stop.boxed_local().shared();
    let agent = plan.agent(cloud);
    // The gateway is connected to while the API is called, if it is known from the last session.
    let addr = cloud.gateway.borrow().clone();
    let mut ahead = addr.map(|addr| Preconnect::new(addr, &cloud.net));
    let started = {
        let started = beside(query_at_once(agent), start(cloud, plan, local, &mut stop));
        let made = async {
            let is_made = match &mut ahead {
                Some(ahead) => ahead.made().await,
                None => false,
            };
            debug!("connected to the gateway ahead of the session: {is_made}");
        };
        beside(Some(made), started).await?
    };
    let Some(session) = started else { return Ok(SessionOutcome::Stopped) };
    let session = Rc::new(session);
    on_event(SessionEvent::Started(&session));
    let (closed, ended_at, ending) = (Notify::new(), Cell::new(None), Cell::new(None));
    let watch = |event: SessionEvent<'_>| {
        let is_closed = matches!(event, SessionEvent::Closed);
        if matches!(event, SessionEvent::Ended) {
            ended_at.set(Some(Instant::now()));
        }
        on_event(event);
        if is_closed {
            // One that was never connected has taken no place.
            ending.set(plan.queue().map(Ending::new));
            closed.notify_one();
        }
    };
    let stopped = stop.clone();
    let outcome = async {
        let session = (&*session, agent);
        let outcome = dial_and_run(cloud, plan, session, ahead, local, &mut stop, &watch).await;
        // It is not reported where there was nothing to close. A second event changes nothing.
        closed.notify_one();
        outcome
    };
    let ended = async {
        closed.notified().await;
        let now = Instant::now();
        let earliest = now.checked_sub(CLOSED_WITHIN).unwrap_or(now);
        let since = ended_at.get().unwrap_or(now).max(earliest);
        let (deadline, ending) = (since + plan.end_within, ending.take());
        match &plan.end_calls {
            Some(end_calls) => end_calls.begin(cloud, &plan.origin, &session, deadline, ending),
            None => {
                end(cloud, &plan.origin, &session, deadline, stopped).await;
                drop(ending);
            }
        }
    };
    let (outcome, ()) = tokio::join!(outcome, ended);
    match outcome? {
        SessionOutcome::Ended(Outcome {
            end: End::Failed(failure),
            not_arrived,
            slept,
            input_ended,
            ..
        }) => {
            let target = plan.target.clone();
            let (finding, request_id) = (None, session.request_id.clone());
            let url_is_given = plan.origin.is_url();
            Err(SessionFailure {
                failure,
                target,
                finding,
                request_id,
                url_is_given,
                not_arrived,
                slept,
                input_ended,
            }
            .into())
        }
        outcome => Ok(outcome),
    }
}

/// The query of the agent's version, if it begins at once.
fn query_at_once(agent: Option<(AgentLookUp<'_>, When)>) -> Option<impl Future> {
    agent.filter(|(_, when)| *when == When::AtOnce).map(|(agent, _)| agent.query())
}

/// Waits for something while another thing is done, which is not waited for.
async fn beside<T>(other: Option<impl Future>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Some(other) = other {
        tokio::select! {
            biased;
            done = work.as_mut() => return done,
            _ = other => {}
        }
    }
    work.await
}

/// Starts a session, or gives nothing when there is no use for it any more.
async fn start(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
    stop: impl Future<Output = ()>,
) -> std::result::Result<Option<TerminalSession>, cloud::Error> {
    let (request, unwanted) = (plan.request(), Notify::new());
    let call = plan.origin.start(cloud, &request, unwanted.notified());
    let mut call = std::pin::pin!(call);
    tokio::select! {
        session = &mut call => return Ok(Some(session?)),
        () = stop => {}
        () = local.closed() => {}
    }
    debug!("asked to end while the session was being started");
    let deadline = Instant::now() + ANSWER_AND_END_WITHIN;
    unwanted.notify_one();
    if let Ok(Ok(session)) = timeout(ANSWER_WITHIN, call).await {
        plan.origin.end(cloud, &session, deadline).await;
    }
    Ok(None)
}

async fn dial_and_run(
    cloud: &Cloud,
    plan: &Plan,
    (session, agent): (&TerminalSession, Option<(AgentLookUp<'_>, When)>),
    ahead: Option<Preconnect<'_>>,
    local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
    mut stop: impl Future<Output = ()> + Unpin,
    on_event: OnEvent<'_>,
) -> std::result::Result<SessionOutcome, NotDialled> {
    let dialled = async {
        let (url, token) = (&session.websocket_url, &session.security_token);
        dial(url, token, &cloud.net, ahead).await
    };
    let (socket, addr) = tokio::select! {
        dialled = beside(query_at_once(agent), dialled) => {
            let request_id = session.request_id.clone();
            let url_is_given = plan.origin.is_url();
            dialled.map_err(|error| NotDialled { error, request_id, url_is_given })?
        }
        () = &mut stop => return Ok(SessionOutcome::Stopped),
        () = local.closed() => return Ok(SessionOutcome::Stopped),
    };
    debug!("connected to the gateway");
    on_event(SessionEvent::Connected);
    cloud.gateway.replace(Some(addr));
    let core = Session::new(Instant::now(), plan.config());
    let (url, token, net) = (&session.websocket_url, &session.security_token, &cloud.net);
    let reconnect = move |channel_id: Bytes| -> Reconnect<'_> {
        Box::pin(async move {
            let reconnected = reconnect(url, token, &channel_id, net).await;
            reconnected.map_err(|error| not_reconnected(&error))
        })
    };
    let redactor = Redactor::of(url.expose_secret(), token.expose_secret());
    let slot_requested = || plan.slot_requested();
    let gateway = GatewayConnection {
        reconnect: &reconnect,
        redactor,
        agent: agent.map(|(agent, _)| agent.generations()),
        agent_is_queried: agent.is_some_and(|(_, when)| when == When::AtOnce),
        slot_requested: &slot_requested,
        window: plan.window(),
    };
    let driver = Driver::new(socket, gateway, core, on_event);
    Ok(SessionOutcome::Ended(driver.run(local, stop).await))
}

/// A gateway that restarts may refuse for a while. What it forbids stays forbidden.
fn not_reconnected(error: &DialError) -> NotReconnected {
    let is_final = match error {
        DialError::Refused { status, .. } => matches!(status.as_u16(), 401 | 403 | 410),
        DialError::Url(_) | DialError::TlsSetup(_) => true,
        _ => false,
    };
    let detail = match error {
        DialError::Connect { cause, .. } | DialError::Resolve { cause, .. } => format!(": {cause}"),
        _ => String::new(),
    };
    NotReconnected { how: format!("{error}{detail}"), is_final }
}
