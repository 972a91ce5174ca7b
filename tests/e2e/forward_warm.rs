//! `--warm`: channels that are opened ahead of their connections.

use std::time::Duration;

use local_cloud::{Agent, ApiFault, Instance, Pace, State};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::forward_driver::{Forward, Server, is_silent, number, read, rest};
use crate::lab::{Lab, QUIET_PORT, SOON};
use crate::world::{INSTANCE, PATIENCE, noise};

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000))
}

fn quiet() -> String {
    format!("0:localhost:{QUIET_PORT}")
}

/// The end of `targets` that hears of what a client says, which is taken out of them.
async fn asked(targets: &mut Vec<TcpStream>, what: &[u8]) -> TcpStream {
    let first = {
        let spoken_to =
            targets.iter().map(|target| Box::pin(async move { target.peek(&mut [0]).await }));
        let heard = timeout(PATIENCE, futures_util::future::select_all(spoken_to)).await;
        let (spoken, first, _) = heard.expect("one of them hears it in time");
        assert_eq!(spoken.unwrap(), 1);
        first
    };
    let mut target = targets.remove(first);
    assert_eq!(read(&mut target, what.len()).await, what);
    target
}

async fn stops(lab: &Lab, forward: Forward) {
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("error").len()), (143, 0), "{over:?}");
    lab.all_ended().await;
    for session in lab.cloud.sessions() {
        assert_eq!(session.dropped_bytes, 0, "an older agent dropped early input");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_channels_are_open_ahead_and_replaced_as_they_are_used() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(quick(agent)).await;
        let args = ["-L", &quiet(), "--warm", "2", "--linger", "0"];
        let mut forward = Forward::start(&lab, &args);
        let mut targets = vec![lab.accept().await, lab.accept().await];
        let address = forward.address().await;
        assert_eq!(forward.so_far("accepted").len(), 0, "nobody has connected");
        assert_eq!(lab.cloud.sessions().len(), 2, "and the probe was one of the two");
        for connection in 1..=3 {
            let mut client = TcpStream::connect(&address).await.unwrap();
            client.write_all(b"a question").await.unwrap();
            let mut target = asked(&mut targets, b"a question").await;
            let answer = noise(100_000);
            target.write_all(&answer).await.unwrap();
            assert!(read(&mut client, answer.len()).await == answer);
            let opened = forward.told(connection, "opened").await;
            if connection == 1 {
                assert_eq!(number(&opened, "waited_ms"), 0, "the probe's channel was ready");
            }
            // The target is there to the end: an agent of generation A would dial it again for the Close.
            drop(client);
            forward.told(connection, "closed").await;
            drop(target);
            targets.push(lab.accept().await);
            assert_eq!(lab.cloud.sessions().len(), 2 + usize::try_from(connection).unwrap());
        }
        lab.cloud
            .wait_for(|state| state.open_sessions() == 2, SOON)
            .await
            .expect("two are kept, and no more");
        stops(&lab, forward).await;
        for mut target in targets {
            assert_eq!(rest(&mut target).await.unwrap(), b"", "it was told of the end");
        }
    }
}

/// What an SSH server says at once waits for its client, and comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banner_of_a_target_that_speaks_first_waits_for_its_client() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(quick(agent)).await;
        let mut forward =
            Forward::start(&lab, &["-L", "0:localhost:22", "--warm", "1", "--grace", "0"]);
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-first\r\n").await.unwrap();
        let mut client = forward.connect().await;
        assert_eq!(read(&mut client, 15).await, b"SSH-2.0-first\r\n");
        client.write_all(b"SSH-2.0-client\r\n").await.unwrap();
        assert_eq!(read(&mut target, 16).await, b"SSH-2.0-client\r\n");
        let mut next = lab.accept().await;
        next.write_all(b"SSH-2.0-next\r\n").await.unwrap();
        target.write_all(b"more").await.unwrap();
        assert_eq!(read(&mut client, 4).await, b"more");
        let mut client = forward.connect().await;
        assert_eq!(read(&mut client, 14).await, b"SSH-2.0-next\r\n");
        assert_eq!(forward.stop("TERM").await.all("error").len(), 0);
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_whose_target_has_closed_is_replaced_and_not_handed_out() {
    let lab = Lab::new(quick(Agent::d())).await;
    let args = ["-L", &quiet(), "--warm", "1", "--linger", "0"];
    let mut forward = Forward::start(&lab, &args);
    let mut target = lab.accept().await;
    forward.address().await;
    target.write_all(b"good bye").await.unwrap();
    drop(target);
    lab.session(|session| session.ended_by_api && session.live == 0).await;
    // At once, and long before it is replaced: a session of its own is opened.
    let mut client = forward.connect().await;
    client.write_all(b"a question").await.unwrap();
    let mut target = lab.accept().await;
    assert_eq!(read(&mut target, 10).await, b"a question");
    target.write_all(b"an answer").await.unwrap();
    assert_eq!(read(&mut client, 9).await, b"an answer");
    // The place is filled again, and the connection has nothing to do with it.
    let mut next = lab.accept().await;
    is_silent(&mut next, Duration::from_millis(100)).await;
    drop((client, target));
    forward.told(1, "closed").await;
    stops(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_renewed_before_they_are_stale() {
    let lab = Lab::new(quick(Agent::d())).await;
    let args = ["-L", &quiet(), "--warm", "1", "--warm-for", "2", "--ready-delay", "0"];
    let mut forward = Forward::start(&lab, &args);
    forward.address().await;
    for number in 0..3 {
        let mut target = lab.accept().await;
        let renewed = |state: &State| {
            let mut sessions = state.sessions().skip(number);
            let (old, new) = (sessions.next(), sessions.next());
            let is_there = new.is_some_and(|session| session.opened == 1);
            let is_over = old.is_some_and(|session| session.ended_by_api);
            assert!(is_there || !is_over, "a gap between them");
            (is_there, is_over)
        };
        lab.cloud.wait_for(|state| renewed(state).0, PATIENCE).await.expect("a successor");
        lab.cloud.wait_for(|state| renewed(state).1, SOON).await.expect("it goes at once then");
        assert_eq!(rest(&mut target).await.unwrap(), b"");
    }
    stops(&lab, forward).await;
}

/// A connection that is there goes before those that may come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_gives_way_to_a_connection_that_waits() {
    let server = Server::echo().await;
    let lab = Lab::new(quick(Agent::d()).target(7, server.addr).target(8, server.addr)).await;
    let mut args = vec!["-L", "0:localhost:7", "-L", "0:localhost:8", "--warm", "1"];
    args.extend(["--max-connections", "2", "--linger", "0"]);
    let mut forward = Forward::start(&lab, &args);
    let addresses = forward.addresses(2).await;
    // The third has no channel of its own forward left, nor any place beside the other's.
    let mut clients = Vec::new();
    for connection in 1..=2 {
        let mut client = TcpStream::connect(&addresses[0]).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
        forward.told(connection, "opened").await;
        clients.push(client);
    }
    let most = lab.cloud.sessions();
    assert!(most.iter().filter(|session| session.is_open()).count() <= 2, "{most:#?}");
    drop(clients);
    forward.all(2, "closed").await;
    stops(&lab, forward).await;
}

/// Each forward is probed and kept warm although there is but one place for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_forwards_than_places_do_not_wait_for_each_other_for_ever() {
    let server = Server::echo().await;
    let lab = Lab::new(quick(Agent::d()).target(7, server.addr).target(8, server.addr)).await;
    let mut args = vec!["-L", "0:localhost:7", "-L", "0:localhost:8", "--warm", "1"];
    args.extend(["--max-connections", "1", "--linger", "0"]);
    let mut forward = Forward::start(&lab, &args);
    for (number, address) in (1..).zip(forward.addresses(2).await) {
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
        drop(client);
        forward.told(number, "closed").await;
    }
    stops(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_cannot_be_opened_is_told_and_tried_again() {
    let lab = Lab::new(quick(Agent::d())).await;
    let fault = ApiFault::on("StartTerminalSession").error(
        403,
        "UserBehavior.SessionManagerDisabled",
        "switched off",
    );
    lab.cloud.faults().api(fault.times(1));
    let args = ["-L", &quiet(), "--no-probe", "--warm", "1"];
    let mut forward = Forward::start(&lab, &args);
    forward.bridge.logged("no channel could be kept ready").await;
    lab.accept().await;
    let over = forward.stop("TERM").await;
    assert!(over.ended.stderr.contains("Session Manager"), "{}", over.ended.stderr);
    assert_eq!(over.all("error").len(), 0, "no connection has failed");
    lab.all_ended().await;
}
