//! What goes wrong once a session is started: the gateway, the agent, the target, the stream.

use std::net::SocketAddr;
use std::time::Duration;

use local_cloud::{
    Action, Agent, ApiFault, DialFailure, Fault, Instance, InstanceStatus, LocalCloud, Malformed,
    Point, Progress, Tls,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab, refusing};
use crate::world::{INSTANCE, noise};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_cannot_be_dialled_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_bound, refusing) = refusing();
    let (_babbling, babbler) = babble().await;
    let untrusted = LocalCloud::builder().tls(Tls::UntrustedCa).start().await.unwrap();
    let other_name = LocalCloud::builder().tls(Tls::WrongName).start().await.unwrap();
    let ca = other_name.ca_pem().unwrap().to_owned();
    let plain = LocalCloud::builder().start().await.unwrap();
    // The session that such an answer names is none of the cloud's.
    let at = |name, address: String| {
        let url = format!("{address}/session?sessionid=s-1&token=testsecret");
        let answer = format!(
            r#"{{"RequestId": "R-1", "SessionId": "s-1", "SecurityToken": "testsecret",
                "WebSocketUrl": "{url}"}}"#
        );
        let fault = ApiFault::on("StartTerminalSession").raw(200, "application/json", answer);
        let case = Case::new(name).request_id().calls("EndTerminalSession", 1);
        case.prepare(move |lab| lab.cloud.faults().api(fault))
    };
    let on = |scheme: &str, addr: SocketAddr| format!("{scheme}://localhost:{}", addr.port());
    run_all(vec![
        at("a name that does not resolve", "wss://gateway.nosuch.invalid".into())
            .within(5)
            .fails(
                7,
                "the gateway's name gateway.nosuch.invalid cannot be resolved",
                "not known",
                "check the network and the name server",
            ),
        at("refused", on("ws", refusing)).within(5).fails(
            7,
            "cannot connect to the gateway localhost",
            "refused",
            "TCP port 443",
        ),
        at("it does not answer the upgrade", on("ws", silent.local_addr().unwrap()))
            .within(10)
            .fails(
                7,
                "the gateway localhost did not answer within 10 s",
                "the connection was made",
                "firewall",
            ),
        at("it does not answer TLS", on("wss", silent.local_addr().unwrap())).within(10).fails(
            7,
            "the gateway localhost did not answer within 10 s",
            "the connection was made",
            "firewall",
        ),
        at("it speaks something else", on("ws", babbler)).fails(
            7,
            "the gateway localhost does not speak WebSocket",
            "HTTP",
            "nothing in between answers for the gateway",
        ),
        at("it is an ordinary web server", format!("{}/x", on("ws", plain.addr()))).fails(
            7,
            "refused the session with HTTP 4",
            "did not take the upgrade",
            "connect again",
        ),
        at("its certificate is not trusted", on("wss", untrusted.addr())).fails(
            7,
            "no secure connection to the gateway localhost: the server's certificate is not trusted",
            "its issuer is not among the certificates",
            "--ca-file",
        ),
        at("its certificate is for another name", on("wss", other_name.addr()))
            .file("ca.pem", ca)
            .args(&["--ca-file", "DIR/ca.pem"])
            .fails(
                7,
                "no secure connection to the gateway localhost: the server's certificate is for \
                 another name",
                "it is for gateway.example",
                "what answers for the gateway",
            ),
        at("it does not speak TLS", on("wss", plain.addr())).fails(
            7,
            "no secure connection to the gateway localhost: the server does not speak TLS",
            "answers at this address",
            "what answers for the gateway",
        ),
        at("it asks for no TLS", "ws://gateway.example.com".into()).fails(
            7,
            "a WebSocket address that cannot be used: it asks for a connection without TLS",
            "",
            "report it with the RequestId",
        ),
    ])
    .await;
}

/// Something that is no web server.
async fn babble() -> (JoinSet<()>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let _ = stream.write_all(b"SSH-2.0-no-web-server\r\n\r\n").await;
        }
    });
    (tasks, addr)
}

fn stream(name: &'static str, at: Point, action: Action) -> Case {
    Case::new(name)
        .request_id()
        .calls("EndTerminalSession", 1)
        .instance(move |instance| instance.fault(Fault::new(at, action)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_does_not_open_is_told() {
    let upgrade = |name, action| stream(name, Point::Upgrade, action);
    let opening = |name, action| stream(name, Point::BeforeOpened, action);
    let away = |name, change: fn(Instance) -> Instance| {
        Case::new(name)
            .request_id()
            .calls("EndTerminalSession", 1)
            .instance(move |instance| change(instance.agent_timeout(Duration::from_millis(50))))
    };
    run_all(vec![
        upgrade("the upgrade is answered with 403", Action::Refuse(403)).fails(
            7,
            "refused the session with HTTP 403 Forbidden",
            "the address of the session is not valid, or not any more; its answer: as a fault \
             asked",
            "connect again",
        ),
        upgrade("the upgrade is answered with 429", Action::Refuse(429))
            .args(&["--wait", "0"])
            .fails(
                6,
                "refused the session with HTTP 429 Too Many Requests",
                "too many sessions",
                "close sessions that are not needed",
            ),
        upgrade("the upgrade is answered with 502", Action::Refuse(502)).fails(
            7,
            "refused the session with HTTP 502",
            "the gateway failed",
            "in a moment",
        ),
        upgrade("the upgrade is never answered", Action::Silence).within(10).fails(
            7,
            "did not answer within 10 s",
            "the connection was made",
            "firewall",
        ),
        opening("Opening, and never Opened", Action::Hang).within(15).fails(
            8,
            "the session did not open within 15 s (port 22 of i-bp1example0001)",
            "agent did not join",
            "systemctl restart aliyun.service",
        ),
        opening("not a word", Action::Hang)
            .instance(|instance| {
                let hang = Fault::new(Point::BeforeOpened, Action::Hang);
                instance.progress(Progress::none()).fault(hang)
            })
            .within(15)
            .fails(
                8,
                "the session did not open within 15 s",
                "sent nothing",
                "systemctl restart aliyun.service",
            ),
        opening("aborted, with a text", Action::status(2, "the agent is\u{1b}[31m too old")).fails(
            8,
            "the session could not be established: the agent is[31m too old",
            "gave up",
            "Cloud Assistant",
        ),
        opening("the agent cannot join", Action::status(5, "InitChannelFailed")).fails(
            8,
            "could not join",
            "the remote side ended the session: InitChannelFailed",
            "Cloud Assistant",
        ),
        opening("the agent did not fetch the order", Action::status(5, "Delivery_Timeout: x"))
            .fails(
                6,
                "it is offline",
                "the remote side ended the session: Delivery_Timeout: x",
                "online",
            ),
        opening("the agent is too old", Action::status(5, "AgentNeedUpgrade")).fails(
            6,
            "too old",
            "the remote side ended the session: AgentNeedUpgrade",
            "update the agent to a version later than x.y.3.256",
        ),
        opening("an older agent's word", Action::status(5, "Open_port_failed")).fails(
            6,
            "nothing listens on port 22 of i-bp1example0001 (Open_port_failed)",
            "the remote side ended the session: Open_port_failed",
            "`ss -ltn`",
        ),
        opening("ended from elsewhere before it is open", Action::status(5, "Notified")).fails(
            8,
            "ended from elsewhere",
            "the remote side ended the session: Notified",
            "connect again",
        ),
        opening("closed normally before it is open", Action::Close(1000)).fails(
            8,
            "the connection to the gateway was lost: it was closed with code 1000",
            "before the session was open",
            "Cloud Assistant",
        ),
        opening("ended normally before it is open", Action::status(5, "Exit")).fails(
            8,
            "before it was open",
            "the remote side ended the session: Exit",
            "Cloud Assistant",
        ),
        away("the agent is offline", |instance| instance.agent_online(false)).fails(
            6,
            "agent of the instance is not online: port 22 of i-bp1example0001 (AgentTimeout)",
            "AgentTimeout",
            "systemctl restart aliyun.service",
        ),
        opening("instance and agent are looked at", Action::status(5, "DeliveryTimeout: x"))
            .prepare(|lab| {
                let stopped = r#"{"InstanceStatuses":{"InstanceStatus":[{"Status":"Stopped"}]}}"#;
                let fault = ApiFault::on("DescribeInstanceStatus");
                lab.cloud.faults().api(fault.raw(200, "application/json", stopped));
            })
            .fails(6, "the instance does not run, it is stopped", "DeliveryTimeout: x", "start"),
        Case::new("the agent is offline, and the gateway waits longer than we do")
            .instance(|instance| instance.agent_online(false))
            .request_id()
            .within(15)
            .fails(6, "is not online", "did not open within 15 s", "systemctl restart"),
        away("the instance is stopped", |instance| instance.status(InstanceStatus::Stopped)).fails(
            6,
            "the instance does not run, it is stopped: port 22 of i-bp1example0001 (AgentTimeout)",
            "AgentTimeout",
            "start the instance",
        ),
        away("the cause cannot be looked up", |instance| instance.agent_online(false))
            .prepare(|lab| {
                lab.cloud.faults().api(ApiFault::on("DescribeInstanceStatus").silent());
                lab.cloud.faults().api(ApiFault::on("DescribeCloudAssistantStatus").silent());
            })
            .within(3)
            .fails(8, "did not answer in time", "AgentTimeout", "Cloud Assistant"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_reached_is_told() {
    let no_port = |name, agent: Agent, what| {
        Case::new(name)
            .command(&["proxy", INSTANCE, "2222"])
            .instance(move |instance| instance.agent(agent.quick()))
            .request_id()
            .fails(6, "nothing listens on port 2222 of i-bp1example0001 (", what, "`ss -ltn`")
    };
    run_all(vec![
        no_port(
            "nobody listens, agent D",
            Agent::d(),
            "the remote side ended the session: OpenTargetPortFailed",
        ),
        no_port(
            "nobody listens, agent A",
            Agent::a(),
            "the remote side ended the session: Open_port_failed",
        ),
        Case::new("a remote host that does not resolve")
            .args(&["--remote-host", "db.nosuch.internal"])
            .request_id()
            .fails(
                6,
                "the instance i-bp1example0001 cannot resolve the host name db.nosuch.internal (OpenTargetPortFailed)",
                "no such host",
                "`getent hosts db.nosuch.internal`",
            ),
        // An agent that says nothing of it cannot be told from a target that says nothing.
        Case::new("nobody listens, and an agent that does not tell")
            .command(&["proxy", INSTANCE, "2222", "--idle-timeout", "2", "--keepalive", "1"])
            .instance(|instance| {
                instance.agent(Agent::a().quick().dial_failure(DialFailure::Silent))
            })
            .request_id()
            // It is idle once it has waited 15 s for a server that speaks first.
            .within(17)
            .fails(8, "nothing was carried for 2 s", "--idle-timeout", "raise it"),
    ])
    .await;
}

/// Without a time-out of the user's own, the client decides how long it waits for a banner.
#[tokio::test]
async fn an_agent_that_does_not_tell_is_given_up_when_the_client_is() {
    let agent = Agent::a().quick().dial_failure(DialFailure::Silent);
    let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
    let mut bridge =
        Bridge::start(&mut lab.bridge(["proxy", INSTANCE, "2222", "--ready-delay", "0"]));
    bridge.send(b"PING\r\n").await;
    lab.session(|session| session.dropped_bytes == 6).await;
    drop(bridge.stdin.take());
    drop(bridge.stdout.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_is_told_behind_all_that_came_before() {
    let sent = noise(10_000);
    let after = |name, action, what, why, fix| {
        let case = stream(name, Point::OutputBytes(10_000), action).saying_nothing();
        case.stdout(sent.clone()).fails(8, what, why, fix)
    };
    let broken = |name, malformed, what| {
        let (action, why) = (Action::Send(malformed), "may change the traffic");
        after(name, action, what, why, "report it with the RequestId")
    };
    let closed =
        |name, code, what, why| after(name, Action::Close(code), what, why, "connect again");
    run_all(vec![
        broken("a short frame", Malformed::Short, "the remote side broke the protocol: "),
        broken("noise", Malformed::Garbled, "the remote side broke the protocol: "),
        broken("a wrong length", Malformed::WrongLength, "the remote side broke the protocol: "),
        broken("created 0", Malformed::CreatedZero, "the remote side broke the protocol: "),
        broken("a text", Malformed::Text, "the remote side broke the protocol: a text message"),
        broken(
            "10 MB",
            Malformed::Huge(10_000_000),
            "the remote side broke the protocol: a message of",
        ),
        after(
            "frozen",
            Action::status(8, "restart"),
            "the gateway restarts, and this session cannot be resumed (port 22 of",
            "being updated",
            "connect again",
        ),
        closed("closed with 1001", 1001, "closed with code 1001", "the gateway is going away"),
        closed("closed with 1008", 1008, "closed with code 1008", "policy"),
        closed("closed with 1011", 1011, "closed with code 1011", "the gateway failed"),
        closed("closed with 1012", 1012, "closed with code 1012", "the gateway restarts"),
        closed("closed with 1013", 1013, "closed with code 1013", "the gateway is overloaded"),
        closed("cut", 1006, "it was cut without a close frame", "the network was away"),
        after(
            "too much for the gateway",
            Action::status(5, "FlowExceedLimit"),
            "rate limit",
            "the remote side ended the session: FlowExceedLimit",
            "connect again",
        ),
        after(
            "a reason that nobody knows",
            Action::status(5, "NoSuchReason: 42"),
            "the remote side ended the session: NoSuchReason: 42 (port 22 of",
            "",
            "connect again",
        ),
        Case::new("idle for too long")
            .args(&["--keepalive", "0"])
            .instance(|instance| instance.idle_timeout(Duration::from_secs(1)))
            .request_id()
            .stdout(sent.clone())
            .within(1)
            .fails(8, "3 minutes", "the remote side ended the session: IdleTimeout", "--keepalive"),
        Case::new("older than a session may be")
            .instance(|instance| instance.session_timeout(Duration::from_secs(1)))
            .request_id()
            .stdout(sent.clone())
            .within(1)
            .fails(8, "3 hours", "SessionTimeout", "connect again"),
        Case::new("idle for longer than the user allows")
            .args(&["--idle-timeout", "1"])
            .request_id()
            .stdout(sent.clone())
            .within(1)
            .fails(8, "nothing was carried for 1 s", "--idle-timeout", "raise it"),
    ])
    .await;
}

/// The API or the console may end a session: that is its end, and it is told. It is no success, since the
/// target may have had more to say.
#[tokio::test]
async fn a_session_that_is_ended_from_elsewhere_is_no_success_and_warned_of() {
    let notified = Fault::new(Point::OutputBytes(5), Action::status(6, "Notified: by the API"));
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).fault(notified);
    let lab = Lab::new(instance).await;
    let bridge = lab.start(&[]);
    let mut target = lab.accept().await;
    target.write_all(b"hello").await.unwrap();
    let ended = bridge.end().await;
    assert!(ended.stderr.contains("ended from elsewhere"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Notified: by the API"), "{}", ended.stderr);
    assert_eq!((ended.code, &*ended.stdout), (Some(8), &b"hello"[..]), "{}", ended.stderr);
    lab.all_ended().await;
}

/// What a reset overtakes is lost, but nothing else gets in.
#[tokio::test]
async fn a_reset_is_told() {
    let sent = noise(10_000);
    let reset = Fault::new(Point::OutputBytes(10_000), Action::Reset);
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).fault(reset);
    let lab = Lab::new(instance).await;
    let bridge = lab.start(&[]);
    lab.accept().await.write_all(&sent).await.unwrap();
    let ended = bridge.end().await;
    let report = ended.report().unwrap();
    assert_eq!(ended.code, Some(8));
    assert!(report.what.contains("the connection to the gateway was lost"), "{}", report.what);
    assert!(sent.starts_with(&ended.stdout));
    lab.all_ended().await;
}

#[tokio::test]
async fn a_frame_of_an_unknown_type_is_skipped() {
    let unknown = Fault::new(Point::OutputBytes(5), Action::Send(Malformed::UnknownType));
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).fault(unknown);
    let lab = Lab::new(instance).await;
    let bridge = lab.start(&[]);
    lab.accept().await.write_all(b"hello, world").await.unwrap();
    bridge.end().await.well(b"hello, world");
    lab.all_ended().await;
}

/// It is refused by what it says of its length, long before it is there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_message_that_is_too_long_is_not_kept_in_memory() {
    let huge = Fault::new(Point::Opened, Action::Send(Malformed::Huge(64_000_000)));
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(local_cloud::Pace::off());
    let lab = Lab::new(instance.fault(huge)).await;
    // It waits a moment for the answer to this call, and can be looked at.
    lab.cloud.faults().api(ApiFault::on("EndTerminalSession").silent());
    let bridge = lab.start(&[crate::lab::QUIET_PORT]);
    let called =
        |state: &local_cloud::State| state.calls().any(|call| call.action == "EndTerminalSession");
    lab.cloud.wait_for(called, crate::world::PATIENCE).await.unwrap();
    // Less the pages of the program itself, which depend on how it was compiled.
    let most = bridge.memory("VmHWM:") - bridge.memory("RssFile:");
    assert!(most < 10_000, "{most} KiB");
    assert_eq!(bridge.end().await.code, Some(8));
}
