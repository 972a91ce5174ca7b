//! An agent of 1.02 that takes the sequences of 1.01 for numbers.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in what they share")]

mod support;

use local_cloud::{Agent, Instance, LocalCloud, Pace, Resumption};
use support::*;

async fn opened() -> (LocalCloud, Resuming) {
    let agent = Agent::resumable().quick().resumption(Resumption::default().strict(true));
    let instance = Instance::new("i-a").agent(agent).pace(Pace::off()).target(22, echo().await);
    let cloud = cloud_with(instance).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    (cloud, client)
}

/// Frames until there are so many bytes of Output, and the Syncs among them.
async fn until(client: &mut Resuming, count: usize) -> (Vec<u8>, Vec<u32>) {
    let (mut output, mut syncs) = (Vec::new(), Vec::new());
    while output.len() < count {
        let frame = client.frame().await;
        match frame.kind {
            OUTPUT => {
                client.have = frame.output;
                output.extend(frame.payload);
            }
            SYNC => syncs.push(frame.input),
            other => panic!("a frame of type {other}"),
        }
    }
    (output, syncs)
}

#[tokio::test]
async fn one_numbering_across_the_switch_has_no_gap() {
    let (cloud, mut client) = opened().await;
    client.plain(INPUT, 1, b"a").await;
    client.plain(RESIZE, 2, b"\x18\0\x50\0").await;
    client.plain(INPUT, 3, b"b").await;
    client.sent = 3;
    client.input(b"c").await;
    assert_eq!(until(&mut client, 3).await, (b"abc".to_vec(), vec![]));
    let record = only(&cloud);
    assert_eq!((record.input_gaps, record.duplicate_inputs), (0, 0));
    assert_eq!(record.received_inputs, 4);
    assert_eq!(record.violations, [""; 0]);
}

#[tokio::test]
async fn a_numbering_that_begins_anew_is_a_duplicate_and_asked_for() {
    let (cloud, mut client) = opened().await;
    client.plain(INPUT, 1, b"a").await;
    client.plain(INPUT, 2, b"b").await;
    client.input(b"lost").await;
    client.sent = 2;
    client.input(b"c").await;
    let (output, mut syncs) = until(&mut client, 3).await;
    assert_eq!(output, b"abc");
    // The echo and the Sync come in either order.
    if syncs.is_empty() {
        let frame = client.frame().await;
        assert_eq!(frame.kind, SYNC);
        syncs.push(frame.input);
    }
    assert_eq!(syncs, [3]);
    let record = only(&cloud);
    assert_eq!((record.input_gaps, record.duplicate_inputs), (0, 1));
    assert_eq!(record.agent_syncs.len(), 1);
}

#[tokio::test]
async fn a_numbering_that_jumps_is_a_gap_and_asked_for() {
    let (cloud, mut client) = opened().await;
    client.plain(INPUT, 1, b"a").await;
    client.sent = 2;
    client.input(b"c").await;
    // The echo and the Sync come in either order.
    let mut frames = [client.frame().await, client.frame().await];
    frames.sort_by_key(|frame| frame.kind);
    assert_eq!((frames[0].kind, &frames[0].payload[..]), (OUTPUT, &b"a"[..]));
    assert_eq!((frames[1].kind, frames[1].input), (SYNC, 2));
    let record = only(&cloud);
    assert_eq!((record.input_gaps, record.duplicate_inputs, record.received_inputs), (1, 0, 1));
}

#[tokio::test]
async fn a_first_sequence_of_0_is_no_number() {
    let (cloud, mut client) = opened().await;
    client.plain(INPUT, 0, b"lost").await;
    let frame = client.frame().await;
    assert_eq!((frame.kind, frame.input), (SYNC, 1));
    client.plain(INPUT, 1, b"a").await;
    assert_eq!(until(&mut client, 1).await.0, b"a");
    assert_eq!(only(&cloud).duplicate_inputs, 1);
}
