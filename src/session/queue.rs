//! The queue of this process for a place where a quota of sessions is full.
//!
//! Nothing announces that another process ends a session, so the first in the queue tries again, with
//! growing pauses. After the end of a session of this process it tries at once.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};

use super::error::SessionError;
use super::event::SessionEvent;

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
    reported: Cell<bool>,
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
    requests: Semaphore,
    /// How many wait.
    requesting: Cell<usize>,
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
            reported: Cell::new(false),
            was_full: Cell::new(false),
            first: Mutex::default(),
            ending: Cell::new(0),
            ended_at: Cell::new(None),
            ended: Notify::new(),
            requests: Semaphore::new(0),
            requesting: Cell::new(0),
        }
    }

    /// Whether sessions wait already.
    fn is_occupied(&self) -> bool {
        self.first.try_lock().is_err()
    }

    /// Asks one lingering session to end, while the returned guard is held.
    pub(crate) fn request_slot(&self) -> SlotRequest<'_> {
        self.requests.add_permits(1);
        self.requesting.set(self.requesting.get() + 1);
        SlotRequest(self)
    }

    /// Waits, in order, until the place of a lingering session is requested.
    pub(crate) async fn slot_requested(&self) {
        match self.requests.acquire().await {
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

    /// The turn of a session that is to be started. `may_wait` tells whether it waits for a place.
    pub(super) fn turn(&self, may_wait: bool) -> Turn<'_> {
        let began = Instant::now();
        Turn {
            queue: self,
            first: Cell::new(None),
            pause: Pause(FIRST_PAUSE),
            began,
            deadline: began + self.within,
            refused: None,
            slot_request: Cell::new(None),
            // Those that wait already go first.
            waits: may_wait && !self.within.is_zero() && self.is_occupied(),
        }
    }

    /// Prints once that sessions wait, unless a place is about to come free.
    fn tell(&self) {
        self.was_full.set(true);
        if !self.counts_ended() && !self.reported.replace(true) {
            (self.tell)(&format!(
                "the session quota is full (20 connected sessions for an instance, 100 active ones \
                 in a region): waiting up to {} s (--wait) for a place",
                self.within.as_secs()
            ));
        }
    }
}

/// The request of a session that waits for a place; dropping it takes the request back.
pub(crate) struct SlotRequest<'a>(&'a Queue);

impl Drop for SlotRequest<'_> {
    fn drop(&mut self) {
        let Queue { requests, requesting, .. } = self.0;
        requesting.set(requesting.get().saturating_sub(1));
        // One that lingers may have taken its permit; those that are left are for the others.
        requests.forget_permits(requests.available_permits().saturating_sub(requesting.get()));
    }
}

/// A session of this process that was connected and is being ended, until this is dropped.
pub(super) struct Ending(Rc<Queue>);

impl Ending {
    pub(super) fn new(queue: &Rc<Queue>) -> Self {
        queue.ending.set(queue.ending.get() + 1);
        Self(Rc::clone(queue))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let queue = &self.0;
        queue.ending.set(queue.ending.get().saturating_sub(1));
        queue.ended_at.set(Some(Instant::now()));
        queue.ended.notify_one();
    }
}

/// Growing pauses, each shortened at random so that processes do not try at the same moment.
struct Pause(Duration);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        let part = random() as f64 / u64::MAX as f64;
        pause.mul_f64(0.5 + part / 2.0)
    }
}

/// The turn of one session. Nothing is read from its local side before it has a place.
pub(super) struct Turn<'q> {
    queue: &'q Queue,
    /// Held while it is the first in the queue.
    first: Cell<Option<MutexGuard<'q, ()>>>,
    pause: Pause,
    began: Instant,
    deadline: Instant,
    /// Why it waits.
    refused: Option<SessionError>,
    slot_request: Cell<Option<SlotRequest<'q>>>,
    waits: bool,
}

impl Turn<'_> {
    /// Whether it has to wait before the session is tried.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Waits until the session may be tried.
    ///
    /// # Errors
    /// When no place has come free in time: [`SessionError::Waited`].
    pub(super) async fn wait(&mut self) -> Result<(), SessionError> {
        let queue = self.queue;
        self.slot_request.get_mut().get_or_insert_with(|| queue.request_slot());
        let is_late = timeout_at(self.deadline, self.next()).await.is_err();
        let gives_up = is_late && self.first.take().is_none();
        match self.refused.take_if(|_| gives_up) {
            Some(error) => Err(self.waited(error)),
            None => Ok(()),
        }
    }

    async fn next(&mut self) {
        let queue = self.queue;
        let held = self.first.take().or_else(|| queue.first.try_lock().ok());
        if held.is_none() {
            // The one before has found a place or has given up: that is news.
            let held = queue.first.lock().await;
            return self.first.set(Some(held));
        }
        self.first.set(held);
        let ended = async {
            queue.ended.notified().await;
            sleep(FREE_AFTER).await;
        };
        tokio::select! {
            () = sleep(self.pause.next()) => {}
            () = ended => {}
        }
    }

    /// Whether an attempt has failed for want of a place.
    pub(super) fn is_refusal(&self, error: &SessionError) -> bool {
        // The service may throttle one that waits, and the network may fail for a while.
        error.is_quota() || self.waits && error.may_pass()
    }

    /// Lets the session wait for a place, as an attempt has found none. Gives the refusal back where the
    /// session does not wait, or has waited for long enough.
    pub(super) fn refuse(&mut self, error: SessionError, may_wait: bool) -> Option<SessionError> {
        if !may_wait || self.queue.within.is_zero() {
            return Some(error);
        }
        if Instant::now() >= self.deadline {
            return Some(self.waited(error));
        }
        debug!("no place for the session: {error}");
        self.queue.tell();
        self.waits = true;
        self.refused = Some(error);
        None
    }

    fn waited(&self, error: SessionError) -> SessionError {
        SessionError::Waited { error: Box::new(error), waited: self.began.elapsed() }
    }

    /// Updates the queue by an event of the session.
    pub(super) fn on_event(&self, event: &SessionEvent<'_>) {
        if matches!(event, SessionEvent::Connected) {
            self.slot_request.take();
            if self.first.take().is_some() {
                info!("a place for the session has come free");
            }
        }
    }
}

/// A seed, or a jitter. Without randomness there is no jitter, and nothing else is wrong.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn queue() -> Queue {
        Queue::new(60, |_| {})
    }

    #[test]
    fn one_that_has_its_place_leaves_the_others_theirs_to_ask_for() {
        let queue = queue();
        let (first, second) = (queue.request_slot(), queue.request_slot());
        assert!(queue.slot_requested().now_or_never().is_some(), "a session ends for the first");
        drop(first);
        assert!(queue.slot_requested().now_or_never().is_some(), "and one for the second");
        drop(second);
        // One that gives up asks for nothing more.
        drop(queue.request_slot());
        assert!(queue.slot_requested().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_connected_asks_for_no_place() {
        let queue = queue();
        let mut turn = queue.turn(true);
        turn.wait().await.unwrap();
        assert_eq!(queue.requests.available_permits(), 1);
        turn.on_event(&SessionEvent::Connected);
        assert_eq!(queue.requests.available_permits(), 0);
    }
}
