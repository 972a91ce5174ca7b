//! One stream from its opening to its end, in both versions.

use super::*;

#[test]
fn an_ssh_client_waits_for_its_server_and_not_a_moment_longer() {
    let mut test = Test::new(|_| {});
    test.local(b"SSH-2.0-client\r\n");
    test.status(&[0]);
    test.status(&[1]);
    test.status(&[3]);
    assert_eq!(test.pass(8 * SECOND), [], "an older agent would drop it");
    test.output(BANNER);
    assert_eq!(payloads(&test.sent()), b"SSH-2.0-client\r\n");
    assert_eq!(test.delivered(), BANNER);
}

#[test]
fn a_server_known_to_speak_first_is_waited_for_before_the_client_has_spoken() {
    let mut test = Test::new(|config| config.server_first = true);
    test.status(&[3]);
    test.pass(3 * SECOND);
    test.local(b"SSH-2.0-client\r\n");
    assert_eq!(test.sent(), []);
    test.local(b"x");
    test.output(BANNER);
    assert_eq!(payloads(&test.sent()), b"SSH-2.0-client\r\nx");
}

#[test]
fn bytes_for_a_server_that_does_not_speak_wait_a_while_after_opened() {
    let mut test = Test::new(|_| {});
    test.local(b"GET / HTTP/1.1\r\n");
    test.pass(200 * MS);
    test.status(&[3]);
    assert_eq!(test.pass(1499 * MS), []);
    assert_eq!(payloads(&test.pass(MS)), b"GET / HTTP/1.1\r\n");
}

#[test]
fn an_agent_that_says_twice_that_it_has_joined_delays_nothing() {
    let mut test = Test::new(|_| {});
    test.local(b"PING");
    test.status(&[3]);
    test.pass(SECOND);
    test.status(&[3]);
    assert_eq!(payloads(&test.pass(500 * MS)), b"PING");
}

#[test]
fn without_any_status_bytes_wait_three_seconds() {
    let mut test = Test::new(|_| {});
    test.local(b"PING\r\n");
    test.status(b"\x07\x19\x00\x00");
    assert_eq!(test.pass(2999 * MS), []);
    assert_eq!(payloads(&test.pass(MS)), b"PING\r\n");
}

#[test]
fn the_wait_can_be_set() {
    let mut test = Test::new(|config| config.ready_delay = Duration::ZERO);
    test.local(b"PING\r\n");
    test.status(&[1]);
    assert_eq!(test.pass(5 * SECOND), []);
    test.status(&[3]);
    assert_eq!(payloads(&test.pass(Duration::ZERO)), b"PING\r\n");
}

#[test]
fn a_session_that_does_not_open_fails_after_fifteen_seconds() {
    for (statuses, local) in [(&[0, 1][..], &b"PING"[..]), (&[0], b"SSH-2.0"), (&[], b"SSH-2.0")] {
        let mut test = Test::new(|_| {});
        test.local(local);
        for state in statuses {
            test.status(&[*state]);
        }
        assert_eq!(test.pass(14_999 * MS), []);
        assert_eq!(test.session.end(), None);
        assert_eq!(kinds(&test.pass(MS)), [FrameType::CLOSE]);
        let progress = !statuses.is_empty();
        let failure = Failure::NotOpened { waited: 15 * SECOND, progress };
        assert_eq!(test.session.end(), Some(&End::Failed(failure)));
        assert!(test.session.is_finished());
        assert_eq!(test.session.poll_timeout(true), None);
    }
}

#[test]
fn an_ssh_server_that_does_not_speak_gets_the_client_s_line_in_the_end() {
    let mut test = Test::new(|_| {});
    test.local(b"SSH-2.0-client\r\n");
    test.status(&[3]);
    let sent = test.pass(15 * SECOND);
    assert_eq!(payloads(&sent), b"SSH-2.0-client\r\n");
    assert_eq!(test.session.end(), None);
}

#[test]
fn frames_are_filled_paced_and_numbered_and_the_limit_changes_at_once() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.local(&[7; LOCAL_CAP]);
    assert_eq!(test.session.local_room(), 0);
    let burst = test.sent();
    assert_eq!(burst.iter().map(|frame| frame.payload.len()).collect::<Vec<_>>(), [2048; 4]);
    let numbers: Vec<_> = burst.iter().map(|frame| frame.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4].map(Sequence::Single));
    assert!(burst.iter().all(|frame| frame.channel_id.is_empty()));
    assert_eq!(test.session.local_room(), 4 * 2048);
    assert_eq!(test.pass(80 * MS).len(), 1, "2,048 bytes take 80 ms at 200 kbit/s");
    test.status(b"\x07\xff\xff\xff\xff");
    assert!(test.pass(MS).len() >= 4);
    assert_eq!(test.events().last(), Some(&Event::Limit(0xffff_ffff)));
}

#[test]
fn silence_is_broken_every_fifty_seconds_but_not_once_the_local_side_is_done() {
    let mut test = Test::new(|config| config.linger = 1000 * SECOND);
    test.output(BANNER);
    let sent = test.pass(49_999 * MS);
    assert_eq!(sent, []);
    let sent = test.pass(150 * SECOND);
    assert_eq!(kinds(&sent), [FrameType::INPUT; 3]);
    assert!(sent.iter().all(|frame| frame.payload.is_empty()));
    test.local(b"x");
    assert_eq!(test.sent().len(), 1);
    assert_eq!(test.pass(49 * SECOND), []);
    test.session.handle_local_eof(test.now);
    assert_eq!(test.pass(500 * SECOND), []);

    let mut test = Test::new(|config| config.keepalive = Keepalive::Never);
    test.output(BANNER);
    assert_eq!(test.pass(1000 * SECOND), []);
}

#[test]
fn after_the_local_end_of_file_what_comes_is_delivered_until_it_is_quiet() {
    let mut test = Test::new(|_| {});
    test.local(b"GET");
    test.session.handle_local_eof(test.now);
    assert_eq!(test.session.local_room(), 0);
    test.status(&[3]);
    assert_eq!(payloads(&test.pass(2 * SECOND)), b"GET");
    for _ in 0..5 {
        test.pass(9 * SECOND);
        test.output(b"line\n");
        assert_eq!(test.delivered(), b"line\n");
    }
    assert_eq!(test.pass(9_999 * MS), []);
    assert_eq!(kinds(&test.pass(MS)), [FrameType::CLOSE]);
    assert_eq!(test.session.end(), Some(&End::Local));
}

#[test]
fn a_reader_that_takes_its_time_is_not_taken_for_a_quiet_far_side() {
    let mut test = Test::new(|config| config.idle_timeout = Some(20 * SECOND));
    test.output(b"answer");
    test.session.handle_local_eof(test.now);
    test.pass(500 * SECOND);
    assert_eq!(test.session.end(), None);
    assert_eq!(test.delivered(), b"answer");
    test.pass(20 * SECOND);
    assert_eq!(test.session.end(), Some(&End::Local));

    let mut test = Test::new(|config| config.linger = Duration::ZERO);
    test.output(b"answer");
    test.session.handle_local_eof(test.now);
    test.session.handle_timeout(test.now);
    assert!(test.session.poll_timeout(true) > Some(test.now), "it is not looked at without end");
    assert_eq!((test.delivered(), test.pass(SECOND).len()), (b"answer".to_vec(), 1));
    assert_eq!(test.session.end(), Some(&End::Local));
}

#[test]
fn a_second_identification_line_is_the_end() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.output(b"key exchange");
    test.output(BANNER);
    assert_eq!(test.delivered(), [BANNER, b"key exchange"].concat());
    assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::Redialled)));
    assert_eq!(test.sent(), [], "a Close could make it dial once more");
    assert!(test.session.is_finished());

    let mut test = Test::new(|_| {});
    test.output(b"a file about ssh\n");
    for _ in 0..3 {
        test.output(BANNER);
    }
    assert_eq!(test.session.end(), None, "it is no SSH stream");
}

#[test]
fn what_only_looked_like_a_second_line_is_delivered_with_the_end() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.output(b"SSH-2");
    assert_eq!(test.delivered(), BANNER);
    test.status(b"\x05Exit");
    assert_eq!(test.delivered(), b"SSH-2");
}

#[test]
fn endings_are_normal_or_tell_why() {
    let ended = |reason: &str| Failure::Ended(Reason::parse(reason.as_bytes()));
    let normal = |reason: &str| RemoteEnd::Status(Reason::parse(reason.as_bytes()));
    for (status, end) in [
        (&b"\x05Exit"[..], End::Remote(normal("Exit"))),
        (b"\x06", End::Remote(normal(""))),
        (b"\x05ReadFromTargetPortFailed", End::Remote(normal("ReadFromTargetPortFailed"))),
        (b"\x05FlowExceedLimit", End::Failed(ended("FlowExceedLimit"))),
        (b"\x06IdleTimeout", End::Failed(ended("IdleTimeout"))),
        (b"\x02no agent", End::Failed(Failure::Aborted("no agent".into()))),
        (b"\x08restart", End::Failed(Failure::Frozen)),
    ] {
        let mut test = Test::new(|_| {});
        test.output(b"the last words");
        test.status(status);
        test.output(b"too late");
        test.local(b"too late");
        assert_eq!(test.session.end(), Some(&end));
        assert_eq!((test.session.local_room(), test.session.wants_remote()), (0, false));
        assert!(!test.session.is_finished(), "something is still to be delivered");
        assert_eq!(test.delivered(), b"the last words");
        assert!(test.session.is_finished());
        assert_eq!(test.pass(100 * SECOND), []);
    }
}

#[test]
fn a_websocket_that_goes_is_an_end_or_a_failure() {
    let closed = |code| Disconnect::Closed { code, text: String::new() };
    let begin = |test: &mut Test| test.status(&[3]);
    for (begun, how, normal) in [
        (true, closed(Some(1000)), true),
        (true, closed(None), true),
        (false, closed(Some(1000)), false),
        (true, closed(Some(1001)), false),
        (true, closed(Some(1011)), false),
        (true, Disconnect::Broken("reset".into()), false),
    ] {
        let mut test = Test::new(|_| {});
        if begun {
            begin(&mut test);
        }
        test.session.handle_disconnect(test.now, how.clone());
        let failed = End::Failed(Failure::Disconnected(how));
        let end = if normal { End::Remote(RemoteEnd::WebSocket) } else { failed };
        assert_eq!(test.session.end(), Some(&end));
        assert!(test.session.is_finished());
    }
}

#[test]
fn what_is_no_frame_ends_the_session_and_the_far_side_is_told() {
    let mut test = Test::new(|_| {});
    test.output(b"before");
    test.session.handle_frame(test.now, Bytes::from_static(b"garbled"));
    let end = test.session.end().cloned();
    assert!(matches!(end, Some(End::Failed(Failure::Malformed(_)))), "{end:?}");
    assert_eq!(kinds(&test.sent()), [FrameType::CLOSE]);
    assert_eq!(test.delivered(), b"before");

    let mut test = Test::new(|_| {});
    test.session.handle_violation("a text message");
    assert_eq!(kinds(&test.sent()), [FrameType::CLOSE]);
    let failure = Failure::NotAFrame("a text message".into());
    assert_eq!(test.session.end(), Some(&End::Failed(failure)));
}

#[test]
fn what_is_not_known_is_skipped_and_a_gap_is_told_once() {
    let mut test = Test::new(|_| {});
    test.frame(FrameType(9), Sequence::Single(0), b"new");
    test.status(&[77]);
    test.output(b"a");
    test.outputs += 2;
    test.output(b"b");
    test.outputs += 2;
    test.output(b"c");
    assert_eq!(test.delivered(), b"abc");
    assert_eq!(test.session.end(), None);
    let events = test.events();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Skipped(_))).count(), 2);
    let gaps: Vec<_> = events.iter().filter(|event| matches!(event, Event::Gap { .. })).collect();
    assert_eq!(gaps, [&Event::Gap { expected: 1, got: 3 }]);
}

#[test]
fn a_shutdown_sends_what_is_queued_within_its_grace() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.local(&[1; 3 * 2048]);
    test.session.handle_shutdown(test.now, SECOND);
    let sent = test.sent();
    assert_eq!(payloads(&sent).len(), 3 * 2048 + 1);
    assert_eq!(sent.last().unwrap().kind, FrameType::CLOSE);
    assert_eq!(test.session.end(), Some(&End::Local));

    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.status(&[7, 8]);
    test.local(&[1; 3 * 2048]);
    test.session.handle_shutdown(test.now, SECOND);
    let sent = test.pass(10 * SECOND);
    assert_eq!(sent.last().unwrap().kind, FrameType::CLOSE);
    assert!(payloads(&sent).len() < 100);
    assert_eq!(test.session.end(), Some(&End::Local));

    let mut test = Test::new(|_| {});
    test.local(b"never ready");
    test.session.handle_shutdown(test.now, SECOND);
    assert_eq!(kinds(&test.sent()), [FrameType::CLOSE], "nobody listens yet");
}

#[test]
fn when_nobody_takes_the_output_it_is_dropped_and_the_session_closed() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.local(b"last words");
    test.session.handle_local_gone(test.now, SECOND);
    assert_eq!(test.delivered(), b"");
    assert_eq!(kinds(&test.sent()), [FrameType::INPUT, FrameType::CLOSE]);
    assert!(test.session.is_finished());
}

#[test]
fn a_full_queue_stops_the_read_that_feeds_it() {
    let mut test = Test::new(|_| {});
    while test.session.wants_remote() {
        test.output(&[1; 2048]);
    }
    assert_eq!(test.delivered().len(), DELIVER_CAP);
    while test.session.wants_remote() {
        test.output(&[1]);
    }
    assert_eq!(test.delivered().len(), DELIVER_PIECES);
    assert!(test.session.wants_remote());
}

#[test]
fn an_idle_session_is_ended_when_the_user_asks_for_it() {
    let mut test = Test::new(|config| config.idle_timeout = Some(60 * SECOND));
    test.output(BANNER);
    assert_eq!(test.delivered(), BANNER);
    test.pass(50 * SECOND);
    test.local(b"x");
    test.pass(59 * SECOND);
    assert_eq!(test.session.end(), None);
    test.pass(SECOND);
    assert_eq!(test.elapsed(), 110 * SECOND);
    assert_eq!(test.session.end(), Some(&End::Failed(Failure::Idle(60 * SECOND))));
}

/// An agent of 1.02 acknowledges by an empty Output, a keepalive too: that is nothing of the target's.
#[test]
fn an_output_without_bytes_is_no_activity_of_the_target() {
    let mut test = Test::new(|config| config.idle_timeout = Some(60 * SECOND));
    test.version = Version::V1_02;
    test.status(&[3]);
    for number in 1..=6 {
        test.output_at(0, number, b"");
        test.pass(10 * SECOND);
    }
    assert!(!test.session.has_output());
    assert_eq!(test.session.end(), Some(&End::Failed(Failure::Idle(60 * SECOND))));
}

#[test]
fn a_newer_version_is_spoken_when_the_far_side_does() {
    let mut test = Test::new(|_| {});
    test.local(b"SSH-2.0-client\r\n");
    test.frame(FrameType::STATUS, pair(0, 0), &[3]);
    test.frame(FrameType::OUTPUT, pair(0, 1), BANNER);
    test.frame(FrameType::OUTPUT, pair(0, 1), BANNER);
    test.frame(FrameType::OUTPUT, pair(0, 2), b"more");
    assert_eq!(test.delivered(), [BANNER, b"more"].concat(), "the duplicate was dropped");
    let sent = test.sent();
    assert_eq!(sent[0].version, Version::V1_02);
    assert_eq!(sent[0].channel_id, "d-1");
    assert_eq!(sent[0].sequence, pair(1, 2));
    test.frame(FrameType::SYNC, pair(2, 2), b"");
    assert_eq!(test.session.end(), None);
}

#[test]
fn a_newer_version_is_spoken_from_when_the_far_side_does() {
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    test.local(b"x");
    assert_eq!(test.sent()[0].version, Version::V1_01);
    test.frame(FrameType::OUTPUT, pair(1, 1), b"newer");
    test.local(b"y");
    let sent = test.sent();
    assert_eq!((sent[0].version, sent[0].sequence), (Version::V1_02, pair(2, 1)));
    assert_eq!(test.delivered(), [BANNER, b"newer"].concat());
    test.output(b"older again");
    test.local(b"z");
    assert_eq!(test.sent()[0].version, Version::V1_02);
}

#[test]
fn an_ssh_stream_is_known_by_its_first_bytes_however_they_come() {
    for first in [&[&b"S"[..], b"SH", b"-2.0-x\r\n"][..], &[b"", b"SSH-2.0-x\r\n"]] {
        let mut test = Test::new(|_| {});
        first.iter().for_each(|piece| test.output(piece));
        test.output(BANNER);
        assert_eq!(test.delivered(), b"SSH-2.0-x\r\n");
        assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::Redialled)));
    }
    let mut test = Test::new(|_| {});
    test.local(b"SSH-2.0-client\r\n");
    for piece in [&b"a notice\r\n"[..], BANNER, b"key exchange", BANNER] {
        test.output(piece);
    }
    assert_eq!(test.delivered(), [b"a notice\r\n", BANNER, b"key exchange"].concat());
    let mut test = Test::new(|_| {});
    for piece in [&b"SS"[..], b"L? no", BANNER, BANNER, b"SSH-"] {
        test.output(piece);
    }
    assert_eq!(test.delivered(), [b"SSL? no", BANNER, BANNER, b"SSH-"].concat());
}

#[test]
fn only_the_text_of_a_status_is_redacted() {
    let redact = |text: &str| text.replace("token", "…");
    let mut test = Test::new(|_| {});
    let mut take = |kind, payload: &[u8]| {
        let frame = Frame {
            kind,
            version: Version::V1_01,
            channel_id: Bytes::from_static(b"token"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence: Sequence::Single(0),
            payload: Bytes::copy_from_slice(payload),
        };
        test.session.handle_frame_redacted(test.now, frame.encode().unwrap(), redact);
    };
    for payload in [&b"\x07token"[..], b"\x03token", b"\xff\xfe", b""] {
        take(FrameType::STATUS, payload);
    }
    take(FrameType::OUTPUT, b"\x05token");
    take(FrameType::STATUS, b"\x05Notified: token of x");
    assert_eq!(test.delivered(), b"\x05token");
    let Some(End::Remote(RemoteEnd::Status(reason))) = test.session.end() else { panic!() };
    assert_eq!(reason.text(), "Notified: … of x");
}
