//! One model of a session and of all that is around it: the local side, the driver, the link and the agent.
//!
//! A case is a [`Setup`] and [`Step`]s. What holds whatever happens is in `checks`. With an agent that
//! follows docs/protocol.md (`peer`), behind a link that may stall, lose and end (`link`), what one side has
//! written is compared with what the other has got. Without one every frame is a step, of whatever a
//! fuzzer makes up (`script`).
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

mod checks;
mod drive;
mod link;
mod peer;
mod script;
mod step;

use std::collections::VecDeque;
use std::ops::Range;

use self::link::{Down, Stream, Up, Way, pattern};
#[cfg(test)]
pub(crate) use self::peer::Agent;
use self::peer::{Peer, Target};
pub(crate) use self::script::session;
pub(crate) use self::step::{Data, Gateway, Mishap, Offsets, Setup, Source, Step, Ways};
use super::*;
use crate::flow::pace::DEFAULT_LIMIT;
use crate::frame::Version;
use crate::status::Status;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A session, what is around it, and what ought to become of it.
pub(crate) struct Model {
    pub(crate) setup: Setup,
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) session: Session,
    end: Option<End>,
    end_told: bool,

    // Local to far.
    written: Stream,
    /// Of `written`, what each Input has carried.
    inputs: Vec<Range<usize>>,
    /// How much of `written` was sent.
    sent: usize,
    ready: bool,
    local_eof: bool,
    agent: Option<Generation>,
    /// When an empty Input was sent, with none of the local side since.
    keepalive: Option<Instant>,
    /// A ping that waits for its answer.
    ping: Option<Bytes>,
    last_frame: Instant,
    closed: bool,
    limit: u64,
    limit_since: Instant,
    /// When Input was sent within the last second, how much, and whether it was sent again.
    second: VecDeque<(Instant, usize, bool)>,
    second_bytes: usize,

    // Far to local.
    channel_id: Bytes,
    resumable: bool,
    received: u32,
    /// The highest number of an Output that has come, in order or not.
    highest: u32,
    answered: Stream,
    /// Whether the first Output came before any byte was sent.
    is_greeted: bool,
    delivered: usize,
    gone: bool,
    progress: bool,
    opened: Option<Instant>,
    pieces: Vec<Bytes>,

    // The local side and the driver.
    source: Source,
    types_at: Instant,
    /// The size of the window: rows, then columns.
    size: [u16; 2],
    reads: bool,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
    /// Another socket is being made.
    redialling: bool,

    // The link and the agent.
    up: Way<Up>,
    down: Way<Down>,
    gateway: Gateway,
    peer: Option<Peer>,
    /// How many pings the gateway has got, and which payload bytes when.
    pub(crate) pings: usize,
    pub(crate) log: Vec<(Instant, usize)>,

    // What was done to it.
    was_disturbed: bool,
    was_cut: bool,
    stalled_until: Option<Instant>,
    lost: [bool; 2],
    is_sync_lost: bool,
    is_shut_down: bool,
    has_yielded: bool,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        let start = Instant::now();
        let peer = setup.agent.clone().map(|agent| Peer::new(start, agent));
        let mut model = Self {
            session: Session::new(start, setup.config.clone()),
            up: Way::new(start, setup.delay / 2),
            down: Way::new(start, setup.delay / 2),
            setup,
            start,
            now: start,
            end: None,
            end_told: false,
            written: Stream::default(),
            inputs: Vec::new(),
            sent: 0,
            ready: false,
            local_eof: false,
            agent: None,
            keepalive: None,
            ping: None,
            last_frame: start,
            closed: false,
            limit: DEFAULT_LIMIT,
            limit_since: start,
            second: VecDeque::new(),
            second_bytes: 0,
            channel_id: Bytes::new(),
            resumable: false,
            received: 0,
            highest: 0,
            answered: Stream::default(),
            is_greeted: false,
            delivered: 0,
            gone: false,
            progress: false,
            opened: None,
            pieces: Vec::new(),
            source: Source::Nothing,
            types_at: start,
            size: [0; 2],
            reads: true,
            blocked: None,
            redialling: false,
            gateway: Gateway::Accepts,
            peer,
            pings: 0,
            log: Vec::new(),
            was_disturbed: false,
            was_cut: false,
            stalled_until: None,
            lost: [false; 2],
            is_sync_lost: false,
            is_shut_down: false,
            has_yielded: false,
        };
        model.resize();
        model
    }

    /// What was delivered, piece by piece, where there is no agent.
    pub(super) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// How much the local side has written.
    #[cfg(test)]
    pub(crate) fn written(&self) -> usize {
        self.written.end()
    }

    /// Something happens.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Local(data) => self.write(&data.bytes(self.written.end())),
            Step::LocalEof => self.handle_local_eof(),
            Step::LocalGone(grace) => {
                self.session.handle_local_gone(self.now, *grace);
                (self.gone, self.local_eof, self.is_shut_down) = (true, true, true);
            }
            Step::Shutdown(grace) => {
                self.session.handle_shutdown(self.now, *grace);
                (self.local_eof, self.is_shut_down) = (true, true);
            }
            Step::Yield => {
                self.session.handle_yield(self.now);
                self.has_yielded |= self.session.has_yielded();
            }
            Step::Source(source) => (self.source, self.types_at) = (*source, self.now),
            Step::Reads(reads) => self.reads = *reads,
            Step::Deliver(pieces) => self.deliver(*pieces),
            Step::Agent(generation) => self.learn_agent(*generation),
            Step::Tick(time) => self.tick(*time),
            Step::Jump(time) => self.jump(*time),
            Step::Slept => self.session.handle_slept(self.now, Duration::from_secs(60)),
            Step::Arrive(ways, messages) => _ = self.arrive(*ways, *messages),
            Step::Stall(ways, time) => self.stall(*ways, *time),
            Step::Mishap(ways, mishap) => self.mishap(*ways, *mishap),
            Step::Disconnect(why) => {
                (self.was_disturbed, self.was_cut) = (true, true);
                self.session.handle_disconnect(self.now, why.clone());
            }
            Step::Gateway(gateway) => {
                self.was_disturbed |= *gateway != Gateway::Accepts;
                self.gateway = *gateway;
            }
            Step::Answer(bytes) => self.answer(*bytes),
            Step::TargetCloses => self.peer.iter_mut().for_each(Peer::close_target),
            Step::Status(payload) => {
                let is_frozen = payload == b"\x08";
                (self.was_disturbed, self.was_cut) =
                    (self.was_disturbed | is_frozen, self.was_cut | is_frozen);
                self.peer.iter_mut().for_each(|peer| peer.status(payload));
            }
            Step::Exit => self.peer.iter_mut().for_each(|peer| peer.end(b"\x05Exit")),
            Step::Pongs(pongs) => {
                self.was_disturbed |= !pongs;
                self.peer.iter_mut().for_each(|peer| peer.agent.pongs = *pongs);
            }
            Step::Frame(version, kind, offsets, data) => {
                let payload = data.bytes(self.answered.end());
                self.frame(*version, *kind, *offsets, payload);
            }
            Step::Message(message) => self.message(message.clone()),
            Step::Violation if !self.session.is_connected() => {}
            Step::Violation => self.session.handle_violation("a text message"),
            Step::Transmit(most) => _ = self.transmit(*most),
            Step::Turn => {
                self.turn();
                self.deliver(usize::MAX);
            }
            Step::NextDeadline => self.next(),
            Step::Redial => self.redial(),
            Step::Redialled(gateway) => self.redialled(*gateway),
            Step::Ping(is_answered) => self.exchange_ping(*is_answered),
            Step::Blocked(true) => self.session.handle_socket_blocked(self.now),
            Step::Blocked(false) => self.session.handle_socket_drained(self.now),
            Step::Unblocked => self.session.handle_socket_unblocked(self.now),
        }
        if self.peer.is_some() {
            self.drive();
        }
        self.check();
    }

    /// The window gets another size.
    fn resize(&mut self) {
        self.size = [24, self.size[1].wrapping_add(1)];
        self.session.handle_resize(self.size[1], self.size[0]);
    }

    fn write(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.session.local_room())];
        if !bytes.is_empty() {
            self.resize();
        }
        self.session.handle_local(self.now, bytes);
        self.written.write(bytes);
    }

    fn handle_local_eof(&mut self) {
        self.session.handle_local_eof(self.now);
        self.local_eof = true;
    }

    /// Its true generation, if there is an agent.
    fn learn_agent(&mut self, generation: Generation) {
        let generation = self.peer.as_ref().map_or(generation, |peer| peer.agent.generation);
        self.session.handle_agent(self.now, generation);
        self.agent = Some(generation);
    }

    fn exchange_ping(&mut self, is_answered: bool) {
        if let Some(ping) = self.ping.take().filter(|_| is_answered)
            && self.session.is_connected()
            && self.session.wants_remote()
        {
            self.session.handle_pong(self.now, &ping);
        }
        self.ping = self.session.poll_ping(self.now);
        self.session.poll_pong(self.now);
    }

    /// A frame that no agent has made up: so far from the numbers that it should have.
    fn frame(&mut self, version: u8, kind: FrameType, offsets: Offsets, payload: Bytes) {
        let resumable = match version {
            1 => false,
            2 => true,
            _ => self.resumable,
        };
        let low = |number: i64| u32::try_from(number & i64::from(u32::MAX)).unwrap_or(0);
        let due = i64::from(self.received) + 1;
        let sequence = match resumable {
            true => {
                let sent = i64::try_from(self.inputs.len()).unwrap_or(0);
                Sequence::Pair {
                    input: low(sent + offsets.input),
                    output: low(due + offsets.output),
                }
            }
            false => Sequence::Single(offsets.output),
        };
        let frame = Frame {
            kind,
            version: if resumable { Version::V1_02 } else { Version::V1_01 },
            channel_id: Bytes::from_static(if version == 7 { b"" } else { b"d-1" }),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload,
        };
        let Ok(message) = frame.encode() else { return };
        let mut message = message.to_vec();
        match version {
            3 => message[4..8].copy_from_slice(b"1.10"),
            4 => message[4..8].copy_from_slice(b"0.99"),
            _ => {}
        }
        self.message(message.into());
    }

    /// A message of the socket, which is read only when something is wanted from it.
    fn message(&mut self, message: Bytes) {
        if !self.session.is_connected() || !self.session.wants_remote() {
            return;
        }
        self.session.handle_frame(self.now, message.clone());
        let Ok(frame) = Frame::decode(message) else {
            let end = self.session.end();
            assert!(matches!(end, Some(End::Failed(Failure::Malformed(_)))), "{end:?}");
            return;
        };
        if self.channel_id.is_empty() {
            self.channel_id = frame.channel_id;
        }
        self.resumable |= frame.version.is_resumable();
        let is_first = frame.kind == FrameType::OUTPUT && self.answered.end() == 0;
        self.is_greeted |= is_first && !frame.payload.is_empty() && self.sent == 0;
        match (frame.kind, frame.sequence) {
            (FrameType::OUTPUT, Sequence::Single(_)) => self.answered.write(&frame.payload),
            (FrameType::OUTPUT, Sequence::Pair { output, .. }) => {
                let end = self.session.end();
                let refused = matches!(end, Some(End::Failed(Failure::NeverSent { .. })));
                // The greater half of all distances is behind.
                let ahead = output.wrapping_sub(self.received.wrapping_add(1));
                if !refused && ahead < u32::MAX / 2 {
                    let known = self.highest.wrapping_sub(self.received);
                    self.highest = if ahead < known { self.highest } else { output };
                }
                if !refused && ahead == 0 {
                    self.received = output;
                    self.answered.write(&frame.payload);
                }
            }
            (FrameType::STATUS, _) => match Status::parse(&frame.payload) {
                Status::Limit(limit) => (self.limit, self.limit_since) = (limit, self.now),
                Status::Progress(_) => self.progress = true,
                Status::Opened => {
                    self.opened.get_or_insert(self.now);
                }
                _ => {}
            },
            _ => {}
        }
    }
}
