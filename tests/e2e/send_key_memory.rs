//! What is remembered of keys, plug-ins and host keys: of what, for how long, and what is not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use local_cloud::{
    ApiFault, CommandFault, CommandKind, Ending, Instance, InstanceStatus, LocalCloud,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::lab::{BANNER, Bridge, Ended, Lab};
use crate::send_key::{lab, send};
use crate::world::{INSTANCE, PATIENCE, make_key};

const OTHER: &str = "i-bp1example0002";
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYYZqikD/oncVIyrPoBHRkAKVyjxFrk8Hn/ytJUeP7p";
/// Longer than any test.
const LONG: Duration = Duration::from_secs(100);

/// How often an instance was asked for something.
pub(crate) fn count(lab: &Lab, kind: CommandKind) -> usize {
    lab.cloud.invocations().iter().filter(|asked| asked.kind == kind).count()
}

/// How often it was installed, and how often a key was sent.
fn counts(lab: &Lab) -> (usize, usize) {
    (count(lab, CommandKind::Install), count(lab, CommandKind::SendKey))
}

/// Another instance like the first.
fn add_other(lab: &Lab) {
    let mut other = None;
    lab.cloud.update_instance(INSTANCE, |instance| other = Some(instance.clone()));
    let mut other: Instance = other.unwrap();
    other.id = OTHER.to_owned();
    lab.cloud.add_instance(other);
}

/// Scripts are said to have told a host key, which no shell is needed for.
pub(crate) fn tell_host_key(lab: &Lab, instance: &str) {
    let told = Ending::success().output(format!("{HOST_KEY} root@web\n"));
    let fault = CommandFault::on(CommandKind::Script).ends(told);
    assert!(lab.cloud.faults().command(instance, fault));
}

fn proxy(lab: &Lab, args: &[&str]) -> Command {
    lab.bridge([&["proxy", "--user", "admin"], args].concat())
}

/// Runs `proxy --send-key` until what the remote side says has come: then the key is registered.
async fn is_through(lab: &Lab, command: &mut Command) {
    let mut bridge = Bridge::start(command);
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    bridge.expect(BANNER).await;
    drop(target);
    bridge.end().await.well(b"");
}

async fn known_hosts(lab: &Lab, args: &[&str]) -> Ended {
    let ended = Bridge::start(&mut lab.bridge([&["known-hosts"], args].concat())).end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended
}

/// Makes what is remembered of a kind so many seconds old. There is one entry.
pub(crate) fn age(lab: &Lab, kind: &str, seconds: f64) {
    let is_of_kind = |path: &Path| {
        path.file_name().unwrap().to_str().unwrap().strip_prefix(kind).is_some_and(|rest| {
            rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".json")).is_some()
        })
    };
    let folder = std::fs::read_dir(lab.dir.path().join(".cache/ecs-bridge")).unwrap();
    let entries = folder.map(|entry| entry.unwrap().path());
    let entries: Vec<_> = entries.filter(|path| is_of_kind(path)).collect();
    let [path] = &entries[..] else { panic!("{kind}: {entries:?}") };
    let mut entry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(entry["stored"].is_f64());
    entry["stored"] = json!(now.as_secs_f64() - seconds);
    std::fs::write(path, entry.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_sent_again_after_45_seconds() {
    let lab = lab(|instance| instance).await;
    let run = async || is_through(&lab, &mut proxy(&lab, &["--send-key", "--", INSTANCE])).await;
    run().await;
    assert_eq!(counts(&lab), (1, 1));
    // A busy machine has some seconds to come to it.
    age(&lab, "key", 30.0);
    run().await;
    assert_eq!(counts(&lab), (1, 1));
    age(&lab, "key", 46.0);
    run().await;
    assert_eq!(counts(&lab), (1, 2));
    // From then on it is fresh again.
    run().await;
    assert_eq!(counts(&lab), (1, 2));
}

/// The key is sent once more, which makes it so many times, and its session goes through.
async fn is_sent_again(lab: &Lab, mut bridge: Bridge, times: usize) {
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    bridge.expect(BANNER).await;
    assert_eq!(counts(lab), (1, times), "before the server has said anything");
    drop(target);
    assert_eq!(bridge.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_has_expired_while_its_session_waited_is_sent_again() {
    let lab = lab(|instance| instance).await;
    let args = ["--send-key", "--", INSTANCE];
    is_through(&lab, &mut proxy(&lab, &args)).await;
    assert_eq!(counts(&lab), (1, 1));
    let full = ApiFault::on("StartTerminalSession").error(403, "SessionCount.ExceedLimit", "full");
    lab.cloud.faults().api(full);
    let mut bridge = Bridge::start(&mut proxy(&lab, &args));
    bridge.logged("the session quota is full").await;
    assert_eq!(counts(&lab), (1, 1), "it is fresh");
    age(&lab, "key", 46.0);
    lab.cloud.faults().clear();
    is_sent_again(&lab, bridge, 2).await;
}

/// It counts from when it was asked for, however long registering took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_its_own_session_has_sent_is_no_fresher_than_another() {
    let lab = lab(|instance| instance).await;
    is_through(&lab, &mut proxy(&lab, &["--send-key", "--", INSTANCE])).await;
    age(&lab, "key", 46.0);
    let full = ApiFault::on("StartTerminalSession").error(403, "SessionCount.ExceedLimit", "full");
    lab.cloud.faults().api(full);
    let mut bridge = Bridge::start(&mut proxy(&lab, &["-v", "--send-key", "--", INSTANCE]));
    bridge.logged("the session quota is full").await;
    bridge.logged("is registered for admin").await;
    assert_eq!(counts(&lab), (1, 2));
    age(&lab, "key", 46.0);
    lab.cloud.faults().clear();
    is_sent_again(&lab, bridge, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_has_expired_while_its_instance_booted_is_sent_again() {
    let boot = Duration::from_millis(700);
    let lab = lab(|instance| instance.boot(boot, boot)).await;
    let args = ["--start", "--send-key", "--", INSTANCE];
    is_through(&lab, &mut proxy(&lab, &args)).await;
    assert_eq!(counts(&lab), (1, 1));
    lab.cloud.update_instance(INSTANCE, |instance| instance.status = InstanceStatus::Stopped);
    let mut bridge = Bridge::start(&mut proxy(&lab, &args));
    bridge.logged("is stopped: starting it").await;
    assert_eq!(counts(&lab), (1, 1), "it is fresh");
    age(&lab, "key", 46.0);
    is_sent_again(&lab, bridge, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plug_ins_and_host_keys_are_known_for_a_day() {
    let lab = lab(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    let line = format!("{INSTANCE} {HOST_KEY}\n");
    let both = async |installed: usize, asked: usize| {
        assert_eq!(send(&lab, &[]).await.code, Some(0));
        known_hosts(&lab, &[INSTANCE]).await.said(line.as_bytes());
        let counts = (count(&lab, CommandKind::Install), count(&lab, CommandKind::Script));
        assert_eq!(counts, (installed, asked));
    };
    both(1, 1).await;
    for kind in ["plugin", "host-keys"] {
        age(&lab, kind, 86_300.0);
    }
    both(1, 1).await;
    for kind in ["plugin", "host-keys"] {
        age(&lab, kind, 86_500.0);
    }
    both(2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_fresh_for_its_own_instance_only() {
    let lab = lab(|instance| instance).await;
    add_other(&lab);
    make_key(lab.dir.path(), "other").await;
    is_through(&lab, &mut proxy(&lab, &["--send-key", "--", INSTANCE])).await;
    assert_eq!(lab.cloud.keys().len(), 1);
    // The same user and the same key.
    is_through(&lab, &mut proxy(&lab, &["--send-key", "--", OTHER])).await;
    assert_eq!(lab.cloud.keys().len(), 2);
    assert_eq!(lab.cloud.keys()[1].instance, OTHER);
    // The same user and the same instance.
    is_through(&lab, &mut proxy(&lab, &["--send-key", "other.pub", INSTANCE])).await;
    let keys = lab.cloud.keys();
    assert_eq!(keys.len(), 3);
    assert_eq!((keys[2].instance.as_str(), keys[2].user.as_str()), (INSTANCE, "admin"));
    assert_ne!(keys[2].key, keys[0].key);
    // All of them are fresh now.
    for args in [["--send-key", "--", OTHER], ["--send-key", "other.pub", INSTANCE]] {
        is_through(&lab, &mut proxy(&lab, &args)).await;
    }
    assert_eq!(lab.cloud.keys().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_keys_are_those_of_one_instance() {
    let lab = lab(|instance| instance).await;
    add_other(&lab);
    for (number, instance) in [INSTANCE, OTHER, INSTANCE, OTHER].into_iter().enumerate() {
        tell_host_key(&lab, instance);
        known_hosts(&lab, &[instance]).await.said(format!("{instance} {HOST_KEY}\n").as_bytes());
        assert_eq!(count(&lab, CommandKind::Script), 2.min(number + 1));
    }
}

/// Each has its own instance of the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clouds_and_regions_with_one_memory_keep_apart() {
    let in_regions = |regions: [&str; 2]| {
        let builder = regions.into_iter().fold(LocalCloud::builder(), |all, one| all.region(one));
        Lab::with(builder, Instance::new(INSTANCE).agent(local_cloud::Agent::d().quick()))
    };
    let regions = ["cn-hangzhou", "cn-beijing"];
    let (one, two) = tokio::join!(in_regions(regions), in_regions(regions));
    let memory = tempfile::tempdir().unwrap();
    make_key(memory.path(), "id").await;
    let key = memory.path().join("id.pub");
    let key = key.to_str().unwrap();
    let mut expected = Vec::new();
    for (lab, region) in
        [(&one, regions[0]), (&two, regions[0]), (&one, regions[1]), (&two, regions[1])]
    {
        assert!(lab.cloud.update_instance(INSTANCE, |instance| instance.region = region.into()));
        tell_host_key(lab, INSTANCE);
        let global = ["--region", region];
        let bridge = |args: &[&str]| {
            let mut command = lab.bridge([&global[..], args].concat());
            command.env("XDG_CACHE_HOME", memory.path());
            command
        };
        let before = lab.cloud.invocations().len();
        // What was found out first is known the second time.
        for _ in 0..2 {
            is_through(lab, &mut bridge(&["proxy", "--send-key", key, INSTANCE])).await;
            let ended = Bridge::start(&mut bridge(&["known-hosts", INSTANCE])).end().await;
            ended.well(format!("{INSTANCE} {HOST_KEY}\n").as_bytes());
        }
        let asked = lab.cloud.invocations();
        assert!(asked[before..].iter().all(|asked| asked.region == region));
        let mut kinds: Vec<_> = asked[before..].iter().map(|asked| asked.kind).collect();
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        let all = [CommandKind::Install, CommandKind::Script, CommandKind::SendKey];
        assert_eq!(kinds, all, "{region} after {expected:?}");
        expected.push(region);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_failed_is_not_remembered() {
    let lab = lab(|instance| instance).await;
    let fails = || {
        let fault = CommandFault::on(CommandKind::SendKey).ends(Ending::delivery_timeout());
        assert!(lab.cloud.faults().command(INSTANCE, fault.times(1)));
    };
    fails();
    assert_eq!(send(&lab, &["--user-name", "admin"]).await.code, Some(6));
    assert_eq!(lab.cloud.keys().len(), 0);
    is_through(&lab, &mut proxy(&lab, &["--send-key", "--", INSTANCE])).await;
    assert_eq!(lab.cloud.keys().len(), 1);
    // The plug-in is known now, until what was known may be what is wrong.
    let (installs, sends) = counts(&lab);
    assert_eq!(send(&lab, &[]).await.code, Some(0));
    assert_eq!(counts(&lab), (installs, sends + 1));
    fails();
    assert_eq!(send(&lab, &[]).await.code, Some(6));
    assert_eq!(counts(&lab), (installs, sends + 2));
    assert_eq!(send(&lab, &[]).await.code, Some(0));
    assert_eq!(counts(&lab), (installs + 1, sends + 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_nobody_saw_end_is_not_remembered() {
    let lab = lab(|instance| instance).await;
    let slow = CommandFault::on(CommandKind::Install).takes(LONG).times(1);
    assert!(lab.cloud.faults().command(INSTANCE, slow));
    let mut bridge = Bridge::start(&mut lab.bridge(["send-key", "-i", INSTANCE]));
    let under_way = |asked: &local_cloud::InvocationRecord| {
        asked.kind == CommandKind::Install && asked.polls.len() > 1
    };
    lab.cloud.wait_for_invocation(under_way, PATIENCE).await.unwrap();
    bridge.child.kill().await.unwrap();
    assert!(lab.cloud.invocations().iter().any(|asked| asked.ended.is_none()));
    assert_eq!(send(&lab, &[]).await.code, Some(0));
    assert_eq!(count(&lab, CommandKind::Install), 2);
    assert!(lab.cloud.has_key_plugin(INSTANCE));
}
