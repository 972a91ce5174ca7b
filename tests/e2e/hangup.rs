//! Terminals and parents that go, and readers that have gone: nothing panics, spins or stays.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use local_cloud::{Agent, ApiFault, CommandKind, Instance, Pace, Restart, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::forward_driver::{Server, read};
use crate::lab::{BANNER, Bridge, Ended, Lab, QUIET_PORT, SOON, connected};
use crate::send_key::lab as lab_with_key;
use crate::send_key_memory::{count, tell_host_key};
use crate::terminal::{Stranger, Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE, command, run};

const END: &str = "EndTerminalSession";
/// Far more than ending takes, and far less than a loop that waits for nothing would use until then.
const BUSY: Duration = Duration::from_millis(250);

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000))
}

/// A lab with an echo server behind port 7.
async fn echo() -> (Lab, Server) {
    let server = Server::echo().await;
    (Lab::new(quick(Agent::d()).target(7, server.addr)).await, server)
}

/// The words of a forward that starts and ends without ado.
fn words<'a>(spec: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let all = ["forward", "-i", INSTANCE, "-L", spec, "--no-probe", "--ready-delay", "0"];
    [&all[..], &["--grace", "0"], args].concat()
}

fn forward(lab: &Lab, spec: &str, args: &[&str]) -> Command {
    lab.bridge(words(spec, args))
}

/// As with nohup. The shell is what is started, and not something around `lab.bridge`: where these
/// tests are run by nohup themselves, that one would have the signal back.
fn outliving(lab: &Lab, args: &[&str]) -> Command {
    let mut shell = command("sh", &lab.cloud, lab.dir.path());
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ecs-bridge")]);
    shell.args(args);
    shell
}

async fn echoes(address: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    client
}

/// The address behind this word in a text that people read.
fn address_after<'a>(text: &'a str, word: &str) -> &'a str {
    text.split_once(word).unwrap().1.split_whitespace().next().unwrap()
}

/// What is closed of a proxy that has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Stdout,
    Both,
    Stdin,
}

/// While nothing comes, and with and without a stdin that could still say something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_whose_ends_are_closed_does_not_spin() {
    for is_resuming in [false, true] {
        // While its socket is away, what answers the end of stdin is waited for.
        let count = if is_resuming { 2 } else { 3 };
        for closed in [Closed::Stdout, Closed::Both, Closed::Stdin].into_iter().take(count) {
            let agent = if is_resuming { Agent::resumable() } else { Agent::d() };
            let lab = Lab::new(quick(agent)).await;
            let mut bridge = lab.start(&["-v", "--linger", "1", QUIET_PORT]);
            let mut target = lab.accept().await;
            target.write_all(b"hello").await.unwrap();
            bridge.expect(b"hello").await;
            // Its end is held up, so that what it has done until then can be seen.
            lab.cloud.faults().api(ApiFault::on(END).silent());
            if is_resuming {
                lab.cloud.faults().restart(Restart::new().down(PATIENCE));
                bridge.logged("making another one").await;
            }
            let before = bridge.busy();
            if closed != Closed::Stdout {
                drop(bridge.stdin.take());
            }
            if closed != Closed::Stdin {
                drop(bridge.stdout.take());
            }
            let ending = |state: &State| state.calls().any(|call| call.action == END);
            lab.cloud.wait_for(ending, SOON).await.unwrap();
            let busy = bridge.busy() - before;
            assert!(busy < BUSY, "{closed:?}: busy for {busy:?}");
        }
    }
}

/// It is no session's leader, so nobody tells it: it has to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_on_a_terminal_that_goes_unheard_ends() {
    for is_stdin in [true, false] {
        let lab = Lab::new(quick(Agent::d())).await;
        let mut terminal = Terminal::new();
        let mut command = by(&["setsid"], &lab.bridge(["proxy", INSTANCE, QUIET_PORT]));
        let stdin = if is_stdin { Stdio::from(terminal.end()) } else { Stdio::piped() };
        let bridge = Bridge::start_as_it_is(command.stdin(stdin).stdout(terminal.end()));
        drop(command);
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        terminal.shows("hello").await;
        terminal.close().await;
        let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        lab.all_ended().await;
    }
}

/// With its line for the terminal that is written over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_ends_with_its_terminal() {
    let (lab, _server) = echo().await;
    for verbose in [&[][..], &["-vvv"]] {
        let mut terminal = Terminal::new();
        let command = forward(&lab, "0:localhost:7", verbose);
        let mut forward = terminal.start(&command, Streams::All);
        terminal.shows("→").await;
        let _client = echoes(address_after(&terminal.shown(), "Forwarding ")).await;
        terminal.close().await;
        let status = timeout(SOON, forward.wait()).await.expect("it ends within 2 s").unwrap();
        assert_eq!(status.code(), Some(129));
        lab.all_ended().await;
    }
}

/// ssh stays then, and so does what it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_outlive_the_terminal_does() {
    let (lab, _server) = echo().await;
    let socket = lab.dir.path().join("s");
    let spec = format!("{}:localhost:7", socket.display());
    let mut terminal = Terminal::new();
    let mut forward = terminal.start(&outliving(&lab, &words(&spec, &[])), Streams::All);
    terminal.shows("→").await;
    terminal.close().await;
    let mut client = connected(&socket).await;
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    kill(forward.id().unwrap()).await;
    let status = timeout(SOON, forward.wait()).await.expect("it ends within 2 s").unwrap();
    assert_eq!(status.code(), Some(143));

    let mut bridge = Bridge::start(&mut outliving(&lab, &["proxy", INSTANCE, QUIET_PORT]));
    let mut target = lab.accept().await;
    bridge.signal("HUP").await;
    target.write_all(b"hello").await.unwrap();
    bridge.expect(b"hello").await;
    bridge.signal("TERM").await;
    assert_eq!(bridge.end().await.code, Some(143));
    lab.all_ended().await;
}

async fn kill(pid: u32) {
    let pid = pid.to_string();
    assert!(run(Command::new("kill").args(["-TERM", &pid])).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_with_forwards_ends_with_its_terminal() {
    let (lab, _server) = echo().await;
    let mut terminal = Terminal::new();
    let script = "echo $$ > pid; echo at $ECS_BRIDGE_ADDR; exec sleep 100";
    let command = forward(&lab, "0:localhost:7", &["--exec", "--", "sh", "-c", script]);
    let mut forward = terminal.start(&command, Streams::All);
    terminal.shows("at ").await;
    let program = Stranger::of_file(&lab.dir.path().join("pid"));
    let _client = echoes(address_after(&terminal.shown(), "at ")).await;
    terminal.close().await;
    let status = timeout(SOON, forward.wait()).await.expect("it ends within 2 s").unwrap();
    assert_eq!(status.code(), Some(129));
    timeout(SOON, program.ended()).await.expect("the program is gone, too");
    lab.all_ended().await;
}

/// Nobody has told it to end: others use its ports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_outlives_whoever_has_started_it() {
    for exec in [false, true] {
        let (lab, _server) = echo().await;
        let socket = lab.dir.path().join("s");
        let spec = format!("{}:localhost:7", socket.display());
        let exec = if exec { &["--exec", "--", "sleep", "100"][..] } else { &[] };
        let inner = forward(&lab, &spec, exec);
        let script = "\"$@\" & echo $! > pid; echo up; wait";
        let mut parent = Bridge::start(&mut by(&["sh", "-c", script, "sh"], &inner));
        parent.expect(b"up\n").await;
        parent.logged("Forwarding").await;
        let forward = Stranger::of_file(&lab.dir.path().join("pid"));
        parent.child.start_kill().unwrap();
        parent.child.wait().await.unwrap();
        let mut client = UnixStream::connect(&socket).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        client.read_exact(&mut back).await.unwrap();
        let pid = std::fs::read_to_string(lab.dir.path().join("pid")).unwrap();
        kill(pid.trim().parse().unwrap()).await;
        timeout(SOON, forward.ended()).await.expect("it ends within 2 s");
        lab.all_ended().await;
    }
}

/// A stdout that nobody reads from its first moment on.
fn unread() -> OwnedFd {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

async fn without_reader(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(unread());
    let bridge = Bridge::start_as_it_is(command);
    timeout(PATIENCE, bridge.end()).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_is_no_failure() {
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    // Not asked for anybody; and from memory.
    for is_known in [false, true] {
        let ended = without_reader(&mut lab.bridge(["known-hosts", INSTANCE])).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        if !is_known {
            let asked = Bridge::start(&mut lab.bridge(["known-hosts", INSTANCE])).end().await;
            assert_eq!((asked.code, asked.stdout.is_empty()), (Some(0), false));
        }
    }
    for args in [&["send-key", "-i", INSTANCE][..], &["send-key", "-i", INSTANCE, "--json"]] {
        let before = count(&lab, CommandKind::SendKey);
        let ended = without_reader(&mut lab.bridge(args)).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(count(&lab, CommandKind::SendKey), before + 1, "it is done all the same");
    }
    for args in [&["--help"][..], &["--version"], &["forward", "--help"]] {
        let ended = without_reader(&mut lab.bridge(args)).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    let ended = without_reader(&mut lab.bridge(["proxy", INSTANCE])).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    lab.all_ended().await;
    // What it was started for is to carry connections, and that it does.
    let forward = ["forward", "--json", "-i", INSTANCE, "--once", "--linger", "0", "-L"];
    let socket = lab.dir.path().join("s");
    let mut command = lab.bridge(forward);
    command.arg(format!("{}:localhost:{QUIET_PORT}", socket.display()));
    command.stdin(Stdio::null()).stdout(unread());
    let bridge = Bridge::start_as_it_is(&mut command);
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    let client = connected(&socket).await;
    drop(client);
    let ended = bridge.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    lab.all_ended().await;
}

/// Descriptors that the process does not have are not taken for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_that_are_not_there_do_no_harm() {
    let hello = &b"hello"[..];
    for (closed, stdout) in [("<&-", hello), (">&-", b""), ("2>&-", hello), ("<&- >&- 2>&-", b"")] {
        let lab = Lab::new(quick(Agent::d())).await;
        let script = format!("exec \"$@\" {closed}");
        let inner = lab.bridge(["-vvv", "proxy", INSTANCE, QUIET_PORT, "--linger", "1"]);
        let bridge = Bridge::start(&mut by(&["sh", "-c", &script, "sh"], &inner));
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        lab.session(|session| session.output_bytes == 5).await;
        drop(target);
        let ended = timeout(PATIENCE, bridge.end()).await.expect("it ends");
        assert_eq!(ended.code, Some(0), "{closed}: {}", ended.stderr);
        assert_eq!(ended.stdout, stdout);
        lab.all_ended().await;
    }
}
