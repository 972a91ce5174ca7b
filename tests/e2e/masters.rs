//! Connections that ssh shares among terminals, and programs that start ssh with signals ignored.

use std::process::Stdio;
use std::time::Duration;

use local_cloud::{Agent, Instance, LocalCloud, Pace};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use crate::lab::{Bridge, Lab, QUIET_PORT};
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE, Server, World, succeed};

async fn world(server: Server, pace: u64) -> Option<World> {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::announced(pace));
    World::in_cloud(server, LocalCloud::builder(), instance).await
}

async fn ended(child: &mut Child) {
    timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
}

/// Another terminal's `cat` over the shared connection.
struct Cat(Child);

impl Cat {
    async fn start(world: &World) -> Self {
        let mut ssh = world.openssh("ssh");
        ssh.args([INSTANCE, "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cat = Self(ssh.kill_on_drop(true).spawn().unwrap());
        cat.answers(b"one").await;
        cat
    }

    async fn answers(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        let read = self.0.stdout.as_mut().unwrap().read_exact(&mut back);
        timeout(PATIENCE, read).await.expect("it answers").expect("it is not closed");
        assert_eq!(back, bytes);
    }
}

/// With ControlPersist the first ssh hands its connection over to a process without a terminal. What
/// happens in the terminal of the first one is nothing to the others: as with plain TCP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_connection_outlives_the_terminal_of_its_first_ssh() {
    for closes in [false, true] {
        let world = world(Server::InProcess, 64_000_000).await.unwrap();
        let mut terminal = Terminal::new();
        let mut ssh = world.openssh("ssh");
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60"]);
        let mut first =
            terminal.start(ssh.args([INSTANCE, "echo up; exec sleep 300"]), Streams::All);
        terminal.shows("up").await;
        let mut second = Cat::start(&world).await;
        if closes {
            terminal.close().await;
            ended(&mut first).await;
        } else {
            terminal.types(b"\x03").await;
            ended(&mut first).await;
        }
        second.answers(b"two").await;
        let third = succeed(world.openssh("ssh").args([INSTANCE, "echo three"])).await;
        assert_eq!(third, b"three\n", "closes: {closes}");
        second.answers(b"four").await;
        assert_eq!(world.cloud.sessions().len(), 1, "closes: {closes}");
        let mut exit = world.openssh("ssh");
        succeed(exit.args(["-O", "exit", INSTANCE]).stderr(Stdio::null())).await;
        world.check().await;
    }
}

/// sftp starts its ssh with SIGINT ignored, and goes on after Ctrl-C.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_interrupts_a_copy_of_sftp_and_not_its_connection() {
    let Some(world) = world(Server::OpenSsh, 2_000_000).await else { return };
    // What takes a minute and more.
    std::fs::write(world.path("big"), vec![b'x'; 20_000_000]).unwrap();
    let mut terminal = Terminal::new();
    let mut sftp = terminal.start(world.openssh("sftp").arg(INSTANCE), Streams::All);
    terminal.shows("sftp> ").await;
    let get = format!("get {} copy\n", world.path("big").display());
    terminal.types(get.as_bytes()).await;
    terminal.shows("KB/s").await;
    terminal.types(b"\x03").await;
    terminal.shows("Interrupt").await;
    terminal.types(b"pwd\n").await;
    terminal.shows("Remote working directory").await;
    terminal.types(b"bye\n").await;
    ended(&mut sftp).await;
    world.check().await;
}

/// What is ignored stays ignored, and the connection ends by its pipes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_ignores_the_signals_that_it_was_started_to_ignore() {
    let world = world(Server::InProcess, 64_000_000).await.unwrap();
    // The shell is started with no signal ignored, and ignores them for what it starts.
    let mut proxy = world.command("sh");
    proxy.args(["-c", "trap '' INT TERM HUP; exec \"$@\"", "sh"]);
    proxy.args([env!("CARGO_BIN_EXE_ecs-bridge"), "proxy", INSTANCE, "22"]);
    let mut proxy =
        proxy.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdout = proxy.stdout.take().unwrap();
    let mut banner = [0; 4];
    let read = timeout(PATIENCE, stdout.read_exact(&mut banner)).await;
    read.expect("it greets").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(proxy.id().unwrap()).unwrap()).unwrap();
    for signal in
        [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    // It still carries: the server answers the client's identification with its key exchange.
    proxy.stdin.as_mut().unwrap().write_all(b"SSH-2.0-test\r\n").await.unwrap();
    let mut more = [0; 64];
    let read = timeout(PATIENCE, stdout.read_exact(&mut more)).await;
    read.expect("it goes on").unwrap();
    drop((stdout, proxy.stdin.take()));
    ended(&mut proxy).await;
    world.check().await;
}

/// A stream that a script copies into a file is the script's, and ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_proxy_that_a_script_has_started() {
    for script in ["printf x | \"$@\" > out", "printf x > in; \"$@\" < in > out"] {
        let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
        let mut terminal = Terminal::new();
        let proxy = lab.bridge(["proxy", INSTANCE, QUIET_PORT]);
        let _child = terminal.start(&by(&["sh", "-c", script, "sh"], &proxy), Streams::All);
        let mut target = lab.accept().await;
        let mut said = [0; 1];
        let heard = timeout(PATIENCE, target.read_exact(&mut said)).await;
        heard.expect("what was said comes in time").unwrap();
        assert_eq!(&said, b"x");
        terminal.types(b"\x03").await;
        lab.all_ended().await;
    }
}

/// Whoever waits at a terminal is told of it after a while, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_a_terminal_is_told_what_for() {
    let agent = Agent::d().join_delay(Duration::from_millis(4500)).dial_delay(Duration::ZERO);
    let lab = Lab::new(Instance::new(INSTANCE).agent(agent)).await;
    let mut told = Vec::new();
    for args in [&["proxy", INSTANCE, "7"][..], &["forward", "-i", INSTANCE, "-L", "0:localhost:7"]]
    {
        let mut terminal = Terminal::new();
        let quiet: Vec<_> = ["-q"].iter().chain(args).collect();
        let quiet = Bridge::start(&mut lab.bridge(quiet));
        let piped = Bridge::start(&mut lab.bridge(args));
        let mut child = terminal.start(&lab.bridge(args), Streams::All);
        terminal.shows("waiting for a session").await;
        for other in [quiet, piped] {
            other.signal("TERM").await;
            told.push(other.end().await.stderr);
        }
        terminal.types(b"\x03").await;
        ended(&mut child).await;
    }
    assert!(told.iter().all(|text| !text.contains("waiting for")), "{told:?}");
}
