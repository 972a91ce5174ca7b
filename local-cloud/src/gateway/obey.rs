//! What comes to a stream from outside, and what happens to it by the clock alone.

use std::{convert::Infallible, future::pending};

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

/// A fault for later; where a socket is named, for no other one.
struct Later {
    at: Instant,
    socket: Option<u64>,
    action: Action,
}

/// Carries out what comes from outside: faults, another limit, a restart, the end.
pub(crate) async fn obey(link: &Link, controls: &mut mpsc::Receiver<Control>) -> Ending {
    let mut later: Vec<Later> = Vec::new();
    loop {
        let next = later.iter().map(|later| later.at).min();
        let control = tokio::select! {
            control = controls.recv() => control,
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                for due in later.extract_if(.., |later| later.at <= now).collect::<Vec<_>>() {
                    if due.socket.is_none_or(|socket| socket == link.socket()) {
                        link.strike_now(&due.action).await;
                    }
                }
                continue;
            }
        };
        match control {
            Some(Control::Strike(action)) => _ = link.strike_now(&action).await,
            Some(Control::StrikeIn(delay, action)) => {
                later.push(Later { at: Instant::now() + delay, socket: None, action });
            }
            Some(Control::Mangle(fault)) => link.mangle_more(&fault),
            Some(Control::Limit(limit)) => link.change_limit(limit).await,
            Some(Control::Restart { announced, close_after, code }) => {
                let (at, socket) = (Instant::now() + close_after, Some(link.socket()));
                if announced {
                    link.strike_now(&Action::status(FROZEN, "restart")).await;
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
            link.strike_now(&action).await;
        }
    }
    pending().await
}

async fn pings(link: &Link) -> Infallible {
    let Some(interval) = link.instance.ping_every else { return pending().await };
    loop {
        sleep(interval).await;
        link.out.send(super::writer::Outgoing::Ping).await;
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
