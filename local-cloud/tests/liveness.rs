//! Gateways that answer no pings, read nothing for a while, close what is silent, or leave a close unanswered; and agents that end
//! what is silent.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in what they share")]

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, Fault, Instance, LocalCloud, Pace, Point, Progress, SessionRecord, SessionState,
    SilentClose,
};
use support::*;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

const MOMENT: Duration = Duration::from_millis(60);

fn quick() -> Instance {
    Instance::new("i-a").agent(Agent::d().quick()).pace(Pace::off())
}

/// A session whose target echoes, once it is opened.
async fn opened(instance: Instance) -> (LocalCloud, Client, Started) {
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    (cloud, client, started)
}

/// A ping, and an Input behind it that is echoed: what comes first tells whether the ping was answered.
async fn is_answered(client: &mut Client) -> bool {
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    client.input(b"e").await;
    let mut answered = false;
    loop {
        match client.next().await {
            Got::Other(Message::Pong(_)) => answered = true,
            Got::Frame { kind: OUTPUT, .. } => return answered,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pongs_on_and_off() {
    let (cloud, mut client, _) = opened(quick()).await;
    assert!(is_answered(&mut client).await);
    assert!(cloud.pongs("i-a", false));
    let (mut later, _) = Client::open(&cloud, "i-a", 22).await;
    later.opened().await;
    assert!(!is_answered(&mut later).await, "a connection that comes later");
    // The live one is told by a message of its own.
    while is_answered(&mut client).await {}
    for _ in 0..3 {
        assert!(!is_answered(&mut client).await);
    }
    assert!(cloud.pongs("i-a", true));
    while !is_answered(&mut client).await {}
    assert!(!cloud.pongs("i-none", false));

    let (cloud, mut client, _) = opened(quick().pongs(false)).await;
    for _ in 0..3 {
        assert!(!is_answered(&mut client).await);
    }
    let record = &cloud.sessions()[0];
    assert_eq!((record.pings, record.live), (3, 1), "they are read");
    // All else of the WebSocket works.
    client.ws.close(None).await.unwrap();
    assert!(matches!(client.next().await, Got::Closed(_)));
}

#[tokio::test]
async fn pongs_stay_off_on_another_socket_of_the_stream() {
    let agent = Agent::resumable().quick();
    let instance = Instance::new("i-a").agent(agent).pace(Pace::off()).target(22, echo().await);
    let cloud = cloud_with(instance.pongs(false)).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.reattach().await.unwrap();
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    cloud.wait_for_session(|s| s.pings == 1 && s.resumptions == 1, SOON).await.unwrap();
    client.sync().await;
    client.input(b"e").await;
    loop {
        match client.next().await {
            Seen::Frame(frame) if frame.kind == OUTPUT => break,
            Seen::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pongs_that_stop_after_they_have_come() {
    let fault = Fault::new(Point::OutputBytes(2), Action::Pongs(false));
    let (_cloud, mut client, _) = opened(quick().fault(fault)).await;
    assert!(is_answered(&mut client).await);
    is_answered(&mut client).await;
    assert!(!is_answered(&mut client).await);
    assert!(!is_answered(&mut client).await);
}

#[tokio::test]
async fn a_gateway_that_stops_reading_goes_on_later() {
    let stall = Duration::from_millis(200);
    for pongs in [true, false] {
        let fault = Fault::new(Point::InputBytes(4), Action::StallClientFor(stall));
        let (cloud, mut client, _) = opened(quick().pongs(pongs).fault(fault)).await;
        let begin = Instant::now();
        client.input(b"abcd").await;
        assert_eq!(client.output(4).await, b"abcd", "what was read goes on to the target");
        assert_eq!(is_answered(&mut client).await, pongs);
        assert!(begin.elapsed() >= stall, "{:?}", begin.elapsed());
        let record = &cloud.sessions()[0];
        assert_eq!((record.input_bytes, record.pings), (5, 1), "nothing is lost");
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_read_answers_no_ping() {
    for stall in [Action::StallClient, Action::StallClientFor(Duration::from_secs(600))] {
        let (cloud, mut client, started) = opened(quick()).await;
        assert!(cloud.faults().inject(&started.id, stall));
        cloud.wait_for_session(|s| s.faults_struck == 1, SOON).await.unwrap();
        client.ws.send(Message::Ping("x".into())).await.unwrap();
        assert!(timeout(MOMENT, client.next()).await.is_err());
        assert_eq!(cloud.sessions()[0].pings, 0);
        assert!(cloud.faults().inject(&started.id, Action::Resume));
        assert_eq!(client.next().await, Got::Other(Message::Pong("x".into())));
    }
}

/// When the gateway closes a WebSocket on which the client sends pings all the time, or a single Input.
async fn closed_for_silence(silent: SilentClose, pings: bool) -> (Got, Duration) {
    let instance = quick().progress(Progress::none()).silent_close(silent);
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    // The gateway counts from the upgrade, which the client sees later.
    let begin = Instant::now();
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    if !pings {
        return (client.next().await, begin.elapsed());
    }
    loop {
        if client.ws.send(Message::Ping("x".into())).await.is_err() {
            return (Got::Broken, begin.elapsed());
        }
        match client.next().await {
            Got::Other(Message::Pong(_)) => {}
            end => return (end, begin.elapsed()),
        }
    }
}

#[tokio::test]
async fn a_gateway_that_closes_what_is_silent() {
    let after = Duration::from_millis(100);
    let silent = SilentClose::after(after);
    for pings in [false, true] {
        let (end, lived) = closed_for_silence(silent, pings).await;
        assert_eq!(end, Got::Closed(1001), "pings: {pings}");
        assert!(lived >= after);
    }
    assert_eq!(closed_for_silence(silent.code(1006), false).await.0, Got::Broken);
    assert_eq!(closed_for_silence(silent.code(1005), false).await.0, Got::Closed(1005));
    assert_eq!(closed_for_silence(silent.pings_count(), false).await.0, Got::Closed(1001));
}

/// What is sent once half of the silence has passed starts it anew. How long the socket lived after that; nothing, if it was
/// closed before.
async fn lives_after(silent: SilentClose, ping: bool) -> Option<Duration> {
    let instance = quick().progress(Progress::none()).silent_close(silent);
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    sleep(silent.after / 2).await;
    let sent = Instant::now();
    if ping {
        client.ws.send(Message::Ping("x".into())).await.ok()?;
    } else {
        client.ws.send(Message::Binary(frame(INPUT, 0, b"x"))).await.ok()?;
    }
    let end = loop {
        match client.next().await {
            Got::Frame { .. } | Got::Other(_) => {}
            end => break end,
        }
    };
    let record = &cloud.sessions()[0];
    let came = record.pings + record.input_frames == 1;
    assert!(!came || end == Got::Closed(1001), "{end:?}");
    came.then(|| sent.elapsed())
}

#[tokio::test]
async fn frames_break_the_silence_and_pings_where_that_is_asked_for() {
    let silent = SilentClose::after(Duration::from_millis(500));
    for (silent, ping) in [(silent, false), (silent.pings_count(), true)] {
        // On a busy machine it may come too late; then once more.
        let mut lived = None;
        for _ in 0..5 {
            lived = lives_after(silent, ping).await;
            if lived.is_some() {
                break;
            }
        }
        let lived = lived.expect("it came in time");
        assert!(lived >= silent.after, "ping: {ping}, {lived:?}");
    }
}

#[tokio::test]
async fn a_close_that_is_never_answered() {
    let gone = |s: &SessionRecord| s.close_handshake && s.live == 0;
    for close_frame in [false, true] {
        let (cloud, mut client, _) = opened(quick().answers_close(false)).await;
        if close_frame {
            client.send(CLOSE, b"1").await;
            cloud.wait_for_session(|s| s.state == SessionState::Terminated, SOON).await.unwrap();
        }
        client.ws.close(None).await.unwrap();
        if !close_frame {
            cloud.wait_for_session(gone, SOON).await.unwrap();
        }
        let silence = timeout(MOMENT, client.next()).await;
        assert!(silence.is_err(), "neither a close nor the end of the connection: {silence:?}");
    }
}

/// A target that does not stop talking.
async fn chatter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                while tcp.write_all(b"and another thing\n").await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    addr
}

/// How a session ends whose client sends pings all the time, and one frame after a while. How long after the frame that was;
/// nothing, if the frame came too late.
async fn silence(agent: Agent, kind: u32, idle: Duration) -> Option<Duration> {
    let instance =
        Instance::new("i-a").agent(agent.quick()).progress(Progress::none()).idle_timeout(idle);
    let cloud = cloud_with(instance.target(22, chatter().await)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    let opened = Instant::now();
    let mut sent = None;
    loop {
        if sent.is_none() && opened.elapsed() >= idle / 2 {
            sent = Some(Instant::now());
            client.send(kind, if kind == RESIZE { b"\x18\0\x50\0" } else { b"" }).await;
        }
        // There is no pause between the pings: if they counted, it would not end.
        client.ws.send(Message::Ping("x".into())).await.ok()?;
        match client.next().await {
            Got::Frame { kind: STATUS, payload, .. } => {
                assert_eq!(payload, b"\x05IdleTimeout");
                let record = &cloud.sessions()[0];
                let came = record.resize_frames + record.empty_inputs == 1;
                return sent.filter(|_| came).map(|sent| sent.elapsed());
            }
            Got::Broken | Got::Closed(_) => panic!("it ended without a word"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_generation_ends_a_session_without_frames_from_the_client() {
    assert_eq!(Instance::new("i-a").idle_timeout, Duration::from_secs(180));
    let idle = Duration::from_millis(600);
    let mut all = JoinSet::new();
    for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d()] {
        for kind in [INPUT, RESIZE] {
            let agent = agent.clone();
            all.spawn(async move {
                // On a busy machine the frame may come too late; then once more.
                let mut ended = None;
                for _ in 0..5 {
                    ended = silence(agent.clone(), kind, idle).await;
                    if ended.is_some() {
                        break;
                    }
                }
                let ended = ended.expect("the frame came in time");
                assert!(ended >= idle, "{:?}: {ended:?} after a frame", agent.generation);
            });
        }
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}
