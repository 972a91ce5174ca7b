//! The pool of sessions: how many may be connected, those that are kept ready, and the tasks of all.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::channel::{Channel, Permit, Probed};
use super::context::{Context, Counted};
use super::warm::Warm;
use crate::app::Result;
use crate::session::plan::Plan;

/// The pool of sessions.
pub(crate) struct Pool {
    pub(crate) context: Rc<Context>,
    /// One for each session that may be connected.
    permits: Arc<Semaphore>,
    /// How many wait for a permit.
    waiting: Cell<usize>,
    has_noted_waiting: Cell<bool>,
    /// A permit has come free.
    pub(crate) freed: Rc<Notify>,
    /// Every session's task. A session is ended before its task is.
    tasks: RefCell<JoinSet<()>>,
    /// The sessions that are kept ready, those of each forward.
    warm: RefCell<Vec<Rc<Warm>>>,
}

impl Pool {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(context.max_connections)),
            context: Rc::new(context),
            waiting: Cell::new(0),
            has_noted_waiting: Cell::new(false),
            freed: Rc::default(),
            tasks: RefCell::default(),
            warm: RefCell::default(),
        }
    }

    /// Keeps sessions of one more forward.
    pub(crate) fn add(&self, warm: Rc<Warm>) {
        self.warm.borrow_mut().push(warm);
    }

    /// Begins to open a channel. The permit is held until its session is ended.
    pub(crate) fn open(&self, plan: &Plan, permit: Permit) -> Channel {
        let (channel, task) = Channel::new(&self.context, plan.clone(), None, permit);
        self.spawn(task);
        channel
    }

    /// The same for a probe, whose result is whether the target was reached. A failure before is the
    /// probe's, and not that of the connection that has the channel by then.
    pub(crate) fn probe(
        &self,
        plan: &Plan,
        permit: Permit,
    ) -> (Channel, oneshot::Receiver<Result<Probed>>) {
        let (probe, probed) = oneshot::channel();
        let (channel, task) = Channel::new(&self.context, plan.for_probe(), Some(probe), permit);
        self.spawn(task);
        (channel, probed)
    }

    /// Runs a session's task.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        // Tasks that have ended are removed here, or they would add up.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }

    /// Waits for the sessions' tasks to end, for as long as that may take.
    pub(crate) async fn sessions_ended(&self, within: Duration) {
        let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        if timeout(within, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            debug!("some sessions could not be ended in time");
        }
    }

    /// Lets one more session be connected, if that is possible at once.
    pub(crate) fn free_permit(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok().map(|permit| self.permit_of(permit))
    }

    fn permit_of(&self, permit: OwnedSemaphorePermit) -> Permit {
        Permit::new(permit, &self.freed)
    }

    /// Waits, in order, until one more session may be connected.
    pub(crate) async fn permit(&self) -> Permit {
        if let Some(permit) = self.free_permit() {
            return permit;
        }
        let _waiting = Counted::begin(&self.waiting);
        // A connection that is there goes before those that may come, and before those that linger.
        let evicted = self.warm.borrow().iter().any(|warm| warm.evict());
        let _request = (!evicted).then(|| self.context.queue.request_slot());
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => self.permit_of(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// The same for a connection; the first time that one has to wait is reported.
    pub(crate) async fn permit_for_connection(&self) -> Permit {
        let mut permit = std::pin::pin!(self.permit());
        tokio::select! {
            biased;
            permit = permit.as_mut() => return permit,
            () = std::future::ready(()) => {}
        }
        if !self.has_noted_waiting.replace(true) {
            self.context.reporter.note(&format!(
                "as many sessions as --max-connections allows ({}) are connected: further \
                 connections wait for their turn",
                self.context.max_connections
            ));
        }
        permit.await
    }

    /// A permit that nobody waits for.
    pub(crate) fn spare_permit(&self) -> Option<Permit> {
        let free = !self.is_crowded();
        free.then(|| self.free_permit()).flatten()
    }

    /// Whether anybody waits for a permit.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Ends the channels that are kept for connections, for every forward.
    pub(crate) fn clear(&self) {
        self.warm.borrow().iter().for_each(|warm| warm.clear());
    }
}
