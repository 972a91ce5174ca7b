use super::*;

fn channel(settings: Resumption) -> Channel {
    Channel::new("d-1".into(), Some(settings))
}

fn outputs(channel: &mut Channel, count: u32) {
    for _ in 0..count {
        channel.number(&Bytes::from_static(b"12345678"), true);
    }
}

fn again(channel: &mut Channel) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(again) = channel.next_again() {
        match again.counters {
            Counters::V102 { output, .. } => numbers.push(output),
            Counters::V101 { .. } => panic!("{again:?}"),
        }
    }
    assert!(!channel.is_due());
    numbers
}

#[test]
fn in_1_01_outputs_count_from_0_and_nothing_is_kept() {
    let mut channel = Channel::new("d-1".into(), None);
    let at = |sequence| Counters::V101 { sequence };
    assert_eq!(channel.counters(kind::STATUS), at(0));
    assert_eq!(channel.number(&Bytes::new(), true), at(0));
    assert_eq!(channel.number(&Bytes::from_static(b"x"), true), at(1));
    assert_eq!((channel.unused(), channel.counters(kind::STATUS)), (at(2), at(0)));
    assert_eq!(channel.unused(), at(2), "asking uses no number up");
    assert!(channel.has_room() && !channel.is_due());
    assert_eq!((channel.kept_bytes(), channel.next_again()), (0, None));
    channel.gap(7, Instant::now());
    channel.ask_again(Instant::now());
}

#[test]
fn outputs_are_kept_until_they_are_acknowledged_and_no_more_than_so_many() {
    let mut channel = channel(Resumption::default().keeps(24));
    outputs(&mut channel, 2);
    assert!(channel.has_room());
    outputs(&mut channel, 1);
    assert!(!channel.has_room());
    channel.acknowledge(1);
    assert_eq!((channel.has_room(), channel.kept_bytes()), (true, 16));
    channel.acknowledge(0);
    assert_eq!(channel.kept_bytes(), 16, "it takes nothing back");
    channel.acknowledge(99);
    assert_eq!((channel.kept_bytes(), channel.last_output()), (0, 3));
    outputs(&mut channel, 1);
    assert_eq!(channel.kept_bytes(), 8, "what was never sent cannot be acknowledged");
}

#[test]
fn a_sync_brings_all_that_is_not_acknowledged_and_no_other() {
    let mut channel = channel(Resumption::default());
    let now = Instant::now();
    outputs(&mut channel, 5);
    channel.acknowledge(2);
    assert_eq!(channel.sync(3, 0, now), Ok(()));
    assert!(channel.is_due());
    assert_eq!(again(&mut channel), [4, 5]);
    assert_eq!(channel.sync(5, 0, now), Ok(()));
    assert_eq!(again(&mut channel), [0; 0]);
    assert_eq!(channel.sync(99, 0, now), Ok(()), "more than there is");
    // What is acknowledged on the way is passed over.
    assert_eq!(channel.sync(2, 0, now), Ok(()));
    assert!(channel.next_again().is_some_and(|again| again.repeated));
    channel.acknowledge(4);
    assert_eq!(again(&mut channel), [5]);
    // Another socket: nothing is under way.
    assert_eq!(channel.sync(4, 0, now), Ok(()));
    channel.attached();
    assert!(!channel.is_due());
    assert_eq!(channel.sync(3, 0, now), Err(Lost), "4 was acknowledged, and is gone");
    channel.forget_outputs();
    assert_eq!((channel.sync(4, 0, now), channel.kept_bytes()), (Err(Lost), 0));
    assert_eq!(channel.sync(5, 0, now), Ok(()));
}

#[test]
fn what_no_socket_was_given_is_not_repeated() {
    let mut channel = channel(Resumption::default());
    outputs(&mut channel, 1);
    channel.number(&Bytes::new(), false);
    assert_eq!((channel.sent(), channel.last_output()), (1, 2));
    assert_eq!(channel.sync(0, 0, Instant::now()), Ok(()));
    let repeated =
        [channel.next_again(), channel.next_again()].map(|again| again.unwrap().repeated);
    assert_eq!((repeated, channel.sent()), ([true, false], 2));
}

#[test]
fn inputs_are_taken_in_order_and_asked_for() {
    let mut channel = channel(Resumption::default());
    let start = Instant::now();
    assert_eq!(channel.arrival(0), Arrival::Duplicate);
    assert_eq!(channel.arrival(1), Arrival::Next);
    channel.take(1);
    assert_eq!((channel.arrival(1), channel.arrival(2)), (Arrival::Duplicate, Arrival::Next));
    assert_eq!(channel.arrival(3), Arrival::Gap);
    channel.gap(3, start);
    let asks = |input| Some(Counters::V102 { input, output: 0 });
    assert_eq!((channel.take_ask(), channel.take_ask()), (asks(2), None));
    channel.gap(4, start + ASK_AGAIN / 2);
    assert_eq!(channel.take_ask(), None, "that was just now");
    channel.ask_again(start + ASK_AGAIN);
    assert_eq!(channel.take_ask(), asks(2));
    channel.take(2);
    channel.gap(4, start + ASK_AGAIN);
    assert_eq!(channel.take_ask(), asks(3), "another one is missing");
    channel.take(3);
    channel.take(4);
    channel.ask_again(start + ASK_AGAIN * 3);
    assert_eq!(channel.take_ask(), None, "nothing is");
    channel.ask_for(1);
    assert_eq!(channel.take_ask(), asks(1));
}

#[test]
fn every_frame_acknowledges() {
    let mut channel = channel(Resumption::default());
    channel.take(1);
    let at = |input, output| Counters::V102 { input, output };
    assert_eq!(channel.number(&Bytes::new(), true), at(1, 1));
    assert_eq!(channel.counters(kind::STATUS), at(1, 1));
    channel.acknowledge_ahead(5);
    assert_eq!(channel.number(&Bytes::new(), true), at(6, 2));
    let bare = Channel::new("d-1".into(), Some(Resumption::default().bare_statuses(true)));
    assert_eq!(bare.counters(kind::STATUS), at(0, 0));
}

#[test]
fn the_readings_of_a_sync() {
    let now = Instant::now();
    for (settings, none_missing, missing) in [
        (Resumption::default(), None, Some(2)),
        (Resumption::default().sync_answer(SyncAnswer::Always), Some(2), Some(2)),
        (Resumption::default().sync_answer(SyncAnswer::Never), None, None),
        (Resumption::default().sync_names(SyncNames::LastReceived), None, Some(1)),
    ] {
        let mut channel = channel(settings.clone());
        channel.take(1);
        let mut asked = |input| {
            assert_eq!(channel.sync(0, input, now), Ok(()));
            channel.take_ask().map(|counters| match counters {
                Counters::V102 { input, .. } => input,
                Counters::V101 { .. } => panic!("{counters:?}"),
            })
        };
        assert_eq!((asked(1), asked(4)), (none_missing, missing), "{settings:?}");
        channel.ask_again(now + ASK_AGAIN);
        assert_eq!(channel.is_due(), settings.sync_answer != SyncAnswer::Never);
    }
}

#[test]
fn inputs_of_1_01_come_before_the_first_number_whatever_that_is() {
    for (first, rest) in [(1, [2, 4]), (3, [4, 6])] {
        let mut channel = channel(Resumption::default());
        channel.take_unnumbered();
        channel.take_unnumbered();
        let none = Counters::V102 { input: 0, output: 0 };
        assert_eq!(channel.counters(kind::STATUS), none, "nothing to acknowledge");
        assert_eq!(channel.arrival(first), Arrival::Next);
        channel.take(first);
        assert_eq!(rest.map(|n| channel.arrival(n)), [Arrival::Next, Arrival::Gap]);
        assert_eq!(channel.arrival(first), Arrival::Duplicate);
    }
}
