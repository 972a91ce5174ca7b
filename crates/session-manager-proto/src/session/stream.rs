//! The stream of a session, whatever WebSocket carries it: both directions, their flow control and framing,
//! and the rules that join them (docs/protocol.md, 5 to 8): what a frame and a deadline change, what is sent next,
//! and how the stream is kept open without making an agent dial a target again that has closed.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::{Config, Keepalive};
use super::end::{Arrived, Disconnect, End, Failure, RemoteEnd};
use super::event::{Event, Events};
use super::flow::FlowControl;
use super::framing::Framing;
use super::inbound::{Inbound, Order};
use super::opening::Opening;
use super::outbound::Outbound;
use super::phase::Phase;
use super::shell::Shell;
use super::ssh::Greeting;
use crate::frame::{Frame, FrameType, Sequence};
use crate::generation::Generation;
use crate::status::{Reason, Status};
use crate::timer::Timer;

/// How long a session that lingers has to be quiet before it may be ended for another one.
const YIELD_AFTER: Duration = Duration::from_secs(1);
/// The same where the target has not answered yet.
const YIELD_UNANSWERED_AFTER: Duration = Duration::from_secs(3);

/// An agent ends a session after 180 s without a frame from the client. From this silence on an end is
/// taken to be that one.
pub(super) const AGENT_IDLE_FROM: Duration = Duration::from_secs(170);
/// After this silence the agent is not waited for.
const AGENT_IDLE_BY: Duration = Duration::from_secs(185);
/// A target that has sent data within this time was not idle.
const NOT_IDLE: Duration = Duration::from_secs(60);
/// The size of the terminal in a Resize that is a keepalive (rows, then columns): an agent of a port
/// session ignores the size.
const SIZE: [u16; 2] = [24, 80];

/// The stream of one session.
#[derive(Debug)]
pub(super) struct Stream {
    config: Config,
    pub(super) opening: Opening,
    pub(super) framing: Framing,
    pub(super) flow: FlowControl,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    /// Only of a shell, which no agent starts again.
    pub(super) shell: Option<Shell>,
    /// The generation of the agent, once it is known.
    pub(super) agent: Option<Generation>,
    /// The last activity before the idle time of which a warning was given.
    warned_since: Option<Instant>,
    pub(super) events: Events,
}

/// Why a stream does not go on as it is.
#[derive(Debug)]
pub(super) enum Stop {
    /// The session ends. Whether to send the peer a Close.
    End(End, bool),
    /// The peer has ended the stream.
    PeerEnd(RemoteEnd),
    /// The WebSocket cannot be used any more.
    Disconnect(Disconnect),
}

impl Stop {
    /// The peer has reported a failure.
    fn by_peer(failure: Failure) -> Self {
        Self::End(End::Failed(failure), false)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::End(End::Failed(failure), true)
    }
}

impl Stream {
    pub(super) fn new(now: Instant, config: Config) -> Self {
        Self {
            opening: Opening::new(now),
            framing: Framing::new(now, config.unix_ms),
            flow: FlowControl::new(now),
            outbound: Outbound::new(now, config.kind),
            inbound: Inbound::new(now, config.kind),
            shell: config.is_shell().then(Shell::default),
            agent: None,
            warned_since: None,
            events: Events::default(),
            config,
        }
    }

    /// Whether there was a stream that could end.
    pub(super) fn has_begun(&self) -> bool {
        self.opening.is_opened() || self.inbound.has_joined()
    }

    /// Whether the stream is known to be SSH's: a second identification line is its end.
    pub(super) fn is_ssh(&self) -> bool {
        self.inbound.is_ssh() || self.outbound.greeting() == Greeting::Ssh
    }

    /// Whether something waits to be taken on this side: by the local side, or to be sent.
    fn is_busy(&self) -> bool {
        !self.inbound.is_empty() || self.outbound.queued() > 0
    }

    /// Whether what was sent has arrived.
    pub(super) fn arrived(&self) -> Arrived {
        self.outbound.arrived(&self.flow, self.framing.has_acks())
    }

    /// How many payload bytes are not known to have arrived.
    pub(super) fn not_arrived(&self) -> u64 {
        let has_acks = self.framing.has_acks();
        let unacknowledged = if has_acks { self.outbound.unacknowledged() } else { 0 };
        self.flow.not_arrived().max(unacknowledged) + self.outbound.not_sent()
    }

    /// When something was last carried.
    fn last_activity(&self) -> Instant {
        self.outbound.last_activity().max(self.inbound.last_output())
    }

    /// From when on all that came before the local end of file has arrived, as far as the peer confirms that,
    /// and the target can have it.
    pub(super) fn delivered_at(&self) -> Option<Instant> {
        let Self { flow, outbound, .. } = self;
        let is_sent = outbound.is_sent(flow) && self.arrived() != Arrived::NotYet;
        // A socket that takes no frame is not waited for where it has nothing to take.
        let is_done = is_sent || outbound.is_done(flow, self.framing.has_acks());
        let drained = outbound.drained_from().filter(|_| is_done)?;
        let taken = drained.max(flow.taken_at()).max(outbound.last_activity());
        let arrived = flow.probes.last_arrival();
        // Agents from B on keep what comes before they have dialled the target. A shell has none.
        let is_port = self.shell.is_none();
        let dialled = self.opening.dialled_from(&self.config, outbound.greeting());
        Some([arrived, dialled.filter(|_| is_port)].into_iter().flatten().fold(taken, Instant::max))
    }

    /// Since when nothing has come or gone after the local end of file. The peer is not quiet as long as
    /// something is still to be sent again, either way, or has not arrived.
    fn quiet_since(&self) -> Option<Instant> {
        let delivered = self.delivered_at().filter(|_| !self.inbound.has_gap())?;
        Some(delivered.max(self.inbound.last_output()))
    }

    /// Whether nothing has come since the local side last sent something.
    fn is_unanswered(&self) -> bool {
        self.outbound.last_input() > self.inbound.last_output()
    }

    /// From when on a stream that lingers may be ended because another session needs its place.
    pub(super) fn may_yield_at(&self) -> Option<Instant> {
        let quiet = self.quiet_since().filter(|_| !self.is_busy())?;
        let is_answered =
            self.inbound.has_output() && self.inbound.last_output() > self.outbound.last_input();
        let least = if is_answered { YIELD_AFTER } else { YIELD_UNANSWERED_AFTER };
        Some(quiet + least.min(self.config.linger))
    }

    /// The deadlines of a stream that goes on, and has a socket.
    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        let Self { config, opening, flow, outbound, inbound, .. } = self;
        let has_acks = self.framing.has_acks();
        match timer {
            Timer::Ready | Timer::Open if outbound.is_open() => None,
            Timer::Ready => opening.ready_at(config, self.agent, outbound.greeting()),
            Timer::Open => opening.deadline(config),
            Timer::Reached => opening.reached_at(config, outbound.greeting()),
            Timer::PeerAck | Timer::RequestAck if inbound.is_sync_due() => None,
            Timer::PeerAck => outbound.peer_ack_deadline(),
            Timer::RequestAck => outbound.request_ack_at(flow, has_acks),
            Timer::Pace => outbound.send_at(flow),
            Timer::NoAnswer if !inbound.is_empty() => None,
            Timer::NoAnswer => outbound.no_answer_at(flow, has_acks, inbound.last_output()),
            Timer::KeepAlive if !self.may_keep_alive() => None,
            Timer::KeepAlive => outbound.keepalive_at(config.keepalive.after()?),
            // What is not read may be there all the same.
            Timer::Silence | Timer::AgentIdle | Timer::Arrival if !inbound.has_room() => None,
            Timer::Silence => flow.silence_at(),
            Timer::AgentIdle if !self.is_left_to_agent() => None,
            // The agent has ended the session by then, should it not say so.
            Timer::AgentIdle => {
                let spoken = inbound.last_output().max(flow.unread());
                Some((outbound.last_sent() + AGENT_IDLE_BY).max(spoken + NOT_IDLE))
            }
            Timer::Arrival => outbound.arrival_deadline(flow, has_acks),
            Timer::Idle => Some(self.last_activity() + config.idle_timeout?),
            Timer::IdleWarning if self.warned_since == Some(self.last_activity()) => None,
            Timer::IdleWarning => {
                let quiet = config.idle_timeout?.saturating_sub(config.idle_warning?);
                Some(self.last_activity() + quiet)
            }
            Timer::Linger => {
                // A local side that is busy is looked at again, but not at once and for ever.
                let least = Duration::from_secs(u64::from(!inbound.is_empty()));
                Some(self.quiet_since()? + config.linger.max(least))
            }
            // Those of an end, and of another socket.
            Timer::Flush | Timer::Resync | Timer::PendingEnd | Timer::Reconnect | Timer::GiveUp => {
                None
            }
        }
    }

    /// A deadline of the stream has come, or that of Outputs that are missing.
    pub(super) fn expire(&mut self, now: Instant, timer: Timer) -> Result<(), Stop> {
        match timer {
            Timer::Ready => self.make_ready(now),
            Timer::Reached => self.make_reached(now),
            Timer::Open => return Err(self.opening.failure(now).into()),
            Timer::PeerAck => self.outbound.handle_no_peer_ack(),
            Timer::RequestAck => {
                if self.outbound.request_ack(now) {
                    self.inbound.request_sync();
                }
            }
            Timer::NoAnswer => {
                self.events.push(Event::NoAnswer(self.outbound.report_no_answer(now)));
            }
            Timer::KeepAlive => {
                self.inbound.update_download(now);
                self.outbound.set_keepalive_due(self.may_keep_alive());
            }
            Timer::Silence => {
                let why = Disconnect::Broken(self.flow.probes.timeout_reason());
                return Err(Stop::Disconnect(why));
            }
            // A client that waits for an answer was not idle.
            Timer::AgentIdle if self.is_unanswered() => {
                return Err(Failure::Ended(Reason::parse(b"IdleTimeout")).into());
            }
            Timer::AgentIdle => return Err(Stop::End(End::Remote(RemoteEnd::Idle), true)),
            Timer::Arrival => {
                return Err(Failure::NotArrived { bytes: self.not_arrived() }.into());
            }
            // A local side that does not take what waits for it is busy, and the peer is not quiet.
            Timer::IdleWarning | Timer::Idle | Timer::Linger if self.is_busy() => {
                self.inbound.note_activity(now);
            }
            Timer::IdleWarning => {
                let since = self.last_activity();
                self.warned_since = Some(since);
                let end = since + self.config.idle_timeout.unwrap_or_default();
                self.events.push(Event::IdleSoon(end.saturating_duration_since(now)));
            }
            Timer::Idle => {
                return Err(Failure::Idle(self.config.idle_timeout.unwrap_or_default()).into());
            }
            Timer::Linger => return Err(Stop::End(End::Local, true)),
            Timer::Resync => {
                return self.inbound.resync(now).map_or(Ok(()), |failure| Err(failure.into()));
            }
            // The caller asks for what is due, or the session has to know.
            Timer::Pace | Timer::Flush | Timer::PendingEnd | Timer::Reconnect | Timer::GiveUp => {}
        }
        Ok(())
    }

    /// This machine has slept, for about so long, in which no deadline came: a keepalive may be overdue.
    pub(super) fn handle_slept(&mut self, now: Instant, slept: Duration) {
        self.outbound.handle_slept(now);
        let after = self.config.keepalive.after();
        let due = after.and_then(|after| self.outbound.keepalive_at(after));
        if due.is_some_and(|due| due <= now + slept) {
            self.outbound.set_keepalive_due(self.may_keep_alive());
        }
    }

    fn make_ready(&mut self, now: Instant) {
        if self.outbound.open(now) {
            self.events.push(Event::Ready);
        }
    }

    fn make_reached(&mut self, now: Instant) {
        self.make_ready(now);
        if self.opening.handle_reached(now) {
            self.events.push(Event::Reached);
        }
    }

    /// Whether a keepalive may be sent. Where none may, the agent ends a session that is silent. After the
    /// local end of file none is sent that could make an agent dial again (docs/protocol.md, 7).
    fn may_keep_alive(&self) -> bool {
        if self.outbound.is_closed() {
            let is_resize = self.agent == Some(Generation::C);
            let is_harmless = is_resize || self.framing.has_acks() || !self.redials();
            // A socket that takes nothing is not to be kept busy.
            return is_harmless && self.flow.blocked().is_none();
        }
        let redials_on_any = matches!(self.agent, Some(Generation::A | Generation::B));
        let is_forced = matches!(self.config.keepalive, Keepalive::Always(_));
        let is_harmless = !redials_on_any || self.is_ssh() || self.shell.is_some();
        is_harmless || is_forced || self.inbound.is_downloading()
    }

    /// Whether one that is due may still be sent, by all that is known by now of agent and gateway.
    fn is_keepalive_harmless(&self) -> bool {
        self.framing.has_acks() || self.may_keep_alive()
    }

    /// Whether an empty Input makes the agent dial a target again that has closed.
    pub(super) fn redials(&self) -> bool {
        self.shell.is_none() && self.agent.is_none_or(Generation::redials)
    }

    fn is_left_to_agent(&self) -> bool {
        let is_by_agent = matches!(self.config.keepalive, Keepalive::ByAgent(_));
        let is_open = self.outbound.is_open() && !self.outbound.is_closed();
        is_by_agent && is_open && !self.may_keep_alive()
    }

    /// Whether an end that comes now is that of a session which was idle and could not be kept open.
    pub(super) fn is_agent_idle_end(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        self.is_left_to_agent()
            && !self.is_unanswered()
            && since(self.outbound.last_sent()) >= AGENT_IDLE_FROM
            && since(self.inbound.last_output()) >= NOT_IDLE
    }

    /// Whether the agent ends the session at a Close. A and B ignore it, and dial a target again that
    /// has closed.
    pub(super) fn handles_close(&self, end: &End) -> bool {
        match self.agent {
            Some(Generation::A | Generation::B) => false,
            Some(Generation::C | Generation::D) => true,
            None => {
                !matches!(end, End::Remote(RemoteEnd::Redialled) | End::Failed(Failure::Redialled))
            }
        }
    }

    /// The generation of the agent is known from now on.
    pub(super) fn handle_agent(&mut self, generation: Generation) {
        self.agent = Some(generation);
    }

    /// Something has come that is no answer to a ping.
    pub(super) fn handle_activity(&mut self, now: Instant) {
        self.events.push(self.flow.handle_activity(now, self.inbound.has_room()));
    }

    /// A frame of the peer has come. Whether it is an Output, and the next one.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        frame: Frame,
        redact: impl FnOnce(&str) -> String,
    ) -> Result<bool, Stop> {
        if self.framing.learn(&frame) {
            self.events.push(Event::Version(frame.version));
        }
        self.handle_activity(now);
        match (frame.kind, frame.sequence) {
            (FrameType::OUTPUT, _) => return self.handle_output(now, frame),
            (FrameType::STATUS, _) => {
                self.handle_status(now, Status::parse_with(&frame.payload, redact))?;
            }
            (FrameType::CLOSE, _) if self.has_begun() => {
                return Err(Stop::PeerEnd(RemoteEnd::Close));
            }
            (FrameType::CLOSE, _) => return Err(Stop::by_peer(Failure::Ended(Reason::parse(b"")))),
            (FrameType::SYNC, Sequence::Pair { input, .. }) => {
                let from = self.outbound.handle_sync(input)?;
                self.events.push(Event::Replaying { from });
            }
            (FrameType::SYNC, _) => self.events.skip("a Sync of version 1.01".into()),
            (kind, _) => self.events.skip(format!("a frame of type {}", kind.0)),
        }
        Ok(false)
    }

    fn handle_status(&mut self, now: Instant, status: Status) -> Result<(), Stop> {
        match status {
            Status::Progress(progress) => {
                self.opening.handle_progress();
                self.events.push(Event::Progress(progress));
            }
            Status::Opened => {
                if self.opening.handle_opened(now) {
                    self.events.push(Event::Opened);
                }
            }
            Status::Limit(limit) => {
                self.flow.pace.set_limit(now, limit);
                self.events.push(Event::Limit(limit));
            }
            Status::Ended(_) if self.is_agent_idle_end(now) => {
                return Err(Stop::End(End::Remote(RemoteEnd::Idle), false));
            }
            // What ends before it has begun is a failure; but a target that has closed was there.
            Status::Ended(reason)
                if reason.is_of_target() || (reason.is_normal() && self.has_begun()) =>
            {
                return Err(Stop::PeerEnd(RemoteEnd::Status(reason)));
            }
            Status::Ended(reason) => return Err(Stop::by_peer(Failure::Ended(reason))),
            Status::Aborted(text) => return Err(Stop::by_peer(Failure::Aborted(text))),
            Status::Frozen => return Err(Stop::Disconnect(Disconnect::Frozen)),
            Status::Unknown(state) => self.events.skip(format!("a status {state:?}")),
        }
        Ok(())
    }

    /// Whether the Output is the next one.
    fn handle_output(&mut self, now: Instant, frame: Frame) -> Result<bool, Stop> {
        match frame.sequence {
            Sequence::Single(got) => self.events.push(self.inbound.check_single(got)),
            Sequence::Pair { input, output } => {
                self.outbound.handle_acknowledged(now, input, frame.payload.is_empty())?;
                let reads = self.inbound.has_room();
                self.events.push(self.flow.handle_acknowledged(now, input, reads));
                let order = self.inbound.check_pair(now, output);
                match order {
                    Order::Next => {}
                    Order::Ahead => self.events.push(self.inbound.handle_ahead(now, output)),
                    Order::Duplicate => self.events.skip(format!("Output {output}, a duplicate")),
                }
                if order != Order::Next {
                    return Ok(false);
                }
                if self.inbound.count_unacked(frame.payload.len()) {
                    self.outbound.set_keepalive_due(true);
                }
            }
        }
        if let Some(shell) = self.shell.as_mut().filter(|_| !frame.payload.is_empty()) {
            shell.handle_output(&frame.payload)?;
        }
        // An empty one comes from the agent, not from the target.
        if !frame.payload.is_empty() {
            self.make_reached(now);
        } else if self.shell.is_none() {
            self.make_ready(now);
        }
        let (greeting, is_closed) = (self.outbound.greeting(), self.outbound.is_closed());
        let end = self.inbound.handle_output(now, frame.payload, greeting, is_closed);
        self.forget_unneeded();
        self.flow.update_reading(self.inbound.has_room());
        end.map_or(Ok(true), |end| Err(Stop::End(end, true)))
    }

    fn forget_unneeded(&mut self) {
        self.outbound.forget_unneeded(self.framing.has_acks(), self.inbound.has_joined());
    }

    /// Whether [`Self::poll_frame`] has something now.
    pub(super) fn can_send(&mut self, now: Instant, phase: &Phase) -> bool {
        let is_resize_due = self.may_resize(phase) && self.shell.iter().any(Shell::is_resize_due);
        let is_due = is_resize_due || self.outbound.can_send(now, &mut self.flow);
        self.inbound.is_sync_due() || (phase.pending_end().is_none() && is_due)
    }

    /// Whether the size of the window may be sent: the agent has joined, and knows of it or not.
    fn may_resize(&self, phase: &Phase) -> bool {
        self.has_begun() && phase.flush_by().is_none() && !self.outbound.is_retransmitting()
    }

    /// The next message, but for the Close. After the end of the peer's stream, only requests for missing
    /// Outputs are sent.
    pub(super) fn poll_frame(&mut self, now: Instant, phase: &mut Phase) -> Option<Bytes> {
        if self.inbound.take_sync(now) {
            phase.pending_end_mut().into_iter().for_each(|pending| pending.note_sync_sent(now));
            return self
                .encode(now, (FrameType::SYNC, self.outbound.last_sequence(), Bytes::new()));
        }
        if phase.pending_end().is_some() {
            return None;
        }
        if let Some(frame) = self.outbound.poll_retransmit(now, &mut self.flow) {
            return self.encode(now, frame);
        }
        let may_resize = self.may_resize(phase);
        let shell = self.shell.as_mut().filter(|_| may_resize);
        let (kind, payload) = if let Some(size) = shell.and_then(Shell::take_resize) {
            (FrameType::RESIZE, size)
        } else if !self.outbound.is_open() || self.outbound.is_retransmitting() {
            return None;
        } else if let Some(payload) = self.outbound.poll_input(now, &mut self.flow) {
            self.inbound.handle_input_sent();
            (FrameType::INPUT, payload)
        } else if self.outbound.take_keepalive() && self.is_keepalive_harmless() {
            self.keepalive_frame(now)
        } else {
            return None;
        };
        let sequence = self.outbound.keep(now, kind, payload.clone());
        self.forget_unneeded();
        self.encode(now, (kind, sequence, payload))
    }

    /// An empty Input, or a Resize if the agent is one that redials on an empty Input and not on that.
    fn keepalive_frame(&mut self, now: Instant) -> (FrameType, Bytes) {
        if self.agent == Some(Generation::C) && self.shell.is_none() {
            return (FrameType::RESIZE, SIZE.map(u16::to_le_bytes).concat().into());
        }
        if self.redials() {
            self.inbound.handle_keepalive_sent(now);
        }
        (FrameType::INPUT, Bytes::new())
    }

    /// A frame that is sent now, with its own number or that of the last Input.
    pub(super) fn encode(&mut self, now: Instant, frame: (FrameType, u32, Bytes)) -> Option<Bytes> {
        self.outbound.handle_sent(now);
        self.framing.encode(now, frame, self.inbound.acknowledge())
    }
}
