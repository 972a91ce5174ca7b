//! When bytes are sent: not before somebody listens, not faster than allowed, and often enough to
//! stay open.

use std::time::{Duration, Instant};

use local_cloud::{Agent, Generation, Instance, Pace, Progress, SessionRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::{BANNER, Lab, QUIET_PORT};
use crate::world::{INSTANCE, PATIENCE, noise};

/// What the default limit of 204,800 bit/s allows in a second.
const DEFAULT_SECOND: u64 = 25_600;

async fn read(target: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = timeout(PATIENCE, target.read_exact(&mut bytes)).await;
    read.expect("the target gets them in time").expect("the target gets all of them");
    bytes
}

fn paced_well(session: &SessionRecord) {
    assert_eq!(session.violations, Vec::<String>::new());
    assert_eq!(session.end_reason, None, "{session:#?}");
}

/// All that a session has sent within this time was sent at the default limit. What a busy machine
/// reads together may have been sent apart: what counts is when the frames were made, as they say
/// themselves, and that all of them took as long as they must.
pub(crate) fn kept_the_default_limit(session: &SessionRecord, took: Duration) {
    let peak = session.peak_made_per_second;
    assert!(peak <= DEFAULT_SECOND, "{peak} bytes in a second");
    let least = session.input_bytes.saturating_sub(DEFAULT_SECOND) as f64 / DEFAULT_SECOND as f64;
    assert!(took.as_secs_f64() >= least, "{} bytes within {took:?}", session.input_bytes);
}

/// After how long real agents dial the target.
const AGENTS_DIAL: Duration = Duration::from_secs(1);

/// How long a client's first bytes have waited since the agent joined. That a machine is busy makes
/// it no shorter.
fn waited(session: &SessionRecord) -> Duration {
    session.spoke.unwrap() - session.joined.unwrap()
}

/// Older agents drop what comes before they have dialled. That they do sooner than real ones leaves a
/// busy machine some time; real ones would have dialled all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_first_is_not_lost() {
    let instance = |agent: Agent| Instance::new(INSTANCE).agent(agent.dial_delay(AGENTS_DIAL / 4));
    let mut cases = tokio::task::JoinSet::new();
    for (agent, port, bytes) in [
        (Agent::a(), QUIET_PORT, &b"GET / HTTP/1.0\r\n\r\n"[..]),
        (Agent::d(), QUIET_PORT, b"GET / HTTP/1.0\r\n\r\n"),
        // What is said tells that it is no ssh, and that nobody waits for a banner.
        (Agent::a(), "22", b"GET / HTTP/1.0\r\n\r\n"),
        (Agent::d(), "22", b"GET / HTTP/1.0\r\n\r\n"),
    ] {
        for progress in [Progress::all(), Progress::none()] {
            let keeps = agent.generation != Generation::A;
            let instance = instance(agent.clone()).progress(progress);
            cases.spawn(async move {
                let lab = Lab::new(instance).await;
                let mut bridge = lab.start(&[port]);
                bridge.send(bytes).await;
                let mut target = lab.accept().await;
                assert_eq!(read(&mut target, bytes.len()).await, bytes);
                target.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
                bridge.expect(b"HTTP/1.0 200 OK\r\n\r\n").await;
                drop(target);
                drop(bridge.stdin.take());
                bridge.end().await.well(b"");
                lab.all_ended().await;
                let session = &lab.cloud.sessions()[0];
                assert_eq!(session.dropped_bytes, 0);
                // From generation B on agents keep what comes early, once they have joined.
                let is_kept = keeps && port == QUIET_PORT && session.opened > 0;
                assert!(is_kept || waited(session) > AGENTS_DIAL, "{session:?}");
            });
        }
    }
    cases.join_all().await;
}

/// A target that speaks first has been dialled: its client's bytes need not wait any longer.
#[tokio::test]
async fn what_a_client_says_waits_for_the_server_s_identification_and_no_longer() {
    for agent in [Agent::a(), Agent::d()] {
        let instance = Instance::new(INSTANCE).agent(agent.quick());
        let lab = Lab::new(instance).await;
        // No time is short enough for this: only the banner can let the bytes go.
        let mut bridge = lab.start(&["--ready-delay", "10"]);
        bridge.send(BANNER).await;
        let mut target = lab.accept().await;
        assert_eq!(lab.cloud.sessions()[0].input_frames, 0);
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let within = timeout(Duration::from_secs(5), read(&mut target, BANNER.len())).await;
        assert_eq!(within.expect("it comes without the delay"), BANNER);
    }
}

/// The agent dials 3 s after it has joined, and holds what comes before.
#[tokio::test]
async fn a_ready_delay_of_0_does_not_wait_for_the_agent_to_dial() {
    let agent = Agent::d().join_delay(Duration::ZERO).dial_delay(Duration::from_secs(3));
    let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
    let mut bridge = lab.start(&[QUIET_PORT, "--ready-delay", "0"]);
    bridge.send(b"PING").await;
    let session = lab.session(|session| session.input_bytes == 4).await;
    assert_eq!((session.opened, session.dials), (1, 0));
    assert_eq!(read(&mut lab.accept().await, 4).await, b"PING");
}

/// The default waits for longer than the second after which agents dial, if they drop what comes before.
#[tokio::test]
async fn the_default_ready_delay_waits_for_an_agent_that_drops_early_input() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::a())).await;
    let mut bridge = lab.start(&[QUIET_PORT]);
    bridge.send(b"PING").await;
    let session = lab.session(|session| session.input_bytes > 0).await;
    assert!(waited(&session) > AGENTS_DIAL, "{session:?}");
}

#[tokio::test]
async fn keepalives_are_sent_as_often_as_asked_for() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let bridges = [lab.start(&["--keepalive", "1"]), lab.start(&["--keepalive", "0"])];
    for _ in &bridges {
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        tokio::spawn(async move { read(&mut target, 1).await });
    }
    let often = lab.session(|session| session.empty_inputs >= 3).await;
    assert_eq!(often.input_frames, often.empty_inputs);
    let never = lab.session(|session| session.id != often.id && session.output_frames == 1).await;
    assert_eq!(never.input_frames, 0);
}

/// A keepalive keeps a session that the service would end, and payload is as good.
#[tokio::test]
async fn a_keepalive_keeps_a_session_open() {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
    let lab = Lab::new(instance.idle_timeout(Duration::from_secs(3))).await;
    let mut bridge = lab.start(&["--keepalive", "1"]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    bridge.expect(b"SSH-2.0-x\r\n").await;
    lab.session(|session| session.empty_inputs >= 5).await;
    target.write_all(b"still here").await.unwrap();
    bridge.expect(b"still here").await;
}

/// 100 KB at 200 kbit/s, which nobody has announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_limit_is_kept() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(Instance::new(INSTANCE).agent(agent.quick())).await;
        let mut bridge = lab.start(&[]);
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let bytes = noise(100_000);
        let begin = Instant::now();
        let (got, ()) = tokio::join!(read(&mut target, bytes.len()), bridge.send(&bytes));
        let session = &lab.cloud.sessions()[0];
        kept_the_default_limit(session, begin.elapsed());
        assert!(got == bytes);
        paced_well(session);
        // Nor is more time taken than that: a second's worth was sent in some second.
        let peak = session.peak_made_per_second;
        assert!(peak >= DEFAULT_SECOND * 9 / 10, "{peak} bytes in the best second");
    }
}

/// At the default limit 4 MB would take longer than a test may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_raised_is_used_at_once() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let mut bridge = lab.start(&[]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let bytes = noise(4_000_000);
    let raise = async {
        lab.session(|session| session.input_bytes > 10_000).await;
        assert!(lab.cloud.set_limit(INSTANCE, 64_000_000));
    };
    let (got, (), ()) = tokio::join!(read(&mut target, bytes.len()), bridge.send(&bytes), raise);
    assert!(got == bytes);
    paced_well(&lab.cloud.sessions()[0]);
}

/// The gateway enforces it, and would end the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_lowered_is_kept_at_once() {
    let pace = Pace::announced(1_638_400);
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick()).pace(pace)).await;
    let mut bridge = lab.start(&[]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let bytes = noise(500_000);
    let lower = async {
        lab.session(|session| session.input_bytes > 400_000).await;
        assert!(lab.cloud.set_limit(INSTANCE, 204_800));
    };
    let (got, (), ()) = tokio::join!(read(&mut target, bytes.len()), bridge.send(&bytes), lower);
    assert!(got == bytes);
    paced_well(&lab.cloud.sessions()[0]);
}
