//! What all connections share.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Fuse, LocalBoxFuture};
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::forwarding::Forwarding;
use super::report::{Number, Reporter};
use crate::app::Result;
use crate::cli::{self, Global};
use crate::gateway::endpoint::{Endpoint, LocalWrite};
use crate::session::event::OnEvent;
use crate::session::plan::Plan;
use crate::session::queue::Queue;
use crate::session::start::Starter;
use crate::session::{SessionOutcome, SessionRequest, run};
use crate::target::finder::{Finder, Found, Instances, with_instance};

/// A connection that waits this long for its session is slow to whoever opened it.
const SLOW: Duration = Duration::from_secs(1);

/// How far the command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connections are taken.
    Serving,
    /// The one connection that was wanted is there.
    Taken,
    /// No more connections are taken; those that are open go on.
    Draining,
    /// Everything ends.
    Closing,
}

/// What all connections share.
pub(crate) struct Context {
    global: Global,
    starter: Option<Starter>,
    finder: Finder,
    /// The instance, until it turns out to be gone.
    found: RefCell<Found>,
    /// Held by the one who looks for another.
    looking: Mutex<()>,
    pub(crate) reporter: Reporter,
    phase: watch::Sender<Phase>,
    /// One for each session that may be connected.
    permits: Arc<Semaphore>,
    pub(crate) max_connections: usize,
    /// How many wait for a permit.
    waiting: Cell<usize>,
    waiting_told: Cell<bool>,
    /// How many connections have a channel.
    open: Cell<usize>,
    /// Whether `--warm` was named, or would have no effect.
    warm_told: Cell<bool>,
    /// Where sessions wait for the service's quota, and those that linger hear who needs their place.
    pub(crate) queue: Rc<Queue>,
    /// A permit has come free.
    pub(crate) freed: Notify,
    last_connection: Cell<Number>,
    /// Every session's task. A session is ended before its task is.
    tasks: RefCell<JoinSet<()>>,
    forwardings: RefCell<Vec<Rc<Forwarding>>>,
}

impl Context {
    pub(crate) fn new(
        global: &Global,
        args: &cli::Forward,
        finder: Finder,
        found: Found,
        reporter: Reporter,
        queue: Rc<Queue>,
    ) -> Self {
        let told = reporter.clone();
        Self {
            global: global.clone(),
            starter: Starter::new(&args.start, move |text| told.note(text)),
            finder,
            found: RefCell::new(found),
            looking: Mutex::default(),
            reporter,
            phase: watch::Sender::new(Phase::Serving),
            permits: Arc::new(Semaphore::new(args.max_connections)),
            max_connections: args.max_connections,
            waiting: Cell::new(0),
            waiting_told: Cell::new(false),
            open: Cell::new(0),
            warm_told: Cell::new(args.warm > 0 || args.once),
            queue,
            freed: Notify::new(),
            last_connection: Cell::new(0),
            tasks: RefCell::default(),
            forwardings: RefCell::default(),
        }
    }

    /// Makes a lane known, so that it gives way where others wait.
    pub(crate) fn add(&self, forwarding: Rc<Forwarding>) {
        self.forwardings.borrow_mut().push(forwarding);
    }

    /// Runs a session with the instance to its end.
    pub(crate) async fn run_session<'a, R, W>(
        &self,
        plan: &Plan,
        local: &'a mut Endpoint<R, W>,
        cancel: impl Future<Output = ()> + 'a,
        may_wait: &dyn Fn() -> bool,
        on_event: OnEvent<'_>,
    ) -> Result<SessionOutcome>
    where
        R: AsyncRead + Unpin,
        W: LocalWrite,
    {
        let mut side = Side { local, cancel: cancel.boxed_local().fuse() };
        let cancelled = async |side: &mut Side<'a, R, W>| {
            (&mut side.cancel).await;
            SessionOutcome::Stopped
        };
        let work = async |side: &mut Side<'a, R, W>, found: &Found| {
            let (starter, plan, up_by) = (self.starter.as_ref(), &plan.to(found), &Cell::new(None));
            let request = SessionRequest { found, plan, starter, up_by, may_wait };
            Ok(run(&request, side.local, &mut side.cancel, on_event).await?)
        };
        with_instance(self, &mut side, cancelled, work).await
    }

    /// The instance, with credentials as they are now.
    fn found(&self) -> Result<Found> {
        let mut found = self.found.borrow().clone();
        found.cloud = found.cloud.refreshed(&self.global)?;
        self.found.replace(found.clone());
        Ok(found)
    }

    /// Runs a session's task, which holds the permit until its session is ended.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        permit: OwnedSemaphorePermit,
        task: impl Future<Output = ()> + 'static,
    ) {
        let mut tasks = self.tasks.borrow_mut();
        // Nobody else asks for those that have ended, and they would add up.
        while tasks.try_join_next().is_some() {}
        let context = Rc::clone(self);
        tasks.spawn_local(async move {
            task.await;
            drop(permit);
            context.freed.notify_waiters();
        });
    }

    /// Waits for the sessions' tasks to end, for as long as that may take.
    pub(crate) async fn sessions_ended(&self, within: Duration) {
        let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        if timeout(within, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            debug!("some sessions could not be ended in time");
        }
    }

    /// Lets one more session be connected, if that is possible at once.
    pub(crate) fn free_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Waits, in order, until one more session may be connected.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        if let Some(permit) = self.free_permit() {
            return permit;
        }
        let _waiting = Waiting::begin(&self.waiting);
        // A connection that is there goes before those that may come, and before those that linger.
        let evicted = self.forwardings.borrow().iter().any(|forwarding| forwarding.evict_warm());
        let _wanted = (!evicted).then(|| self.queue.want_place());
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// The same for a connection; the first time that one has to wait is told.
    pub(crate) async fn permit_for_connection(&self) -> OwnedSemaphorePermit {
        let mut permit = std::pin::pin!(self.permit());
        tokio::select! {
            biased;
            permit = permit.as_mut() => return permit,
            () = std::future::ready(()) => {}
        }
        if !self.waiting_told.replace(true) {
            self.reporter.note(&format!(
                "as many sessions as --max-connections allows ({}) are connected: further \
                 connections wait for their turn",
                self.max_connections
            ));
        }
        permit.await
    }

    /// A permit that nobody waits for.
    pub(crate) fn spare_permit(&self) -> Option<OwnedSemaphorePermit> {
        let free = !self.is_crowded();
        free.then(|| self.free_permit()).flatten()
    }

    /// Whether anybody waits for a permit.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Counts a connection that has a channel, until the guard is dropped.
    pub(crate) fn count_open(&self) -> impl Drop + '_ {
        Waiting::begin(&self.open)
    }

    /// How many connections have a channel.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.get()
    }

    /// Names `--warm` on a terminal, the first time that a connection had to wait.
    pub(crate) fn connection_waited(&self, waited: Duration) {
        if waited >= SLOW && !self.warm_told.replace(true) {
            self.reporter.hint(
                "with --warm 1 a session is kept ready, so that the next connection opens at once",
            );
        }
    }

    pub(crate) fn next_connection(&self) -> Number {
        self.last_connection.set(self.last_connection.get() + 1);
        self.last_connection.get()
    }

    /// Goes on to a phase, unless it has been reached already.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let advances = *now < phase;
            *now = phase.max(*now);
            advances
        });
    }

    /// Whether a phase was reached.
    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// Ends the channels that are kept for connections, on every lane.
    pub(crate) fn clear_lanes(&self) {
        self.forwardings.borrow().iter().for_each(|forwarding| forwarding.clear());
    }

    /// Waits for a phase. Cancel-safe.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        // The sender lives as long as this does.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }
}

impl Instances for Context {
    /// The instance, with credentials as they are now.
    async fn find(&self) -> Result<Found> {
        self.found()
    }

    /// The instance that is found in the place of one that is gone. Whoever comes while it is looked
    /// for is told the same.
    async fn again(&self, gone: &Found) -> Result<Option<Found>> {
        let _looking = self.looking.lock().await;
        let found = self.found()?;
        if found.id != gone.id {
            return Ok(Some(found));
        }
        let again = self.finder.refreshed(&self.global)?.again(gone).await?;
        if let Some(found) = &again {
            self.reporter.note(&format!("{gone} is gone: {found} is used in its place"));
            self.found.replace(found.clone());
        }
        Ok(again)
    }
}

/// The local side of a session, and what asks for its end.
struct Side<'a, R, W> {
    local: &'a mut Endpoint<R, W>,
    cancel: Fuse<LocalBoxFuture<'a, ()>>,
}

/// Counts one that waits, for as long as it does.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
