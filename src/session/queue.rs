//! The queue of this process for a place where a quota of sessions is full.
//!
//! Nothing tells when another process ends a session, so the first in the queue asks again, with
//! growing pauses. The end of a session of this process is seen, and acted on at once.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::FusedFuture;
use tokio::io::AsyncRead;
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};

use super::error::SessionError;
use super::plan::{Plan, random};
use super::runner::{SessionObserver, SessionOutcome, run_session_once};
use crate::app::Cloud;
use crate::gateway::driver::Observer;
use crate::gateway::endpoint::{Endpoint, LocalWrite};

/// For how long after its end a session may still be counted.
const COUNTED_FOR: Duration = Duration::from_secs(5);
/// How long after the API has ended a session its place is taken to be free.
const FREE_AFTER: Duration = Duration::from_millis(100);
/// The first pause before another try; each is followed by one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Where sessions wait for a place while a quota is full.
pub(crate) struct Queue {
    /// How long a session waits at most.
    within: Duration,
    tell: Box<dyn Fn(&str)>,
    told: Cell<bool>,
    /// Whether a session had to wait.
    was_full: Cell<bool>,
    /// Held by the first in the queue, until its session is connected or it gives up. The mutex
    /// serves the others in order.
    first: Mutex<()>,
    /// How many sessions of this process are being ended.
    ending: Cell<usize>,
    /// When one was ended last.
    ended_at: Cell<Option<Instant>>,
    ended: Notify,
    /// A permit for each that waits, for the sessions that linger to take.
    wanted: Semaphore,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("within", &self.within).finish_non_exhaustive()
    }
}

impl Queue {
    /// `wait` is in seconds; with 0 nothing waits. `tell` prints a line for people.
    pub(crate) fn new(wait: u64, tell: impl Fn(&str) + 'static) -> Self {
        Self {
            within: Duration::from_secs(wait),
            tell: Box::new(tell),
            told: Cell::new(false),
            was_full: Cell::new(false),
            first: Mutex::default(),
            ending: Cell::new(0),
            ended_at: Cell::new(None),
            ended: Notify::new(),
            wanted: Semaphore::new(0),
        }
    }

    /// Whether sessions wait already.
    fn is_occupied(&self) -> bool {
        self.first.try_lock().is_err()
    }

    /// Asks one session that lingers to end, for as long as what it gives is held.
    pub(crate) fn want_place(&self) -> PlaceWanted<'_> {
        self.wanted.add_permits(1);
        PlaceWanted(self)
    }

    /// Waits, in order, until the place of a session that lingers is wanted.
    pub(crate) async fn place_wanted(&self) {
        match self.wanted.acquire().await {
            Ok(permit) => permit.forget(),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether a session had to wait so far.
    pub(crate) fn was_full(&self) -> bool {
        self.was_full.get()
    }

    /// Whether the service may still count a session that this process has ended.
    fn counts_ended(&self) -> bool {
        let lately = self.ended_at.get().is_some_and(|at| at.elapsed() < COUNTED_FOR);
        lately || self.ending.get() > 0
    }

    /// Prints once that sessions wait. A place that is about to come free is not worth a line.
    fn tell(&self) {
        self.was_full.set(true);
        if !self.counts_ended() && !self.told.replace(true) {
            (self.tell)(&format!(
                "the session quota is full (20 connected sessions for an instance, 100 active ones \
                 in a region): waiting up to {} s (--wait) for a place",
                self.within.as_secs()
            ));
        }
    }

    /// Waits until the next try is due.
    async fn turn<'a>(&'a self, first: &Cell<Option<MutexGuard<'a, ()>>>, pause: &mut Pause) {
        let held = first.take().or_else(|| self.first.try_lock().ok());
        if let Some(held) = held {
            first.set(Some(held));
            let ended = async {
                self.ended.notified().await;
                sleep(FREE_AFTER).await;
            };
            tokio::select! {
                () = sleep(pause.next()) => {}
                () = ended => {}
            }
        } else {
            // The one before has found a place or has given up: that is news.
            first.set(Some(self.first.lock().await));
        }
    }
}

/// One that waits for a place. Dropped, it asks for none any more.
pub(crate) struct PlaceWanted<'a>(&'a Queue);

impl Drop for PlaceWanted<'_> {
    fn drop(&mut self) {
        // None is left where a session has ended for it.
        self.0.wanted.forget_permits(1);
    }
}

/// Growing pauses, each shortened at random so that processes do not ask at the same moment.
struct Pause(Duration);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        let part = random() as f64 / u64::MAX as f64;
        pause.mul_f64(0.5 + part / 2.0)
    }
}

/// Carries a session as [`run_session_once`] does. Where a quota is full it waits for a place, if the plan
/// has a queue. Nothing is read from the local side before there is one.
///
/// # Errors
/// As [`run_session_once`]; when no place comes free in time, [`SessionError::Waited`].
pub(crate) async fn run_session_queued<R, W>(
    cloud: &Cloud,
    plan: &Plan,
    local: &mut Endpoint<R, W>,
    mut stop: Pin<&mut impl FusedFuture<Output = ()>>,
    observer: &impl SessionObserver,
) -> std::result::Result<SessionOutcome, SessionError>
where
    R: AsyncRead + Unpin,
    W: LocalWrite,
{
    let Some(queue) = plan.queue() else {
        return run_session_once(cloud, plan, local, stop, observer).await;
    };
    let first = Cell::new(None);
    let watch = Watch { observer, queue, first: &first, is_closed: Cell::new(false) };
    let may_wait = || !queue.within.is_zero() && observer.may_wait();
    let began = Instant::now();
    let deadline = began + queue.within;
    let mut pause = Pause(FIRST_PAUSE);
    let mut refused: Option<SessionError> = None;
    let mut wants_place = None;
    // Those that wait already go first.
    let mut waits = may_wait() && queue.is_occupied();
    loop {
        if waits {
            wants_place.get_or_insert_with(|| queue.want_place());
            let turn = timeout_at(deadline, queue.turn(&first, &mut pause));
            let left = tokio::select! {
                turn = turn => turn.is_err() && first.take().is_none(),
                () = stop.as_mut() => return Ok(SessionOutcome::Stopped),
                () = left(plan, local) => return Ok(SessionOutcome::Stopped),
            };
            if left && let Some(error) = refused {
                return Err(waited(error, began.elapsed()));
            }
        }
        let outcome = run_session_once(cloud, plan, local, stop.as_mut(), &watch).await;
        let error = match outcome {
            // One that waits may be told to ask less often.
            Err(error) if error.is_quota() || waits && error.is_throttled() => error,
            outcome => return outcome,
        };
        if stop.is_terminated() {
            return Ok(SessionOutcome::Stopped);
        }
        if !may_wait() {
            return Err(error);
        }
        if Instant::now() >= deadline {
            return Err(waited(error, began.elapsed()));
        }
        debug!("no place for the session: {error}");
        queue.tell();
        waits = true;
        refused = Some(error);
    }
}

/// Waits until nobody is left to use the session.
async fn left<R, W: LocalWrite>(plan: &Plan, local: &mut Endpoint<R, W>) {
    match plan.was_read() {
        true => local.writer.closed().await,
        false => local.writer.left().await,
    }
}

fn waited(error: SessionError, waited: Duration) -> SessionError {
    SessionError::Waited { error: Box::new(error), waited }
}

/// An observer that also tells the queue how its session comes on.
struct Watch<'a, 'q, O> {
    observer: &'a O,
    queue: &'q Queue,
    first: &'a Cell<Option<MutexGuard<'q, ()>>>,
    /// Whether the session was connected, and is closed now.
    is_closed: Cell<bool>,
}

impl<O: Observer> Observer for Watch<'_, '_, O> {
    fn next(&self) -> Option<&dyn Observer> {
        Some(self.observer)
    }

    fn closed(&self) {
        if !self.is_closed.replace(true) {
            self.queue.ending.set(self.queue.ending.get() + 1);
        }
        self.observer.closed();
    }
}

impl<O: SessionObserver> SessionObserver for Watch<'_, '_, O> {
    fn next_session_observer(&self) -> Option<&dyn SessionObserver> {
        Some(self.observer)
    }

    fn connected(&self) {
        if self.first.take().is_some() {
            info!("a place for the session has come free");
        }
        self.observer.connected();
    }

    fn released(&self) {
        // One that was never connected has taken no place.
        if self.is_closed.take() {
            self.queue.ending.set(self.queue.ending.get().saturating_sub(1));
            self.queue.ended_at.set(Some(Instant::now()));
            self.queue.ended.notify_one();
        }
        self.observer.released();
    }
}
