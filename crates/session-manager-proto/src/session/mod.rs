//! The state machine of one stream (PROTOCOL.md, 3 to 8).
//!
//! ```text
//!   Opening ──── any Output, or Opened and a delay ───▶ Open ─── local EOF ──▶ HalfClosed
//!      │ local bytes are held                            │ bytes flow            │ output flows until
//!      │                                                 │                       │ the peer is quiet
//!      ├───────────────── shutdown: Flushing ◀───────────┼───────────────────────┤
//!      │                       │                         │                       │
//!      ├── the peer ends the stream, and output of it is missing: PeerEnded ─────┤
//!      │                       │          │                                      │
//!      ▼                       ▼          ▼                                      ▼
//!    Ended ◀──────────────────────────────────────────────── any end, any failure
//! ```
//!
//! The caller feeds it with `handle_*`, and after each call asks for what there is to do with
//! `poll_*` until that gives nothing. Memory is bounded: [`Session::local_room`] and
//! [`Session::wants_remote`] tell when to stop reading, which is how backpressure goes both ways.

mod config;
mod end;
mod event;
mod flow;
mod framing;
mod inbound;
mod keepalive;
mod link;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;
mod opening;
mod outbound;
mod phase;
mod shell;
mod ssh;
#[cfg(test)]
mod tests;
mod transitions;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::config::{Config, Keepalive, SessionKind};
pub use self::end::{Arrived, Disconnect, End, Failure, Party, RemoteEnd};
pub use self::event::Event;
use self::flow::FlowControl;
use self::framing::Framing;
pub use self::inbound::DELIVER_CAP;
use self::inbound::Inbound;
use self::keepalive::AGENT_IDLE_FROM;
use self::link::Link;
use self::opening::Opening;
pub use self::outbound::LOCAL_CAP;
use self::outbound::Outbound;
use self::phase::Phase;
use self::shell::Shell;
use self::ssh::Greeting;
use crate::frame::{Frame, FrameType, Sequence};
use crate::generation::Generation;
use crate::status::Status;
use crate::timer::Timer;

/// How long a session that lingers has to be quiet before it may be ended for another one.
const YIELD_AFTER: Duration = Duration::from_secs(1);
/// The same where the target has not answered yet.
const YIELD_UNANSWERED_AFTER: Duration = Duration::from_secs(3);

/// One stream.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    opening: Opening,
    framing: Framing,
    link: Link,
    flow: FlowControl,
    outbound: Outbound,
    inbound: Inbound,
    shell: Shell,
    /// The generation of the agent, once it is known.
    agent: Option<Generation>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session whose WebSocket was upgraded at `now`.
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            phase: Phase::Opening,
            opening: Opening::new(now),
            framing: Framing::new(now, config.unix_ms),
            link: Link::new(config.random),
            flow: FlowControl::new(now),
            outbound: Outbound::new(now, config.kind),
            inbound: Inbound::new(now, config.kind),
            shell: Shell::default(),
            agent: None,
            events: VecDeque::new(),
            config,
        }
    }

    /// How many bytes may be read from the local side now; 0 says leave it alone.
    pub fn local_room(&self) -> usize {
        match self.phase {
            Phase::Opening | Phase::Open => self.outbound.room(),
            _ => 0,
        }
    }

    /// Whether to read on from the peer. Once the session has ended there is no need to.
    pub fn wants_remote(&self) -> bool {
        !self.phase.is_ended() && self.inbound.has_room()
    }

    /// Whether everything is done: ended, the Close frame taken, all bytes delivered.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Ended { close_due: false, .. }) && self.inbound.is_empty()
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.phase.end()
    }

    /// Whether anything came from the target.
    pub fn has_output(&self) -> bool {
        self.inbound.has_output()
    }

    /// Whether anything came from the target after the local end of file.
    pub fn has_output_after_eof(&self) -> bool {
        self.inbound.has_output_after_eof()
    }

    /// Whether what was sent has arrived.
    pub fn arrived(&self) -> Arrived {
        self.outbound.arrived(&self.flow, self.framing.has_acks())
    }

    /// How many payload bytes are not known to have arrived.
    pub fn not_arrived(&self) -> u64 {
        let unacknowledged = match self.framing.has_acks() {
            true => self.outbound.unacknowledged(),
            false => 0,
        };
        self.flow.not_arrived().max(unacknowledged) + self.outbound.queued() as u64
    }

    /// How many bytes of the local side were not sent, those included that were dropped since nobody is
    /// left to take them. After the local end of file, bytes that the gateway has not read count too, if it
    /// answers pings and has read nothing for 2 s.
    pub fn not_sent(&self, now: Instant) -> u64 {
        let may_be_stuck = self.outbound.is_closed() && self.arrived() != Arrived::Yes;
        let stuck = if may_be_stuck { self.flow.stuck(now) } else { 0 };
        self.outbound.not_sent() + stuck
    }

    /// Whether Input waits until it is known that what was sent before has arrived.
    pub fn waits_for_arrival(&self) -> bool {
        self.flow.waits_for_arrival()
    }

    /// Whether the stream is known to be SSH's: a second identification line is its end.
    pub fn is_ssh(&self) -> bool {
        self.inbound.is_ssh() || self.outbound.greeting() == Greeting::Ssh
    }

    /// Whether there is a WebSocket as far as the session knows. Without one frames are neither
    /// sent nor expected, and [`Self::poll_reconnect`] tells when to make another.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Whether the generation of the agent changes anything, as far as that is known yet: it does not
    /// for a stream of SSH, and for a shell.
    pub fn wants_agent(&self) -> bool {
        let is_other = self.has_begun() || self.outbound.greeting() == Greeting::Other;
        self.agent.is_none() && !self.is_ssh() && !self.config.is_shell() && is_other
    }

    /// Whether the target has spoken, and its agent may connect to it again without a word once it has
    /// closed: bytes of the local side would reach another connection than the one that has spoken.
    pub fn may_outlive_target(&self) -> bool {
        self.has_output() && !self.is_ssh() && self.keepalive().redials()
    }

    /// The generation of the instance's agent is known from now on.
    pub fn handle_agent(&mut self, now: Instant, generation: Generation) {
        self.agent = Some(generation);
        if !self.keepalive().may_send(&self.inbound) {
            // One is due that was harmless as far as was known.
            self.outbound.set_keepalive_due(false);
        }
        // What was waited for may have been due a while ago.
        self.handle_timeout(now);
    }

    /// Takes bytes from the local side, as many as [`Self::local_room`] allows.
    pub fn handle_local(&mut self, now: Instant, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.local_room() || self.phase.is_ended());
        if !self.phase.is_ended() && !bytes.is_empty() {
            self.outbound.push(now, bytes);
        }
    }

    /// The window of a shell has a size from now on.
    pub fn handle_resize(&mut self, columns: u16, rows: u16) {
        if self.config.is_shell() {
            self.shell.set_size(columns, rows);
        }
    }

    /// The local side has sent all. What it sent goes out, and what comes in is still delivered.
    pub fn handle_local_eof(&mut self, now: Instant) {
        self.outbound.close(now);
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::HalfClosed;
        }
    }

    /// The local side takes no more bytes: what waits for it is dropped, and the session is closed
    /// once what it sent has gone out, but within `grace`.
    pub fn handle_local_gone(&mut self, now: Instant, grace: Duration) {
        self.inbound.discard();
        self.flow.update_reading(self.wants_remote());
        self.handle_shutdown(now, grace);
    }

    /// The session is to be closed once what the local side sent has gone out, within `grace`.
    pub fn handle_shutdown(&mut self, now: Instant, grace: Duration) {
        self.handle_local_eof(now);
        if !self.outbound.is_open() {
            self.outbound.clear();
        }
        self.phase.flush(now + grace);
        if !self.link.is_up() {
            // Nothing can go out, and nobody waits for it to.
            self.finish(End::Local, false);
        }
    }

    /// Another session needs the place of this one, which lingers.
    pub fn handle_yield(&mut self, now: Instant) {
        if self.may_yield_at().is_some_and(|at| at <= now) {
            self.finish(End::Local, true);
            if let Phase::Ended { yielded, .. } = &mut self.phase {
                *yielded = true;
            }
        }
    }

    /// Whether the session ended because another one needed its place.
    pub fn has_yielded(&self) -> bool {
        matches!(self.phase, Phase::Ended { yielded: true, .. })
    }

    /// Takes one binary message of the WebSocket.
    pub fn handle_frame(&mut self, now: Instant, message: Bytes) {
        self.handle_frame_redacted(now, message, str::to_owned);
    }

    /// The same, with the text of a Status passed through `redact`: a gateway may repeat secrets.
    pub fn handle_frame_redacted(
        &mut self,
        now: Instant,
        message: Bytes,
        redact: impl FnOnce(&str) -> String,
    ) {
        if self.phase.is_ended() || !self.link.is_up() {
            return;
        }
        let frame = match Frame::decode(message) {
            Ok(frame) => frame,
            Err(error) => return self.fail(Failure::Malformed(error)),
        };
        if self.framing.learn(&frame) {
            self.emit(Event::Version(frame.version));
        }
        self.handle_activity(now);
        match frame.kind {
            FrameType::OUTPUT => self.handle_output(now, frame),
            FrameType::STATUS => {
                self.handle_status(now, Status::parse_with(&frame.payload, redact));
            }
            FrameType::CLOSE => self.handle_peer_end(now, RemoteEnd::Close),
            FrameType::SYNC => match frame.sequence {
                Sequence::Pair { input, .. } => self.handle_sync(input),
                Sequence::Single(_) => self.emit(Event::Skipped("a Sync of version 1.01".into())),
            },
            kind => self.emit(Event::Skipped(format!("a frame of type {}", kind.0))),
        }
    }

    /// The peer has sent a message that cannot be a frame.
    pub fn handle_violation(&mut self, what: &str) {
        self.fail(Failure::NotAFrame(what.to_owned()));
    }

    /// A WebSocket pong has come, asked for or not.
    pub fn handle_pong(&mut self, now: Instant, payload: &[u8]) {
        let event = self.flow.handle_pong(now, payload, self.wants_remote());
        event.into_iter().for_each(|event| self.emit(event));
    }

    /// Something has come that is no answer to a ping.
    pub fn handle_activity(&mut self, now: Instant) {
        let event = self.flow.handle_activity(now, self.wants_remote());
        event.into_iter().for_each(|event| self.emit(event));
    }

    /// This machine has slept, for about so long. Few sockets survive that.
    pub fn handle_slept(&mut self, now: Instant, slept: Duration) {
        let silent = slept.max(now.saturating_duration_since(self.outbound.last_sent()));
        let is_patient = silent < AGENT_IDLE_FROM && !self.framing.is_resumable();
        self.flow.handle_slept(now, is_patient);
    }

    /// The socket has taken nothing since an instant, although there is something for it.
    pub fn handle_socket_blocked(&mut self, since: Instant) {
        self.flow.handle_socket_blocked(since);
    }

    /// The socket has taken everything.
    pub fn handle_socket_drained(&mut self, now: Instant) {
        self.flow.handle_socket_drained(now);
    }

    /// The socket has taken nothing for a while, and takes something again: what it holds reaches
    /// the peer all at once, as if it were sent now.
    pub fn handle_socket_unblocked(&mut self, now: Instant) {
        self.flow.handle_socket_unblocked(now);
    }

    /// The WebSocket is gone, or no good any more. It is to be dropped, whatever the answer is:
    /// either the session has ended, or it waits for another one.
    pub fn handle_disconnect(&mut self, now: Instant, why: Disconnect) {
        if self.phase.is_ended() || !self.link.is_up() {
            return;
        }
        let is_resumable = self.framing.is_resumable();
        if !is_resumable && self.is_agent_idle_end(now) {
            return self.finish(End::Remote(RemoteEnd::Idle), false);
        }
        if !is_resumable || why.is_final() || self.phase.flush_by().is_some() {
            return self.finish_without_socket(now, why, None);
        }
        self.emit(Event::Disconnected(why.clone()));
        self.link.handle_disconnect(now, why);
        self.outbound.handle_disconnect();
        self.inbound.handle_disconnect();
    }

    /// There is a WebSocket again.
    pub fn handle_reconnected(&mut self, now: Instant) {
        if self.phase.is_ended() || self.link.is_up() {
            return;
        }
        self.link.handle_reconnected(now);
        self.opening.handle_reconnected(now);
        self.flow.handle_reconnected(now);
        self.outbound.handle_reconnected(now);
        self.inbound.handle_reconnected(now);
        if let Some(pending) = self.phase.pending_end_mut() {
            pending.handle_reconnected(now);
        }
        self.emit(Event::Reconnected);
    }

    /// No WebSocket could be made: `is_final` says that none ever can.
    pub fn handle_not_reconnected(&mut self, now: Instant, how: String, is_final: bool) {
        if self.link.handle_not_reconnected(now, how) && is_final {
            self.give_up(now);
        }
    }

    /// A deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.wants_remote() {
            self.flow.handle_not_reading(now);
        }
        for timer in Timer::ALL {
            if self.deadline(timer).is_some_and(|deadline| deadline <= now) {
                self.expire(now, timer);
            }
        }
    }

    /// The next message for the WebSocket.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if !self.phase.is_ended() && self.link.is_up() {
            if let Some((kind, sequence, payload)) = self.next_frame(now) {
                return self.encode(now, kind, sequence, payload);
            }
            let is_flushed = self.outbound.queued() == 0 && !self.outbound.is_retransmitting();
            if self.phase.flush_by().is_some() && is_flushed {
                self.finish(End::Local, true);
            }
        }
        let Phase::Ended { close_due, .. } = &mut self.phase else { return None };
        let payload = std::mem::take(close_due).then_some(Bytes::from_static(b"1"))?;
        self.encode(now, FrameType::CLOSE, self.outbound.last_sequence(), payload)
    }

    /// The payload of a WebSocket ping, if one is due.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Bytes> {
        if !self.wants_remote() || self.poll_ping_timeout(now)? > now {
            return None;
        }
        // It follows what can be sent at once, so that its answer speaks for all of that.
        let waits = !self.flow.is_keepalive_ping_due(now)
            && self.can_send(now)
            && !self.flow.is_ping_overdue(self.outbound.is_closed());
        (!waits).then(|| self.flow.ping(now, self.outbound.last_new_input()))
    }

    /// Whether a pong is due that nobody has asked for: while nothing is read the gateway's own pings
    /// are not answered, and it hears at least this.
    pub fn poll_pong(&mut self, now: Instant) -> bool {
        let is_due =
            !self.wants_remote() && self.poll_ping_timeout(now).is_some_and(|at| at <= now);
        if is_due {
            self.flow.handle_pong_sent(now);
        }
        is_due
    }

    /// The next bytes for the local side.
    pub fn poll_deliver(&mut self) -> Option<Bytes> {
        let bytes = self.inbound.pop()?;
        if !self.phase.is_ended() {
            self.flow.update_reading(self.wants_remote());
        }
        Some(bytes)
    }

    /// What has happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The channel id with which a new WebSocket is to be asked for, once it is time for that. One
    /// of [`Self::handle_reconnected`] and [`Self::handle_not_reconnected`] has to follow.
    pub fn poll_reconnect(&mut self, now: Instant) -> Option<Bytes> {
        let is_due = !self.phase.is_ended() && self.link.poll_reconnect(now);
        is_due.then(|| self.framing.channel_id())
    }

    /// When [`Self::handle_timeout`] is to be called next. `can_transmit` says whether the caller
    /// has room for a frame: the pace is waited for only then.
    pub fn poll_timeout(&self, can_transmit: bool) -> Option<Instant> {
        let waits = |timer| can_transmit || timer != Timer::Pace;
        Timer::earliest(|timer| self.deadline(timer).filter(|_| waits(timer)))
    }

    /// When to call [`Self::poll_ping`] and [`Self::poll_pong`] next, as far as the caller has room for
    /// a message.
    pub fn poll_ping_timeout(&self, now: Instant) -> Option<Instant> {
        let is_live = self.link.is_up() && !self.phase.is_ended();
        is_live.then(|| self.flow.ping_at(now, self.wants_remote(), self.outbound.is_closed()))
    }

    /// From when on a session that lingers may be ended because another one needs its place. One whose
    /// target has not answered what was sent last is given longer.
    pub fn may_yield_at(&self) -> Option<Instant> {
        self.deadline(Timer::Linger)?;
        if self.is_busy() {
            return None;
        }
        let is_answered =
            self.has_output() && self.inbound.last_output() > self.outbound.last_input();
        let least = if is_answered { YIELD_AFTER } else { YIELD_UNANSWERED_AFTER };
        Some(self.quiet_since()? + least.min(self.config.linger))
    }
}
