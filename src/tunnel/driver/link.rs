//! The socket under a splice: what comes from it; that it is dropped when it is no good any more, made
//! again, asked for a sign of life; and what is logged of a session.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncRead;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::{debug, info, warn};

use super::{Driver, Observer};
use crate::proto::session::{Disconnect, End, Event, RemoteEnd};
use crate::proto::status::ReasonKind;
use crate::tunnel::dial::Socket;
use crate::tunnel::endpoint::LocalWrite;
use crate::tunnel::finish::plain;
use crate::tunnel::vitals::Vitals;
use crate::tunnel::wire::NotRedialled;

impl<R: AsyncRead + Unpin, W: LocalWrite, O: Observer> Driver<'_, '_, R, W, O> {
    /// Drops a socket that is no good any more, makes another one, and asks the one that there is
    /// for a sign of life.
    pub(super) fn look_after_the_socket(&mut self, now: Instant) {
        let slept = self.vitals.look(now, SystemTime::now());
        if slept {
            debug!("this machine has slept");
        }
        if self.halves.is_some() {
            let reads_far = self.session.wants_remote();
            let held_up = self.session.waits_for_arrival();
            let waits = self.outgoing.is_some() || self.unflushed || held_up;
            if let Some(how) = self.vitals.broken(now, reads_far, waits) {
                self.session.handle_disconnect(now, Disconnect::Broken(how));
            }
        }
        if !self.session.is_connected() {
            if let Some((_, stream)) = self.halves.as_mut().filter(|_| self.peer_closed) {
                // The library answers a close with the next read. It fits into the system's buffer,
                // or nobody reads it.
                let _ = stream.next().now_or_never();
            }
            // What was on its way is kept where it can be sent again.
            self.halves = None;
            self.outgoing = None;
            self.unflushed = false;
            self.blocked = None;
            self.sink_broken = None;
            self.peer_closed = false;
            self.ping_due = false;
        }
        if self.session.end().is_some() {
            self.redialling = None;
        } else if let Some(channel) = self.session.poll_reconnect(now) {
            debug!("making another connection to the gateway");
            self.redialling = Some((self.redial)(channel));
        }
        self.ping_due |= self.vitals.ping(now);
        let can_write = self.halves.is_some() && self.sink_broken.is_none();
        if can_write && self.outgoing.is_none() && self.session.end().is_none() {
            // A gateway whose own pings are not read hears at least this.
            if std::mem::take(&mut self.ping_due) {
                self.outgoing = Some(match self.session.wants_remote() {
                    true => Message::Ping(self.session.ping(now)),
                    false => Message::Pong(Bytes::new()),
                });
            }
        }
    }

    pub(super) fn handle_redialled(
        &mut self,
        now: Instant,
        redialled: Result<Socket, NotRedialled>,
    ) {
        self.redialling = None;
        match redialled {
            Ok(socket) => {
                self.halves = Some(socket.split());
                self.vitals = Vitals::new(now, SystemTime::now());
                self.session.handle_reconnected(now);
            }
            Err(NotRedialled { how, is_final }) => {
                debug!("no connection to the gateway: {how}");
                self.session.handle_not_reconnected(now, how, is_final);
            }
        }
    }

    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        message: Option<Result<Message, WsError>>,
    ) {
        self.vitals.heard(now);
        if let Some(broken) = &mut self.sink_broken {
            broken.quiet_since = None;
        }
        match message {
            Some(Ok(Message::Binary(frame))) => {
                // Its texts may repeat what is secret about the session.
                self.session.handle_frame(now, self.hidden.in_frame(frame));
            }
            Some(Ok(Message::Text(_))) => self.session.handle_violation("a text message"),
            Some(Ok(Message::Close(frame))) => {
                self.peer_closed = true;
                let (code, text) = match frame {
                    Some(frame) => (Some(frame.code.into()), self.hidden.in_text(&frame.reason)),
                    None => (None, String::new()),
                };
                self.session.handle_disconnect(now, Disconnect::Closed { code, text });
            }
            Some(Ok(Message::Pong(payload))) => self.session.handle_pong(now, &payload),
            Some(Ok(_)) => self.session.handle_sign_of_life(now),
            Some(Err(WsError::Capacity(CapacityError::MessageTooLong { size, .. }))) => {
                self.session
                    .handle_violation(&format!("a message of {size} bytes, longer than any frame"));
            }
            Some(Err(WsError::Capacity(error))) => {
                self.session.handle_violation(&error.to_string());
            }
            Some(Err(WsError::Utf8(_))) => {
                self.session.handle_violation("a text message that is no UTF-8");
            }
            Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                let how = "it was cut without a close frame".to_owned();
                self.session.handle_disconnect(now, Disconnect::Broken(how));
            }
            Some(Err(WsError::Protocol(error))) => {
                self.session.handle_violation(&error.to_string());
            }
            Some(Err(error)) => {
                self.session.handle_disconnect(now, Disconnect::Broken(plain(error)));
            }
        }
    }

    pub(super) fn log_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Progress(progress) => debug!("the session is {progress:?}"),
                Event::Opened => debug!("the agent has joined"),
                Event::Ready => {
                    debug!("the target is taken to be listening");
                    self.observer.ready();
                    self.observer.reached();
                }
                Event::Limit(limit) => debug!("the limit is {limit} bit/s now"),
                Event::Version(version) => debug!("the far side speaks {version}"),
                Event::Gap { expected, got } => warn!(
                    "Output {got} came where {expected} was due: bytes may have been lost on the \
                     way (told once)"
                ),
                Event::Skipped(what) => debug!("skipped {what}"),
                Event::Disconnected(why) => {
                    info!("the connection to the gateway was lost ({why}): making another one");
                }
                Event::Reconnected => info!("connected to the gateway again: the stream goes on"),
                Event::Missing { expected, got } => {
                    debug!("Output {got} came where {expected} was due: asked for again");
                }
                Event::HeldUp(late) => debug!("what was sent was held up for {late:.1?}"),
                Event::Unanswered => debug!("the gateway answers no pings any more"),
                Event::Replaying { from } => debug!("the far side asks for Input from {from} on"),
                Event::Ended(end) => {
                    if end == End::Remote(RemoteEnd::Redialled) {
                        info!(
                            "the server closed the connection, and the agent dialled it again: \
                             this is the end of the stream"
                        );
                    }
                    if let End::Remote(RemoteEnd::Status(reason)) = &end
                        && reason.kind() == ReasonKind::Notified
                    {
                        warn!(
                            "the session was ended from elsewhere: the console, the API, or an \
                             administrator ({reason})"
                        );
                    }
                    debug!("the session has ended: {end:?}");
                    self.observer.ended();
                }
            }
        }
    }
}
