//! Agents of 1.02: sequences, acknowledgement, and streams that outlive their WebSocket.

mod support;

use std::time::Duration;

use futures_util::SinkExt as _;
use local_cloud::{
    Agent, Corruption, FrameFault, Instance, Pace, Progress, Resumption, SyncNames, Which,
};
use support::*;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_tungstenite::tungstenite::Message;

fn quick() -> Instance {
    Instance::new("i-a").agent(Agent::resumable().quick()).pace(Pace::off())
}

fn with(resumption: Resumption) -> Instance {
    Instance::new("i-a").agent(Agent::resumable().quick().resumption(resumption)).pace(Pace::off())
}

#[test]
fn the_client_of_these_tests_reads_and_writes_the_golden_frames() {
    let all: serde_json::Value = serde_json::from_str(include_str!("data/frames.json")).unwrap();
    let bytes = |hex: &serde_json::Value| -> Vec<u8> {
        let digits = hex.as_str().unwrap().as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    };
    let mut seen = 0;
    for vector in all["frames"].as_array().unwrap() {
        let frame = Frame102::decode(&bytes(&vector["frame_hex"]));
        assert_eq!(frame.is_some(), vector["version"] == "1.02", "{}", vector["name"]);
        let Some(frame) = frame else { continue };
        seen += 1;
        assert_eq!(Some(u64::from(frame.kind)), vector["type"].as_u64());
        assert_eq!(frame.channel, vector["channel_id"].as_str().unwrap());
        assert_eq!(frame.instance, vector["instance_id"].as_str().unwrap());
        assert_eq!(Some(u64::from(frame.input)), vector["input_seq"].as_u64());
        assert_eq!(Some(u64::from(frame.output)), vector["output_seq"].as_u64());
        assert_eq!(frame.payload, bytes(&vector["payload_hex"]));
        let mut wire = bytes(&vector["frame_hex"]);
        let created = 10 + frame.channel.len() + frame.instance.len();
        wire[created..created + 8].copy_from_slice(&1_700_000_000_000_u64.to_le_bytes());
        assert_eq!(frame.encode()[..], wire, "{}", vector["name"]);
    }
    assert!(seen >= 7, "{seen}");
    for vector in all["malformed"].as_array().unwrap() {
        assert_eq!(Frame102::decode(&bytes(&vector["frame_hex"])), None, "{}", vector["name"]);
    }
}

#[tokio::test]
async fn every_frame_has_the_version_the_ids_and_both_sequences() {
    let cloud = cloud_with(quick().target(22, echo().await)).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    for state in [0, 1, 3] {
        let status = client.frame().await;
        assert!(status.channel.starts_with("d-"), "{status:?}");
        assert_eq!((status.kind, status.instance.as_str()), (STATUS, "i-a"));
        assert_eq!((status.input, status.output, &status.payload[..]), (0, 0, &[state][..]));
    }
    client.input(b"one").await;
    let output = client.frame().await;
    assert_eq!((output.kind, output.input, output.output), (OUTPUT, 1, 1));
    client.have = 1;
    client.raw(RESIZE, 2, 1, &[50, 0, 132, 0]).await;
    client.sent = 2;
    client.input(b"").await;
    client.input(b"two").await;
    let output = client.frame().await;
    assert_eq!((output.input, output.output, &output.payload[..]), (4, 2, &b"two"[..]));
    let record = session(&cloud, |s| s.acknowledged_outputs == 1).await;
    assert_eq!((record.received_inputs, record.last_output), (4, 2));
    assert_eq!((record.channel.as_ref(), record.connections), (Some(&client.channel), 1));
    assert_eq!(record.violations, [""; 0]);
    // A status carries where things stand.
    assert!(cloud.set_limit("i-a", 8_000));
    let status = client.frame().await;
    assert_eq!((status.kind, status.input, status.output), (STATUS, 4, 2));
}

#[tokio::test]
async fn statuses_without_sequences_where_that_is_asked_for() {
    let (cloud, mut client) = echoing(with(Resumption::default().bare_statuses(true))).await;
    client.input(b"one").await;
    client.output(1).await;
    assert!(cloud.set_limit("i-a", 8_000));
    let status = client.frame().await;
    assert_eq!((status.kind, status.input, status.output), (STATUS, 0, 0));
}

#[tokio::test]
async fn what_comes_twice_is_taken_once_and_what_is_missing_is_asked_for() {
    let (cloud, mut client) = echoing(quick()).await;
    client.input(b"1").await;
    client.output(1).await;
    client.raw(INPUT, 1, 1, b"1").await;
    client.raw(INPUT, 3, 1, b"3").await;
    let sync = client.frame().await;
    assert_eq!((sync.kind, sync.input, sync.output, sync.payload.len()), (SYNC, 2, 1, 0));
    for (number, payload) in [(2, b"2"), (3, b"3")] {
        client.raw(INPUT, number, 1, payload).await;
        assert_eq!(client.output(number).await, payload);
    }
    let record = only(&cloud);
    assert_eq!((record.duplicate_inputs, record.input_gaps, record.forwarded_bytes), (1, 1, 3));
    assert_eq!(record.agent_syncs.len(), 1);
    assert_eq!((record.agent_syncs[0].input, record.agent_syncs[0].socket), (2, 1));
    // 3 after 1 is a jump, and so is 2 after 3 but for that the client was asked to.
    assert_eq!(record.violations, ["Input or Resize 3 after 1"]);
}

#[tokio::test]
async fn a_gap_is_asked_for_once_and_by_the_other_reading_names_the_last_received() {
    let resumption = Resumption::default().sync_names(SyncNames::LastReceived);
    let (cloud, mut client) = echoing(with(resumption)).await;
    client.input(b"1").await;
    assert_eq!(client.output(1).await, b"1");
    let lose = FrameFault::to_agent(Which::Nth(1), Corruption::Lose);
    assert!(cloud.faults().corrupt(&client.started.id, lose));
    for payload in [b"2", b"3", b"4"] {
        client.input(payload).await;
    }
    let sync = client.frame().await;
    assert_eq!((sync.kind, sync.input), (SYNC, 1));
    let record = session(&cloud, |s| s.input_gaps == 2).await;
    assert_eq!(record.agent_syncs.len(), 1, "not for each frame behind the gap");
    assert_eq!((record.corrupted_frames, record.violations.len()), (1, 0));
    // Asked again by the clock, should that have been lost.
    let sync = client.frame().await;
    assert_eq!((sync.kind, sync.input), (SYNC, 1));
}

#[tokio::test]
async fn only_so_much_is_kept_and_then_the_target_waits() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resumption = Resumption::default().keeps(64 * 1_024);
    let cloud = cloud_with(with(resumption).target(22, target.local_addr().unwrap())).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    let flood = tokio::spawn(async move {
        tcp.write_all(&[7; 1_000_000]).await.unwrap();
        tcp
    });
    // The client reads, and acknowledges nothing.
    let (mut number, mut bytes) = (0, 0);
    while bytes < 64 * 1_024 {
        number += 1;
        bytes += client.output(number).await.len();
    }
    let record = session(&cloud, |s| s.peak_kept_bytes >= 64 * 1_024).await;
    assert!(record.peak_kept_bytes < 64 * 1_024 + 16 * 2_048, "{}", record.peak_kept_bytes);
    // A frame of any kind acknowledges, and it goes on.
    while bytes < 1_000_000 {
        client.input(b"").await;
        let wanted = (bytes + 60_000).min(1_000_000);
        while bytes < wanted {
            number += 1;
            bytes += client.output(number).await.len();
        }
    }
    soon(flood).await.unwrap();
}

#[tokio::test]
async fn what_a_client_does_wrong_is_noted() {
    let (cloud, mut client) =
        echoing(with(Resumption::default().version_grace(Duration::ZERO))).await;
    let channel = client.channel.clone();
    client.channel = "d-other".to_owned();
    client.raw(INPUT, 1, 0, b"").await;
    client.channel = channel;
    client.raw(INPUT, 2, 9, b"").await;
    client.raw(INPUT, 4, 0, b"").await;
    client.raw(INPUT, 3, 0, &[0; 2_049]).await;
    client.raw(SYNC, 1, 0, b"x").await;
    client.raw(9, 4, 0, b"").await;
    client.plain(INPUT, 0, b"").await;
    let record = session(&cloud, |s| s.input_frames == 5).await;
    let own = &client.channel;
    assert_eq!(
        record.violations,
        [
            &format!("ids \"d-other\" and \"\", the channel is {own:?}")[..],
            "acknowledges Output 9, the last sent is 0",
            "Input or Resize 4 after 2",
            "a payload of 2049 bytes, 2048 are allowed",
            "a Sync of 1 bytes",
            "a Sync with 1, the last Input is 4",
            "a client's frame of type 9",
            "1.01 to an agent of 1.02",
        ]
    );

    let (cloud, mut client) = echoing(quick()).await;
    client.reattach().await.unwrap();
    client.input(b"no Sync").await;
    let record = session(&cloud, |s| s.input_frames == 1).await;
    assert_eq!(record.violations, ["a frame of type 0 before the Sync"]);
    // An acknowledgement that goes back.
    client.sync().await;
    client.opened().await;
    client.output(1).await;
    client.sync().await;
    client.raw(INPUT, 2, 0, b"").await;
    let record = session(&cloud, |s| s.input_frames == 2).await;
    assert_eq!(record.violations[1..], ["acknowledges Output 0 after 1"]);
}

#[tokio::test]
async fn a_client_may_speak_1_01_until_it_has_heard_the_first_frame() {
    let instance = quick().progress(Progress::none()).target(22, echo().await);
    for first in [1, 3] {
        let cloud = cloud_with(instance.clone()).await;
        let mut client = Resuming::open(&cloud, "i-a", 22).await;
        client.plain(INPUT, 0, b"a").await;
        client.plain(INPUT, 1, b"b").await;
        let mut all = Vec::new();
        while all.len() < 2 {
            let frame = client.frame().await;
            assert_eq!(frame.input, 0, "they have no numbers that could be acknowledged");
            client.have = frame.output;
            all.extend(frame.payload);
        }
        // It begins anew, or goes on behind them.
        client.sent = first - 1;
        client.input(b"c").await;
        let frame = client.frame().await;
        assert_eq!((all, frame.input, &frame.payload[..]), (b"ab".to_vec(), first, &b"c"[..]));
        assert_eq!(only(&cloud).violations, [""; 0]);
    }
}

#[tokio::test]
async fn pings_of_the_client_are_counted_and_dated() {
    let (cloud, mut client) = echoing(quick()).await;
    for _ in 0..2 {
        client.ws.send(Message::Ping("x".into())).await.unwrap();
        assert!(matches!(client.next().await, Seen::Other(Message::Pong(_))));
    }
    let record = only(&cloud);
    assert_eq!((record.pings, record.ping_times.len()), (2, 2));
    assert!(record.ping_times[0] <= record.ping_times[1]);
}
