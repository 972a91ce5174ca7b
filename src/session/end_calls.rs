//! The calls that end sessions: where nobody waits for them they are tasks of their own.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::origin::Origin;
use super::queue::Ending;
use crate::app::Cloud;
use crate::cloud::TerminalSession;

/// How long EndTerminalSession may take, from when a session has ended: the last frames and the close
/// of its WebSocket may take 0.6 s of it, and a new connection to the API may be needed, which takes
/// three round trips. The quota is given back without it too, only later. An ssh that has ended waits
/// for this, and `proxy` is gone within 2 s.
pub(super) const END_WITHIN: Duration = Duration::from_millis(1600);

/// The calls that nobody waits for.
pub(crate) struct EndCalls {
    calls: RefCell<JoinSet<()>>,
    /// Resolves when the command is asked to stop.
    stopped: Shared<LocalBoxFuture<'static, ()>>,
    on_ended: Box<dyn Fn()>,
}

impl fmt::Debug for EndCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndCalls").finish_non_exhaustive()
    }
}

impl EndCalls {
    /// Calls that are cut short once the command is asked to stop. `on_ended` follows each of them.
    pub(crate) fn new(
        stopped: impl Future<Output = ()> + 'static,
        on_ended: impl Fn() + 'static,
    ) -> Self {
        let stopped = stopped.boxed_local().shared();
        Self { calls: RefCell::default(), stopped, on_ended: Box::new(on_ended) }
    }

    /// Begins to end a session.
    pub(super) fn begin(
        self: &Rc<Self>,
        cloud: &Cloud,
        origin: &Origin,
        session: &Rc<TerminalSession>,
        deadline: Instant,
        ending: Option<Ending>,
    ) {
        let (end_calls, session) = (Rc::clone(self), Rc::clone(session));
        let (cloud, origin) = (cloud.clone(), origin.clone());
        self.calls.borrow_mut().spawn_local(async move {
            end(&cloud, &origin, &session, deadline, end_calls.stopped.clone()).await;
            drop(ending);
            (end_calls.on_ended)();
        });
    }

    /// Waits until all of them have ended.
    pub(crate) async fn all_ended(&self) {
        let mut calls = std::mem::take(&mut *self.calls.borrow_mut());
        while calls.join_next().await.is_some() {}
    }
}

/// Ends a session, as far as the API does so in time.
pub(super) async fn end(
    cloud: &Cloud,
    origin: &Origin,
    session: &TerminalSession,
    deadline: Instant,
    stopped: impl Future<Output = ()>,
) {
    let stopped = async {
        stopped.await;
        sleep(END_WITHIN).await;
    };
    tokio::select! {
        () = origin.end(cloud, session, deadline) => {}
        () = stopped => debug!("the session may not be ended: the command was asked to stop"),
    }
}
