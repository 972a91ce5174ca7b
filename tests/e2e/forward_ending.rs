//! How `forward` ends: on signals, with connections in every state; never with a session left.

use std::io::ErrorKind;
use std::time::Duration;

use local_cloud::{Action, Agent, ApiFault, Fault, Instance, Pace, Point, State};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::forward_driver::{Forward, is_reset, number, read, rest, text};
use crate::lab::{Lab, QUIET_PORT};
use crate::world::{INSTANCE, PATIENCE, noise};

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000))
}

/// A forward to the port that the test itself serves.
fn forward(lab: &Lab, args: &[&str]) -> Forward {
    let spec = format!("0:localhost:{QUIET_PORT}");
    Forward::start(lab, &[&["-L", &spec, "--no-probe"], args].concat())
}

/// A connection, and the target's end of it, once both have heard of each other.
async fn open(lab: &Lab, forward: &mut Forward) -> (TcpStream, TcpStream) {
    let mut client = forward.connect().await;
    let mut target = lab.accept().await;
    target.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    (client, target)
}

/// Waits until it does not listen any more: it has heard of the signal.
pub(crate) async fn stopped_listening(address: &str) {
    let refused = async {
        loop {
            match TcpStream::connect(address).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                // Taken by the system before the listener was closed.
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("it stops listening");
}

#[tokio::test]
async fn each_signal_has_its_exit_code() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let lab = Lab::new(quick(Agent::d())).await;
        let mut forward = forward(&lab, &["--grace", "60"]);
        forward.address().await;
        assert_eq!(forward.stop(signal).await.code(), code, "nothing is open");
        assert!(lab.cloud.sessions().is_empty());
    }
}

#[tokio::test]
async fn open_connections_may_come_to_their_own_end() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(quick(agent)).await;
        let mut forward = forward(&lab, &["--grace", "60", "--linger", "1"]);
        let address = forward.address().await;
        let (mut client, mut target) = open(&lab, &mut forward).await;
        forward.bridge.signal("TERM").await;
        stopped_listening(&address).await;
        let bytes = noise(300_000);
        client.write_all(&bytes).await.unwrap();
        assert!(read(&mut target, bytes.len()).await == bytes);
        target.write_all(&bytes).await.unwrap();
        assert!(read(&mut client, bytes.len()).await == bytes);
        drop(client);
        // It does not wait for the grace to be over.
        let over = forward.end().await;
        assert_eq!(over.code(), 143);
        // Others may have come while it stopped listening.
        let closed = over.all("closed").into_iter().find(|event| event["connection"] == 1).unwrap();
        assert_eq!((number(closed, "sent"), number(closed, "received")), (300_000, 300_005));
        assert_eq!(text(closed, "reason"), "local");
        lab.all_ended().await;
    }
}

#[tokio::test]
async fn after_the_grace_what_is_open_is_closed() {
    for grace in ["0", "1"] {
        let lab = Lab::new(quick(Agent::d())).await;
        let mut forward = forward(&lab, &["--grace", grace]);
        let (mut client, mut target) = open(&lab, &mut forward).await;
        client.write_all(b"my last words").await.unwrap();
        let over = forward.stop("INT").await;
        assert_eq!(over.code(), 130);
        assert_eq!(over.all("closed")[0]["reason"], "stopped");
        is_reset(&mut client).await;
        // The stand-in's agent leaves with the Close, and may not have written all of it.
        rest(&mut target).await.unwrap();
        lab.all_ended().await;
        assert_eq!(lab.cloud.sessions()[0].input_bytes, 13, "the last words");
    }
}

/// Nobody but this command can notice: its client has closed.
#[tokio::test]
async fn what_a_client_that_has_closed_sent_and_has_not_arrived_is_told_after_the_grace() {
    for (is_closed, warnings) in [(true, 1), (false, 0)] {
        let fault = Fault::new(Point::Opened, Action::StallClient);
        let lab = Lab::new(quick(Agent::d()).fault(fault)).await;
        let mut forward = forward(&lab, &["--grace", "1"]);
        let mut client = forward.connect().await;
        client.write_all(b"my last words").await.unwrap();
        if is_closed {
            client.shutdown().await.unwrap();
        }
        forward.told(1, "opened").await;
        let over = forward.stop("TERM").await;
        assert_eq!((over.code(), over.all("warning").len()), (143, warnings), "{over:?}");
        let told = "13 bytes that were sent to port 6379";
        let is_told =
            |event: &&serde_json::Value| event["message"].as_str().unwrap().starts_with(told);
        assert_eq!(over.all("warning").into_iter().filter(is_told).count(), warnings, "{over:?}");
        is_reset(&mut client).await;
        lab.all_ended().await;
    }
}

#[tokio::test]
async fn a_second_signal_closes_what_is_open_at_once() {
    for (first, second, code) in [("INT", "INT", 130), ("TERM", "INT", 143)] {
        let lab = Lab::new(quick(Agent::d())).await;
        let mut forward = forward(&lab, &["--grace", "3600"]);
        let address = forward.address().await;
        let (mut client, mut target) = open(&lab, &mut forward).await;
        forward.bridge.signal(first).await;
        let again = if first == "INT" { "Ctrl-C again" } else { "a second signal" };
        let text = format!("waiting up to 3600 s for 1 open connection; {again} ends it");
        forward.bridge.logged(&text).await;
        stopped_listening(&address).await;
        client.write_all(b"still there").await.unwrap();
        assert_eq!(read(&mut target, 11).await, b"still there");
        assert_eq!(forward.stop(second).await.code(), code);
        is_reset(&mut client).await;
        assert_eq!(rest(&mut target).await.unwrap(), b"");
        lab.all_ended().await;
    }
}

/// Channels that nobody uses are no reason to wait.
#[tokio::test]
async fn channels_that_are_kept_ready_end_at_once() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &["--grace", "3600", "--warm", "1"]);
    forward.address().await;
    let mut warm = lab.accept().await;
    let mut client = forward.connect().await;
    warm.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    let mut next = lab.accept().await;
    forward.bridge.signal("TERM").await;
    assert_eq!(rest(&mut next).await.unwrap(), b"", "it is told of the end");
    client.write_all(b"still there").await.unwrap();
    assert_eq!(read(&mut warm, 11).await, b"still there");
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
}

/// The agent does not join: the connection has a session, and it is not open.
#[tokio::test]
async fn a_connection_that_is_being_opened_is_closed_by_the_second_signal() {
    let agent = Agent::d().join_delay(Duration::from_secs(3600));
    let lab = Lab::new(quick(Agent::d()).agent(agent)).await;
    let mut forward = forward(&lab, &["--grace", "3600"]);
    let address = forward.address().await;
    let mut client = forward.connect().await;
    lab.session(|session| session.live == 1).await;
    forward.bridge.signal("TERM").await;
    stopped_listening(&address).await;
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("opened").len()), (143, 0));
    is_reset(&mut client).await;
    lab.all_ended().await;
}

/// The API may have started a session though its answer has not come yet.
#[tokio::test]
async fn a_session_that_is_just_being_started_is_ended_too() {
    let lab = Lab::new(quick(Agent::d())).await;
    let late = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(500));
    lab.cloud.faults().api(late);
    let mut forward = forward(&lab, &["--grace", "0"]);
    let _client = forward.connect().await;
    forward.told(1, "accepted").await;
    lab.cloud.wait_for(|state| state.calls().next().is_some(), PATIENCE).await.unwrap();
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
}

#[tokio::test]
async fn a_connection_that_waits_for_its_turn_is_reset() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &["--grace", "3600", "--max-connections", "1"]);
    let (_client, _target) = open(&lab, &mut forward).await;
    let mut waits = forward.connect().await;
    forward.bridge.logged("--max-connections allows").await;
    forward.bridge.signal("TERM").await;
    is_reset(&mut waits).await;
    let closed = forward.told(2, "closed").await;
    assert_eq!(closed["reason"], "stopped");
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
    assert_eq!(lab.cloud.sessions().len(), 1, "no session for one that had no turn");
}

#[tokio::test]
async fn a_signal_during_the_probe_ends_it() {
    let agent = Agent::d().join_delay(Duration::from_secs(3600));
    let lab = Lab::new(quick(Agent::d()).agent(agent)).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let forward = Forward::start(&lab, &["-L", &spec, "--grace", "3600"]);
    lab.session(|session| session.live == 1).await;
    let over = forward.stop("INT").await;
    assert_eq!((over.code(), over.events.len()), (130, 0), "{over:?}");
    lab.all_ended().await;
}

/// With an API that has gone, the end takes no longer than it may.
#[tokio::test]
async fn an_api_that_does_not_answer_holds_the_end_up_no_longer_than_a_moment() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &["--grace", "0"]);
    let mut open = vec![open(&lab, &mut forward).await, open(&lab, &mut forward).await];
    lab.cloud.faults().api(ApiFault::on("EndTerminalSession").silent());
    assert_eq!(forward.stop("TERM").await.code(), 143);
    for (client, target) in &mut open {
        is_reset(client).await;
        assert_eq!(rest(target).await.unwrap(), b"");
    }
    let over = |state: &State| state.sessions().all(|s| (s.close_frames, s.live) == (1, 0));
    lab.cloud.wait_for(over, PATIENCE).await.expect("each session was closed");
}
