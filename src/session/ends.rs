//! The calls that end sessions: where nobody waits for them they are tasks of their own.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::origin::Origin;
use super::plan::END_WITHIN;
use super::queue::Ending;
use crate::app::Cloud;
use crate::cloud::TerminalSession;

/// The calls that nobody waits for.
pub(crate) struct Ends {
    calls: RefCell<JoinSet<()>>,
    /// Resolves when the command is asked to stop.
    stopped: Shared<LocalBoxFuture<'static, ()>>,
    on_ended: Box<dyn Fn()>,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

impl Ends {
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
        let (ends, session) = (Rc::clone(self), Rc::clone(session));
        let (cloud, origin) = (cloud.clone(), origin.clone());
        self.calls.borrow_mut().spawn_local(async move {
            end(&cloud, &origin, &session, deadline, ends.stopped.clone()).await;
            drop(ending);
            (ends.on_ended)();
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
