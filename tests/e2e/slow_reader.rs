//! Readers that take their time after the remote side has ended, and local sides that are at fault.

use std::fs::File;
use std::process::Stdio;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::AsyncWriteExt;

use crate::lab::{Bridge, Lab, QUIET_PORT, SOON};
use crate::world::{INSTANCE, noise};

async fn lab() -> Lab {
    let agent = Agent::d().quick();
    Lab::new(Instance::new(INSTANCE).agent(agent).pace(Pace::announced(u64::from(u32::MAX)))).await
}

/// A session that the target has ended after `bytes`, of which nobody has read any.
async fn ended(lab: &Lab, bytes: &[u8], args: &[&str]) -> Bridge {
    let mut bridge = lab.start(&[&[QUIET_PORT, "-vv"], args].concat());
    let mut target = lab.accept().await;
    target.write_all(bytes).await.unwrap();
    drop(target);
    bridge.logged("the target is taken to be listening").await;
    bridge
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_is_heard_while_the_last_bytes_wait_for_their_reader() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let lab = lab().await;
        // As much as fits into the pipe and the process's own queue, so that the session has ended.
        let mut bridge = ended(&lab, &noise(100_000), &[]).await;
        bridge.logged("the session has ended").await;
        lab.all_ended().await;
        bridge.signal(signal).await;
        // The pipe is read only now, and has what fits into it.
        let over = tokio::time::timeout(SOON, bridge.child.wait()).await;
        assert_eq!(over.expect("it ends in time").unwrap().code(), Some(code), "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_not_taken_for_a_reader_that_has_gone() {
    let lab = lab().await;
    let mut command = lab.bridge(["proxy", INSTANCE, QUIET_PORT]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap()).stdin(Stdio::piped());
    let bridge = Bridge::start_as_it_is(&mut command);
    lab.accept().await.write_all(b"hello").await.unwrap();
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
    assert!(ended.stderr.contains("bytes of the remote side are lost"), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stdin_that_cannot_be_read_is_told_after_the_answer() {
    let lab = lab().await;
    let mut command = lab.bridge(["proxy", INSTANCE, QUIET_PORT, "-vv"]);
    command.stdin(File::open(lab.dir.path()).unwrap()).stdout(Stdio::piped());
    let mut bridge = Bridge::start_as_it_is(&mut command);
    let mut target = lab.accept().await;
    bridge.logged("cannot read from the local side").await;
    target.write_all(b"hello").await.unwrap();
    drop(target);
    let ended = bridge.end().await;
    assert_eq!((ended.code, &ended.stdout[..]), (Some(1), &b"hello"[..]));
    let (_, report) = ended.stderr.split_once("ecs-bridge: error: ").expect("a report");
    assert!(report.contains("Is a directory"), "{report}");
}
