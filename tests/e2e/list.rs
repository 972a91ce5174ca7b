//! `list`: what it shows people and programs, and which instances it shows.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::LazyLock;

use jsonschema::Validator;
use local_cloud::{AccessKey, Builder, Instance, InstanceStatus, LocalCloud, Os};
use serde_json::Value;
use tokio::process::Command;

use crate::lab::{Bridge, Ended, Lab};
use crate::targets::{LOOK, calls, instance, remembered};
#[cfg(target_os = "linux")]
use crate::terminal::{Streams, Terminal};
use crate::world::run;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../../list.schema.json");
    jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap()
});

fn some(builder: Builder) -> Builder {
    builder
        .region("cn-hangzhou")
        .region("cn-beijing")
        .instance(
            instance("i-bp1b", "数据库")
                .private_address(Ipv4Addr::new(10, 0, 0, 2))
                .public_address(Ipv4Addr::new(39, 1, 1, 1))
                .elastic_address(Ipv4Addr::new(47, 1, 1, 1))
                .host_name("db")
                .tag("env", "prod")
                .tag("team", ""),
        )
        .instance(instance("i-bp1c", "web-2").status(InstanceStatus::Stopped))
        .instance(instance("i-bp1d", "web-3").agent_online(false).os(Os::Windows))
        .instance(instance("i-bp1e", "web-4\u{1b}[31m").agent_version("2.2.3.256"))
        .instance(instance("mi-hz01", "far-away").tag("env", "prod"))
        .instance(instance("i-2ze1", "web-1").region("cn-beijing"))
}

async fn lab(change: impl FnOnce(Builder) -> Builder) -> Lab {
    let own = instance("i-bp1a", "Web-1").private_address(Ipv4Addr::new(10, 0, 0, 1));
    Lab::with(change(LocalCloud::builder()), own.tag("env", "test")).await
}

pub(crate) async fn list(lab: &Lab, args: &[&str]) -> Ended {
    let ended = Bridge::start(lab.bridge(["list"]).args(args)).end().await;
    assert!(lab.cloud.violations().is_empty(), "{:?}", lab.cloud.violations());
    ended
}

/// The instances that are listed, as `--json` has them.
pub(crate) async fn objects(lab: &Lab, args: &[&str]) -> Vec<Value> {
    let ended = list(lab, &[&["--json"], args].concat()).await;
    let all: Value = serde_json::from_slice(&ended.stdout).unwrap();
    // A filter that nothing fits is a failure.
    let is_none = all.as_array().unwrap().is_empty() && !args.is_empty();
    assert_eq!(ended.code, Some(i32::from(is_none)), "{args:?}: {}", ended.stderr);
    if let Err(error) = SCHEMA.validate(&all) {
        panic!("not as the schema has it: {error}: {all}");
    }
    all.as_array().unwrap().clone()
}

async fn ids(lab: &Lab, args: &[&str]) -> Vec<String> {
    let objects = objects(lab, args).await;
    objects.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_a_table() {
    let lab = lab(some).await;
    let ended = list(&lab, &[]).await;
    let shown = String::from_utf8(ended.stdout.clone()).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let table = "\
INSTANCE  NAME       STATUS     OS       ADDRESS   AGENT               SESSION MANAGER
mi-hz01   far-away   Connected  linux    -         online 2.2.4.1065   yes
i-bp1a    Web-1      Running    linux    10.0.0.1  online 2.2.4.1065   yes
i-bp1c    web-2      Stopped    linux    -         offline 2.2.4.1065  no: stopped
i-bp1d    web-3      Running    windows  -         offline 2.1.4.1065  no: agent offline
i-bp1e    web-4[31m  Running    linux    -         online 2.2.3.256    no: agent too old
i-bp1b    数据库     Running    linux    10.0.0.2  online 2.2.4.1065   yes
";
    assert_eq!(shown, table);
    // With several regions, each instance's is told.
    let ended = list(&lab, &["--regions", "cn-beijing"]).await;
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(shown.lines().next().unwrap().ends_with("SESSION MANAGER    REGION"), "{shown}");
    assert!(shown.lines().nth(1).unwrap().ends_with("  cn-beijing"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_read_an_array() {
    let lab = lab(some).await;
    let all = objects(&lab, &[]).await;
    let of = |id: &str| all.iter().find(|object| object["id"] == id).unwrap();
    let mut db = of("i-bp1b").clone();
    assert!(db["agent"]["last_heartbeat"].take().is_string());
    let expected = serde_json::json!({
        "id": "i-bp1b", "name": "数据库", "kind": "ecs", "region": "cn-hangzhou",
        "status": "Running", "host_name": "db", "os": "linux",
        "private_addresses": ["10.0.0.2"], "public_addresses": ["39.1.1.1", "47.1.1.1"],
        "tags": {"env": "prod", "team": ""},
        "agent": {"online": true, "version": "2.2.4.1065", "last_heartbeat": null},
        "session_manager": true, "reason": null,
    });
    assert_eq!(db, expected);
    for (id, kind, status, reaches, reason) in [
        ("i-bp1c", "ecs", "Stopped", false, "stopped"),
        ("i-bp1d", "ecs", "Running", false, "agent offline"),
        ("i-bp1e", "ecs", "Running", false, "agent too old"),
        ("mi-hz01", "managed", "Connected", true, ""),
    ] {
        let object = of(id);
        assert_eq!((&object["kind"], &object["status"]), (&kind.into(), &status.into()));
        assert_eq!(object["session_manager"], reaches, "{object}");
        assert_eq!(object["reason"].as_str().unwrap_or_default(), reason);
    }
    assert_eq!(of("i-bp1e")["name"], "web-4\u{1b}[31m", "programs get it as it is");
    assert_eq!(objects(&lab, &["nosuch"]).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_written_as_targets_are() {
    let lab = lab(some).await;
    for (filters, wanted) in [
        (&["i-bp1c"][..], &["i-bp1c"][..]),
        (&["mi-hz01"], &["mi-hz01"]),
        (&["web-2"], &["i-bp1c"]),
        (&["web-*"], &["i-bp1c", "i-bp1d", "i-bp1e"]),
        (&["*库"], &["i-bp1b"]),
        (&["f*y"], &["mi-hz01"]),
        (&["web"], &[]),
        (&["10.0.0.1"], &["i-bp1a"]),
        (&["47.1.1.1"], &["i-bp1b"]),
        (&["tag:env"], &["i-bp1a", "mi-hz01", "i-bp1b"]),
        (&["tag:env=prod"], &["mi-hz01", "i-bp1b"]),
        (&["tag:team="], &["i-bp1b"]),
        (&["web-1.cn-beijing.ecs"], &["i-2ze1"]),
        (&["i-2ze1.cn-beijing"], &["i-2ze1"]),
        // Any of them, and each instance once.
        (&["web-2", "tag:env=prod", "10.0.0.2"], &["mi-hz01", "i-bp1c", "i-bp1b"]),
        (&["web-1", "--regions", "cn-beijing,cn-hangzhou"], &["i-2ze1"]),
    ] {
        let mut found = ids(&lab, filters).await;
        let mut wanted = wanted.to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{filters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_filter_fits_is_a_failure_and_an_empty_region_is_none() {
    let lab = Lab::new(Instance::new("i-bp1a").region("cn-beijing")).await;
    let ended = list(&lab, &["--region", "cn-beijing", "web-*"]).await;
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(1), &b""[..]));
    let report = ended.report().unwrap();
    assert_eq!(report.what, "no instance in cn-beijing fits web-*");
    assert!(report.fix.contains("--regions"), "{}", report.fix);
    let ended = list(&lab, &["-q", "--json", "--region", "cn-beijing", "x", "y"]).await;
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(1), &b"[]\n"[..]));
    assert_eq!(ended.report().unwrap().what, "no instance in cn-beijing fits x or y");
    let ended = list(&lab, &["--region", "cn-hangzhou"]).await;
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), &b""[..]));
    assert_eq!(ended.stderr, "there are no instances in cn-hangzhou\n");
    list(&lab, &["-q", "--region", "cn-hangzhou"]).await.well(b"");
    list(&lab, &["--json", "-q", "--region", "cn-hangzhou"]).await.well(b"[]\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_told_beside_what_was_found() {
    let lab = lab(some).await;
    let ended = list(&lab, &["--regions", "cn-nowhere"]).await;
    assert_eq!(ended.code, Some(6));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("数据库"));
    let report = ended.report().unwrap();
    assert!(report.what.contains("there is no such region"), "{report:?}");
    for empty in [false, true] {
        lab.cloud.update_settings(|settings| settings.empty_if_denied = empty);
        lab.cloud.add_access_key(
            AccessKey::new("testid", "testsecret").deny(LOOK).deny("DescribeManagedInstances"),
        );
        let ended = list(&lab, &["-q"]).await;
        assert_eq!((ended.code, ended.stdout.as_slice()), (Some(5), &b""[..]), "{}", ended.stderr);
        assert!(ended.report().unwrap().fix.contains("\"ecs:DescribeInstances\""));
    }
    let ended = list(&lab, &["tag:"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_stdout_may_leave() {
    let lab = lab(|builder| some(builder).fleet(2_000)).await;
    let mut list = lab.bridge(["list"]);
    let mut child = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_listed_completes() {
    let lab = lab(some).await;
    let targets = async |prefix: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecs-bridge"));
        // Neither credentials nor a region nor an API.
        command.env_clear().env("HOME", lab.dir.path()).args(["complete-targets", "--", prefix]);
        let output = run(&mut command).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(targets("").await, [""; 0]);
    list(&lab, &["--no-cache"]).await;
    assert!(remembered(&lab, "").is_empty());
    list(&lab, &["--regions", "cn-beijing"]).await;
    let before = calls(&lab, LOOK).len();
    let all = ["Web-1", "far-away", "web-1.cn-beijing", "web-2", "web-3", "数据库"];
    assert_eq!(targets("").await, all);
    assert_eq!(targets("web-").await, &all[2..5]);
    assert_eq!(targets("i-2").await, ["i-2ze1.cn-beijing"]);
    assert_eq!(targets("-x").await, [""; 0]);
    assert_eq!(calls(&lab, LOOK).len(), before);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_the_next_step_is_told() {
    let lab = Lab::new(Instance::new("i-bp1a").name("web-1")).await;
    let mut terminal = Terminal::new();
    let command = lab.bridge(["list"]);
    let mut child = terminal.start(&command, Streams::All);
    terminal.shows("next: ssh root@i-bp1a ").await;
    terminal.shows("ecs-bridge doctor i-bp1a").await;
    assert!(child.wait().await.unwrap().success());
}
