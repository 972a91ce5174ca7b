//! One stream, from its first upgrade to its end: the sockets that it is on, the agent and the clock, side by side in one
//! task, until the first of them ends it. Only where the agent resumes is there more than one socket, one after the other.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    sync::{mpsc, watch},
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
    Io,
    agent::{self, Received},
    control::{clock, control},
    ending::{Ending, Goodbye, Scope},
    link::{Link, Urgent},
    outgoing::{Outbox, Outgoing},
    reader::Reader,
    upgrade::{Admitted, Attachment, Commands},
    writer::{Writer, Wrote},
};
use crate::world::Shared;

/// So many frames may be on their way to the agent.
const INPUT_QUEUE: usize = 16;
/// The largest message that is taken from a client.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long the end of a connection may take: what is queued, a last status, the WebSocket's own close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the client may take to read what was sent before the end, and to close: a connection that is dropped
/// before is reset, and what the system still holds of it is lost.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(30);

/// A socket that was let in.
pub(crate) struct Socket {
    pub(crate) io: Io,
    /// What was read of it already.
    pub(crate) early: Bytes,
    pub(crate) attachment: Attachment,
}

/// The socket that a stream is on.
struct Attached {
    sink: SplitSink<WebSocketStream<Io>, Message>,
    messages: SplitStream<WebSocketStream<Io>>,
    urgent: watch::Receiver<Option<Urgent>>,
    /// Behind the socket itself: once it is gone, the session is no longer connected.
    _attachment: Attachment,
}

/// Plays the gateway, beginning on this socket.
pub(crate) async fn run(
    shared: Arc<Shared>,
    session: Admitted,
    Commands { mut controls, arrivals }: Commands,
    first: Socket,
) {
    let (out, queue) = Outbox::new();
    let (sender, input) = mpsc::channel(INPUT_QUEUE);
    let link = Link::new(shared, session, out);
    let mut sockets = Sockets {
        link: &link,
        reader: Reader::new(&link, sender),
        writer: Writer::new(&link, queue),
        current: None,
        arrivals,
        linger: None,
    };
    sockets.attach(first).await;
    let ending = tokio::select! {
        ending = sockets.serve() => ending,
        ending = play_agent(&link, input) => ending,
        ending = control(&link, &mut controls) => ending,
        ending = clock(&link) => ending,
    };
    // The agent is gone, and with it its connection to the target. Nobody can take the stream up any more, and what is left
    // is to say goodbye.
    drop(controls);
    sockets.arrivals.close();
    link.ended(&ending);
    sockets.goodbye(ending).await;
}

/// Where a stream resumes, the agent's own end waits until the client has what came before it.
async fn play_agent(link: &Link, input: mpsc::Receiver<Received>) -> Ending {
    let ending = agent::run(link, input).await;
    // What the client has asked for waits for nothing.
    if link.resumable && ending.status.is_some() {
        link.out.send(Outgoing::Over(ending)).await;
        return pending().await;
    }
    ending
}

/// The sockets of a stream, and what is done with the one that is there.
struct Sockets<'a> {
    link: &'a Link,
    reader: Reader<'a>,
    writer: Writer<'a>,
    current: Option<Attached>,
    arrivals: mpsc::Receiver<Socket>,
    /// The client was told that it is over: how, and until when it may close by itself.
    linger: Option<(Ending, Instant)>,
}

impl Sockets<'_> {
    async fn attach(&mut self, socket: Socket) {
        let Socket { mut io, early, attachment } = socket;
        io.begin_frames();
        let (again, urgent) = self.link.attach(io.switches());
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let websocket =
            WebSocketStream::from_partially_read(io, early.to_vec(), Role::Server, Some(config))
                .await;
        let (sink, messages) = websocket.split();
        self.linger = None;
        self.reader.attached(again);
        self.writer.attached(again);
        self.current = Some(Attached { sink, messages, urgent, _attachment: attachment });
    }

    /// Takes the socket away. Its end goes into the record.
    fn detach(&mut self, reason: &str) -> Option<Attached> {
        self.link.detach();
        self.link.note(|session| session.socket_ended(reason.to_owned()));
        self.current.take()
    }

    /// Serves one socket after the other, until one ends the stream or no other one comes.
    async fn serve(&mut self) -> Ending {
        loop {
            let (ending, next) = self.serve_one().await;
            if let Some(next) = next {
                self.detach(&ending.reason);
                self.attach(next).await;
                continue;
            }
            if ending.scope != Scope::Socket || !self.link.resumable {
                return ending;
            }
            let old = self.detach(&ending.reason);
            match self.wait(old.filter(|_| ending.goodbye == Goodbye::Drain)).await {
                Some(next) => self.attach(next).await,
                None => {
                    let over = self.writer.over().map(|over| over.reason.clone());
                    let ending = Ending::not_resumed();
                    return Ending { reason: over.unwrap_or(ending.reason), ..ending };
                }
            }
        }
    }

    /// Serves the socket that is there. With another one, if that takes its place.
    async fn serve_one(&mut self) -> (Ending, Option<Socket>) {
        let Some(socket) = &mut self.current else { return (Ending::unwritable(), None) };
        loop {
            let over = self.linger.as_ref().map(|(_, until)| *until);
            let ending = tokio::select! {
                Ok(()) = socket.urgent.changed() => {
                    let urgent = *socket.urgent.borrow_and_update();
                    match urgent {
                        Some(Urgent::Close(code)) => {
                            let closing = self.writer.close(&mut socket.sink, code);
                            let _ = timeout(CLOSE_TIMEOUT, closing).await;
                            Ending::closed(code)
                        }
                        Some(Urgent::Cut(reason)) => Ending::cut(reason),
                        None => continue,
                    }
                }
                Some(next) = self.arrivals.recv() => return (Ending::replaced(), Some(next)),
                wrote = self.writer.run(&mut socket.sink) => match wrote {
                    Wrote::Cut => Ending::cut("Cut"),
                    Wrote::HungUp | Wrote::Gone => Ending::unwritable(),
                    Wrote::Close(code) => Ending::closed(code),
                    Wrote::Over(ending) if ending.goodbye == Goodbye::HangUp => {
                        Ending { status: None, ..ending }
                    }
                    Wrote::Over(ending) => {
                        let until = Instant::now() + self.link.instance.agent.resumption.linger;
                        self.link.note(|session| {
                            session.end_reason.get_or_insert_with(|| ending.reason.clone());
                        });
                        self.linger = Some((ending, until));
                        continue;
                    }
                },
                ending = self.reader.read(&mut socket.messages) => ending,
                () = sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => {
                    let closing = async {
                        self.writer.close(&mut socket.sink, 1000).await;
                        drain(self.link, &mut socket.messages).await
                    };
                    // Who has answered the close has read all that came before it. Who has not may come back for it.
                    let answered = timeout(CLOSE_TIMEOUT, closing).await.unwrap_or(false);
                    match self.linger.take() {
                        Some((ending, _)) if answered => {
                            Ending { status: None, goodbye: Goodbye::None, ..ending }
                        }
                        _ => Ending::unwritable(),
                    }
                }
            };
            return match self.linger.take() {
                // The client has heard of the end, and closes.
                Some((over, _)) if ending.scope != Scope::Socket => {
                    (Ending { reason: over.reason, scope: over.scope, ..ending }, None)
                }
                _ => (ending, None),
            };
        }
    }

    /// Waits for another socket; the old one is closed in the meantime.
    async fn wait(&mut self, old: Option<Attached>) -> Option<Socket> {
        let link = self.link;
        let closing = async {
            if let Some(mut old) = old {
                let _ = timeout(CLOSE_TIMEOUT, drain(link, &mut old.messages)).await;
            }
            pending().await
        };
        tokio::select! {
            next = next_socket(&mut self.arrivals) => Some(next),
            () = sleep(link.instance.agent.resumption.grace) => None,
            never = self.writer.run_detached() => match never {},
            () = closing => None,
        }
    }

    /// What is left to do on the socket, if there is one.
    async fn goodbye(mut self, ending: Ending) {
        let link = self.link;
        let Some(mut socket) = self.current.take() else { return };
        link.note(|session| session.socket_ended(ending.reason.clone()));
        if ending.goodbye == Goodbye::None || link.switches().is_muted() {
            return; // not a word gets out
        }
        if !link.instance.answers_close && ending.is_of_client() {
            link.switches().vanish();
            return;
        }
        self.writer.expedite();
        let goodbye = async {
            if let Some((state, text)) = &ending.status {
                link.out.status(*state, text).await;
            }
            match ending.goodbye {
                Goodbye::Close(code) => link.out.send(Outgoing::Close(code)).await,
                Goodbye::HangUp => link.out.send(Outgoing::HangUp).await,
                Goodbye::Drain | Goodbye::None => {}
            }
            drain(link, &mut socket.messages).await;
        };
        // A fault that was on its way already may still cut all this short.
        let cut = async {
            loop {
                match self.writer.run(&mut socket.sink).await {
                    Wrote::Cut => break,
                    // Nobody takes the rest, and what waits to be sent waits in vain.
                    Wrote::Gone => {
                        sleep(CLOSE_TIMEOUT).await;
                        break;
                    }
                    Wrote::Over(_) => {}
                    Wrote::Close(_) | Wrote::HungUp => pending().await,
                }
            }
        };
        let all = async {
            tokio::select! {
                () = goodbye => {}
                () = cut => {}
            }
        };
        let _ = timeout(GOODBYE_TIMEOUT, all).await;
    }
}

/// The next socket; never, where none can come any more.
async fn next_socket(arrivals: &mut mpsc::Receiver<Socket>) -> Socket {
    poll_fn(|cx| match arrivals.poll_recv(cx) {
        Poll::Ready(Some(socket)) => Poll::Ready(socket),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    })
    .await
}

/// Reads what is still under way, so that nothing of what was sent last is lost to a reset, until the client's
/// side is closed. Whether it was closed as a WebSocket is.
pub(super) async fn drain<S>(link: &Link, messages: &mut S) -> bool
where
    S: Stream<Item = Result<Message, WsError>> + Unpin,
{
    let mut closed = false;
    while let Some(Ok(message)) = messages.next().await {
        if message.is_close() {
            closed = true;
            link.note(|session| session.close_handshake = true);
        }
    }
    closed
}
