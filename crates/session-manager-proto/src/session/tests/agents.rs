//! The four generations of agents: when bytes may be sent, how a session is kept open, and how a
//! second connection to the target is noticed.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;
use crate::status::Reason;

const ALL: [Option<Generation>; 5] =
    [None, Some(Generation::A), Some(Generation::B), Some(Generation::C), Some(Generation::D)];
const GREETING: &[u8] = b"5.7.1-db greeting 1\n";

fn with(agent: Option<Generation>, change: impl FnOnce(&mut Config)) -> Test {
    let mut test = Test::new(change);
    if let Some(agent) = agent {
        test.session.handle_agent(test.now, agent);
    }
    test
}

/// One whose server has greeted, and whose client has asked and was answered.
fn greeted(agent: Option<Generation>, keepalive: Keepalive) -> Test {
    let mut test = with(agent, |config| config.keepalive = keepalive);
    test.status(&[3]);
    test.output(GREETING);
    test.local(b"hello");
    test.sent();
    test.output(b"ok");
    assert_eq!(test.delivered(), [GREETING, b"ok"].concat());
    test
}

fn always(seconds: u64) -> Keepalive {
    Keepalive::Always(Duration::from_secs(seconds))
}

#[test]
fn bytes_are_sent_at_opened_to_agents_that_keep_them() {
    for agent in ALL {
        let mut test = with(agent, |_| {});
        test.local(b"PING");
        test.pass(300 * MS);
        test.status(&[3]);
        let holds = agent.is_some_and(Generation::holds_early_input);
        assert_eq!(payloads(&test.pass(Duration::ZERO)), if holds { &b"PING"[..] } else { b"" });
        let rest = payloads(&test.pass(1500 * MS));
        assert_eq!(rest.is_empty(), holds, "{agent:?}");
    }
    // It may be known only after Opened; and without Opened it changes nothing.
    let mut test = Test::new(|_| {});
    test.local(b"PING");
    test.status(&[3]);
    assert_eq!(test.pass(700 * MS), []);
    test.session.handle_agent(test.now, Generation::B);
    assert_eq!(payloads(&test.pass(Duration::ZERO)), b"PING");
    // What was known may be outdated.
    let mut test = with(Some(Generation::D), |_| {});
    test.session.handle_agent(test.now, Generation::A);
    test.local(b"PING");
    test.status(&[3]);
    assert_eq!(test.pass(1499 * MS), []);
    assert_eq!(payloads(&test.pass(MS)), b"PING");
    let mut test = with(Some(Generation::D), |_| {});
    test.local(b"PING");
    assert_eq!(test.pass(2999 * MS), []);
    assert_eq!(payloads(&test.pass(MS)), b"PING");
}

#[test]
fn an_ssh_server_is_waited_for_whatever_the_agent() {
    let mut test = with(Some(Generation::D), |_| {});
    test.local(b"SSH-2.0-client\r\n");
    test.status(&[3]);
    assert_eq!(test.pass(10 * SECOND), []);
    test.output(BANNER);
    assert_eq!(payloads(&test.sent()), b"SSH-2.0-client\r\n");
}

#[test]
fn a_target_is_reached_once_the_agent_must_have_dialled_it() {
    let reached = |test: &mut Test| test.events().contains(&Event::Reached);
    for agent in ALL {
        let mut test = with(agent, |_| {});
        test.status(&[3]);
        test.pass(1499 * MS);
        assert!(!reached(&mut test), "{agent:?}");
        test.pass(MS);
        assert!(reached(&mut test), "{agent:?}");
        let mut test = with(agent, |config| config.ready_delay = Duration::ZERO);
        test.status(&[3]);
        test.output(b"x");
        assert!(reached(&mut test), "it has spoken");
    }
    let mut test = Test::new(|_| {});
    test.pass(2999 * MS);
    assert!(!reached(&mut test), "nothing tells that the agent has joined");
    test.pass(MS);
    assert!(reached(&mut test));
    let mut test = Test::new(|config| config.ready_delay = Duration::ZERO);
    test.status(&[3]);
    assert_eq!(test.pass(1499 * MS), []);
    let events = test.events();
    assert!(events.contains(&Event::Ready) && !events.contains(&Event::Reached));
}

/// Agents from B on have the bytes at Opened, and dial a second later.
#[test]
fn linger_does_not_begin_before_the_target_can_be_dialled() {
    let bytes_and_eof = |agent, linger, reached_by: Option<&[u8]>| {
        let mut test = with(agent, |config| config.linger = linger);
        test.local(b"hello");
        test.session.handle_local_eof(test.now);
        test.pass(50 * MS);
        test.status(&[3]);
        let opened = test.now;
        test.pass(200 * MS);
        reached_by.into_iter().for_each(|bytes| test.output(bytes));
        test.delivered();
        while test.session.end().is_none() {
            test.pass(50 * MS);
            assert!(test.now < opened + 60 * SECOND, "it does not end");
        }
        assert_eq!(test.session.end(), Some(&End::Local));
        test.now - opened
    };
    for agent in ALL {
        let lingered = bytes_and_eof(agent, Duration::ZERO, None);
        assert!((1500 * MS..1700 * MS).contains(&lingered), "{agent:?}: {lingered:?}");
        // An agent that cannot dial gives up after 10 s, and reports it.
        let lingered = bytes_and_eof(agent, 10 * SECOND, None);
        assert!((11_500 * MS..11_700 * MS).contains(&lingered), "{agent:?}: {lingered:?}");
    }
    let lingered = bytes_and_eof(Some(Generation::D), Duration::ZERO, Some(b"x"));
    assert!(lingered < 1500 * MS, "the target has spoken: {lingered:?}");
}

#[test]
fn keepalives_are_those_that_the_agent_does_not_redial_on() {
    let by_agent = Keepalive::ByAgent(50 * SECOND);
    for (agent, keepalive, kind) in [
        (None, by_agent, Some(FrameType::INPUT)),
        (Some(Generation::A), by_agent, None),
        (Some(Generation::B), by_agent, None),
        (Some(Generation::C), by_agent, Some(FrameType::RESIZE)),
        (Some(Generation::D), by_agent, Some(FrameType::INPUT)),
        (Some(Generation::A), always(50), Some(FrameType::INPUT)),
        (Some(Generation::B), always(50), Some(FrameType::INPUT)),
        (Some(Generation::C), always(50), Some(FrameType::RESIZE)),
        (Some(Generation::D), Keepalive::Never, None),
    ] {
        let mut test = greeted(agent, keepalive);
        let sent = test.pass(160 * SECOND);
        let expected = vec![kind; 3].into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(kinds(&sent), expected, "{agent:?}, {keepalive:?}");
        for frame in sent {
            let size = [24, 0, 80, 0];
            let is_size = frame.kind == FrameType::RESIZE;
            assert_eq!(&frame.payload[..], if is_size { &size[..] } else { b"" });
        }
    }
    // A stream that is SSH's ends with the second identification line, so an empty Input will do.
    for agent in ALL {
        let mut test = with(agent, |_| {});
        test.local(b"SSH-2.0-client\r\n");
        test.output(BANNER);
        test.sent();
        assert_eq!(test.pass(160 * SECOND).len(), 3, "{agent:?}");
    }
}

#[test]
fn an_idle_session_that_may_not_be_kept_open_ends_like_any_other() {
    let idle = Some(&End::Remote(RemoteEnd::Idle));
    for agent in [Generation::A, Generation::B] {
        let begin = || {
            let mut test = greeted(Some(agent), Keepalive::ByAgent(50 * SECOND));
            assert_eq!(test.pass(180 * SECOND), []);
            test
        };
        for reason in [&b"\x05IdleTimeout"[..], b"\x05Timeout", b"\x05"] {
            let mut test = begin();
            test.status(reason);
            assert_eq!(test.session.end(), idle);
        }
        let mut test = begin();
        test.session.handle_disconnect(test.now, Disconnect::Broken("reset".into()));
        assert_eq!(test.session.end(), idle);
        // An agent that says nothing is not waited for.
        let mut test = begin();
        let sent = test.pass(5 * SECOND);
        assert_eq!((test.session.end(), sent), (idle, Vec::new()));

        // What breaks before that, or in the middle of something, has broken.
        let mut test = greeted(Some(agent), Keepalive::ByAgent(50 * SECOND));
        test.pass(100 * SECOND);
        test.status(b"\x05IdleTimeout");
        assert!(matches!(test.session.end(), Some(End::Failed(Failure::Ended(_)))));
        let mut test = begin();
        test.output(b"a line");
        test.status(b"\x05IdleTimeout");
        let failure = Failure::Ended(Reason::parse(b"IdleTimeout"));
        assert_eq!(test.session.end(), Some(&End::Failed(failure)));
    }
    for agent in [None, Some(Generation::C), Some(Generation::D)] {
        let mut test = greeted(agent, Keepalive::ByAgent(50 * SECOND));
        test.pass(1000 * SECOND);
        assert_eq!(test.session.end(), None, "{agent:?}");
    }
}

#[test]
fn a_download_keeps_its_session_open() {
    for agent in [Generation::A, Generation::B] {
        let mut test = greeted(Some(agent), Keepalive::ByAgent(50 * SECOND));
        let mut keepalives = 0;
        for _ in 0..4000 {
            test.output(&[7; 2048]);
            test.delivered();
            keepalives += test.pass(100 * MS).len();
            assert_eq!(test.session.end(), None);
        }
        assert_eq!(keepalives, 8, "in 400 s");
        // Once it is over no keepalive follows.
        assert_eq!(test.pass(170 * SECOND), []);
    }
}

/// A download whose reader pauses: what waits in the socket may be the rest of it, and no end of the agent's.
#[test]
fn a_session_that_is_not_read_is_not_taken_for_an_idle_one() {
    for agent in [Generation::A, Generation::B] {
        let mut test = greeted(Some(agent), Keepalive::ByAgent(50 * SECOND));
        while test.session.wants_remote() {
            test.output(&[7; 2048]);
        }
        assert_eq!(test.pass(400 * SECOND), [], "a keepalive could make it dial again");
        test.session.handle_timeout(test.now);
        assert_eq!(test.session.end(), None);
        test.delivered();
        test.pass(30 * SECOND);
        test.output(b"the rest");
        assert_eq!(test.delivered(), b"the rest");
        test.pass(60 * SECOND - MS);
        assert_eq!(test.session.end(), None);
        test.pass(MS);
        assert_eq!(test.session.end(), Some(&End::Remote(RemoteEnd::Idle)));
    }
}

#[test]
fn a_second_greeting_behind_a_keepalive_is_no_part_of_the_stream() {
    for agent in [None, Some(Generation::A), Some(Generation::B)] {
        let mut test = greeted(agent, always(5));
        assert_eq!(kinds(&test.pass(5 * SECOND)), [FrameType::INPUT]);
        test.output(b"5.7.1-db greeting 2\n");
        assert_eq!(test.session.end(), Some(&End::Failed(Failure::Redialled)));
        assert_eq!(test.delivered(), b"");
        assert_eq!(test.sent(), [], "a Close could make it dial once more");
    }
    // Agents that do not redial on the keepalive may say what they like.
    for agent in [Generation::C, Generation::D] {
        let mut test = greeted(Some(agent), always(5));
        test.pass(5 * SECOND);
        test.output(GREETING);
        assert_eq!(test.delivered(), GREETING);
        assert_eq!(test.session.end(), None);
    }
}

#[test]
fn an_answer_and_a_heartbeat_are_no_second_greeting() {
    // HTTP: the same first bytes, to a new request, right behind a keepalive.
    let mut test = Test::new(|config| config.keepalive = always(5));
    test.status(&[3]);
    for _ in 0..10 {
        test.pass(5 * SECOND);
        test.local(b"GET / HTTP/1.1\r\n\r\n");
        test.pass(10 * MS);
        test.output(b"HTTP/1.1 200 OK\r\n\r\n");
    }
    assert_eq!(test.session.end(), None);
    // A heartbeat of the server's own that is like its first words, with keepalives between.
    let mut test = Test::new(|config| config.keepalive = always(5));
    test.status(&[3]);
    test.output(b"heartbeat\n");
    test.pass(2 * SECOND);
    for _ in 0..20 {
        test.output(b"heartbeat\n");
        test.pass(3 * SECOND);
    }
    assert_eq!(test.session.end(), None);
}

/// A slow answer to a second request comes right behind a keepalive. A server that greets its clients is
/// watched all the same, whoever asked it last.
#[test]
fn a_slow_answer_is_no_second_greeting() {
    for greets in [false, true] {
        let mut test = Test::new(|config| config.keepalive = always(5));
        test.status(&[3]);
        if greets {
            test.output(b"HTTP/1.1");
        }
        test.local(b"GET /1 HTTP/1.1\r\n\r\n");
        test.pass(2 * SECOND);
        test.output(b"HTTP/1.0 200 OK\r\n\r\n");
        test.local(b"GET /2 HTTP/1.1\r\n\r\n");
        test.pass(5 * SECOND);
        let first = if greets { &b"HTTP/1.1"[..] } else { b"HTTP/1.0" };
        test.output(&[first, b" 200 OK\r\n\r\n"].concat());
        let redialled = End::Failed(Failure::Redialled);
        assert_eq!(test.session.end(), greets.then_some(&redialled));
    }
}

/// An agent of generation C with a server behind it that greets, and closes what is idle for 30 s.
#[test]
fn a_pool_of_idle_connections_sees_no_other_connection_s_bytes() {
    for client_pause in [25, 45, 170, 400] {
        let mut test = greeted(Some(Generation::C), Keepalive::ByAgent(50 * SECOND));
        let (mut used, mut due) = (Duration::ZERO, client_pause);
        for second in 1..600 {
            let now = Duration::from_secs(second);
            let mut sent = test.pass(SECOND);
            if second == due {
                due += client_pause;
                test.local(b"select 1");
                sent.extend(test.sent());
            }
            for frame in sent.iter().filter(|frame| frame.kind == FrameType::INPUT) {
                if now - used >= 30 * SECOND {
                    // The server has closed, and any Input dials it again: only a client's own may.
                    assert!(!frame.payload.is_empty(), "a keepalive dialled the target again");
                }
                used = now;
                test.output(b"1 row");
            }
            assert!(matches!(&test.delivered()[..], b"" | b"1 row"));
        }
        assert_eq!(test.session.end(), None);
    }
}

#[test]
fn an_agent_that_does_not_answer_is_told_of_once() {
    let no_answer = |test: &mut Test| {
        let events = test.events();
        events.into_iter().filter(|event| matches!(event, Event::NoAnswer(_))).collect::<Vec<_>>()
    };
    let mut test = greeted(None, Keepalive::ByAgent(50 * SECOND));
    test.pass(300 * SECOND);
    assert_eq!(no_answer(&mut test), [], "nothing is under way");
    test.local(b"select 1");
    test.pass(59 * SECOND);
    assert_eq!(no_answer(&mut test), []);
    test.pass(SECOND);
    assert_eq!(no_answer(&mut test), [Event::NoAnswer(60 * SECOND)]);
    test.local(b"select 2");
    test.pass(300 * SECOND);
    assert_eq!((no_answer(&mut test), test.session.end()), (vec![], None));
    // One that sends on without being answered, as to a sink, is not told until it pauses.
    let mut test = greeted(None, Keepalive::ByAgent(50 * SECOND));
    for _ in 0..100 {
        test.local(b"a line of a log");
        test.pass(5 * SECOND);
    }
    assert_eq!(no_answer(&mut test), []);
    // Nor is one whose local side takes nothing, or has said all.
    let mut test = greeted(None, Keepalive::ByAgent(50 * SECOND));
    test.output(b"unread");
    test.local(b"select 1");
    test.pass(300 * SECOND);
    assert_eq!(no_answer(&mut test), []);
}

#[test]
fn what_could_not_come_while_this_machine_slept_is_not_missed() {
    let mut test = greeted(None, Keepalive::ByAgent(50 * SECOND));
    test.pass(SECOND);
    test.local(b"select 1");
    test.pass(10 * SECOND);
    test.now += 200 * SECOND;
    test.session.handle_slept(test.now, 200 * SECOND);
    test.pass(59 * SECOND);
    let is_no_answer = |event: &Event| matches!(event, Event::NoAnswer(_));
    assert!(!test.events().iter().any(is_no_answer));
    test.pass(SECOND);
    assert!(test.events().iter().any(is_no_answer));
}

#[test]
fn silence_counts_only_where_pings_were_answered() {
    let pass = |test: &mut Test, seconds: u32, answered: bool| {
        for _ in 0..seconds {
            test.pass(SECOND);
            let ping = test.session.poll_ping(test.now);
            if let Some(ping) = ping.filter(|_| answered) {
                test.session.handle_pong(test.now, &ping);
            }
        }
    };
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    pass(&mut test, 4000, false);
    assert_eq!(test.session.end(), None, "it never has answered one");
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    pass(&mut test, 100, true);
    assert_eq!(test.session.end(), None);
    pass(&mut test, 90, false);
    let Some(End::Failed(Failure::Disconnected(why))) = test.session.end() else {
        panic!("{:?}", test.session.end());
    };
    assert!(why.to_string().contains("no data and no ping response for 60 s"), "{why}");
}

#[test]
fn after_a_sleep_a_gateway_that_answers_has_two_seconds() {
    for answers in [false, true] {
        let mut test = Test::new(|_| {});
        test.output(BANNER);
        if answers {
            let ping = test.session.ping(test.now);
            test.session.handle_pong(test.now, &ping);
        }
        test.session.handle_slept(test.now, 200 * SECOND);
        assert!(test.session.poll_ping(test.now).is_some(), "it is asked at once");
        test.pass(1999 * MS);
        assert_eq!(test.session.end(), None);
        test.pass(MS);
        assert_eq!(test.session.end().is_some(), answers);
    }
    let mut test = Test::new(|_| {});
    test.output(BANNER);
    let ping = test.session.ping(test.now);
    test.session.handle_pong(test.now, &ping);
    test.session.handle_slept(test.now, 200 * SECOND);
    let ping = test.session.poll_ping(test.now).unwrap();
    test.session.handle_pong(test.now, &ping);
    test.pass(3 * SECOND);
    assert_eq!(test.session.end(), None);
}

/// The network comes back seconds after the machine, and a session of 1.01 is lost with its socket.
#[test]
fn after_a_short_sleep_a_session_that_cannot_be_resumed_is_given_longer() {
    for (version, slept, patience) in
        [(Version::V1_01, 60, 15), (Version::V1_01, 175, 2), (Version::V1_02, 60, 2)]
    {
        let mut test = Test::speaking(version);
        test.output(BANNER);
        let ping = test.session.ping(test.now);
        test.session.handle_pong(test.now, &ping);
        test.session.handle_slept(test.now, slept * SECOND);
        assert!(test.session.poll_ping(test.now).is_some(), "it is asked at once");
        test.pass(patience * SECOND - MS);
        assert!(test.session.is_connected() && test.session.end().is_none());
        test.pass(MS);
        assert!(!test.session.is_connected() || test.session.end().is_some(), "{slept}");
    }
}

#[test]
fn a_strict_agent_sees_no_gap_where_the_version_changes() {
    let pair = |input, output| Sequence::Pair { input, output };
    // Input goes out before the peer has said a word, and after.
    let mut test = Test::new(|_| {});
    test.local(b"one");
    test.pass(3 * SECOND);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        test.local(b"more");
        numbers.extend(test.sent().iter().map(|frame| frame.sequence));
    }
    assert_eq!(numbers, [2, 3, 4].map(Sequence::Single));
    test.frame(FrameType::OUTPUT, pair(0, 1), b"x");
    test.local(b"five");
    assert_eq!(test.sent()[0].sequence, pair(5, 1));
    // And one that has not counted what came in 1.01 gets it again.
    test.frame(FrameType::SYNC, pair(1, 1), b"");
    let again = test.pass(SECOND);
    assert_eq!(payloads(&again), b"onemoremoremorefive");
    let numbers: Vec<_> = again.iter().map(|frame| frame.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5].map(|number| pair(number, 1)));
}

#[test]
fn a_keepalive_that_is_due_is_not_sent_to_an_agent_that_turns_out_to_redial() {
    for (agent, frames) in [(Generation::A, 0), (Generation::B, 0), (Generation::D, 1)] {
        let mut test = greeted(None, Keepalive::ByAgent(50 * SECOND));
        test.now += 50 * SECOND;
        test.session.handle_timeout(test.now);
        // The socket has taken nothing yet.
        test.session.handle_agent(test.now, agent);
        assert_eq!(test.sent().len(), frames, "{agent:?}");
    }
}

#[test]
fn an_answer_that_lasts_is_kept_open_after_the_local_end_of_file_where_no_agent_dials_again() {
    for keepalive in [Keepalive::ByAgent(50 * SECOND), always(50)] {
        for (agent, kind) in [
            (None, None),
            (Some(Generation::A), None),
            (Some(Generation::B), None),
            (Some(Generation::C), Some(FrameType::RESIZE)),
            (Some(Generation::D), Some(FrameType::INPUT)),
        ] {
            let mut test = greeted(agent, keepalive);
            test.local(b"GET /dump");
            test.sent();
            test.session.handle_local_eof(test.now);
            let mut sent = Vec::new();
            for _ in 0..400 {
                sent.extend(test.pass(SECOND));
                test.output(b"more");
                assert_eq!(test.delivered(), b"more");
            }
            let expected = vec![kind; 8].into_iter().flatten().collect::<Vec<_>>();
            assert_eq!(kinds(&sent), expected, "{agent:?}, {keepalive:?}");
            assert_eq!(
                payloads(&sent).len(),
                expected.len() * if kind == Some(FrameType::RESIZE) { 4 } else { 0 }
            );
            assert_eq!(test.session.end(), None);
            // A keepalive is no reason to linger any longer.
            let from = test.now;
            test.pass(60 * SECOND);
            assert_eq!(test.session.end(), Some(&End::Local), "{agent:?}, {:?}", test.now - from);
        }
    }
    // An agent of 1.02 dials no target again.
    let mut test = Test::open();
    test.session.handle_local_eof(test.now);
    let mut sent = Vec::new();
    for number in 2..102 {
        sent.extend(test.pass(SECOND));
        test.output_at(0, number, b"more");
    }
    let inputs = sent.iter().filter(|frame| frame.kind == FrameType::INPUT).count();
    assert!(inputs > 0 && payloads(&sent).is_empty(), "{sent:?}");
}

#[test]
fn a_session_that_waits_for_an_answer_is_not_idle() {
    for agent in [Generation::A, Generation::B] {
        let slow = || {
            let mut test = greeted(Some(agent), Keepalive::ByAgent(50 * SECOND));
            test.pass(60 * SECOND);
            test.local(b"slow query");
            test.sent();
            test.pass(180 * SECOND);
            assert_eq!(test.session.end(), None);
            test
        };
        let ended = Failure::Ended(Reason::parse(b"IdleTimeout"));
        let mut test = slow();
        test.status(b"\x05IdleTimeout");
        assert_eq!(*test.failure(), ended);
        let mut test = slow();
        test.session.handle_disconnect(test.now, cut());
        assert!(matches!(test.failure(), Failure::Disconnected(_)));
        let mut test = slow();
        test.pass(60 * SECOND);
        assert_eq!(*test.failure(), ended);
    }
}

#[test]
fn a_keepalive_that_was_due_while_the_machine_slept_is_sent_at_once() {
    for (agent, kind) in [
        (None, Some(FrameType::INPUT)),
        (Some(Generation::A), None),
        (Some(Generation::B), None),
        (Some(Generation::C), Some(FrameType::RESIZE)),
        (Some(Generation::D), Some(FrameType::INPUT)),
    ] {
        let mut test = greeted(agent, Keepalive::ByAgent(50 * SECOND));
        test.session.handle_slept(test.now, 40 * SECOND);
        assert_eq!(test.sent(), [], "{agent:?}");
        test.session.handle_slept(test.now, 140 * SECOND);
        assert_eq!(kinds(&test.sent()), kind.into_iter().collect::<Vec<_>>(), "{agent:?}");
    }
}
