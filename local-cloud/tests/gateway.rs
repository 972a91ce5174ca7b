//! The gateway and its agents, driven by a client of the test's own.

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, DialFailure, Fault, Instance, InstanceStatus, Pace, Point, Progress,
    SessionState,
};
use support::*;
use tokio_tungstenite::tungstenite::Message;

fn quick(agent: Agent) -> Instance {
    Instance::new("i-a").agent(agent.quick()).pace(Pace::off())
}

#[tokio::test]
async fn every_agent_opens_and_echoes() {
    for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d()] {
        let cloud = cloud_with(quick(agent).target(22, greeter().await)).await;
        let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        assert_eq!(client.output(8).await, b"hello 1\n");
        client.input(b"x").await;
        let record = cloud.wait_for_session(|s| s.forwarded_bytes == 1, SOON).await.unwrap();
        assert_eq!((record.id, record.state), (started.id, SessionState::Connected));
        assert_eq!(record.token_header, Some(started.token));
        assert_eq!((record.opened, record.dials, record.output_bytes), (1, 1, 8));
        assert_eq!(record.violations, [""; 0]);
    }
}

#[tokio::test]
async fn large_transfers_come_back_byte_for_byte() {
    let cloud = cloud_with(quick(Agent::d()).target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 / 7) as u8).collect();
    let mut back = Vec::new();
    for chunk in data.chunks(2_048 * 5) {
        for payload in chunk.chunks(2_048) {
            client.input(payload).await;
        }
        back.extend(client.output(chunk.len()).await);
    }
    assert_eq!(back, data);
    let record = cloud.wait_for_session(|s| s.output_bytes == 300_000, SOON).await.unwrap();
    assert_eq!(record.input_frames, 147);
    assert_eq!(record.full_inputs, 146);
    assert_eq!(record.violations, [""; 0]);
}

#[tokio::test]
async fn agent_a_drops_early_input_and_d_holds_it() {
    // It dials when it is told to, however busy the machine is.
    let late = |agent| quick(agent).fault(Fault::new(Point::Opened, Action::Hang));
    let cloud = cloud_with(late(Agent::a()).target(22, echo().await)).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    client.input(b"early").await;
    client.opened().await;
    client.input(b" and not much later").await;
    cloud.wait_for_session(|s| s.faults_struck == 1 && s.dropped_bytes == 24, SOON).await.unwrap();
    assert!(cloud.faults().inject(&started.id, Action::Resume));
    cloud.wait_for_session(|s| s.dials == 1, SOON).await.unwrap();
    client.input(b"late").await;
    assert_eq!(client.output(4).await, b"late");
    let record = &cloud.sessions()[0];
    assert_eq!((record.dropped_bytes, record.forwarded_bytes), (24, 4));

    let cloud = cloud_with(late(Agent::d()).target(22, echo().await)).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    client.input(b"early").await;
    client.opened().await;
    client.input(b", late").await;
    let record = cloud
        .wait_for_session(|s| s.faults_struck == 1 && s.input_bytes == 11, SOON)
        .await
        .unwrap();
    assert_eq!(record.dials, 0);
    assert!(cloud.faults().inject(&started.id, Action::Resume));
    assert_eq!(client.output(11).await, b"early, late");
    assert_eq!(cloud.sessions()[0].dropped_bytes, 0);
}

#[tokio::test]
async fn agent_a_dials_again_on_the_next_input_even_an_empty_one() {
    let cloud = cloud_with(quick(Agent::a()).target(22, greeter().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    assert_eq!(client.output(8).await, b"hello 1\n");
    client.input(b"bye\n").await;
    // Nothing is said. A WebSocket ping is answered, and the agent dials nothing because of it.
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    assert!(matches!(client.next().await, Got::Other(Message::Pong(_))));
    cloud.wait_for_session(|s| s.forwarded_bytes == 4, SOON).await.unwrap();
    // Keepalives until one of them finds the target closed.
    let mut tries = 0;
    while cloud.sessions()[0].dials == 1 {
        client.input(b"").await;
        tries += 1;
        let frames = cloud.wait_for_session(|s| s.input_frames == tries + 1, SOON).await;
        assert_eq!(frames.unwrap().empty_inputs, tries);
        tokio::task::yield_now().await;
    }
    assert_eq!(client.output(8).await, b"hello 2\n");
}

#[tokio::test]
async fn agent_d_ends_when_the_target_does() {
    let cloud = cloud_with(quick(Agent::d()).target(22, greeter().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.output(8).await;
    client.input(b"\n").await;
    assert_eq!(client.status().await, (5, "ReadFromTargetPortFailed".to_owned()));
    assert_eq!(client.next().await, Got::Broken, "the connection ends without a close");
    drop(client);
    let record = cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
    assert_eq!((record.dials, record.close_handshake), (1, false));
    assert_eq!(record.end_reason.as_deref(), Some("ReadFromTargetPortFailed"));
    assert_eq!(record.state, SessionState::Terminated);
}

#[tokio::test]
async fn a_port_nobody_listens_on() {
    for (agent, reason) in [
        (Agent::a(), "Open_port_failed"),
        (Agent::b(), "OpenTargetPortFailed"),
        (Agent::c(), "OpenTargetPortFailed"),
        (Agent::d(), "OpenTargetPortFailed"),
    ] {
        let cloud = cloud_with(quick(agent)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        assert_eq!(client.status().await, (5, reason.to_owned()));
        assert_eq!(client.next().await, Got::Closed(1000));
    }
    let silent = Agent::a().dial_failure(DialFailure::Silent);
    let cloud = cloud_with(quick(silent)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    cloud.wait_for_session(|s| s.dial_failures == 1, SOON).await.unwrap();
    client.input(b"anyone?").await;
    let record = cloud.wait_for_session(|s| s.dial_failures == 2, SOON).await.unwrap();
    assert_eq!(record.live, 1);
}

#[tokio::test]
async fn another_host_seen_from_the_instance() {
    let instance = quick(Agent::d()).remote("db.internal", 3306, greeter().await);
    let cloud = cloud_with(instance).await;
    for (host, port, status) in [
        ("db.internal", "3306", None),
        ("db.internal", "1", Some("OpenTargetPortFailed")),
        ("nowhere", "3306", Some("OpenTargetPortFailed: lookup nowhere: no such host")),
    ] {
        let params = [("InstanceId.1", "i-a"), ("PortNumber", port), ("TargetServer", host)];
        let started = started(&call(&cloud, "StartTerminalSession", &params).await);
        let mut client = Client::connect(&cloud, &started).await;
        client.opened().await;
        match status {
            None => assert_eq!(client.output(8).await, b"hello 1\n"),
            Some(text) => assert_eq!(client.status().await, (5, text.to_owned())),
        }
    }
}

#[tokio::test]
async fn an_instance_that_is_away_never_opens() {
    let timeout = Duration::from_millis(50);
    for instance in
        [quick(Agent::d()).status(InstanceStatus::Stopped), quick(Agent::d()).agent_online(false)]
    {
        let cloud = cloud_with(instance.agent_timeout(timeout)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        assert_eq!(client.status().await.0, 0);
        assert_eq!(client.status().await.0, 1);
        assert_eq!(client.status().await, (2, "AgentTimeout".to_owned()));
        assert_eq!(client.next().await, Got::Closed(1000));
    }
}

#[tokio::test]
async fn without_progress_the_first_frame_is_output() {
    let instance = quick(Agent::d()).progress(Progress::none());
    let cloud = cloud_with(instance.target(22, greeter().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    match client.next().await {
        Got::Frame { kind: OUTPUT, sequence: 0, payload, .. } => assert_eq!(payload, b"hello 1\n"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn too_fast_is_the_end_of_it() {
    let instance = quick(Agent::d()).pace(Pace::default());
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    // 26,880 bytes are the limit and its tolerance: 13 full frames are below, 14 above.
    for _ in 0..14 {
        client.input(&[0; 2_048]).await;
    }
    let mut last = client.next().await;
    while let Got::Frame { kind: OUTPUT, .. } = last {
        last = client.next().await;
    }
    match last {
        Got::Frame { kind: STATUS, payload, .. } => assert_eq!(payload, b"\x05FlowExceedLimit"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.next().await, Got::Closed(1000));
    let record = cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
    assert_eq!(record.end_reason.as_deref(), Some("FlowExceedLimit"));
    assert!(record.peak_bytes_per_second > 26_880);
}

#[tokio::test]
async fn what_was_paced_and_comes_in_a_heap_counts_only_where_that_is_asked_for() {
    for (pace, over) in [(Pace::default(), false), (Pace::default().strict(), true)] {
        let cloud = cloud_with(quick(Agent::d()).pace(pace).target(22, echo().await)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        for number in 0..14 {
            let created = 1_700_000_000_000 + 82 * u64::try_from(number).unwrap();
            let frame = frame_created(INPUT, number, &[0; 2_048], created);
            client.ws.send(Message::Binary(frame)).await.unwrap();
        }
        let told =
            |s: &local_cloud::SessionRecord| s.end_reason.is_some() || s.output_bytes == 14 * 2_048;
        let record = cloud.wait_for_session(told, SOON).await.unwrap();
        assert_eq!(record.end_reason.is_some(), over, "{:?}", record.end_reason);
    }
}

#[tokio::test]
async fn within_the_limit_nothing_happens() {
    let instance = quick(Agent::d()).pace(Pace::announced(8 * 1_024_000));
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let announced = client.status().await;
    assert_eq!(announced.0, 7);
    assert_eq!(announced.1.as_bytes(), b"\x7d\x00\x00".as_slice(), "8,192,000 in three bytes");
    let data = vec![7; 900_000];
    let (sent, begin) = (data.chunks(2_048), Instant::now());
    for payload in sent {
        client.input(payload).await;
        assert_eq!(client.output(payload.len()).await.len(), payload.len());
    }
    let record = &cloud.sessions()[0];
    assert_eq!((record.live, record.input_bytes), (1, 900_000), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_limit_can_change_at_any_time() {
    let cloud = cloud_with(quick(Agent::d()).target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    assert!(cloud.set_limit("i-a", 8_000));
    let (state, limit) = client.status().await;
    assert_eq!((state, limit.as_bytes()), (7, b"\x1f\x40".as_slice()));
    assert!(!cloud.set_limit("i-none", 8_000));
}

#[tokio::test]
async fn silence_ends_a_session_and_pings_do_not_count() {
    let idle = Duration::from_millis(300);
    let instance = quick(Agent::d()).progress(Progress::none()).idle_timeout(idle);
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    // There is no pause between the pings: if they counted, it would not end.
    let told = soon(async {
        loop {
            client.ws.send(Message::Ping("x".into())).await.unwrap();
            match client.next().await {
                Got::Other(Message::Pong(_)) => {}
                told => return told,
            }
        }
    });
    match told.await {
        Got::Frame { kind: STATUS, payload, .. } => assert_eq!(payload, b"\x05IdleTimeout"),
        other => panic!("{other:?}"),
    }
    let mut last = client.next().await;
    while let Got::Other(Message::Pong(_)) = last {
        last = client.next().await;
    }
    assert_eq!(last, Got::Closed(1000));
}

#[tokio::test]
async fn the_gateway_may_ping() {
    let instance = quick(Agent::d()).progress(Progress::none());
    let instance = instance.ping_every(Duration::from_millis(20)).target(22, echo().await);
    let cloud = cloud_with(instance).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    assert!(matches!(client.next().await, Got::Other(Message::Ping(_))));
    client.ws.flush().await.unwrap(); // the answer to it
    cloud.wait_for_session(|s| s.pongs == 1, SOON).await.unwrap();
}

#[tokio::test]
async fn a_session_does_not_live_for_ever() {
    let lifetime = Duration::from_millis(100);
    let instance = quick(Agent::d()).progress(Progress::none()).session_timeout(lifetime);
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    assert_eq!(client.status().await, (5, "SessionTimeout".to_owned()));
    assert_eq!(client.next().await, Got::Closed(1000));
}

#[tokio::test]
async fn close_ends_it_and_frees_the_target() {
    let cloud = cloud_with(quick(Agent::d()).target(22, greeter().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.output(8).await;
    client.send(CLOSE, b"1").await;
    assert_eq!(client.next().await, Got::Closed(1000));
    assert_eq!(client.next().await, Got::Broken);
    let ended = |s: &local_cloud::SessionRecord| s.live == 0 && s.close_handshake;
    let record = cloud.wait_for_session(ended, SOON).await.unwrap();
    assert_eq!((record.close_frames, record.violations.len()), (1, 0));
    assert_eq!(record.end_reason.as_deref(), Some("ClientClosed"));
    assert!(!record.is_open() && !record.ended_by_api);
}

#[tokio::test]
async fn a_socket_that_just_ends_leaves_the_session_open() {
    let cloud = cloud_with(quick(Agent::d()).target(22, echo().await)).await;
    let (client, started) = Client::open(&cloud, "i-a", 22).await;
    drop(client);
    let gone = |s: &local_cloud::SessionRecord| s.state == SessionState::Disconnected;
    let record = cloud.wait_for_session(gone, SOON).await.unwrap();
    assert!(record.is_open());
    assert_eq!(record.violations, [""; 0]);
    assert_eq!(cloud.look(local_cloud::State::open_sessions), 1);
    let answer = call(&cloud, "EndTerminalSession", &[("SessionId", &started.id)]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(cloud.look(local_cloud::State::open_sessions), 0);
}

#[tokio::test]
async fn the_api_ends_a_live_session() {
    let cloud = cloud_with(quick(Agent::d()).target(22, echo().await)).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    call(&cloud, "EndTerminalSession", &[("SessionId", &started.id)]).await;
    assert_eq!(client.status().await, (5, "Exit".to_owned()));
    assert_eq!(client.next().await, Got::Closed(1000));
    let refused = Client::try_connect(&cloud, &started, Some("")).await;
    assert!(refused.is_err(), "an ended session cannot be connected to");
}

#[tokio::test]
async fn what_a_client_does_wrong_is_noted() {
    let cloud = cloud_with(quick(Agent::d()).target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.sequence = 5;
    client.input(&[0; 2_049]).await;
    client.send(2, b"abc").await;
    client.send(1, b"").await;
    client.sequence += 1;
    client.input(b"").await;
    let record = cloud.wait_for_session(|s| s.input_frames == 2, SOON).await.unwrap();
    assert_eq!(
        record.violations,
        [
            "sequence 5 after None",
            "a payload of 2049 bytes, 2048 are allowed",
            "a Resize of 3 bytes",
            "a client's frame of type 1",
            "sequence 9 after Some(7)",
        ]
    );
    // Bytes that are no frame end it.
    client.output(2_049).await;
    client.ws.send(Message::Binary("short".into())).await.unwrap();
    assert_eq!(client.status().await, (5, "ProcessDataError".to_owned()));

    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.ws.send(Message::text("{}")).await.unwrap();
    assert_eq!(client.status().await, (5, "ProcessDataError".to_owned()));
}

#[tokio::test]
async fn who_does_not_read_is_not_written_to_without_end() {
    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = quick(Agent::d()).target(22, target.local_addr().unwrap());
    let cloud = cloud_with(instance).await;
    let (client, _) = Client::open(&cloud, "i-a", 22).await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    use tokio::io::AsyncWriteExt as _;
    let mut written = 0;
    // The target is held up once all buffers on the way are full.
    let chunk = vec![0; 64 * 1024];
    while let Ok(count) = tokio::time::timeout(Duration::from_millis(200), tcp.write(&chunk)).await
    {
        written += count.unwrap();
        assert!(written < 100 << 20, "nothing holds the target up");
    }
    drop(client);
}
