//! A stderr that nobody reads holds up no stream and no signal, and one that is read late gets everything.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::forward_driver::{echo_lab, read};
use crate::forward_terminal::{forward, signal};
use crate::lab::SOON;
use crate::terminal::{Streams, Terminal};
use crate::world::{INSTANCE, PATIENCE};

/// A pipe that takes nothing more until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    loop {
        match writer.write(&[b'.'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn start(mut command: Command, stderr: PipeWriter) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    command.kill_on_drop(true).spawn().unwrap()
}

async fn is_ended_by_term(mut child: Child) {
    signal(&child, "TERM").await;
    let status = timeout(SOON, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(143));
}

async fn echoes(client: &mut TcpStream) {
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(client, 5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_whose_stderr_is_not_read_carries_on_and_ends_by_a_signal() {
    let (lab, _server) = echo_lab().await;
    let (_reader, writer) = full_pipe();
    let mut child = start(forward(&lab, &["--json", "-v"]), writer);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it listens").unwrap().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    for _ in 0..3 {
        let mut client = TcpStream::connect(event["address"].as_str().unwrap()).await.unwrap();
        echoes(&mut client).await;
    }
    is_ended_by_term(child).await;
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_whose_stderr_is_not_read_carries_on_and_ends_by_a_signal() {
    let (lab, _server) = echo_lab().await;
    let (_reader, writer) = full_pipe();
    let mut child = start(lab.bridge(["-vv", "proxy", INSTANCE, "7"]), writer);
    child.stdin.as_mut().unwrap().write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    let echoed = child.stdout.as_mut().unwrap().read_exact(&mut back);
    timeout(PATIENCE, echoed).await.expect("it is carried").unwrap();
    assert_eq!(&back, b"hello");
    is_ended_by_term(child).await;
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_late_is_complete_and_in_order() {
    let (lab, _server) = echo_lab().await;
    let (mut reader, writer) = full_pipe();
    let mut child = start(lab.bridge(["-v", "proxy", INSTANCE, "9"]), writer);
    // The first of many messages waits for a place when this begins.
    lab.session(|_| true).await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    drop(child.stdin.take());
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert_ne!(status.code(), Some(0));
    let text = timeout(PATIENCE, reading).await.expect("it is closed").unwrap().unwrap();
    let text = text.trim_start_matches('.');
    let (before, report) = text.split_once("ecs-bridge: error: ").expect(text);
    assert!(before.contains("INFO") && before.ends_with('\n'), "{text}");
    assert!(report.contains("\n  fix: ") && report.ends_with('\n'), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_s_stops_neither_the_connections_of_a_forward_nor_its_end() {
    let (lab, _server) = echo_lab().await;
    let mut terminal = Terminal::new();
    let forward = terminal.start(&forward(&lab, &[]), Streams::All);
    terminal.shows("0 open connections").await;
    let shown = terminal.shown();
    let address = shown.split_once("Forwarding ").unwrap().1.split_whitespace().next().unwrap();
    terminal.types(b"\x13").await;
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).await.unwrap();
        echoes(&mut client).await;
    }
    is_ended_by_term(forward).await;
    lab.all_ended().await;
}
