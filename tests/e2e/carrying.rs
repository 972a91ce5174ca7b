//! What is carried, from wherever it comes: nothing is lost, and a side that stops reading stops the
//! other one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::lab::{Bridge, Lab, QUIET_PORT};
#[cfg(target_os = "linux")]
use crate::lab::{PLENTY, STILL, fill};
use crate::world::{INSTANCE, PATIENCE, noise};

/// What the process may grow by while it waits, in KiB.
#[cfg(target_os = "linux")]
const GROWTH: u64 = 1024;

/// An instance that sets no limit worth the name.
fn fast(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(u64::from(u32::MAX)))
}

/// A session whose target has said `hello`, and has been heard.
#[cfg(target_os = "linux")]
async fn open(lab: &Lab) -> (Bridge, tokio::net::TcpStream) {
    let mut bridge = lab.start(&[QUIET_PORT]);
    let mut target = lab.accept().await;
    target.write_all(b"hello").await.unwrap();
    bridge.expect(b"hello").await;
    (bridge, target)
}

/// Writes the rest of it while all of it is read, and finds it to be the same.
async fn finish(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    taken: usize,
    reader: &mut (impl AsyncRead + Unpin),
) {
    let write = async {
        writer.write_all(&bytes[taken..]).await.unwrap();
        writer.flush().await.unwrap();
    };
    let read = async {
        let (mut position, mut chunk) = (0, vec![0; 65_536]);
        while position < bytes.len() {
            let count = reader.read(&mut chunk).await.unwrap();
            assert_ne!(count, 0, "it ends after {position} bytes");
            assert!(bytes[position..].starts_with(&chunk[..count]), "changed after {position}");
            position += count;
        }
    };
    let both = async { tokio::join!(write, read) };
    timeout(PATIENCE, both).await.expect("all of it is carried in time");
}

/// Writes what nobody reads at the other end until nothing is taken any more. Meanwhile the process
/// neither grows nor works.
#[cfg(target_os = "linux")]
async fn stand_still(
    bridge: &Bridge,
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> usize {
    let before = bridge.memory("VmRSS:");
    let mut taken = fill(writer, bytes).await;
    let busy = loop {
        let before = bridge.busy();
        let more = fill(writer, &bytes[taken..]).await;
        taken += more;
        // What a busy machine still carries is no standing still.
        if more == 0 {
            break bridge.busy() - before;
        }
    };
    assert!(taken < PLENTY, "all of it was taken");
    assert!(busy < STILL / 4, "busy for {busy:?}");
    let grown = bridge.memory("VmRSS:").saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} KiB");
    taken
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_stops_reading_stops_stdin() {
    let lab = Lab::new(fast(Agent::d())).await;
    let (mut bridge, mut target) = open(&lab).await;
    let bytes = noise(PLENTY);
    let before = bridge.memory("VmRSS:");
    let mut stdin = bridge.stdin.take().unwrap();
    let taken = stand_still(&bridge, &mut stdin, &bytes).await;
    finish(&mut stdin, &bytes, taken, &mut target).await;
    let grown = bridge.memory("VmHWM:").saturating_sub(before);
    assert!(grown < 2 * GROWTH, "grown by {grown} KiB");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stdout_that_is_not_read_stops_the_target() {
    let lab = Lab::new(fast(Agent::d())).await;
    let (mut bridge, mut target) = open(&lab).await;
    let bytes = noise(PLENTY);
    let before = bridge.memory("VmRSS:");
    let taken = stand_still(&bridge, &mut target, &bytes).await;
    let mut stdout = bridge.stdout.take().unwrap();
    finish(&mut target, &bytes, taken, &mut stdout).await;
    let grown = bridge.memory("VmHWM:").saturating_sub(before);
    assert!(grown < 2 * GROWTH, "grown by {grown} KiB");
}

/// The target answers each byte, closes after the last, and both sides got all.
async fn echo(lab: &Lab, len: usize) {
    let mut target = lab.accept().await;
    let (mut reader, mut writer) = target.split();
    let echo = async {
        let mut left = len;
        let mut chunk = vec![0; 16_384];
        while left > 0 {
            let count = reader.read(&mut chunk).await.unwrap();
            assert_ne!(count, 0, "{left} bytes are missing");
            writer.write_all(&chunk[..count]).await.unwrap();
            left -= count;
        }
    };
    timeout(PATIENCE, echo).await.expect("the target gets all of it in time");
}

#[tokio::test]
async fn stdin_and_stdout_may_be_files() {
    for agent in [Agent::d(), Agent::a()] {
        let lab = Lab::new(fast(agent)).await;
        let bytes = noise(300_000);
        let (from, to) = (lab.dir.path().join("from"), lab.dir.path().join("to"));
        std::fs::write(&from, &bytes).unwrap();
        let mut command = lab.bridge(["proxy", INSTANCE, QUIET_PORT]);
        command.stdin(File::open(from).unwrap()).stdout(File::create(&to).unwrap());
        let bridge = Bridge::start_as_it_is(&mut command);
        echo(&lab, bytes.len()).await;
        bridge.end().await.well(b"");
        assert!(std::fs::read(to).unwrap() == bytes);
        lab.all_ended().await;
    }
}

#[tokio::test]
async fn stdin_may_be_nothing() {
    let lab = Lab::new(fast(Agent::d())).await;
    let mut command = lab.bridge(["proxy", INSTANCE]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let bridge = Bridge::start_as_it_is(&mut command);
    let mut target = lab.accept().await;
    let bytes = noise(300_000);
    target.write_all(&bytes).await.unwrap();
    drop(target);
    bridge.end().await.well(&bytes);
    lab.all_ended().await;
}

#[tokio::test]
async fn stdin_and_stdout_may_be_one_socket() {
    let lab = Lab::new(fast(Agent::d())).await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = lab.bridge(["proxy", INSTANCE, QUIET_PORT]);
    command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs));
    let bridge = Bridge::start_as_it_is(&mut command);
    // The command still holds the other end, which would keep it open.
    drop(command);
    ours.set_nonblocking(true).unwrap();
    let (mut reader, mut writer) = UnixStream::from_std(ours).unwrap().into_split();
    let bytes = noise(300_000);
    tokio::join!(finish(&mut writer, &bytes, 0, &mut reader), echo(&lab, bytes.len()));
    bridge.end().await.well(b"");
    lab.all_ended().await;
}

/// Pipes are shared with others, who expect them to block: what is left in stdin is for them.
#[tokio::test]
async fn pipes_are_left_as_they_were() {
    let lab = Lab::new(fast(Agent::d())).await;
    let mut shell = crate::world::command("sh", &lab.cloud, lab.dir.path());
    let script = "\"$0\" proxy \"$1\" && exec cat";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ecs-bridge"), INSTANCE]);
    let mut bridge = Bridge::start(&mut shell);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    drop(target);
    bridge.expect(b"SSH-2.0-x\r\n").await;
    lab.all_ended().await;
    // `cat` fails at once where it cannot wait for input.
    let bytes = noise(300_000);
    let (mut stdin, mut stdout) = (bridge.stdin.take().unwrap(), bridge.stdout.take().unwrap());
    finish(&mut stdin, &bytes, 0, &mut stdout).await;
    drop(stdin);
    bridge.end().await.well(b"");
}
