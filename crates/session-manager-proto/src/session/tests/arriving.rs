//! What is known to have arrived, and what waits for that.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;

/// What may be under way at the default limit, and a second of it.
const INFLIGHT: usize = 12_800;
const A_SECOND: usize = 25_600;

impl Test {
    /// One whose peer answers pings, at once.
    fn answering() -> Self {
        let mut test = Self::open();
        test.ping();
        test
    }

    fn ping(&mut self) {
        let payload = self.session.ping(self.now);
        self.session.handle_pong(self.now, &payload);
    }

    /// Sends what it can for so long, and asks what it wants to ask: how many bytes that were.
    fn copy(&mut self, time: Duration) -> (usize, Vec<Bytes>) {
        let until = self.now + time;
        let (mut bytes, mut pings) = (0, Vec::new());
        loop {
            let room = self.session.local_room();
            self.session.handle_local(self.now, &vec![7; room]);
            bytes += self.sent().iter().map(|frame| frame.payload.len()).sum::<usize>();
            pings.extend(self.session.poll_ping(self.now));
            if self.now >= until {
                return (bytes, pings);
            }
            self.now += MS;
            self.session.handle_timeout(self.now);
        }
    }

    fn until_it_waits(&mut self) -> Vec<Bytes> {
        let (bytes, pings) = self.copy(3 * SECOND);
        assert_eq!(bytes, INFLIGHT);
        assert!(pings.len() >= 3, "{pings:?}");
        pings
    }
}

#[test]
fn what_waits_goes_on_with_an_answer_to_the_last_ping() {
    let mut test = Test::answering();
    let pings = test.until_it_waits();
    assert_eq!(test.session.poll_timeout(true).map(|at| at > test.now), Some(true));
    assert_eq!(test.copy(20 * SECOND).0, 0, "it takes as long as it takes");
    test.session.handle_pong(test.now, pings.last().unwrap());
    // All of it may have come just now.
    assert_eq!(test.copy(SECOND).0, A_SECOND - INFLIGHT);
    let events: Vec<_> = std::iter::from_fn(|| test.session.poll_event()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::HeldUp(_))), "{events:?}");
}

#[test]
fn what_waits_goes_on_with_an_acknowledgement() {
    let mut test = Test::answering();
    test.until_it_waits();
    let sent = test.session.stream.outbound.last_sequence();
    test.output_at(sent, 2, b"x");
    assert_eq!(test.copy(SECOND).0, A_SECOND - INFLIGHT);
    // That of one that was sent again says nothing of when it came.
    let mut test = Test::answering();
    test.inputs(3);
    test.frame(FrameType::SYNC, pair(1, 1), b"");
    assert_eq!(test.sent_kinds().len(), 3);
    assert_eq!(test.session.stream.outbound.last_new_input(), None);
}

/// What a gateway has not read for a while cannot have got any further when the target ends the stream.
/// Before the local end of file it may be a request on a connection that was idle.
#[test]
fn what_the_gateway_has_not_read_at_the_end_was_not_sent() {
    for (is_closed, is_asked, waited, not_sent) in [
        (true, true, 2 * SECOND, 5_000),
        (true, true, 2 * SECOND - MS, 0),
        (true, false, 2 * SECOND, 0),
        (false, true, 2 * SECOND, 0),
    ] {
        let mut test = Test::answering();
        test.local(&[7; 5_000]);
        if is_closed {
            test.session.handle_local_eof(test.now);
        }
        assert_eq!(payloads(&test.sent()).len(), 5_000);
        if is_asked {
            test.session.ping(test.now);
        }
        test.now += waited;
        test.output_at(0, 2, b"bye");
        test.frame(FrameType::STATUS, pair(0, 0), b"\x05Exit");
        assert!(matches!(test.session.end(), Some(End::Remote(_))));
        assert_eq!(test.delivered(), b"bye");
        assert_eq!(test.session.not_sent(test.now), not_sent, "{is_closed} {is_asked} {waited:?}");
    }
}

/// While the local side takes nothing no answer is read: it is not missed before it could have come.
#[test]
fn what_nobody_could_hear_is_not_missed_at_the_end() {
    for blocked in [false, true] {
        let mut test = Test::answering();
        test.local(&[7; 5_000]);
        test.session.handle_local_eof(test.now);
        assert_eq!(payloads(&test.sent()).len(), 5_000);
        let ping = test.session.ping(test.now);
        for number in 2.. {
            test.output_at(0, number, &[7; 2048]);
            if !test.session.wants_remote() {
                break;
            }
        }
        if blocked {
            test.session.handle_socket_blocked(test.now);
        }
        test.pass(300 * SECOND);
        test.session.handle_timeout(test.now);
        assert_eq!(test.session.end(), None);
        test.delivered();
        test.session.handle_timeout(test.now);
        assert_eq!(test.session.end(), None);
        test.pass(64 * SECOND);
        assert_eq!(test.session.end(), None);
        test.session.handle_socket_drained(test.now);
        test.session.handle_pong(test.now, &ping);
        assert_eq!((test.session.arrived(), test.session.end()), (Arrived::Yes, None));
    }
}

#[test]
fn keepalives_pass_and_it_is_asked_again_while_something_waits() {
    let mut test = Test::answering();
    test.until_it_waits();
    let (mut empty, mut pings) = (0, 0);
    for _ in 0..600 {
        test.wait(SECOND / 10);
        let sent = test.sent();
        assert!(sent.iter().all(|frame| frame.payload.is_empty()));
        empty += sent.iter().filter(|frame| frame.kind == FrameType::INPUT).count();
        pings += usize::from(test.session.poll_ping(test.now).is_some());
    }
    assert_eq!(empty, 1);
    assert!((25..=30).contains(&pings), "{pings}");
}

#[test]
fn a_far_side_that_has_never_answered_is_not_waited_for() {
    let mut test = Test::open();
    let (bytes, pings) = test.copy(10 * SECOND);
    assert!(bytes > 9 * A_SECOND, "{bytes}");
    assert!(pings.len() <= 8);
}

#[test]
fn the_first_ping_follows_a_few_frames_whatever_the_limit() {
    let mut test = Test::open();
    test.status(&[7, 4, 0, 0, 0]);
    test.wait(SECOND);
    test.local(&[7; LOCAL_CAP]);
    let mut frames = 0;
    while test.session.poll_ping(test.now).is_none() {
        assert!(test.session.poll_transmit(test.now).is_some());
        frames += 1;
    }
    assert_eq!(frames, 6, "five frames, and one that shows that there is more");
}

#[test]
fn a_far_side_that_answers_no_more_is_waited_for_half_a_minute() {
    let mut test = Test::answering();
    test.until_it_waits();
    // It is away for a while, and then says other things.
    test.wait(20 * SECOND);
    for number in 2..27 {
        test.output_at(0, number, b"alive");
        assert_eq!(test.copy(SECOND).0, 0);
    }
    test.session.handle_activity(test.now);
    let (bytes, pings) = test.copy(5 * SECOND);
    assert!(bytes > 4 * A_SECOND, "{bytes}");
    assert_eq!(pings, Vec::<Bytes>::new());
    let events: Vec<_> = std::iter::from_fn(|| test.session.poll_event()).collect();
    assert!(events.contains(&Event::Unanswered), "{events:?}");
}

#[test]
fn what_is_not_read_is_not_waited_for() {
    let mut test = Test::answering();
    test.until_it_waits();
    // A local side that takes nothing: the answers are there, and cannot be read.
    while test.session.wants_remote() {
        test.output_at(0, test.session.stream.inbound.received() + 1, &[0; 2048]);
    }
    let (bytes, pings) = test.copy(5 * SECOND);
    assert!(bytes > 4 * A_SECOND, "{bytes}");
    assert_eq!(pings, Vec::<Bytes>::new(), "nor is it asked");
    // It takes something again, and everything is as it was.
    assert!(!test.delivered().is_empty());
    test.ping();
    let (bytes, pings) = test.copy(5 * SECOND);
    assert!(bytes <= A_SECOND, "{bytes}");
    assert!(!pings.is_empty());
}

#[test]
fn another_socket_is_another_way() {
    let mut test = Test::answering();
    test.until_it_waits();
    test.session.handle_disconnect(test.now, cut());
    assert_eq!(
        (test.session.poll_ping(test.now), test.session.poll_ping_timeout(test.now)),
        (None, None)
    );
    test.reconnects_after();
    test.session.handle_reconnected(test.now);
    let sent = test.session.stream.outbound.last_sequence();
    test.frame(FrameType::SYNC, pair(sent + 1, 1), b"");
    // What was under way may have come last thing.
    assert_eq!(test.copy(SECOND).0, A_SECOND - INFLIGHT);
    assert!(test.copy(5 * SECOND).0 > 4 * A_SECOND, "the new one has not answered yet");
}

#[test]
fn what_waits_to_be_sent_again_is_no_quiet() {
    let mut test = Test::open();
    test.copy(2 * SECOND);
    test.drain();
    test.session.handle_local_eof(test.now);
    test.reconnect();
    test.ping();
    test.frame(FrameType::SYNC, pair(1, 1), b"");
    for _ in 0..30 {
        test.wait(SECOND);
        test.sent();
    }
    assert!(test.session.stream.outbound.is_retransmitting(), "it waits for an answer");
    assert_eq!(test.session.end(), None);
}

#[test]
fn an_agent_that_does_not_acknowledge_is_asked_after_a_minute_and_told_of() {
    let syncs = |test: &mut Test| {
        let kinds = test.sent_kinds();
        kinds.into_iter().filter(|(kind, _)| *kind == FrameType::SYNC).count()
    };
    let mut test = Test::open();
    test.inputs(2);
    test.output_at(2, 2, b"answer");
    assert_eq!(test.delivered(), b"answer");
    test.inputs(1);
    test.wait(59 * SECOND);
    assert_eq!(syncs(&mut test), 0);
    test.wait(SECOND);
    assert_eq!(syncs(&mut test), 1);
    test.wait(9 * SECOND);
    let no_answer = |event: &Event| matches!(event, Event::NoAnswer(_));
    assert!(!std::iter::from_fn(|| test.session.poll_event()).any(|event| no_answer(&event)));
    test.wait(SECOND);
    assert!(std::iter::from_fn(|| test.session.poll_event()).any(|event| no_answer(&event)));
    assert_eq!(test.session.end(), None);
}
