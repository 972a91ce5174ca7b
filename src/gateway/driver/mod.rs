//! One task that moves bytes between the WebSocket, the session core and the local side.
//!
//! The branches of the one `select!` only wait; what they found is handled after it has returned,
//! so that the order of events is decided in one place and nothing is lost to a cancelled branch.

mod ending;
mod link;
mod local;
mod outcome;

pub(crate) use self::outcome::{LocalError, Outcome};

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, OptionFuture};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::debug;

use self::outcome::{is_gone, plain};
use super::connection::{GatewayConnection, NotReconnected, Reconnect};
use super::endpoint::LocalWrite;
use super::local::{Delivering, LocalSide};
use super::sleep::SleepWatch;
use super::upgrade::Socket;
use crate::platform::console::WindowSize;
use crate::session::event::OnEvent;
use session_manager_proto::generation::Generation;
use session_manager_proto::session::{Disconnect, Session};

/// How long what the local side has sent may take to go out once the session is to end.
const FLUSH_WITHIN: Duration = Duration::from_millis(600);
/// How long the last frames may take to be written after that.
const WRITE_WITHIN: Duration = Duration::from_millis(200);
/// How long the socket may take nothing before what it holds is taken to have been held up.
const HELD_UP: Duration = Duration::from_millis(250);
/// How long to look for a last message of the remote side once it takes nothing more.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);

/// The most bytes that are read from the local side at once.
const READ: usize = 16 * 1024;

/// Moves the bytes of one session. It goes on although there is no local side yet: such a session is kept
/// ready for one.
pub(crate) struct Driver<'w> {
    /// The socket, while there is one.
    halves: Option<(SplitSink<Socket, Message>, SplitStream<Socket>)>,
    /// The first error of a write to it.
    write_error: Arc<OnceLock<io::Error>>,
    gateway: GatewayConnection<'w>,
    reconnecting: Option<Reconnect<'w>>,
    sleep: SleepWatch,
    session: Session,
    on_event: OnEvent<'w>,
    /// A message that the socket has not taken.
    outgoing: Option<Message>,
    /// Whether the socket has taken messages that it has not written.
    unflushed: bool,
    /// Whether another session needs the place of this one; polled all the time while it lingers, so
    /// that the one that has been quiet for longest is notified first.
    slot_requested: Option<LocalBoxFuture<'w, ()>>,
    /// Since when the socket has taken nothing although there was something for it.
    blocked: Option<Instant>,
    /// Why the socket takes nothing any more, and since when nothing was read from it.
    sink_broken: Option<BrokenSink>,
    /// Whether the remote side has closed the WebSocket.
    peer_closed: bool,
    /// Bytes that the session gave and the local side has not taken.
    chunk: Bytes,
    /// Whether the local side has taken bytes that it has not written.
    unflushed_local: bool,
    buffer: Vec<u8>,
    /// Since when the session has ended.
    ended: Option<Instant>,
    delivering: Option<Delivering>,
    stop: Stop,
    /// Whether nothing takes what is delivered.
    reader_gone: bool,
    local_error: Option<LocalError>,
    /// When this machine last woke, and for how long it had slept.
    woke: Option<(Instant, Duration)>,
    /// How many bytes the local side has sent.
    sent: u64,
    /// How many of them had been sent on when the target last sent something.
    answered: u64,
    delivered: u64,
    /// The last reported value of [`Session::may_outlive_target`].
    may_outlive_target: bool,
}

/// Whether this side wants the session to end, beside its local side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It does not.
    No,
    /// Once what the local side has sent has arrived.
    Delivering {
        /// Since when nothing has come from the local side.
        quiet_since: Instant,
    },
    /// Now.
    Now(Input),
}

/// What is known of a local side that is not read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// It may send more: it notices the end of the session.
    Open,
    /// It has come to its end of file: nobody notices what is lost.
    Ended,
    /// It has sent more than the session could take.
    Unread,
}

/// A socket that can only be read.
struct BrokenSink {
    how: String,
    quiet_since: Option<Instant>,
}

impl BrokenSink {
    fn deadline(&self) -> Option<Instant> {
        self.quiet_since.map(|since| since + LAST_WORD_WITHIN)
    }
}

/// What one wait has found.
enum Wake {
    Deadline,
    SlotRequested,
    Delivering,
    Shutdown,
    Room(Result<(), WsError>),
    Flushed(Result<(), WsError>),
    Message(Option<Result<Message, WsError>>),
    Reconnected(Box<Result<Socket, NotReconnected>>),
    Agent(Option<Generation>),
    Resized(Option<WindowSize>),
    Attached,
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    FlushedLocal(io::Result<()>),
    ReaderGone,
}

impl<'w> Driver<'w> {
    /// A driver for a session that is not open yet.
    pub(crate) fn new(
        socket: Socket,
        mut gateway: GatewayConnection<'w>,
        mut session: Session,
        on_event: OnEvent<'w>,
    ) -> Self {
        if let Some(window) = &mut gateway.window {
            let size = *window.borrow_and_update();
            session.handle_resize(size.columns, size.rows);
        }
        Self {
            write_error: socket.get_ref().write_error(),
            halves: Some(socket.split()),
            gateway,
            reconnecting: None,
            sleep: SleepWatch::new(clock(), SystemTime::now()),
            session,
            on_event,
            outgoing: None,
            unflushed: false,
            slot_requested: None,
            blocked: None,
            sink_broken: None,
            peer_closed: false,
            chunk: Bytes::new(),
            unflushed_local: false,
            buffer: vec![0; READ],
            ended: None,
            delivering: None,
            stop: Stop::No,
            reader_gone: false,
            local_error: None,
            woke: None,
            sent: 0,
            answered: 0,
            delivered: 0,
            may_outlive_target: false,
        }
    }

    /// Copies bytes until the session has ended, everything that came is delivered and the WebSocket
    /// is closed. As long as there is no local side nothing is delivered, and the session keeps what it
    /// may hold.
    ///
    /// `shutdown` asks for an early end: what the local side has sent still goes out, all of it within
    /// a second.
    pub(crate) async fn run(
        mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let mut shutdown = std::pin::pin!(shutdown.fuse());
        self.delivering = Some(local.delivering());
        self.until_ended(local, shutdown.as_mut()).await;
        self.finish(local, shutdown).await
    }

    /// Until the session has ended and its last frame is written.
    async fn until_ended(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        mut shutdown: impl Future<Output = ()> + Unpin,
    ) {
        loop {
            let now = clock();
            self.maintain_connection(now);
            self.session.handle_timeout(now);
            self.end_if_delivered(local, now);
            self.log_events();
            self.report_may_outlive_target();
            match self.session.may_yield_at() {
                Some(at) if at <= now => {
                    self.slot_requested.get_or_insert_with(self.gateway.slot_requested);
                }
                _ => self.slot_requested = None,
            }
            if self.outgoing.is_none() && self.halves.is_some() {
                self.outgoing = self.next_message(now);
            }
            if self.chunk.is_empty() {
                self.chunk = self.session.poll_deliver().unwrap_or_default();
                if !self.chunk.is_empty() {
                    self.answered = self.sent - self.session.unsent();
                }
            }
            if self.session.end().is_some() {
                let since = *self.ended.get_or_insert(now);
                let writing = self.outgoing.is_some() || self.unflushed;
                let waited = now.saturating_duration_since(since);
                if !writing || self.sink_broken.is_some() || waited >= WRITE_WITHIN {
                    return;
                }
            }
            let writing = self.outgoing.is_some() || self.unflushed;
            self.blocked = writing.then(|| self.blocked.unwrap_or(now));
            match self.blocked {
                Some(since) => self.session.handle_socket_blocked(since),
                None => self.session.handle_socket_drained(now),
            }
            let found = self.wait(local, &mut shutdown).await;
            self.handle(local, found);
        }
    }

    fn next_message(&mut self, now: Instant) -> Option<Message> {
        if let Some(ping) = self.session.poll_ping(now) {
            return Some(Message::Ping(ping));
        }
        if self.session.poll_pong(now) {
            return Some(Message::Pong(Bytes::new()));
        }
        self.session.poll_transmit(now).map(Message::Binary)
    }

    async fn wait(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        shutdown: impl Future<Output = ()> + Unpin,
    ) -> Wake {
        let reads_far = self.session.wants_remote() && self.halves.is_some();
        if let Some(broken) = &mut self.sink_broken {
            // As long as the local side holds up the reading, nothing can be said to be missing.
            broken.quiet_since = reads_far.then(|| broken.quiet_since.unwrap_or_else(clock));
        }
        let can_write = self.sink_broken.is_none();
        let broken = self.sink_broken.as_ref().and_then(BrokenSink::deadline);
        let ended = self.ended.map(|since| since + WRITE_WITHIN);
        let can_transmit = self.outgoing.is_none() && self.halves.is_some();
        let is_alive = self.ended.is_none() && self.halves.is_some();
        let look = is_alive.then(|| self.sleep.deadline());
        let ping = if can_transmit { self.session.poll_ping_timeout(clock()) } else { None };
        let may_yield = self.session.may_yield_at().filter(|_| self.slot_requested.is_none());
        let timeout = self.session.poll_timeout(can_transmit);
        let delivered = self.delivered_at();
        let deadlines = [timeout, may_yield, ping, broken, ended, look, delivered];
        let deadline = deadlines.into_iter().flatten().min();
        let room = self.session.local_room().min(READ);
        let outgoing = self.outgoing.is_some();
        let (sink, stream) = match &mut self.halves {
            Some((sink, stream)) => (Some(sink), Some(stream)),
            None => (None, None),
        };
        let write_far = OptionFuture::from(sink.map(async |sink| match outgoing {
            true => Wake::Room(std::future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await),
            false => Wake::Flushed(sink.flush().await),
        }));
        let read_far = OptionFuture::from(stream.map(StreamExt::next));
        let reconnected = OptionFuture::from(self.reconnecting.as_mut());
        self.gateway.agent_is_queried |= self.session.wants_agent();
        let asks = self.gateway.agent_is_queried;
        let agent = OptionFuture::from(self.gateway.agent.as_mut().map(StreamExt::next));
        let resized = OptionFuture::from(self.gateway.window.as_mut().map(async |window| {
            let changed = window.changed().await;
            changed.is_ok().then(|| *window.borrow_and_update())
        }));
        let (chunk, buffer) = (&self.chunk, &mut self.buffer[..room]);
        let (unflushed_local, reader_gone) = (self.unflushed_local, self.reader_gone);
        let local = async {
            let Some((reader, writer)) = local.halves() else {
                local.arrived().await;
                return Wake::Attached;
            };
            let write = async {
                if !chunk.is_empty() {
                    writer.may_write().await;
                    return Wake::Written(writer.write(chunk).await);
                }
                if unflushed_local {
                    return Wake::FlushedLocal(writer.flush().await);
                }
                writer.closed().await;
                Wake::ReaderGone
            };
            tokio::select! {
                found = write, if !reader_gone => found,
                read = reader.read(buffer), if room > 0 => Wake::Read(read),
                else => std::future::pending().await,
            }
        };
        let slot_requested = OptionFuture::from(self.slot_requested.as_mut());
        let delivering = OptionFuture::from(self.delivering.as_mut());
        let deadline = OptionFuture::from(deadline.map(|at| sleep_until(at.into())));
        tokio::select! {
            () = shutdown => Wake::Shutdown,
            Some(()) = slot_requested => Wake::SlotRequested,
            Some(()) = delivering => Wake::Delivering,
            Some(()) = deadline => Wake::Deadline,
            Some(found) = write_far, if (outgoing || self.unflushed) && can_write => found,
            Some(message) = read_far, if reads_far => Wake::Message(message),
            Some(reconnected) = reconnected => Wake::Reconnected(Box::new(reconnected)),
            Some(generation) = agent, if asks => Wake::Agent(generation),
            Some(size) = resized => Wake::Resized(size),
            found = local => found,
        }
    }

    fn handle(
        &mut self,
        local: &mut LocalSide<impl AsyncRead + Unpin, impl LocalWrite>,
        found: Wake,
    ) {
        let now = clock();
        if self.sink_broken.is_none()
            && let Some(error) = self.write_error.get()
        {
            self.handle_broken_sink(error.to_string());
        }
        match found {
            Wake::Deadline => {
                if let Some(broken) = &self.sink_broken
                    && broken.deadline().is_some_and(|deadline| deadline <= now)
                {
                    self.session.handle_disconnect(now, Disconnect::Broken(broken.how.clone()));
                }
            }
            Wake::SlotRequested => {
                debug!("another session needs the place of this one, which lingers");
                self.slot_requested = None;
                self.session.handle_yield(now);
            }
            Wake::Delivering => {
                debug!("asked to end once what the local side has sent has arrived");
                self.delivering = None;
                if self.stop == Stop::No {
                    self.stop = Stop::Delivering { quiet_since: now };
                }
            }
            Wake::Shutdown => {
                debug!("asked to end");
                let input = self.read_what_is_there(local, now);
                self.end_now(now, input);
            }
            // It is not known what of it was written.
            Wake::Room(Ok(())) | Wake::Flushed(Ok(())) if self.sink_broken.is_some() => {}
            Wake::Room(Ok(())) => {
                // The library has room for a ping although the socket takes nothing.
                if self.outgoing.as_ref().is_some_and(Message::is_binary) {
                    self.handle_unblocked(now);
                }
                if let (Some(message), Some((sink, _))) = (self.outgoing.take(), &mut self.halves) {
                    self.unflushed = true;
                    if let Err(error) = sink.start_send_unpin(message) {
                        self.handle_broken_sink(plain(error));
                    }
                }
            }
            Wake::Flushed(Ok(())) => {
                self.handle_unblocked(now);
                self.unflushed = false;
            }
            Wake::Room(Err(error)) | Wake::Flushed(Err(error)) => {
                self.handle_broken_sink(plain(error));
            }
            Wake::Message(message) => self.handle_message(now, message),
            Wake::Agent(Some(generation)) => {
                debug!("the agent is of generation {generation}");
                self.session.handle_agent(now, generation);
            }
            Wake::Agent(None) => self.gateway.agent = None,
            Wake::Resized(Some(size)) => self.session.handle_resize(size.columns, size.rows),
            Wake::Resized(None) => self.gateway.window = None,
            Wake::Attached => debug!("the session has its local side"),
            Wake::Reconnected(reconnected) => self.handle_reconnected(now, *reconnected),
            // Elsewhere than on Unix it cannot be seen that whoever reads stdout has gone. ssh, which never
            // closes only one direction, has gone then.
            Wake::Read(Ok(0)) if cfg!(not(unix)) && self.session.is_ssh() => {
                debug!("end of file from ssh");
                self.handle_reader_gone(local, now);
            }
            Wake::Read(Ok(0)) => {
                debug!("end of file from the local side");
                self.session.handle_local_eof(now);
            }
            Wake::Read(Ok(read)) => self.take_local(now, read),
            Wake::Read(Err(error)) if is_gone(&error) => {
                debug!("the local side is gone: {error}");
                self.handle_reader_gone(local, now);
                self.session.handle_local_eof(now);
            }
            Wake::Read(Err(error)) => {
                debug!("cannot read from the local side: {error}");
                self.local_error.get_or_insert(LocalError::Read(error));
                self.session.handle_local_eof(now);
            }
            Wake::Written(Ok(written)) => {
                self.take_written(written);
                self.unflushed_local = true;
            }
            Wake::FlushedLocal(Ok(())) => self.unflushed_local = false,
            Wake::Written(Err(error)) | Wake::FlushedLocal(Err(error)) => {
                debug!("cannot write to the local side: {error}");
                if !is_gone(&error) {
                    self.local_error.get_or_insert(LocalError::Write(error));
                }
                self.handle_reader_gone(local, now);
            }
            Wake::ReaderGone => {
                debug!("nobody reads from the local side any more");
                self.handle_reader_gone(local, now);
            }
        }
    }

    /// The socket has taken something, after a while or at once.
    fn handle_unblocked(&mut self, now: Instant) {
        let since = self.blocked.take();
        if since.is_some_and(|since| now.saturating_duration_since(since) >= HELD_UP) {
            debug!("the way to the gateway was held up");
            self.session.handle_socket_unblocked(now);
        }
    }

    /// The remote side may have sent the reason before it stopped taking frames: that is read first.
    fn handle_broken_sink(&mut self, how: String) {
        debug!("cannot write to the gateway: {how}");
        self.sink_broken.get_or_insert(BrokenSink { how, quiet_since: None });
    }
}

/// The time, as the runtime has it: tests can let it pass.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
