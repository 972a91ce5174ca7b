//! What one connection does is nothing to the others, and each gets all that is its own.

use std::time::Duration;

use local_cloud::{Action, Agent, Fault, Instance, Pace, Point};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::forward_driver::{Forward, Server, is_reset, is_silent, number, read, rest, text};
use crate::lab::{Lab, PLENTY, QUIET_PORT, fill};
use crate::world::{INSTANCE, PATIENCE, noise};

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(u64::from(u32::MAX)))
}

/// A forward to the port that the test itself serves.
fn forward(lab: &Lab, args: &[&str]) -> Forward {
    let spec = format!("0:localhost:{QUIET_PORT}");
    Forward::start(lab, &[&["-L", &spec, "--no-probe", "--grace", "0"], args].concat())
}

/// A connection, and the target's end of it, once both have heard of each other.
async fn open(lab: &Lab, forward: &mut Forward) -> (TcpStream, TcpStream) {
    let mut client = forward.connect().await;
    let mut target = lab.accept().await;
    target.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    (client, target)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_does_not_slow_the_others() {
    let server = Server::echo().await;
    let lab = Lab::new(quick(Agent::d()).target(7, server.addr)).await;
    let mut forward = forward(&lab, &["-L", "0:localhost:7", "--ready-delay", "0"]);
    let addresses = forward.addresses(2).await;
    let mut slow = TcpStream::connect(&addresses[0]).await.unwrap();
    let mut target = lab.accept().await;
    // Until all that lies between is full.
    let bytes = noise(PLENTY);
    let taken = fill(&mut target, &bytes).await;
    assert!(taken < PLENTY, "it is all taken though nobody reads");
    #[cfg(target_os = "linux")]
    let memory = forward.bridge.memory("VmRSS");
    for size in [100_000, 2_000_000] {
        let mut quick = TcpStream::connect(&addresses[1]).await.unwrap();
        let sent = noise(size);
        let (mut reader, mut writer) = quick.split();
        let mut back = vec![0; size];
        let exchange =
            async { tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back)) };
        let (wrote, got) = timeout(PATIENCE, exchange).await.expect("the others go on");
        wrote.unwrap();
        got.unwrap();
        assert!(back == sent);
    }
    #[cfg(target_os = "linux")]
    {
        let more = forward.bridge.memory("VmRSS").saturating_sub(memory);
        assert!(more < 4096, "{more} KiB more");
    }
    // It is late, and loses nothing.
    let (got, ()) = tokio::join!(read(&mut slow, PLENTY), async {
        target.write_all(&bytes[taken..]).await.unwrap();
    });
    assert!(got == bytes, "the slow one got something else");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// As `nc -N` does: a question, the end of file, and then all of the answer. Newer agents tell when
/// the target has closed; with older ones the answer is over when nothing more comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_said_all_gets_its_whole_answer() {
    let answer = noise(3_000_000);
    // Where the linger is the end of it, it is to be longer than a busy machine holds an answer up.
    for (agent, reason, linger) in [(Agent::d(), "target", "3600"), (Agent::a(), "local", "5")] {
        let lab = Lab::new(quick(agent)).await;
        let mut forward = forward(&lab, &["--linger", linger]);
        let mut client = forward.connect().await;
        client.write_all(b"a question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read(&mut target, 10).await, b"a question");
        let answered = async {
            target.write_all(&answer).await.unwrap();
            drop(target);
        };
        let (got, ()) = tokio::join!(rest(&mut client), answered);
        assert!(got.unwrap() == answer, "the answer is another");
        let closed = forward.told(1, "closed").await;
        assert_eq!(closed["reason"], reason);
        assert_eq!((number(&closed, "sent"), number(&closed, "received")), (10, 3_000_000));
        forward.stop("TERM").await;
        lab.all_ended().await;
        let session = &lab.cloud.sessions()[0];
        assert_eq!((session.empty_inputs, session.dropped_bytes), (0, 0), "{session:?}");
        // An agent of generation A dials again for the Close.
        assert!(u64::from(session.dials) <= 1 + session.close_frames, "{session:?}");
    }
}

/// The same where the target thinks before it answers, for less than `--linger`; and in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_after_a_pause_shorter_than_the_linger_is_whole() {
    tokio::join!(answers_after_a_pause(Agent::d()), answers_after_a_pause(Agent::a()));
}

async fn answers_after_a_pause(agent: Agent) {
    let lab = Lab::new(quick(agent)).await;
    let mut forward = forward(&lab, &["--linger", "3"]);
    let mut client = forward.connect().await;
    client.write_all(b"a question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut target = lab.accept().await;
    assert_eq!(read(&mut target, 10).await, b"a question");
    for part in [&b"an answer"[..], b" in parts"] {
        // Together longer than the linger; each alone is not.
        is_silent(&mut client, Duration::from_millis(1600)).await;
        target.write_all(part).await.unwrap();
        assert_eq!(read(&mut client, part.len()).await, part);
    }
    drop(target);
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// What comes later than that has nobody to come to: the session is over.
#[tokio::test]
async fn a_target_that_is_silent_for_the_linger_is_taken_to_be_done() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &["--linger", "1"]);
    let (mut client, mut target) = open(&lab, &mut forward).await;
    client.write_all(b"a question").await.unwrap();
    assert_eq!(read(&mut target, 10).await, b"a question");
    client.shutdown().await.unwrap();
    // It has not had its answer.
    is_reset(&mut client).await;
    assert_eq!(rest(&mut target).await.unwrap(), b"", "the target hears of the end");
    let closed = forward.told(1, "closed").await;
    assert_eq!(closed["reason"], "local");
    // And not for the 10 s that it would be otherwise.
    assert!((1000..9000).contains(&number(&closed, "duration_ms")), "{closed}");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// The target is told of a client's reset without any linger.
#[tokio::test]
async fn a_client_s_reset_is_the_end_at_once() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &["--linger", "3600"]);
    let (client, mut target) = open(&lab, &mut forward).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(rest(&mut target).await.unwrap(), b"");
    assert_eq!(forward.told(1, "closed").await["reason"], "local");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

#[tokio::test]
async fn the_target_s_end_of_file_is_the_client_s() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &[]);
    let (mut client, mut target) = open(&lab, &mut forward).await;
    let bytes = noise(300_000);
    let (got, ()) = tokio::join!(rest(&mut client), async {
        target.write_all(&bytes).await.unwrap();
        drop(target);
    });
    assert!(got.unwrap() == bytes);
    // It is told although the client has not closed its own side.
    assert_eq!(forward.told(1, "closed").await["reason"], "target");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// A target that resets in mid-stream looks to the agent like one that closes.
#[tokio::test]
async fn a_target_that_resets_ends_its_connection_only() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &[]);
    let (mut client, target) = open(&lab, &mut forward).await;
    let (mut other, mut others) = open(&lab, &mut forward).await;
    socket2::SockRef::from(&target).set_linger(Some(Duration::ZERO)).unwrap();
    drop(target);
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    forward.told(1, "closed").await;
    other.write_all(b"on we go").await.unwrap();
    assert_eq!(read(&mut others, 8).await, b"on we go");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// A target that takes nothing stops its client, and loses nothing once it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_stalls_stops_its_own_client_only() {
    let lab = Lab::new(quick(Agent::d())).await;
    let mut forward = forward(&lab, &[]);
    let (mut client, mut target) = open(&lab, &mut forward).await;
    let (mut other, mut others) = open(&lab, &mut forward).await;
    let bytes = noise(PLENTY);
    let taken = fill(&mut client, &bytes).await;
    assert!(taken < PLENTY, "it is all taken though the target does not read");
    others.write_all(b"on we go").await.unwrap();
    assert_eq!(read(&mut other, 8).await, b"on we go");
    let (got, ()) = tokio::join!(read(&mut target, PLENTY), async {
        client.write_all(&bytes[taken..]).await.unwrap();
    });
    assert!(got == bytes);
    forward.stop("TERM").await;
    lab.all_ended().await;
}

/// The gateway's socket is cut under one connection: its client must not take what came for all.
#[tokio::test]
async fn a_socket_that_is_cut_resets_its_connection_only() {
    for action in [Action::Cut, Action::Reset, Action::Close(1012)] {
        let lab = Lab::new(quick(Agent::d())).await;
        let mut forward = forward(&lab, &[]);
        let (mut client, _target) = open(&lab, &mut forward).await;
        let (mut other, mut others) = open(&lab, &mut forward).await;
        let session = text(&forward.told(1, "opened").await, "session").to_owned();
        assert!(lab.cloud.faults().inject(&session, action));
        is_reset(&mut client).await;
        let error = forward.told(1, "error").await;
        assert!(text(&error, "message").contains("the connection to the gateway was lost"));
        assert_eq!(forward.told(1, "closed").await["received"], 5);
        other.write_all(b"on we go").await.unwrap();
        assert_eq!(read(&mut others, 8).await, b"on we go");
        open(&lab, &mut forward).await;
        forward.stop("TERM").await;
        lab.all_ended().await;
    }
}

/// What came before the cut is delivered, even to a client that reads late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_a_cut_is_not_taken_for_all() {
    let fault = Fault::new(Point::OutputBytes(100_000), Action::Cut);
    let lab = Lab::new(quick(Agent::d()).fault(fault)).await;
    let mut forward = forward(&lab, &[]);
    let mut client = forward.connect().await;
    let mut target = lab.accept().await;
    // The agent stops reading in the middle of it.
    let _ = target.write_all(&noise(200_000)).await;
    let mut got = vec![0; 300_000];
    let mut len = 0;
    let error = loop {
        match timeout(PATIENCE, client.read(&mut got[len..])).await.unwrap() {
            Ok(0) => panic!("an end of file after {len} bytes"),
            Ok(count) => len += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(got[..len] == noise(100_000)[..len]);
    forward.told(1, "closed").await;
    forward.stop("TERM").await;
    lab.all_ended().await;
}
