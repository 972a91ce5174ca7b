//! The four generations of agents, and gateways that answer no pings, through the built binary.

use std::time::Duration;

use local_cloud::{Action, Agent, ApiFault, Fault, Instance, Pace, Point, SessionRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::forward_driver::{Forward, is_silent};
use crate::lab::{BANNER, Bridge, Lab, QUIET_PORT};
use crate::send_key_memory::age;
use crate::world::{INSTANCE, PATIENCE, noise};

/// More than all buffers on the way hold.
const LEN: usize = 32 << 20;
/// Longer than an agent waits for a frame, and than it is waited for.
const PAUSE: Duration = Duration::from_secs(200);

/// The call that tells the agent's version.
const ASK: &str = "DescribeCloudAssistantStatus";

fn all() -> [Agent; 5] {
    [Agent::a(), Agent::b(), Agent::c(), Agent::d(), Agent::resumable()]
}

fn asked(lab: &Lab) -> usize {
    lab.count(ASK)
}

async fn read_all(target: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = timeout(PATIENCE, target.read_exact(&mut bytes)).await;
    read.expect("it comes in time").expect("all of it comes");
    bytes
}

/// 1 MB and an end of file, to a sink, through a gateway that takes nothing for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_through_a_gateway_that_stalls_arrives_whole() {
    let mut cases = tokio::task::JoinSet::new();
    for pongs in [true, false] {
        for agent in all() {
            cases.spawn(async move {
                let case = format!("{:?}, pongs {pongs}", agent.generation);
                let stall = Action::StallClientFor(Duration::from_secs(4));
                let instance = Instance::new(INSTANCE)
                    .agent(agent.quick())
                    .pace(Pace::announced(64_000_000))
                    .pongs(pongs)
                    .fault(Fault::new(Point::InputBytes(50_000), stall).times(1));
                let lab = Lab::new(instance).await;
                let mut bridge = lab.start(&[QUIET_PORT, "--linger", "1"]);
                let bytes = noise(1_000_000);
                let sink = async {
                    let mut target = lab.accept().await;
                    let mut read = vec![0; bytes.len()];
                    let all = timeout(PATIENCE, target.read_exact(&mut read)).await;
                    (target, matches!(all, Ok(Ok(_))) && read == bytes)
                };
                let send = async {
                    bridge.send(&bytes).await;
                    drop(bridge.stdin.take());
                };
                let ((_target, is_all), ()) = tokio::join!(sink, send);
                let ended = bridge.end().await;
                assert!(is_all, "{case}: {ended:?} {:?}", lab.cloud.sessions());
                assert_eq!(ended.code, Some(0), "{case}: {}", ended.stderr);
                lab.all_ended().await;
            });
        }
    }
    cases.join_all().await;
}

/// The same through one that takes nothing any more: that is no success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_does_not_arrive_is_a_failure() {
    let mut cases = tokio::task::JoinSet::new();
    for pongs in [true, false] {
        cases.spawn(async move {
            let instance = Instance::new(INSTANCE)
                .agent(Agent::d().quick())
                .pace(Pace::announced(64_000_000))
                .pongs(pongs)
                .fault(Fault::new(Point::InputBytes(10_000), Action::StallClient));
            let lab = Lab::new(instance).await;
            let mut bridge = lab.start(&[QUIET_PORT, "--linger", "1"]);
            bridge.send(&noise(50_000)).await;
            drop(bridge.stdin.take());
            let _target = lab.accept().await;
            // The gateway has a minute.
            let status = timeout(PATIENCE * 2, bridge.child.wait()).await.expect("it is given up");
            assert_eq!(status.unwrap().code(), Some(8), "pongs {pongs}: {}", bridge.log());
        });
    }
    cases.join_all().await;
}

/// Agents from B on have the bytes at Opened, before they connect to the target: `--linger` waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linger_begins_once_the_target_can_be_dialled() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in [Agent::b(), Agent::c(), Agent::d(), Agent::resumable()] {
        let name = format!("{:?}", agent.generation);
        // It has been listening, and is no more.
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let agent = agent.dial_delay(Duration::from_millis(1200));
        let instance = Instance::new(INSTANCE).agent(agent).target(7, closed);
        cases.spawn(async move {
            let lab = Lab::new(instance).await;
            for (port, code) in [(QUIET_PORT, 0), ("7", 6)] {
                let mut bridge = lab.start(&[port, "--linger", "1"]);
                bridge.send(b"hello").await;
                drop(bridge.stdin.take());
                if code == 0 {
                    let mut target = lab.accept().await;
                    assert_eq!(read_all(&mut target, 5).await, b"hello", "{name}");
                }
                let ended = bridge.end().await;
                assert_eq!(ended.code, Some(code), "{name}, port {port}: {}", ended.stderr);
            }
            lab.all_ended().await;
        });
    }
    cases.join_all().await;
}

/// A server that greets, and closes what is idle; a client that keeps its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_keepalive_brings_another_connection_s_bytes() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in all() {
        cases.spawn(async move {
            let generation = agent.generation;
            let instance = Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::off());
            let lab = Lab::new(instance).await;
            let mut forward = Forward::start(
                &lab,
                &["--grace", "0", "--keepalive", "1", "-L", &format!("0:localhost:{QUIET_PORT}")],
            );
            let mut client = forward.connect().await;
            let serve = async {
                let mut greetings = 0;
                loop {
                    let mut target = lab.accept_if_dialled().await;
                    greetings += 1;
                    let greeting = format!("greeting {greetings} of a server\n");
                    target.write_all(greeting.as_bytes()).await.unwrap();
                    // It is idle from now on, and closed in a while.
                    tokio::spawn(async move {
                        let _ = timeout(Duration::from_secs(2), target.read(&mut [0; 8])).await;
                    });
                }
            };
            let read = async {
                let mut bytes = Vec::new();
                let mut buffer = [0; 256];
                while let Ok(count @ 1..) = client.read(&mut buffer).await {
                    bytes.extend_from_slice(&buffer[..count]);
                }
                bytes
            };
            let bytes = tokio::select! {
                never = serve => never,
                bytes = timeout(Duration::from_secs(6), read) => bytes,
            };
            match bytes {
                // It has ended, by D, or because a second greeting was seen.
                Ok(bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    assert_eq!(text.matches("greeting").count(), 1, "{generation:?}: {text}");
                }
                Err(_) => {
                    let sessions = lab.cloud.sessions();
                    assert!(
                        sessions.iter().all(|one| one.dials == 1),
                        "{generation:?}: {sessions:?}"
                    );
                }
            }
            forward.stop("TERM").await;
        });
    }
    cases.join_all().await;
}

/// From generation B on Input is kept until the target is dialled, so it is sent at Opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_sent_at_opened_to_an_agent_that_keeps_them() {
    for (agent, keeps) in [(Agent::a(), false), (Agent::b(), true), (Agent::c(), true)] {
        // Late enough for a busy machine, where bytes are to come before; and early enough where not.
        let dials = Duration::from_millis(if keeps { 1300 } else { 0 });
        let agent = agent.join_delay(Duration::ZERO).dial_delay(dials);
        let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
        let mut bridge = lab.start(&[QUIET_PORT]);
        bridge.send(b"PING").await;
        let session = lab.session(|session| session.input_bytes == 4).await;
        assert_eq!(session.dials == 0, keeps, "{session:?}");
        assert_eq!(read_all(&mut lab.accept().await, 4).await, b"PING");
        assert_eq!(lab.cloud.sessions()[0].dropped_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_s_version_is_asked_for_once_in_ten_minutes_and_not_for_ssh() {
    // No session ends before the answer is there.
    let agent = Agent::d().quick().join_delay(Duration::from_millis(500));
    let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
    // On any port.
    for port in ["22", QUIET_PORT] {
        let mut bridge = lab.start(&[port]);
        bridge.send(BANNER).await;
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        bridge.expect(b"SSH-2.0-x\r\n").await;
        read_all(&mut target, BANNER.len()).await;
        drop(target);
        bridge.end().await;
        assert_eq!(asked(&lab), 0, "port {port}");
    }
    for (round, (minutes, calls)) in [(0, 1), (0, 1), (8, 1), (11, 2), (0, 2)].iter().enumerate() {
        if *minutes > 0 {
            age(&lab, "agent", f64::from(minutes * 60));
        }
        let mut bridge = lab.start(&[QUIET_PORT]);
        bridge.send(b"PING").await;
        read_all(&mut lab.accept().await, 4).await;
        assert_eq!(bridge.end().await.code, Some(0));
        assert_eq!(asked(&lab), *calls, "round {round}");
    }
    lab.all_ended().await;
}

/// The system disk is replaced under a `forward`, and the agent of the new one drops what comes early; later
/// that one is updated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_agent_is_noticed_after_ten_minutes() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d())).await;
    let mut forward = Forward::start(
        &lab,
        &["--no-probe", "--grace", "0", "-L", &format!("0:localhost:{QUIET_PORT}")],
    );
    for (round, agent) in [Agent::d(), Agent::a(), Agent::a(), Agent::d()].iter().enumerate() {
        lab.cloud.update_instance(INSTANCE, |instance| instance.agent = agent.clone());
        if round % 2 == 1 {
            age(&lab, "agent", 660.0);
        }
        let mut client = forward.connect().await;
        client.write_all(b"PING").await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read_all(&mut target, 4).await, b"PING", "round {round}");
        target.write_all(b"PONG").await.unwrap();
        assert_eq!(read_all(&mut client, 4).await, b"PONG", "round {round}");
        assert_eq!(asked(&lab), [1, 2, 2, 3][round], "round {round}");
    }
    assert!(lab.cloud.sessions().iter().all(|session| session.dropped_bytes == 0));
    forward.stop("TERM").await;
}

/// An entry that is deleted counts for nothing in a `forward` that runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_forward_sees_that_the_cache_is_cleared() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let mut forward = Forward::start(
        &lab,
        &["--no-probe", "--grace", "0", "-L", &format!("0:localhost:{QUIET_PORT}")],
    );
    for round in 1..3 {
        let mut client = forward.connect().await;
        client.write_all(b"PING").await.unwrap();
        assert_eq!(read_all(&mut lab.accept().await, 4).await, b"PING");
        assert_eq!(asked(&lab), round);
        let cleared = Bridge::start(&mut lab.bridge(["cache", "clear"])).end().await;
        assert_eq!(cleared.code, Some(0));
        assert!(cleared.stderr.contains("1 entry"), "{}", cleared.stderr);
    }
    forward.stop("TERM").await;
}

/// Without the permission, or an answer, everything goes on as with the most careful agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_not_told_holds_nothing_up() {
    let refused = ApiFault::on(ASK).error(403, "Forbidden.RAM", "not authorized");
    for fault in [refused, ApiFault::on(ASK).silent()] {
        let agent = Agent::a().join_delay(Duration::ZERO).dial_delay(Duration::from_millis(300));
        let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
        lab.cloud.faults().api(fault.times(9));
        let mut forward = Forward::start(
            &lab,
            &["--grace", "0", "--once", "-L", &format!("0:localhost:{QUIET_PORT}")],
        );
        let mut client = forward.connect().await;
        client.write_all(b"PING").await.unwrap();
        assert_eq!(read_all(&mut lab.accept().await, 4).await, b"PING");
        let dropped = |session: &SessionRecord| session.dropped_bytes;
        assert_eq!(lab.cloud.sessions().iter().map(dropped).sum::<u64>(), 0);
        drop(client);
        forward.stop("TERM").await;
    }
}

/// Nothing published shows a gateway that answers pings, and an idle ssh is not ended for that, nor by its
/// agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_answers_no_pings_keeps_an_idle_session() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in all() {
        cases.spawn(async move {
            let case = format!("{:?}", agent.generation);
            let instance = Instance::new(INSTANCE).agent(agent.quick()).pongs(false);
            let lab = Lab::new(instance).await;
            let mut bridge = lab.start(&["--linger", "0"]);
            let mut target = lab.accept().await;
            target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
            bridge.expect(b"SSH-2.0-x\r\n").await;
            // An agent ends a session after 180 s without a frame.
            let ended = timeout(Duration::from_secs(190), bridge.child.wait()).await;
            assert!(ended.is_err(), "{case}: {}", bridge.log());
            target.write_all(b"still here").await.unwrap();
            bridge.expect(b"still here").await;
            drop(bridge.stdin.take());
            bridge.end().await.well(b"");
            lab.all_ended().await;
        });
    }
    cases.join_all().await;
}

/// A client that reads nothing for longer than an agent without keepalives lives: it gets all of the
/// answer, or sees that it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_pauses_for_long_is_whole_or_reset() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in all() {
        cases.spawn(async move {
            let case = format!("{:?}", agent.generation);
            let instance = Instance::new(INSTANCE).agent(agent.quick());
            let lab = Lab::new(instance.pace(Pace::announced(64_000_000))).await;
            let mut forward =
                Forward::start(&lab, &["--grace", "0", "-L", &format!("0:localhost:{QUIET_PORT}")]);
            let mut client = forward.connect().await;
            client.write_all(b"a question").await.unwrap();
            let mut target = lab.accept().await;
            read_all(&mut target, 10).await;
            let (mut from_client, mut to_client) = target.into_split();
            // Where the agent ends the session it is cut off.
            let writes = tokio::spawn(async move { to_client.write_all(&vec![7; LEN]).await });
            // An agent without keepalives ends the session after 180 s, and closes its connection then.
            let until = tokio::time::Instant::now() + PAUSE;
            let more = tokio::time::timeout_at(until, from_client.read(&mut [0])).await;
            assert!(matches!(more, Err(_) | Ok(Ok(0) | Err(_))), "{case}: a byte of nobody's");
            tokio::time::sleep_until(until).await;
            let (mut got, mut buffer) = (0, vec![0; 1 << 16]);
            while got < LEN {
                match timeout(PATIENCE, client.read(&mut buffer)).await.expect("it goes on or ends")
                {
                    Ok(0) => panic!("{case}: {got} bytes were taken for all"),
                    Ok(read) => got += read,
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{case}");
                        break;
                    }
                }
            }
            let is_kept_open = !matches!(case.as_str(), "A" | "B");
            assert!(got == LEN || !is_kept_open, "{case}: only {got} bytes");
            writes.abort();
            forward.stop("TERM").await;
        });
    }
    cases.join_all().await;
}

/// A request, and an agent that falls silent while its gateway lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_falls_silent_is_told_of() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d()] {
        cases.spawn(async move {
            let tells = agent == Agent::d();
            let lab = Lab::new(Instance::new(INSTANCE).agent(agent.quick())).await;
            let mut bridge = lab.start(&[QUIET_PORT, "--linger", "0"]);
            bridge.send(b"a question").await;
            let mut target = lab.accept().await;
            read_all(&mut target, 10).await;
            // Which it is not for a minute.
            is_silent(&mut target, Duration::from_secs(30)).await;
            assert_eq!(bridge.log(), "");
            bridge.logged("ServerAliveInterval").await;
            let log = bridge.log();
            assert!(log.contains("--idle-timeout"), "{log}");
            drop(target);
            if !tells {
                drop(bridge.stdin.take());
            }
            assert_eq!(bridge.end().await.code, Some(0));
        });
    }
    cases.join_all().await;
}

/// Idle sessions of agents that dial again without a word are not kept open: after 180 s the local
/// connection ends cleanly, and so does the next one; the reason is told once. Agent D's are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_of_an_old_agent_ends_cleanly_and_is_told_of_once() {
    let mut cases = tokio::task::JoinSet::new();
    for agent in [Agent::a(), Agent::b(), Agent::d()] {
        cases.spawn(async move {
            let is_kept = agent == Agent::d();
            let case = format!("{:?}", agent.generation);
            let lab = Lab::new(Instance::new(INSTANCE).agent(agent.quick())).await;
            let mut forward =
                Forward::start(&lab, &["--grace", "0", "-L", &format!("0:localhost:{QUIET_PORT}")]);
            let mut pool = Vec::new();
            for _ in 0..2 {
                let mut client = forward.connect().await;
                client.write_all(b"PING").await.unwrap();
                let mut target = lab.accept().await;
                assert_eq!(read_all(&mut target, 4).await, b"PING", "{case}");
                target.write_all(b"PONG").await.unwrap();
                assert_eq!(read_all(&mut client, 4).await, b"PONG", "{case}");
                pool.push((client, target));
            }
            let end = tokio::time::Instant::now() + Duration::from_secs(200);
            for (client, target) in &mut pool {
                let read = tokio::time::timeout_at(end, client.read(&mut [0; 8])).await;
                if is_kept {
                    assert!(read.is_err(), "{case}: {read:?}");
                    target.write_all(b"more").await.unwrap();
                    assert_eq!(read_all(client, 4).await, b"more", "{case}");
                } else {
                    assert_eq!(read.expect("it ends").expect("it ends cleanly"), 0, "{case}");
                }
            }
            if !is_kept {
                forward.bridge.logged("an idle session ended after 180 s").await;
            }
            let told = forward.bridge.log().matches("an idle session ended after 180 s").count();
            assert_eq!(told, usize::from(!is_kept), "{case}: {}", forward.bridge.log());
            forward.stop("TERM").await;
        });
    }
    cases.join_all().await;
}

/// The same of one that resumes: it is asked for an acknowledgement first, and told of if none comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_acknowledges_nothing_any_more_is_asked_and_told_of() {
    let hang = Fault::new(Point::InputBytes(20), Action::Hang);
    let instance = Instance::new(INSTANCE).agent(Agent::resumable().quick()).fault(hang);
    let lab = Lab::new(instance).await;
    let mut bridge = lab.start(&[QUIET_PORT]);
    bridge.send(b"a question").await;
    let mut target = lab.accept().await;
    read_all(&mut target, 10).await;
    target.write_all(b"an answer").await.unwrap();
    bridge.expect(b"an answer").await;
    bridge.send(b"and another question").await;
    is_silent(&mut target, Duration::from_secs(45)).await;
    assert_eq!(bridge.log(), "");
    lab.session(|session| !session.client_syncs.is_empty()).await;
    bridge.logged("ServerAliveInterval").await;
    bridge.signal("TERM").await;
    bridge.end().await;
}
