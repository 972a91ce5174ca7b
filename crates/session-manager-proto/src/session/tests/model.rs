//! The session against a model of both its sides, driven through random orders of events.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use proptest::prelude::*;

use super::*;
use crate::session::fuzzed::byte_at;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Local(usize),
    LocalEof,
    Output(usize),
    Opened,
    Opening,
    Limit(u32),
    Deliver(usize),
    /// The socket takes so many messages.
    Send(usize),
    Tick(u64),
    Shutdown,
    Gone,
    Exit,
    Disconnect,
    Garble,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..40_000).prop_map(Step::Local),
        1 => Just(Step::LocalEof),
        8 => (0usize..5_000).prop_map(Step::Output),
        2 => Just(Step::Opened),
        1 => Just(Step::Opening),
        2 => any::<u32>().prop_map(|limit| Step::Limit(limit >> (limit % 32))),
        6 => (1usize..40).prop_map(Step::Deliver),
        8 => (1usize..40).prop_map(Step::Send),
        8 => (1u64..400).prop_map(Step::Tick),
        3 => (400u64..70_000).prop_map(Step::Tick),
    ]
}

fn ending() -> impl Strategy<Value = Option<Step>> {
    proptest::option::of(prop_oneof![
        Just(Step::Shutdown),
        Just(Step::Gone),
        Just(Step::Exit),
        Just(Step::Disconnect),
        Just(Step::Garble),
    ])
}

/// Both ends of the stream as they ought to see it.
struct Model {
    start: Instant,
    now: Instant,
    session: Session,
    keepalive: Duration,
    /// What the local side wrote, and what the peer got of it.
    written: usize,
    arrived: usize,
    /// What the peer wrote, and what the local side got of it.
    answered: usize,
    delivered: usize,
    outputs: i64,
    limit: u64,
    limit_since: Instant,
    sent: Vec<(Instant, usize)>,
    last_frame: Instant,
    local_eof: bool,
    closes: usize,
}

impl Model {
    fn new(server_first: bool) -> Self {
        let now = Instant::now();
        let config = Config { server_first, ..Config::new(1_700_000_000_000) };
        Self {
            start: now,
            now,
            keepalive: Duration::from_secs(50),
            session: Session::new(now, config),
            written: 0,
            arrived: 0,
            answered: 0,
            delivered: 0,
            outputs: 0,
            limit: DEFAULT_LIMIT,
            limit_since: now,
            sent: Vec::new(),
            last_frame: now,
            local_eof: false,
            closes: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Local(bytes) => {
                let bytes = bytes.min(self.session.local_room());
                let chunk: Vec<u8> = (self.written..self.written + bytes).map(byte_at).collect();
                self.session.handle_local(self.now, &chunk);
                self.written += bytes;
            }
            Step::LocalEof => {
                self.session.handle_local_eof(self.now);
                self.local_eof = true;
            }
            Step::Output(bytes) if self.session.wants_remote() => {
                let payload = (self.answered..self.answered + bytes).map(byte_at).collect();
                self.frame(FrameType::OUTPUT, self.outputs, payload);
                self.answered += bytes;
                self.outputs += 1;
            }
            Step::Output(_) => {}
            Step::Opened => self.frame(FrameType::STATUS, 0, vec![3]),
            Step::Opening => self.frame(FrameType::STATUS, 0, vec![1]),
            Step::Limit(limit) => {
                let payload = [&[7][..], &limit.to_be_bytes()].concat();
                self.frame(FrameType::STATUS, 0, payload);
                if limit > 0 {
                    self.limit = limit.into();
                    self.limit_since = self.now;
                }
            }
            Step::Deliver(pieces) => self.deliver(pieces),
            Step::Send(messages) => self.send(messages),
            Step::Tick(ms) => {
                self.now += Duration::from_millis(ms);
                self.session.handle_timeout(self.now);
                // The socket may have no room for a frame: nothing else is hidden by that.
                let due = self.session.poll_timeout(false);
                assert!(due.is_none_or(|due| due > self.now), "a deadline in the past");
            }
            Step::Shutdown => {
                self.session.handle_shutdown(self.now, Duration::from_secs(1));
                self.local_eof = true;
            }
            Step::Gone => {
                self.session.handle_local_gone(self.now, Duration::from_secs(1));
                self.local_eof = true;
                self.answered = self.delivered;
            }
            Step::Exit => self.frame(FrameType::STATUS, 0, b"\x05Exit".to_vec()),
            Step::Garble => self.session.handle_frame(self.now, Bytes::from_static(b"garbled")),
            Step::Disconnect => {
                self.session.handle_disconnect(self.now, Disconnect::Broken("reset".into()));
            }
        }
        assert!(self.session.outbound.queued() <= LOCAL_CAP);
        assert!(self.session.inbound.queued().1 < DELIVER_CAP + 5_000);
        assert!(self.session.inbound.queued().0 <= DELIVER_PIECES + 1);
        assert!(self.session.events.len() <= 65);
        while self.session.poll_event().is_some() {}
    }

    fn frame(&mut self, kind: FrameType, sequence: i64, payload: Vec<u8>) {
        let frame = Frame {
            kind,
            version: Version::V1_01,
            channel_id: Bytes::new(),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence: Sequence::Single(sequence),
            payload: payload.into(),
        };
        self.session.handle_frame(self.now, frame.encode().unwrap());
    }

    fn deliver(&mut self, pieces: usize) {
        for bytes in std::iter::from_fn(|| self.session.poll_deliver()).take(pieces) {
            for &got in &bytes[..] {
                assert_eq!(got, byte_at(self.delivered), "delivered byte {}", self.delivered);
                self.delivered += 1;
            }
        }
        assert!(self.delivered <= self.answered);
    }

    fn send(&mut self, messages: usize) {
        self.session.handle_timeout(self.now);
        for _ in 0..messages {
            let Some(message) = self.session.poll_transmit(self.now) else {
                let due = self.session.poll_timeout(true);
                assert!(due.is_none_or(|due| due > self.now), "a deadline in the past");
                return;
            };
            let frame = Frame::decode(message).unwrap();
            let is_close = frame.kind == FrameType::CLOSE;
            let number = i64::from(self.session.outbound.last_sequence()) + i64::from(is_close);
            assert_eq!(frame.sequence, Sequence::Single(number));
            self.last_frame = self.now;
            if frame.kind == FrameType::CLOSE {
                self.closes += 1;
                continue;
            }
            assert_eq!((frame.kind, self.closes), (FrameType::INPUT, 0));
            assert!(frame.payload.len() <= crate::frame::MAX_PAYLOAD);
            assert!(
                !frame.payload.is_empty() || !self.local_eof,
                "a keepalive after the end of file"
            );
            for &got in &frame.payload[..] {
                assert_eq!(got, byte_at(self.arrived), "arrived byte {}", self.arrived);
                self.arrived += 1;
            }
            self.sent.push((self.now, frame.payload.len()));
            self.check_pace();
        }
        assert!(self.arrived <= self.written);
    }

    /// No second since the limit last changed has carried more than the limit.
    fn check_pace(&self) {
        let since = self.limit_since.max(self.now.checked_sub(Duration::from_secs(1)).unwrap());
        let bytes: usize =
            self.sent.iter().rev().take_while(|(at, _)| *at > since).map(|(_, bytes)| bytes).sum();
        assert!(bytes as u64 <= (self.limit / 8).max(1), "{bytes} bytes at {}", self.limit);
    }

    /// Lets everything move until nothing does: what was written has arrived, both ways.
    fn settle(&mut self) {
        self.apply(&Step::Limit(80_000_000));
        self.apply(&Step::Opened);
        for _ in 0..10_000 {
            self.send(usize::MAX);
            self.deliver(usize::MAX);
            let quiet = self.arrived == self.written && self.delivered == self.answered;
            let Some(due) = self.session.poll_timeout(true).filter(|_| !quiet) else {
                break;
            };
            self.now = due;
            self.session.handle_timeout(due);
        }
        while self.session.poll_event().is_some() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn bytes_arrive_once_and_in_order_whatever_happens_when(
        server_first: bool,
        steps in proptest::collection::vec(step(), 1..120),
        ending in ending(),
    ) {
        let mut model = Model::new(server_first);
        for step in &steps {
            model.apply(step);
        }
        if let Some(ending) = &ending {
            model.apply(ending);
        }
        model.settle();
        let failed = matches!(model.session.end(), Some(End::Failed(_)));
        let closed_early = ending.is_some() || failed;
        prop_assert_eq!(model.delivered, model.answered, "everything that came was delivered");
        if !closed_early {
            prop_assert_eq!(model.arrived, model.written, "everything that was written was sent");
        }
        if ending.is_some() {
            prop_assert!(model.session.is_finished());
            prop_assert_eq!(model.session.poll_timeout(true), None);
        }
        prop_assert!(model.closes <= 1);
        if model.session.end().is_none() && !model.local_eof {
            let due = model.session.poll_timeout(true).unwrap();
            prop_assert!(due <= model.last_frame.max(model.start) + model.keepalive);
        }
    }
}
