//! What all connections share.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Fuse, LocalBoxFuture};
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, watch};

use super::report::{Number, Reporter};
use crate::app::Result;
use crate::cli::{self, Global};
use crate::gateway::endpoint::LocalWrite;
use crate::gateway::local::LocalSide;
use crate::session::event::OnEvent;
use crate::session::origin::InstanceSource;
use crate::session::plan::Plan;
use crate::session::queue::Queue;
use crate::session::start::Starter;
use crate::session::{SessionOutcome, SessionRequest, run};
use crate::target::finder::{Found, Instances, with_instance};

/// A connection that waits this long for its session counts as slow.
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
    /// The program has ended: connections go on only until what their clients have sent has arrived.
    Delivering,
    /// Everything ends.
    Closing,
}

/// What all connections share.
pub(crate) struct Context {
    global: Global,
    starter: Option<Starter>,
    finder: InstanceSource,
    /// The instance, until it turns out to be gone.
    found: RefCell<Found>,
    /// Held during the look-up of another one.
    looking: Mutex<()>,
    pub(crate) reporter: Reporter,
    phase: watch::Sender<Phase>,
    pub(crate) max_connections: usize,
    /// How many connections have a channel.
    open: Cell<usize>,
    /// Whether `--warm` was named, or would have no effect.
    has_hinted_warm: Cell<bool>,
    /// Where sessions wait for the service's quota, and take the places of those that linger.
    pub(crate) queue: Rc<Queue>,
    last_connection: Cell<Number>,
}

impl Context {
    pub(crate) fn new(
        global: &Global,
        args: &cli::Forward,
        finder: InstanceSource,
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
            max_connections: args.max_connections,
            open: Cell::new(0),
            has_hinted_warm: Cell::new(args.warm > 0 || args.once),
            queue,
            last_connection: Cell::new(0),
        }
    }

    /// Runs a session with the instance to its end.
    pub(crate) async fn run_session<'a, R: AsyncRead + Unpin, W: LocalWrite>(
        &self,
        plan: &Plan,
        local: &'a mut LocalSide<R, W>,
        cancel: impl Future<Output = ()> + 'a,
        on_event: OnEvent<'_>,
    ) -> Result<SessionOutcome> {
        let mut side = Side { local, cancel: cancel.boxed_local().fuse() };
        let cancelled = async |side: &mut Side<'a, R, W>| {
            (&mut side.cancel).await;
            SessionOutcome::Stopped
        };
        let work = async |side: &mut Side<'a, R, W>, found: &Found| {
            let (starter, plan, up_by) = (self.starter.as_ref(), &plan.to(found), &Cell::new(None));
            let request = SessionRequest { found, plan, starter, up_by };
            Ok(run(&request, side.local, &mut side.cancel, on_event).await?)
        };
        with_instance(self, &mut side, cancelled, work).await
    }

    /// The instance, with credentials as they are now.
    fn found(&self) -> Result<Found> {
        let mut found = self.found.borrow().clone();
        if matches!(self.finder, InstanceSource::Url(_)) {
            return Ok(found);
        }
        found.cloud = found.cloud.refreshed(&self.global)?;
        self.found.replace(found.clone());
        Ok(found)
    }

    /// Counts a connection that has a channel, until the guard is dropped.
    pub(crate) fn count_open(&self) -> Counted<'_> {
        Counted::begin(&self.open)
    }

    /// How many connections have a channel.
    pub(crate) fn open_connections(&self) -> usize {
        self.open.get()
    }

    /// Names `--warm` on a terminal, the first time that a connection had to wait.
    pub(crate) fn connection_waited(&self, waited: Duration) {
        if waited >= SLOW && !self.has_hinted_warm.replace(true) {
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

    /// Whether connections go on only until what their clients have sent has arrived.
    pub(crate) fn is_delivering(&self) -> bool {
        *self.phase.borrow() == Phase::Delivering
    }

    /// Waits for that. Cancel-safe.
    pub(crate) async fn delivering(&self) {
        let _ = self.phase.subscribe().wait_for(|now| *now == Phase::Delivering).await;
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

    /// The instance that is found in the place of one that is gone. Calls during a look-up get the same
    /// result.
    async fn again(&self, gone: &Found) -> Result<Option<Found>> {
        let _looking = self.looking.lock().await;
        let found = self.found()?;
        if found.id != gone.id {
            return Ok(Some(found));
        }
        let InstanceSource::Finder(finder) = &self.finder else { return Ok(None) };
        let again = finder.refreshed(&self.global)?.again(gone).await?;
        if let Some(found) = &again {
            self.reporter.note(&format!("{gone} is gone: {found} is used in its place"));
            self.found.replace(found.clone());
        }
        Ok(again)
    }
}

/// The local side of a session, and what asks for its end.
struct Side<'a, R, W> {
    local: &'a mut LocalSide<R, W>,
    cancel: Fuse<LocalBoxFuture<'a, ()>>,
}

/// Counts one more, until it is dropped.
pub(super) struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    pub(super) fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
