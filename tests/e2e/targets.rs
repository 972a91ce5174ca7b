//! Instances by their names, addresses and tags, in this region and in others, cold and remembered.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use local_cloud::{
    AccessKey, Agent, Builder, CallRecord, Instance, LocalCloud, Pace, SessionRecord,
};
use tokio::io::AsyncWriteExt;

use crate::lab::{BANNER, Bridge, Ended, Lab};
use crate::world::INSTANCE;

const HELLO: &[u8] = b"SSH-2.0-there\r\n";
pub(crate) const LOOK: &str = "DescribeInstances";
pub(crate) const START: &str = "StartTerminalSession";

/// An instance that is quick.
pub(crate) fn instance(id: &str, name: &str) -> Instance {
    Instance::new(id).name(name).agent(Agent::d().quick()).pace(Pace::off())
}

/// A lab in which [`INSTANCE`] is called web-1, beside others.
pub(crate) async fn lab(change: impl FnOnce(Builder) -> Builder) -> Lab {
    let builder = LocalCloud::builder().region("cn-hangzhou").region("cn-beijing");
    let builder = builder
        .instance(instance("i-bp1other0001", "web-10").private_address(Ipv4Addr::new(10, 0, 0, 8)))
        .instance(instance("i-bp1other0002", "Web-2").tag("env", "test"));
    let named = instance(INSTANCE, "web-1")
        .private_address(Ipv4Addr::new(10, 0, 0, 7))
        .private_address(Ipv4Addr::new(30, 0, 0, 7))
        .public_address(Ipv4Addr::new(39, 1, 1, 1))
        // Found in two ways, it is one.
        .public_address(Ipv4Addr::new(47, 1, 2, 3))
        .elastic_address(Ipv4Addr::new(47, 1, 2, 3))
        .tag("env", "prod")
        .tag("owner", "");
    Lab::with(change(builder), named).await
}

/// Makes the ports of an instance lead to the test as those of the lab's own do.
pub(crate) fn like(lab: &Lab, mut instance: Instance) -> Instance {
    let mut targets = None;
    assert!(lab.cloud.update_instance(INSTANCE, |own| targets = Some(own.targets.clone())));
    instance.targets = targets.unwrap();
    instance
}

/// Connects to port 22 by way of `ecs-bridge proxy`, from end to end.
pub(crate) async fn proxy(lab: &Lab, args: &[&str]) -> (SessionRecord, Ended) {
    let before = lab.cloud.sessions().len();
    let mut bridge = Bridge::start(lab.bridge(["proxy"]).args(args));
    bridge.send(BANNER).await;
    let mut far = tokio::select! {
        far = lab.accept() => far,
        ended = bridge.child.wait() => panic!("{args:?}: {ended:?}: {}", bridge.log()),
    };
    far.write_all(HELLO).await.unwrap();
    far.shutdown().await.unwrap();
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.said(HELLO);
    lab.all_ended().await;
    assert!(lab.cloud.violations().is_empty(), "{:?}", lab.cloud.violations());
    (lab.cloud.sessions().swap_remove(before), ended)
}

pub(crate) fn calls(lab: &Lab, action: &str) -> Vec<CallRecord> {
    lab.cloud.calls().into_iter().filter(|call| call.action == action).collect()
}

/// The entries of a kind in the cache.
pub(crate) fn remembered(lab: &Lab, kind: &str) -> Vec<PathBuf> {
    let folder = lab.dir.path().join(".cache/ecs-bridge");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_of_kind = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
    paths.filter(is_of_kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_name_an_instance_leads_to_it() {
    let lab = lab(|builder| builder).await;
    // The API is asked no more often than it has to be.
    for (target, asked) in [
        (INSTANCE, 0),
        ("i-bp1example0001.ecs", 0),
        ("i-bp1example0001.cn-hangzhou.ecs", 0),
        ("web-1", 1),
        ("web-1.ecs", 1),
        ("web-1.cn-hangzhou", 1),
        ("web-1.cn-hangzhou.ecs", 1),
        ("10.0.0.7", 3),
        ("30.0.0.7.cn-hangzhou", 3),
        ("39.1.1.1", 3),
        ("47.1.2.3.cn-hangzhou.ecs", 3),
        ("tag:env=prod", 1),
        ("tag:owner", 1),
        ("tag:owner=.cn-hangzhou.ecs", 1),
    ] {
        let before = lab.cloud.calls().len();
        let (session, ended) = proxy(&lab, &["--no-cache", target]).await;
        assert_eq!((session.instance.as_str(), ended.stderr.as_str()), (INSTANCE, ""), "{target}");
        let made = &lab.cloud.calls()[before..];
        let looked = made.iter().filter(|call| call.action == LOOK).count();
        assert_eq!(looked, asked, "{target}");
        assert_eq!(made.len(), asked + 2, "{target}: {made:?}");
    }
    assert!(remembered(&lab, "").is_empty(), "--no-cache");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_words_and_nothing_else() {
    let lab = lab(|builder| builder).await;
    let names = [
        "数据库 一",
        "a;b $(touch x) `id` 'c' \"d\" & | > < \\ %h ~ # !",
        "web-*",
        "tab-le [1] {2} ?",
        "web.example",
        "i-web",
        "WEB-9",
    ];
    for (number, name) in names.iter().enumerate() {
        let instance = instance(&format!("i-bp1odd{number:04}"), name);
        lab.cloud.add_instance(like(&lab, instance));
    }
    for (number, name) in names.iter().enumerate() {
        for words in [(*name).to_owned(), format!("{name}.cn-hangzhou.ecs")] {
            let (session, _) = proxy(&lab, &["--no-cache", &words]).await;
            assert_eq!(session.instance, format!("i-bp1odd{number:04}"), "{words}");
        }
    }
    lab.cloud.add_instance(like(&lab, instance("i-bp1other0002", "Web-2")));
    // ssh makes small letters of it. The one that is written so goes first.
    for (words, id) in [("web-9", "i-bp1odd0006"), ("web-2", "i-bp1other0002")] {
        assert_eq!(proxy(&lab, &["--no-cache", words]).await.0.instance, id);
    }
    lab.cloud.add_instance(like(&lab, instance("i-bp1small", "web-2")));
    assert_eq!(proxy(&lab, &["--no-cache", "web-2"]).await.0.instance, "i-bp1small");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managed_instances_are_found_where_there_are_no_others() {
    let lab = lab(|builder| builder).await;
    let managed = instance("mi-hz01example", "far-away").tag("site", "lab");
    lab.cloud.add_instance(like(&lab, managed));
    for (target, looked, asked) in [
        ("mi-hz01example", 0, 0),
        ("far-away", 1, 1),
        ("tag:site=lab", 1, 1),
        // The others go first.
        ("web-1", 1, 0),
    ] {
        let before = lab.cloud.calls().len();
        let (session, _) = proxy(&lab, &["--no-cache", target]).await;
        let wanted = if target == "web-1" { INSTANCE } else { "mi-hz01example" };
        assert_eq!(session.instance, wanted);
        let made = &lab.cloud.calls()[before..];
        let count = |action| made.iter().filter(|call| call.action == action).count();
        assert_eq!((count(LOOK), count("DescribeManagedInstances")), (looked, asked), "{target}");
    }
    // Who may not ask for these finds the others all the same.
    lab.cloud.update_access_key("testid", |key| {
        key.denied.insert("DescribeManagedInstances".to_owned());
    });
    let (session, ended) = proxy(&lab, &["--no-cache", "WEB-1"]).await;
    assert_eq!((session.instance.as_str(), ended.stderr.as_str()), (INSTANCE, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_opens_in_the_region_that_the_instance_is_in() {
    let lab = lab(|builder| builder).await;
    for (id, name, region) in [
        ("i-2zeexample0001", "db", "cn-beijing"),
        ("i-2zeexample0002", "web-1", "cn-beijing"),
        ("i-uf6example0001", "cache", "cn-shanghai"),
    ] {
        lab.cloud.add_instance(like(&lab, instance(id, name).region(region)));
    }
    let others = ["--no-cache", "--regions", "cn-shanghai,cn-beijing"];
    for (args, id, region, looked) in [
        (vec!["--no-cache", "db.cn-beijing.ecs"], "i-2zeexample0001", "cn-beijing", 1),
        (vec!["--no-cache", "i-2zeexample0001.cn-beijing"], "i-2zeexample0001", "cn-beijing", 0),
        (vec!["--no-cache", "web-1.cn-beijing"], "i-2zeexample0002", "cn-beijing", 1),
        ([&others[..], &["db"]].concat(), "i-2zeexample0001", "cn-beijing", 3),
        ([&others[..], &["cache"]].concat(), "i-uf6example0001", "cn-shanghai", 3),
        // The profile's region goes first, and alone.
        ([&others[..], &["web-1"]].concat(), INSTANCE, "cn-hangzhou", 1),
        // What is said of the target goes before what is said of all.
        ([&others[..], &["db.cn-beijing"]].concat(), "i-2zeexample0001", "cn-beijing", 1),
        // One that is named twice is one.
        (
            vec!["--no-cache", "--regions", "cn-beijing,cn-hangzhou,cn-beijing", "db"],
            "i-2zeexample0001",
            "cn-beijing",
            2,
        ),
        // An id is looked for there only if it is not here.
        ([&others[..], &["i-uf6example0001"]].concat(), "i-uf6example0001", "cn-shanghai", 6),
    ] {
        let before = lab.cloud.calls().len();
        let (session, _) = proxy(&lab, &args).await;
        assert_eq!((session.instance.as_str(), session.region.as_str()), (id, region), "{args:?}");
        let made = &lab.cloud.calls()[before..];
        assert_eq!(made.iter().filter(|call| call.action == LOOK).count(), looked, "{args:?}");
        let ended = made.iter().find(|call| call.action == "EndTerminalSession").unwrap();
        assert_eq!(ended.params["RegionId"], region, "{args:?}");
    }
    let mut command = lab.bridge(["known-hosts", "nosuch"]);
    let ended = Bridge::start(command.env("ECS_BRIDGE_REGIONS", "cn-shanghai")).end().await;
    assert!(ended.stderr.contains("(looked for in cn-hangzhou, cn-shanghai)"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_is_remembered_for_an_hour() {
    let lab = lab(|builder| builder).await;
    let looked = || calls(&lab, LOOK).len();
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(), 1);
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(), 1, "it is remembered");
    let [entry] = &remembered(&lab, "target-")[..] else { panic!("one entry") };
    assert_eq!(std::fs::metadata(entry).unwrap().permissions().mode() & 0o777, 0o600);

    proxy(&lab, &["--no-cache", "web-1"]).await;
    assert_eq!(looked(), 2, "it is not to be used");
    // Other words, regions, and keys have entries of their own.
    proxy(&lab, &["web-1.cn-hangzhou"]).await;
    assert_eq!(looked(), 3);
    proxy(&lab, &["--regions", "cn-beijing", "web-1"]).await;
    assert_eq!(looked(), 4);
    lab.cloud.add_access_key(AccessKey::new("otherid", "testsecret"));
    let mut command = lab.bridge(["known-hosts", "web-1"]);
    command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", "otherid");
    let _ = Bridge::start(&mut command).end().await;
    assert_eq!(looked(), 5);
    let _ = Bridge::start(&mut lab.bridge(["--region", "cn-beijing", "known-hosts", "web-1"]))
        .end()
        .await;
    assert!(looked() > 5);

    // An hour later it is asked for again.
    let before = looked();
    for entry in remembered(&lab, "target-") {
        let text = std::fs::read_to_string(&entry).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["stored"] = (value["stored"].as_f64().unwrap() - 3_601.0).into();
        std::fs::write(&entry, value.to_string()).unwrap();
    }
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(), before + 1);
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(), before + 1);
    // What cannot be read is not there.
    for entry in remembered(&lab, "target-") {
        std::fs::write(&entry, "{\"stored\": 1, \"value\": {\"id\": 7}}").unwrap();
    }
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(), before + 2);
}
