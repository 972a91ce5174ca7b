//! `policy`: the actions of the policy are those that the commands call.

use std::collections::BTreeSet;
use std::time::Duration;

use local_cloud::{AccessKey, Agent, Instance, InstanceStatus, LocalCloud, Pace};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::lab::{BANNER, Bridge, Ended, Lab};
use crate::targets::proxy;
use crate::world::{INSTANCE, make_key};

type Actions = BTreeSet<String>;

async fn ended(lab: &Lab, args: &[&str]) -> Ended {
    Bridge::start(&mut lab.bridge(args)).end().await
}

/// A lab in which [`INSTANCE`] is called web-1, with `~/.ssh/id_ed25519`.
async fn lab(key: AccessKey, change: impl FnOnce(Instance) -> Instance) -> Lab {
    let instance =
        Instance::new(INSTANCE).name("web-1").agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::with(LocalCloud::builder().access_key(key), change(instance)).await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    lab
}

fn key() -> AccessKey {
    AccessKey::new("testid", "testsecret")
}

/// A key with which `doctor` asks the older action, too.
fn key_without_settings() -> AccessKey {
    key().deny("DescribeCloudAssistantSettings")
}

/// The actions of the signed calls that the cloud has recorded.
fn recorded(lab: &Lab) -> Actions {
    let signed = lab.cloud.calls().into_iter().filter(|call| call.signature.is_some());
    signed.map(|call| format!("ecs:{}", call.action)).collect()
}

/// The actions that the printed policy allows, and for which resources.
async fn printed(uses: &[&str]) -> Vec<(String, Value)> {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    let mut command = lab.bridge([&["policy"], uses].concat());
    let ended = Bridge::start(command.env_clear().env("HOME", lab.dir.path())).end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(lab.cloud.calls().is_empty());
    assert_eq!(std::fs::read_dir(lab.dir.path()).unwrap().count(), 0, "neither log nor cache");
    let policy: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(policy["Version"], "1");
    let mut all = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in statement["Action"].as_array().unwrap() {
            all.push((action.as_str().unwrap().to_owned(), statement["Resource"].clone()));
        }
    }
    all
}

async fn allowed(uses: &[&str]) -> Actions {
    let all = printed(uses).await;
    let actions: Actions = all.iter().map(|(action, _)| action.clone()).collect();
    assert_eq!(actions.len(), all.len(), "an action twice");
    actions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_has_the_actions_of_proxy_and_doctor() {
    let lab = lab(key_without_settings(), |instance| instance).await;
    proxy(&lab, &["web-1"]).await;
    // Managed instances are searched for a name that no other instance has.
    ended(&lab, &["proxy", "nosuch"]).await;
    ended(&lab, &["doctor", "web-1"]).await;
    assert_eq!(allowed(&["connect"]).await, recorded(&lab));
    assert_eq!(printed(&[]).await, printed(&["connect"]).await, "the default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_key_has_the_actions_of_send_key_and_known_hosts() {
    let lab = lab(key(), |instance| instance).await;
    let sent = ended(&lab, &["send-key", "web-1"]).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    ended(&lab, &["known-hosts", "web-1"]).await;
    ended(&lab, &["send-key", "nosuch"]).await;
    // Why a command does not run is asked only where it does not.
    lab.cloud.update_instance(INSTANCE, |instance| instance.agent_online = false);
    let failed = ended(&lab, &["send-key", "web-1"]).await;
    assert_ne!(failed.code, Some(0));
    assert_eq!(allowed(&["send-key"]).await, recorded(&lab));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_has_the_actions_of_list() {
    let lab = lab(key(), |instance| instance).await;
    let listed = ended(&lab, &["list"]).await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert_eq!(allowed(&["list"]).await, recorded(&lab));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_has_the_actions_of_proxy_that_starts_an_instance() {
    let boot = Duration::from_millis(200);
    let stopped = |instance: Instance| instance.status(InstanceStatus::Stopped).boot(boot, boot);
    let lab = lab(key_without_settings(), stopped).await;
    proxy_that_starts(&lab).await;
    ended(&lab, &["proxy", "nosuch", "--start"]).await;
    ended(&lab, &["doctor", "web-1"]).await;
    assert_eq!(allowed(&["start"]).await, recorded(&lab));
}

async fn proxy_that_starts(lab: &Lab) {
    let mut bridge = Bridge::start(&mut lab.bridge(["proxy", "web-1", "--start"]));
    bridge.send(BANNER).await;
    let mut far = lab.accept().await;
    far.write_all(b"SSH-2.0-there\r\n").await.unwrap();
    bridge.expect(b"SSH-2.0-there\r\n").await;
    drop(bridge.stdin.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_uses_are_one_policy_and_commands_have_their_resources() {
    let uses = ["connect", "send-key", "list", "start"];
    let mut all = Actions::new();
    for one in uses {
        all.extend(allowed(&[one]).await);
    }
    assert_eq!(allowed(&uses).await, all);
    let commands = serde_json::json!(["acs:ecs:*:*:command/*", "acs:ecs:*:*:instance/*"]);
    for (action, resource) in printed(&uses).await {
        let is_command = ["ecs:RunCommand", "ecs:InvokeCommand"].contains(&&*action);
        assert_eq!(resource, if is_command { commands.clone() } else { "*".into() }, "{action}");
    }
}
