//! Tests of `reason`.

use super::*;
use crate::explain::{ExitCode, Explain as _};
use crate::session::failure::SessionFailure;
use session_manager_proto::session::Disconnect;

fn failed(failure: Failure) -> SessionFailure {
    let (instance, name, remote_host) = ("i-1".to_owned(), None, None);
    let target = Target { instance, name, remote_host, port: Some(22) };
    SessionFailure {
        failure,
        target,
        finding: None,
        request_id: None,
        url_is_given: false,
        not_arrived: 0,
        slept: None,
        input_ended: false,
    }
}

fn ended(reason: &str) -> SessionFailure {
    failed(Failure::Ended(Reason::parse(reason.as_bytes())))
}

/// A sleep explains what the service's code does not.
#[test]
fn an_end_in_the_sleep_of_this_computer_is_that_of_the_sleep() {
    let disconnect = Disconnect::Broken("it was cut without a close frame".to_owned());
    for failure in [
        Failure::Ended(Reason::parse(b"IdleTimeout")),
        Failure::Ended(Reason::parse(b"Timeout")),
        Failure::Disconnected(disconnect),
    ] {
        let slept = Some(std::time::Duration::from_secs(200));
        let failure = SessionFailure { slept, ..failed(failure) };
        let text = format!("{failure} {:?}", failure.why());
        let fix = failure.remedy().unwrap();
        assert!(text.contains("this computer slept for 200 s"), "{text}");
        assert!(fix.starts_with("connect again") && !fix.contains("--keepalive"), "{fix}");
    }
    let failure = ended("OpenTargetPortFailed");
    let failure = SessionFailure { slept: Some(std::time::Duration::from_secs(200)), ..failure };
    assert!(!format!("{failure} {:?}", failure.why()).contains("slept"));
}

/// docs/protocol.md, 3: the reason, a part of its cause, a part of its fix, and whether instance and
/// agent are looked at.
#[test]
fn every_reason_has_a_cause_and_a_fix() {
    let agent = "Cloud Assistant agent is online";
    for (reason, cause, fix, is_looked_into) in [
        ("Exit", "before it was open", agent, true),
        ("Ok", "before it was open", agent, true),
        ("Notified", "ended from elsewhere", "connect again", false),
        ("ReadFromTargetPortFailed", "the target closed", "accepts connections", true),
        ("Read_port_failed", "the target closed", "accepts connections", true),
        ("IdleTimeout", "3 minutes", "--keepalive", false),
        ("Timeout", "time limit of the service", "--keepalive", false),
        ("SessionTimeout", "3 hours", "connect again", false),
        ("AgentTimeout", "did not answer in time", agent, true),
        ("InitChannelFailed", "could not join", agent, true),
        ("OpenChannelFailed", "could not join", agent, true),
        ("ServerDomainUnavailable", "resolve or reach", "100.100.0.0/16", false),
        ("SessionIdDuplicate", "another client", "connect again", false),
        ("SessionIdDuplicated", "another client", "connect again", false),
        ("OpenPtyFailed", "cannot open a terminal", "asked for a port", false),
        ("OpenTargetPortFailed", "nothing listens on", "ss -ltn", false),
        ("Open_port_failed", "nothing listens on", "ss -ltn", false),
        ("ReopenTargetPortFailed", "nothing listens on", "ss -ltn", false),
        ("UserNotExists", "the shell's user", "asked for a port", false),
        ("ObtainUserIdentityFailed", "the shell's user", "asked for a port", false),
        ("ObtainUserInfoFailed", "the shell's user", "asked for a port", false),
        ("ShellCommandNotFound", "the shell or its command", "asked for a port", false),
        ("ShellCommandPermissionDenied", "the shell or its command", "asked for a port", false),
        ("HomeDirNotFound", "home directory", "asked for a port", false),
        ("HomeDirPermissionDenied", "home directory", "asked for a port", false),
        ("MalformedCommandLine", "the shell or its command", "asked for a port", false),
        ("PasswordNameNotFound", "the shell's user", "asked for a port", false),
        ("KeyExchangeFailed", "expected an encryption key", "asked for a port", false),
        ("WinptyLoadFailed", "cannot open a terminal", "asked for a port", false),
        ("WinptyPermissionDenied", "cannot open a terminal", "asked for a port", false),
        ("DeliveryTimeout", "it is offline", agent, true),
        ("InstanceNotExists", "no such instance", "ecs-bridge list", true),
        ("InstanceNotRunning", "not running", "start the instance", true),
        ("AgentNeedUpgrade", "too old", "update", true),
        ("AgentNotOnline", "not online", agent, true),
        ("MessageFormatInvalid", "incompatible message formats", "update", true),
        ("AgentSocketClosed", "was closed", agent, true),
        ("ClientClosed", "the client closed the connection", "connect again", true),
        ("FlowExceedLimit", "rate limit", "-vv", false),
        ("ProcessDataError", "could not process", "RequestId", false),
        ("ProcessStdoutDataError", "could not process", "RequestId", false),
        ("SendingDataFailed", "was lost", "connect again", false),
        ("IO_port_failed", "connection to the target broke", "still runs", false),
        ("ReadFromWebsocketFailed", "was lost", "connect again", false),
        ("UnknownError", "unknown error", "systemctl restart", false),
    ] {
        for text in [reason.to_owned(), format!("{}: x", reason.to_lowercase())] {
            let error = ended(&text);
            assert!(error.to_string().contains(cause), "{text}: {error}");
            assert!(error.to_string().contains("port 22 of i-1"), "{text}: {error}");
            assert!(error.remedy().unwrap().contains(fix), "{text}: {:?}", error.remedy());
            assert_eq!(error.did_not_open(), is_looked_into, "{text}");
            let word = text.split(':').next().unwrap();
            assert!(error.to_string().ends_with(&format!(" ({word})")), "{error}");
            assert!(error.why().unwrap().contains(&text), "{text}: {:?}", error.why());
            // The same words where the session was refused with it.
            let refused = failed(Failure::Aborted(text));
            assert_eq!(refused.to_string(), error.to_string());
            assert_eq!(refused.remedy(), error.remedy());
        }
    }
}

#[test]
fn a_reason_that_is_not_known_is_shown_as_it_came() {
    let error = ended("Bad\u{1b}[31m luck_in 2031\r\n");
    assert_eq!(
        error.to_string(),
        "the remote side ended the session: Bad[31m luck_in 2031 (port 22 of i-1)"
    );
    assert_eq!((error.why(), error.remedy()), (None, again()));
    assert!(!error.did_not_open());
    let refused = failed(Failure::Aborted("no agent".to_owned()));
    assert!(refused.why().unwrap().contains("gave up") && refused.did_not_open());
    let refused = failed(Failure::Aborted(String::new()));
    assert!(refused.why().unwrap().contains("gave up") && refused.did_not_open());
}

#[test]
fn reasons_of_the_instance_have_the_target_s_exit_code() {
    for (reason, code) in [
        ("Open_port_failed", ExitCode::Target),
        ("OpenTargetPortFailed: refused", ExitCode::Target),
        ("ReopenTargetPortFailed", ExitCode::Target),
        ("DeliveryTimeout", ExitCode::Target),
        ("InstanceNotExists", ExitCode::Target),
        ("InstanceNotRunning", ExitCode::Target),
        ("AgentNeedUpgrade", ExitCode::Target),
        ("AgentNotOnline", ExitCode::Target),
        ("AgentSocketClosed", ExitCode::Session),
        ("AgentTimeout", ExitCode::Session),
        ("IO_port_failed", ExitCode::Session),
        ("what", ExitCode::Session),
    ] {
        assert_eq!(ended(reason).exit_code(), code, "{reason}");
    }
    assert!(ended("Open_port_failed").has_no_target());
    let refused = failed(Failure::Aborted("Open_port_failed: x".to_owned()));
    assert!(refused.has_no_target() && !refused.did_not_open());
}

/// It may run and listen: what is in between drops the packets, or leads nowhere.
#[test]
fn a_target_that_does_not_answer_is_not_said_to_have_nothing_that_listens() {
    for detail in [
        "i/o timeout",
        "connect: no route to host",
        "connect: network is unreachable",
        "connectex: the connected party did not properly respond after a period of time",
    ] {
        for (remote_host, whose) in [(None, "port 22 of i-1"), (Some("db"), "db:22")] {
            let mut error = ended(&format!("OpenTargetPortFailed: dial tcp 10.0.0.1:22: {detail}"));
            error.target.remote_host = remote_host.map(str::to_owned);
            let text = error.to_string();
            assert!(text.starts_with(&format!("{whose} cannot be reached")), "{text}");
            assert!(text.contains("i-1") && text.ends_with(" (OpenTargetPortFailed)"), "{text}");
            assert!(error.why().unwrap().ends_with(detail), "{:?}", error.why());
            assert!(error.remedy().unwrap().contains("firewall"), "{:?}", error.remedy());
            assert_eq!((error.exit_code(), error.did_not_open()), (ExitCode::Target, false));
        }
    }
}

#[test]
fn a_connection_that_was_lost_in_an_upload_tells_what_may_be_missing() {
    let mut error = failed(Failure::Disconnected(Disconnect::Broken("timed out".into())));
    let why = error.why().unwrap();
    assert!(why.contains("the network was away") && !why.contains("bytes"), "{why}");
    assert_eq!(error.remedy(), again());
    error.not_arrived = 5_000;
    let missing = "; 5000 bytes or more of the input are not known to have arrived";
    assert_eq!(error.why().unwrap(), format!("{why}{missing}"));
    assert!(error.remedy().unwrap().contains("send it again"), "{:?}", error.remedy());
    error.input_ended = true;
    assert_eq!(error.why().unwrap(), format!("{why}{}", missing.replace(" or more", "")));
    error.failure = Failure::Disconnected(Disconnect::Closed { code: Some(1006), text: "".into() });
    assert_eq!(error.why().unwrap(), "5000 bytes of the input are not known to have arrived");
}

/// Before its end the keepalive helps; behind it, none is sent to agents that would connect again by it.
#[test]
fn an_idle_time_out_after_the_end_of_the_input_names_what_helps_there() {
    for reason in ["IdleTimeout", "Timeout"] {
        let mut error = ended(reason);
        assert!(!error.remedy().unwrap().contains("sleep"), "{:?}", error.remedy());
        error.input_ended = true;
        let remedy = error.remedy().unwrap();
        for part in [
            "keep the input open",
            "sleep 600",
            "--keepalive 50",
            "update the agent",
            "ecs:DescribeCloudAssistantStatus",
        ] {
            assert!(remedy.contains(part), "{part}: {remedy}");
        }
        // A shell gets keepalives to its end.
        error.target.port = None;
        assert!(!error.remedy().unwrap().contains("sleep"), "{:?}", error.remedy());
    }
}
