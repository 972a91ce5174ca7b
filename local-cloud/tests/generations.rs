//! The generations of the agent: each cell of the table at [`local_cloud::Generation`], as far as it can be seen from outside.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in what they share")]

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, Fault, Generation, Hangup, Instance, LocalCloud, Os, Pace, Point, SessionRecord,
    SessionState,
};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;

fn quick(agent: Agent) -> Instance {
    Instance::new("i-a").agent(agent.quick()).pace(Pace::off())
}

/// A session of an agent, whose target is played by the test.
struct Scene {
    cloud: LocalCloud,
    client: Client,
    started: Started,
    listener: TcpListener,
}

impl Scene {
    async fn with(change: impl FnOnce(Instance) -> Instance, agent: Agent) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let instance = quick(agent).target(22, listener.local_addr().unwrap());
        let cloud = cloud_with(change(instance)).await;
        let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        Self { cloud, client, started, listener }
    }

    async fn new(agent: Agent) -> Self {
        Self::with(|instance| instance, agent).await
    }

    /// The agent dials when [`Action::Resume`] is injected.
    async fn before_the_dial(agent: Agent) -> Self {
        let fault = Fault::new(Point::Opened, Action::Hang);
        Self::with(|instance| instance.fault(fault), agent).await
    }

    async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    async fn record(&self, fits: impl FnMut(&SessionRecord) -> bool) -> SessionRecord {
        self.cloud.wait_for_session(fits, SOON).await.unwrap()
    }

    /// A target that has greeted and closed, of which the client was told nothing.
    async fn closed(agent: Agent) -> Self {
        let mut scene = Self::new(agent).await;
        scene.accept().await.write_all(b"hello").await.unwrap();
        assert_eq!(scene.client.output(5).await, b"hello");
        scene.record(|s| s.target_closes == 1).await;
        scene.client.pinged().await;
        scene
    }

    /// The same, and nobody listens there any more.
    async fn gone(agent: Agent) -> (LocalCloud, Client) {
        let Self { cloud, client, listener, .. } = Self::closed(agent).await;
        drop(listener);
        (cloud, client)
    }
}

async fn read(tcp: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    soon(tcp.read_exact(&mut bytes)).await.unwrap();
    bytes
}

async fn rest(tcp: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(tcp.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

#[tokio::test]
async fn the_reported_version_follows_the_agent_unless_another_is_said() {
    let instance = |id: &str, agent| Instance::new(id).agent(agent);
    let cloud = LocalCloud::builder()
        .instance(instance("i-a", Agent::a()))
        .instance(instance("i-b", Agent::b()))
        .instance(instance("i-c", Agent::c()))
        .instance(Instance::new("i-d"))
        .instance(instance("i-e", Agent::resumable()))
        .instance(instance("i-f", Agent::of_build("2.4.3.700")))
        .instance(instance("i-g", Agent::c()).os(Os::Windows))
        .instance(instance("i-h", Agent::c()).agent_version("2.2.3.256"))
        .instance(instance("i-i", Agent::c()).agent_version(""))
        .start()
        .await
        .unwrap();
    assert_eq!(Agent::of_build("2.4.3.700").generation, Generation::C);
    for (id, version, sessions) in [
        ("i-a", "2.2.3.578", true),
        ("i-b", "2.2.3.631", true),
        ("i-c", "2.2.3.857", true),
        ("i-d", "2.2.4.1065", true),
        ("i-e", "2.2.4.1070", true),
        ("i-f", "2.4.3.700", true),
        ("i-g", "2.1.3.857", true),
        ("i-h", "2.2.3.256", false),
        ("i-i", "", false),
    ] {
        let params = [("InstanceId.1", id)];
        let answer = call(&cloud, "DescribeCloudAssistantStatus", &params).await.json();
        let status = &answer["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"][0];
        assert_eq!(status["CloudAssistantVersion"], version, "{id}");
        assert_eq!(status["SupportSessionManager"], sessions, "{id}");
    }
    // It follows an agent that updates itself too.
    cloud.update_instance("i-a", |instance| instance.agent = Agent::d());
    let params = [("InstanceId.1", "i-a")];
    let answer = call(&cloud, "DescribeCloudAssistantStatus", &params).await;
    assert!(answer.body.contains("2.2.4.1065"), "{}", answer.body);
}

// ---------------------------------------------------------------- before the target is dialled

#[tokio::test]
async fn a_drops_input_before_the_dial() {
    let mut scene = Scene::before_the_dial(Agent::a()).await;
    scene.client.input(b"early").await;
    scene.record(|s| s.dropped_bytes == 5).await;
    assert!(scene.cloud.faults().inject(&scene.started.id, Action::Resume));
    let mut target = scene.accept().await;
    scene.record(|s| s.dials == 1).await;
    scene.client.input(b"late").await;
    assert_eq!(read(&mut target, 4).await, b"late");
}

#[tokio::test]
async fn all_others_hold_input_and_what_is_behind_it() {
    for agent in [Agent::b(), Agent::c(), Agent::d()] {
        let generation = agent.generation;
        let mut scene = Scene::before_the_dial(agent).await;
        scene.client.input(b"early").await;
        scene.client.send(RESIZE, b"\x18\0\x50\0").await;
        scene.client.input(b", too").await;
        scene.client.send(CLOSE, b"1").await;
        scene.record(|s| s.close_frames == 1).await;
        assert!(scene.cloud.faults().inject(&scene.started.id, Action::Resume));
        let mut target = scene.accept().await;
        assert_eq!(read(&mut target, 10).await, b"early, too", "{generation:?}");
        assert_eq!(scene.cloud.sessions()[0].dropped_bytes, 0);
        if generation == Generation::B {
            scene.client.pinged().await;
        } else {
            assert_eq!(scene.client.next().await, Got::Closed(1000));
            assert_eq!(rest(&mut target).await, b"");
        }
    }
}

#[tokio::test]
async fn held_input_blocks_a_close_for_as_long_as_it_is_held() {
    let long = Duration::from_secs(60);
    for agent in [Agent::b(), Agent::c(), Agent::d()] {
        let generation = agent.generation;
        let hold = Duration::from_millis(100);
        let instance = quick(agent.dial_timeout(long).hold(hold)).unanswering(22);
        let cloud = cloud_with(instance).await;
        // Nothing is held: Close is read at once, by those that know it.
        if generation != Generation::B {
            let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
            client.opened().await;
            client.send(CLOSE, b"1").await;
            assert_eq!(client.next().await, Got::Closed(1000), "{generation:?}");
        }
        // Input is held: the Close behind it is not read before the session ends because of that.
        let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        // It is held from when it comes.
        tokio::time::sleep(hold * 2).await;
        client.pinged().await;
        let begin = Instant::now();
        client.input(b"early").await;
        client.send(CLOSE, b"1").await;
        assert_eq!(client.status().await, (5, "OpenTargetPortFailed".to_owned()));
        assert!(begin.elapsed() >= hold);
        assert_eq!(client.next().await, Got::Closed(1000));
        let record = cloud.session(&started.id).unwrap();
        assert_eq!(record.end_reason.as_deref(), Some("OpenTargetPortFailed"));
    }
    // A has nothing to hold, and goes on dialling.
    let agent = Agent::a().dial_timeout(long).hold(Duration::from_millis(1));
    let cloud = cloud_with(quick(agent).unanswering(22)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.input(b"early").await;
    cloud.wait_for_session(|s| s.dropped_bytes == 5, SOON).await.unwrap();
    client.send(CLOSE, b"1").await;
    client.input(b"more").await;
    cloud.wait_for_session(|s| s.dropped_bytes == 9, SOON).await.unwrap();
    client.pinged().await;
}

#[tokio::test]
async fn a_target_that_does_not_answer() {
    let system = Agent::a().dial_timeout;
    assert!(system > Duration::from_secs(60), "the system's: {system:?}");
    for agent in [Agent::b(), Agent::c(), Agent::d(), Agent::resumable()] {
        assert_eq!(agent.dial_timeout, Duration::from_secs(10));
        assert_eq!(agent.hold, Duration::from_secs(10));
    }
    for (agent, reason) in [
        (Agent::a(), "Open_port_failed"),
        (Agent::b(), "OpenTargetPortFailed"),
        (Agent::c(), "OpenTargetPortFailed"),
        (Agent::d(), "OpenTargetPortFailed"),
    ] {
        let agent = agent.dial_timeout(Duration::from_millis(50));
        let cloud = cloud_with(quick(agent).unanswering(22)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        let reason = format!("{reason}: dial tcp 127.0.0.1:22: i/o timeout");
        assert_eq!(client.status().await, (5, reason));
        assert_eq!(client.next().await, Got::Closed(1000));
        assert_eq!(cloud.sessions()[0].dial_failures, 1);
    }
}

// ---------------------------------------------------------------- the target closes

#[tokio::test]
async fn a_and_b_dial_again_on_any_frame() {
    for agent in [Agent::a(), Agent::b()] {
        for (kind, payload) in [
            (INPUT, &b"more"[..]),
            (INPUT, b""),
            (RESIZE, b"\x18\0\x50\0"),
            (CLOSE, b"1"),
            (STATUS, b"\x05"),
        ] {
            let mut scene = Scene::closed(agent.clone()).await;
            scene.client.send(kind, payload).await;
            let mut target = scene.accept().await;
            target.write_all(b"hello again").await.unwrap();
            assert_eq!(scene.client.output(11).await, b"hello again", "in the old stream");
            if payload == b"more" {
                assert_eq!(read(&mut target, 4).await, b"more");
            }
        }
    }
}

#[tokio::test]
async fn a_and_b_say_nothing_of_a_failed_redial_and_try_again() {
    for agent in [Agent::a(), Agent::b()] {
        let (cloud, mut client) = Scene::gone(agent).await;
        let frames = [(RESIZE, &b"\x18\0\x50\0"[..]), (INPUT, b""), (INPUT, b"x"), (CLOSE, b"1")];
        for (tries, (kind, payload)) in (1..).zip(frames) {
            client.send(kind, payload).await;
            cloud.wait_for_session(|s| s.dial_failures == tries, SOON).await.unwrap();
        }
        client.pinged().await;
        let record = &cloud.sessions()[0];
        assert_eq!((record.live, record.state), (1, SessionState::Connected));
        assert_eq!(record.dropped_bytes, 1);
    }
}

#[tokio::test]
async fn c_dials_again_on_input_alone_an_empty_one_too() {
    for payload in [&b""[..], b"more"] {
        let mut scene = Scene::closed(Agent::c()).await;
        scene.client.input(payload).await;
        let mut target = scene.accept().await;
        target.write_all(b"hello again").await.unwrap();
        assert_eq!(scene.client.output(11).await, b"hello again", "in the old stream");
        assert_eq!(read(&mut target, payload.len()).await, payload);
    }
    // A Resize does not: nobody listens, and the session would end of it before the Close is read.
    let (cloud, mut client) = Scene::gone(Agent::c()).await;
    client.send(RESIZE, b"\x18\0\x50\0").await;
    client.send(CLOSE, b"1").await;
    assert_eq!(client.next().await, Got::Closed(1000));
    let record = &cloud.sessions()[0];
    assert_eq!((record.dials, record.dial_failures), (1, 0));
    assert_eq!(record.end_reason.as_deref(), Some("ClientClosed"));
}

#[tokio::test]
async fn a_failed_redial_ends_the_session_of_c() {
    for payload in [&b""[..], b"more"] {
        let (_cloud, mut client) = Scene::gone(Agent::c()).await;
        client.input(payload).await;
        assert_eq!(client.status().await, (5, "ReopenTargetPortFailed".to_owned()));
        assert_eq!(client.next().await, Got::Closed(1000));
    }
}

#[tokio::test]
async fn d_ends_the_session_and_never_dials_again() {
    for (agent, end) in
        [(Agent::d(), Got::Broken), (Agent::d().hangup(Hangup::CloseFrame), Got::Closed(1000))]
    {
        let mut scene = Scene::new(agent).await;
        drop(scene.accept().await);
        assert_eq!(scene.client.status().await, (5, "ReadFromTargetPortFailed".to_owned()));
        assert_eq!(scene.client.next().await, end);
        drop(scene.client);
        let record = scene.cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
        assert_eq!((record.dials, record.state), (1, SessionState::Terminated));
        assert_eq!(record.close_handshake, end != Got::Broken);
    }
}

#[tokio::test]
async fn a_resumable_agent_ends_as_d_does() {
    for (hangup, end) in
        [(Hangup::CloseFrame, Seen::Closed(1000)), (Hangup::NoCloseFrame, Seen::Broken)]
    {
        let instance = quick(Agent::resumable().hangup(hangup)).target(22, greeter().await);
        let cloud = cloud_with(instance).await;
        let mut client = Resuming::open(&cloud, "i-a", 22).await;
        client.opened().await;
        assert_eq!(client.output(1).await, b"hello 1\n");
        client.input(b"\n").await;
        assert_eq!(client.status().await, b"\x05ReadFromTargetPortFailed");
        assert_eq!(client.next().await, end);
        assert_eq!(client.next().await, Seen::Broken, "the answer to the close has gone out");
        drop(client);
        let over = |s: &SessionRecord| s.live == 0 && s.state == SessionState::Terminated;
        let record = cloud.wait_for_session(over, SOON).await.unwrap();
        assert_eq!((record.dials, record.target_closes), (1, 1));
    }
}

#[tokio::test]
async fn all_that_the_target_said_comes_before_the_connection_ends() {
    let mut scene = Scene::new(Agent::d()).await;
    let mut target = scene.accept().await;
    let data: Vec<u8> = (0..200_000_u32).map(|n| (n * 31 / 7) as u8).collect();
    // Something of the client's is unread when it ends: a reset would throw away what is on its way.
    assert!(scene.cloud.faults().inject(&scene.started.id, Action::StallClient));
    scene.record(|s| s.faults_struck == 1).await;
    scene.client.input(b"never read").await;
    let saying = async {
        target.write_all(&data).await.unwrap();
        drop(target);
    };
    let ((), said) = tokio::join!(saying, scene.client.output(data.len()));
    assert!(said == data);
    assert_eq!(scene.client.status().await, (5, "ReadFromTargetPortFailed".to_owned()));
    assert_eq!(scene.client.next().await, Got::Broken);
}

#[tokio::test]
async fn an_upload_on_its_way_to_a_target_that_has_closed_its_half_is_lost_with_d() {
    let mut scene = Scene::new(Agent::d()).await;
    let mut target = scene.accept().await;
    scene.client.input(b"first").await;
    assert_eq!(read(&mut target, 5).await, b"first");
    assert!(scene.cloud.faults().inject(&scene.started.id, Action::StallClient));
    scene.record(|s| s.faults_struck == 1).await;
    scene.client.input(b" and the rest").await;
    target.shutdown().await.unwrap();
    assert_eq!(scene.client.status().await, (5, "ReadFromTargetPortFailed".to_owned()));
    assert_eq!(rest(&mut target).await, b"", "though it would have taken more");
}

// ---------------------------------------------------------------- the client's end

#[tokio::test]
async fn a_and_b_ignore_close_and_a_status_from_the_client() {
    for agent in [Agent::a(), Agent::b()] {
        let mut scene = Scene::new(agent).await;
        let mut target = scene.accept().await;
        scene.client.send(CLOSE, b"1").await;
        scene.client.send(STATUS, b"\x05Exit").await;
        scene.client.input(b"still here").await;
        assert_eq!(read(&mut target, 10).await, b"still here");
        // The WebSocket's own close ends the stream, and leaves the session to the API.
        scene.client.ws.close(None).await.unwrap();
        assert_eq!(rest(&mut target).await, b"");
        let record = scene.record(|s| s.state == SessionState::Disconnected).await;
        assert!(record.is_open() && record.close_handshake);
        assert_eq!(record.violations, [""; 0]);
    }
}

#[tokio::test]
async fn c_and_d_end_the_session_on_close_and_on_a_status_from_the_client() {
    for agent in [Agent::c(), Agent::d()] {
        for (kind, payload) in [(CLOSE, &b"1"[..]), (STATUS, b"\x05Exit")] {
            let mut scene = Scene::new(agent.clone()).await;
            let mut target = scene.accept().await;
            scene.client.input(b"bye").await;
            scene.client.send(kind, payload).await;
            assert_eq!(scene.client.next().await, Got::Closed(1000));
            assert_eq!(rest(&mut target).await, b"bye", "what was sent before it arrives");
            let record = scene.record(|s| s.state == SessionState::Terminated).await;
            assert_eq!(record.end_reason.as_deref(), Some("ClientClosed"));
            assert_eq!(record.violations, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_close_is_obeyed_though_the_websocket_closes_right_behind_it() {
    for agent in [Agent::c(), Agent::d()] {
        let mut scene = Scene::new(agent).await;
        let mut target = scene.accept().await;
        let all = vec![7; 2_048];
        for number in 0..8 {
            let message = frame(INPUT, number, &all);
            scene.client.ws.feed(Message::Binary(message)).await.unwrap();
        }
        scene.client.ws.feed(Message::Binary(frame(CLOSE, 8, b"1"))).await.unwrap();
        scene.client.ws.close(None).await.unwrap();
        assert_eq!(rest(&mut target).await.len(), 8 * 2_048);
        let record = scene.record(|s| s.state == SessionState::Terminated).await;
        assert_eq!(record.end_reason.as_deref(), Some("ClientClosed"));
        assert!(record.close_handshake);
    }
}
