//! Where the instance is given: by position, by `-i`, in quotes, with what belongs to ssh.

use local_cloud::{Agent, Instance, Pace};

use crate::doctor::answered;
use crate::lab::{Bridge, Ended, Lab};
use crate::world::INSTANCE;

async fn lab() -> Lab {
    let instance = Instance::new(INSTANCE).name("web-1").agent(Agent::d().quick());
    Lab::new(instance.pace(Pace::off())).await
}

async fn run(lab: &Lab, env: Option<&str>, args: &[&str]) -> Ended {
    let mut command = lab.bridge(args);
    if let Some(instance) = env {
        command.env("ECS_BRIDGE_INSTANCE", instance);
    }
    answered(lab, "SSH-2.0-test\r\n", Bridge::start(&mut command)).await
}

/// The ports of the sessions.
fn ports(lab: &Lab) -> Vec<u16> {
    lab.cloud.sessions().iter().filter_map(|session| session.port).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_takes_it_by_position_and_by_option() {
    let lab = lab().await;
    for (args, port) in [
        (&["proxy", "web-1", "22"][..], 22),
        (&["proxy", "-i", "web-1"], 22),
        (&["proxy", "--instance", "web-1", "6379"], 6379),
        (&["proxy", "6379", "-i", "'web-1'"], 6379),
        (&["proxy", "\"i-bp1example0001\"", "22"], 22),
        (&["doctor", "-i", "web-1"], 22),
        (&["doctor", "-i", "web-1", "6379", "--json"], 6379),
    ] {
        let ended = match args[0] {
            "proxy" => {
                let bridge = Bridge::start(&mut lab.bridge(args));
                // The target closes, and that ends it.
                drop(lab.accept().await);
                bridge.end().await
            }
            _ => run(&lab, None, args).await,
        };
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        assert_eq!(ports(&lab).last(), Some(&port), "{args:?}");
    }
    let list = |args: &'static [&str]| async { run(&lab, None, args).await.stdout };
    let all = list(&["list", "web-1"]).await;
    assert!(String::from_utf8_lossy(&all).contains(INSTANCE));
    assert_eq!(list(&["list", "-i", "web-1"]).await, all);

    // Nothing runs in the instance: the fault is the instance's, not the command line's.
    for args in [
        &["known-hosts", "web-1"][..],
        &["known-hosts", "-i", "web-1"],
        &["send-key", "web-1", "--public-key", KEY],
        &["send-key", "-i", "web-1", "--public-key", KEY],
    ] {
        let before = lab.cloud.invocations().len();
        let ended = run(&lab, None, args).await;
        assert_ne!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(lab.cloud.invocations().len() > before, "{args:?}: {}", ended.stderr);
    }
    // What the command line has comes before the variable.
    let before = lab.cloud.invocations().len();
    let ended = run(&lab, Some("nosuch"), &["send-key", "web-1", "--public-key", KEY]).await;
    assert!(lab.cloud.invocations().len() > before, "{}", ended.stderr);
    let ended = run(&lab, Some("nosuch"), &["send-key", "--public-key", KEY]).await;
    assert!(ended.stderr.contains("'nosuch'"), "{}", ended.stderr);
}

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJpZp0cJmE1pVhUQ5J8sQp0bT7pVZ0m8c5ZkG8Qm3r6u me";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_instance_is_told_before_anything_is_sent() {
    let lab = lab().await;
    for (args, says) in [
        (
            &["proxy", "root@i-bp1example0001", "22"][..],
            "the user goes to ssh: ssh root@i-bp1example0001",
        ),
        (&["doctor", "admin@web-1"], "ssh admin@web-1.ecs"),
        (&["proxy", "i-bp1example0001:22"], "ssh -p 22 root@i-bp1example0001"),
        (&["send-key", "root@web-1", "--public-key", KEY], "the user goes to ssh"),
        (&["known-hosts", "root@web-1"], "the user goes to ssh"),
        (&["list", "root@web-1"], "the user goes to ssh"),
        (&["proxy", "web-1", "-i", "web-2"], "the instance is given twice, as web-1 and as web-2"),
        (&["known-hosts", "web-1", "-i", "web-2"], "given twice"),
        (&["send-key", "web-1", "-i", "web-2"], "given twice"),
        (&["proxy"], "required arguments were not provided"),
        (&["connect", "web-1"], "ssh root@web-1.ecs"),
        (&["ssh", "ops@i-bp1example0001"], "ssh ops@i-bp1example0001"),
        (&["--region", "cn-hangzhou", "login", "-i", "web-1"], "ssh root@web-1.ecs"),
        (&["scp"], "scp FILE root@INSTANCE.ecs:"),
        (&["prxoy", "web-1"], "similar subcommands exist: 'policy', 'proxy'"),
    ] {
        let ended = run(&lab, None, args).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: no {says:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
    assert!(lab.cloud.calls().is_empty());
}
