//! `--exec`, `--once`, `-q`, and what people read.

use std::sync::Arc;

use local_cloud::{Action, Agent, Fault, Instance, Pace, Point};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::forward_driver::{Forward, Server, is_reset, read, rest};
use crate::lab::{Bridge, Lab, SOON, connected};
use crate::world::{INSTANCE, PATIENCE};

/// A lab with an echo server behind ports 7 and 8; nothing listens on port 9.
async fn lab() -> (Lab, Server) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    (Lab::new(instance.target(7, server.addr).target(8, server.addr)).await, server)
}

/// `ecs-bridge forward … --exec -- sh -c SCRIPT`.
fn exec(lab: &Lab, args: &[&str], script: &str) -> Command {
    let all = [&["forward", "-i", INSTANCE], args, &["--exec", "--", "bash", "-c", script]];
    lab.bridge(all.concat())
}

const ECHO: [&str; 2] = ["-L", "0:localhost:7"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_finds_its_forward_in_the_environment_and_its_code_is_ours() {
    let (lab, _server) = lab().await;
    let script = "exec 3<>/dev/tcp/$ECS_BRIDGE_HOST/$ECS_BRIDGE_PORT; printf hello >&3; \
                  head -c 5 <&3; exec 3>&-; test $ECS_BRIDGE_ADDR = \
                  $ECS_BRIDGE_HOST:$ECS_BRIDGE_PORT || echo no; exit 42";
    let ended = Bridge::start(&mut exec(&lab, &ECHO, script)).end().await;
    assert_eq!(ended.code, Some(42), "{}", ended.stderr);
    ended.said(b"hello");
    // The connection that was still lingering ended with the program.
    lab.all_ended().await;
}

/// As kubectl has it: the instance and the ports by position, and the program without `--exec`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_a_port_and_a_program_need_no_options() {
    let (lab, _server) = lab().await;
    let script = "exec 3<>/dev/tcp/$ECS_BRIDGE_HOST/$ECS_BRIDGE_PORT; printf hello >&3; \
                  head -c 5 <&3; exit 42";
    let other = "i-bp1other0001";
    let line = |words: &[&str]| {
        let mut command = lab.bridge(words);
        command.args(["--", "bash", "-c", script]);
        command
    };
    let mut by_position = line(&["forward", INSTANCE, "0:7"]);
    let mut by_option = line(&["forward", "0:7", "-i", INSTANCE]);
    let mut before_variable = line(&["forward", INSTANCE, ":7"]);
    before_variable.env("ECS_BRIDGE_INSTANCE", other);
    let mut by_variable = line(&["forward", "0:7"]);
    by_variable.env("ECS_BRIDGE_INSTANCE", INSTANCE);
    for command in [&mut by_position, &mut by_option, &mut before_variable, &mut by_variable] {
        let ended = Bridge::start(command).end().await;
        assert_eq!(ended.code, Some(42), "{}", ended.stderr);
        ended.said(b"hello");
    }
    lab.all_ended().await;
}

/// The user's design has port 22 there; who means another service is told.
#[tokio::test]
async fn a_local_port_of_another_service_is_told_to_lead_to_sshd() {
    let (lab, _server) = lab().await;
    for (args, text) in [
        (&["--local-port", "27017"][..], "note: --local-port 27017 leads to port 22 of "),
        (&["--local-port", "27017", "--remote-port", "7"], ""),
        (&["--local-port", "0"], ""),
    ] {
        let args = [&["forward", INSTANCE, "--no-probe"], args].concat();
        let mut bridge = Bridge::start(&mut lab.bridge(args));
        bridge.logged("Forwarding ").await;
        bridge.signal("TERM").await;
        let stderr = bridge.end().await.stderr;
        assert_eq!(stderr.contains("note: "), !text.is_empty(), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
        assert!(text.is_empty() || stderr.contains("-L 27017 or --remote-port 27017"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_forwards_are_numbered() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s").display().to_string();
    let unix = format!("{path}:localhost:8");
    let args = ["-L", "0:localhost:7", "-L", &unix, "-L", "[::1]:0:localhost:7", "--no-probe"];
    let ended = Bridge::start(&mut exec(&lab, &args, "env | grep ^ECS_BRIDGE_")).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let stdout = String::from_utf8(ended.stdout).unwrap();
    let get = |name: &str| {
        let line = stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name}: {stdout}")).to_owned()
    };
    for (suffix, host) in [("", "127.0.0.1"), ("_1", "127.0.0.1"), ("_3", "::1")] {
        assert_eq!(get(&format!("ECS_BRIDGE_HOST{suffix}")), host);
        let port = get(&format!("ECS_BRIDGE_PORT{suffix}"));
        assert!(port.parse::<u16>().unwrap() > 0, "{port}");
    }
    assert_eq!(get("ECS_BRIDGE_ADDR"), get("ECS_BRIDGE_ADDR_1"));
    assert_eq!(get("ECS_BRIDGE_ADDR_3"), format!("[::1]:{}", get("ECS_BRIDGE_PORT_3")));
    assert_eq!(get("ECS_BRIDGE_ADDR_2"), path);
    assert_eq!(get("ECS_BRIDGE_HOST_2"), path);
    assert_eq!(get("ECS_BRIDGE_PORT_2"), "");
    assert!(!stdout.contains("_4="), "{stdout}");
    assert!(!std::path::Path::new(&path).exists(), "the socket is still there");
}

/// The program decides what a signal means; here that it ends with 7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_are_passed_on() {
    for signal in ["TERM", "INT", "HUP"] {
        let (lab, _server) = lab().await;
        let script = format!(
            "trap 'echo got it; kill $!; exit 7' {signal}; echo up; sleep 50 >&- 2>&- & wait"
        );
        let args = ["-L", "0:localhost:7", "--no-probe"];
        let mut bridge = Bridge::start(&mut exec(&lab, &args, &script));
        bridge.expect(b"up\n").await;
        bridge.signal(signal).await;
        let ended = timeout(SOON, bridge.end()).await.expect("it ends with the program");
        assert_eq!(ended.code, Some(7), "{signal}: {}", ended.stderr);
        ended.said(b"got it\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_a_signal_has_ended_gives_128_and_its_number() {
    let (lab, _server) = lab().await;
    let args = ["-L", "0:localhost:7", "--no-probe"];
    let ended = Bridge::start(&mut exec(&lab, &args, "kill -KILL $$")).end().await;
    assert_eq!(ended.code, Some(137), "{}", ended.stderr);
}

/// A connection of its own that it leaves open is no reason to stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_still_open_when_the_program_ends_is_closed() {
    let (lab, _server) = lab().await;
    let script = "echo $ECS_BRIDGE_PORT; read line";
    let mut bridge = Bridge::start(&mut exec(&lab, &["-L", "0:localhost:7"], script));
    let mut stdout = bridge.stdout.take().unwrap();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(&mut stdout);
    let read_line = tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line);
    timeout(PATIENCE, read_line).await.unwrap().unwrap();
    let address = format!("127.0.0.1:{}", line.trim());
    let mut client = TcpStream::connect(&address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    bridge.send(b"go\n").await;
    let ended = timeout(SOON, bridge.end()).await.expect("it ends with the program");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    is_reset(&mut client).await;
    lab.all_ended().await;
}

/// A server that reads all and answers nothing.
struct Sink {
    server: Server,
    /// What each of its connections has brought.
    got: watch::Receiver<Vec<Vec<u8>>>,
}

impl Sink {
    async fn new() -> Self {
        let (sender, got) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let server = Server::start(move |mut stream: TcpStream| {
            let sender = sender.clone();
            async move {
                let mut bytes = Vec::new();
                let read = stream.read_to_end(&mut bytes).await;
                // The session of the probe may have found no connection.
                if !bytes.is_empty() {
                    sender.send_modify(|got| got.push(bytes));
                }
                read.map(|_| ())
            }
        })
        .await;
        Self { server, got }
    }

    async fn lab(&self, agent: Agent) -> Lab {
        let instance = Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::off());
        Lab::new(instance.target(9, self.server.addr)).await
    }

    /// What its connections have brought, once there were so many.
    async fn got(&mut self, count: usize) -> Vec<Vec<u8>> {
        // What is missing is for the caller to see.
        let _ = timeout(PATIENCE, self.got.wait_for(|got| got.len() >= count)).await;
        let mut all = self.got.borrow().clone();
        all.sort();
        all
    }
}

/// Connects so often, sends this each time, and is gone.
fn sends(text: &str, times: usize) -> String {
    let one = format!("exec 3>/dev/tcp/$ECS_BRIDGE_HOST/$ECS_BRIDGE_PORT; {text} >&3; exec 3>&-; ");
    one.repeat(times)
}

/// As `logger` and `nc -q0` do: they send, close, and wait for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_the_program_ended_arrives() {
    for (agent, pongs, more) in [
        (Agent::a(), true, &[][..]),
        (Agent::d(), true, &[]),
        (Agent::d(), false, &[]),
        // Two of them have no session yet.
        (Agent::d(), true, &["--max-connections", "1"]),
        (Agent::d(), true, &["--no-probe"]),
    ] {
        let mut sink = Sink::new().await;
        let lab = sink.lab(agent.clone()).await;
        lab.cloud.pongs(INSTANCE, pongs);
        let case = format!("{:?}, pongs: {pongs}, {more:?}", agent.generation);
        let args = [&["-q", "-L", "0:localhost:9", "--grace", "60"], more].concat();
        let mut command = exec(&lab, &args, &sends("printf x", 3));
        let ended = Bridge::start(&mut command).end().await;
        ended.well(b"");
        assert_eq!(sink.got(3).await, [b"x", b"x", b"x"], "{case}: {:#?}", lab.cloud.sessions());
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_buffers_hold_arrives_after_the_program_has_ended() {
    for agent in [Agent::a(), Agent::d()] {
        let mut sink = Sink::new().await;
        let lab = sink.lab(agent).await;
        let script = sends("head -c 100000 /dev/zero", 1);
        let args = ["-L", "0:localhost:9", "--grace", "60"];
        let ended = Bridge::start(&mut exec(&lab, &args, &script)).end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let got = sink.got(1).await;
        assert_eq!(got[0].len(), 100_000, "{}", ended.stderr);
        assert!(ended.stderr.contains("100.0 kB sent"), "{}", ended.stderr);
        lab.all_ended().await;
    }
}

/// Whether the gateway has answered pings before or not, and the code of a program that failed stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_arrived_within_the_grace_is_told_and_gives_8() {
    for (at, sent, program, code) in [
        (Point::Opened, 20_000, "exit 0", 8),
        (Point::InputBytes(5_000), 20_000, "exit 0", 8),
        // More than this program has read.
        (Point::Opened, 100_000, "exit 3", 3),
    ] {
        let server = Server::echo().await;
        let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
        let fault = Fault::new(at, Action::StallClient);
        let lab = Lab::new(instance.target(9, server.addr).fault(fault)).await;
        let script = sends(&format!("head -c {sent} /dev/zero"), 1) + program;
        let args = ["-q", "-L", "0:localhost:9", "--no-probe", "--grace", "1"];
        let ended = Bridge::start(&mut exec(&lab, &args, &script)).end().await;
        assert_eq!(ended.code, Some(code), "{at:?}: {}", ended.stderr);
        let (before, _) = ended
            .stderr
            .split_once(&format!(" bytes that were sent to port 9 of {INSTANCE} are not known"))
            .unwrap_or_else(|| panic!("{at:?}: {}", ended.stderr));
        let (_, bytes) = before.rsplit_once("warning: connection 1: ").unwrap();
        let bytes: u64 = bytes.parse().unwrap();
        let least = if at == Point::Opened { sent } else { 1 };
        assert!((least..=sent).contains(&bytes), "{at:?}: {bytes}");
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_not_run_where_the_target_cannot_be_reached() {
    let (lab, _server) = lab().await;
    let script = "touch was-run";
    let args = ["-L", "0:localhost:7", "-L", "0:localhost:9"];
    let ended = Bridge::start(&mut exec(&lab, &args, script)).end().await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    assert!(ended.report().unwrap().what.contains("port 9"), "{}", ended.stderr);
    assert!(!lab.dir.path().join("was-run").exists());
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_a_mistake_of_the_command_line() {
    let (lab, _server) = lab().await;
    let args = ["forward", "-i", INSTANCE, "-L", "0:localhost:7", "--warm", "1", "-q"];
    let mut command = lab.bridge(args);
    let ended = Bridge::start(command.args(["--exec", "--", "./no-such-program"])).end().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let report = ended.report().unwrap();
    assert!(report.what.contains("cannot run ./no-such-program"), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_ends_with_the_first_connection_on_whichever_forward_it_comes() {
    let (lab, _server) = lab().await;
    let args = ["-L", "0:localhost:7", "-L", "0:localhost:8", "--once", "--linger", "0"];
    let mut forward = Forward::start(&lab, &args);
    let addresses = forward.addresses(2).await;
    let mut client = TcpStream::connect(&addresses[1]).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    // No second one, neither there nor on the other.
    for address in &addresses {
        assert!(TcpStream::connect(address).await.is_err(), "{address} is still listened on");
    }
    drop(client);
    let over = forward.end().await;
    assert_eq!((over.code(), over.all("closed").len()), (0, 1), "{over:?}");
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_ends_with_the_code_of_what_has_failed() {
    let (lab, _server) = lab().await;
    let mut forward = Forward::start(&lab, &["-L", "0:localhost:9", "--once", "--no-probe"]);
    let mut client = forward.connect().await;
    let _ = rest(&mut client).await.expect_err("a reset");
    let over = forward.end().await;
    assert_eq!((over.code(), over.all("error").len()), (6, 1), "{over:?}");
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_read_a_line_for_each_forward_and_each_connection() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s").display().to_string();
    let unix = format!("{path}:localhost:7");
    let args = ["forward", "-i", INSTANCE, "--local-port", "0", "--remote-port", "7", "-L", &unix];
    let mut bridge = Bridge::start(lab.bridge(args).args(["--linger", "0"]));
    let of_socket = format!("Forwarding {path} → {INSTANCE}:7");
    bridge.logged(&of_socket).await;
    let log = bridge.log();
    let address = log.lines().next().unwrap().strip_prefix("Forwarding ").unwrap();
    let address = address.strip_suffix(&format!(" → {INSTANCE}:7")).unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    drop(client);
    bridge.logged("5 B sent, 5 B received: the local client closed").await;
    bridge.signal("TERM").await;
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(143));
    ended.said(b"");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(lines[1], format!("  also on {}", address.replace("127.0.0.1", "[::1]")));
    assert!(lines[3].starts_with("connection 1: opened after "), "{}", lines[3]);
    assert!(lines[4].starts_with("connection 1: closed after "), "{}", lines[4]);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_says_nothing_but_what_has_failed() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s");
    let unix = format!("{}:localhost:7", path.display());
    let refused = format!("{}:localhost:9", lab.dir.path().join("refused").display());
    let args = ["forward", "-i", INSTANCE, "-q", "--no-probe", "-L", &unix, "-L", &refused];
    let mut bridge = Bridge::start(lab.bridge(args).args(["--linger", "0"]));
    let mut client = connected(&path).await;
    client.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut back).await.unwrap();
    drop(client);
    lab.session(|session| session.ended_by_api).await;
    assert_eq!(bridge.log(), "");
    let _refused = connected(&lab.dir.path().join("refused")).await;
    bridge.logged("ecs-bridge: error: connection 2: ").await;
    bridge.signal("TERM").await;
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(143));
    ended.said(b"");
    assert!(ended.report().unwrap().what.contains("OpenTargetPortFailed"), "{}", ended.stderr);
    lab.all_ended().await;
}
