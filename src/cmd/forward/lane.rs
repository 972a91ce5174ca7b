//! One forward at work: its connections, and the channels that are kept ready for them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::Context;
use super::channel::{Attached, Channel, Finished, Stage};
use super::report::{Event, Number};
use crate::cmd::session::{Carried, Plan};
use crate::proto::session::{End, RemoteEnd};
use crate::tunnel::socket::{self, ReadHalf, WriteHalf};

/// How long a channel is kept ready. An SSH server ends a connection on which nobody has logged in
/// for 120 s, and older agents do not tell when it has.
const WARM_FOR: Duration = Duration::from_secs(100);
/// The longest pause before a channel is opened anew that was over at once.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// One forward at work.
pub(super) struct Lane {
    pub(super) plan: Plan,
    /// Where it listens, as it is told.
    pub(super) address: String,
    warm: RefCell<VecDeque<Channel>>,
    /// Something has changed that the keeper of the warm channels may act on.
    changed: Notify,
}

impl Lane {
    pub(super) fn new(plan: Plan, address: String) -> Self {
        Self { plan, address, warm: RefCell::default(), changed: Notify::new() }
    }

    /// Adds a channel that is ready.
    pub(super) fn keep(&self, channel: Channel) {
        self.warm.borrow_mut().push_back(channel);
    }

    /// Takes the channel that has come farthest.
    fn take(&self) -> Option<Channel> {
        let mut warm = self.warm.borrow_mut();
        warm.retain(|channel| !channel.is_over());
        let ready = warm.iter().position(|channel| channel.stage() == Stage::Ready);
        let taken = warm.remove(ready.unwrap_or(0));
        self.changed.notify_one();
        taken
    }

    /// Carries one connection to its end, and tells of it.
    pub(super) async fn connect(
        &self,
        context: &Rc<Context>,
        number: Number,
        halves: (ReadHalf, WriteHalf),
    ) -> bool {
        let began = Instant::now();
        let counters = context.reporter.counters(number);
        let Some(mut attached) = self.attach(context, halves, &counters).await else {
            self.tell_closed(context, number, began, "the forward was stopped");
            return true;
        };
        let finished = match attached.opened().await {
            Some(finished) => Some(finished),
            None => {
                let session = attached.session();
                let waited_ms = millis(began.elapsed());
                context.reporter.tell(&Event::Opened {
                    connection: number,
                    session: &session,
                    waited_ms,
                });
                attached.finished().await
            }
        };
        self.changed.notify_one();
        let Some(Finished { result, mut local }) = finished else {
            self.tell_closed(context, number, began, "the forward was stopped");
            return true;
        };
        match result {
            Err(error) => {
                if let Some(writer) = local.writer.get() {
                    writer.reset();
                }
                drop(local);
                context.reporter.failed(Some(number), &*error);
                false
            }
            Ok(carried) => {
                let reason = reason(&carried);
                self.tell_closed(context, number, began, reason);
                if let Some(reader) = local.reader.get_mut() {
                    socket::drain(reader).await;
                }
                true
            }
        }
    }

    fn tell_closed(&self, context: &Context, number: Number, began: Instant, reason: &str) {
        let bytes = context.reporter.bytes(number);
        context.reporter.tell(&Event::Closed {
            connection: number,
            sent: bytes.sent,
            received: bytes.received,
            duration_ms: millis(began.elapsed()),
            reason,
        });
    }

    /// Finds a channel for a connection. `None` if the forward was stopped first.
    async fn attach(
        &self,
        context: &Rc<Context>,
        mut halves: (ReadHalf, WriteHalf),
        counters: &Rc<Cell<super::report::Bytes>>,
    ) -> Option<Attached> {
        loop {
            let channel = match self.take() {
                Some(channel) => channel,
                None => tokio::select! {
                    permit = context.permit() => Channel::open(context, &self.plan, permit),
                    () = context.is_draining() => {
                        halves.1.reset();
                        return None;
                    }
                },
            };
            match channel.attach(halves, Rc::clone(counters)) {
                Ok(attached) => return Some(attached),
                Err(back) => halves = back,
            }
        }
    }

    /// Keeps `count` channels ready until the forward is stopped.
    pub(super) async fn keep_warm(&self, context: &Rc<Context>, count: usize) {
        let mut pause = Pause::default();
        loop {
            let next = self.refill(context, count, &mut pause);
            let mut stages: Vec<_> = self.warm.borrow().iter().map(Channel::watch).collect();
            tokio::select! {
                () = context.is_draining() => break,
                () = self.changed.notified() => {}
                () = Channel::changed(&mut stages), if !stages.is_empty() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        self.warm.borrow_mut().clear();
    }

    /// Replaces what is over or stale, and tells when to look again.
    fn refill(&self, context: &Rc<Context>, count: usize, pause: &mut Pause) -> Instant {
        let now = Instant::now();
        let mut warm = self.warm.borrow_mut();
        warm.retain(|channel| {
            let over = channel.is_over();
            if over {
                debug!("a channel that was kept ready is over");
                pause.note(now, channel.since);
            }
            !over
        });
        let is_fresh = |channel: &Channel| now.saturating_duration_since(channel.since) < WARM_FOR;
        let mut fresh = warm.iter().filter(|channel| is_fresh(channel)).count();
        while fresh < count && pause.is_over(now) {
            let Some(permit) = context.spare_permit() else { break };
            warm.push_back(Channel::open(context, &self.plan, permit));
            fresh += 1;
        }
        // A stale channel goes once its successor is ready.
        let ready = |channel: &Channel| channel.stage() == Stage::Ready;
        if warm.iter().filter(|channel| is_fresh(channel) && ready(channel)).count() >= count {
            warm.retain(is_fresh);
        }
        let stale = warm.iter().filter(|channel| is_fresh(channel));
        let stale = stale.map(|channel| channel.since + WARM_FOR).min();
        let next = [stale, pause.until.filter(|until| *until > now)].into_iter().flatten().min();
        next.unwrap_or(now + WARM_FOR)
    }
}

/// When to try again after channels that were over at once.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    fn note(&mut self, now: Instant, since: Instant) {
        if now.saturating_duration_since(since) > WARM_FOR / 4 {
            *self = Self::default();
            return;
        }
        if self.failures == 0 {
            warn!("a channel could not be kept ready; trying again from time to time");
        }
        self.failures = (self.failures + 1).min(16);
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(MOST_PAUSE);
        self.until = Some(now + pause);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why a connection is over, in the words that people and programs read.
fn reason(carried: &Carried) -> &'static str {
    match carried {
        Carried::Stopped => "the forward was stopped",
        Carried::Ended(outcome) => match &outcome.end {
            End::Local => "the local side closed",
            End::Remote(RemoteEnd::Redialled) => "the target closed (told by a second banner)",
            End::Remote(_) => "the target closed",
            End::Failed(_) => "failed",
        },
    }
}
