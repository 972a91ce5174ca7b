//! Version 1.02 with a real `ssh`: sockets are cut, gateways restart, frames are lost, and nobody
//! notices.

use std::process::Stdio;
use std::time::Duration;

use local_cloud::{
    Action, Agent, Corruption, Fault, FrameFault, Instance, Pace, Point, Restart, SessionRecord,
    Which,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::forward_driver::{Forward, Server};
use crate::lab::Lab;
use crate::world::{self, INSTANCE, PATIENCE, World, noise};

/// As much as a copy carries here, and how often it is cut.
const MUCH: usize = 3_000_000;
const CUTS: usize = 5;

fn instance() -> Instance {
    Instance::new(INSTANCE).agent(Agent::resumable().quick()).pace(Pace::announced(64_000_000))
}

async fn world(fault: Fault) -> Option<World> {
    let server = match world::installed("sshd") {
        Some(_) => world::Server::OpenSsh,
        None => world::Server::InProcess,
    };
    World::with(server, instance().fault(fault)).await
}

/// Copies this through ssh, there and back: what went up, and what came down.
async fn copy(world: &World, bytes: &[u8]) {
    let mut ssh = world.openssh("ssh");
    ssh.args([INSTANCE, "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = ssh.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        stdin.write_all(bytes).await.unwrap();
        drop(stdin);
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1.unwrap() };
    let output = tokio::time::timeout(PATIENCE * 2, both).await.expect("it ends in time");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "");
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
}

fn only(world: &World) -> SessionRecord {
    let sessions = world.cloud.sessions();
    assert_eq!(sessions.len(), 1);
    sessions[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_does_not_notice_that_its_socket_is_cut() {
    let every = u64::try_from(MUCH / CUTS).unwrap();
    let mut cases = JoinSet::new();
    for (point, action) in [
        (Point::EveryInputBytes(every), Action::Cut),
        (Point::EveryOutputBytes(every), Action::Reset),
        (Point::EveryOutputBytes(every), Action::Close(1012)),
    ] {
        cases.spawn(async move {
            let Some(world) = world(Fault::new(point, action)).await else { return };
            copy(&world, &noise(MUCH)).await;
            let session = only(&world);
            assert!(session.resumptions >= 4, "{session:#?}");
            world.check().await;
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_does_not_notice_that_its_handshake_is_cut() {
    // The first bytes that pass in either direction are those of the handshake.
    let mut cases = JoinSet::new();
    for (point, action) in [
        (Point::OutputBytes(10), Action::Cut),
        (Point::OutputBytes(700), Action::Reset),
        (Point::InputBytes(100), Action::Cut),
        (Point::InputBytes(1_500), Action::Close(1001)),
    ] {
        cases.spawn(async move {
            let Some(world) = world(Fault::new(point, action)).await else { return };
            copy(&world, b"hello").await;
            assert_eq!(only(&world).resumptions, 1);
            world.check().await;
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_lost_doubled_or_swapped_are_put_right() {
    let mut cases = JoinSet::new();
    for corrupt in [Corruption::Lose, Corruption::Duplicate, Corruption::Swap] {
        for to_client in [true, false] {
            let corrupt = corrupt.clone();
            cases.spawn(async move {
                // Behind the handshake, where each side waits for the other, and well before the end: what is
                // lost with nothing behind it is missed by nobody.
                let which = Which::Every(20);
                let fault = match to_client {
                    true => FrameFault::to_client(which, corrupt).of_type(1).times(5),
                    false => FrameFault::to_agent(which, corrupt).of_type(0).times(5),
                };
                let server = world::Server::InProcess;
                let instance = instance().frame_fault(fault);
                let Some(world) = World::with(server, instance).await else { return };
                copy(&world, &noise(500_000)).await;
                assert!(only(&world).corrupted_frames > 3, "{:#?}", only(&world));
                world.check().await;
            });
        }
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_restarts_is_come_back_to() {
    for announced in [true, false] {
        let lab = Lab::new(instance()).await;
        let mut bridge = lab.start(&["-v"]);
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        bridge.expect(b"SSH-2.0-x\r\n").await;
        let restart = Restart::new().announced(announced).down(Duration::from_millis(300));
        assert_eq!(lab.cloud.faults().restart(restart), 1);
        bridge.logged("making another one").await;
        target.write_all(b"said meanwhile").await.unwrap();
        bridge.expect(b"said meanwhile").await;
        bridge.logged("the stream goes on").await;
        bridge.send(b"and an answer").await;
        let mut answer = [0; 13];
        target.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"and an answer");
        drop(target);
        assert_eq!(bridge.end().await.code, Some(0));
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_over_is_not_waited_for() {
    let lab = Lab::new(instance()).await;
    let mut bridge = lab.start(&[]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    bridge.expect(b"SSH-2.0-x\r\n").await;
    // The API has ended it meanwhile: whoever comes back is refused.
    let session = lab.session(|session| session.live == 1).await;
    assert!(lab.cloud.faults().inject(&session.id, Action::Cut));
    lab.session(|session| session.live == 0).await;
    lab.cloud.end_session(&session.id);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    let report = ended.report().unwrap();
    assert!(report.what.contains("could not be made again"), "{report:?}");
    assert!(report.what.contains("HTTP 403"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_gateway_once_ssh_has_gone() {
    for signal in [None, Some("TERM")] {
        let lab = Lab::new(instance()).await;
        let mut bridge = lab.start(&["-v"]);
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        bridge.expect(b"SSH-2.0-x\r\n").await;
        lab.cloud.faults().restart(Restart::new().down(PATIENCE));
        bridge.logged("making another one").await;
        match signal {
            Some(signal) => bridge.signal(signal).await,
            None => {
                bridge.stdin.take();
                bridge.stdout.take();
            }
        }
        let ended = tokio::time::timeout(crate::lab::SOON, bridge.child.wait()).await;
        ended.expect("it ends in time").unwrap();
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_go_on_as_well() {
    let every = Point::EveryOutputBytes(500_000);
    let server = Server::echo().await;
    let instance = instance().target(7, server.addr).fault(Fault::new(every, Action::Cut));
    let lab = Lab::new(instance).await;
    let mut forward = Forward::start(
        &lab,
        &["-L", "0:localhost:7", "--no-probe", "--ready-delay", "0", "--grace", "0"],
    );
    let mut stream = forward.connect().await;
    let bytes = noise(MUCH / 2);
    let (mut reader, mut writer) = stream.split();
    let mut back = vec![0; bytes.len()];
    let exchange = async { tokio::join!(writer.write_all(&bytes), reader.read_exact(&mut back)) };
    let (wrote, got) = tokio::time::timeout(PATIENCE, exchange).await.expect("it goes on");
    wrote.unwrap();
    got.unwrap();
    assert!(back == bytes);
    assert!(lab.cloud.sessions()[0].resumptions >= 2);
    drop(stream);
    let over = forward.stop("TERM").await;
    assert_eq!(over.code(), 143);
    lab.all_ended().await;
}
