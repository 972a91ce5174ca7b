//! Stdout that cannot be written, for each command that prints.

use std::fs::File;
use std::process::Stdio;

use local_cloud::{Agent, Instance, Pace};

use crate::lab::{Bridge, Lab};
use crate::world::INSTANCE;

const COMMANDS: [&[&str]; 18] = [
    &["--help"],
    &["-h"],
    &["--version"],
    &["help", "proxy"],
    &["proxy", "--help"],
    &["forward", "-h"],
    &["configure", "set", "--help"],
    &["completions", "bash"],
    &["man"],
    &["list"],
    &["list", "--json"],
    &["list", "nosuch", "--json"],
    &["doctor"],
    &["doctor", "--json"],
    &["ssh-config"],
    &["ssh-config", "--write"],
    &["configure", "list"],
    &["configure", "list", "--json"],
];

async fn lab() -> Lab {
    let instance = Instance::new(INSTANCE).name("web-1").agent(Agent::d().quick());
    let lab = Lab::new(instance.pace(Pace::off())).await;
    std::fs::create_dir(lab.dir.path().join(".aliyun")).unwrap();
    let profile = r#"{"current": "a", "profiles": [{"name": "a", "mode": "AK", "access_key_id":
        "testid", "access_key_secret": "testsecret", "region_id": "cn-hangzhou"}]}"#;
    std::fs::write(lab.dir.path().join(".aliyun/config.json"), profile).unwrap();
    lab
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_a_failure_that_is_told() {
    let lab = lab().await;
    for args in COMMANDS {
        let mut command = lab.bridge(args);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout: No space left"), "{args:?}: {stderr}");
        assert!(stderr.contains("\n  fix: "), "{args:?}: {stderr}");
    }
}

/// `ecs-bridge … | head -n 1` is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_gone_is_none() {
    let lab = lab().await;
    for args in COMMANDS.iter().filter(|args| !args.contains(&"nosuch")) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.bridge(*args);
        command.stdout(writer).stdin(Stdio::null()).stderr(Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.contains("stdout"), "{args:?}: {stderr}");
    }
    let mut command = lab.bridge(["--version"]);
    Bridge::start(&mut command)
        .end()
        .await
        .said(format!("ecs-bridge {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}
