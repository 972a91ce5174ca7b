//! Version 1.02 against a model of its peer, over sockets that are cut and frames that are lost,
//! doubled and swapped, in random orders of events.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use proptest::prelude::*;

use super::*;
use crate::session::fuzzed::byte_at;

#[derive(Clone, Debug)]
enum Step {
    Local(usize),
    Answer(usize),
    /// The session's frames go onto the wire, at most so many.
    Send(usize),
    /// So many frames of the wire arrive: at the peer, at the session.
    ArriveUp(usize),
    ArriveDown(usize),
    Deliver(usize),
    Tick(u64),
    Cut,
    Frozen,
    /// A try to connect that fails, if one is due.
    Refuse,
    LoseUp,
    LoseDown,
    DoubleUp,
    DoubleDown,
    SwapUp,
    SwapDown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..20_000).prop_map(Step::Local),
        8 => (0usize..5_000).prop_map(Step::Answer),
        8 => (1usize..40).prop_map(Step::Send),
        8 => (1usize..40).prop_map(Step::ArriveUp),
        8 => (1usize..40).prop_map(Step::ArriveDown),
        6 => (1usize..40).prop_map(Step::Deliver),
        8 => (1u64..1_500).prop_map(Step::Tick),
        4 => Just(Step::Cut),
        1 => Just(Step::Frozen),
        1 => Just(Step::Refuse),
        1 => Just(Step::LoseUp),
        1 => Just(Step::LoseDown),
        1 => Just(Step::DoubleUp),
        1 => Just(Step::DoubleDown),
        1 => Just(Step::SwapUp),
        1 => Just(Step::SwapDown),
    ]
}

/// A step that loses nothing but with its socket: what was lost before a Status, and only there, shows
/// nowhere.
fn in_order() -> impl Strategy<Value = Step> {
    step().prop_filter("a socket keeps order", |step| {
        !matches!(step, Step::LoseUp | Step::LoseDown | Step::SwapUp | Step::SwapDown)
    })
}

/// The same within little time: what is on its way at the end is not waited for without end.
fn at_once(step: Step) -> Step {
    match step {
        Step::Tick(ms) => Step::Tick(ms % 20),
        step => step,
    }
}

/// An agent that speaks 1.02, as PROTOCOL.md, 8 has it.
#[derive(Default)]
struct Far {
    /// Input, in order and once.
    arrived: usize,
    received: u32,
    asked: bool,
    /// Outputs that the client has not acknowledged, the first one's number before them.
    kept: VecDeque<Bytes>,
    acknowledged: u32,
    answered: usize,
    /// It has told that the stream is over.
    over: bool,
    /// What it has to say.
    out: Vec<Frame>,
}

impl Far {
    fn say(&mut self, kind: FrameType, sequence: Sequence, payload: Bytes) {
        self.out.push(Frame {
            kind,
            version: Version::V1_02,
            channel_id: Bytes::from_static(b"d-1"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload,
        });
    }

    fn answer(&mut self, bytes: usize) {
        let payload: Bytes = (self.answered..self.answered + bytes).map(byte_at).collect();
        self.answered += bytes;
        self.kept.push_back(payload.clone());
        let number = self.acknowledged + u32::try_from(self.kept.len()).unwrap();
        self.say(
            FrameType::OUTPUT,
            Sequence::Pair { input: self.received, output: number },
            payload,
        );
    }

    fn hear(&mut self, frame: &Frame) {
        let Sequence::Pair { input, output } = frame.sequence else { panic!("version 1.01") };
        while self.acknowledged < output {
            self.kept.pop_front().expect("it acknowledges what was sent");
            self.acknowledged += 1;
        }
        match frame.kind {
            FrameType::INPUT if input == self.received + 1 => {
                self.received = input;
                self.asked = false;
                for &got in &frame.payload[..] {
                    assert_eq!(got, byte_at(self.arrived), "arrived byte {}", self.arrived);
                    self.arrived += 1;
                }
            }
            FrameType::INPUT if input > self.received => {
                // As we do it: once, and again at the next occasion after a while.
                if !std::mem::replace(&mut self.asked, true) {
                    self.ask();
                }
            }
            FrameType::INPUT | FrameType::CLOSE => {}
            FrameType::SYNC => {
                let again: Vec<_> = self.kept.iter().cloned().collect();
                for (number, payload) in (self.acknowledged + 1..).zip(again) {
                    let sequence = Sequence::Pair { input: self.received, output: number };
                    self.say(FrameType::OUTPUT, sequence, payload);
                }
                self.tell_over();
            }
            kind => panic!("a frame of type {kind:?}"),
        }
    }

    /// The last status.
    fn tell_over(&mut self) {
        if self.over {
            let sequence = Sequence::Pair { input: 0, output: 0 };
            self.say(FrameType::STATUS, sequence, Bytes::from_static(b"\x05Exit"));
        }
    }

    fn ask(&mut self) {
        let last = self.acknowledged + u32::try_from(self.kept.len()).unwrap();
        let sequence = Sequence::Pair { input: self.received + 1, output: last };
        self.say(FrameType::SYNC, sequence, Bytes::new());
    }
}

struct Model {
    now: Instant,
    session: Session,
    far: Far,
    up: VecDeque<Frame>,
    down: VecDeque<Frame>,
    written: usize,
    delivered: usize,
}

impl Model {
    fn new(random: u64) -> Self {
        let now = Instant::now();
        let session = Session::new(now, Config { random, ..Config::new(1) });
        let mut model = Self {
            now,
            session,
            far: Far::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            written: 0,
            delivered: 0,
        };
        model.far.say(FrameType::STATUS, Sequence::Pair { input: 0, output: 0 }, vec![3].into());
        let limit = [&[7][..], &80_000_000_u32.to_be_bytes()].concat();
        model.far.say(FrameType::STATUS, Sequence::Pair { input: 0, output: 0 }, limit.into());
        model.far.answer(1);
        model.apply(&Step::ArriveDown(3));
        model
    }

    fn apply(&mut self, step: &Step) {
        // What the peer has said is on the wire, if there is one.
        match step {
            Step::Local(bytes) => {
                let bytes = (*bytes).min(self.session.local_room());
                let chunk: Vec<u8> = (self.written..self.written + bytes).map(byte_at).collect();
                self.session.handle_local(self.now, &chunk);
                self.written += bytes;
            }
            Step::Answer(_) if self.far.over => {}
            Step::Answer(bytes) => self.far.answer(*bytes),
            Step::Send(messages) => {
                for _ in 0..*messages {
                    let Some(message) = self.session.poll_transmit(self.now) else { break };
                    self.up.push_back(Frame::decode(message).unwrap());
                }
            }
            Step::ArriveUp(frames) => {
                for frame in (0..*frames).map_while(|_| self.up.pop_front()) {
                    self.far.hear(&frame);
                }
            }
            Step::ArriveDown(frames) => {
                for _ in 0..*frames {
                    if !self.session.wants_remote() || !self.session.is_connected() {
                        break;
                    }
                    self.hear_far();
                    let Some(frame) = self.down.pop_front() else { break };
                    self.session.handle_frame(self.now, frame.encode().unwrap());
                }
            }
            Step::Deliver(pieces) => {
                for bytes in std::iter::from_fn(|| self.session.poll_deliver()).take(*pieces) {
                    for &got in &bytes[..] {
                        assert_eq!(
                            got,
                            byte_at(self.delivered),
                            "delivered byte {}",
                            self.delivered
                        );
                        self.delivered += 1;
                    }
                }
            }
            Step::Tick(ms) => {
                self.now += Duration::from_millis(*ms);
                self.session.handle_timeout(self.now);
                self.reconnect(true);
            }
            Step::Cut => self.session.handle_disconnect(self.now, Disconnect::Broken("cut".into())),
            Step::Frozen => {
                self.far.say(
                    FrameType::STATUS,
                    Sequence::Pair { input: 0, output: 0 },
                    vec![8].into(),
                );
            }
            Step::Refuse => self.reconnect(false),
            Step::LoseUp => drop(self.up.pop_front()),
            Step::LoseDown => drop(self.down.pop_front()),
            Step::DoubleUp => self.up.extend(self.up.back().cloned()),
            Step::DoubleDown => self.down.extend(self.down.back().cloned()),
            Step::SwapUp if self.up.len() > 1 => self.up.swap(0, 1),
            Step::SwapDown if self.down.len() > 1 => self.down.swap(0, 1),
            Step::SwapUp | Step::SwapDown => {}
        }
        self.hear_far();
        if !self.session.is_connected() {
            self.up.clear();
            self.down.clear();
        }
        match self.session.end() {
            None => {}
            Some(End::Remote(RemoteEnd::Status(_))) if self.far.over => {}
            // Where the wires stand still for too long.
            Some(End::Failed(Failure::Lost { .. })) if self.far.over => {}
            Some(end) => panic!("{end:?}"),
        }
        assert!(self.session.outbound.replay().bytes() <= crate::replay::REPLAY_CAP);
        assert!(self.session.outbound.queued() <= LOCAL_CAP);
        assert!(self.session.inbound.queued().1 < DELIVER_CAP + 5_000);
        while self.session.poll_event().is_some() {}
    }

    /// What the peer says while there is no socket is kept by it, and nowhere else.
    fn hear_far(&mut self) {
        let said = std::mem::take(&mut self.far.out);
        if self.session.is_connected() {
            self.down.extend(said);
        }
    }

    fn reconnect(&mut self, succeeds: bool) {
        if self.session.poll_reconnect(self.now).is_none() {
            return;
        }
        match succeeds {
            true => {
                self.far.asked = false;
                self.session.handle_reconnected(self.now);
            }
            false => self.session.handle_not_reconnected(self.now, "refused".into(), false),
        }
    }

    /// Everything moves, and nothing more is lost.
    fn settle(&mut self) {
        for round in 0..1_000 {
            // A keepalive and an answer show what was lost last.
            if round % 50 == 0 {
                self.apply(&Step::Answer(1));
                self.far.tell_over();
                self.far.asked = false;
            }
            for step in [
                Step::Send(usize::MAX),
                Step::ArriveUp(usize::MAX),
                Step::ArriveDown(usize::MAX),
                Step::Deliver(usize::MAX),
            ] {
                self.apply(&step);
            }
            let all_sent = self.far.arrived == self.written || self.far.over;
            let quiet = all_sent && self.delivered == self.far.answered;
            if (quiet && round > 60) || self.session.is_finished() {
                return;
            }
            let Some(due) = self.session.poll_timeout(true) else { return };
            self.now = self.now.max(due);
            self.apply(&Step::Tick(0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn bytes_arrive_once_and_in_order_whatever_is_cut_or_lost(
        random: u64,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(random);
        for step in &steps {
            model.apply(step);
        }
        model.settle();
        prop_assert_eq!(model.far.arrived, model.written);
        prop_assert_eq!(model.delivered, model.far.answered);
    }

    #[test]
    fn the_end_is_not_taken_for_one_before_all_has_come(
        random: u64,
        steps in proptest::collection::vec(in_order(), 1..100),
        last in proptest::collection::vec(in_order().prop_map(at_once), 0..100),
    ) {
        let mut model = Model::new(random);
        for step in &steps {
            model.apply(step);
        }
        model.far.over = true;
        model.far.tell_over();
        for step in &last {
            model.apply(step);
        }
        model.settle();
        let all = model.delivered == model.far.answered;
        match model.session.end() {
            Some(End::Remote(_)) => prop_assert!(all, "it was no end"),
            Some(End::Failed(_)) => prop_assert!(!all, "nothing was lost"),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
