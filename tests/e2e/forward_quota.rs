//! Quotas that are full: of others, or since the service still counts sessions that were just ended.

use std::time::Duration;

use local_cloud::{
    Action, Agent, ApiFault, Builder, Fault, Instance, LocalCloud, Pace, Point, SessionRecord,
};
use tokio::io::AsyncWriteExt;

use crate::forward_driver::{Forward, Server, echoes, number, read, text};
use crate::lab::Lab;
use crate::world::INSTANCE;

const START: &str = "StartTerminalSession";
const FULL: &str = "SessionCount.ExceedLimit";
const WAITS: &str = "the session quota is full";
/// Longer than any wait of a test.
const LONG: Duration = Duration::from_secs(100);

/// A lab with an echo server behind port 7, and a forward to it that starts without ado.
async fn echo(change: impl FnOnce(Builder) -> Builder, args: &[&str]) -> (Lab, Server, Forward) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let builder = change(LocalCloud::builder());
    let lab = Lab::with(builder, instance.target(7, server.addr)).await;
    let all = ["-L", "0:localhost:7", "--no-probe", "--ready-delay", "0", "--linger", "0"];
    let forward = Forward::start(&lab, &[&all[..], &["--grace", "0"], args].concat());
    (lab, server, forward)
}

/// A connection that does what it is for, and its session's end.
async fn one(lab: &Lab, forward: &mut Forward, number: u64) {
    echoes(&mut forward.connect().await).await;
    forward.told(number, "closed").await;
    lab.session(|session| session.ended_by_api).await;
}

fn refused(lab: &Lab) -> usize {
    let calls = lab.cloud.calls();
    calls.iter().filter(|call| call.code.as_deref() == Some(FULL)).count()
}

fn starts(lab: &Lab) -> usize {
    lab.count(START)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_was_just_given_back_is_waited_for() {
    let lag = Duration::from_millis(400);
    let few = |builder: Builder| builder.instance_quota(1).quota_lag(lag);
    let (lab, _server, mut forward) = echo(few, &[]).await;
    for number in 1..=4 {
        one(&lab, &mut forward, number).await;
    }
    let over = forward.stop("TERM").await;
    assert_eq!((over.all("opened").len(), over.all("error").len()), (4, 0), "{over:?}");
    assert!(refused(&lab) >= 3, "the service had room: {}", refused(&lab));
    lab.all_ended().await;
}

/// The gateway counts for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_behind_is_asked_again() {
    let (lab, _server, mut forward) = echo(|builder| builder, &[]).await;
    one(&lab, &mut forward, 1).await;
    let full = Fault::new(Point::Upgrade, Action::Refuse(429)).times(2);
    assert!(lab.cloud.faults().stream(INSTANCE, full));
    one(&lab, &mut forward, 2).await;
    let over = forward.stop("TERM").await;
    assert_eq!((over.all("opened").len(), over.all("error").len()), (2, 0), "{over:?}");
    assert_eq!(starts(&lab), 4);
    lab.all_ended().await;
}

/// With `--wait 0` those who fill it are told of at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_fill_is_told_at_once_without_a_wait() {
    let (lab, _server, mut forward) = echo(|builder| builder, &["--wait", "0"]).await;
    let full = Fault::new(Point::Upgrade, Action::Refuse(429)).times(2);
    assert!(lab.cloud.faults().stream(INSTANCE, full));
    for number in [1, 2] {
        forward.refused().await;
        let error = forward.told(number, "error").await;
        assert!(text(&error, "message").contains("HTTP 429"), "{error}");
    }
    assert_eq!(starts(&lab), 2);
    lab.cloud.faults().api(ApiFault::on(START).error(403, FULL, "too many sessions").times(1));
    forward.refused().await;
    assert!(text(&forward.told(3, "error").await, "message").contains(FULL));
    assert_eq!(starts(&lab), 3);
    one(&lab, &mut forward, 4).await;
    let over = forward.stop("TERM").await;
    assert!(!over.ended.stderr.contains(WAITS), "{}", over.ended.stderr);
    lab.all_ended().await;
}

/// Connections wait in one queue, in order, and only the first asks the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_fill_is_waited_for_in_order() {
    let (lab, _server, mut forward) = echo(|builder| builder, &[]).await;
    lab.cloud.faults().api(ApiFault::on(START).error(403, FULL, "too many sessions"));
    let mut all = Vec::new();
    for number in 1..=10 {
        let mut connection = forward.connect().await;
        connection.write_all(b"are you there?").await.unwrap();
        forward.told(number, "accepted").await;
        if number == 1 {
            forward.bridge.logged(WAITS).await;
        }
        all.push(connection);
    }
    let asked = refused(&lab);
    lab.cloud.faults().clear();
    for connection in &mut all {
        assert_eq!(read(connection, 14).await, b"are you there?");
    }
    // A session is told when it is ready, and one that was started later may be so earlier.
    let opened = forward.all(10, "opened").await;
    let started = lab.cloud.sessions();
    let connection_of = |session: &SessionRecord| {
        let event = opened.iter().find(|event| event["session"] == session.id);
        event.map(|event| number(event, "connection"))
    };
    let order: Vec<_> = started.iter().filter_map(connection_of).collect();
    assert_eq!(order, (1..=10).collect::<Vec<_>>(), "not started in order");
    // Each of ten would have been refused at least once.
    assert!(asked < 10 + 5, "{asked}");
    assert!(starts(&lab) <= refused(&lab) + 10);
    drop(all);
    let over = forward.stop("TERM").await;
    assert_eq!(over.ended.stderr.matches(WAITS).count(), 1, "{}", over.ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_does_not_come_free_is_not_waited_for_long() {
    let few = |builder: Builder| builder.region_quota(1).quota_lag(LONG);
    let (lab, _server, mut forward) = echo(few, &["--wait", "2"]).await;
    one(&lab, &mut forward, 1).await;
    forward.refused().await;
    let error = forward.told(2, "error").await;
    assert!(text(&error, "message").contains(FULL), "{error}");
    assert!(text(&error, "why").contains("the quota was still full after 2 s (--wait)"), "{error}");
    let asked = refused(&lab);
    assert!((3..10).contains(&asked), "{asked}");
    // Another error is none of this.
    lab.cloud.faults().api(ApiFault::on(START).error(403, "Forbidden.RAM", "no").times(1));
    forward.refused().await;
    assert!(text(&forward.told(3, "error").await, "message").contains("Forbidden.RAM"));
    assert_eq!(starts(&lab), asked + 2);
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// Neither a client that goes meanwhile nor the end of the forward is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_place_that_nobody_needs() {
    for is_signal in [false, true] {
        let few = |builder: Builder| builder.region_quota(1).quota_lag(LONG);
        let (lab, _server, mut forward) = echo(few, &["-vv"]).await;
        one(&lab, &mut forward, 1).await;
        let client = forward.connect().await;
        forward.bridge.logged_often("no place for the session", 3).await;
        if !is_signal {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            assert_eq!(forward.told(2, "closed").await["reason"], "local");
        }
        let over = forward.stop("TERM").await;
        let closed = over.all("closed").into_iter().find(|closed| closed["connection"] == 2);
        assert_eq!(closed.unwrap()["reason"], if is_signal { "stopped" } else { "local" });
        assert_eq!((over.all("error").len(), over.all("opened").len()), (0, 1));
        lab.all_ended().await;
    }
}
