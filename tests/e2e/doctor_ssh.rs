//! `doctor` on this machine's ssh: there or not, its configuration, its shell, its keys.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::doctor::{answered, document, one, shown, text, well};
use crate::lab::{Bridge, Lab};
use crate::world::{INSTANCE, installed, make_key, program, succeed};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");

/// The document, and the exit code, where `ssh -G` prints this.
async fn checked(lab: &Lab, options: &str, env: &[(&str, &str)], args: &[&str]) -> (Value, i32) {
    let lines: Vec<_> = options.lines().map(|line| format!("echo \"{line}\"\n")).collect();
    fs::write(lab.dir.path().join("ssh-G"), lines.concat()).unwrap();
    run(lab, env, args).await
}

async fn run(lab: &Lab, env: &[(&str, &str)], args: &[&str]) -> (Value, i32) {
    let mut command = lab.bridge(["doctor", "--json"].iter().chain(args));
    command.envs(env.iter().copied());
    let ended = answered(lab, "SSH-2.0-test\r\n", Bridge::start(&mut command)).await;
    assert_eq!(ended.stderr, "");
    (document(&ended), ended.code.unwrap())
}

/// A check is so, and says this, and so does the exit code.
fn is(run: &(Value, i32), id: &str, status: &str, says: &str) {
    let check = one(&run.0, id);
    assert_eq!(text(check, "status"), status, "{check}");
    let all = ["found", "why", "fix"].map(|part| text(check, part)).join("\n");
    assert!(all.contains(says), "{id}: no {says:?}: {check}");
    let code = if status == "failed" { 3 } else { 0 };
    assert_eq!(run.1, code, "{check}");
    if status == "failed" {
        assert!(!text(check, "why").is_empty() && !text(check, "fix").is_empty(), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_of_ssh_is_looked_at() {
    let lab = well().await;
    let dir = lab.dir.path().display().to_string();
    make_key(lab.dir.path(), "id").await;
    program(&lab.dir.path().join("away/ecs-bridge"), "");
    fs::set_permissions(
        lab.dir.path().join("away/ecs-bridge"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let proxy = format!("proxycommand {BRIDGE} proxy '%h' %p\n");
    let key = format!("identityfile {dir}/id\n");
    let good = format!("{proxy}{key}");
    let target = &["web-1"][..];

    let run = checked(&lab, &good, &[], target).await;
    is(&run, "ssh", "passed", "OpenSSH_9.9p1");
    is(&run, "ssh_config", "passed", &format!("uses {BRIDGE} as its ProxyCommand"));
    is(&run, "proxy_shell", "passed", "/bin/sh");
    is(&run, "known_hosts_command", "skipped", "not set");
    is(&run, "ssh_key", "passed", &format!("{dir}/id"));

    // ssh would look for a host of that name.
    let run = checked(&lab, &key, &[], target).await;
    is(&run, "ssh_config", "failed", "ssh web-1.ecs does not use ecs-bridge");
    is(&run, "ssh_config", "failed", "ecs-bridge ssh-config --write");
    assert_eq!(text(one(&run.0, "ssh_key"), "because"), "ssh_config");
    let run = checked(&lab, &format!("proxycommand /usr/bin/nc %h %p\n{key}"), &[], target).await;
    is(&run, "ssh_config", "failed", "another program: /usr/bin/nc");
    // Without a TARGET nobody knows whether it has to.
    let run = checked(&lab, &key, &[], &[]).await;
    is(&run, "ssh_config", "unknown", "does not use ecs-bridge");
    for path in ["/nonexistent/ecs-bridge", &format!("{dir}/away/ecs-bridge"), "ecs-bridge-nosuch"]
    {
        let run = checked(&lab, &format!("proxycommand {path} proxy %h %p\n"), &[], target).await;
        is(&run, "ssh_config", "failed", "which is not there");
    }
    for (command, status, says) in [
        (format!("{BRIDGE} known-hosts %H"), "passed", BRIDGE),
        ("/nonexistent/ecs-bridge known-hosts %H".to_owned(), "failed", "cannot be run"),
        ("ecs-bridge known-hosts %H".to_owned(), "failed", "absolute path"),
    ] {
        let options = format!("{good}knownhostscommand {command}\n");
        is(&checked(&lab, &options, &[], target).await, "known_hosts_command", status, says);
    }
    let run = checked(&lab, &good, &[("SHELL", "/nonexistent/sh")], target).await;
    is(&run, "proxy_shell", "failed", "SHELL=/nonexistent/sh cannot run");

    // Nothing of it matters to another port.
    let run = self::run(&lab, &[], &["web-1", "6379"]).await;
    for id in ["ssh", "ssh_config", "proxy_shell", "known_hosts_command", "ssh_key"] {
        is(&run, id, "skipped", "not looked at");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_looked_for_in_files_and_in_the_agent() {
    let lab = well().await;
    let dir = lab.dir.path().display().to_string();
    for name in ["id", "other"] {
        make_key(lab.dir.path(), name).await;
    }
    let proxy = format!("proxycommand {BRIDGE} proxy '%h' %p\n");
    let none = format!("{proxy}identityfile {dir}/none\n");
    let sending = |key: &str, offered: &str| {
        format!(
            "proxycommand {BRIDGE} proxy --send-key {dir}/{key}.pub --user '%r' '%h' %p\n\
             identityfile {dir}/{offered}\n"
        )
    };
    let target = &[INSTANCE][..];
    is(&checked(&lab, &none, &[], target).await, "ssh_key", "unknown", "no key to offer");
    let run = checked(&lab, &sending("id", "id"), &[], target).await;
    is(&run, "ssh_key", "passed", "and ssh offers it");
    let run = checked(&lab, &sending("id", "other"), &[], target).await;
    is(&run, "ssh_key", "failed", "which ssh does not offer");
    let run = checked(&lab, &sending("nosuch", "other"), &[], target).await;
    let failed = one(&run.0, "ssh_key");
    assert_eq!((text(failed, "status"), run.1), ("failed", 2), "{failed}");

    let (Some(agent), Some(_)) = (installed("ssh-agent"), installed("ssh-add")) else { return };
    let socket = lab.dir.path().join("agent");
    let mut agent = Command::new(agent);
    agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).kill_on_drop(true);
    let mut agent = agent.spawn().unwrap();
    // It says where it listens once it does.
    let mut said = [0];
    let stdout = agent.stdout.as_mut().unwrap();
    tokio::io::AsyncReadExt::read_exact(stdout, &mut said).await.unwrap();
    let socket = socket.to_str().unwrap();
    let env = &[("SSH_AUTH_SOCK", socket)][..];
    is(&checked(&lab, &none, env, target).await, "ssh_key", "unknown", "no agent");
    let mut add = Command::new("ssh-add");
    succeed(add.env("SSH_AUTH_SOCK", socket).arg(lab.dir.path().join("id"))).await;
    is(&checked(&lab, &none, env, target).await, "ssh_key", "passed", "1 key of the agent");
    let only = format!("{none}identitiesonly yes\n");
    is(&checked(&lab, &only, env, target).await, "ssh_key", "unknown", "no key to offer");
    let run = checked(&lab, &sending("id", "none"), env, target).await;
    is(&run, "ssh_key", "passed", "the agent has it");

    // The key of the variable is the one that a login registers where none is named.
    let sending = format!("proxycommand {BRIDGE} proxy --send-key --user '%r' '%h' %p\n");
    let file = format!("{dir}/id.pub");
    let text = fs::read_to_string(&file).unwrap();
    for (key, shown) in [(&file, file.as_str()), (&text, "the key SHA256:")] {
        let env = [("SSH_AUTH_SOCK", socket), ("ECS_BRIDGE_PUBLIC_KEY", key)];
        let run = checked(&lab, &sending, &env, target).await;
        is(&run, "ssh_key", "passed", &format!("each login registers {shown}"));
        is(&run, "ssh_key", "passed", "the agent has it");
        let run = checked(&lab, &sending, &env[1..], target).await;
        is(&run, "ssh_key", "failed", "which ssh does not offer");
    }
    agent.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ssh_that_is_old_or_not_there_is_told() {
    let lab = well().await;
    let target = &[INSTANCE][..];
    let run = self::run(&lab, &[("SSH_VERSION", "OpenSSH_7.4p1")], target).await;
    is(&run, "ssh", "passed", "OpenSSH 8.5 or newer");
    let run = self::run(&lab, &[("SSH_VERSION", "Dropbear v2022")], target).await;
    is(&run, "ssh", "unknown", "not OpenSSH: Dropbear");
    is(&run, "ssh_config", "skipped", "not known");
    fs::write(
        lab.dir.path().join("ssh-G"),
        "echo \"$HOME/.ssh/config: line 5: Bad configuration option: knownhostscommand\" >&2\nexit 255\n",
    )
    .unwrap();
    let run = self::run(&lab, &[("SSH_VERSION", "OpenSSH_8.4p1")], target).await;
    is(&run, "ssh_config", "failed", "line 5: Bad configuration option");
    is(&run, "ssh_config", "failed", "as OpenSSH_8.4p1 knows it");
    let empty = lab.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let run = self::run(&lab, &[("PATH", empty.to_str().unwrap())], target).await;
    is(&run, "ssh", "unknown", "there is no ssh in PATH");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_set_up_is_not_called_well() {
    let lab = well().await;
    let mut command = lab.bridge(["doctor"]);
    for name in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "REGION_ID"] {
        command.env_remove(format!("ALIBABA_CLOUD_{name}"));
    }
    let ended = Bridge::start(&mut command).end().await;
    let lines = shown(&ended);
    assert!(lines.starts_with("– configuration       there is none yet"), "{lines}");
    let ended = Bridge::start(&mut lab.bridge(["doctor"])).end().await;
    assert!(shown(&ended).ends_with("ecs-bridge doctor INSTANCE\n"), "{}", shown(&ended));
    assert!(!shown(&ended).contains("well"), "{}", shown(&ended));
}
