//! A session, fed by a fuzzer with everything that can happen to it, in any order.
//!
//! A script is what happens: each byte a step, its arguments behind it. The oracle beside the
//! session knows what the peer has sent and what the local side has written, and so what may be
//! delivered and transmitted; how each step may come about is how a driver calls.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

mod oracle;

use std::ops::Range;

use bytes::Buf;

use super::*;
use crate::flow::pace::DEFAULT_LIMIT;
use crate::frame::Version;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Plays a script, and then lets the session come to its end.
/// Returns what was delivered, piece by piece.
pub(crate) fn session(script: &[u8]) -> Vec<Bytes> {
    let mut run = Run::new(script);
    while run.step().is_some() {
        run.check();
    }
    run.settle();
    run.pieces
}

/// A session and what ought to become of it.
struct Run<'a> {
    script: &'a [u8],
    config: Config,
    start: Instant,
    now: Instant,
    session: Session,
    end: Option<End>,
    end_told: bool,
    /// Another socket is being made.
    redialling: bool,

    // Local to far.
    written: Vec<u8>,
    /// Of `written`, what each Input has carried.
    inputs: Vec<Range<usize>>,
    arrived: usize,
    ready: bool,
    local_eof: bool,
    agent: Option<Generation>,
    /// A ping that waits for its answer.
    ping: Option<Bytes>,
    last_frame: Instant,
    closed: bool,
    limit: u64,
    limit_since: Instant,
    /// When Input was sent, how much, and whether it was sent again.
    sent: Vec<(Instant, usize, bool)>,

    // Far to local.
    channel_id: Bytes,
    resumable: bool,
    received: u32,
    answered: Vec<u8>,
    delivered: usize,
    gone: bool,
    progress: bool,
    opened: Option<Instant>,
    pieces: Vec<Bytes>,
}

impl<'a> Run<'a> {
    fn new(mut script: &'a [u8]) -> Self {
        let mut choose = || usize::from(script.try_get_u8().unwrap_or(0));
        let seconds = |options: [u64; 4], choice: usize| Duration::from_secs(options[choice % 4]);
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        // As the command line allows them.
        let (flags, times) = (choose(), choose());
        let config = Config {
            unix_ms: if flags & 2 == 0 { 1_700_000_000_000 } else { u64::MAX },
            server_first: flags & 1 != 0,
            ready_delay: [1500 * MS, Duration::ZERO, 100 * MS, 10 * SECOND][flags >> 2 & 3],
            keepalive: match (some(seconds([50, 0, 1, 86_400], times)), times & 64) {
                (None, _) => Keepalive::Never,
                (Some(after), 0) => Keepalive::Always(after),
                (Some(after), _) => Keepalive::ByAgent(after),
            },
            idle_timeout: some(seconds([0, 1, 60, 31_536_000], times >> 2)),
            linger: seconds([10, 0, 1, 86_400], times >> 4),
            random: ((flags >> 4) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let start = Instant::now();
        Self {
            script,
            session: Session::new(start, config.clone()),
            config,
            start,
            now: start,
            end: None,
            end_told: false,
            redialling: false,
            written: Vec::new(),
            inputs: Vec::new(),
            arrived: 0,
            ready: false,
            local_eof: false,
            agent: None,
            ping: None,
            last_frame: start,
            closed: false,
            limit: DEFAULT_LIMIT,
            limit_since: start,
            sent: Vec::new(),
            channel_id: Bytes::new(),
            resumable: false,
            received: 0,
            answered: Vec::new(),
            delivered: 0,
            gone: false,
            progress: false,
            opened: None,
            pieces: Vec::new(),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        self.script.try_get_u8().ok()
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.script.split_at(len.min(self.script.len()));
        self.script = tail;
        head
    }

    /// The next thing that happens; `None` at the end of the script.
    fn step(&mut self) -> Option<()> {
        let step = self.byte()?;
        // The upper bits choose a version, for steps that bring a frame.
        let version = step >> 5;
        match step & 31 {
            0 => {
                let payload = pattern(self.answered.len(), usize::from(self.byte()?) * 16);
                self.output(version, 0, 0, &payload);
            }
            1 => {
                let len = usize::from(self.byte()?);
                let payload = self.bytes(len);
                self.output(version, 0, 0, payload);
            }
            2 => {
                let offsets = [self.script.try_get_i8().ok()?, self.script.try_get_i8().ok()?];
                let payload = pattern(0, usize::from(self.byte()?));
                self.output(version, offsets[0].into(), offsets[1].into(), &payload);
            }
            3 => {
                let (ack, number) =
                    (self.script.try_get_i32().ok()?, self.script.try_get_i32().ok()?);
                self.output(version, ack.into(), number.into(), b"far off");
            }
            4 => {
                let len = usize::from(self.byte()? % 24);
                let payload = self.bytes(len);
                self.frame(version, FrameType::STATUS, 0, 0, payload);
            }
            5 => {
                let limit = self.script.try_get_u32().ok()?;
                let payload = [&[7], &limit.to_be_bytes()[..]].concat();
                self.frame(version, FrameType::STATUS, 0, 0, &payload);
            }
            6 => {
                let from = self.script.try_get_i8().ok()?;
                self.frame(version, FrameType::SYNC, from.into(), 0, b"");
            }
            7 => {
                let from = self.script.try_get_i32().ok()?;
                self.frame(version, FrameType::SYNC, from.into(), 0, b"");
            }
            8 => {
                let kind = FrameType(u32::from(self.byte()?));
                self.frame(version, kind, 0, 0, b"1");
            }
            9 => {
                let len = usize::from(self.byte()?);
                let message = Bytes::copy_from_slice(self.bytes(len));
                self.message(message);
            }
            10 if self.session.is_connected() => self.session.handle_violation("a text message"),
            11 => {
                let code = Some(self.script.try_get_u16().ok()?).filter(|code| *code > 0);
                let text = if code == Some(1000) { "" } else { "text" }.to_owned();
                self.session.handle_disconnect(self.now, Disconnect::Closed { code, text });
            }
            12 => self.session.handle_disconnect(self.now, Disconnect::Broken("cut".into())),
            13 => self.frame(version, FrameType::STATUS, 0, 0, &[8]),
            14 => {
                let len = usize::from(self.byte()?) * 128;
                self.local(&pattern(self.written.len(), len));
            }
            15 => {
                let len = usize::from(self.byte()?);
                let bytes = self.bytes(len);
                self.local(bytes);
            }
            16 => {
                self.session.handle_local_eof(self.now);
                self.local_eof = true;
            }
            17 => {
                let grace = u32::from(self.byte()?) * 10 * MS;
                self.session.handle_local_gone(self.now, grace);
                (self.gone, self.local_eof) = (true, true);
            }
            18 => {
                let grace = u32::from(self.byte()?) * 10 * MS;
                self.session.handle_shutdown(self.now, grace);
                self.local_eof = true;
            }
            19 => self.session.handle_socket_unblocked(self.now),
            20 => {
                let time = u32::from(self.script.try_get_u16().ok()?) * MS;
                self.pass(time);
            }
            21 => {
                let time = u32::from(self.byte()?) * 10 * SECOND;
                self.pass(time);
            }
            22 => self.next(),
            23 => {
                let most = usize::from(self.byte()?);
                self.transmit(most);
            }
            24 => {
                let most = usize::from(self.byte()?);
                self.deliver(most);
            }
            25 => self.redial(),
            26 => {
                let how = self.byte()?;
                self.redialled(how);
            }
            27 => {
                let len = usize::from(self.script.try_get_u16().ok()?);
                let payload = pattern(self.answered.len(), len);
                self.output(version, 0, 0, &payload);
            }
            28 => {
                self.turn();
                self.deliver(usize::MAX);
            }
            29 => {
                let all = [Generation::A, Generation::B, Generation::C, Generation::D];
                let agent = all[usize::from(self.byte()? % 4)];
                self.session.handle_agent(self.now, agent);
                self.agent = Some(agent);
            }
            30 => {
                let is_answered = self.byte()? & 1 == 0;
                if let Some(ping) = self.ping.take().filter(|_| is_answered)
                    && self.session.is_connected()
                    && self.session.wants_remote()
                {
                    self.session.handle_pong(self.now, &ping);
                }
                self.ping = self.session.poll_ping(self.now);
                self.session.poll_pong(self.now);
            }
            31 => {
                let blocked = self.byte()? & 1 == 0;
                match blocked {
                    true => self.session.handle_socket_blocked(self.now),
                    false => self.session.handle_socket_drained(self.now),
                }
            }
            _ => self.turn(),
        }
        Some(())
    }

    fn local(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.session.local_room())];
        self.session.handle_local(self.now, bytes);
        self.written.extend_from_slice(bytes);
    }

    /// An Output: so far from what it should acknowledge, and from the number that it should have.
    fn output(&mut self, version: u8, ack: i64, number: i64, payload: &[u8]) {
        self.frame(version, FrameType::OUTPUT, ack, number, payload);
    }

    fn frame(&mut self, version: u8, kind: FrameType, input: i64, output: i64, payload: &[u8]) {
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
                Sequence::Pair { input: low(sent + input), output: low(due + output) }
            }
            false => Sequence::Single(output),
        };
        let frame = Frame {
            kind,
            version: if resumable { Version::V1_02 } else { Version::V1_01 },
            channel_id: Bytes::from_static(if version == 7 { b"" } else { b"d-1" }),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload: Bytes::copy_from_slice(payload),
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
        match (frame.kind, frame.sequence) {
            (FrameType::OUTPUT, Sequence::Single(_)) => self.answered.extend(&frame.payload),
            (FrameType::OUTPUT, Sequence::Pair { output, .. }) => {
                let end = self.session.end();
                let refused = matches!(end, Some(End::Failed(Failure::NeverSent { .. })));
                if !refused && output == self.received.wrapping_add(1) {
                    self.received = output;
                    self.answered.extend(&frame.payload);
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

    fn redial(&mut self) {
        let may_redial = !self.session.is_connected() && !self.redialling;
        if let Some(channel) = self.session.poll_reconnect(self.now) {
            assert!(may_redial && self.resumable, "a socket too many");
            assert_eq!(channel, self.channel_id);
            self.redialling = true;
        }
    }

    fn redialled(&mut self, how: u8) {
        // Nobody waits for a socket once the session has ended.
        if !std::mem::take(&mut self.redialling) || self.session.end().is_some() {
            return;
        }
        match how % 4 {
            0 => self.session.handle_not_reconnected(self.now, "HTTP 503".into(), false),
            1 => self.session.handle_not_reconnected(self.now, "HTTP 403".into(), true),
            _ => {
                self.session.handle_reconnected(self.now);
                self.ping = None;
                self.last_frame = self.now;
            }
        }
    }

    /// Time passes while the socket takes nothing.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.redial();
        self.session.handle_timeout(self.now);
        self.events();
        let due = self.session.poll_timeout(false);
        assert!(due.is_none_or(|due| due > self.now), "overdue: {:?}", self.overdue());
    }

    /// The timers that should have expired.
    fn overdue(&self) -> Vec<Timer> {
        let is_overdue = |timer: &Timer| {
            let due = self.session.deadline(*timer);
            due.is_some_and(|due| due <= self.now)
        };
        Timer::ALL.into_iter().filter(is_overdue).collect()
    }

    /// What is done until there is something to wait for.
    fn turn(&mut self) {
        for _ in 0..3 {
            self.pass(Duration::ZERO);
            self.transmit(usize::MAX);
            let due = self.session.poll_timeout(true);
            self.assert_due(due);
            // That the last byte has gone may itself be what was waited for.
            if due.is_none_or(|due| due > self.now) {
                return;
            }
        }
        panic!("a deadline in the past: {:?}", self.session);
    }

    /// Waits for the next deadline.
    fn next(&mut self) {
        self.turn();
        if let Some(due) = self.session.poll_timeout(true) {
            self.now = due;
            self.turn();
        }
    }

    /// The local side has said all and the peer says nothing more: that is an end, sooner or
    /// later, and everything that came is delivered.
    fn settle(&mut self) {
        self.deliver(usize::MAX);
        self.frame(0, FrameType::STATUS, 0, 0, &[&[7], &80_000_000_u32.to_be_bytes()[..]].concat());
        self.session.handle_local_eof(self.now);
        self.session.handle_socket_drained(self.now);
        self.local_eof = true;
        for _ in 0..20_000 {
            if self.session.phase.is_ended() {
                break;
            }
            self.deliver(usize::MAX);
            self.next();
            self.redialled(0);
            self.check();
        }
        assert!(self.session.phase.is_ended(), "no end: {:?}", self.session);
        self.check();
        self.turn();
        self.deliver(usize::MAX);
        assert!(self.session.is_finished());
        assert_eq!(self.session.poll_reconnect(self.now + 100 * SECOND), None);
        let redialled = [End::Remote(RemoteEnd::Redialled), End::Failed(Failure::Redialled)];
        if !self.gone && !redialled.iter().any(|end| self.session.end() == Some(end)) {
            assert_eq!(self.delivered, self.answered.len(), "not all that came was delivered");
        }
    }
}

/// A byte of a stream, so that one out of place is seen. No eight of them come again: a stream that says
/// again how it began looks like that of a target which was dialled again.
pub(super) fn byte_at(index: usize) -> u8 {
    let mixed = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 56) as u8
}

/// The bytes of a stream from there on.
fn pattern(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(byte_at).collect()
}
