//! The agent on the instance: joins, dials the target, and carries bytes both ways, each generation in its way.

use std::{future::pending, io, pin::pin, time::Duration};

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
    frame::{Frame, MAX_PAYLOAD, kind},
    link::Link,
    outgoing::Outgoing,
    points::{Points, When},
    shell,
};
use crate::{agent::DialFailure, fault::Point};

/// What the client sends, as it comes to the agent: one after the other.
#[derive(Debug)]
pub(crate) enum Received {
    Input(Bytes),
    /// Close, or Status 5.
    Close,
    /// Rows and columns.
    Resize(u16, u16),
    /// Of any other type.
    Other,
}

impl Received {
    /// A Resize, if it is well-formed.
    pub(super) fn resize(frame: &Frame) -> Self {
        match frame.payload[..] {
            [a, b, c, d] if frame.kind == kind::RESIZE => {
                Self::Resize(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
            }
            _ => Self::Other,
        }
    }
}

/// Lives until it has a reason to end the session.
pub(crate) async fn run(link: &Link, mut received: mpsc::Receiver<Received>) -> Ending {
    let faults = link.points(|at| match at {
        Point::OutputBytes(bytes) => Some(When::once(*bytes)),
        Point::EveryOutputBytes(bytes) => Some(When::every(*bytes)),
        _ => None,
    });
    let mut output = Output { link, faults, sent: 0, not_before: Instant::now() };
    if link.port.is_none() {
        return shell::run(&mut output, &mut received).await;
    }
    let agent = &link.instance.agent;
    let mut held = None;
    let mut target = match opening(link, &mut received, &mut held).await {
        Ok(target) => target,
        Err(ending) => return ending,
    };
    loop {
        if let Some(target) = target.take() {
            let ending = carry(&mut output, target, &mut received, held.take()).await;
            if let Some(ending) = ending {
                return ending;
            }
            link.agent_may_go().await;
            link.note(|session| session.target_closes += 1);
            if agent.generation.ends_with_target() {
                return Ending::target_closed(agent.hangup);
            }
        }
        // Nothing is sent to the client; what it sends next makes the agent dial the target again.
        held = match next(&mut received).await {
            Received::Close if link.obeys_close() => {
                link.agent_may_go().await;
                return Ending::client_closed();
            }
            Received::Other | Received::Resize(..) if agent.generation.redials_on_input_only() => {
                continue;
            }
            Received::Close | Received::Other | Received::Resize(..) => None,
            Received::Input(bytes) => Some(bytes),
        };
        link.agent_may_go().await;
        match dial(link).await {
            Ok(stream) => target = Some(stream),
            Err(_)
                if agent.dial_failure == DialFailure::Silent
                    || !agent.generation.ends_with_redial() =>
            {
                note_dropped(link, &held.take().unwrap_or_default());
            }
            Err(_) => return Ending::status(CLOSED, "ReopenTargetPortFailed"),
        }
    }
}

/// The next one of the client. That none can come any more is for others to find out.
pub(super) async fn next(received: &mut mpsc::Receiver<Received>) -> Received {
    match received.recv().await {
        Some(next) => next,
        None => pending().await,
    }
}

/// From the upgrade to the target, with what the client sends meanwhile. Input is dropped, or the first of it is held; what is
/// behind that waits. No target and no ending: it could not be dialled, and nothing is sent to the client.
async fn opening(
    link: &Link,
    received: &mut mpsc::Receiver<Received>,
    held: &mut Option<Bytes>,
) -> Result<Option<TcpStream>, Ending> {
    let agent = &link.instance.agent;
    let holds = agent.generation.holds_input() && link.instance.reachable();
    let mut opening = pin!(open(link));
    let mut patience = pin!(patience(link));
    loop {
        tokio::select! {
            opened = &mut opening => return opened,
            next = next(received), if held.is_none() => match next {
                Received::Input(bytes) if holds => {
                    *held = Some(bytes);
                    patience.set(self::patience(link));
                }
                Received::Input(bytes) => note_dropped(link, &bytes),
                Received::Close if link.obeys_close() => {
                    if link.is_open() {
                        link.agent_may_go().await;
                    }
                    return Err(Ending::client_closed());
                }
                Received::Close | Received::Other | Received::Resize(..) => {}
            },
            () = &mut patience, if held.is_some() => {
                return Err(Ending::status(CLOSED, agent.generation.open_failed()));
            }
        }
    }
}

/// For how long an agent holds Input, once it has joined.
async fn patience(link: &Link) {
    link.opened().await;
    sleep(link.instance.agent.hold).await;
}

/// From the upgrade until the agent has joined, and the client was told so.
pub(super) async fn join(link: &Link) -> Result<(), Ending> {
    let (instance, agent) = (&link.instance, &link.instance.agent);
    let progress = instance.progress;
    link.inject_at(Point::Connected).await;
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
    link.inject_at(Point::BeforeOpened).await;
    link.agent_may_go().await;
    link.open().await;
    link.inject_at(Point::Opened).await;
    link.agent_may_go().await;
    Ok(())
}

/// From the upgrade to the target.
async fn open(link: &Link) -> Result<Option<TcpStream>, Ending> {
    let agent = &link.instance.agent;
    join(link).await?;
    sleep(agent.dial_delay).await;
    let failed = agent.generation.open_failed();
    match dial(link).await {
        Ok(stream) => Ok(Some(stream)),
        Err(_) if agent.dial_failure == DialFailure::Silent => Ok(None),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut) =>
        {
            Err(Ending::status(CLOSED, format!("{failed}: {error}")))
        }
        Err(_) => Err(Ending::status(CLOSED, failed)),
    }
}

pub(super) fn note_dropped(link: &Link, bytes: &Bytes) {
    let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    link.note(|session| session.dropped_bytes += count);
}

async fn dial(link: &Link) -> io::Result<TcpStream> {
    let targets = &link.instance.targets;
    let host = link.target_server.clone();
    let port = link.port.unwrap_or_default();
    let dialling = async {
        match targets.get(&(host.clone(), port)) {
            None if host.is_none() && link.instance.unanswering.contains(&port) => pending().await,
            Some(listener) => TcpStream::connect(listener).await,
            None if host.is_some() && !targets.keys().any(|(known, _)| *known == host) => {
                let name = host.unwrap_or_default();
                let message = format!("lookup {name}: no such host");
                Err(io::Error::new(io::ErrorKind::HostUnreachable, message))
            }
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    };
    let dialled = timeout(link.instance.agent.dial_timeout, dialling).await.unwrap_or_else(|_| {
        let message = format!("dial tcp 127.0.0.1:{port}: i/o timeout");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    });
    link.note(|session| match &dialled {
        Ok(_) => session.dials += 1,
        Err(_) => session.dial_failures += 1,
    });
    let stream = dialled?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries bytes both ways, until the target has closed, or the client has ended the session.
async fn carry(
    output: &mut Output<'_>,
    target: TcpStream,
    received: &mut mpsc::Receiver<Received>,
    first: Option<Bytes>,
) -> Option<Ending> {
    let (from, to) = target.into_split();
    let link = output.link;
    tokio::select! {
        () = output.read(from) => None,
        ending = feed(link, to, received, first) => Some(ending),
    }
}

/// Input to the target, until a Close that is obeyed. That the target takes no more is for the reading half to find out.
async fn feed(
    link: &Link,
    mut to: OwnedWriteHalf,
    received: &mut mpsc::Receiver<Received>,
    first: Option<Bytes>,
) -> Ending {
    let mut first = first.map(Received::Input);
    loop {
        let next = match first.take() {
            Some(first) => first,
            None => next(received).await,
        };
        link.agent_may_go().await;
        let bytes = match next {
            Received::Input(bytes) => bytes,
            Received::Close if link.obeys_close() => return Ending::client_closed(),
            Received::Close | Received::Other | Received::Resize(..) => continue,
        };
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
pub(super) struct Output<'a> {
    pub(super) link: &'a Link,
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
            self.inject().await;
            link.wait_until(Channel::has_room).await;
            let mut frame = BytesMut::with_capacity(MAX_PAYLOAD);
            // Up to where a fault is injected, so that it takes effect exactly there.
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

    pub(super) async fn send(&mut self, payload: Bytes, count: usize) {
        if let Some(limit) = self.link.output_limit().filter(|limit| *limit > 0) {
            sleep_until(self.not_before).await;
            let seconds = count as f64 * 8.0 / limit as f64;
            self.not_before =
                self.not_before.max(Instant::now()) + Duration::from_secs_f64(seconds);
        }
        self.link.out.send(Outgoing::Output(payload)).await;
        self.sent += u64::try_from(count).unwrap_or(u64::MAX);
    }

    pub(super) async fn inject(&mut self) {
        while let Some(action) = self.faults.due(self.sent) {
            self.link.inject(&action).await;
        }
    }
}
