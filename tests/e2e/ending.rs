//! How a session ends: by either side, by a signal, by whoever stops reading; and within 2 s
//! whatever hangs.

use std::sync::Arc;
use std::time::Duration;

use local_cloud::{
    Action, Agent, ApiFault, Fault, Instance, Pace, Point, SessionRecord, SessionState, State,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lab::{BANNER, Bridge, Ended, Lab, PLENTY, QUIET_PORT, SOON, fill};
use crate::world::{INSTANCE, PATIENCE, Server, World, noise};

const SIGNALS: [(&str, i32); 4] = [("HUP", 129), ("INT", 130), ("TERM", 143), ("QUIT", 131)];
const END: &str = "EndTerminalSession";

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000))
}

/// An instance that sets no limit worth the name.
fn fast(agent: Agent) -> Instance {
    quick(agent).pace(Pace::announced(u64::from(u32::MAX)))
}

/// A session whose target has said `hello`, and has been heard.
async fn open(lab: &Lab, args: &[&str]) -> (Bridge, TcpStream) {
    let mut bridge = lab.start(args);
    let mut target = lab.accept().await;
    target.write_all(b"hello").await.unwrap();
    bridge.expect(b"hello").await;
    (bridge, target)
}

/// Waits for an end that has to come soon.
async fn soon(bridge: Bridge) -> Ended {
    timeout(SOON, bridge.end()).await.expect("it ends within 2 s")
}

async fn read(target: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = timeout(PATIENCE, target.read_exact(&mut bytes)).await;
    read.expect("the target gets them in time").expect("the target gets all of them");
    bytes
}

/// What the target still gets. The stand-in's agent leaves with the client's Close, and may not have
/// written all Input before it: what was sent is counted by the gateway.
async fn rest(target: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, target.read_to_end(&mut bytes)).await;
    read.expect("the agent closes the connection").unwrap();
    bytes
}

/// Everything that a client owes a session at its end.
fn in_order(session: &SessionRecord) -> bool {
    session.close_frames == 1
        && session.close_handshake
        && session.end_calls == 1
        && session.live == 0
        && session.state == SessionState::Terminated
}

#[tokio::test]
async fn what_comes_after_the_local_end_of_file_is_delivered() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(quick(agent)).await;
        let (mut bridge, mut target) = open(&lab, &["-vv", QUIET_PORT]).await;
        bridge.send(b"a question").await;
        drop(bridge.stdin.take());
        bridge.logged("end of file from the local side").await;
        assert_eq!(read(&mut target, 10).await, b"a question");
        let answer = noise(300_000);
        target.write_all(&answer).await.unwrap();
        drop(target);
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.said(&answer);
        lab.all_ended().await;
        let session = &lab.cloud.sessions()[0];
        assert_eq!(session.empty_inputs, 0, "a keepalive would make it dial again");
        // An agent of generation A dials again for the Close.
        assert!(u64::from(session.dials) <= 1 + session.close_frames, "{session:?}");
    }
}

#[tokio::test]
async fn the_far_side_s_end_is_ours_once_all_is_delivered() {
    let lab = Lab::new(quick(Agent::d())).await;
    let (bridge, mut target) = open(&lab, &[]).await;
    let bytes = noise(300_000);
    target.write_all(&bytes).await.unwrap();
    drop(target);
    // Its stdin is still open.
    bridge.end().await.well(&bytes);
    lab.all_ended().await;
    assert!(lab.cloud.sessions()[0].close_handshake);
}

/// An older agent does not tell that the server has closed. It dials again for the next keepalive,
/// and another identification comes, which is none of this connection's.
#[tokio::test]
async fn a_second_identification_is_the_end() {
    let lab = Lab::new(quick(Agent::a())).await;
    let bridge = lab.start(&["--keepalive", "1"]);
    for _ in 0..2 {
        lab.accept().await.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    }
    bridge.end().await.well(b"SSH-2.0-x\r\n");
    lab.all_ended().await;
    let session = &lab.cloud.sessions()[0];
    // A Close would make it dial once more.
    assert_eq!((session.empty_inputs, session.close_frames, session.dials), (1, 0, 2));
}

/// A target that closes, and one that closes only its sending direction: the agent ends the session.
#[tokio::test]
async fn an_upload_that_the_target_does_not_take_is_a_failure() {
    for only_sending in [true, false] {
        let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
        let mut bridge = lab.start(&[QUIET_PORT]);
        bridge.send(&noise(60_000)).await;
        drop(bridge.stdin.take());
        let mut target = lab.accept().await;
        read(&mut target, 1_000).await;
        match only_sending {
            true => target.shutdown().await.unwrap(),
            false => drop(target),
        }
        let ended = soon(bridge).await;
        assert_eq!(ended.code, Some(8), "{}", ended.stderr);
        assert!(ended.stderr.contains("of stdin were not sent"), "{}", ended.stderr);
        assert!(ended.stderr.contains("fix: "), "{}", ended.stderr);
        lab.all_ended().await;
    }
}

/// What answers the end, such as close_notify of TLS, has nobody who would miss it.
#[tokio::test]
async fn a_goodbye_behind_the_end_is_no_failure() {
    let lab = Lab::new(quick(Agent::d())).await;
    let (mut bridge, target) = open(&lab, &[QUIET_PORT]).await;
    drop(target);
    lab.session(|session| session.end_reason.is_some()).await;
    // It may have ended already.
    let _ = bridge.stdin.as_mut().unwrap().write_all(&noise(31)).await;
    let ended = soon(bridge).await;
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
    lab.all_ended().await;
}

#[tokio::test]
async fn a_session_without_a_byte_from_the_target_is_told() {
    let lab = Lab::new(quick(Agent::d())).await;
    let bridge = lab.start(&[]);
    drop(lab.accept().await);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0));
    ended.said(b"");
    assert!(ended.stderr.contains("closed it without sending data"), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test]
async fn a_signal_ends_it_in_good_order() {
    // An agent of generation A ignores the Close, and the WebSocket's own close is the end.
    for (agent, obeys) in [(Agent::d(), true), (Agent::a(), false)] {
        for (signal, code) in SIGNALS {
            let lab = Lab::new(quick(agent.clone())).await;
            let (mut bridge, mut target) = open(&lab, &[]).await;
            let last_words = noise(20_000);
            // It finds both at the same time.
            bridge.signal("STOP").await;
            bridge.send(&last_words).await;
            bridge.signal(signal).await;
            bridge.signal("CONT").await;
            let ended = soon(bridge).await;
            assert_eq!(ended.code, Some(code));
            assert_eq!(ended.stderr, "");
            ended.said(b"");
            lab.all_ended().await;
            let session = &lab.cloud.sessions()[0];
            assert!(in_order(session), "{session:#?}");
            assert_eq!(session.input_bytes, 20_000);
            assert!(last_words.starts_with(&rest(&mut target).await));
            let is_closed = session.end_reason.as_deref() == Some("ClientClosed");
            assert_eq!(is_closed, obeys, "{session:?}");
        }
    }
}

#[tokio::test]
async fn an_api_that_hangs_does_not_keep_it() {
    for (signal, code) in SIGNALS {
        let lab = Lab::new(quick(Agent::d())).await;
        let (bridge, _target) = open(&lab, &[]).await;
        lab.cloud.faults().api(ApiFault::on(END).silent());
        bridge.signal(signal).await;
        let ended = soon(bridge).await;
        assert_eq!(ended.code, Some(code));
        assert_eq!(ended.stderr, "");
        lab.session(|session| session.close_frames == 1 && session.close_handshake).await;
    }
}

/// Nothing is answered or taken any more, neither by the gateway nor by the API nor by whoever should
/// read stdout, and there is more to be carried than fits anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_hangs_keeps_it() {
    let actions = [Action::Silence, Action::StallClient, Action::Hang];
    let bytes = Arc::new(noise(PLENTY));
    let mut cases = JoinSet::new();
    for (action, (signal, code)) in actions.into_iter().zip(SIGNALS) {
        let bytes = Arc::clone(&bytes);
        cases.spawn(async move {
            let lab = Lab::new(fast(Agent::d())).await;
            let (mut bridge, mut target) = open(&lab, &[]).await;
            fill(&mut target, &bytes).await;
            let id = lab.cloud.sessions()[0].id.clone();
            assert!(lab.cloud.faults().inject(&id, action.clone()));
            lab.cloud.faults().api(ApiFault::on(END).silent());
            let stdin = bridge.stdin.as_mut().unwrap();
            // What comes in is thrown away by a silent gateway, but never stops to be taken.
            let len = if action == Action::Silence { 1 << 20 } else { PLENTY };
            fill(stdin, &bytes[..len]).await;
            bridge.signal(signal).await;
            let status = timeout(SOON, bridge.child.wait()).await;
            let status = status.unwrap_or_else(|_| panic!("{action:?}, {signal}: within 2 s"));
            assert_eq!(status.unwrap().code(), Some(code));
        });
    }
    cases.join_all().await;
}

#[tokio::test]
async fn a_session_is_ended_with_the_api_even_if_the_gateway_hangs() {
    for action in [Action::Silence, Action::StallClient] {
        let lab = Lab::new(quick(Agent::d())).await;
        let (mut bridge, _target) = open(&lab, &[]).await;
        let id = lab.cloud.sessions()[0].id.clone();
        assert!(lab.cloud.faults().inject(&id, action));
        bridge.send(&noise(20_000)).await;
        bridge.signal("TERM").await;
        assert_eq!(soon(bridge).await.code, Some(143));
        lab.session(|session| session.ended_by_api).await;
    }
}

/// There is more to be sent than the gateway takes, and nobody to deliver to: neither is worth any
/// time of the processor's.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_stdout_ends_it_without_spinning() {
    let lab = Lab::new(fast(Agent::d())).await;
    let (mut bridge, mut target) = open(&lab, &[]).await;
    let id = lab.cloud.sessions()[0].id.clone();
    assert!(lab.cloud.faults().inject(&id, Action::StallClient));
    lab.cloud.faults().api(ApiFault::on(END).silent());
    let bytes = noise(PLENTY);
    fill(bridge.stdin.as_mut().unwrap(), &bytes).await;
    fill(&mut target, &bytes).await;
    let before = bridge.busy();
    drop(bridge.stdout.take());
    let ending = |state: &State| state.calls().any(|call| call.action == END);
    lab.cloud.wait_for(ending, SOON).await.expect("it ends within 2 s");
    let busy = bridge.busy() - before;
    assert!(busy < Duration::from_millis(250), "busy for {busy:?}");
    let ended = soon(bridge).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_closed_stdout_ends_it_in_good_order() {
    let lab = Lab::new(quick(Agent::d())).await;
    let (mut bridge, mut target) = open(&lab, &[]).await;
    bridge.send(b"last words").await;
    drop(bridge.stdout.take());
    assert_eq!(soon(bridge).await.code, Some(0));
    lab.all_ended().await;
    let session = &lab.cloud.sessions()[0];
    assert!(in_order(session), "{session:#?}");
    assert_eq!(session.input_bytes, 10);
    assert!(b"last words".starts_with(&rest(&mut target).await));
}

#[tokio::test]
async fn what_is_being_started_is_ended_too() {
    for (signal, code) in SIGNALS {
        let lab = Lab::new(quick(Agent::d())).await;
        let start = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(600));
        lab.cloud.faults().api(start);
        let bridge = lab.start(&[]);
        lab.cloud.wait_for(|state| state.calls().count() == 1, PATIENCE).await.unwrap();
        bridge.signal(signal).await;
        let ended = soon(bridge).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""));
        ended.said(b"");
        let sessions = lab.cloud.sessions();
        assert!(sessions.len() == 1 && sessions[0].end_calls == 1, "{sessions:#?}");
        assert!(lab.cloud.upgrades().is_empty());
    }
}

#[tokio::test]
async fn a_start_that_is_never_answered_does_not_keep_it() {
    let lab = Lab::new(quick(Agent::d())).await;
    lab.cloud.faults().api(ApiFault::on_any().silent());
    let bridge = lab.start(&[]);
    lab.cloud.wait_for(|state| state.calls().count() == 1, PATIENCE).await.unwrap();
    bridge.signal("HUP").await;
    assert_eq!(soon(bridge).await.code, Some(129));
}

#[tokio::test]
async fn a_signal_while_it_dials_ends_the_session() {
    let at_upgrade = quick(Agent::d()).fault(Fault::new(Point::Upgrade, Action::Silence));
    let before_open = quick(Agent::d()).fault(Fault::new(Point::BeforeOpened, Action::Hang));
    for instance in [at_upgrade, before_open] {
        for (signal, code) in SIGNALS {
            let lab = Lab::new(instance.clone()).await;
            let bridge = lab.start(&[]);
            lab.cloud.wait_for(|state| state.upgrades().count() == 1, PATIENCE).await.unwrap();
            bridge.signal(signal).await;
            let ended = soon(bridge).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""));
            assert!(lab.cloud.sessions()[0].ended_by_api);
        }
    }
}

/// It has failed already, and finds out why: that need not be waited for.
#[tokio::test]
async fn a_signal_while_it_looks_for_the_cause_ends_it() {
    let away = quick(Agent::d()).agent_online(false).agent_timeout(Duration::ZERO);
    let lab = Lab::new(away).await;
    let look = "DescribeInstanceStatus";
    lab.cloud.faults().api(ApiFault::on(look).silent());
    let bridge = lab.start(&[]);
    let looking = |state: &State| state.calls().any(|call| call.action == look);
    lab.cloud.wait_for(looking, PATIENCE).await.unwrap();
    bridge.signal("HUP").await;
    let ended = timeout(Duration::from_secs(2), bridge.end()).await.expect("it ends at once");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(129), ""));
    lab.all_ended().await;
}

/// A reader that goes away while nothing is open yet: ssh has given up.
#[tokio::test]
async fn a_stdout_that_is_closed_early_ends_it() {
    let never_open = quick(Agent::d()).fault(Fault::new(Point::Upgrade, Action::Silence));
    let lab = Lab::new(never_open).await;
    let mut bridge = lab.start(&[]);
    lab.cloud.wait_for(|state| state.upgrades().count() == 1, PATIENCE).await.unwrap();
    drop(bridge.stdout.take());
    let ended = soon(bridge).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(lab.cloud.sessions()[0].ended_by_api);
}

/// ssh holds the other ends of its pipes; its stderr is inherited, and ends with the last of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_an_ssh_that_was_killed() {
    for agent in [Agent::d(), Agent::a()] {
        let world = World::new(Server::InProcess, agent.quick()).await.unwrap();
        let pid_file = world.path("pid");
        let proxy = format!(
            "ProxyCommand=sh -c 'echo $$ > {}; exec {} proxy %h %p'",
            pid_file.display(),
            env!("CARGO_BIN_EXE_ecs-bridge")
        );
        let mut ssh = world.openssh("ssh");
        ssh.args(["-o", &proxy, INSTANCE, "echo ready; exec sleep 60"]);
        let mut ssh = Bridge::start(&mut ssh);
        ssh.expect(b"ready\n").await;
        // Empty once its memory is gone, even if nobody has asked yet how it ended.
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let command_line = format!("/proc/{}/cmdline", pid.trim());
        let runs = || std::fs::read(&command_line).is_ok_and(|line| !line.is_empty());
        assert!(runs() || !cfg!(target_os = "linux"));
        ssh.child.start_kill().unwrap();
        soon(ssh).await;
        assert!(!runs());
        world.check().await;
    }
}

/// Nothing is wrong with a target that has not said anything yet when ssh gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ssh_that_gives_up_before_the_banner_is_told_nothing() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let mut bridge = lab.start(&[]);
    bridge.send(BANNER).await;
    let mut target = lab.accept().await;
    let mut said = vec![0; BANNER.len()];
    let heard = timeout(PATIENCE, target.read_exact(&mut said)).await;
    heard.expect("what was said comes in time").unwrap();
    drop((bridge.stdout.take(), bridge.stdin.take()));
    bridge.end().await.well(b"");
    lab.all_ended().await;
}
