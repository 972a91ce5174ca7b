//! One connection, from the upgrade to its end: the writer, the reader, the agent and the clock, side by side in one
//! task, until the first of them ends it.

use std::{convert::Infallible, future::pending, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Io, agent,
    link::{CLOSED, Ending, Goodbye, Link},
    reader,
    upgrade::{Admitted, Presence},
    writer::{self, Outbox, Outgoing, Wrote},
};
use crate::{
    fault::Point,
    world::{Control, Shared, random_hex},
};

/// So many frames of Input may be on their way to the agent.
const INPUT_QUEUE: usize = 16;
/// The largest message that is taken from a client.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long the end of a connection may take: what is queued, a last status, the WebSocket's own close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Plays the gateway on a fresh WebSocket.
pub(crate) async fn run(
    shared: Arc<Shared>,
    session: Admitted,
    presence: &Presence,
    io: Io,
    early: Bytes,
) {
    let switches = io.switches();
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let websocket =
        WebSocketStream::from_partially_read(io, early.to_vec(), Role::Server, Some(config)).await;
    let (sink, mut messages) = websocket.split();
    let (out, queue) = Outbox::new();
    let channel = format!("d-{}", random_hex(8));
    let sent = {
        let (shared, serial) = (Arc::clone(&shared), session.serial);
        move |length: usize| {
            shared.note_session(serial, |session| {
                session.output_frames += 1;
                session.output_bytes += u64::try_from(length).unwrap_or(u64::MAX);
            });
        }
    };
    let writing = writer::write(sink, queue, channel, Arc::clone(&switches), sent);
    let mut writer = pin!(writing);
    let mut controls = session.controls;
    let link = Link::new(
        shared,
        session.serial,
        session.instance,
        session.port,
        session.target_server,
        session.faults,
        out,
        switches,
    );
    let ended = {
        let (sender, input) = mpsc::channel(INPUT_QUEUE);
        tokio::select! {
            wrote = &mut writer => Err(wrote),
            ending = reader::read(&link, &mut messages, sender) => Ok(ending),
            ending = agent::run(&link, input) => Ok(ending),
            ending = obey(&link, &mut controls) => Ok(ending),
            ending = clock(&link) => Ok(ending),
        }
    };
    // The agent is gone, and with it its connection to the target. What is left is to say goodbye.
    match ended {
        Err(Wrote::Cut) => presence.ended("Cut", false),
        Err(Wrote::Gone) => presence.ended("ClientGone", false),
        Err(Wrote::Close(code)) => {
            presence.ended("Closed", matches!(code, 1000 | 1008));
            // That the client does not answer in time is all the same here.
            let _ = timeout(CLOSE_TIMEOUT, drain(&link, &mut messages)).await;
        }
        Ok(ending) => {
            presence.ended(&ending.reason, ending.terminates);
            if ending.goodbye == Goodbye::None || link.switches.is_muted() {
                return; // not a word gets out
            }
            let goodbye = async {
                if let Some((state, text)) = &ending.status {
                    link.out.status(*state, text).await;
                }
                if let Goodbye::Close(code) = ending.goodbye {
                    link.out.send(Outgoing::Close(code)).await;
                }
                drain(&link, &mut messages).await;
            };
            // A fault that was on its way already may still cut all this short.
            let cut = async {
                if writer.await != Wrote::Cut {
                    pending::<()>().await;
                }
            };
            let all = async {
                tokio::select! {
                    () = goodbye => {}
                    () = cut => {}
                }
            };
            let _ = timeout(CLOSE_TIMEOUT, all).await;
        }
    }
}

/// Reads what is still under way, so that nothing of what was sent last is lost to a reset, until the client's
/// side is closed.
async fn drain<S>(link: &Link, messages: &mut S)
where
    S: Stream<Item = Result<Message, WsError>> + Unpin,
{
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            link.note(|session| session.close_handshake = true);
        }
    }
}

/// Carries out what comes from outside: faults, another limit, the end.
async fn obey(link: &Link, controls: &mut mpsc::Receiver<Control>) -> Ending {
    loop {
        match controls.recv().await {
            Some(Control::Strike(action)) => {
                if let Some(ending) = link.strike_now(&action).await {
                    return ending;
                }
            }
            Some(Control::Limit(limit)) => link.change_limit(limit).await,
            // The ticket is gone without a word only if so many others came that it was forgotten.
            Some(Control::End) | None => {
                let reason = "EndTerminalSession".to_owned();
                return Ending { reason, ..Ending::status(CLOSED, "Exit") };
            }
        }
    }
}

/// What happens by the clock alone: the session's longest life, faults, pings.
async fn clock(link: &Link) -> Ending {
    tokio::select! {
        () = sleep(link.instance.session_timeout) => Ending::status(CLOSED, "SessionTimeout"),
        ending = timed_faults(link) => ending,
        never = pings(link) => match never {},
    }
}

async fn timed_faults(link: &Link) -> Ending {
    let mut faults = link.points(|at| match at {
        Point::AfterOpened(delay) => Some(*delay),
        _ => None,
    });
    link.opened().await;
    let opened = Instant::now();
    while let Some(next) = faults.next() {
        sleep_until(opened + next).await;
        while let Some(action) = faults.due(next) {
            if let Some(ending) = link.strike_now(&action).await {
                return ending;
            }
        }
    }
    pending().await
}

async fn pings(link: &Link) -> Infallible {
    let Some(interval) = link.instance.ping_every else { return pending().await };
    loop {
        sleep(interval).await;
        link.out.send(Outgoing::Ping).await;
    }
}
