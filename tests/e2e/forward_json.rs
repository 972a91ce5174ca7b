//! The events of `--json` and their schema. Every other test of `forward` has its events checked
//! against it, too.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use local_cloud::{Agent, Instance, Pace};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::forward_driver::{Forward, SCHEMA, Server, echo_lab, is_reset, number, read, text};
use crate::lab::{Bridge, Lab, SOON};
use crate::world::{INSTANCE, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_tells_what_it_has_to() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr).remote("db", 8, server.addr)).await;
    let args = ["-L", "0:localhost:7", "-L", "[::1]:0:db:8", "-L", "0:localhost:9"];
    let mut forward = Forward::start(&lab, &[&args[..], &["--no-probe", "--linger", "0"]].concat());
    let addresses = forward.addresses(3).await;
    for address in &addresses[..2] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
    }
    is_reset(&mut TcpStream::connect(&addresses[2]).await.unwrap()).await;
    forward.all(3, "closed").await;
    let over = forward.stop("TERM").await;

    let listening = over.all("listening");
    for (event, (host, port)) in
        listening.iter().zip([(Value::Null, 7), (json!("db"), 8), (Value::Null, 9)])
    {
        assert_eq!(event["instance"], INSTANCE);
        assert_eq!((&event["remote_host"], &event["remote_port"]), (&host, &json!(port)));
    }
    assert_eq!(over.events[..3].iter().filter(|e| e["event"] == "listening").count(), 3);
    for (event, address) in over.all("accepted").into_iter().zip(&addresses) {
        assert_eq!(text(event, "address"), address);
        let peer: std::net::SocketAddr = text(event, "peer").parse().unwrap();
        assert!(peer.ip().is_loopback());
    }
    let sessions = lab.cloud.sessions();
    for event in over.all("opened") {
        let session = sessions.iter().find(|session| session.id == text(event, "session"));
        // The third may be open before it is known that nothing listens there.
        let port = [7, 8, 9][usize::try_from(number(event, "connection")).unwrap() - 1];
        assert_eq!(session.unwrap().port, Some(port));
        assert!(number(event, "waited_ms") < 60_000);
    }
    for event in over.all("closed") {
        let (bytes, reason) = if event["connection"] == 3 { (0, "failed") } else { (5, "local") };
        assert_eq!((number(event, "sent"), number(event, "received")), (bytes, bytes), "{event}");
        assert_eq!(text(event, "reason"), reason);
    }
    let [error] = over.all("error")[..] else { panic!("one error: {over:?}") };
    assert_eq!(error["connection"], 3);
    let mut before = SystemTime::now() - Duration::from_secs(600);
    for event in &over.events {
        let time = humantime::parse_rfc3339(text(event, "time")).unwrap();
        assert!(before <= time, "{event} is before the one before it");
        before = time;
    }
    assert!(before < SystemTime::now() + Duration::from_secs(1));
    lab.all_ended().await;
}

/// The instance is not known, and the session is that of the URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_a_session_that_somebody_else_has_started() {
    let (lab, _server) = echo_lab().await;
    let url = lab.cloud.start_session(INSTANCE, 7).unwrap();
    let id = lab.cloud.sessions()[0].id.clone();
    let args = ["forward", "--json", "--wss-url", &url, "-L", "0:localhost:7", "--linger", "0"];
    let mut forward = Forward::run(&mut lab.bridge(args));
    let mut client = forward.connect().await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    assert_eq!(text(&forward.told(1, "opened").await, "session"), id);
    drop(client);
    let over = forward.end().await;
    assert_eq!(over.code(), 0);
    let [listening] = over.all("listening")[..] else { panic!("one: {over:?}") };
    assert_eq!(listening["instance"], Value::Null);
    assert_eq!(lab.cloud.calls(), []);
}

#[test]
fn the_schema_takes_what_is_told_and_nothing_else() {
    let time = "2026-01-31T12:34:56.789Z";
    let examples = [
        json!({"time": time, "event": "listening", "address": "127.0.0.1:2222",
               "addresses": ["127.0.0.1:2222", "[::1]:2222"], "instance": "i-1",
               "remote_host": null, "remote_port": 22}),
        json!({"time": time, "event": "accepted", "connection": 1, "address": "/tmp/s",
               "peer": "local"}),
        json!({"time": time, "event": "opened", "connection": 1, "session": "s-1", "waited_ms": 0}),
        json!({"time": time, "event": "closed", "connection": 1, "sent": 0, "received": 1,
               "duration_ms": 2, "reason": "target"}),
        json!({"time": time, "event": "warning", "connection": 1, "message": "m", "fix": "f"}),
        json!({"time": time, "event": "warning", "connection": null, "message": "m", "fix": "f"}),
        json!({"time": time, "event": "error", "connection": null, "message": "m", "why": null,
               "fix": "f", "request_id": null}),
    ];
    // Of a session that somebody else has started, less may be known.
    for (index, name) in [(0, "instance"), (2, "session")] {
        let mut unknown = examples[index].clone();
        unknown[name] = Value::Null;
        assert!(SCHEMA.is_valid(&unknown), "{unknown}");
        unknown[name] = json!("");
        assert!(!SCHEMA.is_valid(&unknown), "{unknown}");
    }
    for example in &examples {
        assert!(SCHEMA.is_valid(example), "{example}");
        // Nothing may be missing, nothing may be added, and nothing may be of another kind.
        for name in example.as_object().unwrap().keys() {
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(!SCHEMA.is_valid(&without), "{without}");
            let mut other = example.clone();
            other[name] = json!([]);
            assert!(!SCHEMA.is_valid(&other), "{other}");
        }
        let mut more = example.clone();
        more["token"] = json!("secret");
        assert!(!SCHEMA.is_valid(&more), "{more}");
    }
    for (index, name, value) in [
        (0, "remote_port", json!(0)),
        (0, "instance", json!("web-1")),
        (0, "time", json!("2026-01-31 12:34:56")),
        (1, "connection", json!(0)),
        (2, "waited_ms", json!(-1)),
        (2, "event", json!("closed")),
        (3, "reason", json!("because")),
        (4, "fix", json!(null)),
        (5, "message", json!("")),
    ] {
        let mut other = examples[index].clone();
        other[name] = value;
        assert!(!SCHEMA.is_valid(&other), "{other}");
    }
}

/// Programs that want to know the port read the first line, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_reads_the_first_line_only_holds_nobody_up() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    // A socket for a stdout that is soon full.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    socket2::SockRef::from(&theirs).set_send_buffer_size(1).unwrap();
    let args = ["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:7", "--no-probe"];
    let mut command = lab.bridge(args);
    command.args(["--ready-delay", "0", "--linger", "0"]);
    command.stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
    let bridge = Bridge::start_as_it_is(&mut command);
    drop(command);
    ours.set_nonblocking(true).unwrap();
    let mut ours = BufReader::with_capacity(256, UnixStream::from_std(ours).unwrap());
    let mut line = String::new();
    timeout(PATIENCE, ours.read_line(&mut line)).await.unwrap().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let address = text(&event, "address");
    for _ in 0..40 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
    }
    bridge.signal("TERM").await;
    let ended = timeout(SOON, bridge.end()).await.expect("it ends although nobody reads");
    assert_eq!(ended.code, Some(143));
    assert!(ended.stderr.contains("stdout is not read"), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_closes_its_end_holds_nobody_up_either() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let args = ["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:22", "--no-probe"];
    let mut bridge = Bridge::start(&mut lab.bridge(args));
    let mut stdout = BufReader::new(bridge.stdout.take().unwrap());
    let mut line = String::new();
    timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    drop(stdout);
    let event: Value = serde_json::from_str(&line).unwrap();
    for _ in 0..2 {
        let mut client = TcpStream::connect(text(&event, "address")).await.unwrap();
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        assert_eq!(read(&mut client, 11).await, b"SSH-2.0-x\r\n");
        drop(target);
    }
    bridge.signal("TERM").await;
    let ended = bridge.end().await;
    // The second connection may have been open when the signal came.
    let told = ended.stderr.lines().find(|line| !line.starts_with("waiting up to 5 s for 1 open"));
    assert_eq!((ended.code, told), (Some(143), None));
    lab.all_ended().await;
}
