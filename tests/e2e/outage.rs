//! A network that is away for some seconds in the middle of an upload: what has piled up meanwhile
//! arrives at once, and the gateway counts it all in one second.

use std::time::Duration;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::lab::Lab;
use crate::relay::Rules;
use crate::world::{INSTANCE, PATIENCE, noise};

/// Twice the default limit, so that a test need not last so long.
const LIMIT: u64 = 409_600;
/// How often the network is away, for how long, and how much is carried between.
const OUTAGES: usize = 3;
const AWAY: Duration = Duration::from_secs(3);
const BETWEEN: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_outlives_a_network_that_is_away_for_a_while() {
    let mut cases = JoinSet::new();
    for agent in [Agent::a(), Agent::d(), Agent::resumable()] {
        cases.spawn(upload(agent));
    }
    cases.join_all().await;
}

async fn upload(agent: Agent) {
    // A gateway that counts what it reads, whenever that was sent. What comes late by less than the time
    // between two pings cannot be seen.
    let pace = Pace::announced(LIMIT).strict().tolerance_percent(20);
    let lab = Lab::new(Instance::new(INSTANCE).agent(agent.quick()).pace(pace)).await;
    let relay = Rules::http().start().await;
    let mut bridge = lab.start(&["--proxy", &relay.url("http")]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    bridge.expect(b"SSH-2.0-x\r\n").await;

    let bytes = noise((OUTAGES + 1) * BETWEEN);
    let arrive = async {
        let mut got = vec![0; bytes.len()];
        for (number, part) in got.chunks_mut(BETWEEN).enumerate() {
            target.read_exact(part).await.expect("the session lives");
            if number < OUTAGES {
                relay.stall(true);
                sleep(AWAY).await;
                relay.stall(false);
            }
        }
        got
    };
    let both = async { tokio::join!(arrive, bridge.send(&bytes)).0 };
    let got = timeout(PATIENCE, both).await.expect("it ends in time");
    assert!(got == bytes);
    let session = lab.session(|session| session.live == 1).await;
    assert_eq!(session.end_reason, None, "{session:#?}");
    assert!(relay.asked().len() >= 2, "it was not used");
    drop(target);
    drop(bridge.stdin.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    lab.all_ended().await;
}
