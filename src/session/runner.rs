//! The session runner: tries until a session runs or nothing more can be done, and sees it to its end.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::attempt::{SessionOutcome, attempt};
use super::diagnose::diagnose_session;
use super::error::SessionError;
use super::event::{OnEvent, SessionEvent};
use super::plan::Plan;
use super::start::{Starter, is_of_starting, seen_down};
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::LocalSide;
use crate::target::finder::Found;
use session_manager_proto::session::{End, RemoteEnd};

/// The request of a session.
pub(crate) struct SessionRequest<'a> {
    pub(crate) found: &'a Found,
    /// What it is to be like, with this instance.
    pub(crate) plan: &'a Plan,
    /// What starts an instance that does not run.
    pub(crate) starter: Option<&'a Starter>,
    /// When the instance has to be up, once it was started.
    pub(crate) up_by: &'a Cell<Option<Instant>>,
}

/// Runs a session to its end. While a quota is full it waits for a place, if the plan has a queue;
/// an instance that does not run is started first, if there is a starter. What an attempt has taken
/// from the local side before its session opened is not lost to the next.
///
/// `cancel` asks for an early end; all of the clean-up takes 2 seconds at most.
///
/// # Errors
/// When no session can be started or dialled, and when it fails. The instance of one that did not open
/// is looked at, for 3 seconds at most.
pub(crate) async fn run(
    request: &SessionRequest<'_>,
    local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
    cancel: impl Future<Output = ()>,
    on_event: OnEvent<'_>,
) -> Result<SessionOutcome, SessionError> {
    let SessionRequest { found, plan, starter, up_by } = *request;
    let mut cancel = std::pin::pin!(cancel.fuse());
    local.rewind();
    let opening = Opening { is_open: local.is_settled(), is_down: Cell::new(false) };
    // One that does not open is ended where it is seen that its instance does not run.
    let down = async {
        seen_down(&found.cloud.client, &found.id, &opening.is_open).await;
        opening.is_down.set(true);
    };
    let mut down = std::pin::pin!(match starter {
        Some(_) => down.fuse(),
        None => Fuse::terminated(),
    });
    // A session that nobody uses yet is not worth a place in the queue.
    let may_wait = |local: &mut LocalSide<_, _>| plan.waits_unused || local.is_here();
    let mut turn = plan.queue().map(|queue| queue.turn(may_wait(local)));
    loop {
        let mut stop = std::pin::pin!(
            async {
                tokio::select! {
                    () = cancel.as_mut() => {}
                    () = down.as_mut(), if !down.is_terminated() => {}
                }
            }
            .fuse()
        );
        if let Some(turn) = turn.as_mut().filter(|turn| turn.waits()) {
            tokio::select! {
                turn = turn.wait() => turn?,
                () = stop.as_mut() => {}
                () = local.left() => return Ok(SessionOutcome::Stopped),
            }
        }
        let on_attempt_event = |event: SessionEvent<'_>| {
            if let Some(turn) = &turn {
                turn.on_event(&event);
            }
            if opening.takes(&event) {
                on_event(event);
            }
        };
        let mut result = match stop.is_terminated() {
            true => Ok(SessionOutcome::Stopped),
            false => attempt(&found.cloud, plan, local, stop.as_mut(), &on_attempt_event).await,
        };
        let is_stopped = stop.is_terminated();
        result = match (&mut turn, result) {
            (Some(turn), Err(error)) if turn.is_refusal(&error) => {
                if is_stopped {
                    Ok(SessionOutcome::Stopped)
                } else if let Some(error) = turn.refuse(error, may_wait(local)) {
                    Err(error)
                } else {
                    continue;
                }
            }
            (_, result) => result,
        };
        if let Err(error) = &mut result
            && plan.diagnoses
            && error.is_unexplained()
        {
            tokio::select! {
                seen = diagnose_session(&found.cloud.client, &found.id) => error.explain(seen),
                () = cancel.as_mut(), if !cancel.is_terminated() => {}
                // The local side has gone.
                () = local.closed() => {}
            }
        }
        let has_failed_to_open = match &result {
            _ if cancel.is_terminated() || opening.is_open.get() => false,
            Ok(_) => opening.is_down.get(),
            Err(error) => is_of_starting(error, up_by.get().is_some()),
        };
        let is_late = up_by.get().is_some_and(|by| Instant::now() >= by);
        let Some(starter) = starter.filter(|_| has_failed_to_open && !is_late) else {
            report_idle_end(plan, found, &result);
            return result;
        };
        opening.is_down.set(false);
        down.set(Fuse::terminated());
        tokio::select! {
            up = starter.bring_up(found, up_by) => up.map_err(SessionError::NotUp)?,
            () = cancel.as_mut() => return Ok(SessionOutcome::Stopped),
            () = local.closed() => return Ok(SessionOutcome::Stopped),
        }
        local.rewind();
        turn = plan.queue().map(|queue| queue.turn(may_wait(local)));
    }
}

/// Reports why an idle session was not kept open.
fn report_idle_end(plan: &Plan, found: &Found, result: &Result<SessionOutcome, SessionError>) {
    let idle = End::Remote(RemoteEnd::Idle);
    if let (Ok(SessionOutcome::Ended(Outcome { end, .. })), Some((agents, _))) =
        (result, &plan.agents)
        && *end == idle
    {
        agents.warn_of_idle_end(&found.cloud, &found.id);
    }
}

/// Whether one of the attempts has opened.
#[derive(Default)]
struct Opening {
    is_open: Rc<Cell<bool>>,
    /// Whether the session is being ended, since its instance does not run.
    is_down: Cell<bool>,
}

impl Opening {
    /// Whether an event is one to be told. A session of an instance that does not run may open while it is
    /// being ended: it is followed by another one all the same.
    fn takes(&self, event: &SessionEvent<'_>) -> bool {
        if matches!(event, SessionEvent::Ready) {
            if self.is_down.get() {
                return false;
            }
            self.is_open.set(true);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_being_ended_does_not_count_as_open() {
        let opening = Opening::default();
        opening.is_down.set(true);
        assert!(!opening.takes(&SessionEvent::Ready) && !opening.is_open.get());
        opening.is_down.set(false);
        assert!(opening.takes(&SessionEvent::Ready) && opening.is_open.get());
    }
}
