//! Shells: sessions without a port, on a terminal of their own.

#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use local_cloud::{Action, Agent, Fault, Instance, LocalCloud, Pace, Point, SessionRecord, Shells};
use std::{path::Path, time::Duration};
use support::*;

const RESIZE: u32 = 2;

fn instance(agent: Agent) -> Instance {
    let shells = Shells::default().delay(Duration::from_millis(5));
    Instance::new("i-a").agent(agent.quick()).pace(Pace::off()).shells(shells)
}

async fn shell(cloud: &LocalCloud, more: &[(&str, &str)]) -> Client {
    let params = [&[("InstanceId.1", "i-a")], more].concat();
    let started = started(&call(cloud, "StartTerminalSession", &params).await);
    Client::connect(cloud, &started).await
}

/// What the shell writes until it has written this.
async fn until(client: &mut Client, wanted: &str) -> String {
    until_any(client, &[wanted]).await
}

/// The prompt of bash, whoever it runs as.
async fn prompt(client: &mut Client) {
    until_any(client, &["# ", "$ "]).await;
}

/// The status behind all that is still written.
async fn last_status(client: &mut Client) -> (u8, String) {
    loop {
        match client.next().await {
            Got::Frame { kind: OUTPUT, .. } => {}
            Got::Frame { kind: STATUS, payload, .. } => {
                return (payload[0], String::from_utf8_lossy(&payload[1..]).into_owned());
            }
            other => panic!("no status but {other:?}"),
        }
    }
}

async fn until_any(client: &mut Client, wanted: &[&str]) -> String {
    let mut text = String::new();
    while !wanted.iter().any(|wanted| text.contains(wanted)) {
        match client.next().await {
            Got::Frame { kind: OUTPUT, payload, .. } => {
                assert!(payload.len() <= 1_024, "{}", payload.len());
                text.push_str(&String::from_utf8_lossy(&payload));
            }
            other => panic!("{wanted:?} does not come, but {other:?} after {text:?}"),
        }
    }
    text
}

async fn record(cloud: &LocalCloud, fits: impl Fn(&SessionRecord) -> bool) -> SessionRecord {
    cloud.wait_for_session(fits, SOON).await.unwrap()
}

fn size(rows: u16, columns: u16) -> [u8; 4] {
    let [a, b] = rows.to_le_bytes();
    let [c, d] = columns.to_le_bytes();
    [a, b, c, d]
}

#[tokio::test]
async fn a_shell_is_interactive_and_its_exit_ends_the_session() {
    for (agent, reason) in [
        (Agent::a(), "Ok"),
        (Agent::b(), "Ok"),
        (Agent::c(), "Exit"),
        (Agent::d().hangup(local_cloud::Hangup::CloseFrame), "Exit"),
    ] {
        let cloud = cloud_with(instance(agent)).await;
        let mut client = shell(&cloud, &[]).await;
        client.opened().await;
        prompt(&mut client).await;
        client.send(RESIZE, &size(33, 101)).await;
        record(&cloud, |session| session.window == Some((33, 101))).await;
        client.input(b"stty size; echo $TERM $LANG $USER; tty >/dev/null && echo a-''tty\r").await;
        let text = until(&mut client, "a-tty\r\n").await;
        assert!(text.contains("33 101\r\n"), "{text:?}");
        assert!(text.contains("xterm-256color C.UTF-8 ecs-assist-user\r\n"), "{text:?}");
        client.input(b"sh -c \"echo as''leep; exec sleep 1000\"\r").await;
        until(&mut client, "asleep\r\n").await;
        client.input(b"\x03").await;
        prompt(&mut client).await;
        client.input(b"exit\r").await;
        assert_eq!(last_status(&mut client).await, (5, reason.to_owned()));
        assert_eq!(client.next().await, Got::Closed(1000));
        let record = record(&cloud, |session| session.end_reason.is_some()).await;
        assert_eq!((record.port, record.violations), (None, vec![]));
    }
}

/// What comes before there is a terminal is dropped; later agents keep a size.
#[tokio::test]
async fn what_comes_before_the_terminal_is_dropped() {
    for (agent, window) in [
        (Agent::a(), None),
        (Agent::b(), None),
        (Agent::c(), Some((20, 70))),
        (Agent::d(), Some((20, 70))),
    ] {
        let hang = Fault::new(Point::Opened, Action::Hang);
        let cloud = cloud_with(instance(agent).fault(hang)).await;
        let mut client = shell(&cloud, &[]).await;
        client.opened().await;
        client.send(RESIZE, &size(20, 70)).await;
        client.input(b"echo ear''ly\r").await;
        let session = record(&cloud, |s| s.faults_struck == 1 && s.dropped_bytes == 13).await;
        assert!(cloud.faults().inject(&session.id, Action::Resume));
        prompt(&mut client).await;
        client.input(b"echo la''te\r").await;
        let text = until(&mut client, "late\r\n").await;
        assert!(!text.contains("early"), "{text:?}");
        assert_eq!(record(&cloud, |s| s.dials == 1).await.window, window);
    }
}

#[tokio::test]
async fn a_command_is_split_and_run_without_a_shell() {
    let cloud = cloud_with(instance(Agent::a())).await;
    let mut client = shell(&cloud, &[("CommandLine", "printf '<%s>' a 'b c' '*' '|'")]).await;
    client.opened().await;
    until(&mut client, "<a><b c><*><|>").await;
    assert_eq!(client.status().await, (5, "Ok".to_owned()));
}

#[tokio::test]
async fn failures_are_told_as_the_generation_does() {
    for (params, code) in [
        (("Username", "nobody-knows"), "UserNotExists"),
        (("CommandLine", "no-such-program --x"), "ShellCommandNotFound"),
        (("CommandLine", "echo 'open"), "MalformedCommandLine"),
        (("CommandLine", "/etc/passwd"), "ShellCommandPermissionDenied"),
    ] {
        let cloud = cloud_with(instance(Agent::a())).await;
        let mut client = shell(&cloud, &[params]).await;
        client.opened().await;
        assert_eq!(client.status().await, (5, code.to_owned()));

        let cloud = cloud_with(instance(Agent::d())).await;
        let mut client = shell(&cloud, &[params]).await;
        client.opened().await;
        until(&mut client, &format!("The session has terminated. {code}: ")).await;
        assert_eq!(client.status().await, (5, code.to_owned()));
    }
}

#[tokio::test]
async fn what_the_api_refuses() {
    let cloud = cloud_with(instance(Agent::d())).await;
    let long = "x".repeat(513);
    for (params, code) in [
        (vec![("CommandLine", "ls"), ("PortNumber", "22")], "InvalidCommandLine.Conflict"),
        (vec![("CommandLine", long.as_str())], "InvalidCommandLine.LengthLimitExceeded"),
        (vec![("Username", long.as_str())], "Username.ExceedLimit"),
        (vec![("PasswordName", long.as_str())], "InvalidPasswordName.LengthLimitExceeded"),
    ] {
        let params = [vec![("InstanceId.1", "i-a")], params].concat();
        let answer = call(&cloud, "StartTerminalSession", &params).await;
        assert_eq!((answer.status, answer.code()), (400, code.to_owned()));
    }
}

/// The program and all that it has started are gone with the session.
#[tokio::test]
async fn the_end_of_the_session_kills_the_shell() {
    let cloud = cloud_with(instance(Agent::d())).await;
    let mut client = shell(&cloud, &[]).await;
    client.opened().await;
    prompt(&mut client).await;
    client.input(b"sleep 1000 & echo p''id=$!; echo do''ne\r").await;
    let text = until(&mut client, "done\r\n").await;
    let pid = text.rsplit_once("pid=").unwrap().1.split("\r\n").next().unwrap().to_owned();
    assert!(pid.parse::<u32>().is_ok() && Path::new(&format!("/proc/{pid}")).exists(), "{text:?}");
    let id = cloud.sessions()[0].id.clone();
    call(&cloud, "EndTerminalSession", &[("SessionId", &id)]).await;
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    };
    soon(async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// One payload of 1,024 bytes every 40 ms at the usual limit.
#[tokio::test]
async fn output_keeps_the_pace_of_the_session() {
    let shells = Shells::default().delay(Duration::from_millis(5));
    let cloud = cloud_with(Instance::new("i-a").agent(Agent::d().quick()).shells(shells)).await;
    let mut client = shell(&cloud, &[("CommandLine", "head -c 20480 /dev/zero")]).await;
    client.opened().await;
    let begun = std::time::Instant::now();
    let session = record(&cloud, |session| session.output_bytes == 20_480).await;
    // 19 pauses behind 20 payloads, or more behind smaller ones.
    assert!(begun.elapsed() >= Duration::from_millis(19 * 40 - 100), "{:?}", begun.elapsed());
    assert!(session.output_frames >= 20, "{}", session.output_frames);
}

/// Through a service instance of Compute Nest, whose answer is JSON in JSON.
#[tokio::test]
async fn a_session_through_compute_nest() {
    let builder = LocalCloud::builder().instance(instance(Agent::d())).service_instance("si-a");
    let cloud = builder.start().await.unwrap();
    let invoke = |id: &str, action: &str, parameters: &str| {
        let mut call = Call::new(
            "InvokeServiceInstanceOperationAPI",
            &[
                ("ServiceInstanceId", id),
                ("OperationProduct", "ecs"),
                ("OperationAction", action),
                ("OperationVersion", "2014-05-26"),
                ("OperationParameters", parameters),
            ],
        );
        call.version = "2021-05-21";
        call.v3()
    };
    let start = r#"{"RegionId": "cn-hangzhou", "InstanceId": ["i-a"]}"#;
    let request = invoke("si-a", "StartTerminalSession", start);
    let answer = exchange(&cloud, &request).await.unwrap();
    let body = answer.json()["OperationResults"].as_str().unwrap().to_owned();
    let started = started(&Answer { body, ..answer });
    let mut client = Client::connect(&cloud, &started).await;
    client.opened().await;
    prompt(&mut client).await;

    for (id, action, parameters, code) in [
        ("si-b", "StartTerminalSession", start, "EntityNotExist.ServiceInstance"),
        ("si-a", "StartTerminalSession", "[]", "InvalidParameter.OperationParameters"),
        ("si-a", "StartTerminalSession", "{}", "MissingParameter.InstanceId"),
        ("si-a", "RunCommand", "{}", "InvalidParameter.OperationAction"),
    ] {
        let answer = exchange(&cloud, &invoke(id, action, parameters)).await.unwrap();
        assert_eq!(answer.code(), code);
    }
}
