//! ali-instance-cli's command lines: the program under that name, and the hidden commands of its own.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_cloud::{Action, Agent, Fault, Instance, LocalCloud, Pace, Point};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::forward_driver::Server;
use crate::lab::{BANNER, Bridge, Ended, Lab};
use crate::world::{self, INSTANCE, PATIENCE, World, daily_log, run};

/// A lab whose port 7 is an echo server.
async fn lab() -> (Lab, Server) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let builder = LocalCloud::builder().service_instance("si-example0001");
    (Lab::with(builder, instance.target(7, server.addr)).await, server)
}

/// The program under another name.
fn link(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    if !path.exists() {
        symlink(env!("CARGO_BIN_EXE_ecs-bridge"), &path).unwrap();
    }
    path
}

/// The program as ali-instance-cli.
fn vendor(lab: &Lab, line: &str) -> Command {
    let program = link(lab.programs.path(), "ali-instance-cli");
    let mut command = world::command(program, &lab.cloud, lab.dir.path());
    command.args(line.split_whitespace());
    command
}

async fn ended(lab: &Lab, line: &str) -> Ended {
    let mut bridge = Bridge::start(&mut vendor(lab, line));
    drop(bridge.stdin.take());
    bridge.end().await
}

/// A session with a server that says its name, through a command like `ssh`.
async fn greets(lab: &Lab, command: &mut Command) -> Ended {
    let mut bridge = Bridge::start(command);
    let mut far = lab.accept().await;
    far.write_all(BANNER).await.unwrap();
    bridge.expect(BANNER).await;
    bridge.send(BANNER).await;
    let mut got = [0; BANNER.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, BANNER);
    drop(bridge.stdin.take());
    drop(far);
    bridge.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_connects_in_each_syntax_and_under_each_name() {
    let (lab, _server) = lab().await;
    for line in [
        "ssh --instance i-bp1example0001 --port 22",
        "ssh --instance=i-bp1example0001 --port=22",
        "ssh --instance:i-bp1example0001 --port:22",
        "ssh -i i-bp1example0001",
        "--region cn-hangzhou ssh -i=i-bp1example0001 --language zh --retry-count 3",
        "ssh -i:i-bp1example0001 --connection-type Internet --profile --mode",
    ] {
        greets(&lab, &mut vendor(&lab, line)).await.well(BANNER[BANNER.len()..].as_ref());
        let mut own = lab.bridge(line.split_whitespace());
        if line.starts_with("ssh") {
            greets(&lab, &mut own).await.well(b"");
        }
    }
    let exe = link(lab.programs.path(), "ali-instance-cli.exe");
    let mut command = world::command(exe, &lab.cloud, lab.dir.path());
    greets(&lab, command.args(["ssh", "-i", INSTANCE])).await.well(b"");
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_comes_through_it_as_proxy_command() {
    let agent = Agent::d().quick();
    let Some(world) = World::new(world::Server::InProcess, agent).await else { return };
    let program = link(world.dir.path(), "ali-instance-cli");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [world.dir.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap();
    for name in ["ali-instance-cli", program.to_str().unwrap()] {
        let option = format!("ProxyCommand={name} ssh --instance %h --port %p");
        let mut ssh = world.openssh("ssh");
        ssh.env("PATH", &path);
        let output = run(ssh.args(["-o", &option, INSTANCE, "echo", "through"])).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n", "{output:?}");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_takes_a_script_from_a_pipe() {
    let (lab, _server) = lab().await;
    for line in [
        "session --instance i-bp1example0001",
        "session -i=i-bp1example0001 --idle-timeout:60 --user-name root --connection-type Intranet",
        // What the vendor's takes as it can: the shortest time, and the instance of both.
        "session -i i-bp1example0001 --idle-timeout 30 -u wss://h/x?token=hush",
        "session --wss-url",
    ] {
        let mut command = vendor(&lab, line);
        if line.ends_with("url") {
            command.arg(lab.cloud.start_shell(INSTANCE).unwrap());
        }
        let mut bridge = Bridge::start(&mut command);
        bridge.send(b"echo sum-$((40+2))\nexit\n").await;
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        let stdout = String::from_utf8_lossy(&ended.stdout);
        assert!(stdout.contains("sum-42"), "{line}: {stdout} {}", ended.stderr);
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    }
    let calls = lab.cloud.calls();
    let types: Vec<_> = calls.iter().filter_map(|call| call.params.get("ConnectionType")).collect();
    assert_eq!(types, ["Intranet"], "where none is given, the service decides");
}

/// Windows: a user's password is stored, and has a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_password_is_passed_on() {
    let (lab, _server) = lab().await;
    let own = ["session", INSTANCE, "--user-name", "root", "--password-name", "of-root"];
    for command in [
        vendor(&lab, "session -i i-bp1example0001 --user-name=root --password-name=of-root"),
        vendor(&lab, "session -i i-bp1example0001 --user-name:root --passwd-name:of-root"),
        lab.bridge(own),
    ] {
        let mut bridge = Bridge::start(&mut { command });
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let calls = lab.cloud.calls();
    let started: Vec<_> =
        calls.iter().filter(|call| call.action == "StartTerminalSession").collect();
    assert_eq!(started.len(), 3);
    for call in started {
        assert_eq!(call.params["Username"], "root");
        assert_eq!(call.params["PasswordName"], "of-root");
    }
}

/// Reads the lines of stdout.
pub(crate) struct Stdout(tokio::io::Lines<BufReader<tokio::process::ChildStdout>>);

impl Stdout {
    pub(crate) fn of(bridge: &mut Bridge) -> Self {
        Self(BufReader::new(bridge.stdout.take().unwrap()).lines())
    }

    pub(crate) async fn next(&mut self) -> String {
        let line = timeout(PATIENCE, self.0.next_line()).await.expect("a line comes in time");
        line.unwrap().expect("there is a line")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portforward_prints_what_scripts_read() {
    let (lab, _server) = lab().await;
    for (line, remote) in [
        ("portforward --instance i-bp1example0001 --local-port 0 --remote-port 7", "7"),
        ("portforward -i=i-bp1example0001 -l=0 -r=7 --idle-timeout 60", "7"),
        ("portforward -i:i-bp1example0001 -l:0 -r:localhost:7 --bind 127.0.0.1", "7"),
        // Under its own name.
        ("ecs-bridge portforward -i i-bp1example0001 -l 0 -r 7", "7"),
    ] {
        let mut command = match line.strip_prefix("ecs-bridge ") {
            Some(line) => lab.bridge(line.split_whitespace()),
            None => vendor(&lab, line),
        };
        let mut bridge = Bridge::start(command.env("ECS_BRIDGE_LINGER", "0"));
        let mut stdout = Stdout::of(&mut bridge);
        let first = stdout.next().await;
        let rest = first.strip_prefix("Port forwarding for SessionId: ").expect(&first);
        let (session, ports) = rest.split_once(", local port ").expect(rest);
        let (port, shown) = ports.split_once(", remote port ").expect(ports);
        assert!(lab.cloud.sessions().iter().any(|known| known.id == session), "{first}");
        assert_eq!(shown, remote);
        assert_eq!(stdout.next().await, "Waiting for connections...");
        for _ in 0..2 {
            let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
            let addr = client.local_addr().unwrap();
            assert_eq!(stdout.next().await, format!("new connection from tcp {addr}"));
            client.write_all(b"hello").await.unwrap();
            let mut got = [0; 5];
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"hello");
            drop(client);
            assert_eq!(stdout.next().await, format!("connection[tcp {addr}] closed"));
        }
        bridge.signal("INT").await;
        assert_eq!(bridge.end().await.code, Some(130));
    }
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_public_key_ends_with_the_line_that_scripts_look_for() {
    let lab = crate::send_key::lab(|instance| instance).await;
    let key = crate::send_key::public_key(&lab);
    let file = "send_public_key --instance i-bp1example0001 --public-key .ssh/id_ed25519.pub";
    for (line, text) in [
        (file.to_owned(), None),
        (format!("{file} --user-name ops"), None),
        ("send_public_key -i i-bp1example0001 --public-key".to_owned(), Some(key)),
        ("send_public_key -i=i-bp1example0001".to_owned(), None),
    ] {
        for mut command in [vendor(&lab, &line), lab.bridge(line.split_whitespace())] {
            command.args(&text);
            let ended = Bridge::start(&mut command).end().await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
            let stdout = String::from_utf8(ended.stdout).unwrap();
            let last = stdout.lines().last().unwrap();
            assert_eq!(last, "The temporary ssh_public_key has been registered", "{line}");
            let user = if line.contains("ops") { "for ops on" } else { "for root on" };
            assert!(stdout.contains(user), "{stdout}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_given_url_needs_neither_credentials_nor_the_api() {
    let (lab, _server) = lab().await;
    let url = |port| lab.cloud.start_session(INSTANCE, port).unwrap();
    let without_credentials = |mut command: Command| {
        for (name, _) in lab.cloud.env() {
            command.env_remove(name);
        }
        command
    };
    for (line, mark) in [("ssh --wss-url", " "), ("ssh -u", "="), ("ssh --url", ":")] {
        let url = url(22);
        let mut command = without_credentials(vendor(&lab, ""));
        match mark {
            " " => command.args(line.split(' ')).arg(&url),
            mark => command.args(format!("{line}{mark}{url}").split(' ')),
        };
        greets(&lab, &mut command).await.well(b"");
    }
    let mut own = without_credentials(lab.bridge(["proxy", "--wss-url", &url(22)]));
    greets(&lab, &mut own).await.well(b"");

    let mut command = vendor(&lab, "portforward -l 0 -r 7 -u");
    command.arg(url(7));
    let sessions = lab.cloud.sessions();
    let id = &sessions.iter().find(|session| session.port == Some(7)).unwrap().id;
    let mut bridge = Bridge::start(&mut without_credentials(command));
    let mut stdout = Stdout::of(&mut bridge);
    let first = stdout.next().await;
    let begin = format!("Port forwarding for SessionId: {id}, local port ");
    assert!(first.starts_with(&begin), "{first}");
    let port = first.split_once("local port ").unwrap().1.split(',').next().unwrap();
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    client.read_exact(&mut got).await.unwrap();
    drop(client);
    bridge.logged("one connection is forwarded").await;
    let over = bridge.end().await;
    assert_eq!(over.code, Some(0), "it ends with its one connection: {}", over.stderr);
    assert_eq!(lab.cloud.calls(), [], "no API is called");
    let log = daily_log(lab.dir.path());
    assert!(log.contains("--wss-url …") && !log.contains("token="), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_cannot_be_used_is_explained() {
    let (lab, _server) = lab().await;
    let url = lab.cloud.start_session(INSTANCE, 22).unwrap();
    greets(&lab, vendor(&lab, "ssh -u").arg(&url)).await.well(b"");
    lab.session(|session| session.live == 0).await;
    let gone = url.replace("token=", "token=0");
    let report = ended(&lab, &format!("ssh -u {gone}")).await;
    assert_eq!(report.code, Some(7));
    let report = report.report().unwrap();
    assert!(report.why.contains("the URL of --wss-url has expired"), "{report:?}");
    assert!(report.fix.contains("start another session"), "{report:?}");
    for (line, words) in [
        ("ssh -u https://h/x?token=hush", "neither wss:// nor ws://"),
        ("ssh -u ws://gateway.example/x?token=hush", "without TLS"),
        ("ssh -u hush", "neither wss:// nor ws://"),
    ] {
        let ended = ended(&lab, line).await;
        assert_eq!(ended.code, Some(2), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(words) && !ended.stderr.contains("hush"), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"");
    }
    let own = lab.bridge(["proxy", INSTANCE, "--wss-url", "wss://h/x"]).output().await.unwrap();
    assert_eq!(own.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&own.stderr).contains("exclude each other"), "{own:?}");
    assert!(!daily_log(lab.dir.path()).contains("hush"));
}

/// A URL that has expired, of a port and of a shell; and the ways in which a gateway may turn one away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_has_expired_is_explained() {
    let turned_away = async |lab: &Lab, line: &str, url: String| {
        let mut bridge = Bridge::start(vendor(lab, line).arg(url));
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        let report = ended.report().unwrap();
        assert!(matches!(ended.code, Some(7 | 8)), "{line}: {report:?}");
        assert!(report.why.contains("the URL of --wss-url has expired"), "{line}: {report:?}");
        assert!(report.fix.contains("start another session for a new URL"), "{line}: {report:?}");
        assert!(!ended.stderr.contains("token="), "{}", ended.stderr);
        assert_eq!(lab.cloud.calls(), [], "{line}: no API is called");
    };
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
    let builder = LocalCloud::builder().url_lifetime(Duration::ZERO);
    let lab = Lab::with(builder, instance.clone()).await;
    turned_away(&lab, "ssh -u", lab.cloud.start_session(INSTANCE, 22).unwrap()).await;
    turned_away(&lab, "session -u", lab.cloud.start_shell(INSTANCE).unwrap()).await;
    let said = lab.cloud.upgrades().into_iter().filter_map(|upgrade| upgrade.refusal);
    assert_eq!(said.collect::<Vec<_>>(), ["the URL has expired"; 2]);

    for fault in [
        Fault::new(Point::Upgrade, Action::Refuse(401)),
        Fault::new(Point::Upgrade, Action::Refuse(404)),
        Fault::new(Point::Upgrade, Action::Refuse(410)),
        Fault::new(Point::Connected, Action::Close(1008)),
        Fault::new(Point::Connected, Action::Close(1000)),
    ] {
        let lab = Lab::new(instance.clone().fault(fault)).await;
        turned_away(&lab, "ssh -u", lab.cloud.start_session(INSTANCE, 22).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_service_instance_are_started_by_compute_nest() {
    let (lab, _server) = lab().await;
    let nest = |mut command: Command| {
        command.env("ECS_BRIDGE_COMPUTE_NEST_ENDPOINT", lab.cloud.endpoint());
        command
    };
    let (service, other) = ("si-example0001", "si-other");
    let line = format!("ssh -i {INSTANCE} -s {service}");
    greets(&lab, &mut nest(vendor(&lab, &line))).await.well(b"");
    let own = lab.bridge(["proxy", INSTANCE, "--service-instance", service]);
    greets(&lab, &mut nest(own)).await.well(b"");
    let line = format!("portforward -i {INSTANCE} --service-instance={service} -l 0 -r 7");
    let own = ["forward", "-i", INSTANCE, "--service-instance", service, "-L", "0:localhost:7"];
    for (command, is_own) in [(vendor(&lab, &line), false), (lab.bridge(own), true)] {
        let mut bridge = Bridge::start(&mut nest(command));
        if is_own {
            bridge.logged("Forwarding 127.0.0.1:").await;
        } else {
            let first = Stdout::of(&mut bridge).next().await;
            assert!(first.starts_with("Port forwarding for SessionId: s-"), "{first}");
        }
        bridge.signal("TERM").await;
        assert_eq!(bridge.end().await.code, Some(143));
    }
    lab.all_ended().await;
    for action in ["StartTerminalSession", "EndTerminalSession"] {
        assert_eq!(lab.count(action), 0, "the account has not the instance: {action}");
    }
    assert_eq!(lab.count("InvokeServiceInstanceOperationAPI"), 8);
    let line = format!("session -i {INSTANCE} -s {service}");
    let own = lab.bridge(["session", INSTANCE, "--service-instance", service]);
    for command in [vendor(&lab, &line), own] {
        let mut bridge = Bridge::start(&mut nest(command));
        bridge.send(b"echo sum-$((40+2))\n").await;
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(String::from_utf8_lossy(&ended.stdout).contains("sum-42"), "{ended:?}");
    }
    lab.all_ended().await;
    assert_eq!(lab.count("StartTerminalSession"), 0);
    assert_eq!(lab.count("InvokeServiceInstanceOperationAPI"), 12);

    let line = format!("ssh -i {INSTANCE} -s {other}");
    let unknown = Bridge::start(&mut nest(vendor(&lab, &line))).end().await;
    assert_ne!(unknown.code, Some(0));
    assert!(unknown.stderr.contains(other), "{}", unknown.stderr);
    let by_name = ended(&lab, "ssh -i web-1 -s si-example0001").await;
    assert_eq!(by_name.code, Some(2));
    assert!(by_name.stderr.contains("has to be an id"), "{}", by_name.stderr);
}
