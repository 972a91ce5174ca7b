//! The state machine of one stream (docs/protocol.md, 3 to 8).
//!
//! ```text
//!   Streaming ──────────────────────── shutdown ───────────────────────▶ Flushing
//!      │ local bytes are held until any Output, or Opened and a delay;      │ local bytes go out
//!      │ bytes flow; after the local EOF output flows until the peer is     │
//!      │ quiet                                                              │
//!      ├── the peer ends the stream, and output of it is missing ───────────┤
//!      │                               ▼                                    │
//!      │                           PeerEnded                                │
//!      ▼                               ▼                                    ▼
//!    Ended ◀──────────────────────────────────────────── any end, any failure
//! ```
//!
//! `Stream` has what goes on while it lasts: what frames and deadlines change, and what is sent. [`Session`]
//! has the states, which end it, and the WebSocket under it.
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
mod link;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;
mod opening;
mod outbound;
mod phase;
mod shell;
mod ssh;
mod stream;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::config::{Config, Keepalive, SessionKind};
pub use self::end::{Arrived, Disconnect, End, Failure, RemoteEnd};
pub use self::event::Event;
pub use self::inbound::DELIVER_CAP;
use self::link::Link;
pub use self::outbound::LOCAL_CAP;
use self::phase::{PendingEnd, Phase};
use self::ssh::Greeting;
use self::stream::{AGENT_IDLE_FROM, Stop, Stream};
use crate::frame::{Frame, FrameType, Sequence};
use crate::generation::Generation;
use crate::timer::Timer;

/// One stream.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    link: Link,
    stream: Stream,
}

impl Session {
    /// A session whose WebSocket was upgraded at `now`.
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            phase: Phase::Streaming,
            link: Link::new(config.random),
            stream: Stream::new(now, config),
        }
    }

    /// How many bytes may be read from the local side now; 0 says leave it alone.
    pub fn local_room(&self) -> usize {
        match self.phase {
            Phase::Streaming => self.stream.outbound.room(),
            _ => 0,
        }
    }

    /// Whether to read on from the peer. Once the session has ended there is no need to.
    pub fn wants_remote(&self) -> bool {
        self.stream.inbound.has_room()
    }

    /// Whether everything is done: ended, the Close frame taken, all bytes delivered.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Ended { close_due: false, .. })
            && self.stream.inbound.is_empty()
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.phase.end()
    }

    /// Whether anything came from the target.
    pub fn has_output(&self) -> bool {
        self.stream.inbound.has_output()
    }

    /// Whether the local side has come to its end of file.
    pub fn is_input_ended(&self) -> bool {
        self.stream.outbound.is_closed()
    }

    /// Whether nothing has come from the target since the local side last sent something, or nothing at
    /// all.
    pub fn is_unanswered(&self) -> bool {
        let answered = self.stream.inbound.last_payload();
        answered.is_none_or(|at| at < self.stream.outbound.last_input())
    }

    /// Whether anything came from the target after the local end of file.
    pub fn has_output_after_eof(&self) -> bool {
        self.stream.inbound.has_output_after_eof()
    }

    /// Whether what was sent has arrived.
    pub fn arrived(&self) -> Arrived {
        self.stream.arrived()
    }

    /// How many payload bytes are not known to have arrived, those included that were dropped unsent.
    pub fn not_arrived(&self) -> u64 {
        self.stream.not_arrived()
    }

    /// From when on nothing of what the local side sent before its end of file is missing, as far as the peer
    /// confirms that, and the target can have it. `None` as long as that is not known.
    pub fn delivered_at(&self) -> Option<Instant> {
        self.stream.delivered_at()
    }

    /// How many bytes of the local side were not handed to the socket.
    pub fn unsent(&self) -> u64 {
        self.stream.outbound.not_sent()
    }

    /// How many bytes of the local side were not sent, those included that were dropped since nobody is
    /// left to take them. After the local end of file, bytes that the gateway has not read count too, if it
    /// answers pings and has read nothing for 2 s.
    pub fn not_sent(&self, now: Instant) -> u64 {
        let may_be_stuck = self.stream.outbound.is_closed() && self.arrived() != Arrived::Yes;
        let stuck = if may_be_stuck { self.stream.flow.stuck(now) } else { 0 };
        self.stream.outbound.not_sent() + stuck
    }

    /// Whether the stream is known to be SSH's: a second identification line is its end.
    pub fn is_ssh(&self) -> bool {
        self.stream.is_ssh()
    }

    /// Whether there is a WebSocket as far as the session knows. Without one frames are neither
    /// sent nor expected, and [`Self::poll_reconnect`] tells when to make another.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Whether the generation of the agent changes anything, as far as that is known yet: it does not
    /// for a stream of SSH, and for a shell.
    pub fn wants_agent(&self) -> bool {
        let greeting = self.stream.outbound.greeting();
        let is_other = self.stream.has_begun() || greeting == Greeting::Other;
        let is_open = !self.is_ssh() && self.stream.shell.is_none();
        self.stream.agent.is_none() && is_open && is_other
    }

    /// Whether the target has spoken, and its agent may connect to it again without a word once it has
    /// closed: bytes of the local side would reach another connection than the one that has spoken.
    pub fn may_outlive_target(&self) -> bool {
        self.has_output() && !self.is_ssh() && self.stream.redials()
    }

    /// The generation of the instance's agent is known from now on.
    pub fn handle_agent(&mut self, now: Instant, generation: Generation) {
        self.stream.handle_agent(generation);
        // What was waited for may have been due a while ago.
        self.handle_timeout(now);
    }

    /// Takes bytes from the local side, as many as [`Self::local_room`] allows.
    pub fn handle_local(&mut self, now: Instant, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.local_room() || self.phase.is_ended());
        if !self.phase.is_ended() && !bytes.is_empty() {
            self.stream.outbound.push(now, bytes);
        }
    }

    /// The window of a shell has a size from now on.
    pub fn handle_resize(&mut self, columns: u16, rows: u16) {
        if let Some(shell) = &mut self.stream.shell {
            shell.set_size(columns, rows);
        }
    }

    /// The local side has sent all. What it sent goes out, and what comes in is still delivered.
    pub fn handle_local_eof(&mut self, now: Instant) {
        self.stream.outbound.close(now);
    }

    /// The local side takes no more bytes: what waits for it is dropped, and the session is closed
    /// once what it sent has gone out, but within `grace`.
    pub fn handle_local_gone(&mut self, now: Instant, grace: Duration) {
        self.handle_output_unwanted();
        self.handle_shutdown(now, grace);
    }

    /// The local side takes no more bytes, and what it has sent is still to arrive: what waits for it is
    /// dropped.
    pub fn handle_output_unwanted(&mut self) {
        self.stream.inbound.discard();
        self.stream.flow.update_reading(self.wants_remote());
    }

    /// The session is to be closed once what the local side sent has gone out, within `grace`.
    pub fn handle_shutdown(&mut self, now: Instant, grace: Duration) {
        self.handle_local_eof(now);
        if !self.stream.outbound.is_open() {
            self.stream.outbound.clear();
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
        let is_numbered = matches!(frame.sequence, Sequence::Pair { .. });
        if is_numbered && matches!(frame.kind, FrameType::OUTPUT | FrameType::SYNC) {
            self.link.handle_peer_answer();
        }
        let is_output = match self.stream.handle_frame(now, frame, redact) {
            Ok(is_output) => is_output,
            Err(stop) => return self.stop(now, stop),
        };
        let Some(pending) = self.phase.pending_end_mut() else { return };
        if is_output && is_numbered {
            pending.restart(now);
        }
        if let Some(end) = pending.if_complete().filter(|_| !self.stream.inbound.has_gap()) {
            let end = End::Remote(end.clone());
            self.finish(end, false);
        }
    }

    /// The peer has sent a message that cannot be a frame.
    pub fn handle_violation(&mut self, what: &str) {
        self.fail(Failure::NotAFrame(what.to_owned()));
    }

    /// A WebSocket pong has come, asked for or not.
    pub fn handle_pong(&mut self, now: Instant, payload: &[u8]) {
        let reads = self.wants_remote();
        self.stream.events.push(self.stream.flow.handle_pong(now, payload, reads));
    }

    /// Something has come that is no answer to a ping.
    pub fn handle_activity(&mut self, now: Instant) {
        self.stream.handle_activity(now);
    }

    /// This machine has slept, for about so long. Few sockets survive that.
    pub fn handle_slept(&mut self, now: Instant, slept: Duration) {
        let silent = slept.max(now.saturating_duration_since(self.stream.outbound.last_sent()));
        let is_patient = silent < AGENT_IDLE_FROM && !self.stream.framing.is_resumable();
        self.stream.flow.probes.handle_slept(now, is_patient);
        self.stream.handle_slept(now, slept);
    }

    /// The socket has taken nothing since an instant, although there is something for it.
    pub fn handle_socket_blocked(&mut self, since: Instant) {
        self.stream.flow.handle_socket_blocked(since);
    }

    /// The socket has taken everything.
    pub fn handle_socket_drained(&mut self, now: Instant) {
        self.stream.flow.handle_socket_drained(now);
    }

    /// The socket has taken nothing for a while, and takes something again: what it holds reaches
    /// the peer all at once, as if it were sent now.
    pub fn handle_socket_unblocked(&mut self, now: Instant) {
        self.stream.flow.pace.handle_unblocked(now);
    }

    /// The WebSocket is gone, or no good any more. It is to be dropped, whatever the answer is:
    /// either the session has ended, or it waits for another one.
    pub fn handle_disconnect(&mut self, now: Instant, why: Disconnect) {
        if self.phase.is_ended() || !self.link.is_up() {
            return;
        }
        let is_resumable = self.stream.framing.is_resumable();
        if !is_resumable && self.stream.is_agent_idle_end(now) {
            return self.finish(End::Remote(RemoteEnd::Idle), false);
        }
        if !is_resumable || why.is_final() || self.phase.flush_by().is_some() {
            return self.finish_without_socket(now, why, None);
        }
        self.stream.events.push(Event::Disconnected(why.clone()));
        self.link.handle_disconnect(now, why);
        self.stream.outbound.handle_disconnect();
        self.stream.inbound.handle_disconnect();
    }

    /// There is a WebSocket again.
    pub fn handle_reconnected(&mut self, now: Instant) {
        if self.phase.is_ended() || self.link.is_up() {
            return;
        }
        self.link.handle_reconnected(now);
        self.stream.opening.handle_reconnected(now);
        self.stream.flow.handle_reconnected(now);
        self.stream.outbound.handle_reconnected(now);
        self.stream.inbound.handle_reconnected(now);
        if let Some(pending) = self.phase.pending_end_mut() {
            pending.handle_reconnected(now);
        }
        self.stream.events.push(Event::Reconnected);
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
            self.stream.flow.handle_not_reading(now);
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
            if let Some(message) = self.stream.poll_frame(now, &mut self.phase) {
                return Some(message);
            }
            let outbound = &self.stream.outbound;
            let is_flushed = outbound.queued() == 0 && !outbound.is_retransmitting();
            if self.phase.flush_by().is_some() && is_flushed {
                self.finish(End::Local, true);
            }
        }
        let Phase::Ended { close_due, .. } = &mut self.phase else { return None };
        let payload = std::mem::take(close_due).then_some(Bytes::from_static(b"1"))?;
        let input = self.stream.outbound.last_sequence();
        self.stream.encode(now, (FrameType::CLOSE, input, payload))
    }

    /// The payload of a WebSocket ping, if one is due.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Bytes> {
        if !self.wants_remote() || self.poll_ping_timeout(now)? > now {
            return None;
        }
        // It follows what can be sent at once, so that its answer speaks for all of that.
        let waits = self.stream.flow.probes.keepalive_ping_at() > now
            && self.stream.can_send(now, &self.phase)
            && !self.stream.flow.is_ping_overdue(self.stream.outbound.is_closed());
        (!waits).then(|| self.stream.flow.ping(now, self.stream.outbound.last_new_input()))
    }

    /// Whether an unsolicited pong is due: while nothing is read the gateway's own pings are not
    /// answered, and this shows that the client is alive.
    pub fn poll_pong(&mut self, now: Instant) -> bool {
        let is_due =
            !self.wants_remote() && self.poll_ping_timeout(now).is_some_and(|at| at <= now);
        if is_due {
            self.stream.flow.probes.note_pong_sent(now);
        }
        is_due
    }

    /// The next bytes for the local side.
    pub fn poll_deliver(&mut self) -> Option<Bytes> {
        let bytes = self.stream.inbound.pop()?;
        if self.wants_remote() {
            self.stream.flow.update_reading(true);
        }
        Some(bytes)
    }

    /// What has happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.stream.events.0.pop_front()
    }

    /// The channel id with which a new WebSocket is to be asked for, once it is time for that. One
    /// of [`Self::handle_reconnected`] and [`Self::handle_not_reconnected`] has to follow.
    pub fn poll_reconnect(&mut self, now: Instant) -> Option<Bytes> {
        let is_due = !self.phase.is_ended() && self.link.poll_reconnect(now);
        is_due.then(|| self.stream.framing.channel_id())
    }

    /// When [`Self::handle_timeout`] is to be called next. `can_transmit` says whether the caller
    /// has room for a frame: the pace is waited for only then.
    pub fn poll_timeout(&self, can_transmit: bool) -> Option<Instant> {
        let timers = Timer::ALL.into_iter().filter(|timer| can_transmit || *timer != Timer::Pace);
        timers.filter_map(|timer| self.deadline(timer)).min()
    }

    /// When to call [`Self::poll_ping`] and [`Self::poll_pong`] next, as far as the caller has room for
    /// a message.
    pub fn poll_ping_timeout(&self, now: Instant) -> Option<Instant> {
        let is_live = self.link.is_up() && !self.phase.is_ended();
        is_live.then(|| {
            self.stream.flow.ping_at(now, self.wants_remote(), self.stream.outbound.is_closed())
        })
    }

    /// From when on a session that lingers may be ended because another one needs its place. One whose
    /// target has not answered what was sent last is given longer.
    pub fn may_yield_at(&self) -> Option<Instant> {
        self.deadline(Timer::Linger).and(self.stream.may_yield_at())
    }

    /// The stream does not go on as it is.
    fn stop(&mut self, now: Instant, stop: Stop) {
        match stop {
            Stop::End(end, notify_peer) => self.finish(end, notify_peer),
            Stop::PeerEnd(end) => self.handle_peer_end(now, end),
            Stop::Disconnect(why) => self.handle_disconnect(now, why),
        }
    }

    /// The peer has ended the stream. That is its end once all of it is there.
    fn handle_peer_end(&mut self, now: Instant, end: RemoteEnd) {
        let is_missing = self.stream.inbound.has_gap();
        let awaits_sync = self.link.awaits_sync_answer(now);
        match self.phase {
            Phase::PeerEnded(_) => {}
            _ if !is_missing && !awaits_sync => self.finish(End::Remote(end), false),
            _ => {
                self.stream.inbound.request_missing();
                // Nobody is left to take it.
                self.stream.outbound.clear();
                let mut pending = PendingEnd::new(now, end, is_missing, awaits_sync);
                pending.flush_by = self.phase.flush_by();
                self.phase = Phase::PeerEnded(pending);
            }
        }
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        let Stream { inbound, flow, .. } = &self.stream;
        match timer {
            _ if self.phase.is_ended() => None,
            Timer::Reconnect => self.link.reconnect_at(),
            Timer::GiveUp => self.link.give_up_at(),
            Timer::Flush => self.phase.flush_by(),
            _ if !self.link.is_up() => None,
            Timer::Resync => inbound.resync_at(self.phase.pending_end().is_some()),
            Timer::PendingEnd => {
                self.phase.pending_end()?.deadline(inbound.is_sync_due(), flow.blocked())
            }
            // The peer has ended the stream, and only what is missing is still waited for.
            _ if self.phase.pending_end().is_some() => None,
            _ => self.stream.deadline(timer),
        }
    }

    fn expire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::PendingEnd => self.handle_pending_end_timeout(now),
            Timer::GiveUp => self.give_up(now),
            Timer::Flush => {
                self.stream.outbound.clear();
                self.finish(End::Local, true);
            }
            _ => {
                if let Err(stop) = self.stream.expire(now, timer) {
                    self.stop(now, stop);
                }
            }
        }
    }

    /// What was missing at the end has not come. What the local side does not take is not read, and
    /// has no time to keep.
    fn handle_pending_end_timeout(&mut self, now: Instant) {
        let inbound = &self.stream.inbound;
        let Some(pending) = self.phase.pending_end_mut() else { return };
        match inbound.lost_output() {
            _ if !inbound.has_room() => pending.restart(now),
            Some(failure) => self.fail(failure),
            None => {
                let end = End::Remote(pending.end().clone());
                self.finish(end, false);
            }
        }
    }

    /// No other socket was made in time, or none ever can be.
    fn give_up(&mut self, now: Instant) {
        if let Some(outage) = self.link.outage().cloned() {
            let last = outage.last_error.unwrap_or_else(|| outage.why.to_string());
            self.finish_without_socket(now, outage.why, Some(last));
        }
    }

    /// Nothing brings the stream back; `last` is how the last try failed, if there was one.
    fn finish_without_socket(&mut self, now: Instant, why: Disconnect, last: Option<String>) {
        // Before the Sync on a new socket is answered, nobody knows what the old one has lost.
        let may_be_cut = self.link.awaits_sync_answer(now);
        let is_normal = why.is_normal() && self.stream.has_begun() && !may_be_cut;
        let was_to_end = is_normal || self.phase.pending_end().is_some();
        let end = match (self.stream.inbound.lost_output(), last) {
            (Some(failure), _) if was_to_end => End::Failed(failure),
            _ if is_normal => End::Remote(RemoteEnd::WebSocket),
            (_, Some(last)) => End::Failed(Failure::NotResumed { why, last }),
            _ if why == Disconnect::Frozen => End::Failed(Failure::Frozen),
            _ => End::Failed(Failure::Disconnected(why)),
        };
        self.link.abandon();
        self.finish(end, false);
    }

    fn fail(&mut self, failure: Failure) {
        self.finish(End::Failed(failure), true);
    }

    /// Ends the session, once. `notify_peer`: whether to send the peer a Close.
    fn finish(&mut self, end: End, notify_peer: bool) {
        if self.phase.is_ended() {
            return;
        }
        self.stream.inbound.finish();
        let close_due = notify_peer && self.link.is_up() && self.stream.handles_close(&end);
        self.phase = Phase::Ended { end: end.clone(), close_due, yielded: false };
        self.stream.events.push(Event::Ended(end));
    }
}
