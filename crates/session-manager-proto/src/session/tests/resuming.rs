//! Version 1.02: what is missing is asked for, and a stream goes on over another WebSocket.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;

#[test]
fn frames_carry_their_number_and_the_last_output_that_came() {
    let mut test = Test::open();
    let sent = test.inputs(2);
    assert_eq!(sent[0].sequence, pair(1, 1));
    assert_eq!(sent[1].sequence, pair(2, 1));
    test.output_at(2, 2, b"more");
    test.wait(50 * SECOND);
    assert_eq!(test.sent_kinds(), [(FrameType::INPUT, pair(3, 2))], "a keepalive counts");
    test.session.handle_shutdown(test.now, SECOND);
    assert_eq!(test.sent_kinds(), [(FrameType::CLOSE, pair(3, 2))]);
}

/// The gateway's own frames may be of 1.02 and the agent's of 1.01: then nothing is sent twice.
#[test]
fn an_agent_of_1_01_behind_a_gateway_of_1_02_gets_nothing_again() {
    let mut test = Test::speaking(Version::V1_02);
    test.status(&[3]);
    test.frame(FrameType::OUTPUT, Sequence::Single(0), b"hello");
    assert_eq!(test.inputs(2)[1].sequence, pair(2, 0));
    let asked: Vec<_> = kinds(&test.pass(100 * SECOND));
    assert!(!asked.contains(&FrameType::SYNC), "{asked:?}");
    test.session.handle_disconnect(test.now, cut());
    assert_eq!(test.failure(), &Failure::Disconnected(cut()));
}

#[test]
fn what_is_missing_is_asked_for_once_and_again_after_a_while() {
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))]);
    test.output_at(0, 4, b"four");
    assert_eq!(test.sent_kinds(), [], "it was asked for already");
    test.wait(SECOND);
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))], "nobody has answered");
    for (number, payload) in [(2, b"two"), (3, b"thr"), (3, b"dup"), (1, b"old"), (4, b"fou")] {
        test.output_at(0, number, payload);
    }
    assert_eq!(test.delivered(), b"twothrfou");
    test.wait(5 * SECOND);
    assert_eq!(test.sent_kinds(), []);
}

#[test]
fn what_does_not_come_although_it_was_asked_for_is_lost() {
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))]);
    for _ in 0..59 {
        test.wait(SECOND);
        assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))]);
    }
    test.wait(SECOND);
    assert_eq!(test.failure(), &Failure::Lost { expected: 2, got: 3 });
    assert_eq!(test.sent_kinds(), [(FrameType::CLOSE, pair(0, 1))]);
}

#[test]
fn the_far_side_gets_again_what_it_asks_for() {
    let mut test = Test::open();
    test.inputs(4);
    test.frame(FrameType::SYNC, pair(2, 1), b"");
    let again = [2, 3, 4].map(|number| (FrameType::INPUT, pair(number, 1)));
    assert_eq!(test.sent_kinds(), again);
    test.frame(FrameType::SYNC, pair(5, 1), b"");
    assert_eq!(test.sent_kinds(), [], "it has them all");
    test.inputs(1);
    test.output_at(5, 2, b"");
    test.frame(FrameType::SYNC, pair(6, 2), b"");
    assert_eq!(test.sent_kinds(), []);
    test.frame(FrameType::SYNC, pair(2, 2), b"");
    assert_eq!(test.failure(), &Failure::LostInput(2), "it has said that it has it");
}

#[test]
fn what_was_never_sent_cannot_have_arrived() {
    let mut test = Test::open();
    test.inputs(2);
    test.output_at(3, 2, b"");
    assert_eq!(test.failure(), &Failure::NeverSent { got: 3, sent: 2 });
    let mut test = Test::open();
    test.inputs(2);
    test.frame(FrameType::SYNC, pair(4, 1), b"");
    assert_eq!(test.failure(), &Failure::LostInput(4));
}

#[test]
fn a_stream_goes_on_over_another_socket() {
    for why in [
        cut(),
        Disconnect::Closed { code: Some(1001), text: String::new() },
        Disconnect::Closed { code: Some(1006), text: String::new() },
        Disconnect::Closed { code: Some(1012), text: String::new() },
        Disconnect::Closed { code: Some(1013), text: String::new() },
        Disconnect::Closed { code: None, text: String::new() },
        Disconnect::Frozen,
    ] {
        let mut test = Test::open();
        test.inputs(3);
        test.output_at(1, 2, b"two");
        if why == Disconnect::Frozen {
            test.frame(FrameType::STATUS, pair(0, 0), &[8]);
        } else {
            test.session.handle_disconnect(test.now, why.clone());
        }
        assert!(!test.session.is_connected());
        assert_eq!(test.session.end(), None, "{why:?}");
        test.session.handle_local(test.now, b"later");
        assert_eq!(test.sent(), [], "there is nowhere to send it");
        let after = test.reconnects_after();
        assert!((SECOND..=1250 * MS).contains(&after), "{after:?}");
        test.session.handle_reconnected(test.now);
        assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(3, 2))]);
        // It tells what it has, or says nothing and gets all that it may not have; then what is new.
        let first = match why {
            Disconnect::Broken(_) => {
                test.frame(FrameType::SYNC, pair(3, 2), b"");
                3
            }
            Disconnect::Frozen => {
                test.output_at(2, 2, b"two");
                3
            }
            _ => {
                test.wait(999 * MS);
                assert_eq!(test.sent_kinds(), []);
                test.wait(MS);
                2
            }
        };
        let numbers: Vec<_> = test.sent_kinds().into_iter().map(|(_, sequence)| sequence).collect();
        assert_eq!(numbers, (first..=4).map(|number| pair(number, 2)).collect::<Vec<_>>());
        test.output_at(4, 3, b"three");
        assert_eq!(test.delivered(), b"twothree");
    }
}

#[test]
fn some_ends_are_final() {
    for code in [1000, 1002, 1008, 1011] {
        let mut test = Test::open();
        let why = Disconnect::Closed { code: Some(code), text: String::new() };
        test.session.handle_disconnect(test.now, why.clone());
        match code {
            1000 => {
                assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::WebSocket)));
            }
            _ => assert_eq!(test.failure(), &Failure::Disconnected(why)),
        }
        assert_eq!(test.session.poll_timeout(true), None);
    }
}

#[test]
fn tries_are_made_ever_more_seldom_and_given_up_after_a_minute() {
    let mut test = Test::open();
    let cut_at = test.now;
    test.session.handle_disconnect(test.now, cut());
    let mut pauses = Vec::new();
    while test.session.end().is_none() {
        let at = test.session.poll_timeout(true).unwrap();
        if at >= cut_at + GIVE_UP_AFTER {
            test.now = at;
            test.session.handle_timeout(at);
            break;
        }
        pauses.push(test.reconnects_after());
        test.session.handle_not_reconnected(test.now, "HTTP 503".into(), false);
    }
    let least = [1, 2, 4, 8, 8].map(|seconds| seconds * SECOND);
    for (pause, least) in pauses.iter().zip(least) {
        assert!((least..=least + least / 4).contains(pause), "{pauses:?}");
    }
    assert_eq!(test.now - cut_at, GIVE_UP_AFTER);
    let Failure::NotResumed { last, .. } = test.failure() else { panic!() };
    assert_eq!(last, "HTTP 503");
    assert_eq!(test.session.poll_timeout(true), None);
}

const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

#[test]
fn a_try_that_takes_too_long_is_given_up_as_well() {
    let mut test = Test::open();
    test.session.handle_disconnect(test.now, cut());
    test.reconnects_after();
    test.wait(GIVE_UP_AFTER);
    assert!(matches!(test.failure(), Failure::NotResumed { .. }));
}

#[test]
fn sockets_that_are_gone_at_once_are_no_success() {
    let mut test = Test::open();
    let begin = test.now;
    test.session.handle_disconnect(test.now, cut());
    let mut sockets = 0;
    while test.session.end().is_none() {
        let at = test.session.poll_timeout(true).unwrap();
        if at >= begin + GIVE_UP_AFTER {
            test.now = at;
            test.session.handle_timeout(at);
            break;
        }
        test.reconnects_after();
        test.session.handle_reconnected(test.now);
        test.frame(FrameType::STATUS, pair(0, 0), &[3]);
        test.sent();
        test.session.handle_disconnect(test.now, cut());
        sockets += 1;
    }
    assert!((6..12).contains(&sockets), "{sockets}");
    assert!(matches!(test.failure(), Failure::NotResumed { .. }));
    // One that has brought something was good, and so was one that has lived for a while.
    for is_quiet in [false, true] {
        let mut test = Test::open();
        for number in 2..100 {
            test.session.handle_disconnect(test.now, cut());
            assert!(test.reconnects_after() <= 1250 * MS);
            test.session.handle_reconnected(test.now);
            test.sent();
            if is_quiet {
                test.wait(10 * SECOND);
            } else {
                test.output_at(0, number, b"x");
            }
        }
        assert_eq!(test.session.end(), None);
    }
}

#[test]
fn what_is_forbidden_is_not_tried_again() {
    let mut test = Test::open();
    test.session.handle_disconnect(test.now, cut());
    test.reconnects_after();
    test.session.handle_not_reconnected(test.now, "HTTP 403".into(), true);
    assert!(matches!(test.failure(), Failure::NotResumed { why: Disconnect::Broken(_), .. }));
    // A close without a code may have been a normal end.
    let mut test = Test::open();
    test.session.handle_disconnect(test.now, Disconnect::Closed { code: None, text: "".into() });
    test.reconnects_after();
    test.session.handle_not_reconnected(test.now, "HTTP 403".into(), true);
    assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::WebSocket)));
}

#[test]
fn nobody_waits_for_a_socket_that_is_not_needed_any_more() {
    let mut test = Test::open();
    test.session.handle_disconnect(test.now, cut());
    test.session.handle_shutdown(test.now, SECOND);
    assert_eq!(test.session.end(), Some(&End::Local));
    assert_eq!((test.sent(), test.session.poll_timeout(true)), (vec![], None));
    let mut test = Test::open();
    test.session.handle_shutdown(test.now, SECOND);
    test.session.handle_disconnect(test.now, cut());
    assert_eq!(test.failure(), &Failure::Disconnected(cut()));
}

#[test]
fn silence_without_a_socket_says_nothing() {
    let mut test = Test::open();
    test.session.handle_local_eof(test.now);
    test.wait(9 * SECOND);
    test.session.handle_disconnect(test.now, cut());
    test.wait(30 * SECOND);
    assert_eq!(test.session.end(), None);
    assert!(test.session.poll_reconnect(test.now).is_some());
    test.session.handle_reconnected(test.now);
    test.sent();
    test.wait(9 * SECOND);
    test.output_at(0, 2, b"the rest");
    assert_eq!(test.session.end(), None);
    assert_eq!(test.delivered(), b"the rest");
}

#[test]
fn what_is_sent_again_keeps_the_pace() {
    let mut test = Test::open();
    test.session.handle_local(test.now, &[7; LOCAL_CAP]);
    let mut first = test.sent().len();
    while first < 16 {
        test.wait(80 * MS);
        first += test.sent().len();
    }
    test.frame(FrameType::SYNC, pair(1, 1), b"");
    let begin = test.now;
    let mut again = Vec::new();
    while again.len() < 16 {
        let frames = test.sent();
        again.extend(frames.into_iter().map(|frame| (frame.sequence, frame.payload.len())));
        let Some(at) = test.session.poll_timeout(true) else { break };
        assert!(at > test.now || again.len() >= 16, "a deadline in the past");
        test.now = at;
        test.session.handle_timeout(at);
    }
    let numbers: Vec<_> = again.iter().take(16).map(|(sequence, _)| *sequence).collect();
    assert_eq!(numbers, (1..=16).map(|number| pair(number, 1)).collect::<Vec<_>>());
    // 32,768 bytes at 25,600 a second, of which a burst may be left.
    assert!(test.now - begin > 900 * MS, "{:?}", test.now - begin);
}

#[test]
fn what_has_come_is_told_although_there_is_nothing_else_to_say() {
    let mut test = Test::open();
    for number in 2..130 {
        test.output_at(0, number, &[0; 2048]);
        assert_eq!(test.delivered().len(), 2048);
        assert_eq!(test.sent_kinds().len(), usize::from(number == 129), "{number}");
    }
    test.session.handle_local_eof(test.now);
    for number in 130..258 {
        test.output_at(1, number, &[0; 2048]);
        test.delivered();
    }
    assert_eq!(test.sent_kinds(), [(FrameType::INPUT, pair(2, 257))], "also to who has said all");
}

#[test]
fn an_older_far_side_cannot_be_found_again() {
    let now = Instant::now();
    let mut session = Session::new(now, Config::new(1));
    let frame = Frame {
        kind: FrameType::OUTPUT,
        version: Version::V1_01,
        channel_id: Bytes::from_static(b"d-1"),
        instance_id: Bytes::new(),
        created_ms: 1,
        sequence: Sequence::Single(0),
        payload: Bytes::from_static(b"x"),
    };
    session.handle_frame(now, frame.encode().unwrap());
    session.handle_disconnect(now, cut());
    assert_eq!(session.end(), Some(&End::Failed(Failure::Disconnected(cut()))));
    assert_eq!(session.poll_reconnect(now + SECOND), None);
}

#[test]
fn a_normal_close_before_the_sync_is_answered_is_no_clean_end() {
    for is_answered in [false, true] {
        let mut test = Test::open();
        test.reconnect();
        if is_answered {
            test.output_at(0, 2, b"two");
        }
        // What the first socket has lost may have been the end of a download.
        test.session.handle_disconnect(test.now, closed(1000));
        let expected = match is_answered {
            true => End::Remote(RemoteEnd::WebSocket),
            false => End::Failed(Failure::Disconnected(closed(1000))),
        };
        assert_eq!(test.session.end(), Some(&expected));
    }
}
