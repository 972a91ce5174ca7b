//! Version 1.02: the end of a stream is its end once everything is there that is known to be missing.
//! What the sequences of Status and Close frames say is not published, and proves nothing.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;
use crate::status::Reason;

const EXIT: &[u8] = b"\x05Exit";

fn exit() -> End {
    End::Remote(RemoteEnd::Status(Reason::parse(b"Exit")))
}

fn lost(expected: u32, got: u32) -> End {
    End::Failed(Failure::Lost { expected, got })
}

impl Test {
    /// One that misses the second of three Outputs, and whose peer has said that it is over.
    fn over() -> Self {
        let mut test = Self::open();
        test.output_at(0, 3, b"three");
        assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))]);
        test.frame(FrameType::STATUS, pair(0, 0), EXIT);
        assert_eq!((test.sent_kinds(), test.session.end()), (vec![], None));
        test
    }
}

#[test]
fn what_is_missing_is_waited_for_before_the_end() {
    let mut test = Test::over();
    assert_eq!((test.session.local_room(), test.session.wants_remote()), (0, true));
    test.output_at(0, 2, b"two");
    assert_eq!(test.session.end(), None);
    test.output_at(0, 3, b"three");
    assert_eq!(test.session.end(), Some(&exit()));
    assert_eq!(test.delivered(), b"twothree");
    assert_eq!(test.sent_kinds(), [], "it has ended by itself");
    assert!(test.session.is_finished());

    // A Close is an end as well.
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    test.frame(FrameType::CLOSE, pair(0, 0), b"1");
    test.output_at(0, 2, b"two");
    test.output_at(0, 3, b"three");
    assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::Close)));
}

#[test]
fn what_does_not_come_in_the_end_is_a_failure() {
    let mut test = Test::over();
    test.session.handle_local_eof(test.now);
    test.wait(SECOND);
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))], "once more");
    test.output_at(0, 2, b"two");
    test.wait(SECOND * 3 / 2);
    assert_eq!(test.session.end(), None, "it was coming");
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 2))]);
    // That it is told again is nothing new.
    test.frame(FrameType::STATUS, pair(0, 0), EXIT);
    test.wait(SECOND / 2);
    assert_eq!(test.session.end(), Some(&lost(3, 3)));
    assert_eq!(test.sent_kinds(), [(FrameType::CLOSE, pair(0, 2))]);
    assert_eq!(test.delivered(), b"two");
    assert_eq!(test.session.poll_timeout(true), None);
}

#[test]
fn what_a_local_side_does_not_take_has_no_time_to_keep() {
    let mut test = Test::open();
    while test.session.wants_remote() {
        test.output_at(0, test.session.stream.inbound.received() + 1, &[0; 2048]);
    }
    let received = test.session.stream.inbound.received();
    test.output_at(0, received + 2, b"later");
    test.frame(FrameType::STATUS, pair(0, 0), EXIT);
    test.wait(100 * SECOND);
    assert_eq!(test.session.end(), None);
    assert!(!test.delivered().is_empty());
    test.wait(SECOND);
    test.output_at(0, received + 1, b"last");
    test.output_at(0, received + 2, b"later");
    assert_eq!(test.session.end(), Some(&exit()));

    // Nor is what is missing in the middle lost because it cannot be read.
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    test.session.stream.inbound.push(vec![0; DELIVER_CAP].into());
    for _ in 0..200 {
        test.wait(SECOND);
        test.sent();
    }
    assert_eq!(test.session.end(), None);
    assert_eq!(test.delivered().len(), DELIVER_CAP);
    test.output_at(0, 2, b"two");
    test.output_at(0, 3, b"three");
    assert_eq!(test.delivered(), b"twothree");
}

#[test]
fn the_sequences_of_statuses_prove_nothing() {
    for output in [0, 1, 2, 3, 17, 1 << 31, u32::MAX] {
        for (kind, payload) in [(FrameType::STATUS, EXIT), (FrameType::CLOSE, b"1")] {
            let mut test = Test::open();
            test.frame(kind, pair(0, output), payload);
            let end = match kind {
                FrameType::CLOSE => End::Remote(RemoteEnd::Close),
                _ => exit(),
            };
            assert_eq!(test.session.end(), Some(&end), "{kind:?}, {output}");
        }
        let mut test = Test::open();
        test.frame(FrameType::STATUS, pair(output, output), &[7, 0, 0, 255]);
        test.wait(40 * SECOND);
        assert_eq!((test.sent_kinds(), test.session.end()), (vec![], None), "{output}");
        test.output_at(0, 2, b"two");
        assert_eq!(test.delivered(), b"two");
    }
    // What fails fails at once.
    let mut test = Test::over();
    test.frame(FrameType::STATUS, pair(0, 3), b"\x05SessionTimeout");
    assert!(matches!(test.failure(), Failure::Ended(_)));
}

#[test]
fn a_socket_that_is_closed_before_the_rest_has_come_is_a_failure() {
    for code in [1000, 1008, 1011] {
        let mut test = Test::over();
        test.session.handle_disconnect(test.now, closed(code));
        assert_eq!(test.session.end(), Some(&lost(2, 3)), "{code}");
        let mut test = Test::open();
        test.output_at(0, 3, b"three");
        test.session.handle_disconnect(test.now, closed(code));
        match code {
            1000 => assert_eq!(test.session.end(), Some(&lost(2, 3))),
            _ => assert_eq!(test.failure(), &Failure::Disconnected(closed(code))),
        }
    }
}

/// One that lingers gives its place to another session once it is quiet.
#[test]
fn one_that_lingers_may_be_ended_for_another() {
    let half = SECOND / 2;
    let mut test = Test::open();
    test.session.handle_local(test.now, b"question");
    test.sent();
    test.wait(half);
    test.output_at(1, 2, b"answer");
    assert_eq!(test.session.may_yield_at(), None, "its local side is still there");
    test.session.handle_local_eof(test.now);
    assert_eq!(test.session.may_yield_at(), None, "its answer is still to be delivered");
    test.delivered();
    assert_eq!(test.session.may_yield_at(), Some(test.now + SECOND));
    test.session.handle_yield(test.now);
    assert_eq!(test.session.end(), None, "it is too early");
    test.wait(half);
    test.output_at(1, 3, b"more");
    test.delivered();
    assert_eq!(test.session.may_yield_at(), Some(test.now + SECOND), "it is not quiet");
    test.wait(SECOND);
    test.session.handle_yield(test.now);
    assert_eq!(test.session.end(), Some(&End::Local));
    assert_eq!(test.session.may_yield_at(), None);
}

#[test]
fn the_rest_may_come_over_another_socket() {
    let mut test = Test::over();
    test.session.handle_disconnect(test.now, cut());
    assert_eq!(test.session.end(), None);
    test.reconnects_after();
    test.session.handle_reconnected(test.now);
    assert_eq!(test.sent_kinds(), [(FrameType::SYNC, pair(0, 1))]);
    test.frame(FrameType::STATUS, pair(0, 3), &[3]);
    test.output_at(0, 2, b"two");
    test.output_at(0, 3, b"three");
    assert_eq!(test.session.end(), Some(&exit()), "nobody has to say so again");

    let mut test = Test::over();
    test.reconnect();
    test.sent();
    test.wait(2 * SECOND);
    assert_eq!(test.session.end(), Some(&lost(2, 3)));

    let mut test = Test::over();
    test.session.handle_disconnect(test.now, cut());
    test.reconnects_after();
    test.session.handle_not_reconnected(test.now, "HTTP 403".into(), true);
    assert_eq!(test.session.end(), Some(&lost(2, 3)));
}

/// The new socket loses what would tell of it again, or takes no Sync.
#[test]
fn what_was_missing_on_the_old_socket_is_missing_on_the_new_one() {
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    test.reconnect();
    test.sent();
    test.frame(FrameType::STATUS, pair(0, 4), b"\x05Exit");
    assert_eq!(test.session.end(), None);
    test.pass(6 * SECOND);
    assert_eq!(test.session.end(), Some(&lost(2, 3)));

    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    test.reconnect();
    test.session.handle_local_eof(test.now);
    test.session.handle_socket_blocked(test.now);
    test.wait(60 * SECOND);
    assert_eq!(test.session.end(), Some(&lost(2, 3)));
}

#[test]
fn nothing_is_sent_to_a_far_side_that_is_over() {
    let mut test = Test::open();
    test.session.handle_local(test.now, &[7; LOCAL_CAP]);
    test.sent();
    test.output_at(0, 3, b"three");
    test.frame(FrameType::STATUS, pair(0, 0), EXIT);
    for _ in 0..3 {
        let kinds = test.sent_kinds();
        assert!(kinds.iter().all(|(kind, _)| *kind == FrameType::SYNC), "{kinds:?}");
        test.wait(SECOND * 3 / 5);
    }
    test.session.handle_shutdown(test.now, SECOND);
    assert_eq!(test.sent_kinds().last().unwrap().0, FrameType::CLOSE);
    assert_eq!(test.session.end(), Some(&End::Local), "nobody waits for it");
}

#[test]
fn quiet_is_no_end_while_something_is_to_be_sent_again() {
    let mut test = Test::open();
    test.output_at(0, 3, b"three");
    test.session.handle_local_eof(test.now);
    for _ in 0..50 {
        test.wait(SECOND);
        test.sent();
    }
    assert_eq!(test.session.end(), None, "it knows of bytes that it has not got");

    let mut test = Test::open();
    let mut written = 0;
    while written < 600_000 {
        let room = test.session.local_room();
        test.session.handle_local(test.now, &vec![7; room]);
        written += room;
        test.sent();
        test.wait(SECOND);
    }
    test.drain();
    test.session.handle_local_eof(test.now);
    test.reconnect();
    test.sent();
    let mut again = 0;
    let begin = test.now;
    while test.session.stream.outbound.is_retransmitting() && test.now - begin < 60 * SECOND {
        test.wait(SECOND / 50);
        again += test.sent().iter().map(|frame| frame.payload.len()).sum::<usize>();
        assert_eq!(test.session.end(), None);
    }
    assert!(again >= written, "{again} of {written} bytes were sent again");
    test.output_at(test.session.stream.outbound.last_sequence(), 2, b"");
    test.wait(11 * SECOND);
    assert_eq!(test.session.end(), Some(&End::Local), "and then it is quiet");
}

/// What acknowledges all of an upload is an Output without bytes, and the target's answer may follow it.
#[test]
fn linger_begins_with_the_acknowledgement_of_an_agent_that_was_slow() {
    let mut test = Test::open();
    test.local(b"one");
    test.sent();
    test.output_at(test.session.stream.outbound.last_sequence(), 2, b"");
    test.local(b"two");
    test.sent();
    test.session.handle_local_eof(test.now);
    test.wait(15 * SECOND);
    assert_eq!(test.session.end(), None, "it is acknowledged to those who wait");
    test.output_at(test.session.stream.outbound.last_sequence(), 3, b"");
    test.wait(9 * SECOND);
    assert_eq!(test.session.end(), None);
    test.wait(2 * SECOND);
    assert_eq!(test.session.end(), Some(&End::Local));
}

/// An agent that acknowledges without its target, and stops, has not taken the rest.
#[test]
fn what_an_acknowledging_agent_does_not_acknowledge_has_not_arrived() {
    for by_empty in [true, false] {
        let mut test = Test::open();
        test.inputs(3);
        test.output_at(1, 2, if by_empty { b"" } else { b"more" });
        test.delivered();
        test.session.handle_local_eof(test.now);
        // The gateway has taken all of it.
        for _ in 0..100 {
            test.pass(SECOND);
            let ping = test.session.poll_ping(test.now);
            ping.iter().for_each(|ping| test.session.handle_pong(test.now, ping));
        }
        match test.session.end() {
            Some(End::Failed(Failure::NotArrived { bytes })) if by_empty => assert_eq!(*bytes, 2),
            Some(End::Local) if !by_empty => {}
            end => panic!("by an empty Output: {by_empty}, {end:?}"),
        }
    }
}
