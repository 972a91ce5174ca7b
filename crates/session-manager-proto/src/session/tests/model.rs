//! The model with an agent, over random settings and random orders of events.

use proptest::prelude::*;

use super::*;
use crate::session::model::{Agent, Data, Mishap, Model, Offsets, Setup, Step, Ways};

fn setup() -> impl Strategy<Value = Setup> {
    any::<[u8; 6]>().prop_map(Setup::from)
}

fn step() -> impl Strategy<Value = Step> {
    any::<(u8, u16)>().prop_map(|(kind, argument)| Step::of(kind, argument))
}

/// A step by which no stream of 1.02 ends.
fn lasting() -> impl Strategy<Value = Step> {
    any::<(u8, u16)>()
        .prop_filter("it may end", |(kind, _)| !Step::may_end(*kind))
        .prop_map(|(kind, argument)| Step::of(kind, argument))
}

/// The same within little time: what is on its way at the end is not waited for without end.
fn at_once(step: Step) -> Step {
    match step {
        Step::Tick(time) => Step::Tick(time / 64),
        step => step,
    }
}

/// A stream of 1.02 that is open, with a gateway that may lose frames.
fn resumable(mut setup: Setup, loses: bool) -> Model {
    let agent = setup.agent.as_mut().unwrap();
    (agent.generation, agent.resumable, agent.loses) = (Generation::D, true, loses);
    (agent.joins, agent.dials) = (Duration::ZERO, Duration::ZERO);
    // An agent ends a session that is silent.
    setup.config.keepalive = Keepalive::ByAgent(50 * SECOND);
    play(setup, &[Step::Answer(1), Step::Tick(SECOND)])
}

fn play(setup: Setup, steps: &[Step]) -> Model {
    let mut model = Model::new(setup);
    steps.iter().for_each(|step| model.apply(step));
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn each_side_gets_what_the_other_has_written_or_the_end_is_an_error(
        setup in setup(),
        is_agent_known: bool,
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        let mut model = Model::new(setup);
        if is_agent_known {
            model.apply(&Step::Agent(Generation::D));
        }
        steps.iter().for_each(|step| model.apply(step));
        model.settle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_stream_of_1_02_goes_on_whatever_is_cut_or_lost(
        setup in setup(),
        steps in proptest::collection::vec(lasting(), 1..200),
    ) {
        let mut model = resumable(setup, true);
        for step in &steps {
            model.apply(step);
            prop_assert_eq!(model.session.end(), None);
        }
        model.settle();
        match model.session.end() {
            Some(End::Local | End::Failed(Failure::NotArrived { .. })) => {}
            end => prop_assert!(false, "{:?}", end),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_end_is_not_taken_for_one_before_all_has_come(
        setup in setup(),
        loses: bool,
        steps in proptest::collection::vec(lasting(), 1..60),
        end in 0usize..4,
        last in proptest::collection::vec(lasting().prop_map(at_once), 0..60),
    ) {
        let mut model = resumable(setup, loses);
        let lost = Step::Disconnect(cut());
        let end = [
            vec![Step::Exit],
            vec![Step::TargetCloses],
            vec![Step::LocalEof],
            vec![Step::Local(Data::Pattern(1000)), lost, Step::LocalEof],
        ][end].clone();
        steps.iter().chain(&end).chain(&last).for_each(|step| model.apply(step));
        model.settle();
    }
}

/// Cases that failed once.
#[test]
fn what_went_wrong_before_does_not_again() {
    let opened = || {
        let offsets = Offsets { input: 0, output: 0 };
        Step::Frame(0, FrameType::STATUS, offsets, Data::Raw(Bytes::from_static(&[3])))
    };
    let alone = |server_first| {
        let config = Config { server_first, ..Config::new(1_700_000_000_000) };
        Setup { config, agent: None, delay: Duration::ZERO, socket: usize::MAX }
    };
    let byte = || Step::Local(Data::Pattern(1));
    // The target was to speak first, and does not.
    let steps = [Step::Jump(3 * SECOND), byte(), Step::Transmit(1), opened(), Step::Turn];
    play(alone(true), &steps).settle();
    // A keepalive is due, and then the local side ends.
    let steps = [Step::Jump(50 * SECOND), Step::LocalEof, Step::Transmit(1), opened(), Step::Turn];
    play(alone(false), &steps).settle();
}

/// A server that greets closes, and a keepalive makes the agent connect to it again.
#[test]
fn a_keepalive_brings_no_second_connection_s_bytes() {
    for generation in [Generation::A, Generation::B, Generation::C] {
        let mut agent = Agent::new(false);
        (agent.generation, agent.greeting) = (generation, b"220 mail.example ESMTP\r\n");
        let mut setup = Setup::new(agent);
        setup.config.keepalive = Keepalive::Always(5 * SECOND);
        let steps = [Step::Tick(2 * SECOND), Step::TargetCloses, Step::Tick(10 * SECOND)];
        let mut model = play(setup, &steps);
        model.settle();
        assert_eq!(model.session.end(), Some(&End::Failed(Failure::Redialled)), "{generation:?}");
    }
}

/// Nothing was written, and the socket takes no frame: nothing is missing at the end.
#[test]
fn nothing_is_missing_where_nothing_was_written() {
    let mut agent = Agent::new(true);
    (agent.acknowledges, agent.pongs, agent.dials) = (true, false, SECOND);
    agent.greeting = b"220 mail.example ESMTP\r\n";
    let mut setup = Setup { socket: 1, ..Setup::new(agent) };
    setup.config.keepalive = Keepalive::Never;
    let steps = [
        Step::LocalEof,
        Step::Arrive(Ways::Down, 2),
        Step::Stall(Ways::Both, 50 * SECOND),
        Step::Tick(39 * SECOND),
        Step::Jump(46 * SECOND),
    ];
    let mut model = play(setup, &steps);
    model.settle();
    assert_eq!(model.session.end(), Some(&End::Local));
}

/// The local side has ended, Outputs are missing, and the new socket takes no Sync: that has a deadline, too.
#[test]
fn missing_outputs_are_not_waited_for_on_a_socket_that_takes_no_sync() {
    let mut agent = Agent::new(true);
    agent.greeting = b"220 mail.example ESMTP\r\n";
    (agent.pongs, agent.acknowledges, agent.statuses) = (false, false, false);
    let mut setup = Setup { socket: 1, ..Setup::new(agent) };
    setup.config.keepalive = Keepalive::Never;
    let steps = [
        Step::Stall(Ways::Up, 2193 * MS),
        Step::LocalEof,
        Step::Arrive(Ways::Down, 1),
        Step::Disconnect(cut()),
        Step::Answer(0),
        Step::Tick(SECOND),
        Step::Answer(0),
        Step::Arrive(Ways::Down, 1),
    ];
    play(setup, &steps).settle();
}

/// A gateway that sends no status loses the first Output of a shell: nothing tells that the shell has begun.
#[test]
fn a_shell_whose_first_output_is_lost_is_not_open() {
    let mut agent = Agent::new(true);
    (agent.acknowledges, agent.statuses, agent.loses) = (true, false, true);
    (agent.is_shell, agent.greeting) = (true, b"$ ");
    let setup = Setup { delay: 200 * MS, ..Setup::new(agent) };
    let lost = Step::Mishap(Ways::Down, Mishap::Lost);
    let mut model = play(setup, &[Step::Tick(50 * MS), lost, Step::Tick(15 * SECOND)]);
    model.settle();
    let end = model.session.end();
    assert!(matches!(end, Some(End::Failed(Failure::NotOpened { .. }))), "{end:?}");
}

/// The target has ended the stream, and the new socket does not take the Sync: that has a deadline, too.
#[test]
fn an_end_does_not_wait_for_a_socket_that_takes_no_sync() {
    let mut agent = Agent::new(true);
    agent.limit = Some(524_288);
    let mut model = resumable(Setup { socket: 1, ..Setup::new(agent) }, false);
    let bytes = |count| Step::Local(Data::Pattern(count));
    let cut = || Step::Disconnect(cut());
    let ticks = [Step::Tick(1032 * MS), Step::Tick(1008 * MS)];
    let steps = [&[bytes(1), bytes(10_239), cut()][..], &ticks, &[Step::Exit]].concat();
    steps.iter().for_each(|step| model.apply(step));
    model.apply(&Step::Arrive(Ways::Down, 1));
    model.apply(&cut());
    model.settle();
}

/// The gateway does not swap a Sync and a newer acknowledgement: they come in the order in which they were sent.
#[test]
fn a_sync_is_not_taken_for_an_older_one() {
    let mut agent = Agent::new(true);
    (agent.acknowledges, agent.statuses, agent.pongs) = (true, false, false);
    agent.limit = Some(524_288);
    let mut setup = Setup { delay: 228 * MS, socket: 2, ..Setup::new(agent) };
    setup.config.random = 12_671_394_942_373_533_239;
    let mut model = resumable(setup, true);
    let byte = Step::Local(Data::Pattern(1));
    let swapped = Step::Mishap(Ways::Down, Mishap::Swapped);
    let ticks = [239, 429, 460].map(|time| Step::Tick(time * MS));
    let [first, second, third] = ticks;
    for step in [Step::Disconnect(cut()), first, byte.clone(), second, third, swapped, byte] {
        model.apply(&step);
        assert_eq!(model.session.end(), None);
    }
    model.settle();
}

#[test]
fn input_that_was_lost_with_its_socket_is_sent_again_before_the_end() {
    let setup = Setup::new(Agent::new(true));
    let cut = Step::Disconnect(cut());
    let steps = [
        Step::Answer(1),
        Step::Tick(2 * SECOND),
        Step::Local(Data::Pattern(10)),
        cut,
        Step::LocalEof,
    ];
    let mut model = play(setup, &steps);
    model.settle();
    assert_eq!(model.session.end(), Some(&End::Local));
}
