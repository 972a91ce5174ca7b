//! Instances that are gone, though they are remembered, and others in their place.

use std::time::Duration;

use local_cloud::CommandKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::forward_driver::{Forward, read};
use crate::lab::{BANNER, Bridge, Ended, Lab, QUIET_PORT};
use crate::targets::{LOOK, START, calls, instance, lab, like, proxy, remembered};
use crate::world::{INSTANCE, make_key};

const NEW: &str = "i-bp1example0002";

/// Another instance takes the place and the name of the first.
fn replace(lab: &Lab) {
    let new = like(lab, instance(NEW, "web-1"));
    assert!(lab.cloud.remove_instance(INSTANCE));
    lab.cloud.add_instance(new);
}

/// It goes, and nothing comes in its place.
fn remove(lab: &Lab) {
    assert!(lab.cloud.remove_instance(INSTANCE));
}

async fn with_key() -> Lab {
    let lab = lab(|builder| builder).await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    lab
}

async fn run(lab: &Lab, args: &[&str]) -> Ended {
    Bridge::start(&mut lab.bridge(args)).end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_goes_on_with_the_one_that_has_the_name_now() {
    let lab = lab(|builder| builder).await;
    assert_eq!(proxy(&lab, &["web-1"]).await.0.instance, INSTANCE);
    replace(&lab);
    let (session, ended) = proxy(&lab, &["web-1"]).await;
    assert_eq!((session.instance.as_str(), ended.stderr.as_str()), (NEW, ""));
    assert_eq!((calls(&lab, LOOK).len(), calls(&lab, START).len()), (2, 3));
    // From then on that one is known.
    assert_eq!(proxy(&lab, &["web-1"]).await.0.instance, NEW);
    assert_eq!((calls(&lab, LOOK).len(), calls(&lab, START).len()), (2, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_proxy_goes_to_the_one_that_has_the_name_now() {
    let lab = with_key().await;
    assert_eq!(run(&lab, &["send-key", "-q", "-i", "web-1"]).await.code, Some(0));
    replace(&lab);
    let mut bridge = Bridge::start(&mut lab.bridge(["proxy", "web-1", "--send-key"]));
    bridge.send(BANNER).await;
    let mut far = lab.accept().await;
    far.write_all(BANNER).await.unwrap();
    // It passes once the key is registered.
    bridge.expect(BANNER).await;
    assert_eq!(lab.cloud.keys().last().unwrap().instance, NEW);
    drop(far);
    let ended = bridge.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_no_successor_is_told_of() {
    let lab = with_key().await;
    proxy(&lab, &["web-1"]).await;
    remove(&lab);
    for args in [
        &["proxy", "web-1"][..],
        &["send-key", "-i", "web-1"],
        &["known-hosts", "web-1"],
        &["forward", "-i", "web-1", "-L", "0:localhost:22"],
    ] {
        let ended = run(&lab, args).await;
        assert_eq!(ended.code, Some(6), "{args:?}: {}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(report.what.starts_with("no instance has the name 'web-1'"), "{report:?}");
    }
    assert!(remembered(&lab, "target-").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_host_keys_go_to_and_come_from_the_new_one() {
    let lab = with_key().await;
    let ended = run(&lab, &["send-key", "-i", "web-1"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("for root on web-1 (i-bp1example0001) until "), "{said}");
    assert!(said.ends_with("/.ssh/id_ed25519 root@web-1\n"), "{said}");
    replace(&lab);
    let ended = run(&lab, &["send-key", "-i", "web-1", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let result: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&result["instance"], &result["region"]), (&NEW.into(), &"cn-hangzhou".into()));
    assert!(lab.cloud.has_key_plugin(NEW));
    assert_eq!(calls(&lab, LOOK).len(), 2);
    // What is remembered may be wrong once more.
    let newest = like_new(&lab, "i-bp1example0003");
    lab.cloud.remove_instance(NEW);
    lab.cloud.add_instance(newest);
    // It has no shell, so it has no host keys; but it was the one to be asked.
    let ended = run(&lab, &["known-hosts", "web-1"]).await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    assert!(ended.stderr.contains("web-1 (i-bp1example0003)"), "{}", ended.stderr);
    let asked = lab.cloud.invocations();
    assert_eq!(asked.last().unwrap().instance, "i-bp1example0003");
    assert_eq!(asked.last().unwrap().kind, CommandKind::Script);
    assert_eq!(calls(&lab, LOOK).len(), 3);
}

fn like_new(lab: &Lab, id: &str) -> local_cloud::Instance {
    let mut targets = None;
    lab.cloud.update_instance(NEW, |own| targets = Some(own.targets.clone()));
    let mut new = instance(id, "web-1");
    new.targets = targets.unwrap();
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_looks_at_the_one_that_has_the_name_now() {
    let lab = lab(|builder| builder).await;
    proxy(&lab, &["web-1"]).await;
    replace(&lab);
    let spec = QUIET_PORT.to_string();
    let ended = run(&lab, &["doctor", "web-1", &spec]).await;
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("web-1 (i-bp1example0002) in cn-hangzhou"), "{said}");
    assert!(!said.contains(INSTANCE), "{said}");
    assert_eq!(
        calls(&lab, LOOK).iter().filter(|call| call.params.contains_key("InstanceName")).count(),
        2
    );
    remove_new(&lab);
    let ended = run(&lab, &["doctor", "web-1", &spec]).await;
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("no instance has the name 'web-1'"), "{said}");
    assert_eq!(ended.code, Some(6));
    assert!(remembered(&lab, "target-").is_empty());
}

fn remove_new(lab: &Lab) {
    assert!(lab.cloud.remove_instance(NEW));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forward_goes_on_with_the_one_that_has_the_name_now() {
    let lab = lab(|builder| builder).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let args = ["forward", "--json", "-i", "web-1", "-L", &spec, "--linger", "0"];
    let mut forward = Forward::run(&mut lab.bridge(args));
    // The probe.
    drop(lab.accept().await);
    let address = forward.address().await;
    let talk = async || {
        let mut client = TcpStream::connect(&address).await.unwrap();
        let mut far = lab.accept().await;
        client.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut far, 4).await, b"ping");
        far.shutdown().await.unwrap();
        let _ = client.shutdown().await;
    };
    talk().await;
    forward.all(1, "closed").await;
    replace(&lab);
    // Several come at the same time, and it is looked for once.
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(&address).await.unwrap());
    }
    forward.all(4, "opened").await;
    assert_eq!(calls(&lab, LOOK).len(), 2);
    drop(clients);
    forward.all(4, "closed").await;
    let over = forward.stop("TERM").await;
    let listening = over.all("listening")[0];
    assert_eq!((&listening["instance"], &listening["name"]), (&INSTANCE.into(), &"web-1".into()));
    assert!(over.all("error").is_empty(), "{over:?}");
    assert!(over.ended.stderr.contains(&format!("web-1 ({NEW}) is used in its place")));
    let sessions = lab.cloud.sessions();
    let of_new = sessions.iter().filter(|session| session.instance == NEW).count();
    assert_eq!((sessions.len(), of_new), (5, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_looks_like_an_id_is_tried_as_one_once() {
    let lab = lab(|builder| builder).await;
    lab.cloud.update_instance(INSTANCE, |instance| instance.name = "i-bp1".to_owned());
    for _ in 0..2 {
        assert_eq!(proxy(&lab, &["i-bp1"]).await.0.instance, INSTANCE);
        assert_eq!(calls(&lab, LOOK).len(), 2, "by the id and by the name");
    }
    let tried: Vec<_> =
        calls(&lab, START).iter().map(|call| call.params["InstanceId.1"].clone()).collect();
    assert_eq!(tried, ["i-bp1", INSTANCE, INSTANCE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_can_be_stopped() {
    for signal in ["INT", "TERM", "HUP"] {
        let lab = lab(|builder| builder).await;
        lab.cloud.faults().api(local_cloud::ApiFault::on(LOOK).silent());
        let mut bridge = Bridge::start(&mut lab.bridge(["proxy", "web-1"]));
        let asked = |state: &local_cloud::State| state.calls().any(|call| call.action == LOOK);
        lab.cloud.wait_for(asked, Duration::from_secs(20)).await.unwrap();
        bridge.signal(signal).await;
        let took = std::time::Instant::now();
        let code = bridge.child.wait().await.unwrap().code();
        let wanted = match signal {
            "INT" => 130,
            "TERM" => 143,
            _ => 129,
        };
        assert_eq!(code, Some(wanted), "{}", bridge.log());
        assert!(took.elapsed() < crate::lab::SOON);
    }
}
