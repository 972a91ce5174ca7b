//! The agent on the instance: joins, dials the target, and carries bytes both ways, each generation in its way.

use std::{convert::Infallible, future::pending, io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    channel::Channel,
    ending::{ABORTED, CLOSED, Ending},
    frame::MAX_PAYLOAD,
    link::Link,
    outgoing::Outgoing,
    points::{Points, When},
};
use crate::{agent::DialFailure, fault::Point};

/// How long the target may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Lives until it has a reason to end the session.
pub(crate) async fn run(link: &Link, mut input: mpsc::Receiver<Bytes>) -> Ending {
    let faults = link.points(|at| match at {
        Point::OutputBytes(bytes) => Some(When::once(*bytes)),
        Point::EveryOutputBytes(bytes) => Some(When::every(*bytes)),
        _ => None,
    });
    let mut output = Output { link, faults, sent: 0, not_before: Instant::now() };
    let generation = link.instance.agent.generation;
    let opening = open(link);
    let opened = if !generation.holds_input() || !link.instance.reachable() {
        dropping(link, &mut input, opening).await
    } else {
        opening.await
    };
    let mut target = match opened {
        Ok(target) => target,
        Err(ending) => return ending,
    };
    let mut first = None;
    loop {
        if let Some(target) = target.take() {
            carry(&mut output, target, &mut input, first.take()).await;
            link.agent_may_go().await;
            if generation.ends_with_target() {
                return Ending::status(CLOSED, "ReadFromTargetPortFailed");
            }
        }
        // Not a word to the client; the next Input of any kind dials the target again.
        let next = match input.recv().await {
            Some(next) => next,
            None => pending().await,
        };
        link.agent_may_go().await;
        match dial(link).await {
            Ok(stream) => {
                target = Some(stream);
                first = Some(next);
            }
            Err(_) if link.instance.agent.dial_failure == DialFailure::Silent => {
                note_dropped(link, &next);
            }
            Err(_) => return Ending::status(CLOSED, "ReopenTargetPortFailed"),
        }
    }
}

/// From the upgrade to the target. No target and no ending: it could not be dialled, and nobody is told.
async fn open(link: &Link) -> Result<Option<TcpStream>, Ending> {
    let (instance, agent) = (&link.instance, &link.instance.agent);
    let progress = instance.progress;
    link.strike_at(Point::Connected).await;
    for (state, wanted) in [(0, progress.initial), (1, progress.opening)] {
        if wanted {
            sleep(progress.delay).await;
            link.progress(state).await;
        }
    }
    if !instance.reachable() {
        sleep(instance.agent_timeout).await;
        return Err(Ending::status(ABORTED, "AgentTimeout"));
    }
    sleep(agent.join_delay).await;
    link.strike_at(Point::BeforeOpened).await;
    link.agent_may_go().await;
    link.open().await;
    link.strike_at(Point::Opened).await;
    link.agent_may_go().await;
    if link.port.is_none() {
        return Err(Ending::status(CLOSED, "OpenPtyFailed"));
    }
    let dialling = async {
        sleep(agent.dial_delay).await;
        dial(link).await
    };
    let dialled = if agent.generation.holds_input() {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        timeout(agent.hold, dialling).await.unwrap_or_else(|_| Err(late()))
    } else {
        dialling.await
    };
    match dialled {
        Ok(stream) => Ok(Some(stream)),
        Err(_) if agent.dial_failure == DialFailure::Silent => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::HostUnreachable => {
            Err(Ending::status(CLOSED, format!("OpenTargetPortFailed: {error}")))
        }
        Err(_) => Err(Ending::status(CLOSED, "OpenTargetPortFailed")),
    }
}

/// Throws Input away until the target is there, as older agents do.
async fn dropping<T>(
    link: &Link,
    input: &mut mpsc::Receiver<Bytes>,
    opening: impl Future<Output = T>,
) -> T {
    let throwing_away = async {
        while let Some(bytes) = input.recv().await {
            note_dropped(link, &bytes);
        }
        pending::<Infallible>().await
    };
    tokio::select! {
        opened = opening => opened,
        never = throwing_away => match never {},
    }
}

fn note_dropped(link: &Link, bytes: &Bytes) {
    let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    link.note(|session| session.dropped_bytes += count);
}

async fn dial(link: &Link) -> io::Result<TcpStream> {
    let targets = &link.instance.targets;
    let host = link.target_server.clone();
    let port = link.port.unwrap_or_default();
    let dialled = match targets.get(&(host.clone(), port)) {
        Some(listener) => timeout(DIAL_TIMEOUT, TcpStream::connect(listener))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        None if host.is_some() && !targets.keys().any(|(known, _)| *known == host) => {
            let name = host.unwrap_or_default();
            let message = format!("lookup {name}: no such host");
            Err(io::Error::new(io::ErrorKind::HostUnreachable, message))
        }
        None => Err(io::ErrorKind::ConnectionRefused.into()),
    };
    link.note(|session| match &dialled {
        Ok(_) => session.dials += 1,
        Err(_) => session.dial_failures += 1,
    });
    let stream = dialled?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries bytes both ways, until the target has closed.
async fn carry(
    output: &mut Output<'_>,
    target: TcpStream,
    input: &mut mpsc::Receiver<Bytes>,
    first: Option<Bytes>,
) {
    let (from, to) = target.into_split();
    let link = output.link;
    tokio::select! {
        () = output.read(from) => {}
        never = feed(link, to, input, first) => match never {},
    }
}

/// Input to the target. That it takes no more is for the reading half to find out.
async fn feed(
    link: &Link,
    mut to: OwnedWriteHalf,
    input: &mut mpsc::Receiver<Bytes>,
    mut first: Option<Bytes>,
) -> Infallible {
    loop {
        let bytes = match first.take() {
            Some(bytes) => bytes,
            None => match input.recv().await {
                Some(bytes) => bytes,
                None => pending().await,
            },
        };
        link.agent_may_go().await;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match to.write(rest).await {
                Ok(0) | Err(_) => pending().await,
                Ok(count) => {
                    rest = &rest[count..];
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    link.note(|session| session.forwarded_bytes += count);
                }
            }
        }
    }
}

/// The way from the target to the client, which outlives a target that is dialled again.
struct Output<'a> {
    link: &'a Link,
    faults: Points<u64>,
    sent: u64,
    /// When the next frame may go out, if there is a limit.
    not_before: Instant,
}

impl Output<'_> {
    /// Reads the target only as fast as the client takes it, until it has closed.
    async fn read(&mut self, mut from: OwnedReadHalf) {
        let link = self.link;
        loop {
            self.strike().await;
            link.wait_until(Channel::has_room).await;
            let mut frame = BytesMut::with_capacity(MAX_PAYLOAD);
            // Up to where a fault strikes, so that it does exactly there.
            let room = self.faults.next().map_or(usize::MAX, |at| {
                usize::try_from(at.saturating_sub(self.sent)).unwrap_or(usize::MAX)
            });
            let mut limited =
                (&mut from).take(room.min(MAX_PAYLOAD).try_into().unwrap_or(u64::MAX));
            match limited.read_buf(&mut frame).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    link.may_go(|stalls| stalls.agent || stalls.target).await;
                    self.send(frame.freeze(), count).await;
                }
            }
        }
    }

    async fn send(&mut self, payload: Bytes, count: usize) {
        if let Some(limit) = self.link.instance.output_limit.filter(|limit| *limit > 0) {
            sleep_until(self.not_before).await;
            let seconds = count as f64 * 8.0 / limit as f64;
            self.not_before =
                self.not_before.max(Instant::now()) + Duration::from_secs_f64(seconds);
        }
        self.link.out.send(Outgoing::Output(payload)).await;
        self.sent += u64::try_from(count).unwrap_or(u64::MAX);
    }

    async fn strike(&mut self) {
        while let Some(action) = self.faults.due(self.sent) {
            self.link.strike(&action).await;
        }
    }
}
