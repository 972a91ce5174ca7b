//! `send-key` alone: what it says, what it remembers, what it asks of the cloud.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use local_cloud::{Agent, CommandFault, CommandKind, Instance, InvocationRecord};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::lab::{Bridge, Ended, Lab};
use crate::world::{INSTANCE, make_key};

/// A lab with `~/.ssh/id_ed25519`, and an instance that has no key plug-in yet.
pub(crate) async fn lab(change: impl FnOnce(Instance) -> Instance) -> Lab {
    let lab = Lab::new(change(Instance::new(INSTANCE).agent(Agent::d().quick()))).await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    lab
}

pub(crate) fn public_key(lab: &Lab) -> String {
    let line = std::fs::read_to_string(lab.dir.path().join(".ssh/id_ed25519.pub")).unwrap();
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

pub(crate) async fn send(lab: &Lab, args: &[&str]) -> Ended {
    let args = [&["send-key", "-i", INSTANCE], args].concat();
    Bridge::start(&mut lab.bridge(args)).end().await
}

fn kinds(lab: &Lab) -> Vec<CommandKind> {
    let mut kinds: Vec<_> = lab.cloud.invocations().iter().map(|asked| asked.kind).collect();
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    kinds
}

fn cached(dir: &Path) -> Vec<std::path::PathBuf> {
    let folder = dir.join(".cache/ecs-bridge");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usual_key_is_registered_and_what_is_known_is_remembered() {
    let lab = lab(|instance| instance).await;
    let began = SystemTime::now();
    let first = send(&lab, &[]).await;
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let said = String::from_utf8(first.stdout.clone()).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("SHA256:"), "{said}");
    assert!(
        lines[0]
            .contains(&format!(" (ssh-ed25519, test) is registered for root on {INSTANCE} until ")),
        "{said}"
    );
    let private = lab.dir.path().join(".ssh/id_ed25519");
    assert_eq!(lines[1], format!("now: ssh -i {} root@{INSTANCE}", private.display()));
    assert_eq!(lines.len(), 2);

    let key = &lab.cloud.keys()[0];
    assert_eq!((key.user.as_str(), key.key.as_str()), ("root", public_key(&lab).as_str()));
    assert!(key.registered >= began);
    assert_eq!(kinds(&lab), [CommandKind::Install, CommandKind::SendKey]);
    assert!(lab.cloud.has_key_plugin(INSTANCE));

    // The plug-in is there now, and known to be.
    let second = send(&lab, &["--user-name", "admin"]).await;
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert_eq!(kinds(&lab), [CommandKind::Install, CommandKind::SendKey, CommandKind::SendKey]);
    assert_eq!(lab.cloud.keys()[1].user, "admin");

    let third = send(&lab, &["--reinstall"]).await;
    assert_eq!(third.code, Some(0), "{}", third.stderr);
    assert_eq!(kinds(&lab).iter().filter(|kind| **kind == CommandKind::Install).count(), 2);
    assert!(lab.cloud.violations().is_empty(), "{:?}", lab.cloud.violations());

    for path in cached(lab.dir.path()) {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_one_instance_is_not_taken_for_another() {
    let lab = lab(|instance| instance).await;
    assert_eq!(send(&lab, &[]).await.code, Some(0));
    let other = Instance::new("i-bp1example0002").agent(Agent::d().quick());
    lab.cloud.add_instance(other);
    let mut command = lab.bridge(["send-key", "-i", "i-bp1example0002"]);
    assert_eq!(Bridge::start(&mut command).end().await.code, Some(0));
    assert!(lab.cloud.has_key_plugin("i-bp1example0002"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_no_failure() {
    let lab = lab(|instance| instance).await;
    std::fs::write(lab.dir.path().join(".cache"), "a file").unwrap();
    for _ in 0..2 {
        let ended = send(&lab, &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(kinds(&lab).iter().filter(|kind| **kind == CommandKind::Install).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_result_as_json_and_as_nothing() {
    let lab = lab(|instance| instance).await;
    let ended = send(&lab, &["--json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    for (name, value) in [
        ("instance", INSTANCE),
        ("region", "cn-hangzhou"),
        ("user", "root"),
        ("type", "ssh-ed25519"),
        ("comment", "test"),
        ("plugin", "installed"),
    ] {
        assert_eq!(result[name], value, "{name}");
    }
    assert!(result["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert!(!result["request_id"].as_str().unwrap().is_empty());
    let until = humantime::parse_rfc3339(result["valid_until"].as_str().unwrap()).unwrap();
    assert!(until <= lab.cloud.keys()[0].until, "it promises more than there is");
    assert!((1..=60).contains(&result["valid_seconds"].as_u64().unwrap()));
    let again = send(&lab, &["--json"]).await;
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["plugin"], "cached");
    send(&lab, &["-q"]).await.well(b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_files_words_and_stdin() {
    let lab = lab(|instance| instance).await;
    let folder = lab.dir.path();
    for name in ["other", "third", "fourth"] {
        make_key(folder, name).await;
    }
    let line = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap();
    assert_eq!(send(&lab, &["--public-key", "other.pub"]).await.code, Some(0));
    let text = format!("  {}  ", line("third"));
    assert_eq!(send(&lab, &["--public-key", &text]).await.code, Some(0));
    let mut command = lab.bridge(["send-key", "-i", INSTANCE, "--public-key", "-"]);
    let mut bridge = Bridge::start(&mut command);
    bridge.send(line("fourth").as_bytes()).await;
    bridge.stdin.take().unwrap().shutdown().await.unwrap();
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut command = lab.bridge(["send-key"]);
    command.env("ECS_BRIDGE_INSTANCE", INSTANCE).env("ECS_BRIDGE_PUBLIC_KEY", "other.pub");
    assert_eq!(Bridge::start(&mut command).end().await.code, Some(0));
    let registered: Vec<_> = lab.cloud.keys().into_iter().map(|key| key.key).collect();
    let lines = ["other", "third", "fourth", "other"].map(line);
    let keys = lines.iter().map(|line| line.trim_end().strip_suffix(" test").unwrap());
    assert_eq!(registered, keys.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_asked_for_at_once_and_not_too_often() {
    let slow = Duration::from_millis(1500);
    let lab = lab(|instance| instance.command_time(slow).results_empty(2)).await;
    // A status that nobody knows yet is not the end.
    let odd = CommandFault::on(CommandKind::SendKey).shows("Dreaming", 2);
    assert!(lab.cloud.faults().command(INSTANCE, odd));
    let ended = send(&lab, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let asked = lab.cloud.invocations();
    let of = |kind| asked.iter().find(|asked| asked.kind == kind).unwrap();
    let (install, send) = (of(CommandKind::Install), of(CommandKind::SendKey));
    for (one, other) in [(install, send), (send, install)] {
        assert!(one.started < other.ended.unwrap(), "one after the other");
        assert_eq!(one.calls, 1);
        assert_eq!(
            one.timeout,
            if one.kind == CommandKind::Install { one.timeout } else { other.timeout }
        );
    }
    for invocation in &asked {
        assert!(invocation.polls[..2].iter().all(|poll| poll.status.is_none()), "{invocation:?}");
        spaced(invocation);
    }
    let unknown = send.polls.iter().filter(|poll| poll.status.as_deref() == Some("Dreaming"));
    assert_eq!(unknown.count(), 2);
}

/// Questions come no closer together than 200 ms, and the first not sooner than that. How late
/// they are on a busy machine says nothing.
fn spaced(invocation: &InvocationRecord) {
    let soonest = Duration::from_millis(190);
    for interval in invocation.poll_intervals() {
        assert!(interval >= soonest, "{invocation:?}");
    }
    let first = invocation.polls[0].at.duration_since(invocation.started).unwrap();
    assert!(first >= soonest, "{invocation:?}");
}
