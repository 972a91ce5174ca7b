//! The session over a way that delivers everything in order, and stalls as it likes, to a gateway that
//! lets no second carry more than its limit.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use proptest::prelude::*;

use super::*;

/// One direction: what is on it, and from when to when it delivers nothing.
struct Way<T> {
    delay: Duration,
    stalls: Vec<(Duration, Duration)>,
    queue: VecDeque<(Duration, T)>,
}

impl<T> Way<T> {
    fn new(delay: Duration) -> Self {
        Self { delay, stalls: Vec::new(), queue: VecDeque::new() }
    }

    fn send(&mut self, now: Duration, what: T) {
        let mut at = now + self.delay;
        for &(from, to) in &self.stalls {
            if (from..to).contains(&at) {
                at = to;
            }
        }
        let at = self.queue.back().map_or(at, |(before, _)| at.max(*before));
        self.queue.push_back((at, what));
    }

    fn next(&self) -> Option<Duration> {
        self.queue.front().map(|(at, _)| *at)
    }

    fn arrived(&mut self, now: Duration) -> Option<T> {
        self.next().filter(|at| *at <= now)?;
        self.queue.pop_front().map(|(_, what)| what)
    }
}

enum Up {
    Payload(usize),
    Ping(Bytes),
}

/// What the local side does for a while.
#[derive(Clone, Debug)]
enum Local {
    Copies,
    /// So many bytes at once, every so many milliseconds.
    Types(usize, u64),
    Nothing,
}

struct Model {
    start: Instant,
    now: Duration,
    session: Session,
    second: usize,
    up: Way<Up>,
    down: Way<Bytes>,
    answers: bool,
    /// What the gateway has read, and when.
    log: Vec<(Duration, usize)>,
    probes: usize,
    written: usize,
    typed: Duration,
}

impl Model {
    fn new(limit: u32, delay: Duration) -> Self {
        let start = Instant::now();
        let mut session = Session::new(start, Config::new(1));
        let mut frame = |kind, payload: Vec<u8>| {
            let frame = Frame {
                kind,
                version: Version::V1_01,
                channel_id: Bytes::new(),
                instance_id: Bytes::new(),
                created_ms: 1,
                sequence: Sequence::Single(0),
                payload: payload.into(),
            };
            session.handle_frame(start, frame.encode().unwrap());
        };
        frame(FrameType::STATUS, [&[7][..], &limit.to_be_bytes()].concat());
        frame(FrameType::OUTPUT, b"hello".to_vec());
        while session.poll_deliver().is_some() {}
        Self {
            start,
            now: Duration::ZERO,
            session,
            second: usize::try_from(limit / 8).unwrap(),
            up: Way::new(delay / 2),
            down: Way::new(delay / 2),
            answers: true,
            log: Vec::new(),
            probes: 0,
            written: 0,
            typed: Duration::ZERO,
        }
    }

    /// Stalls, each so long after the one before: of the way up, of the way down, or of both.
    fn stalls(mut self, stalls: &[(Duration, Duration, u8)]) -> Self {
        // How long the way usually takes has to be seen once.
        let mut at = SECOND;
        for &(after, length, ways) in stalls {
            let stall = (at + after, at + after + length);
            at = stall.1;
            if ways != 1 {
                self.up.stalls.push(stall);
            }
            if ways != 0 {
                self.down.stalls.push(stall);
            }
        }
        self
    }

    fn clock(&self) -> Instant {
        self.start + self.now
    }

    /// Lets the local side do something until then.
    fn run(&mut self, until: Duration, local: &Local) {
        let mut turns = 0;
        loop {
            let before = self.now;
            self.session.handle_timeout(self.clock());
            while self.write(local) | self.send() {}
            let session =
                [self.session.poll_timeout(true), self.session.poll_ping_timeout(self.clock())];
            let session = session.into_iter().flatten().map(|at| at - self.start).min();
            let typed = matches!(local, Local::Types(..)).then_some(self.typed);
            let next = [session, self.up.next(), self.down.next(), typed];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            turns = if self.now == before { turns + 1 } else { 0 };
            assert!(turns < 5_000, "it spins");
            self.arrive();
            while self.session.poll_event().is_some() {}
            assert_eq!(self.session.end(), None);
        }
        self.now = until;
    }

    fn write(&mut self, local: &Local) -> bool {
        let room = self.session.local_room();
        let bytes = match *local {
            Local::Copies => room,
            Local::Types(bytes, pause) if self.typed <= self.now => {
                self.typed = self.now + MS * u32::try_from(pause).unwrap();
                bytes.min(room)
            }
            _ => 0,
        };
        self.session.handle_local(self.clock(), &vec![1; bytes]);
        self.written += bytes;
        bytes > 0
    }

    fn send(&mut self) -> bool {
        let clock = self.clock();
        if let Some(ping) = self.session.poll_ping(clock) {
            self.probes += 1;
            self.up.send(self.now, Up::Ping(ping));
            return true;
        }
        let Some(message) = self.session.poll_transmit(clock) else { return false };
        let payload = Frame::decode(message).unwrap().payload;
        self.up.send(self.now, Up::Payload(payload.len()));
        true
    }

    fn arrive(&mut self) {
        while let Some(what) = self.up.arrived(self.now) {
            match what {
                Up::Payload(bytes) => self.log.push((self.now, bytes)),
                Up::Ping(payload) if self.answers => self.down.send(self.now, payload),
                Up::Ping(_) => {}
            }
        }
        while let Some(payload) = self.down.arrived(self.now) {
            self.session.handle_pong(self.clock(), &payload);
        }
    }

    fn arrived(&self) -> usize {
        self.log.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The most that a second of the gateway's has carried.
    fn heaviest(&self) -> usize {
        let (mut worst, mut sum, mut first) = (0, 0, 0);
        for &(at, bytes) in &self.log {
            sum += bytes;
            while at - self.log[first].0 >= SECOND {
                sum -= self.log[first].1;
                first += 1;
            }
            worst = worst.max(sum);
        }
        worst
    }

    /// Which share of the limit has arrived since then.
    fn share(&self, since: Duration) -> f64 {
        let bytes: usize =
            self.log.iter().filter(|(at, _)| *at >= since).map(|(_, bytes)| bytes).sum();
        bytes as f64 / self.second as f64 / (self.now - since).as_secs_f64()
    }
}

const LIMITS: [u32; 5] = [8_000, 204_800, 300_001, 1_638_400, 50_000_000];

#[test]
fn a_way_of_any_length_costs_nothing() {
    for limit in LIMITS {
        for delay in [0, 1, 20, 150, 300, 400] {
            let mut model = Model::new(limit, delay * MS);
            model.run(22 * SECOND, &Local::Copies);
            let share = model.share(2 * SECOND);
            assert!(share >= 0.985, "{limit} bit/s, {delay} ms: only {share}");
            assert!(model.heaviest() <= model.second, "{limit} bit/s, {delay} ms");
            assert!(model.probes <= 22 * 14, "{} pings", model.probes);
        }
    }
}

#[test]
fn a_gateway_that_answers_no_pings_is_not_waited_for() {
    let mut model = Model::new(204_800, 20 * MS);
    model.answers = false;
    model.run(22 * SECOND, &Local::Copies);
    assert!(model.share(2 * SECOND) >= 0.985);
    // The last one asks whether the gateway is still there.
    assert!(model.probes <= 8 + 1, "{} pings", model.probes);
}

#[test]
fn an_outage_does_not_end_in_a_burst() {
    for limit in LIMITS {
        for ways in 0..3 {
            let stalls = [(SECOND, 3 * SECOND, ways), (4 * SECOND, 20 * SECOND, ways)];
            let mut model = Model::new(limit, 40 * MS).stalls(&stalls);
            model.run(55 * SECOND, &Local::Copies);
            let (most, second) = (model.heaviest(), model.second);
            assert!(most <= second, "{limit} bit/s, {ways}: {most} of {second}");
            // At 8,000 bit/s a second is one frame.
            let share = model.share(31 * SECOND);
            assert!(share >= 0.985 || limit == 8_000, "{limit} bit/s, {ways}: then {share}");
        }
    }
}

#[test]
fn without_answers_an_outage_does_end_in_a_burst() {
    let mut model = Model::new(204_800, 40 * MS).stalls(&[(SECOND, 3 * SECOND, 0)]);
    model.answers = false;
    model.run(10 * SECOND, &Local::Copies);
    assert!(model.heaviest() > 3 * model.second, "the model shows nothing");
}

#[test]
fn what_is_typed_does_not_wait() {
    for delay in [0, 300] {
        let mut model = Model::new(204_800, delay * MS);
        model.run(10 * SECOND, &Local::Copies);
        model.run(13 * SECOND, &Local::Nothing);
        let before = model.arrived();
        assert_eq!(before, model.written);
        for step in 1..100 {
            model.run(13 * SECOND + step * 100 * MS, &Local::Types(1000, 100));
            assert_eq!(model.session.outbound.queued(), 0, "it waits");
        }
        let probes = model.probes;
        model.run(60 * SECOND, &Local::Nothing);
        assert!(
            model.probes <= probes + 2,
            "an idle stream asks every 20 s whether anybody is there"
        );
    }
}

fn local() -> impl Strategy<Value = Local> {
    prop_oneof![
        4 => Just(Local::Copies),
        1 => (1usize..3000, 1u64..400).prop_map(|(bytes, pause)| Local::Types(bytes, pause)),
        1 => Just(Local::Nothing),
    ]
}

/// After how long, for how long, which ways.
fn stalls(shortest: u64) -> impl Strategy<Value = Vec<(Duration, Duration, u8)>> {
    let time = |ms| Duration::from_millis(ms);
    let length = prop_oneof![shortest..1000, shortest..8000];
    let stall = (0u64..3000, length, 0u8..3)
        .prop_map(move |(after, length, ways)| (time(after), time(length), ways));
    proptest::collection::vec(stall, 0..8)
}

fn run(
    limit: u32,
    delay: u32,
    stalls: &[(Duration, Duration, u8)],
    steps: &[(u64, Local)],
) -> Model {
    let mut model = Model::new(limit, delay * MS).stalls(stalls);
    // The way is seen as it is, before anything happens to it.
    model.run(SECOND, &Local::Types(100, 500));
    for (ms, local) in steps {
        model.run(model.now + Duration::from_millis(*ms), local);
    }
    let over = model.up.stalls.iter().chain(&model.down.stalls).map(|(_, to)| *to).max();
    let rest = Duration::from_secs(40);
    model.run(model.now.max(over.unwrap_or_default()) + rest, &Local::Nothing);
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_second_carries_more_than_the_limit_however_the_way_stalls(
        limit in prop_oneof![Just(204_800u32), 20_000u32..4_000_000],
        delay in 0u32..400,
        stalls in stalls(200),
        steps in proptest::collection::vec((1u64..5000, local()), 1..10),
    ) {
        let model = run(limit, delay, &stalls, &steps);
        prop_assert!(model.heaviest() <= model.second, "{} bytes", model.heaviest());
        prop_assert_eq!(model.arrived(), model.written);
    }

    /// What comes late by less than the time between two pings cannot be seen.
    #[test]
    fn short_stalls_make_it_little_more(
        limit in prop_oneof![Just(204_800u32), 20_000u32..4_000_000],
        delay in 0u32..400,
        stalls in stalls(1),
        steps in proptest::collection::vec((1u64..5000, local()), 1..10),
    ) {
        let model = run(limit, delay, &stalls, &steps);
        let most = model.second + model.second / 8;
        prop_assert!(model.heaviest() <= most, "{} bytes", model.heaviest());
        prop_assert_eq!(model.arrived(), model.written);
    }
}
