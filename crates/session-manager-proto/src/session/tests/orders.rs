//! Remote sides that say things in an order, or with values, that nobody expects.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use proptest::prelude::*;

use super::*;
use crate::status::Reason;

const BOTH: [Version; 2] = [Version::V1_01, Version::V1_02];

#[test]
fn a_session_opens_in_whatever_order_it_is_told() {
    for version in BOTH {
        for order in [&[3][..], &[3, 1], &[3, 0, 1], &[3, 3, 1, 3], &[1, 3, 0], &[4, 3], &[77, 3]] {
            let mut test = Test::speaking(version);
            test.session.handle_local(test.now, b"PING");
            order.iter().for_each(|state| test.status(&[*state]));
            assert_eq!(test.pass_with(1499 * MS, true), b"");
            assert_eq!(test.pass_with(MS, true), b"PING", "{order:?}");
        }
        // What the target says is worth more than any status, and no status takes it back.
        let mut test = Test::speaking(version);
        test.session.handle_local(test.now, b"PING");
        test.output(b"hello");
        [1, 0, 3, 4].iter().for_each(|state| test.status(&[*state]));
        assert_eq!(test.pass_with(Duration::ZERO, true), b"PING");
        assert_eq!(test.delivered(), b"hello");
    }
}

#[test]
fn what_ends_before_it_has_begun_is_a_failure() {
    let ended = |reason: &[u8]| Some(End::Failed(Failure::Ended(Reason::parse(reason))));
    for version in BOTH {
        for begin in [&[][..], &[0], &[1]] {
            for reason in [&b"Exit"[..], b"", b"FlowExceedLimit"] {
                let mut test = Test::speaking(version);
                begin.iter().for_each(|state| test.status(&[*state]));
                test.status(&[&[5], reason].concat());
                assert_eq!(test.session.end().cloned(), ended(reason));
            }
            let mut test = Test::speaking(version);
            begin.iter().for_each(|state| test.status(&[*state]));
            test.numbered(FrameType::CLOSE, 0, b"1");
            assert_eq!(test.session.end().cloned(), ended(b""));
        }
        // A target that has closed was there.
        let mut test = Test::speaking(version);
        test.status(b"\x05ReadFromTargetPortFailed");
        assert!(matches!(test.session.end(), Some(End::Remote(RemoteEnd::Status(_)))));
    }
}

#[test]
fn any_limit_is_lived_with() {
    for version in BOTH {
        let mut test = Test::speaking(version);
        // Nothing is no limit.
        for limit in [&[7][..], &[7, 0], &[7, 0, 0, 0, 0], &[7, 1, 2, 3, 4, 5]] {
            test.status(limit);
        }
        assert_eq!(test.session.stream.flow.pace.limit(), DEFAULT_LIMIT);
        test.status(&[7, 0, 0, 0, 1]);
        test.output(b"hello");
        test.session.handle_local(test.now, &[7; LOCAL_CAP]);
        assert_eq!(test.pass_with(79 * SECOND, true).len(), 10, "a byte every eight seconds");
        test.status(&[7, 255, 255, 255, 255]);
        assert_eq!(test.pass_with(SECOND, true).len(), LOCAL_CAP - 10);
        // One that changes all the time is obeyed all the time.
        let (mut sent, begin) = (0, test.now);
        for round in 0..1000 {
            let room = test.session.local_room();
            test.session.handle_local(test.now, &vec![7; room]);
            test.status(&[7, if round % 2 == 0 { 3 } else { 25 }, 0, 0]);
            sent += test.pass_with(10 * MS, true).len();
        }
        let most = 0x19_0000 / 8 * (test.now - begin).as_secs();
        assert!((100_000..=most).contains(&(sent as u64)), "{sent} of {most}");
    }
}

#[test]
fn a_gateway_that_restarts_before_the_session_is_open_has_its_time() {
    let mut test = Test::speaking(Version::V1_01);
    test.status(&[1]);
    test.status(&[8]);
    assert_eq!(test.session.end(), Some(&End::Failed(Failure::Frozen)));

    let mut test = Test::speaking(Version::V1_02);
    test.session.handle_local(test.now, b"PING");
    test.status(&[1]);
    test.status(&[8]);
    test.status(&[8]);
    assert!(!test.session.is_connected());
    test.status(&[8]);
    assert_eq!(test.pass_with(20 * SECOND, false), b"", "it is down for longer than opening takes");
    assert_eq!(test.session.end(), None);
    test.pass_with(10 * SECOND, true);
    assert!(test.session.is_connected());
    test.status(&[3]);
    assert_eq!(test.pass_with(2 * SECOND, true), b"PING");

    // But one that is always about to open is given up.
    let mut test = Test::speaking(Version::V1_02);
    test.status(&[1]);
    for _ in 0..20 {
        test.session.handle_disconnect(test.now, Disconnect::Frozen);
        test.pass_with(12 * SECOND, true);
    }
    let Some(End::Failed(Failure::NotOpened { waited, .. })) = test.session.end() else {
        panic!("{:?}", test.session.end());
    };
    assert!(*waited <= 76 * SECOND, "{waited:?}");
}

#[test]
fn a_version_or_a_channel_that_changes_does_no_harm() {
    let mut test = Test::speaking(Version::V1_02);
    test.output(b"one ");
    for (version, channel) in [(Version::V1_01, "d-1"), (Version::V1_02, "d-2")] {
        (test.version, test.channel) = (version, channel);
        test.status(&[3]);
        test.status(&[1]);
    }
    test.output(b"two");
    assert_eq!(test.delivered(), b"one two");
    test.session.handle_local(test.now, b"x");
    let frame = Frame::decode(test.session.poll_transmit(test.now).unwrap()).unwrap();
    assert_eq!(frame.version, Version::V1_02);
    assert_eq!(frame.channel_id, "d-1", "that of the first frame");
    // A gateway's own frames may be of the older version, without ids.
    (test.version, test.channel) = (Version::V1_01, "");
    test.status(&[7, 25, 0, 0]);
    assert_eq!(test.session.stream.flow.pace.limit(), 25 << 16);
    test.status(&[8]);
    assert!(!test.session.is_connected() && test.session.end().is_none());
}

#[test]
fn close_codes_mean_what_they_mean() {
    /// What becomes of a session that was open.
    #[derive(Debug, PartialEq)]
    enum Then {
        Ends,
        Fails,
        GoesOn,
    }
    use Then::{Ends, Fails, GoesOn};
    for (code, older, newer) in [
        (1000, Ends, Ends),
        (1001, Fails, GoesOn),
        (1002, Fails, Fails),
        (1005, Ends, GoesOn),
        (1006, Fails, GoesOn),
        (1008, Fails, Fails),
        (1011, Fails, Fails),
        (1012, Fails, GoesOn),
        (1013, Fails, GoesOn),
        (4000, Fails, Fails),
    ] {
        for (version, expected) in BOTH.into_iter().zip([older, newer]) {
            for opened in [true, false] {
                let mut test = Test::speaking(version);
                test.status(&[if opened { 3 } else { 1 }]);
                test.session.handle_disconnect(test.now, closed(code));
                let then = match test.session.end() {
                    None => GoesOn,
                    Some(End::Remote(RemoteEnd::WebSocket)) => Ends,
                    Some(End::Failed(Failure::Disconnected(why))) if *why == closed(code) => Fails,
                    Some(end) => panic!("{end:?}"),
                };
                let expected = if !opened && expected == Ends { &Fails } else { &expected };
                assert_eq!(&then, expected, "{code}, {version}, {opened}");
                // And it does not hang: it comes back, or is given up.
                test.pass_with(61 * SECOND, false);
                assert!(test.session.end().is_some(), "{code}, {version}");
                assert_eq!(test.session.poll_timeout(true), None);
            }
        }
    }
}

/// One thing that a peer says.
fn said() -> impl Strategy<Value = (u32, u32, Vec<u8>)> {
    let state = prop_oneof![Just(0u8), Just(1), Just(3), Just(4), Just(7), Just(8), Just(5)];
    let status = (state, proptest::collection::vec(any::<u8>(), 0..6))
        .prop_map(|(state, rest)| [vec![state], rest].concat());
    let number = prop_oneof![0u32..8, any::<u32>()];
    prop_oneof![
        4 => (Just(5), number.clone(), status),
        2 => (Just(1), 0u32..8, proptest::collection::vec(any::<u8>(), 0..40)),
        1 => (0u32..12, number, proptest::collection::vec(any::<u8>(), 0..10)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_order_of_words_makes_it_hang(
        words in proptest::collection::vec((said(), any::<bool>(), 0u64..3000), 1..30),
        sockets: bool,
    ) {
        let mut test = Test::speaking(Version::V1_01);
        test.session.handle_local(test.now, b"PING");
        for ((kind, number, payload), newer, pause) in words {
            test.version = if newer { Version::V1_02 } else { Version::V1_01 };
            test.numbered(FrameType(kind), number, &payload);
            test.pass_with(Duration::from_millis(pause), sockets);
            test.delivered();
        }
        // It is open, or over; and one that is open, and done with, is over soon.
        test.pass_with(77 * SECOND, sockets);
        test.delivered();
        let opened = test.session.stream.outbound.is_open() || test.session.stream.opening.is_opened();
        prop_assert!(opened || test.session.end().is_some(), "{:?} s", test.now - test.start);
        test.session.handle_shutdown(test.now, SECOND);
        test.pass_with(2 * SECOND, sockets);
        prop_assert!(test.session.is_finished());
        prop_assert_eq!(test.session.poll_timeout(true), None);
    }
}
