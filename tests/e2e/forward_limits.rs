//! Quotas, and what many connections leave behind.

use std::time::Duration;

use local_cloud::{Agent, ApiFault, Instance, Pace, SessionRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::forward_driver::{Forward, Server, echoes, number, read, text};
use crate::lab::{Lab, QUIET_PORT};
#[cfg(target_os = "linux")]
use crate::terminal::by;
use crate::world::{INSTANCE, noise};

const START: &str = "StartTerminalSession";
const TOLD: &str = "--max-connections allows";

fn quick() -> Instance {
    Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::announced(64_000_000))
}

/// A lab with an echo server behind port 7, and a forward to it that starts without ado.
async fn echo(args: &[&str]) -> (Lab, Server, Forward) {
    let server = Server::echo().await;
    let lab = Lab::new(quick().target(7, server.addr)).await;
    let all = ["-L", "0:localhost:7", "--no-probe", "--ready-delay", "0", "--linger", "0"];
    let forward = Forward::start(&lab, &[&all, args].concat());
    (lab, server, forward)
}

fn started(lab: &Lab) -> usize {
    lab.count(START)
}

/// What cannot be taken waits, and that is not told again and again.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_no_descriptor_left_says_so_once_and_goes_on() {
    let server = Server::echo().await;
    let lab = Lab::new(quick().target(7, server.addr)).await;
    let args = ["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:7", "--linger", "0"];
    let more = ["--no-probe", "--ready-delay", "0", "--max-connections", "1"];
    let inner = lab.bridge(args.iter().chain(&more));
    let script = "ulimit -n 20; exec \"$@\"";
    let mut forward = Forward::run(&mut by(&["sh", "-c", script, "sh"], &inner));
    let mut connections = vec![forward.connect().await];
    echoes(&mut connections[0]).await;
    for _ in 1..30 {
        connections.push(forward.connect().await);
    }
    forward.bridge.logged("cannot take a connection").await;
    // Each has its turn, whether there are enough for a session by then or not.
    drop(connections);
    forward.all(30, "closed").await;
    echoes(&mut forward.connect().await).await;
    let over = forward.stop("TERM").await;
    assert_eq!(over.code(), 143, "{over:?}");
    let told = over.ended.stderr.matches("cannot take a connection").count();
    assert_eq!(told, 1, "{}", over.ended.stderr);
    assert!(over.ended.stderr.contains("`ulimit -n` raises"), "{}", over.ended.stderr);
    lab.all_ended().await;
}

/// The service has its own quota of 20, and would refuse a session too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_are_connected_at_once_and_the_next_ones_wait_in_order() {
    let (lab, _server, mut forward) = echo(&[]).await;
    let mut connections = Vec::new();
    for number in 1..=20 {
        connections.push(forward.connect().await);
        forward.told(number, "accepted").await;
    }
    forward.all(20, "opened").await;
    for connection in &mut connections {
        echoes(connection).await;
    }
    let mut late = Vec::new();
    for number in 21..=23 {
        let mut connection = forward.connect().await;
        // What it says is not lost while it waits.
        connection.write_all(b"are you there?").await.unwrap();
        forward.told(number, "accepted").await;
        late.push(connection);
    }
    forward.bridge.logged(TOLD).await;
    assert_eq!(started(&lab), 20);
    for (index, connection) in late.iter_mut().enumerate() {
        drop(connections.swap_remove(index));
        assert_eq!(read(connection, 14).await, b"are you there?");
        // What it tells may come after what it carries.
        let opened = forward.all(21 + index, "opened").await;
        let opened: Vec<_> = opened.iter().map(|event| number(event, "connection")).collect();
        assert_eq!(opened[20..], (21..=21 + index as u64).collect::<Vec<_>>(), "out of order");
        assert_eq!(started(&lab), 21 + index);
    }
    drop((connections, late));
    forward.all(23, "closed").await;
    let over = forward.stop("TERM").await;
    assert_eq!(over.ended.stderr.matches(TOLD).count(), 1, "{}", over.ended.stderr);
    assert_eq!(over.all("error").len(), 0);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_at_a_time_each_has_its_turn() {
    let (lab, _server, mut forward) = echo(&["--max-connections", "1"]).await;
    let mut connections = Vec::new();
    for number in 1..=4 {
        connections.push(forward.connect().await);
        forward.told(number, "accepted").await;
    }
    for (index, mut connection) in connections.into_iter().enumerate() {
        echoes(&mut connection).await;
        assert_eq!(forward.all(index + 1, "opened").await.len(), index + 1);
        let live = lab.cloud.sessions().iter().filter(|session| session.is_open()).count();
        assert_eq!(live, 1, "sessions at once");
    }
    forward.all(4, "closed").await;
    let over = forward.stop("INT").await;
    assert_eq!((over.code(), over.all("error").len()), (130, 0));
    assert_eq!(over.ended.stderr.matches(TOLD).count(), 1, "{}", over.ended.stderr);
    lab.all_ended().await;
}

/// One that gives up while it waits costs the next ones nothing but its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_and_goes_holds_nobody_up() {
    let (lab, _server, mut forward) = echo(&["--max-connections", "1"]).await;
    let mut first = forward.connect().await;
    echoes(&mut first).await;
    let waits = forward.connect().await;
    forward.told(2, "accepted").await;
    let mut last = forward.connect().await;
    forward.told(3, "accepted").await;
    socket2::SockRef::from(&waits).set_linger(Some(Duration::ZERO)).unwrap();
    drop(waits);
    drop(first);
    echoes(&mut last).await;
    drop(last);
    forward.all(3, "closed").await;
    assert_eq!(forward.stop("TERM").await.all("error").len(), 0);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_of_the_service_has_words_of_its_own_and_fails_that_connection_only() {
    let (lab, _server, mut forward) = echo(&["--wait", "0"]).await;
    let fault = ApiFault::on(START).error(403, "SessionCount.ExceedLimit", "too many sessions");
    lab.cloud.faults().api(fault.times(1));
    forward.refused().await;
    let error = forward.told(1, "error").await;
    for quota in ["100", "20"] {
        assert!(error.to_string().contains(quota), "{error}");
    }
    assert!(text(&error, "fix").contains("EndTerminalSession"), "{error}");
    assert!(!text(&error, "request_id").is_empty());
    assert_eq!(forward.told(1, "closed").await["reason"], "failed");
    echoes(&mut forward.connect().await).await;
    forward.told(2, "closed").await;
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
}

/// A target that answers and closes, as a time server does.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_short_connections_leave_nothing_behind() {
    use crate::forward_driver::rest;
    use crate::lab::SOON;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    let server = Server::start(async |mut stream: TcpStream| {
        let mut question = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut question).await?;
        stream.write_all(&question.repeat(250)).await
    });
    let server = server.await;
    let lab = Lab::new(quick().target(13, server.addr)).await;
    let args = ["-L", "0:localhost:13", "--no-probe", "--ready-delay", "0"];
    let mut forward = Forward::start(&lab, &args);
    let address = forward.address().await;
    let mut descriptors = 0;
    let mut memory = 0;
    for connection in 1..=500_u32 {
        let mut client = TcpStream::connect(&address).await.unwrap();
        let question = connection.to_be_bytes();
        client.write_all(&question).await.unwrap();
        assert!(rest(&mut client).await.unwrap() == question.repeat(250), "{connection}");
        drop(client);
        if connection == 100 {
            forward.all(100, "closed").await;
            (descriptors, memory) = (open_files(&forward), forward.bridge.memory("VmRSS"));
        }
    }
    forward.all(500, "closed").await;
    // The last connection is told before its descriptor is closed.
    let gone = async {
        while open_files(&forward) > descriptors {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.expect("as many file descriptors as before");
    let after = forward.bridge.memory("VmRSS");
    assert!(after < memory + 128, "{memory} KiB after 100 connections, {after} after 500");
    let over = forward.stop("TERM").await;
    assert_eq!((over.all("closed").len(), over.all("error").len()), (500, 0));
    lab.all_ended().await;
    assert_eq!(started(&lab), 500);
}

#[cfg(target_os = "linux")]
fn open_files(forward: &Forward) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", forward.bridge.pid())).unwrap().count()
}

/// What is left for a client that takes its time needs no session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_over_holds_no_place() {
    let lab = Lab::new(quick()).await;
    let path = lab.dir.path().join("s");
    let spec = format!("{}:localhost:{QUIET_PORT}", path.display());
    let args = ["-L", &spec, "--no-probe", "--max-connections", "1", "--grace", "0"];
    let mut forward = Forward::start(&lab, &args);
    forward.address().await;
    let mut slow = UnixStream::connect(&path).await.unwrap();
    let mut target = lab.accept().await;
    let bytes = noise(400_000);
    target.write_all(&bytes).await.unwrap();
    drop(target);
    let mut got = vec![0; bytes.len()];
    let mut read = 0;
    // It reads as much as it has to.
    let a_moment = Duration::from_millis(100);
    let ended = |session: &SessionRecord| session.ended_by_api;
    while lab.cloud.wait_for_session(ended, a_moment).await.is_err() {
        assert!(read < bytes.len() - 8192, "all is read before the session is over");
        read += slow.read(&mut got[read..read + 8192]).await.unwrap();
    }
    let _next = UnixStream::connect(&path).await.unwrap();
    lab.accept().await;
    slow.read_exact(&mut got[read..]).await.unwrap();
    assert!(got == bytes);
    forward.stop("TERM").await;
    lab.all_ended().await;
}
