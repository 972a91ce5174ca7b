//! The pace over a way that delivers everything in order, and stalls as it likes, to a gateway that lets
//! no second carry more than its limit.

use proptest::prelude::*;

use super::*;
use crate::session::model::{Agent, Model, Setup, Source, Step, Ways};

fn model(limit: u32, delay: Duration) -> Model {
    let mut agent = Agent::new(false);
    (agent.limit, agent.greeting) = (Some(limit), b"hello");
    let mut model = Model::new(Setup { delay, ..Setup::new(agent) });
    model.apply(&Step::Tick(Duration::ZERO));
    model
}

impl Model {
    fn run(&mut self, time: Duration, source: Source) {
        self.apply(&Step::Source(source));
        self.apply(&Step::Tick(time));
        assert_eq!(self.session.end(), None);
    }

    fn without_pongs(mut self) -> Self {
        self.apply(&Step::Pongs(false));
        self
    }

    /// How many bytes the gateway has got.
    fn got(&self) -> usize {
        self.log.iter().map(|(_, bytes)| bytes).sum()
    }

    fn second(&self) -> usize {
        usize::try_from(self.setup.agent.as_ref().unwrap().limit.unwrap() / 8).unwrap()
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

    /// Which share of the limit has arrived within the last while.
    fn share(&self, time: Duration) -> f64 {
        let since = self.now - time;
        let recent = self.log.iter().filter(|(at, _)| *at >= since);
        let bytes: usize = recent.map(|(_, bytes)| bytes).sum();
        bytes as f64 / self.second() as f64 / time.as_secs_f64()
    }
}

const LIMITS: [u32; 5] = [8_000, 204_800, 300_001, 1_638_400, 50_000_000];

#[test]
fn a_way_of_any_length_costs_nothing() {
    for limit in LIMITS {
        for delay in [0, 1, 20, 150, 300, 400] {
            let mut model = model(limit, delay * MS);
            model.run(22 * SECOND, Source::Copies);
            let share = model.share(20 * SECOND);
            assert!(share >= 0.985, "{limit} bit/s, {delay} ms: only {share}");
            assert!(model.heaviest() <= model.second(), "{limit} bit/s, {delay} ms");
            assert!(model.pings <= 22 * 14, "{} pings", model.pings);
        }
    }
}

#[test]
fn a_gateway_that_answers_no_pings_is_not_waited_for() {
    let mut model = model(204_800, 20 * MS).without_pongs();
    model.run(22 * SECOND, Source::Copies);
    assert!(model.share(20 * SECOND) >= 0.985);
    // The last one asks whether the gateway is still there.
    assert!(model.pings <= 8 + 1, "{} pings", model.pings);
}

#[test]
fn an_outage_does_not_end_in_a_burst() {
    for limit in LIMITS {
        for ways in [Ways::Up, Ways::Down, Ways::Both] {
            let mut model = model(limit, 40 * MS);
            // How long the way usually takes has to be seen once.
            model.run(2 * SECOND, Source::Copies);
            model.apply(&Step::Stall(ways, 3 * SECOND));
            model.run(7 * SECOND, Source::Copies);
            model.apply(&Step::Stall(ways, 20 * SECOND));
            model.run(46 * SECOND, Source::Copies);
            let (most, second) = (model.heaviest(), model.second());
            assert!(most <= second, "{limit} bit/s, {ways:?}: {most} of {second}");
            // At 8,000 bit/s a second is one frame.
            let share = model.share(24 * SECOND);
            assert!(share >= 0.985 || limit == 8_000, "{limit} bit/s, {ways:?}: then {share}");
        }
    }
}

#[test]
fn without_answers_an_outage_does_end_in_a_burst() {
    let mut model = model(204_800, 40 * MS).without_pongs();
    model.run(2 * SECOND, Source::Copies);
    model.apply(&Step::Stall(Ways::Up, 3 * SECOND));
    model.run(8 * SECOND, Source::Copies);
    assert!(model.heaviest() > 3 * model.second(), "the model shows nothing");
}

#[test]
fn what_is_typed_does_not_wait() {
    for delay in [0, 300] {
        let mut model = model(204_800, delay * MS);
        model.run(10 * SECOND, Source::Copies);
        model.run(3 * SECOND, Source::Nothing);
        assert_eq!(model.got(), model.written());
        for _ in 1..100 {
            model.run(100 * MS, Source::Types(1000, 100 * MS));
            assert_eq!(model.session.stream.outbound.queued(), 0, "it waits");
        }
        let pings = model.pings;
        model.run(37 * SECOND, Source::Nothing);
        assert!(
            model.pings <= pings + 2,
            "an idle stream asks every 20 s whether anybody is there"
        );
    }
}

/// What happens to a way whose stalls last so many milliseconds at least.
fn step(shortest: u64) -> impl Strategy<Value = Step> {
    let ms = Duration::from_millis;
    let length = prop_oneof![shortest..1000, shortest..8000];
    let ways = prop_oneof![Just(Ways::Up), Just(Ways::Down), Just(Ways::Both)];
    let source = prop_oneof![
        4 => Just(Source::Copies),
        1 => (1usize..3000, 1u64..400).prop_map(move |(bytes, pause)| Source::Types(bytes, ms(pause))),
        1 => Just(Source::Nothing),
    ];
    prop_oneof![
        3 => (1u64..5000).prop_map(move |time| Step::Tick(ms(time))),
        1 => source.prop_map(Step::Source),
        1 => (ways, length).prop_map(move |(ways, time)| Step::Stall(ways, ms(time))),
    ]
}

fn run(limit: u32, delay: u32, steps: &[Step]) -> Model {
    let mut model = model(limit, delay * MS);
    // The way is seen as it is, before anything happens to it.
    model.run(SECOND, Source::Types(100, 500 * MS));
    model.apply(&Step::Source(Source::Copies));
    steps.iter().for_each(|step| model.apply(step));
    model.run(50 * SECOND, Source::Nothing);
    assert_eq!(model.got(), model.written());
    model
}

/// How a way is: its limit, and its delay in milliseconds.
fn way() -> impl Strategy<Value = (u32, u32)> {
    (prop_oneof![Just(204_800u32), 20_000u32..4_000_000], 0u32..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_second_carries_more_than_the_limit_however_the_way_stalls(
        (limit, delay) in way(),
        steps in proptest::collection::vec(step(200), 1..18),
    ) {
        let model = run(limit, delay, &steps);
        prop_assert!(model.heaviest() <= model.second(), "{} bytes", model.heaviest());
    }

    /// What comes late by less than the time between two pings cannot be seen.
    #[test]
    fn short_stalls_make_it_little_more(
        (limit, delay) in way(),
        steps in proptest::collection::vec(step(1), 1..18),
    ) {
        let model = run(limit, delay, &steps);
        let most = model.second() + model.second() / 8;
        prop_assert!(model.heaviest() <= most, "{} bytes", model.heaviest());
    }
}
