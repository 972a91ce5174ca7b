//! What may befall a stream of 1.02: sockets that are cut, a gateway that restarts, frames that do not come as they were sent.

mod support;

use std::time::Duration;

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, Corruption, Fault, FrameFault, Instance, Pace, Point, Restart, Resumption,
    SessionState, Which,
};
use support::*;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

fn quick() -> Instance {
    Instance::new("i-a").agent(Agent::resumable().quick()).pace(Pace::off())
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(31) / 7 + n / 2_048) as u8).collect()
}

/// Echoes so much through whatever happens, and both directions come byte for byte.
async fn survives(instance: Instance, length: usize) -> (Resuming, local_cloud::SessionRecord) {
    let (cloud, mut client) = echoing(instance).await;
    let data = data(length);
    let back = client.carry(&data, length).await;
    assert!(back == data, "{} of {length} bytes came back, not as they were", back.len());
    let record = only(&cloud);
    assert_eq!(record.forwarded_bytes, length as u64, "each byte once");
    assert_eq!(record.violations, [""; 0]);
    assert_eq!(record.dials, 1);
    (client, record)
}

#[tokio::test]
async fn fifty_cuts_of_both_directions_lose_nothing() {
    let cut = |at| Fault::new(at, Action::Cut);
    let instance = quick()
        .fault(cut(Point::EveryOutputBytes(100_000)))
        .fault(cut(Point::EveryInputBytes(130_000)));
    let (client, record) = survives(instance, 3_000_000).await;
    assert!(client.lost >= 40, "{}", client.lost);
    assert_eq!(record.resumptions, client.lost);
    assert!(record.sync_frames >= u64::from(client.lost));
}

#[tokio::test]
async fn so_many_bytes_are_so_many_cuts() {
    for action in [Action::Cut, Action::Reset, Action::Close(1012), Action::Close(1005)] {
        let fault = Fault::new(Point::EveryOutputBytes(50_000), action.clone());
        let (client, record) = survives(quick().fault(fault), 1_010_000).await;
        assert_eq!(client.lost, 20, "{action:?}");
        assert_eq!(record.socket_ends.len(), 20);
    }
}

#[tokio::test]
async fn cut_at_once_and_in_a_while() {
    let (cloud, mut client) = echoing(quick()).await;
    let id = client.started.id.clone();
    for (action, seen, why) in [
        (Action::Cut, Seen::Broken, "Cut"),
        (Action::Reset, Seen::Broken, "Reset"),
        (Action::Close(1006), Seen::Broken, "Cut"),
        (Action::Close(1001), Seen::Closed(1001), "Close 1001"),
        (Action::Close(1005), Seen::Closed(1005), "Close 1005"),
        (Action::Close(1013), Seen::Closed(1013), "Close 1013"),
    ] {
        assert!(cloud.faults().inject_in(&id, Duration::from_millis(5), action));
        assert_eq!(client.next().await, seen);
        client.reattach().await.unwrap();
        client.sync().await;
        client.opened().await;
        client.input(b"x").await;
        let number = client.sent;
        assert_eq!(client.output(number).await, b"x");
        assert_eq!(only(&cloud).socket_ends.last().map(String::as_str), Some(why));
    }
    // 1000 and 1008 are final.
    assert!(cloud.faults().inject(&id, Action::Close(1008)));
    assert_eq!(client.next().await, Seen::Closed(1008));
    assert_eq!(client.reattach().await, Err(403));
    assert_eq!(only(&cloud).state, SessionState::Terminated);
}

#[tokio::test]
async fn what_was_said_before_a_close_comes_before_it() {
    let (cloud, mut client) = echoing(quick()).await;
    cloud.faults().inject(&client.started.id, Action::status(8, "by hand"));
    cloud.faults().inject(&client.started.id, Action::Close(1012));
    assert_eq!(client.status().await, b"\x08by hand");
    assert_eq!(client.next().await, Seen::Closed(1012));
}

#[tokio::test]
async fn the_end_waits_for_no_client() {
    // The second cut waits until the client says where it stands, and holds all up behind it.
    let cut = Fault::new(Point::OutputBytes(1), Action::Cut);
    let (cloud, mut client) = echoing(quick().fault(cut.clone()).fault(cut)).await;
    client.input(b"1").await;
    client.output(1).await;
    assert_eq!(client.next().await, Seen::Broken);
    client.reattach().await.unwrap();
    client.opened().await;
    for limit in 1..40 {
        assert!(cloud.set_limit("i-a", limit));
    }
    assert!(cloud.end_session(&client.started.id));
    session(&cloud, |s| s.live == 0).await;
}

#[tokio::test]
async fn the_gateway_restarts_and_is_back() {
    let (cloud, mut client) = echoing(quick()).await;
    let mut other = Resuming::open(&cloud, "i-a", 22).await;
    other.opened().await;
    let (close_after, down) = (Duration::from_millis(20), Duration::from_millis(400));
    let restart = Restart::new().close_after(close_after).down(down);
    let begin = std::time::Instant::now();
    assert_eq!(cloud.faults().restart(restart), 2);
    for client in [&mut client, &mut other] {
        assert_eq!(client.status().await, b"\x08restart");
        assert_eq!(client.next().await, Seen::Closed(1012));
    }
    assert_eq!(client.reattach().await, Err(503));
    while let Err(status) = client.reattach().await {
        assert_eq!(status, 503);
    }
    assert!(begin.elapsed() >= close_after + down);
    client.opened().await;
    client.sync().await;
    client.input(b"on").await;
    assert_eq!(client.output(1).await, b"on");

    // One session alone, with another code, and not a word before.
    let restart = Restart::new().of(&client.started.id).announced(false).code(1001).refusal(502);
    assert_eq!(cloud.faults().restart(restart), 1);
    assert_eq!(client.next().await, Seen::Closed(1001));
    assert_eq!(client.reattach().await, Err(502));
    other.reattach().await.unwrap();
}

#[tokio::test]
async fn who_comes_back_before_the_restart_is_left_alone_by_it() {
    let (cloud, mut client) = echoing(quick()).await;
    let restart = Restart::new().close_after(Duration::from_millis(40)).down(Duration::ZERO);
    cloud.faults().restart(restart);
    assert_eq!(client.status().await, [&b"\x08"[..], b"restart"].concat());
    client.reattach().await.unwrap();
    client.opened().await;
    client.sync().await;
    // Longer than until the close.
    let quiet = tokio::time::timeout(Duration::from_millis(80), client.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn packets_that_vanish_leave_the_connection_up() {
    let (cloud, mut client) = echoing(quick()).await;
    let mut stale = Resuming::open(&cloud, "i-a", 22).await;
    client.input(b"1").await;
    client.output(1).await;
    assert!(cloud.faults().inject(&client.started.id, Action::Vanish));
    session(&cloud, |s| s.faults_struck == 1).await;
    client.input(b"2").await;
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    std::mem::swap(&mut client.ws, &mut stale.ws);
    client.reattach().await.unwrap();
    client.opened().await;
    client.sync().await;
    let sync = client.frame().await;
    assert_eq!((sync.kind, sync.input), (SYNC, 2), "it never came");
    client.raw(INPUT, 2, 1, b"2").await;
    assert_eq!(client.output(2).await, b"2");
    // The old socket was replaced, and still hears nothing, not even of that.
    let quiet = tokio::time::timeout(Duration::from_millis(60), stale.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(only(&cloud).pings, 0);
    // Nor when all is over.
    cloud.end_session(&client.started.id);
    session(&cloud, |s| s.live == 0).await;
    let quiet = tokio::time::timeout(Duration::from_millis(60), stale.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    cloud.shutdown().await;
    assert_eq!(stale.next().await, Seen::Broken);
}

#[tokio::test]
async fn frames_that_do_not_come_as_they_were_sent() {
    let every = |corrupt| FrameFault::to_client(Which::Every(7), corrupt);
    let random = |corrupt| FrameFault::to_agent(Which::Share { per_mille: 50, seed: 7 }, corrupt);
    for corrupt in [Corruption::Duplicate, Corruption::Swap, Corruption::Lose] {
        let delay =
            FrameFault::to_client(Which::Nth(5), Corruption::Delay(Duration::from_millis(5)));
        let instance = quick()
            .frame_fault(every(corrupt.clone()))
            .frame_fault(random(corrupt.clone()))
            .frame_fault(delay);
        let (_, record) = survives(instance, 500_000).await;
        assert!(record.corrupted_frames > 20, "{corrupt:?}: {}", record.corrupted_frames);
        match corrupt {
            Corruption::Duplicate => assert!(record.duplicate_inputs > 5 && record.input_gaps == 0),
            _ => assert!(record.input_gaps > 0 && !record.agent_syncs.is_empty()),
        }
    }
}

#[tokio::test]
async fn frames_that_come_damaged() {
    for corrupt in [Corruption::Truncate(20), Corruption::Flip(4), Corruption::WrongLength(1)] {
        let fault = FrameFault::to_client(Which::Nth(1), corrupt.clone());
        let (_cloud, mut client) = echoing(quick().frame_fault(fault)).await;
        client.input(b"once").await;
        let seen = client.next().await;
        assert!(matches!(seen, Seen::Malformed(_)), "{corrupt:?}: {seen:?}");
        client.input(b"more").await;
        assert_eq!(client.frame().await.output, 2);
        client.sync().await;
        assert_eq!(client.output(1).await, b"once");
        assert_eq!(client.output(2).await, b"more");

        let fault = FrameFault::to_agent(Which::Nth(2), corrupt);
        let (cloud, mut client) = echoing(quick().frame_fault(fault)).await;
        client.input(b"once").await;
        client.output(1).await;
        client.input(b"more").await;
        assert_eq!(client.status().await, b"\x05ProcessDataError");
        assert_eq!(only(&cloud).violations, [""; 0], "that was not the client's doing");
    }
    // A frame is swapped with the next one of its type, and comes late if there is none.
    let swap = FrameFault::to_client(Which::Nth(1), Corruption::Swap);
    let (_cloud, mut client) = echoing(quick().frame_fault(swap)).await;
    client.input(b"only").await;
    assert_eq!(client.output(1).await, b"only");
    // A Sync may be lost like anything else.
    let lose = FrameFault::to_agent(Which::Nth(1), Corruption::Lose).of_type(SYNC);
    let (cloud, mut client) = echoing(quick().frame_fault(lose.times(1))).await;
    client.sync().await;
    client.sync().await;
    let record = session(&cloud, |s| s.sync_frames == 2).await;
    assert_eq!(record.corrupted_frames, 1);
}

#[tokio::test]
async fn frames_of_1_01_may_be_struck_as_well() {
    let fault = |nth, corrupt| FrameFault::to_client(Which::Nth(nth), corrupt);
    let instance = Instance::new("i-a")
        .agent(Agent::d().quick())
        .pace(Pace::off())
        .frame_fault(fault(1, Corruption::Duplicate))
        .frame_fault(fault(2, Corruption::Lose))
        .frame_fault(fault(3, Corruption::Swap))
        .frame_fault(FrameFault::to_agent(Which::Nth(5), Corruption::Duplicate));
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    for (number, payload) in (1..).zip([b"1", b"2", b"3", b"4", b"5"]) {
        client.input(payload).await;
        // One after the other, so that each is a frame of its own.
        let frames = session(&cloud, |s| s.forwarded_bytes >= number).await;
        assert!(frames.output_frames <= number + 1);
        let numbered = session(&cloud, |s| s.output_frames + s.corrupted_frames > number).await;
        assert_eq!(numbered.violations, [""; 0]);
    }
    let mut all = Vec::new();
    while all.len() < 6 {
        match client.next().await {
            Got::Frame { kind: OUTPUT, sequence, payload, .. } => {
                all.extend(payload.iter().map(|byte| (sequence, char::from(*byte))));
            }
            other => panic!("{other:?}"),
        }
    }
    let numbers: Vec<i64> = all.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers[..4], [0, 0, 3, 2], "{all:?}");
}

#[tokio::test]
async fn an_agent_that_is_mistaken() {
    // Acknowledges what was never sent.
    let (cloud, mut client) = echoing(quick()).await;
    let id = client.started.id.clone();
    assert!(cloud.faults().inject(&id, Action::AckAhead(5)));
    session(&cloud, |s| s.faults_struck == 1).await;
    client.input(b"1").await;
    assert_eq!(client.frame().await.input, 6);
    // Asks for an Input that the client can have forgotten.
    client.have = 1;
    client.input(b"2").await;
    client.output(2).await;
    assert!(cloud.faults().inject(&id, Action::AskFor(1)));
    let sync = client.frame().await;
    assert_eq!((sync.kind, sync.input), (SYNC, 1));

    // Does not have what it is asked for.
    let fault = Fault::new(Point::OutputBytes(3), Action::ForgetOutputs);
    let (cloud, mut client) = echoing(quick().fault(fault)).await;
    client.input(b"abc").await;
    client.output(1).await;
    client.have = 0;
    client.sync().await;
    assert_eq!(client.status().await, b"\x05ProcessDataError");
    assert_eq!(client.next().await, Seen::Closed(1000));
    assert_eq!(client.reattach().await, Err(403));
    let record = session(&cloud, |s| s.state == SessionState::Terminated).await;
    assert_eq!(record.end_reason.as_deref(), Some("ProcessDataError"));
}

#[tokio::test]
async fn statuses_in_any_order() {
    let told = |at, state| Fault::new(at, Action::status(state, ""));
    let instance = quick()
        .fault(told(Point::Connected, 3))
        .fault(told(Point::Opened, 3))
        .fault(told(Point::OutputBytes(2), 3));
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    for state in [3, 0, 1, 3, 3] {
        assert_eq!(client.status().await, [state]);
    }
    client.input(b"abcd").await;
    assert_eq!(client.output(1).await, b"ab");
    assert_eq!(client.status().await, [3]);
    assert_eq!(client.output(2).await, b"cd");
    for (limit, bytes) in [
        (0, &[7, 0][..]),
        (1, &[7, 1]),
        (8_000, &[7, 0x1f, 0x40]),
        (4_000_000_000, &[7, 0xee, 0x6b, 0x28, 0]),
    ] {
        assert!(cloud.set_limit("i-a", limit));
        assert_eq!(client.status().await, bytes);
    }
}

#[tokio::test]
async fn a_limit_that_changes_all_the_time() {
    let limits = [8_000, 1_000_000];
    let (cloud, mut client) = echoing(quick()).await;
    let wobble = cloud.wobble_limit("i-a", &limits, Duration::from_millis(2));
    for _ in 0..10 {
        assert_eq!(client.status().await, [7, 0x1f, 0x40]);
        assert_eq!(client.status().await, [7, 0x0f, 0x42, 0x40]);
    }
    drop(wobble);

    let instance = quick().agent(Agent::d().quick()).target(22, echo().await);
    let cloud = cloud_with(instance).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let _wobble = cloud.wobble_limit("i-a", &limits, Duration::from_millis(2));
    for length in [2, 3, 2, 3] {
        let (state, limit) = client.status().await;
        assert_eq!((state, limit.chars().count()), (7, length), "{limit:?}");
    }
}

#[tokio::test]
async fn a_limit_is_told_again_on_another_socket() {
    let instance = quick().pace(Pace::announced(8_000_000));
    let (cloud, mut client) = echoing(instance).await;
    let first = client.status().await;
    assert_eq!(first, [7, 0x7a, 0x12, 0]);
    cloud.faults().inject(&client.started.id, Action::Cut);
    assert_eq!(client.next().await, Seen::Broken);
    session(&cloud, |s| s.live == 0).await;
    assert!(cloud.set_limit("i-a", 16_000));
    client.reattach().await.unwrap();
    client.opened().await;
    assert_eq!(client.status().await, [7, 0x3e, 0x80]);
}

#[tokio::test]
async fn faults_wait_for_a_client_that_is_away() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = quick()
        .agent(Agent::resumable().quick().resumption(Resumption::default().reannounces(false)))
        .fault(Fault::new(Point::EveryOutputBytes(4), Action::Cut))
        .target(22, target.local_addr().unwrap());
    let cloud = cloud_with(instance).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    use tokio::io::AsyncWriteExt as _;
    tcp.write_all(b"0123456789ab").await.unwrap();
    for round in 0..3 {
        assert_eq!(client.output(round + 1).await.len(), 4);
        assert_eq!(client.next().await, Seen::Broken);
        client.reattach().await.unwrap();
        client.sync().await;
    }
    assert_eq!(session(&cloud, |s| s.live == 1).await.resumptions, 3);
}
