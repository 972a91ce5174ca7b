//! The socket under a splice: what comes from it; that it is dropped when it is no good any more and made
//! again; and what is logged of a session.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::{FutureExt, StreamExt};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::{debug, info};

use super::Driver;
use super::outcome::{is_cut, plain};
use crate::gateway::connection::NotReconnected;
use crate::gateway::upgrade::Socket;
use crate::session::event::{Notice, SessionEvent};
use session_manager_proto::session::{Disconnect, End, Event, RemoteEnd};

impl Driver<'_> {
    /// Drops a socket that cannot be used any more, and makes another one.
    pub(super) fn maintain_connection(&mut self, now: Instant) {
        if let Some(slept) = self.sleep.slept(now, SystemTime::now()) {
            debug!("this machine has slept for {slept:.0?}");
            self.woke = Some((now, slept));
            self.session.handle_slept(now, slept);
        }
        if !self.session.is_connected() {
            if let Some((_, stream)) = self.halves.as_mut().filter(|_| self.peer_closed) {
                // The library answers a close with the next read. It fits into the system's buffer,
                // or nobody reads it.
                let _ = stream.next().now_or_never();
            }
            // What was on its way is kept where it can be sent again.
            self.halves = None;
            self.write_error = Arc::default();
            self.outgoing = None;
            self.unflushed = false;
            self.blocked = None;
            self.sink_broken = None;
            self.peer_closed = false;
        }
        if self.session.end().is_some() {
            self.reconnecting = None;
        } else if let Some(channel) = self.session.poll_reconnect(now) {
            debug!("making another connection to the gateway");
            self.reconnecting = Some((self.gateway.reconnect)(channel));
        }
    }

    pub(super) fn handle_reconnected(
        &mut self,
        now: Instant,
        reconnected: Result<Socket, NotReconnected>,
    ) {
        self.reconnecting = None;
        match reconnected {
            Ok(socket) => {
                self.write_error = socket.get_ref().write_error();
                self.halves = Some(socket.split());
                self.session.handle_reconnected(now);
            }
            Err(NotReconnected { how, is_final }) => {
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
        if let Some(broken) = &mut self.sink_broken {
            broken.quiet_since = None;
        }
        // The gateway's texts may repeat what is secret about the session.
        let redact = |text: &str| self.gateway.redactor.in_text(text);
        match message {
            Some(Ok(Message::Binary(frame))) => {
                self.session.handle_frame_redacted(now, frame, redact);
            }
            Some(Ok(Message::Text(_))) => self.session.handle_violation("a text message"),
            // What the library makes of a code that is reserved.
            Some(Ok(Message::Close(Some(CloseFrame { code: CloseCode::Protocol, reason }))))
                if reason == "Protocol violation" =>
            {
                self.peer_closed = true;
                let how = "it was closed by a close frame whose code is reserved".to_owned();
                self.session.handle_disconnect(now, Disconnect::Broken(how));
            }
            Some(Ok(Message::Close(frame))) => {
                self.peer_closed = true;
                let (code, text) = match frame {
                    Some(frame) => (Some(frame.code.into()), redact(&frame.reason)),
                    None => (None, String::new()),
                };
                self.session.handle_disconnect(now, Disconnect::Closed { code, text });
            }
            Some(Ok(Message::Pong(payload))) => self.session.handle_pong(now, &payload),
            Some(Ok(_)) => self.session.handle_activity(now),
            Some(Err(WsError::Capacity(CapacityError::MessageTooLong { size, .. }))) => {
                self.session
                    .handle_violation(&format!("a message of {size} bytes, longer than any frame"));
            }
            Some(Err(WsError::Capacity(error))) => {
                self.session.handle_violation(&error.to_string());
            }
            Some(Err(WsError::Utf8(_))) => {
                // The library does not tell which: most likely the reason of a close.
                let how = "it sent a close frame or a text that is not UTF-8".to_owned();
                self.session.handle_disconnect(now, Disconnect::Broken(how));
            }
            Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                // An error of a write says more, but for those that only show that it was cut.
                let error = self.write_error.get().filter(|error| !is_cut(error));
                let how = error.map(ToString::to_string);
                let how = how.unwrap_or_else(|| "it was cut without a close frame".to_owned());
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

    /// Tells whether the session may outlive the connection of its target, if that has changed.
    pub(super) fn report_may_outlive_target(&mut self) {
        let may_outlive = self.session.may_outlive_target();
        if std::mem::replace(&mut self.may_outlive_target, may_outlive) != may_outlive {
            (self.on_event)(SessionEvent::MayOutliveTarget(may_outlive));
        }
    }

    pub(super) fn log_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Progress(progress) => debug!("the session is {progress:?}"),
                Event::Opened => debug!("the agent has joined"),
                Event::Ready => {
                    debug!("local bytes flow");
                    (self.on_event)(SessionEvent::Ready);
                }
                Event::Reached => {
                    debug!("the target is taken to be listening");
                    (self.on_event)(SessionEvent::Reached);
                }
                Event::Limit(limit) => debug!("the limit is {limit} bit/s now"),
                Event::Version(version) => debug!("the remote side speaks {version}"),
                Event::Gap { expected, got } => {
                    debug!("Output {got} came where {expected} was due");
                    // SSH authenticates its bytes, and tells what is missing.
                    if !self.session.is_ssh() {
                        (self.on_event)(SessionEvent::Notice(Notice::OutputGap));
                    }
                }
                Event::NoAnswer(after) => {
                    (self.on_event)(SessionEvent::Notice(Notice::NoAnswer(after)))
                }
                Event::IdleSoon(left) => {
                    (self.on_event)(SessionEvent::Notice(Notice::IdleSoon(left)));
                }
                Event::Skipped(what) => debug!("skipped {what}"),
                Event::Disconnected(why) => {
                    info!("the connection to the gateway was lost ({why}): making another one");
                }
                Event::Reconnected => info!("connected to the gateway again: the stream goes on"),
                Event::Missing { expected, got } => {
                    debug!("Output {got} came where {expected} was due: asked for again");
                }
                Event::HeldUp(deferred) => debug!("what was sent was held up for {deferred:.1?}"),
                Event::Unanswered => debug!("the gateway answers no pings any more"),
                Event::Replaying { from } => {
                    debug!("the remote side asks for Input from {from} on")
                }
                Event::Ended(end) => {
                    if end == End::Remote(RemoteEnd::Redialled) {
                        info!(
                            "the server closed the connection, and the agent dialled it again: \
                             this is the end of the stream"
                        );
                    }
                    debug!("the session has ended: {end:?}");
                    (self.on_event)(SessionEvent::Ended);
                }
            }
        }
    }
}
