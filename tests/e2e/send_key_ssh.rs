//! Temporary keys with a real `ssh` and a real `sshd`, whose AuthorizedKeysCommand asks the cloud as
//! the key plug-in does.

use std::time::{Duration, SystemTime};

use local_cloud::{Agent, CommandKind, Instance, LocalCloud};

use crate::world::{INSTANCE, World, run, succeed, user};

async fn world(lifetime: Duration, change: impl FnOnce(Instance) -> Instance) -> Option<World> {
    let instance = change(Instance::new(INSTANCE).agent(Agent::d().quick()));
    World::of_registered_keys(LocalCloud::builder().key_lifetime(lifetime), instance).await
}

/// Whether `ssh … true` is let in, with a ProxyCommand of these options.
pub(crate) async fn is_let_in(world: &World, options: &str, cache: &str) -> bool {
    let proxy = format!(
        "ProxyCommand={} -vvv --log-file {} proxy {options} %h %p",
        env!("CARGO_BIN_EXE_ecs-bridge"),
        world.path("log").display()
    );
    let mut ssh = world.openssh("ssh");
    ssh.args(["-o", &proxy, INSTANCE, "echo", "in"]);
    ssh.env("XDG_CACHE_HOME", world.path(cache));
    let output = run(&mut ssh).await;
    match output.status.code() {
        Some(0) => assert_eq!(output.stdout, b"in\n"),
        Some(255) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("Permission denied (publickey"), "{stderr}");
        }
        other => panic!("{other:?}: {output:?}"),
    }
    output.status.success()
}

fn count(world: &World, kind: CommandKind) -> usize {
    world.cloud.invocations().iter().filter(|asked| asked.kind == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_is_let_in_with_a_key_for_as_long_as_it_is_registered() {
    let Some(world) = world(Duration::from_secs(8), |instance| instance).await else { return };
    assert!(!is_let_in(&world, "", "cache").await, "there is no key");
    let mut send = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
    send.args(["send-key", "-i", INSTANCE, "--public-key", "id.pub", "--user-name", &user().await]);
    succeed(&mut send).await;
    assert!(is_let_in(&world, "", "cache").await, "there is one");
    let until = world.cloud.keys()[0].until;
    // A time that is to pass is all that can be waited for here.
    tokio::time::sleep(until.duration_since(SystemTime::now()).unwrap_or_default()).await;
    assert!(!is_let_in(&world, "", "cache").await, "it has expired");
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_of_ten_comes_before_its_key() {
    // The session opens long before the key is registered.
    let slow = Duration::from_millis(700);
    let Some(world) = world(Duration::from_secs(60), |instance| instance.command_time(slow)).await
    else {
        return;
    };
    let options = format!("--send-key {} --user %r", world.path("id.pub").display());
    for number in 0..10 {
        world.cloud.forget_keys(INSTANCE);
        world.cloud.uninstall_key_plugin(INSTANCE);
        assert!(is_let_in(&world, &options, &format!("cache-{number}")).await, "run {number}");
    }
    assert_eq!(count(&world, CommandKind::SendKey), 10);
    assert_eq!(count(&world, CommandKind::Install), 10);
    assert!(world.cloud.violations().is_empty(), "{:?}", world.cloud.violations());
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_fresh_is_not_sent_again() {
    let Some(world) = world(Duration::from_secs(60), |instance| instance).await else { return };
    let options = format!("--send-key {} --user %r", world.path("id.pub").display());
    for _ in 0..3 {
        assert!(is_let_in(&world, &options, "cache").await);
    }
    assert_eq!((count(&world, CommandKind::SendKey), count(&world, CommandKind::Install)), (1, 1));
    // It is for this user and key only.
    let other = options.replace("%r", "nobody-else");
    assert!(is_let_in(&world, &other, "cache").await, "the first one's key is still there");
    assert_eq!(count(&world, CommandKind::SendKey), 2);
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_another_user_lets_nobody_in() {
    let Some(world) = world(Duration::from_secs(60), |instance| instance).await else { return };
    let options = format!("--send-key {} --user nobody-else", world.path("id.pub").display());
    assert!(!is_let_in(&world, &options, "cache").await);
    world.check().await;
}
