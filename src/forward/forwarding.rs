//! One forward at work: its connections, and the channels that are kept ready for them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::channel::{Attached, Channel, Finished, Probed, Stage};
use super::context::{Context, Phase};
use super::report::{Event, Number, Reason};
use crate::app::Result;
use crate::explain::ExitCode;
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::LocalWrite as _;
use crate::gateway::socket::{self, ReadHalf, WriteHalf};
use crate::session::SessionOutcome;
use crate::session::plan::Plan;
use crate::session::warning::Warning;
use session_manager_proto::session::End;

/// How much longer than asked for a channel is kept that has no successor yet.
const OVERDUE: Duration = Duration::from_secs(10);
/// The longest pause before a channel is opened anew that was over at once.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// One forward at work.
pub(crate) struct Forwarding {
    pub(crate) plan: Plan,
    /// Where it listens. The first address stands for the forward; ::1 may follow 127.0.0.1.
    pub(crate) addresses: Vec<String>,
    warm: RefCell<VecDeque<Channel>>,
    /// Something has changed that the keeper of the warm channels may act on.
    changed: Notify,
    /// A probe has opened a channel, which a connection that waits may take.
    offered: Notify,
}

impl Forwarding {
    pub(crate) fn new(plan: Plan, addresses: Vec<String>) -> Self {
        Self {
            plan,
            addresses,
            warm: RefCell::default(),
            changed: Notify::new(),
            offered: Notify::new(),
        }
    }

    /// The address that stands for the forward.
    pub(crate) fn address(&self) -> &str {
        self.addresses.first().map(String::as_str).unwrap_or_default()
    }

    /// Finds out whether the target can be reached. The session is the first connection's, which may
    /// take it before that is known.
    ///
    /// # Errors
    /// When its session fails before the target was reached.
    pub(crate) async fn probe(&self, context: &Rc<Context>) -> Result<()> {
        loop {
            let permit = context.permit().await;
            let (channel, probed) = Channel::probe(context, &self.plan, permit);
            self.warm.borrow_mut().push_back(channel);
            self.offered.notify_waiters();
            match probed.await {
                Ok(Ok(Probed::Reached)) => break,
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Probed::Unknown)) if !context.has_reached(Phase::Taken) => {
                    debug!("the connection that had the probe's session has gone: probing again");
                }
                // All is about to end.
                Ok(Ok(Probed::Unknown)) | Err(_) => std::future::pending().await,
            }
        }
        // It may be the place that another forward's probe waits for.
        if context.is_crowded() {
            self.evict_warm();
        }
        Ok(())
    }

    /// Ends the channels that are kept for connections.
    pub(crate) fn clear(&self) {
        self.warm.borrow_mut().clear();
    }

    /// Takes the channel that has come farthest.
    pub(crate) fn take(&self) -> Option<Channel> {
        let mut warm = self.warm.borrow_mut();
        // The youngest: the target has had the least time to lose its patience with it.
        let find = |stage| warm.iter().rposition(|channel| channel.stage() == stage);
        let found =
            find(Stage::Reached).or_else(|| find(Stage::Ready)).or_else(|| find(Stage::Opening))?;
        self.changed.notify_one();
        warm.remove(found)
    }

    /// Ends a channel that is kept ready, for a connection that waits. Tells whether there was one.
    pub(crate) fn evict_warm(&self) -> bool {
        let mut warm = self.warm.borrow_mut();
        let found = warm.iter().rposition(|channel| !channel.is_ending() && !channel.is_probing());
        found.and_then(|found| warm.remove(found)).is_some()
    }

    /// Carries one connection to its end, over a channel that it has taken already if there was one, and
    /// tells of it. Gives the exit code that it is worth.
    pub(crate) async fn connect(
        &self,
        context: &Rc<Context>,
        number: Number,
        halves: (ReadHalf, WriteHalf),
        channel: Option<Channel>,
    ) -> ExitCode {
        let began = Instant::now();
        let mut attached = match self.attach(context, number, halves, channel).await {
            Ok(attached) => attached,
            Err(reason) => {
                tell_closed(context, number, began, reason);
                return ExitCode::Ok;
            }
        };
        let _open = context.count_open();
        if let Some(ready) = attached.opened().await {
            let waited = ready.saturating_duration_since(began);
            context.reporter.tell(&Event::Opened {
                connection: number,
                session: &attached.session(),
                // A channel that was kept ready was so before there was a connection.
                waited_ms: millis(waited),
            });
            context.connection_waited(waited);
        }
        let finished = attached.finished().await;
        let Some(Finished { result, local, stopped }) = finished else {
            tell_closed(context, number, began, Reason::Stopped);
            return ExitCode::Ok;
        };
        let halves = local.reader.into_inner().zip(local.writer.into_inner());
        match result {
            Err(error) => {
                if let Some((reader, writer)) = halves {
                    socket::reset(reader, writer);
                }
                context.reporter.failed(Some(number), &*error);
                tell_closed(context, number, began, Reason::Failed);
                error.exit_code()
            }
            Ok(carried) => {
                let is_complete =
                    matches!(&carried, SessionOutcome::Ended(outcome) if outcome.complete);
                let reason = reason(&carried, stopped);
                if reason == Reason::Local
                    && !is_complete
                    && let SessionOutcome::Ended(Outcome {
                        sent: 1.., delivered: 0, yielded, ..
                    }) = &carried
                {
                    let warning = Warning::of_silence(&self.plan.target, *yielded);
                    context.reporter.warned(number, &warning);
                }
                tell_closed(context, number, began, reason);
                match halves {
                    Some((reader, writer)) if is_complete => socket::close(reader, writer).await,
                    Some((reader, writer)) => socket::reset(reader, writer),
                    None => {}
                }
                ExitCode::Ok
            }
        }
    }

    /// Finds a channel for a connection, unless the forward is stopped first, or a client leaves the
    /// queue that has not said anything.
    async fn attach(
        &self,
        context: &Rc<Context>,
        number: Number,
        mut halves: (ReadHalf, WriteHalf),
        mut taken: Option<Channel>,
    ) -> std::result::Result<Attached, Reason> {
        let counters = context.reporter.counters(number);
        loop {
            let channel = taken.take().or_else(|| self.take());
            let channel = channel.or_else(|| {
                let is_draining = context.has_reached(Phase::Draining);
                let permit = if is_draining { None } else { context.free_permit() }?;
                Some(Channel::open(context, &self.plan, permit))
            });
            let channel = match channel {
                Some(channel) => channel,
                None => tokio::select! {
                    biased;
                    () = self.offered.notified() => continue,
                    () = context.reached(Phase::Draining) => {
                        socket::reset(halves.0, halves.1);
                        return Err(Reason::Stopped);
                    }
                    () = halves.1.left() => return Err(Reason::Local),
                    permit = context.permit_for_connection() => {
                        Channel::open(context, &self.plan, permit)
                    }
                },
            };
            match channel.attach(halves, number, Rc::clone(&counters)) {
                Ok(attached) => return Ok(attached),
                Err(back) => halves = back,
            }
        }
    }

    /// Keeps `count` channels ready until the forward is stopped or its only connection is there, each
    /// for so long; and the one of the probe, which may be one of them, for no longer.
    pub(crate) async fn keep_warm(&self, context: &Rc<Context>, count: usize, warm_for: Duration) {
        let mut pause = Pause::default();
        while !context.has_reached(Phase::Taken) {
            let next = self.refill(context, count, warm_for, &mut pause);
            let mut stages: Vec<_> = self.warm.borrow().iter().map(Channel::watch).collect();
            tokio::select! {
                () = context.reached(Phase::Taken) => break,
                () = self.changed.notified() => {}
                () = context.freed.notified() => {}
                () = Channel::changed(&mut stages), if !stages.is_empty() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        self.clear();
    }

    /// Replaces what is over or stale, and tells when to look again.
    fn refill(
        &self,
        context: &Rc<Context>,
        count: usize,
        warm_for: Duration,
        pause: &mut Pause,
    ) -> Instant {
        let now = Instant::now();
        let mut warm = self.warm.borrow_mut();
        warm.retain_mut(|channel| {
            let outcome = channel.outcome();
            if let Some(outcome) = &outcome
                && count > 0
            {
                pause.note(now, channel.since, warm_for, self.address(), outcome);
            }
            outcome.is_none()
        });
        warm.retain(|channel| channel.age(now) < warm_for + OVERDUE);
        let is_fresh = |channel: &&Channel| channel.age(now) < warm_for;
        // One that is just ending has its place until it is known why.
        let mut fresh = warm.iter().filter(is_fresh).count();
        while fresh < count && pause.is_over(now) {
            let Some(permit) = context.spare_permit() else { break };
            warm.push_back(Channel::open(context, &self.plan, permit));
            fresh += 1;
        }
        // A stale channel goes once the target was reached for its successor.
        let reached = |channel: &&Channel| channel.stage() == Stage::Reached;
        if warm.iter().filter(is_fresh).filter(reached).count() >= count {
            warm.retain(|channel| is_fresh(&channel));
        }
        let until = |channel: &Channel| {
            let left = |end: Duration| end.checked_sub(channel.age(now)).filter(|l| !l.is_zero());
            left(warm_for).or_else(|| left(warm_for + OVERDUE))
        };
        // One that is still being opened tells when it is.
        let reached = warm.iter().filter(reached);
        let stale = reached.filter_map(until).min().map(|left| now + left);
        let next = [stale, pause.until.filter(|until| *until > now)].into_iter().flatten().min();
        next.unwrap_or(now + warm_for)
    }
}

fn tell_closed(context: &Context, number: Number, began: Instant, reason: Reason) {
    let bytes = context.reporter.bytes(number);
    context.reporter.tell(&Event::Closed {
        connection: number,
        sent: bytes.sent,
        received: bytes.received,
        duration_ms: millis(began.elapsed()),
        reason,
    });
}

/// When to try again after channels that were over at once.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// A channel that was kept ready is over.
    fn note(
        &mut self,
        now: Instant,
        since: Instant,
        warm_for: Duration,
        address: &str,
        outcome: &Result<SessionOutcome>,
    ) {
        if now.saturating_duration_since(since) > warm_for / 4 {
            debug!("a channel that was kept ready is over");
            *self = Self::default();
            return;
        }
        if self.failures == 0 {
            let why = match outcome {
                Ok(_) => "the target has closed it".to_owned(),
                Err(error) => error.to_string(),
            };
            warn!("{address}: no channel could be kept ready, trying again now and then: {why}");
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

fn reason(carried: &SessionOutcome, stopped: bool) -> Reason {
    match carried {
        SessionOutcome::Stopped if stopped => Reason::Stopped,
        // Its client has gone before there was a session.
        SessionOutcome::Stopped => Reason::Local,
        SessionOutcome::Ended(outcome) => match &outcome.end {
            End::Local if stopped => Reason::Stopped,
            End::Local => Reason::Local,
            End::Remote(_) => Reason::Target,
            End::Failed(_) => Reason::Failed,
        },
    }
}
