//! Scripts that are really executed, on the instances that were told to.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use local_cloud::{Ending, Instance, InvocationRecord, LocalCloud};
use support::*;
use tempfile::TempDir;

/// A folder of programs, each a shell script. `sh` writes them: a program that another test starts at that moment would inherit
/// the file from this process, open for writing, and until it runs nobody could execute the file ("Text file busy").
fn programs(all: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in all {
        let file = folder.path().join(name);
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\""])
            .arg(&file)
            .arg(script);
        assert!(sh.status().unwrap().success());
    }
    folder
}

async fn run(cloud: &LocalCloud, script: &str) -> InvocationRecord {
    ended(cloud, &invoke_id(&run_script(cloud, "i-a", script).await)).await
}

/// The first line that a script writes to a file, waited for.
async fn line(file: &Path) -> String {
    let until = std::time::Instant::now() + SOON;
    loop {
        match fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim_end().to_owned(),
            _ => assert!(std::time::Instant::now() < until, "{} was not written", file.display()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a process has ended; somebody else has to collect it.
async fn gone(pid: &str) {
    let until = std::time::Instant::now() + SOON;
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{pid} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_script_finds_the_tests_programs_first() {
    let programs = programs(&[("sshd", "echo \"sshd of the test: $*\""), ("id", "echo root")]);
    let cloud = cloud_with(Instance::new("i-a").shell(programs.path())).await;
    let record = run(&cloud, "sshd -T | tr a-z A-Z; id; echo oops >&2; exit 4").await;
    let ending = Ending::failed(4).output("SSHD OF THE TEST: -T\nroot\noops\n");
    assert_eq!(record.ending, Some(ending));
    let result = results(&cloud, &record.id, &[]).await;
    assert!(result.is_empty(), "it is not known at once, however fast the script was");
    let result = results(&cloud, &record.id, &[("ContentEncoding", "PlainText")]).await.remove(0);
    assert_eq!(result["InvocationStatus"], "Failed");
    assert_eq!((&result["ExitCode"], &result["ErrorCode"]), (&4.into(), &"ExitCodeNonzero".into()));
    assert!(run(&cloud, "true").await.succeeded());
}

#[tokio::test]
async fn output_is_kept_up_to_a_limit() {
    let cloud = cloud_with(Instance::new("i-a").shell("/nonexistent").results_empty(0)).await;
    let record = run(&cloud, "head -c 100000 /dev/zero | tr '\\0' x").await;
    let result = results(&cloud, &record.id, &[("ContentEncoding", "PlainText")]).await.remove(0);
    assert_eq!(result["Output"].as_str().unwrap().len(), 24_576);
    assert_eq!(result["Dropped"], 100_000 - 24_576);
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed() {
    let limit = Duration::from_secs(1);
    let instance = Instance::new("i-a").shell("/nonexistent").script_timeout(limit);
    let cloud = cloud_with(instance).await;
    let record = run(&cloud, "(sleep 1000) & echo $!; wait").await;
    let ending = record.ending.unwrap();
    assert_eq!((record.status.as_str(), ending.exit_code), ("Timeout", None));
    assert_eq!(ending.error_code, "ExecutionTimeout");
    gone(String::from_utf8(ending.output).unwrap().trim_end()).await;
}

#[tokio::test]
async fn a_cloud_that_goes_takes_its_scripts_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let cloud = cloud_with(Instance::new("i-a").shell(folder.path())).await;
    run_script(&cloud, "i-a", &script).await;
    let pid = line(&file).await;
    drop(cloud);
    gone(&pid).await;
}

#[tokio::test]
async fn the_command_that_installs_is_never_executed() {
    let programs = programs(&[("acs-plugin-manager", "echo executed; exit 1")]);
    let cloud = cloud_with(Instance::new("i-a").shell(programs.path())).await;
    assert!(run(&cloud, &format!("\n{INSTALL}\n")).await.succeeded());
    assert!(cloud.has_key_plugin("i-a"));
    // Nearly the same is a script like any other.
    let other = run(&cloud, &format!("{INSTALL} --force")).await;
    assert_eq!(other.ending, Some(Ending::failed(1).output("executed\n")));
}

#[tokio::test]
async fn only_this_machine_may_run_scripts() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let cloud = LocalCloud::builder().listen(everywhere);
    let error = cloud.instance(Instance::new("i-a").shell("/nonexistent")).start().await;
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);

    let cloud = LocalCloud::builder().listen(everywhere).start().await.unwrap();
    cloud.add_instance(Instance::new("i-a").shell("/nonexistent"));
    let addr = SocketAddr::from(([127, 0, 0, 1], cloud.addr().port()));
    assert_ne!(addr, cloud.addr());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executed");
    let record = run(&cloud, &format!("touch {}", file.display())).await;
    assert_eq!(record.ending.unwrap().exit_code, Some(127));
    assert!(!file.exists());
}
