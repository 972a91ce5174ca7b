//! `doctor --send-key`: what is made of an instance's sshd that asks a program for keys, or does not.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use local_cloud::{AccessKey, Agent, CommandKind, Ending, Instance, LocalCloud, Pace};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::lab::{Bridge, Lab};
use crate::world::{INSTANCE, installed, program, succeed};

/// What the vendor's plug-in adds.
const OWN: &str = "/usr/bin/timeout 5s /usr/local/share/aliyun-assist/plugin/\
                   config_ecs_instance_connect/ecs_config_instance_connect %u %f";
const NONE: &str = "echo port 22\necho authorizedkeyscommand none\n";

fn instance() -> Instance {
    Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off())
}

/// The check of the key plug-in, where the script is said to have ended so.
async fn checked(lab: &Lab, ending: Ending) -> Value {
    lab.cloud.update_instance(INSTANCE, |instance| {
        let fault = local_cloud::CommandFault::on(CommandKind::Script).ends(ending);
        instance.commands.faults = vec![fault];
    });
    check(lab, 6).await
}

/// The check of the key plug-in, and the exit code if it fails. Nothing answers on the port.
async fn check(lab: &Lab, code: i32) -> Value {
    let mut command = lab.bridge(["doctor", INSTANCE, "6379", "--send-key", "--json"]);
    let ended = Bridge::start(&mut command).end().await;
    assert_eq!(ended.stderr, "");
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == "key_plugin").unwrap().clone();
    let failed = check["status"] == "failed";
    assert_eq!(ended.code, Some(if failed { code } else { 0 }), "{document}");
    check
}

/// A folder in place of `/etc/ssh`, and one of programs, for the script as `dash` runs it.
struct Host {
    lab: Lab,
    dir: TempDir,
    dash: PathBuf,
    script: String,
}

impl Host {
    async fn new() -> Option<Self> {
        let dash = installed("dash")?;
        let lab = Lab::new(instance()).await;
        checked(&lab, Ending::success()).await;
        let asked = lab.cloud.invocations();
        let text = asked.iter().find_map(|asked| asked.content.clone()).unwrap();
        let dir = TempDir::new().unwrap();
        for folder in ["etc/sshd_config.d", "bin"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let system = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n";
        assert!(text.contains("/etc/ssh/") && text.contains(system));
        let etc = dir.path().join("etc");
        let script = text.replace("/etc/ssh/", &format!("{}/", etc.display())).replace(system, "");
        for program in ["sed", "cat", "grep"] {
            symlink(installed(program)?, dir.path().join("bin").join(program)).unwrap();
        }
        Some(Self { lab, dir, dash, script })
    }

    /// What `sshd -T` prints; without one there is no sshd to ask.
    fn sshd(&self, told: Option<&str>) {
        let path = self.dir.path().join("bin/sshd");
        match told {
            Some(told) => {
                let text = format!("#!{}\n[ \"$1\" = -T ] || exit 1\n{told}", self.dash.display());
                program(&path, &text);
            }
            None => std::fs::remove_file(path).unwrap_or_default(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("etc").join(name), text).unwrap();
    }

    /// What `doctor` makes of what the script prints here.
    async fn check(&self) -> Value {
        let script = self.dir.path().join("script");
        std::fs::write(&script, &self.script).unwrap();
        let mut command = Command::new(&self.dash);
        command.arg(&script).env_clear().env("PATH", self.dir.path().join("bin"));
        let output = succeed(&mut command).await;
        checked(&self.lab, Ending::success().output(output)).await
    }
}

#[track_caller]
fn says(check: &Value, status: &str, found: &str) {
    assert_eq!(check["status"], status, "{check}");
    assert!(check["found"].as_str().unwrap().contains(found), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_sshd_count_and_then_the_lines_of_its_files() {
    let Some(host) = Host::new().await else { return };
    host.write("sshd_config", "#AuthorizedKeysCommand none\nPort 22\n");
    host.sshd(Some(NONE));
    says(&host.check().await, "skipped", "sshd asks no program for keys");
    // As an older sshd has it.
    host.sshd(Some("echo port 22\n"));
    says(&host.check().await, "skipped", "sshd asks no program for keys");
    let own = format!("echo 'authorizedkeyscommand {OWN}'\necho authorizedkeyscommanduser x\n");
    host.sshd(Some(&own));
    says(&host.check().await, "passed", "sshd asks the key plug-in: /usr/bin/timeout 5s /usr/");
    // The plug-in appends its line, and what is included comes first.
    host.write("sshd_config", &format!("AuthorizedKeysCommand {OWN}\n"));
    host.write("sshd_config.d/sso.conf", "authorizedkeyscommand /opt/sso/keys %u\n");
    host.sshd(None);
    let other = "sshd asks another program for keys: /opt/sso/keys %u";
    says(&host.check().await, "failed", other);
    host.sshd(Some("echo authorizedkeyscommand /opt/sso/keys %u\n"));
    says(&host.check().await, "failed", other);
    // Behind a Match that does not hold for root.
    host.write("sshd_config.d/sso.conf", "");
    host.sshd(Some(NONE));
    let check = host.check().await;
    says(&check, "failed", "does not ask the key plug-in for root's keys");
    assert!(check["fix"].as_str().unwrap().contains("above the first Match"), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_for_which_the_plug_in_does_not_add_its_own_is_named() {
    let Some(host) = Host::new().await else { return };
    host.sshd(Some(NONE));
    for line in [
        "AuthorizedKeysCommand none",
        "AuthorizedKeysCommandUser nobody",
        "Match User git\n\tAuthorizedKeysCommand /opt/git/keys",
    ] {
        host.write("sshd_config", &format!("Port 22\n{line}\n"));
        let check = host.check().await;
        let shown = line.lines().last().unwrap().trim();
        says(&check, "failed", &format!("sshd_config keeps the key plug-in out: {shown}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_run_commands_is_told_that_it_was_not_looked_at() {
    let key = AccessKey::new("testid", "testsecret").deny("RunCommand");
    let lab = Lab::with(LocalCloud::builder().access_key(key), instance()).await;
    let check = check(&lab, 5).await;
    says(&check, "skipped", "not looked at: RunCommand was refused: a permission is missing");
    assert!(lab.cloud.invocations().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_leaves_it_unknown() {
    let lab = Lab::new(instance()).await;
    let check = checked(&lab, Ending::failed(1).output("sshd has no configuration\n")).await;
    says(&check, "unknown", "the sshd configuration of i-");
    assert!(check["why"].as_str().unwrap().contains("sshd has no configuration"), "{check}");
}
