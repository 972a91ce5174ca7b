//! An upload against a model of the way and of the gateway: versions, pongs, stalls, and an end of file at
//! any moment. What was written has arrived, or the end is an error, or nobody tells and the closing of the
//! WebSocket has to.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use proptest::prelude::*;

use super::*;
use crate::session::fuzzed::byte_at;

#[derive(Clone, Debug)]
enum Step {
    Local(usize),
    Eof,
    /// The gateway reads at most so many messages.
    Read(usize),
    /// It reads nothing for so long.
    Stall(u64),
    Answer(usize),
    Deliver,
    Tick(u64),
    /// Pongs are given from now on, or are not.
    Pongs(bool),
    /// The target closes: the session ends, or nothing is said.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..40_000).prop_map(Step::Local),
        1 => Just(Step::Eof),
        8 => (1usize..60).prop_map(Step::Read),
        2 => (1u64..90_000).prop_map(Step::Stall),
        2 => (0usize..3_000).prop_map(Step::Answer),
        3 => Just(Step::Deliver),
        8 => (1u64..3_000).prop_map(Step::Tick),
        1 => any::<bool>().prop_map(Step::Pongs),
        1 => Just(Step::Close),
    ]
}

enum Message {
    Input(u32, usize),
    Sync,
    Ping(Bytes),
    Other,
}

struct Model {
    now: Instant,
    session: Session,
    resumable: bool,
    /// Whether an agent of 1.02 acknowledges at once, by an empty Output.
    acknowledges: bool,
    pongs: bool,
    /// As much as the socket holds.
    socket: usize,
    way: VecDeque<Message>,
    blocked: Option<Instant>,
    written: usize,
    arrived: usize,
    received: u32,
    outputs: u32,
    answered: usize,
    delivered: usize,
    is_over: bool,
}

impl Model {
    fn new(resumable: bool, acknowledges: bool, pongs: bool, socket: usize) -> Self {
        let now = Instant::now();
        let mut model = Self {
            now,
            session: Session::new(now, Config::new(1)),
            resumable,
            acknowledges,
            pongs,
            socket,
            way: VecDeque::new(),
            blocked: None,
            written: 0,
            arrived: 0,
            received: 0,
            outputs: 0,
            answered: 0,
            delivered: 0,
            is_over: false,
        };
        model.frame(FrameType::STATUS, &[7, 0, 8, 0, 0]);
        model.output(1);
        model
    }

    fn frame(&mut self, kind: FrameType, payload: &[u8]) {
        if !self.session.wants_remote() {
            return;
        }
        let sequence = match self.resumable {
            true => Sequence::Pair { input: self.received, output: self.outputs },
            false => Sequence::Single(self.outputs.into()),
        };
        let frame = Frame {
            kind,
            version: if self.resumable { Version::V1_02 } else { Version::V1_01 },
            channel_id: Bytes::from_static(b"d-1"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload: Bytes::copy_from_slice(payload),
        };
        self.session.handle_frame(self.now, frame.encode().unwrap());
    }

    fn output(&mut self, bytes: usize) {
        if self.is_over || !self.session.wants_remote() {
            return;
        }
        self.outputs += 1;
        let answered = self.answered;
        self.answered += bytes;
        // No two begin alike, as though the target had been dialled again.
        let payload: Vec<u8> = (answered..self.answered).map(byte_at).collect();
        self.frame(FrameType::OUTPUT, &payload);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Local(bytes) => {
                let bytes = bytes.min(self.session.local_room());
                self.session.handle_local(self.now, &vec![1; bytes]);
                self.written += bytes;
            }
            Step::Eof => self.session.handle_local_eof(self.now),
            Step::Read(messages) => self.read(messages),
            Step::Stall(ms) => self.pass(ms),
            Step::Answer(bytes) => self.output(bytes),
            Step::Deliver => self.deliver(),
            Step::Tick(ms) => {
                self.pass(ms);
                self.read(usize::MAX);
            }
            Step::Pongs(pongs) => self.pongs = pongs,
            Step::Close => {
                self.frame(FrameType::STATUS, b"\x05ReadFromTargetPortFailed");
                self.is_over |= self.session.end().is_some();
            }
        }
        self.turn();
    }

    fn deliver(&mut self) {
        while let Some(bytes) = self.session.poll_deliver() {
            self.delivered += bytes.len();
        }
    }

    /// The gateway and the agent behind it read what has come.
    fn read(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(message) = self.way.pop_front() else { break };
            self.blocked = self.blocked.map(|_| self.now);
            match message {
                Message::Input(sequence, bytes) => {
                    if sequence == self.received.wrapping_add(1) {
                        self.received = sequence;
                        self.arrived += bytes;
                    }
                    if self.resumable && self.acknowledges {
                        self.output(0);
                    }
                }
                Message::Sync if self.resumable && self.acknowledges => {
                    self.frame(FrameType::SYNC, b"");
                }
                Message::Ping(ping) if self.pongs => {
                    if self.session.wants_remote() && self.session.is_connected() {
                        self.session.handle_pong(self.now, &ping);
                    }
                }
                Message::Ping(_) | Message::Sync | Message::Other => {}
            }
        }
        self.turn();
    }

    /// What the driver does before it waits.
    fn turn(&mut self) {
        self.session.handle_timeout(self.now);
        while self.session.poll_event().is_some() {}
        if !self.session.is_connected() {
            // How a stream is resumed is another model's.
            self.way.clear();
            self.session.poll_reconnect(self.now);
            self.session.handle_not_reconnected(self.now, "refused".into(), true);
        }
        loop {
            if self.way.len() >= self.socket {
                self.blocked.get_or_insert(self.now);
                break;
            }
            self.blocked = None;
            if let Some(ping) = self.session.poll_ping(self.now) {
                self.way.push_back(Message::Ping(ping));
                continue;
            }
            if self.session.poll_pong(self.now) {
                self.way.push_back(Message::Other);
                continue;
            }
            let Some(message) = self.session.poll_transmit(self.now) else { break };
            let frame = Frame::decode(message).unwrap();
            let sequence = match frame.sequence {
                Sequence::Pair { input, .. } => input,
                Sequence::Single(sequence) => u32::try_from(sequence).unwrap(),
            };
            self.way.push_back(match frame.kind {
                FrameType::INPUT => Message::Input(sequence, frame.payload.len()),
                FrameType::SYNC => Message::Sync,
                _ => Message::Other,
            });
        }
        match self.blocked {
            Some(since) => self.session.handle_socket_blocked(since),
            None => self.session.handle_socket_drained(self.now),
        }
    }

    /// Time passes, and the gateway reads nothing.
    fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        self.turn();
        let mut turns = 0;
        loop {
            let can_transmit = self.way.len() < self.socket;
            let ping = self.session.poll_ping_timeout(self.now).filter(|_| can_transmit);
            let due = self.session.poll_timeout(can_transmit).into_iter().chain(ping).min();
            let Some(due) = due.filter(|due| *due <= until) else { break };
            // That the last byte has gone may itself be what was waited for.
            turns = if due > self.now { 0 } else { turns + 1 };
            assert!(turns < 3, "a deadline in the past");
            self.now = due.max(self.now);
            self.turn();
        }
        self.now = until;
        self.turn();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_upload_has_arrived_or_its_end_is_an_error(
        resumable: bool,
        acknowledges: bool,
        pongs: bool,
        socket in 1usize..200,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(resumable, acknowledges, pongs, socket);
        let check = |model: &Model| -> Result<(), TestCaseError> {
            if model.session.end() != Some(&End::Local) {
                return Ok(());
            }
            let position = model.session.flow.sent();
            let is_sent = model.session.outbound.queued() == 0 && position >= model.written as u64;
            prop_assert!(is_sent, "it was not even sent");
            match model.session.arrived() {
                Arrived::Yes => prop_assert_eq!(model.arrived, model.written),
                Arrived::Unknown => prop_assert!(!model.session.flow.has_answered()),
                Arrived::NotYet => prop_assert!(false, "it has not arrived: {:?}", model.session),
            }
            Ok(())
        };
        for step in &steps {
            model.apply(step);
            check(&model)?;
        }
        // It comes to an end, whatever the gateway does from now on.
        model.apply(&Step::Eof);
        for _ in 0..400 {
            model.deliver();
            model.pass(1000);
            if steps.len() % 2 == 0 {
                model.read(usize::MAX);
            }
            check(&model)?;
        }
        prop_assert!(model.session.end().is_some(), "no end: {:?}", model.session);
        model.deliver();
        prop_assert_eq!(model.delivered, model.answered);
    }
}
