//! One forward at work: its connections, and the channels that are kept ready for them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::channel::{Attached, Channel, Finished, Halves, Probed};
use super::context::{Context, Phase};
use super::pool::Pool;
use super::report::{Event, Number, Reason};
use super::warm::{Pause, Warm};
use crate::app::Result;
use crate::explain::{ExitCode, Explain as _};
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::LocalWrite as _;
use crate::gateway::local::LocalSide;
use crate::gateway::socket::{self, ReadHalf};
use crate::session::SessionOutcome;
use crate::session::plan::Plan;
use crate::session::warning::Warning;
use session_manager_proto::session::End;

/// One forward at work.
pub(crate) struct Forwarding {
    pub(crate) plan: Plan,
    /// Where it listens. The first address stands for the forward; ::1 may follow 127.0.0.1.
    pub(crate) addresses: Vec<String>,
    pub(crate) warm: Rc<Warm>,
}

impl Forwarding {
    pub(crate) fn new(plan: Plan, addresses: Vec<String>) -> Self {
        let warm = Warm::new(addresses.first().map(String::as_str).unwrap_or_default());
        Self { plan, addresses, warm: Rc::new(warm) }
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
    pub(crate) async fn probe(&self, pool: &Rc<Pool>) -> Result<()> {
        loop {
            let permit = pool.permit().await;
            let (channel, probed) = pool.probe(&self.plan, permit);
            self.warm.offer(channel);
            match probed.await {
                Ok(Ok(Probed::Reached)) => break,
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Probed::Unknown)) if !pool.context.has_reached(Phase::Taken) => {
                    debug!("the connection that had the probe's session has gone: probing again");
                }
                // All is about to end.
                Ok(Ok(Probed::Unknown)) | Err(_) => std::future::pending().await,
            }
        }
        // It may be the place that another forward's probe waits for.
        if pool.is_crowded() {
            self.warm.evict();
        }
        Ok(())
    }

    /// Runs one connection to its end, on its ready channel if there is one, and reports it. Returns
    /// its exit code.
    pub(crate) async fn connect(
        &self,
        pool: &Rc<Pool>,
        number: Number,
        halves: Halves,
        channel: Option<Channel>,
    ) -> ExitCode {
        let (context, began) = (&pool.context, Instant::now());
        let mut attached = match self.attach(pool, number, halves, channel).await {
            Ok(attached) => attached,
            Err(NotAttached { reason, not_arrived }) => {
                let code = self.report_not_arrived(context, number, not_arrived);
                report_closed(context, number, began, reason);
                return code;
            }
        };
        let _open = context.count_open();
        if let Some(ready) = attached.opened().await {
            let waited = ready.saturating_duration_since(began);
            context.reporter.emit(&Event::Opened {
                connection: number,
                session: attached.session().as_deref(),
                // A channel that was kept ready was so before there was a connection.
                waited_ms: millis(waited),
            });
            context.connection_waited(waited);
        }
        let finished = attached.finished().await;
        let Some(Finished { result, local: halves, stopped, not_arrived }) = finished else {
            report_closed(context, number, began, Reason::Stopped);
            return ExitCode::Ok;
        };
        match result {
            Err(error) => {
                if let Some((reader, writer)) = halves {
                    socket::reset(reader, writer);
                }
                context.reporter.failed(Some(number), &*error);
                report_closed(context, number, began, Reason::Failed);
                error.exit_code()
            }
            Ok(outcome) => {
                let is_complete =
                    matches!(&outcome, SessionOutcome::Ended(ended) if ended.complete);
                let reason = reason(&outcome, stopped);
                let target = &self.plan.target;
                let notified = match &outcome {
                    SessionOutcome::Ended(ended) => ended.end.notified(),
                    SessionOutcome::Stopped => None,
                };
                let (warning, code) = match &outcome {
                    SessionOutcome::Ended(Outcome { local_error: Some(error), .. }) => {
                        (Some(Warning::of_local(target, error)), error.exit_code())
                    }
                    _ if notified.is_some() => {
                        (notified.map(Warning::of_notified), ExitCode::Session)
                    }
                    SessionOutcome::Ended(Outcome { unanswered: 1.., yielded, .. })
                        if reason == Reason::Local =>
                    {
                        (Some(Warning::of_silence(target, *yielded)), ExitCode::Ok)
                    }
                    SessionOutcome::Ended(Outcome { not_sent: Some(bytes @ 1..), .. }) => {
                        (Some(Warning::of_cut(target, *bytes)), ExitCode::Session)
                    }
                    _ => (None, ExitCode::Ok),
                };
                if let Some(warning) = warning {
                    context.reporter.warned(Some(number), &warning);
                }
                let code = match self.report_not_arrived(context, number, not_arrived) {
                    ExitCode::Ok => code,
                    not_arrived => not_arrived,
                };
                report_closed(context, number, began, reason);
                match halves {
                    Some((reader, writer)) if is_complete => socket::close(reader, writer).await,
                    Some((reader, writer)) => socket::reset(reader, writer),
                    None => {}
                }
                code
            }
        }
    }

    /// Finds a channel for a connection, unless the forward is stopped first, or a client leaves the
    /// queue that has not said anything.
    async fn attach(
        &self,
        pool: &Rc<Pool>,
        number: Number,
        mut halves: Halves,
        mut taken: Option<Channel>,
    ) -> std::result::Result<Attached, NotAttached> {
        let context = &pool.context;
        let counters = context.reporter.counters(number);
        loop {
            let channel = taken.take().or_else(|| self.warm.take());
            let channel = channel.or_else(|| {
                let is_draining = context.has_reached(Phase::Draining);
                let permit = if is_draining { None } else { pool.free_permit() }?;
                Some(pool.open(&self.plan, permit))
            });
            let channel = match channel {
                Some(channel) => channel,
                None => tokio::select! {
                    biased;
                    () = self.warm.offered.notified() => continue,
                    () = unwanted(context, &mut halves.0) => {
                        let mut local = LocalSide::new(halves.0, halves.1);
                        let not_arrived = local.rest().await.unwrap_or(0);
                        return Err(NotAttached { reason: Reason::Stopped, not_arrived });
                    }
                    () = halves.1.left() => {
                        return Err(NotAttached { reason: Reason::Local, not_arrived: 0 });
                    }
                    permit = pool.permit_for_connection() => {
                        pool.open(&self.plan, permit)
                    }
                },
            };
            match channel.attach(halves, number, Rc::clone(&counters)) {
                Ok(attached) => return Ok(attached),
                Err(back) => halves = back,
            }
        }
    }

    /// Warns if bytes of a client that has closed are not known to have arrived. Gives the exit code that
    /// this is worth.
    fn report_not_arrived(&self, context: &Context, number: Number, bytes: u64) -> ExitCode {
        if bytes == 0 {
            return ExitCode::Ok;
        }
        context.reporter.lost(number, &Warning::of_stop(&self.plan.target, bytes));
        ExitCode::Session
    }

    /// Keeps `count` channels ready until the forward is stopped or its only connection is there, each
    /// for so long; and the one of the probe, which may be one of them, for no longer.
    pub(crate) async fn keep_warm(&self, pool: &Rc<Pool>, count: usize, warm_for: Duration) {
        let mut pause = Pause::default();
        let open = || Some(pool.open(&self.plan, pool.spare_permit()?));
        let warn = |warning: &Warning| pool.context.reporter.warned(None, warning);
        while !pool.context.has_reached(Phase::Taken) {
            let next = self.warm.refill(open, count, warm_for, &mut pause, warn);
            let mut stages = self.warm.watch();
            tokio::select! {
                () = pool.context.reached(Phase::Taken) => break,
                () = self.warm.changed.notified() => {}
                () = pool.freed.notified() => {}
                () = Channel::changed(&mut stages), if !stages.is_empty() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        self.warm.clear();
    }
}

/// Why a connection has found no channel.
struct NotAttached {
    reason: Reason,
    /// How many bytes it has sent before it has closed, if the forward was stopped.
    not_arrived: u64,
}

/// Waits until a connection that has no channel is to have none any more, since the forward is stopped.
async fn unwanted(context: &Context, reader: &mut ReadHalf) {
    context.reached(Phase::Draining).await;
    if context.is_delivering() && reader.has_input().await {
        context.reached(Phase::Closing).await;
    }
}

fn report_closed(context: &Context, number: Number, began: Instant, reason: Reason) {
    let bytes = context.reporter.bytes(number);
    context.reporter.emit(&Event::Closed {
        connection: number,
        sent: bytes.sent,
        received: bytes.received,
        duration_ms: millis(began.elapsed()),
        reason,
    });
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn reason(outcome: &SessionOutcome, stopped: bool) -> Reason {
    match outcome {
        SessionOutcome::Stopped if stopped => Reason::Stopped,
        // Its client has gone before there was a session.
        SessionOutcome::Stopped => Reason::Local,
        SessionOutcome::Ended(ended) => match &ended.end {
            End::Local if stopped => Reason::Stopped,
            End::Local => Reason::Local,
            End::Remote(_) => Reason::Target,
            End::Failed(_) => Reason::Failed,
        },
    }
}
