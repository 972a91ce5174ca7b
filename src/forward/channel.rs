//! One channel to the target: a session, opened for a connection or ahead of it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};

use super::context::{Context, Phase};
use super::report::{Bytes, Number};
use crate::app::Result;
use crate::gateway::local::LocalSide;
use crate::gateway::sleep::has_slept;
use crate::gateway::socket::{ReadHalf, WriteHalf};
use crate::session::SessionOutcome;
use crate::session::end_calls::EndCalls;
use crate::session::event::{Notice, SessionEvent};
use crate::session::plan::Plan;
use crate::session::target::Target;
use crate::session::warning::Warning;
use session_manager_proto::session::End;

/// How long a probe's session waits for a connection once its target has spoken, if the agent may connect
/// to another one without a word: servers give those who log in 10 s (MySQL) or more.
const KEPT_GREETING: Duration = Duration::from_secs(5);

/// A local connection.
pub(crate) type Halves = (ReadHalf, WriteHalf);

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The session is being opened.
    Opening,
    /// Bytes of the local side flow.
    Ready,
    /// The target is taken to be listening.
    Reached,
    /// The session has ended or is being ended.
    Ending,
    /// Its task has finished.
    Finished,
}

/// What a probe has found out of a session that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// The target is taken to be listening.
    Reached,
    /// The session was given up before that could be told: its connection has gone.
    Unknown,
}

/// How a channel went, and its local side, if it ever had one.
pub(crate) struct Finished {
    pub(crate) result: Result<SessionOutcome>,
    pub(crate) local: Option<Halves>,
    /// Whether the forward was stopped before it had come to an end of its own.
    pub(crate) stopped: bool,
    /// How many bytes of a client that has closed are not known to have arrived since the forward was stopped.
    pub(crate) not_arrived: u64,
}

/// A channel whose local side has still to come. Dropping it ends its session.
pub(crate) struct Channel {
    /// Nothing once no local side is to come any more.
    attach: Option<oneshot::Sender<Halves>>,
    state: Rc<State>,
    stage: watch::Receiver<Stage>,
    done: oneshot::Receiver<Finished>,
    /// Ends the session when dropped before a local side was attached.
    _wanted: oneshot::Sender<Infallible>,
    /// When it was begun.
    pub(crate) since: Instant,
    /// The same, by the clock that goes on while this machine sleeps.
    since_wall: SystemTime,
    /// Whether it was opened for a probe, and another can be opened in its place.
    is_replaceable: bool,
}

/// A permit for one connected session, of which there are `--max-connections`. Dropping it notifies
/// those that wait for one.
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    freed: Rc<Notify>,
}

impl Permit {
    /// A permit whose end notifies `freed`.
    pub(crate) fn new(permit: OwnedSemaphorePermit, freed: &Rc<Notify>) -> Self {
        Self { permit: Some(permit), freed: Rc::clone(freed) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permit = None;
        self.freed.notify_waiters();
    }
}

/// A channel with its local side.
pub(crate) struct Attached(Channel);

/// The state that a channel's task and its owner share.
struct State {
    stage: watch::Sender<Stage>,
    /// Since when bytes of the local side flow, if they ever did.
    ready: Cell<Option<Instant>>,
    /// When the target was taken to be listening, if it ever was.
    reached: Cell<Option<Instant>>,
    /// Since when its target may close unnoticed although it has spoken.
    may_outlive_target: Cell<Option<Instant>>,
    /// The probe that waits for the target to be reached.
    probe: RefCell<Option<oneshot::Sender<Result<Probed>>>>,
    target: Target,
    session: RefCell<Option<String>>,
    counters: RefCell<Option<Rc<Cell<Bytes>>>>,
    /// The connection that has the channel.
    connection: Cell<Option<Number>>,
    /// The notices that are reported once it has one.
    notices: RefCell<Vec<Notice>>,
    /// Nothing once the session is ended, though its local side may still have something to take.
    permit: RefCell<Option<Permit>>,
    context: Rc<Context>,
}

impl Channel {
    /// A channel, and the task that opens it and runs its session.
    pub(crate) fn new(
        context: &Rc<Context>,
        plan: Plan,
        probe: Option<oneshot::Sender<Result<Probed>>>,
        permit: Permit,
    ) -> (Self, impl Future<Output = ()> + 'static) {
        let is_replaceable = probe.is_some() && !plan.origin.is_url();
        let (attach, local) = oneshot::channel();
        let (sender, stage) = watch::channel(Stage::Opening);
        let state = Rc::new(State {
            stage: sender,
            ready: Cell::default(),
            reached: Cell::default(),
            may_outlive_target: Cell::default(),
            probe: RefCell::new(probe),
            target: plan.target.clone(),
            session: RefCell::default(),
            counters: RefCell::default(),
            connection: Cell::default(),
            notices: RefCell::default(),
            permit: RefCell::new(Some(permit)),
            context: Rc::clone(context),
        });
        let (finished, done) = oneshot::channel();
        let (_wanted, unwanted) = oneshot::channel();
        let delivering = Rc::clone(context);
        let local =
            LocalSide::awaited(local).delivering_from(async move { delivering.delivering().await });
        let (closing, released) = (Rc::clone(context), Rc::clone(&state));
        let closing = async move { closing.reached(Phase::Closing).await };
        let end_calls = Rc::new(EndCalls::new(closing, move || released.handle_released()));
        let plan = plan.unawaited(&end_calls);
        let run = run(Rc::clone(context), plan, local, Rc::clone(&state), unwanted);
        let task_state = Rc::clone(&state);
        let task = async move {
            // The receiver may have gone.
            let _ = finished.send(run.await);
            task_state.stage.send_replace(Stage::Finished);
            end_calls.all_ended().await;
            task_state.permit.take();
        };
        let attach = Some(attach);
        let (since, since_wall) = (Instant::now(), SystemTime::now());
        (Self { attach, state, stage, done, _wanted, since, since_wall, is_replaceable }, task)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether a probe still waits for its result.
    pub(crate) fn is_probing(&self) -> bool {
        self.state.probe.borrow().is_some()
    }

    /// Its outcome, once it has ended. One that is ending gets no local side any more, so that it does not
    /// keep the target's output for one.
    pub(crate) fn outcome(&mut self) -> Option<Result<SessionOutcome>> {
        if self.is_ending() {
            self.attach = None;
        }
        self.done.try_recv().ok().map(|finished| finished.result)
    }

    /// Watches the channel's stages.
    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        let mut stage = self.stage.clone();
        stage.mark_unchanged();
        stage
    }

    /// Waits until one of several channels has changed.
    pub(crate) async fn changed(stages: &mut [watch::Receiver<Stage>]) {
        let changes = stages.iter_mut().map(|stage| Box::pin(stage.changed()));
        let _ = futures_util::future::select_all(changes).await;
    }

    /// Gives the channel its local side, or the local side back when the channel is over.
    pub(crate) fn attach(
        mut self,
        halves: Halves,
        connection: Number,
        counters: Rc<Cell<Bytes>>,
    ) -> std::result::Result<Attached, Halves> {
        let attach = self.attach.take().filter(|_| !self.is_ending());
        let Some(attach) = attach else { return Err(halves) };
        attach.send(halves)?;
        self.state.connection.set(Some(connection));
        self.state.counters.replace(Some(counters));
        for notice in self.state.notices.take() {
            self.state.report(notice);
        }
        Ok(Attached(self))
    }

    /// Whether it was opened for a probe.
    pub(crate) fn is_of_probe(&self) -> bool {
        self.is_replaceable
    }

    /// For how long the target has been taken to be listening.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let reached = self.state.reached.get();
        reached.map(|reached| now.saturating_duration_since(reached)).unwrap_or_default()
    }

    /// Until when a connection may use it, where its target may have closed unnoticed: a channel that was
    /// opened for a probe.
    pub(crate) fn usable_until(&self) -> Option<Instant> {
        let since = self.state.may_outlive_target.get().filter(|_| self.is_replaceable)?;
        Some(since + KEPT_GREETING)
    }

    /// Whether this machine has slept since it was begun: its session has probably ended meanwhile.
    pub(crate) fn has_slept(&self) -> bool {
        has_slept((self.since, self.since_wall), (Instant::now(), SystemTime::now()))
    }

    /// Whether it cannot be used any more: the remote side has ended the session, or it did not open.
    pub(crate) fn is_ending(&self) -> bool {
        self.stage() >= Stage::Ending
    }
}

impl Attached {
    /// Waits until bytes flow, and gives since when; `None` if the channel ends before.
    pub(crate) async fn opened(&mut self) -> Option<Instant> {
        // It fails only when the channel is over.
        let _ = self.0.stage.wait_for(|stage| *stage != Stage::Opening).await;
        self.0.state.ready.get()
    }

    /// Waits until the channel has finished. `None` if its task was ended.
    pub(crate) async fn finished(self) -> Option<Finished> {
        self.0.done.await.ok()
    }

    /// The id of its session, once it was started, if it is known.
    pub(crate) fn session(&self) -> Option<String> {
        self.0.state.session.borrow().clone()
    }
}

async fn run(
    context: Rc<Context>,
    plan: Plan,
    mut local: LocalSide<ReadHalf, WriteHalf>,
    state: Rc<State>,
    unwanted: oneshot::Receiver<Infallible>,
) -> Finished {
    let stopped = Cell::new(false);
    let stop = async {
        tokio::select! {
            () = context.reached(Phase::Closing) => stopped.set(true),
            () = async {
                // The sender goes with the channel's user, who may have given it a local side.
                let _ = unwanted.await;
                if state.connection.get().is_some() {
                    std::future::pending::<()>().await;
                }
            } => {}
        }
    };
    let mut stop = std::pin::pin!(stop.fuse());
    let on_event = |event: SessionEvent<'_>| state.on_event(event);
    let result = context.run_session(&plan, &mut local, stop.as_mut(), &on_event).await;
    state.stage.send_replace(Stage::Ending);
    // A probe that fails stops the forward.
    let stopped = stopped.get()
        || context.is_delivering()
        || result.is_err() && state.probe.borrow().is_some();
    let not_arrived = match &result {
        Ok(SessionOutcome::Ended(outcome)) => outcome.not_arrived,
        Ok(SessionOutcome::Stopped) if stopped => {
            local.rewind();
            local.rest().await.unwrap_or(0)
        }
        Ok(SessionOutcome::Stopped) | Err(_) => 0,
    };
    let result = state.report_to_probe(result);
    Finished { result, local: local.into_halves(), stopped, not_arrived }
}

impl State {
    /// Reports to the probe how a session has ended before its target was reached. A failure is reported
    /// once only.
    fn report_to_probe(&self, result: Result<SessionOutcome>) -> Result<SessionOutcome> {
        let Some(probe) = self.probe.take() else { return result };
        let probed = match &result {
            Err(_) => {
                let told = probe.send(result.map(|_| Probed::Reached));
                // The probe has gone, and the failure is still to be reported.
                return told.map_or_else(
                    |back| back.map(|_| SessionOutcome::Stopped),
                    |()| Ok(SessionOutcome::Stopped),
                );
            }
            Ok(SessionOutcome::Ended(outcome))
                if self.ready.get().is_some() || matches!(outcome.end, End::Remote(_)) =>
            {
                Probed::Reached
            }
            Ok(_) => Probed::Unknown,
        };
        let _ = probe.send(Ok(probed));
        result
    }

    fn on_event(&self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::Started(session) => {
                self.context.reporter.started(&session.session_id);
                // The URL of a session that somebody else has started may have no id.
                let id = Some(session.session_id.clone()).filter(|id| !id.is_empty());
                self.session.replace(id);
            }
            SessionEvent::Ready => {
                self.ready.set(Some(Instant::now()));
                self.stage.send_replace(Stage::Ready);
            }
            SessionEvent::Reached => {
                self.reached.set(Some(Instant::now()));
                self.stage.send_replace(Stage::Reached);
                if let Some(probe) = self.probe.take() {
                    let _ = probe.send(Ok(Probed::Reached));
                }
            }
            SessionEvent::MayOutliveTarget(may_outlive) => {
                self.may_outlive_target.set(may_outlive.then(Instant::now));
                // The task that keeps channels ready checks it again.
                self.stage.send_modify(|_| {});
            }
            SessionEvent::Notice(notice) => self.report(notice),
            SessionEvent::Progress { sent, delivered: received } => {
                if let Some(counters) = &*self.counters.borrow() {
                    counters.set(Bytes { sent, received });
                }
            }
            SessionEvent::Ended => {
                self.stage.send_replace(Stage::Ending);
            }
            SessionEvent::Connected | SessionEvent::Closed => {}
        }
    }

    /// The API has ended the session, or did not answer in time.
    fn handle_released(&self) {
        // One that never was ready may be tried again.
        if self.ready.get().is_some() {
            self.permit.take();
        }
    }

    /// Reports a notice of the connection, once there is one.
    fn report(&self, notice: Notice) {
        match self.connection.get() {
            Some(number) => {
                let warning = Warning::of_notice(notice, &self.target);
                self.context.reporter.warned(Some(number), &warning);
            }
            None => self.notices.borrow_mut().push(notice),
        }
    }
}
