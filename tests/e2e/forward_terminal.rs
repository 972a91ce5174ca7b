//! A `forward` on a terminal: its live line, and a program that has the terminal for itself.

use std::process::Stdio;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::forward_driver::{Server, echo_lab, read};
use crate::lab::{Bridge, Lab, SOON};
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, run};

pub(crate) fn forward(lab: &Lab, args: &[&str]) -> Command {
    let all = ["forward", "-i", INSTANCE, "-L", "0:localhost:7", "--no-probe", "--grace", "0"];
    lab.bridge([&all, args].concat())
}

/// With a program that tells each SIGINT, and ends with 7 on SIGTERM.
fn counting(lab: &Lab) -> Command {
    let script = "trap 'echo INT' INT; trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    forward(lab, &["-vv", "--exec", "--", "bash", "-c", script])
}

pub(crate) async fn signal(child: &Child, signal: &str) {
    let pid = child.id().expect("it still runs").to_string();
    let sent = run(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid])).await;
    assert!(sent.status.success());
}

async fn code(mut child: Child) -> Option<i32> {
    timeout(SOON, child.wait()).await.expect("it ends").unwrap().code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_on_a_terminal_tells_how_many_connections_are_open() {
    let (lab, _server) = echo_lab().await;
    let mut terminal = Terminal::new();
    let forward = terminal.start(&forward(&lab, &[]), Streams::All);
    terminal.shows("Press Ctrl-C to stop forwarding").await;
    terminal.shows("0 open connections, ↑ 0 B/s, ↓ 0 B/s").await;
    let shown = terminal.shown();
    let address = shown.split_once("Forwarding ").unwrap().1.split_whitespace().next().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    terminal.shows("1 open connection, ").await;
    signal(&forward, "TERM").await;
    assert_eq!(code(forward).await, Some(143));
    lab.all_ended().await;
}

/// An older agent loses what comes early, so each connection waits; whoever sees that is told the remedy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_connection_on_a_terminal_names_the_remedy() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::a().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let mut terminal = Terminal::new();
    let forward = terminal.start(&forward(&lab, &["--ready-delay", "1.5"]), Streams::All);
    terminal.shows("Press Ctrl-C to stop forwarding").await;
    let shown = terminal.shown();
    let address = shown.split_once("Forwarding ").unwrap().1.split_whitespace().next().unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    terminal.shows("with --warm 1 a session is kept ready").await;
    signal(&forward, "TERM").await;
    assert_eq!(code(forward).await, Some(143));
    lab.all_ended().await;
}

/// It would be written over what the program has on its last line, once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_live_line_is_written_over_a_program_s_prompt() {
    let (lab, _server) = echo_lab().await;
    let mut terminal = Terminal::new();
    // Its answer comes by way of the loop that would draw the line at once.
    let script = "printf 'sql> '; exec 3<>/dev/tcp/$ECS_BRIDGE_HOST/$ECS_BRIDGE_PORT; \
                  echo hello >&3; head -n 1 <&3; echo over; exit 3";
    let command = forward(&lab, &["--exec", "--", "bash", "-c", script]);
    let forward = terminal.start(&command, Streams::All);
    terminal.shows("over").await;
    assert_eq!(code(forward).await, Some(3));
    let shown = terminal.close().await;
    assert!(shown.contains("sql> ") && shown.contains("hello"), "{shown}");
    assert!(!shown.contains("open connection"), "{shown}");
    lab.all_ended().await;
}

/// Ctrl-C is told to all in the foreground: what was passed on as well would come twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_is_not_passed_on_where_the_terminal_has_told_the_program() {
    for streams in [Streams::All, Streams::Zeros] {
        let (lab, _server) = echo_lab().await;
        let mut terminal = Terminal::new();
        let forward = terminal.start(&counting(&lab), streams);
        terminal.shows("up").await;
        // To the forward alone, so that what it does is told from what the terminal does.
        signal(&forward, "INT").await;
        terminal.shows("has sent Ctrl-C to the program itself").await;
        signal(&forward, "TERM").await;
        assert_eq!(code(forward).await, Some(7), "{streams:?}");
        let shown = terminal.close().await;
        assert!(!shown.contains("INT\r\n"), "{streams:?}: {shown}");
    }
}

/// It is not in the terminal's foreground, although it reads from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_that_no_terminal_has_sent_is_passed_on() {
    let (lab, _server) = echo_lab().await;
    let terminal = Terminal::new();
    let mut command = by(&["setsid"], &counting(&lab));
    command.stdin(Stdio::from(terminal.end())).stdout(Stdio::piped());
    let mut bridge = Bridge::start_as_it_is(&mut command);
    drop(command);
    bridge.expect(b"up\n").await;
    bridge.signal("INT").await;
    bridge.expect(b"INT\n").await;
    bridge.signal("TERM").await;
    assert_eq!(timeout(SOON, bridge.end()).await.expect("it ends").code, Some(7));
}
