//! Host keys over the control plane, with a real `ssh` that takes no key on trust.

use local_cloud::{Agent, CommandKind, Instance, Pace};
use tempfile::TempDir;

use crate::lab::{Bridge, Ended};
use crate::world::{INSTANCE, Server, World, installed, make_key, program, run, start_sshd};

/// A world whose instance runs scripts, and finds an `sshd` with the configuration of the one that
/// ssh will meet.
pub(crate) async fn world() -> Option<(World, TempDir)> {
    let sshd = installed("sshd")?;
    let programs = tempfile::tempdir().unwrap();
    let instance = Instance::new(INSTANCE)
        .agent(Agent::d().quick())
        .pace(Pace::announced(64_000_000))
        .shell(programs.path());
    let world = World::with(Server::OpenSsh, instance).await?;
    let config = world.path("control_sshd_config");
    std::fs::copy(world.path("sshd_config"), &config).unwrap();
    program(
        &programs.path().join("sshd"),
        &format!("#!/bin/sh\nexec {} -f {} \"$@\"\n", sshd.display(), config.display()),
    );
    Some((world, programs))
}

/// Connects with strict checking and a known_hosts file that a test may write: `Err` holds what ssh said.
async fn connects(world: &World, tokens: &str, port: &str) -> Result<(), String> {
    let bridge = format!(
        "{} -vvv --log-file {}",
        env!("CARGO_BIN_EXE_ecs-bridge"),
        world.path("log").display()
    );
    let config = format!(
        "ProxyCommand {bridge} proxy %h %p\nKnownHostsCommand {bridge} known-hosts {tokens}\n\
         UserKnownHostsFile {own}\nGlobalKnownHostsFile /dev/null\n\
         StrictHostKeyChecking yes\nBatchMode yes\nIdentityFile {id}\nLogLevel ERROR\n",
        own = world.path("own_known_hosts").display(),
        id = world.path("id").display(),
    );
    std::fs::write(world.path("strict_config"), config).unwrap();
    let mut ssh = world.command("ssh");
    ssh.arg("-F").arg(world.path("strict_config")).args(["-p", port, INSTANCE, "echo", "in"]);
    let output = run(&mut ssh).await;
    match output.status.code() {
        Some(0) => assert_eq!(output.stdout, b"in\n"),
        Some(255) => return Err(String::from_utf8(output.stderr).unwrap()),
        other => panic!("{other:?}: {output:?}"),
    }
    Ok(())
}

async fn asked(world: &World, args: &[&str]) -> Ended {
    let mut command = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
    Bridge::start(command.arg("known-hosts").args(args)).end().await
}

/// How often the instance was asked.
fn scripts(world: &World) -> usize {
    let asked = world.cloud.invocations();
    asked.iter().filter(|asked| asked.kind == CommandKind::Script).count()
}

/// Another key for the server that ssh meets; the instance still tells the first one.
async fn new_host_key(world: &World) {
    make_key(world.dir.path(), "new_host").await;
    let config = std::fs::read_to_string(world.path("sshd_config")).unwrap();
    let config = config.replace("/host\n", "/new_host\n");
    std::fs::write(world.path("sshd_config"), &config).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_needs_no_yes() {
    for tokens in ["%H", "%H --key %K"] {
        let Some((world, _programs)) = world().await else { return };
        for port in ["22", "2200", "22"] {
            connects(&world, tokens, port).await.unwrap();
        }
        assert_eq!(scripts(&world), 1, "it is remembered");
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_the_instance_s_is_refused() {
    for tokens in ["%H", "%H --key %K"] {
        let Some((world, _programs)) = world().await else { return };
        new_host_key(&world).await;
        let said = connects(&world, tokens, "22").await.unwrap_err();
        assert!(said.contains("Host key verification failed"), "{said}");
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_new_key_is_refused_until_the_instance_tells_it() {
    // Either ssh says which key it was shown, or the proxy has seen it.
    for tokens in ["%H", "%H --key %K"] {
        let Some((world, _programs)) = world().await else { return };
        connects(&world, tokens, "22").await.unwrap();
        new_host_key(&world).await;
        connects(&world, tokens, "22").await.unwrap_err();
        assert_eq!(scripts(&world), 2, "what was remembered did not match");
        std::fs::copy(world.path("sshd_config"), world.path("control_sshd_config")).unwrap();
        connects(&world, tokens, "22").await.unwrap();
        assert_eq!(scripts(&world), 3);
        connects(&world, tokens, "22").await.unwrap();
        assert_eq!(scripts(&world), 3);
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_port_of_the_instance_s_own_sshd_may_show_a_new_key() {
    for tokens in ["%H", "%H --key %K"] {
        let Some((world, _programs)) = world().await else { return };
        connects(&world, tokens, "2200").await.unwrap();
        new_host_key(&world).await;
        std::fs::copy(world.path("sshd_config"), world.path("control_sshd_config")).unwrap();
        for _ in 0..2 {
            connects(&world, tokens, "2200").await.unwrap();
            assert_eq!(scripts(&world), 2);
        }
        world.check().await;
    }
}

/// A container's, for example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sshd_of_the_instance_is_the_user_s_to_know() {
    for tokens in ["%H", "%H --key %K"] {
        let Some((world, _programs)) = world().await else { return };
        let other = TempDir::new().unwrap();
        std::fs::copy(world.path("id.pub"), other.path().join("id.pub")).unwrap();
        let (_running, addr, key) = start_sshd(installed("sshd").unwrap(), other.path()).await;
        let lead = |instance: &mut Instance| *instance = instance.clone().target(2222, addr);
        assert!(world.cloud.update_instance(INSTANCE, lead));

        let said = connects(&world, tokens, "2222").await.unwrap_err();
        assert!(!said.contains("HAS CHANGED"), "{said}");
        assert!(said.contains("key is known for"), "{said}");
        // The keys that it has were asked for before the server had shown one, and after that.
        assert_eq!(scripts(&world), 2);
        let own = format!("[{INSTANCE}]:2222 {key}");
        std::fs::write(world.path("own_known_hosts"), own).unwrap();
        for port in ["2222", "22", "2222", "2200"] {
            connects(&world, tokens, port).await.unwrap();
        }
        assert_eq!(scripts(&world), 2, "it is remembered");
        asked(&world, &[INSTANCE, "--port", "2222"]).await.well(b"");
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_those_of_the_keys_that_sshd_uses() {
    let Some((world, _programs)) = world().await else { return };
    let key = std::fs::read_to_string(world.path("host.pub")).unwrap();
    let key = key.trim_end().strip_suffix(" test").unwrap();
    asked(&world, &[INSTANCE]).await.well(format!("{INSTANCE} {key}\n").as_bytes());
    let other = format!("[{INSTANCE}]:2200 {key}\n");
    asked(&world, &[INSTANCE, "--port", "2200"]).await.well(other.as_bytes());
    asked(&world, &[&format!("[{INSTANCE}]:2200")]).await.well(other.as_bytes());
    assert_eq!(scripts(&world), 1);
    asked(&world, &[INSTANCE, "--refresh"]).await.well(format!("{INSTANCE} {key}\n").as_bytes());
    assert_eq!(scripts(&world), 2);
    // The public file may be stale; the private one is what the server has.
    make_key(world.dir.path(), "stale").await;
    std::fs::rename(world.path("stale.pub"), world.path("host.pub")).unwrap();
    asked(&world, &[INSTANCE, "--refresh"]).await.well(format!("{INSTANCE} {key}\n").as_bytes());
    let script = &world.cloud.invocations()[0];
    assert!(!script.content.as_deref().unwrap().contains(INSTANCE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_host_keys_says_so() {
    let Some((world, programs)) = world().await else { return };
    program(&programs.path().join("sshd"), "#!/bin/sh\necho hostkey /nonexistent/key\n");
    let ended = asked(&world, &[INSTANCE]).await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    ended.said(b"");
    let report = ended.report().unwrap();
    assert!(report.what.contains("has no host keys"), "{report:?}");
    assert!(report.why.contains("/nonexistent/key.pub"), "{report:?}");
    let said = connects(&world, "%H", "22").await.unwrap_err();
    assert!(said.contains("has no host keys"), "{said}");
    world.check().await;
}
