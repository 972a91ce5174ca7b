//! One channel to the target: a session, opened for a connection or ahead of it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::Context;
use super::report::Bytes;
use crate::cloud::TerminalSession;
use crate::cmd::Result;
use crate::cmd::session::{Carried, Plan, Witness, carry};
use crate::tunnel::driver::Observer;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::late::{Attach, Late, late};
use crate::tunnel::socket::{ReadHalf, WriteHalf};

/// The local side of a channel, which may come after it.
pub(super) type Local = Endpoint<Late<ReadHalf>, Late<WriteHalf>>;

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The session is being opened.
    Opening,
    /// The target is taken to be listening.
    Ready,
    /// The session is over.
    Over,
}

/// How a channel went, and its local side, if it ever had one.
pub(super) struct Finished {
    pub(super) result: Result<Carried>,
    pub(super) local: Local,
}

/// A channel whose local side has still to come. Dropping it ends its session.
pub(super) struct Channel {
    attach: Attach<ReadHalf, WriteHalf>,
    state: Rc<State>,
    stage: watch::Receiver<Stage>,
    done: oneshot::Receiver<Finished>,
    /// Ends the session when dropped before a local side was attached.
    wanted: oneshot::Sender<Infallible>,
    /// When it was begun.
    pub(super) since: Instant,
}

/// A channel with its local side.
pub(super) struct Attached {
    state: Rc<State>,
    stage: watch::Receiver<Stage>,
    done: oneshot::Receiver<Finished>,
    _wanted: oneshot::Sender<Infallible>,
}

/// What a channel's task and its user both see.
struct State {
    stage: watch::Sender<Stage>,
    session: RefCell<Option<String>>,
    counters: RefCell<Option<Rc<Cell<Bytes>>>>,
    attached: Cell<bool>,
}

impl Channel {
    /// Begins to open a channel. `permit` is held until its session is ended.
    pub(super) fn open(context: &Rc<Context>, plan: &Plan, permit: OwnedSemaphorePermit) -> Self {
        let (attach, local) = late();
        let (sender, stage) = watch::channel(Stage::Opening);
        let state = Rc::new(State {
            stage: sender,
            session: RefCell::default(),
            counters: RefCell::default(),
            attached: Cell::new(false),
        });
        let (finished, done) = oneshot::channel();
        let (wanted, unwanted) = oneshot::channel();
        let task = run(Rc::clone(context), plan.clone(), local, Rc::clone(&state), unwanted);
        context.tasks.borrow_mut().spawn_local(async move {
            // Nobody may be left to hear of it.
            let _ = finished.send(task.await);
            drop(permit);
        });
        Self { attach, state, stage, done, wanted, since: Instant::now() }
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until the target is taken to be listening.
    ///
    /// # Errors
    /// When the channel failed before.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let reached = self.stage.wait_for(|stage| *stage == Stage::Ready);
        tokio::select! {
            biased;
            Ok(_) = reached => Ok(()),
            finished = &mut self.done => match finished {
                Ok(finished) => finished.result.map(|_| ()),
                Err(_) => Ok(()),
            },
        }
    }

    /// Tells of the channel's stages.
    pub(super) fn watch(&self) -> watch::Receiver<Stage> {
        let mut stage = self.stage.clone();
        stage.mark_unchanged();
        stage
    }

    /// Waits until one of several channels has changed.
    pub(super) async fn changed(stages: &mut [watch::Receiver<Stage>]) {
        let changes = stages.iter_mut().map(|stage| Box::pin(stage.changed()));
        let _ = futures_util::future::select_all(changes).await;
    }

    /// Gives the channel its local side, or the local side back when the channel is over.
    pub(super) fn attach(
        self,
        (reader, writer): (ReadHalf, WriteHalf),
        counters: Rc<Cell<Bytes>>,
    ) -> std::result::Result<Attached, (ReadHalf, WriteHalf)> {
        if self.stage() == Stage::Over {
            return Err((reader, writer));
        }
        self.attach.attach(reader, writer)?;
        self.state.attached.set(true);
        self.state.counters.replace(Some(counters));
        let Self { state, stage, done, wanted, .. } = self;
        Ok(Attached { state, stage, done, _wanted: wanted })
    }

    /// Whether the far side has ended the session, or it could not be opened.
    pub(super) fn is_over(&self) -> bool {
        self.stage() == Stage::Over
    }
}

impl Attached {
    /// Waits until bytes flow, or the channel has finished instead.
    pub(super) async fn opened(&mut self) -> Option<Finished> {
        let ready = self.stage.wait_for(|stage| *stage == Stage::Ready);
        tokio::select! {
            biased;
            Ok(_) = ready => None,
            finished = &mut self.done => finished.ok(),
        }
    }

    /// Waits until the channel has finished. `None` if its task was ended.
    pub(super) async fn finished(self) -> Option<Finished> {
        self.done.await.ok()
    }

    /// The id of its session, once it was started.
    pub(super) fn session(&self) -> String {
        self.state.session.borrow().clone().unwrap_or_default()
    }
}

async fn run(
    context: Rc<Context>,
    plan: Plan,
    mut local: Local,
    state: Rc<State>,
    unwanted: oneshot::Receiver<Infallible>,
) -> Finished {
    let stop = async {
        tokio::select! {
            () = context.is_closing() => {}
            () = async {
                // The sender goes with the channel's user, who may have given it a local side.
                let _ = unwanted.await;
                if state.attached.get() {
                    std::future::pending::<()>().await;
                }
            } => {}
        }
    };
    let result = match context.cloud() {
        Ok(cloud) => carry(&cloud, &plan, &mut local, stop, &*state).await,
        Err(error) => Err(error),
    };
    state.stage.send_replace(Stage::Over);
    Finished { result, local }
}

impl Observer for State {
    fn ready(&self) {
        self.stage.send_replace(Stage::Ready);
    }

    fn carried(&self, sent: u64, received: u64) {
        if let Some(counters) = &*self.counters.borrow() {
            counters.set(Bytes { sent, received });
        }
    }

    fn ended(&self) {
        self.stage.send_replace(Stage::Over);
    }
}

impl Witness for State {
    fn started(&self, session: &TerminalSession) {
        self.session.replace(Some(session.session_id.clone()));
    }
}
