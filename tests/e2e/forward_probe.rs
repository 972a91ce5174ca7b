//! The session that `forward` opens to see that the target is there is the first connection's.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use local_cloud::{Agent, Instance, Pace, Progress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::forward_driver::{Forward, Over, Server, is_reset, number, read, text};
use crate::lab::{Lab, QUIET_PORT, SOON, connected};
use crate::world::{INSTANCE, PATIENCE};

/// As long as it may be: without a byte of it the target is not taken to be reached before.
const LONG: &str = "10";

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000))
}

fn all_agents() -> [Agent; 4] {
    [Agent::a(), Agent::b(), Agent::c(), Agent::d()]
}

/// A socket of the lab's that leads to a port, as `-L` takes it, and its path.
fn socket(lab: &Lab, name: &str, port: &str) -> (String, std::path::PathBuf) {
    let path = lab.dir.path().join(name);
    (format!("{}:localhost:{port}", path.display()), path)
}

async fn echoes(client: &mut UnixStream) {
    client.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, client.read_exact(&mut back)).await.expect("in time").unwrap();
    assert_eq!(&back, b"hello");
}

/// A TCP connection to an address on which nothing listens yet.
async fn connected_to(address: SocketAddr) -> TcpStream {
    let connected = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(client) => return client,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("it listens")
}

/// A free port of a loopback address that no other test uses.
async fn free(address: &str) -> SocketAddr {
    TcpListener::bind((address, 0)).await.unwrap().local_addr().unwrap()
}

async fn stop(lab: &Lab, forward: Forward) -> Over {
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("error").len()), (143, 0), "{over:?}");
    lab.all_ended().await;
    for session in lab.cloud.sessions() {
        assert_eq!(session.dropped_bytes, 0, "the agent dropped early Input");
    }
    over
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_has_the_probe_s_session_and_the_next_one_its_own() {
    for agent in all_agents() {
        let server = Server::echo().await;
        let lab = Lab::new(quick(agent).target(7, server.addr)).await;
        let mut forward = Forward::start(&lab, &["-L", "0:localhost:7", "--linger", "0"]);
        for connection in 1..=2 {
            let mut client = forward.connect().await;
            client.write_all(b"hello").await.unwrap();
            assert_eq!(read(&mut client, 5).await, b"hello");
            assert_eq!(lab.cloud.sessions().len(), connection);
            let connection = u64::try_from(connection).unwrap();
            let opened = forward.told(connection, "opened").await;
            if connection == 1 {
                assert_eq!(number(&opened, "waited_ms"), 0);
            }
            drop(client);
            forward.told(connection, "closed").await;
        }
        stop(&lab, forward).await;
    }
}

/// With agents that hold early Input its bytes flow long before the target is taken to be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_comes_during_the_probe_is_served_before_the_forward_is_told() {
    for agent in [Agent::b(), Agent::c(), Agent::d()] {
        let lab = Lab::new(quick(agent)).await;
        let (spec, path) = socket(&lab, "early", QUIET_PORT);
        let args = ["-L", &spec, "--ready-delay", LONG, "--linger", "0"];
        let mut forward = Forward::start(&lab, &args);
        let mut client = connected(&path).await;
        client.write_all(b"a question").await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read(&mut target, 10).await, b"a question");
        forward.told(1, "opened").await;
        assert_eq!(forward.so_far("listening").len(), 0, "the target has not spoken");
        target.write_all(b"an answer").await.unwrap();
        let mut answer = [0; 9];
        timeout(PATIENCE, client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"an answer");
        // It has spoken: it was reached.
        forward.address().await;
        drop(client);
        forward.told(1, "closed").await;
        assert_eq!(lab.cloud.sessions().len(), 1, "the probe's session was not the connection's");
        stop(&lab, forward).await;
    }
}

/// Older agents, and gateways that tell nothing: the bytes wait as long as they have to, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_is_all_that_an_early_connection_needs() {
    for (agent, progress) in [
        (Agent::a(), Progress::default()),
        (Agent::a(), Progress::none()),
        (Agent::b(), Progress::none()),
        (Agent::c(), Progress::none()),
        (Agent::d(), Progress::none()),
    ] {
        let server = Server::echo().await;
        let instance = quick(agent).progress(progress).target(7, server.addr);
        let lab = Lab::new(instance).await;
        let (spec, path) = socket(&lab, "early", "7");
        let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "0"]);
        let mut client = connected(&path).await;
        echoes(&mut client).await;
        drop(client);
        forward.told(1, "closed").await;
        forward.address().await;
        assert_eq!(lab.cloud.sessions().len(), 1);
        stop(&lab, forward).await;
    }
}

/// The agent gives up long after the target was taken to be listening, and no connection is there to hear
/// of it. One that comes then hears of it itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_turns_out_not_to_answer_is_warned_of() {
    let unanswering = async |agent: Agent, warm: &str| {
        let agent = agent.quick().dial_timeout(Duration::from_secs(6));
        let lab = Lab::new(quick(Agent::d()).agent(agent).unanswering(81)).await;
        let mut forward = Forward::start(&lab, &["-L", "0:localhost:81", "--warm", warm]);
        let address = forward.address().await;
        let [warning] = &forward.all(1, "warning").await[..] else { panic!("one warning") };
        assert_eq!(warning["connection"], serde_json::Value::Null, "it is nobody's");
        let message = text(warning, "message");
        assert!(message.starts_with(&format!("{address}: ")), "{warning}");
        assert!(message.contains("port 81 of i-bp1example0001 cannot be reached"), "{warning}");
        assert!(text(warning, "fix").contains("firewall"), "{warning}");
        let line = format!("warning: {address}: ");
        forward.bridge.logged(&line).await;
        if warm == "0" {
            lab.all_ended().await;
            forward.refused().await;
            let error = forward.told(1, "error").await;
            assert!(text(&error, "message").contains("cannot be reached"), "{error}");
        }
        let over = forward.stop("TERM").await;
        let log = &over.ended.stderr;
        assert_eq!((over.code(), log.matches("warning").count()), (143, 1), "{log}");
        lab.all_ended().await;
    };
    tokio::join!(
        unanswering(Agent::b(), "0"),
        unanswering(Agent::c(), "0"),
        unanswering(Agent::d(), "0"),
        unanswering(Agent::d(), "1"),
    );
}

/// Two connections during the probe: the second opens a session of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_early_connection_opens_a_session_of_its_own() {
    let server = Server::echo().await;
    let agent = Agent::d().quick().join_delay(Duration::from_secs(1));
    let lab = Lab::new(quick(Agent::d()).agent(agent).target(7, server.addr)).await;
    let (spec, path) = socket(&lab, "early", "7");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "0"]);
    let mut clients = [connected(&path).await, connected(&path).await];
    for client in &mut clients {
        echoes(client).await;
    }
    drop(clients);
    forward.all(2, "closed").await;
    assert_eq!(lab.cloud.sessions().len(), 2);
    stop(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_fails_resets_the_connection_that_came_early() {
    for (agent, address) in [(Agent::d(), "127.0.77.1"), (Agent::a(), "127.0.77.2")] {
        let agent = agent.quick().join_delay(Duration::from_secs(1));
        let lab = Lab::new(quick(Agent::d()).agent(agent)).await;
        let address = free(address).await;
        // Nothing listens on port 9.
        let spec = format!("{}:{}:localhost:9", address.ip(), address.port());
        let mut forward = Forward::start(&lab, &["-L", &spec]);
        let mut client = connected_to(address).await;
        client.write_all(b"a question").await.unwrap();
        is_reset(&mut client).await;
        forward.told(1, "closed").await;
        let over = forward.end().await;
        assert_eq!(over.code(), 6, "{over:?}");
        let [error] = over.all("error")[..] else { panic!("one error: {over:?}") };
        assert_eq!(error["connection"], serde_json::Value::Null, "it is the command's");
        assert!(error.to_string().contains("port 9"), "{error}");
        assert_eq!(over.all("closed")[0]["reason"], "stopped");
        assert_eq!(over.all("listening").len(), 0);
        lab.all_ended().await;
        assert_eq!(lab.cloud.sessions().len(), 1);
    }
}

/// It has gone before anything could be told of the target: another session finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_leaves_early_does_not_take_the_probe_along() {
    let agent = Agent::d().quick().join_delay(Duration::from_secs(1));
    let lab = Lab::new(quick(Agent::d()).agent(agent)).await;
    let address = free("127.0.77.3").await;
    let spec = format!("{}:{}:localhost:{QUIET_PORT}", address.ip(), address.port());
    let mut forward = Forward::start(&lab, &["-L", &spec]);
    let client = connected_to(address).await;
    forward.told(1, "accepted").await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    forward.told(1, "closed").await;
    assert_eq!(forward.so_far("opened").len(), 0);
    assert_eq!(forward.address().await, address.to_string());
    stop(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_no_connection_wants_is_ended() {
    let lab = Lab::new(quick(Agent::d())).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--warm-for", "1", "--linger", "0"]);
    forward.address().await;
    drop(lab.accept().await);
    lab.session(|session| session.ended_by_api && session.live == 0).await;
    assert_eq!(forward.so_far("accepted").len(), 0);
    // It is not replaced: the next connection opens one.
    let mut client = forward.connect().await;
    client.write_all(b"a question").await.unwrap();
    let mut target = lab.accept().await;
    assert_eq!(read(&mut target, 10).await, b"a question");
    assert_eq!(lab.cloud.sessions().len(), 2);
    drop((client, target));
    forward.told(1, "closed").await;
    stop(&lab, forward).await;
}

/// Agents that do not tell that the target has closed would connect the first bytes to another one: a
/// connection gets no greeting that is old. With one that tells, the session is kept as long as any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_greeting_is_not_given_to_a_connection() {
    let kept_greeting = async |(agent, tells): (Agent, bool)| {
        let lab = Lab::new(quick(agent)).await;
        let spec = format!("0:localhost:{QUIET_PORT}");
        let args = ["-L", &spec, "--warm-for", if tells { "7" } else { "300" }, "--linger", "0"];
        let mut forward = Forward::start(&lab, &args);
        let mut first = lab.accept().await;
        first.write_all(b"greeting 1\n").await.unwrap();
        let greeted = std::time::Instant::now();
        forward.address().await;
        lab.session(|session| session.ended_by_api && session.live == 0).await;
        assert!(!tells || greeted.elapsed() > Duration::from_secs(6), "it was ended too soon");
        let mut client = forward.connect().await;
        let mut second = lab.accept().await;
        second.write_all(b"greeting 2\n").await.unwrap();
        assert_eq!(read(&mut client, 11).await, b"greeting 2\n");
        assert_eq!(lab.cloud.sessions().len(), 2);
        drop((client, first, second));
        forward.told(1, "closed").await;
        stop(&lab, forward).await;
    };
    let [a, b, c, d] = all_agents();
    let [a, b, c, d] = [(a, false), (b, false), (c, false), (d, true)].map(kept_greeting);
    tokio::join!(a, b, c, d);
}

/// The target does not close it: the time alone ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_is_ended_after_its_time_though_its_target_stays() {
    let lab = Lab::new(quick(Agent::d())).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--warm-for", "1"]);
    let mut target = lab.accept().await;
    forward.address().await;
    lab.session(|session| session.ended_by_api && session.live == 0).await;
    assert_eq!(crate::forward_driver::rest(&mut target).await.unwrap(), b"");
    stop(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_ends_with_the_connection_that_came_during_the_probe() {
    let server = Server::echo().await;
    let lab = Lab::new(quick(Agent::d()).target(7, server.addr)).await;
    let (spec, path) = socket(&lab, "early", "7");
    let args = ["-L", &spec, "--once", "--linger", "0", "--warm", "1"];
    let forward = Forward::start(&lab, &args);
    let mut client = connected(&path).await;
    echoes(&mut client).await;
    let another = UnixStream::connect(&path).await.map_err(|error| error.kind());
    assert!(
        matches!(another, Err(ErrorKind::NotFound | ErrorKind::ConnectionRefused)),
        "{another:?}"
    );
    drop(client);
    let over = forward.end().await;
    assert_eq!((over.code(), over.all("closed").len()), (0, 1), "{over:?}");
    assert_eq!(lab.cloud.sessions().len(), 1);
    lab.all_ended().await;
}

/// Nobody else will come: no channel is opened for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_with_warm_renews_nothing_once_its_connection_is_there() {
    let server = Server::echo().await;
    let lab = Lab::new(quick(Agent::d()).target(7, server.addr)).await;
    let args = ["-L", "0:localhost:7", "--once", "--warm", "2", "--linger", "0"];
    let mut forward = Forward::start(&lab, &args);
    forward.address().await;
    let two = lab.cloud.wait_for(|state| state.open_sessions() == 2, PATIENCE).await;
    two.expect("two are open ahead");
    let mut client = forward.connect().await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    // The other one is invalid any more.
    let one = lab.cloud.wait_for(|state| state.open_sessions() == 1, SOON).await;
    one.expect("the one that is used");
    drop(client);
    let over = forward.end().await;
    assert_eq!((over.code(), over.all("closed").len()), (0, 1), "{over:?}");
    lab.all_ended().await;
    assert_eq!(lab.cloud.sessions().len(), 2, "none was opened beside those that were there");
}

/// The second forward's probe waits for the place of the first, and its connection for that probe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_connections_of_two_forwards_share_one_place() {
    let server = Server::echo().await;
    let instance = quick(Agent::d()).target(7, server.addr).target(8, server.addr);
    let lab = Lab::new(instance).await;
    let ((one, one_path), (two, two_path)) = (socket(&lab, "one", "7"), socket(&lab, "two", "8"));
    let args = ["-L", &one, "-L", &two, "--max-connections", "1", "--linger", "0"];
    let mut forward = Forward::start(&lab, &args);
    let mut clients = [connected(&one_path).await, connected(&two_path).await];
    for (index, client) in clients.iter_mut().enumerate() {
        echoes(client).await;
        let number = 1 + u64::try_from(index).unwrap();
        client.shutdown().await.unwrap();
        forward.told(number, "closed").await;
    }
    forward.addresses(2).await;
    let over = stop(&lab, forward).await;
    assert_eq!(over.all("opened").len(), 2);
    assert_eq!(lab.cloud.sessions().len(), 2, "each has the session of its own probe");
}
