//! The queue of a forward whose sessions are all in use: who gives a place, and who needs none.

use std::time::Duration;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::forward_driver::{Forward, Server, echoes, is_reset, is_silent, number, text};
use crate::lab::Lab;
use crate::world::INSTANCE;

const START: &str = "StartTerminalSession";

/// A lab with an echo server behind port 7, and a forward to it whose sessions linger for ever.
async fn echo(args: &[&str]) -> (Lab, Server, Forward) {
    let server = Server::echo().await;
    // It does not tell that the target has closed.
    let agent = Agent::a().quick();
    let instance = Instance::new(INSTANCE).agent(agent).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let all = ["-L", "0:localhost:7", "--no-probe", "--ready-delay", "0.1", "--linger", "86400"];
    let forward = Forward::start(&lab, &[&all[..], &["--grace", "0"], args].concat());
    (lab, server, forward)
}

fn started(lab: &Lab) -> usize {
    lab.count(START)
}

fn closed(forward: &Forward) -> Vec<u64> {
    forward.so_far("closed").iter().map(|event| number(event, "connection")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_quiet_of_those_that_linger_gives_its_place() {
    let (lab, _server, mut forward) = echo(&["--max-connections", "3"]).await;
    let mut open = forward.connect().await;
    echoes(&mut open).await;
    let mut lingering = Vec::new();
    for _ in 0..2 {
        let mut connection = forward.connect().await;
        echoes(&mut connection).await;
        connection.shutdown().await.unwrap();
        lingering.push(connection);
    }
    // Nobody needs a place yet.
    is_silent(&mut lingering[0], Duration::from_millis(1500)).await;
    assert_eq!(closed(&forward), [0; 0]);
    for (first, next) in [(2, 4), (3, 5)] {
        let mut connection = forward.connect().await;
        echoes(&mut connection).await;
        forward.told(next, "opened").await;
        assert_eq!(forward.told(first, "closed").await["reason"], "local");
        assert_eq!(closed(&forward).len(), first as usize - 1, "one place for one");
        lingering.push(connection);
    }
    // One that is open stays, whoever waits.
    let waits = forward.connect().await;
    forward.told(6, "accepted").await;
    is_silent(&mut open, Duration::from_millis(1500)).await;
    echoes(&mut open).await;
    assert_eq!((closed(&forward).len(), started(&lab)), (2, 5));
    drop((open, lingering, waits));
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// It is not told that --linger was too short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_gives_its_place_without_an_answer_is_warned_of_for_what_it_is() {
    let server = Server::start(async |mut stream: TcpStream| {
        // It reads all, and never answers.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        std::future::pending().await
    })
    .await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let args = [
        "-L",
        "0:localhost:7",
        "--no-probe",
        "--max-connections",
        "1",
        "--linger",
        "86400",
        "--grace",
        "0",
    ];
    let mut forward = Forward::start(&lab, &args);
    let mut first = forward.connect().await;
    first.write_all(b"are you there?").await.unwrap();
    forward.told(1, "opened").await;
    first.shutdown().await.unwrap();
    let second = forward.connect().await;
    let warning = forward.told(1, "warning").await;
    let message = text(&warning, "message");
    assert!(message.contains("a waiting connection needed this one's session"), "{warning}");
    assert!(!message.contains("--linger"), "{warning}");
    assert!(text(&warning, "fix").contains("--max-connections"), "{warning}");
    assert_eq!(forward.told(1, "closed").await["reason"], "local");
    is_reset(&mut first).await;
    forward.told(2, "opened").await;
    drop(second);
    forward.stop("TERM").await;
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_the_queue_costs_no_session_unless_it_has_said_something() {
    let (lab, _server, mut forward) = echo(&["--max-connections", "1"]).await;
    let mut first = forward.connect().await;
    echoes(&mut first).await;
    for number in 2..=61 {
        let left = forward.connect().await;
        forward.told(number, "accepted").await;
        drop(left);
        assert_eq!(forward.told(number, "closed").await["reason"], "local");
    }
    let mut gone = forward.connect().await;
    gone.write_all(b"are you there?").await.unwrap();
    forward.told(62, "accepted").await;
    drop(gone);
    assert_eq!(started(&lab), 1);
    echoes(&mut first).await;
    drop(first);
    forward.told(62, "opened").await;
    let closed = forward.told(62, "closed").await;
    assert_eq!(number(&closed, "sent"), 14, "{closed}");
    assert_eq!(started(&lab), 2);
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// Of unix sockets too, and while others fill the quota.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_the_queue_of_the_service_costs_no_session() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let full = local_cloud::ApiFault::on(START).error(403, "SessionCount.ExceedLimit", "full");
    lab.cloud.faults().api(full);
    let path = lab.dir.path().join("s");
    let spec = format!("{}:localhost:7", path.display());
    let mut forward = Forward::start(&lab, &["-L", &spec, "-L", "0:localhost:7", "--no-probe"]);
    let addresses = forward.addresses(2).await;
    let one = tokio::net::UnixStream::connect(&path).await.unwrap();
    forward.told(1, "accepted").await;
    let two = TcpStream::connect(&addresses[1]).await.unwrap();
    forward.told(2, "accepted").await;
    forward.bridge.logged("the session quota is full").await;
    drop((one, two));
    for number in [1, 2] {
        assert_eq!(forward.told(number, "closed").await["reason"], "local");
    }
    lab.cloud.faults().clear();
    let over = forward.stop("TERM").await;
    assert_eq!((over.all("opened").len(), over.all("error").len()), (0, 0), "{over:?}");
    assert_eq!(lab.cloud.sessions().len(), 0);
}
