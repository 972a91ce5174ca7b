//! What comes to a stream from outside, and what happens to it by the clock alone.

use std::{collections::VecDeque, convert::Infallible, future::pending, pin::Pin};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{
    channel::ASK_AGAIN,
    ending::{CLOSED, Ending, FROZEN},
    link::Link,
    points::When,
};
use crate::{
    fault::{Action, Point},
    world::Control,
};

/// So much may wait to be done, before no more is heard.
const WAITING: usize = 256;

/// A fault for later; where a socket is named, for no other one.
struct Later {
    at: Instant,
    socket: Option<u64>,
    action: Action,
}

/// Something to be done, which may have to wait for the client.
enum Job {
    Inject(Action),
    Limit(u64),
}

impl Job {
    async fn run(self, link: &Link) {
        match self {
            Self::Inject(action) => _ = link.inject_now(&action).await,
            Self::Limit(limit) => link.change_limit(limit).await,
        }
    }
}

fn drops(action: &Action) -> bool {
    matches!(action, Action::Cut | Action::Reset | Action::Vanish | Action::Close(1006))
}

/// Carries out what comes from outside: faults, another limit, a restart, the end. One after the other, but for the end,
/// which waits for nothing.
pub(crate) async fn control(link: &Link, controls: &mut mpsc::Receiver<Control>) -> Ending {
    let mut later: Vec<Later> = Vec::new();
    let mut jobs: VecDeque<Job> = VecDeque::new();
    let mut running: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    loop {
        if running.is_none() {
            running = jobs
                .pop_front()
                .map(|job| -> Pin<Box<dyn Future<Output = ()> + Send>> { Box::pin(job.run(link)) });
        }
        let next = later.iter().map(|later| later.at).min();
        let control = tokio::select! {
            () = async { if let Some(job) = &mut running { job.await } }, if running.is_some() => {
                running = None;
                continue;
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                let due = later.extract_if(.., |later| later.at <= now);
                let here = |later: &Later| later.socket.is_none_or(|on| on == link.socket());
                jobs.extend(due.filter(here).map(|later| Job::Inject(later.action)));
                continue;
            }
            control = controls.recv(), if jobs.len() < WAITING => control,
        };
        match control {
            // What drops the socket waits for nothing that is held up by it.
            Some(Control::Inject(action)) if running.is_some() && drops(&action) => {
                link.inject_now(&action).await;
            }
            Some(Control::Inject(action)) => jobs.push_back(Job::Inject(action)),
            Some(Control::StrikeIn(delay, action)) => {
                later.push(Later { at: Instant::now() + delay, socket: None, action });
            }
            Some(Control::Corruption(fault)) => link.corrupt_more(&fault),
            Some(Control::Limit(limit)) => jobs.push_back(Job::Limit(limit)),
            Some(Control::Restart { announced, close_after, code }) => {
                let (at, socket) = (Instant::now() + close_after, Some(link.socket()));
                if announced {
                    jobs.push_back(Job::Inject(Action::status(FROZEN, "restart")));
                }
                later.push(Later { at, socket, action: Action::Close(code) });
            }
            // The ticket is gone without a word only if so many others came that it was forgotten.
            Some(Control::End) | None => {
                let reason = "EndTerminalSession".to_owned();
                return Ending { reason, ..Ending::status(CLOSED, "Exit") };
            }
        }
    }
}

/// What happens by the clock alone: the session's longest life, faults, pings, and asking for what is missing.
pub(crate) async fn clock(link: &Link) -> Ending {
    tokio::select! {
        () = sleep(link.instance.session_timeout) => Ending::status(CLOSED, "SessionTimeout"),
        never = timed_faults(link) => match never {},
        never = pings(link) => match never {},
        never = asking(link) => match never {},
    }
}

async fn timed_faults(link: &Link) -> Infallible {
    let mut faults = link.points(|at| match at {
        Point::AfterOpened(delay) => Some(When::once(*delay)),
        _ => None,
    });
    link.opened().await;
    let opened = Instant::now();
    while let Some(next) = faults.next() {
        sleep_until(opened + next).await;
        while let Some(action) = faults.due(next) {
            link.inject_now(&action).await;
        }
    }
    pending().await
}

async fn pings(link: &Link) -> Infallible {
    let Some(interval) = link.instance.ping_every else { return pending().await };
    loop {
        sleep(interval).await;
        link.out.send(super::outgoing::Outgoing::Ping).await;
    }
}

/// A Sync, or what was sent upon it, may be lost as well.
async fn asking(link: &Link) -> Infallible {
    if !link.resumable {
        return pending().await;
    }
    loop {
        sleep(ASK_AGAIN).await;
        if link.is_attached() {
            link.change(|channel| channel.ask_again(std::time::Instant::now()));
        }
    }
}
