//! Shells: when keys are sent, the size of the window, failures, keepalives and idle times.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn shell(is_silent: bool, change: impl FnOnce(&mut Config)) -> Test {
    let mut test = Test::new(|config| {
        *config = Config::shell(config.unix_ms, is_silent);
        change(config);
    });
    test.session.handle_resize(101, 33);
    test
}

/// One whose prompt has come.
fn prompt(change: impl FnOnce(&mut Config)) -> Test {
    let mut test = shell(false, change);
    test.status(&[3]);
    test.output(b"$ ");
    assert_eq!(test.delivered(), b"$ ");
    test.sent();
    test
}

fn sizes(frames: &[Frame]) -> Vec<Vec<u8>> {
    let resizes = frames.iter().filter(|frame| frame.kind == FrameType::RESIZE);
    resizes.map(|frame| frame.payload.to_vec()).collect()
}

#[test]
fn keys_wait_for_the_first_output_and_the_size_comes_before_and_after_it() {
    let agents = [Generation::A, Generation::B, Generation::C, Generation::D].map(Some);
    for agent in agents.into_iter().chain([None]) {
        let mut test = shell(false, |_| {});
        if let Some(agent) = agent {
            test.session.handle_agent(test.now, agent);
        }
        assert!(!test.session.wants_agent());
        test.local(b"SSH-ls\r");
        assert_eq!(test.pass(SECOND), [], "the agent has not joined");
        test.status(&[3]);
        assert_eq!(sizes(&test.pass(2 * SECOND)), [[33, 0, 101, 0]]);
        test.output(b"$ ");
        let sent = test.sent();
        assert_eq!(kinds(&sent), [FrameType::RESIZE, FrameType::INPUT]);
        assert_eq!(payloads(&sent[1..]), b"SSH-ls\r");
        test.session.handle_resize(90, 30);
        test.session.handle_resize(300, 40);
        test.session.handle_resize(300, 40);
        assert_eq!(sizes(&test.pass(SECOND)), [[40, 0, 44, 1]]);
    }
}

/// A shell that cannot be had tells so by its first Output, and an empty one of 1.02 acknowledges.
#[test]
fn a_failure_that_comes_as_output_is_no_readiness() {
    for version in [Version::V1_01, Version::V1_02] {
        let mut test = shell(false, |_| {});
        test.version = version;
        test.status(&[3]);
        test.local(b"ls\r");
        test.output(b"");
        assert!(!kinds(&test.sent()).contains(&FrameType::INPUT));
        test.output(b"The session has terminated. UserNotExists: the user x does not exist\r\n");
        let Failure::Ended(reason) = test.failure() else { panic!("{:?}", test.failure()) };
        assert_eq!(reason.text(), "UserNotExists: the user x does not exist");
        assert!(!test.events().contains(&Event::Ready));
        assert_eq!(test.delivered(), b"");
    }
    // Later it is text like any other.
    let mut test = prompt(|_| {});
    test.output(b"The session has terminated. Exit: x");
    assert_eq!(test.delivered().len(), 35);
    assert_eq!(test.session.end(), None);
}

#[test]
fn a_command_that_waits_for_input_gets_it_without_an_output() {
    let mut test = shell(true, |_| {});
    test.local(b"text\n");
    test.status(&[3]);
    assert_eq!(payloads(&test.pass(4999 * MS)[1..]), b"");
    assert_eq!(payloads(&test.pass(MS)), b"text\n");
    // A shell has its prompt, and a gateway that says nothing at all has no shell.
    let mut test = shell(false, |_| {});
    test.local(b"ls\r");
    test.pass(16 * SECOND);
    assert!(matches!(test.failure(), Failure::NotOpened { .. }));
}

#[test]
fn frames_are_of_a_shell_s_size_and_nothing_is_taken_for_ssh_or_a_redial() {
    let mut test = prompt(|_| {});
    test.local(&[b'x'; 3000]);
    let sent = test.pass(SECOND);
    assert!(sent.iter().all(|frame| frame.payload.len() <= 1024) && payloads(&sent).len() == 3000);
    for greeting in [&b"SSH-2.0-x\r\n"[..], b"SSH-2.0-x\r\n", b"5.7.1-db greeting\n"] {
        test.output(greeting);
        assert_eq!(test.delivered(), greeting);
    }
    assert!(test.session.end().is_none() && !test.session.is_ssh());
}

/// What PowerShell gets of a frame, by the source of the agent (docs/protocol.md, 9). Only CR is Enter there.
fn typed_on_windows(payload: &[u8]) -> String {
    let text = String::from_utf8(payload.to_vec()).unwrap();
    match text.find('\n') {
        Some(0) => text.replace('\n', "\r"),
        Some(first) => text.replacen('\n', "\r", first - 1),
        None => text,
    }
}

#[test]
fn each_line_of_a_script_is_entered_on_windows_and_passed_as_it_is() {
    let long = "x".repeat(1022);
    let scripts: [&[&str]; 6] = [
        &["ls"],
        &["a"],
        &["", "", "a", "b", ""],
        &["cd", "a", "b", "Get-ChildItem", "c"],
        &["Get-ChildItem", "a", "b"],
        &[&long, "a", &long, "", &long, "ab", "c"],
    ];
    for lines in scripts {
        let script: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut test = prompt(|_| {});
        test.local(script.as_bytes());
        let sent = test.pass(SECOND);
        assert_eq!(payloads(&sent), script.as_bytes());
        let typed: String = sent.iter().map(|frame| typed_on_windows(&frame.payload)).collect();
        assert_eq!(typed, script.replace('\n', "\r"));
    }
}

/// The agent ends it after three hours, and its word for that is kept.
#[test]
fn a_quiet_shell_is_kept_open_until_the_service_s_limit() {
    for agent in [None, Some(Generation::A), Some(Generation::C), Some(Generation::D)] {
        let mut test = prompt(|_| {});
        if let Some(agent) = agent {
            test.session.handle_agent(test.now, agent);
        }
        let sent = test.pass(3 * HOUR - SECOND);
        assert_eq!(test.session.end(), None);
        assert_eq!(sent.len(), 215);
        assert!(sent.iter().all(|f| f.kind == FrameType::INPUT && f.payload.is_empty()));
        test.status(b"\x05SessionTimeout");
        let reason = Reason::parse(b"SessionTimeout");
        assert_eq!(*test.failure(), Failure::Ended(reason));
    }
}

#[test]
fn an_idle_shell_is_warned_of_and_ended_and_both_begin_anew_with_a_key() {
    let (after, before) = (180 * SECOND, 15 * SECOND);
    let idle = |config: &mut Config| {
        (config.idle_timeout, config.idle_warning) = (Some(after), Some(before));
    };
    let events = |test: &mut Test| {
        let events = test.events().into_iter();
        events.filter(|event| matches!(event, Event::IdleSoon(_))).collect::<Vec<_>>()
    };
    let mut test = prompt(idle);
    for key in 0..3 {
        test.pass(after - before - MS);
        assert_eq!(events(&mut test), [], "{key}");
        test.pass(MS);
        assert_eq!(events(&mut test), [Event::IdleSoon(before)]);
        test.pass(before - MS);
        assert_eq!((events(&mut test), test.session.end()), (vec![], None));
        match key {
            0 => test.local(b"x"),
            1 => test.output(b"x"),
            _ => {}
        }
        test.delivered();
        test.sent();
    }
    test.pass(MS);
    assert_eq!(*test.failure(), Failure::Idle(after));
    // Without a time there is no warning either.
    let mut test = prompt(|config| config.idle_warning = Some(before));
    test.pass(2 * HOUR);
    assert!(test.session.end().is_none());
    assert!(!test.events().iter().any(|event| matches!(event, Event::IdleSoon(_))));
}

#[test]
fn a_size_that_is_lost_with_its_socket_is_sent_again() {
    let mut test = shell(false, |_| {});
    test.version = Version::V1_02;
    test.status(&[3]);
    test.output(b"$ ");
    test.sent();
    test.session.handle_resize(90, 20);
    assert_eq!(sizes(&test.sent()), [[20, 0, 90, 0]]);
    test.session.handle_resize(91, 21);
    test.reconnect();
    // It has the first, and none of the later ones.
    test.output_at(1, 2, b"x");
    let sent = test.pass(SECOND);
    assert_eq!(sizes(&sent).last().unwrap(), &[21, 0, 91, 0]);
    assert!(sizes(&sent).contains(&vec![20, 0, 90, 0]));
}
