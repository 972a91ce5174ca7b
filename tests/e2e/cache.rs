//! `ecs-bridge cache`.

use std::fs;
use std::os::unix::fs::symlink;

use local_cloud::{Agent, Instance};

use crate::configure::bare;
use crate::lab::{Bridge, Ended, Lab};
use crate::world::INSTANCE;

/// Runs the binary without credentials, a region or a cloud.
async fn run(lab: &Lab, args: &[&str]) -> Ended {
    let mut command = bare(lab, args);
    Bridge::start(command.env_remove("ALIBABA_CLOUD_ENDPOINT")).end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_runs_have_found_out_is_deleted() {
    let lab = Lab::new(Instance::new(INSTANCE).name("web-1").agent(Agent::d().quick())).await;
    let folder = lab.dir.path().join(".cache/ecs-bridge");
    let shown = folder.display();
    run(&lab, &["cache", "path"]).await.well(format!("{shown}\n").as_bytes());
    let nothing = run(&lab, &["cache", "clear"]).await;
    assert_eq!(nothing.code, Some(0), "{}", nothing.stderr);
    assert_eq!(nothing.stderr, format!("the cache {shown} is empty already\n"));
    assert!(!folder.exists(), "nothing is made in order to be empty");

    assert_eq!(Bridge::start(&mut lab.bridge(["list"])).end().await.code, Some(0));
    let targets = run(&lab, &["complete-targets", "web"]).await;
    targets.well(b"web-1\n");
    let count = fs::read_dir(&folder).unwrap().count();
    assert!(count > 0);
    // A file that is not an entry, as another program would leave it.
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let cleared = run(&lab, &["cache", "clear"]).await;
    assert_eq!(cleared.code, Some(0), "{}", cleared.stderr);
    cleared.said(b"");
    let number = if count == 1 { "1 entry is".to_owned() } else { format!("{count} entries are") };
    assert_eq!(cleared.stderr, format!("{number} deleted from the cache {shown}\n"));
    run(&lab, &["complete-targets", "web"]).await.well(b"");
    let left: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
    assert_eq!(run(&lab, &["--quiet", "cache", "clear"]).await.stderr, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_be_read_is_told() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    fs::create_dir_all(lab.dir.path().join(".cache")).unwrap();
    // Permissions would not stop root; a link to itself does.
    symlink("ecs-bridge", lab.dir.path().join(".cache/ecs-bridge")).unwrap();
    let ended = run(&lab, &["cache", "clear"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let report = ended.report().unwrap();
    assert!(report.what.contains("cannot be deleted"), "{}", ended.stderr);
    assert!(report.fix.contains("check who owns the folder"), "{}", ended.stderr);
}
