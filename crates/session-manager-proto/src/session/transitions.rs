//! What changes the state of a session: frames of the peer, deadlines, frames of this side, ends.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::inbound::Order;
use super::keepalive::KeepalivePolicy;
use super::phase::{PendingEnd, Phase};
use super::ssh::Greeting;
use super::{
    Arrived, Config, Disconnect, End, Event, Failure, RemoteEnd, Session, SessionKind, shell,
};
use crate::frame::{Frame, FrameType, Sequence};
use crate::status::{Reason, Status};
use crate::timer::Timer;

impl Session {
    pub(super) fn handle_output(&mut self, now: Instant, frame: Frame) {
        match frame.sequence {
            Sequence::Single(got) => {
                let gap = self.inbound.check_single(got);
                gap.into_iter().for_each(|event| self.emit(event));
            }
            Sequence::Pair { input, output } => {
                self.link.handle_peer_answer();
                if let Err(failure) = self.outbound.handle_acknowledged(now, input) {
                    return self.fail(failure);
                }
                let event = self.flow.handle_acknowledged(now, input, self.wants_remote());
                event.into_iter().for_each(|event| self.emit(event));
                match self.inbound.check_pair(now, output) {
                    Order::Next => {}
                    Order::Ahead => {
                        let gap = self.inbound.handle_ahead(now, output);
                        return gap.into_iter().for_each(|event| self.emit(event));
                    }
                    Order::Duplicate => {
                        return self.emit(Event::Skipped(format!("Output {output}, a duplicate")));
                    }
                }
                if let Some(pending) = self.phase.pending_end_mut() {
                    pending.restart(now);
                }
                if self.inbound.count_unacked(frame.payload.len()) {
                    self.outbound.set_keepalive_due(true);
                }
            }
        }
        if self.config.is_shell() && !frame.payload.is_empty() {
            let failure = shell::failure_of(&frame.payload);
            if let Some(failure) = failure.filter(|_| !self.shell.has_written()) {
                return self.fail(failure);
            }
            self.shell.handle_written();
        }
        // An empty one comes of the agent, and tells nothing of the target.
        if !frame.payload.is_empty() {
            self.make_reached(now);
        } else if !self.config.is_shell() {
            self.make_ready(now);
        }
        let (greeting, is_closed) = (self.outbound.greeting(), self.outbound.is_closed());
        let end = self.inbound.handle_output(now, frame.payload, greeting, is_closed);
        self.outbound.forget_unneeded(self.framing.has_acks(), self.inbound.has_joined());
        self.flow.update_reading(self.wants_remote());
        if let Some(end) = end {
            return self.finish(end, true);
        }
        let complete = self.phase.pending_end().and_then(PendingEnd::if_complete).cloned();
        if let Some(end) = complete.filter(|_| !self.inbound.has_gap()) {
            self.finish(End::Remote(end), false);
        }
    }

    pub(super) fn handle_status(&mut self, now: Instant, status: Status) {
        match status {
            Status::Progress(progress) => {
                self.opening.handle_progress();
                self.emit(Event::Progress(progress));
            }
            Status::Opened => {
                if self.opening.handle_opened(now) {
                    self.emit(Event::Opened);
                }
            }
            Status::Limit(limit) => {
                self.flow.set_limit(now, limit);
                self.emit(Event::Limit(limit));
            }
            Status::Ended(_) if self.is_agent_idle_end(now) => {
                self.finish(End::Remote(RemoteEnd::Idle), false);
            }
            Status::Ended(reason) if reason.is_normal() => {
                self.handle_peer_end(now, RemoteEnd::Status(reason));
            }
            Status::Ended(reason) => self.finish(End::Failed(Failure::Ended(reason)), false),
            Status::Aborted(text) => self.finish(End::Failed(Failure::Aborted(text)), false),
            Status::Frozen => self.handle_disconnect(now, Disconnect::Frozen),
            Status::Unknown(state) => self.emit(Event::Skipped(format!("a status {state:?}"))),
        }
    }

    /// The peer asks for all Input from a sequence on.
    pub(super) fn handle_sync(&mut self, from: u32) {
        self.link.handle_peer_answer();
        match self.outbound.handle_sync(from) {
            Ok(from) => self.emit(Event::Replaying { from }),
            Err(failure) => self.fail(failure),
        }
    }

    /// The peer has ended the stream. That is its end once all of it is there.
    pub(super) fn handle_peer_end(&mut self, now: Instant, end: RemoteEnd) {
        let is_of_target = matches!(&end, RemoteEnd::Status(reason) if reason.is_of_target());
        if !is_of_target && !self.has_begun() {
            let reason = match end {
                RemoteEnd::Status(reason) => reason,
                _ => Reason::parse(b""),
            };
            return self.finish(End::Failed(Failure::Ended(reason)), false);
        }
        let is_missing = self.inbound.has_gap();
        let awaits_sync = self.link.awaits_sync_answer(now);
        match self.phase {
            Phase::PeerEnded(_) => {}
            _ if !is_missing && !awaits_sync => self.finish(End::Remote(end), false),
            _ => {
                self.inbound.request_missing();
                // Nobody is left to take it.
                self.outbound.clear();
                let pending = PendingEnd::new(now, end, is_missing, awaits_sync);
                self.phase = Phase::PeerEnded(pending.flushed_by(self.phase.flush_by()));
            }
        }
    }

    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        let has_acks = self.framing.has_acks();
        let greeting = match self.config.kind {
            SessionKind::Port => self.outbound.greeting(),
            SessionKind::Shell => Greeting::Nothing,
        };
        match timer {
            _ if self.phase.is_ended() => None,
            Timer::Reconnect => self.link.reconnect_at(),
            Timer::GiveUp => self.link.give_up_at(),
            Timer::Flush => self.phase.flush_by(),
            _ if !self.link.is_up() => None,
            Timer::Resync => self.inbound.resync_at(self.phase.pending_end().is_some()),
            Timer::PendingEnd => {
                let is_sync_due = self.inbound.is_sync_due();
                self.phase.pending_end()?.deadline(is_sync_due, self.flow.blocked())
            }
            // The peer has ended the stream, and only what is missing is still waited for.
            _ if self.phase.pending_end().is_some() => None,
            Timer::PeerAck | Timer::RequestAck if self.inbound.is_sync_due() => None,
            Timer::PeerAck => self.outbound.peer_ack_deadline(),
            Timer::RequestAck => self.outbound.request_ack_at(&self.flow, has_acks),
            Timer::Pace => self.outbound.send_at(&self.flow),
            Timer::Ready | Timer::Open if self.outbound.is_open() => None,
            Timer::Ready => self.opening.ready_at(&self.config, self.agent, greeting),
            Timer::Open => self.opening.deadline(&self.config),
            Timer::Reached => self.opening.reached_at(&self.config, greeting),
            Timer::Silence => self.flow.silence_at().filter(|_| self.wants_remote()),
            Timer::NoAnswer if !self.inbound.is_empty() => None,
            Timer::NoAnswer => {
                self.outbound.no_answer_at(&self.flow, has_acks, self.inbound.last_output())
            }
            Timer::KeepAlive => self.keepalive().due_at(&self.outbound, &self.inbound),
            // What is not read may be there all the same.
            Timer::AgentIdle | Timer::Arrival if !self.wants_remote() => None,
            Timer::AgentIdle => {
                self.keepalive().agent_idle_at(&self.outbound, &self.inbound, &self.flow)
            }
            Timer::Arrival => self.outbound.arrival_deadline(&self.flow, has_acks),
            Timer::Idle => Some(self.active() + self.config.idle_timeout?),
            Timer::IdleWarning if self.shell.is_warned(self.active()) => None,
            Timer::IdleWarning => {
                let quiet = self.config.idle_timeout?.saturating_sub(self.config.idle_warning?);
                Some(self.active() + quiet)
            }
            Timer::Linger => {
                // The peer is not quiet as long as something is still to be sent again, either way, or
                // has not arrived.
                let outbound = &self.outbound;
                let is_sent = outbound.is_sent(&self.flow) && self.arrived() != Arrived::NotYet;
                // A socket that takes no frame is not waited for where it has nothing to take.
                let is_done = is_sent || outbound.is_done(&self.flow, self.framing.has_acks());
                let is_done = is_done && !self.inbound.has_gap();
                let quiet = self.quiet_since().filter(|_| is_done)?;
                // A local side that is busy is looked at again, but not at once and for ever.
                let least = Duration::from_secs(u64::from(!self.inbound.is_empty()));
                Some(quiet + self.config.linger.max(least))
            }
        }
    }

    /// When something was last carried.
    fn active(&self) -> Instant {
        self.outbound.last_activity().max(self.inbound.last_output())
    }

    /// Since when nothing has come or gone after the local end of file.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let drained = self.outbound.drained_from()?.max(self.flow.taken_at());
        let quiet = drained.max(self.outbound.last_activity()).max(self.inbound.last_output());
        Some(quiet.max(self.flow.last_arrival().unwrap_or(quiet)))
    }

    pub(super) fn expire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Ready => self.make_ready(now),
            Timer::Reached => self.make_reached(now),
            Timer::Silence => {
                self.handle_disconnect(now, Disconnect::Broken(self.flow.silence_reason()));
            }
            Timer::RequestAck => {
                if self.outbound.request_ack(now) {
                    self.inbound.request_sync();
                }
            }
            Timer::NoAnswer => {
                let event = Event::NoAnswer(self.outbound.report_no_answer(now));
                self.emit(event);
            }
            Timer::AgentIdle => self.finish(End::Remote(RemoteEnd::Idle), true),
            Timer::Arrival => self.fail(Failure::NotArrived { bytes: self.not_arrived() }),
            Timer::Open => self.fail(Failure::NotOpened {
                waited: self.opening.waited(now),
                progress: self.opening.has_progress(),
            }),
            Timer::KeepAlive => {
                self.inbound.update_download(now);
                let may_send = self.keepalive().may_send(&self.inbound);
                self.outbound.set_keepalive_due(may_send);
            }
            // A local side that does not take what waits for it is busy, and the peer is not quiet.
            Timer::IdleWarning | Timer::Idle | Timer::Linger if self.is_busy() => {
                self.inbound.note_activity(now);
            }
            Timer::IdleWarning => {
                let since = self.active();
                self.shell.note_warned(since);
                let end = since + self.config.idle_timeout.unwrap_or_default();
                self.emit(Event::IdleSoon(end.saturating_duration_since(now)));
            }
            Timer::Idle => {
                self.fail(Failure::Idle(self.config.idle_timeout.unwrap_or_default()));
            }
            Timer::Linger => self.finish(End::Local, true),
            Timer::Resync => {
                if let Some(failure) = self.inbound.resync(now) {
                    self.fail(failure);
                }
            }
            Timer::PendingEnd => self.handle_pending_end_timeout(now),
            Timer::GiveUp => self.give_up(now),
            Timer::PeerAck => self.outbound.handle_no_peer_ack(),
            Timer::Flush => {
                self.outbound.clear();
                self.finish(End::Local, true);
            }
            // The caller asks for what is due.
            Timer::Pace | Timer::Reconnect => {}
        }
    }

    /// What was missing at the end has not come. What the local side does not take is not read, and
    /// has no time to keep.
    pub(super) fn handle_pending_end_timeout(&mut self, now: Instant) {
        let (has_room, lost) = (self.wants_remote(), self.inbound.lost_output());
        let Some(pending) = self.phase.pending_end_mut() else { return };
        match lost {
            _ if !has_room => pending.restart(now),
            Some(failure) => self.fail(failure),
            None => {
                let end = End::Remote(pending.end().clone());
                self.finish(end, false);
            }
        }
    }

    pub(super) fn keepalive(&self) -> KeepalivePolicy {
        let Config { keepalive, .. } = self.config;
        let (is_ssh, is_shell) = (self.is_ssh(), self.config.is_shell());
        KeepalivePolicy { keepalive, agent: self.agent, is_ssh, is_shell }
    }

    pub(super) fn is_agent_idle_end(&self, now: Instant) -> bool {
        self.keepalive().is_idle_end(now, &self.outbound, &self.inbound)
    }

    /// Whether there was a stream that could end.
    pub(super) fn has_begun(&self) -> bool {
        self.opening.is_opened() || self.inbound.has_joined()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.inbound.is_empty() || self.outbound.queued() > 0
    }

    pub(super) fn make_ready(&mut self, now: Instant) {
        if !self.outbound.open(now) {
            return;
        }
        if matches!(self.phase, Phase::Opening) {
            let is_closed = self.outbound.is_closed();
            self.phase = if is_closed { Phase::HalfClosed } else { Phase::Open };
        }
        self.emit(Event::Ready);
    }

    pub(super) fn make_reached(&mut self, now: Instant) {
        self.make_ready(now);
        if self.opening.handle_reached() {
            self.emit(Event::Reached);
        }
    }

    /// Whether [`Self::poll_transmit`] has something now.
    pub(super) fn can_send(&mut self, now: Instant) -> bool {
        let is_ended = self.phase.pending_end().is_some();
        let is_due = self.is_resize_due() || self.outbound.can_send(now, &mut self.flow);
        self.inbound.is_sync_due() || (!is_ended && is_due)
    }

    /// Whether the size of the window is to be sent: the agent has joined, and knows of it or not.
    fn is_resize_due(&self) -> bool {
        let is_held = self.outbound.is_retransmitting() || self.phase.flush_by().is_some();
        self.shell.is_resize_due() && self.has_begun() && !is_held
    }

    /// The next frame of a session that is connected, less what each frame carries.
    pub(super) fn next_frame(&mut self, now: Instant) -> Option<(FrameType, u32, Bytes)> {
        if self.inbound.take_sync(now) {
            if let Some(pending) = self.phase.pending_end_mut() {
                pending.note_sync_sent(now);
            }
            return Some((FrameType::SYNC, self.outbound.last_sequence(), Bytes::new()));
        }
        if self.phase.pending_end().is_some() {
            return None;
        }
        if let Some(frame) = self.outbound.poll_retransmit(now, &mut self.flow) {
            return Some(frame);
        }
        if self.is_resize_due()
            && let Some(size) = self.shell.take_resize()
        {
            let sequence = self.outbound.keep(now, FrameType::RESIZE, size.clone());
            self.outbound.forget_unneeded(self.framing.has_acks(), self.inbound.has_joined());
            return Some((FrameType::RESIZE, sequence, size));
        }
        if !self.outbound.is_open() || self.outbound.is_retransmitting() {
            return None;
        }
        let (kind, payload) = match self.outbound.poll_input(now, &mut self.flow) {
            Some(payload) => {
                self.inbound.handle_input_sent();
                (FrameType::INPUT, payload)
            }
            None if self.outbound.take_keepalive() => self.keepalive_frame(now),
            None => return None,
        };
        let sequence = self.outbound.keep(now, kind, payload.clone());
        self.outbound.forget_unneeded(self.framing.has_acks(), self.inbound.has_joined());
        Some((kind, sequence, payload))
    }

    pub(super) fn keepalive_frame(&mut self, now: Instant) -> (FrameType, Bytes) {
        if let Some(size) = self.keepalive().resize() {
            return (FrameType::RESIZE, size.into());
        }
        if self.keepalive().redials() {
            self.inbound.handle_keepalive_sent(now);
        }
        (FrameType::INPUT, Bytes::new())
    }

    pub(super) fn encode(
        &mut self,
        now: Instant,
        kind: FrameType,
        input: u32,
        payload: Bytes,
    ) -> Option<Bytes> {
        self.outbound.handle_sent(now);
        let output = self.inbound.acknowledge();
        self.framing.encode(now, kind, (input, output), payload)
    }

    /// No other socket was made in time, or none ever can be.
    pub(super) fn give_up(&mut self, now: Instant) {
        if let Some(outage) = self.link.outage().cloned() {
            let last = outage.last_error.unwrap_or_else(|| outage.why.to_string());
            self.finish_without_socket(now, outage.why, Some(last));
        }
    }

    /// Nothing brings the stream back; `last` is how the last try failed, if there was one.
    pub(super) fn finish_without_socket(
        &mut self,
        now: Instant,
        why: Disconnect,
        last: Option<String>,
    ) {
        // Before the Sync on a new socket is answered, nobody knows what the old one has lost.
        let may_be_cut = self.link.awaits_sync_answer(now);
        let is_normal = why.is_normal() && self.has_begun() && !may_be_cut;
        let was_to_end = is_normal || self.phase.pending_end().is_some();
        let end = match (self.inbound.lost_output(), last) {
            (Some(failure), _) if was_to_end => End::Failed(failure),
            _ if is_normal => End::Remote(RemoteEnd::WebSocket),
            (_, Some(last)) => End::Failed(Failure::NotResumed { why, last }),
            _ if why == Disconnect::Frozen => End::Failed(Failure::Frozen),
            _ => End::Failed(Failure::Disconnected(why)),
        };
        self.link.abandon();
        self.finish(end, false);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.finish(End::Failed(failure), true);
    }

    /// Ends the session, once. `tell` says whether the peer still has to hear of it.
    pub(super) fn finish(&mut self, end: End, tell: bool) {
        if self.phase.is_ended() {
            return;
        }
        self.inbound.finish();
        let close_due = tell && self.link.is_up() && self.keepalive().handles_close(&end);
        self.phase = Phase::Ended { end: end.clone(), close_due, yielded: false };
        self.emit(Event::Ended(end));
    }

    /// Events are bounded by being dropped if nobody asks for them.
    pub(super) fn emit(&mut self, event: Event) {
        if self.events.len() < 64 || matches!(event, Event::Ended(_)) {
            self.events.push_back(event);
        }
    }
}
