//! Commands on the instance.

use std::process::Stdio;
use std::time::Instant;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::AsyncWriteExt;

use crate::timing::kept_the_default_limit;
use crate::world::{INSTANCE, Server, World, noise, run, succeed};

everywhere!(
    a_command_gives_its_output_and_its_exit_code,
    nothing_that_a_shell_reads_at_its_start_gets_into_a_command,
    what_goes_up_and_down_arrives_byte_for_byte,
    a_port_other_than_22_is_reached,
    another_host_is_reached_through_the_instance,
);

async fn a_command_gives_its_output_and_its_exit_code(world: &World) {
    let output =
        run(world.openssh("ssh").args([INSTANCE, "echo out; echo err >&2; exit 42"])).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(42));
}

/// Of the tests' own worlds: what this machine's user has set up is not to be in what they compare.
async fn nothing_that_a_shell_reads_at_its_start_gets_into_a_command(world: &World) {
    for name in [".bashrc", ".bash_profile", ".profile", ".ssh/rc"] {
        std::fs::create_dir_all(world.path(".ssh")).unwrap();
        std::fs::write(world.path(name), format!("echo {name}\necho {name} >&2\n")).unwrap();
    }
    let mut ssh = world.openssh("ssh");
    ssh.env("BASH_ENV", world.path(".bashrc"));
    let output = run(ssh.args([INSTANCE, "echo \"$HOME ${BASH_ENV-none} ${ENV-none}\""])).await;
    let home = format!("{} none none\n", world.dir.path().display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), home);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

async fn what_goes_up_and_down_arrives_byte_for_byte(world: &World) {
    let bytes = noise(5_000_000);
    let mut up = world.openssh("ssh");
    up.args([INSTANCE, "cat > up"]).stdin(Stdio::piped());
    let mut child = up.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes).await.unwrap();
    drop(stdin);
    let status = tokio::time::timeout(crate::world::PATIENCE, child.wait()).await.unwrap();
    assert!(status.unwrap().success());
    assert!(std::fs::read(world.path("up")).unwrap() == bytes, "what went up is not the same");

    let down = succeed(world.openssh("ssh").args([INSTANCE, "cat up"])).await;
    assert!(down == bytes, "what came down is not the same");

    let upload = &world.cloud.sessions()[0];
    assert!(upload.input_bytes > 5_000_000);
    let full = upload.full_inputs as f64 / upload.input_frames as f64;
    assert!(full > 0.9, "only {full} of the frames were full");
}

async fn a_port_other_than_22_is_reached(world: &World) {
    let out = succeed(world.openssh("ssh").args(["-p", "2200", INSTANCE, "echo hello"])).await;
    assert_eq!(out, b"hello\n");
    assert_eq!(world.cloud.sessions()[0].port, Some(2200));
}

async fn another_host_is_reached_through_the_instance(world: &World) {
    let out = succeed(world.openssh("ssh").args(["inner", "echo hello"])).await;
    assert_eq!(out, b"hello\n");
    let session = &world.cloud.sessions()[0];
    assert_eq!(session.target_server.as_deref(), Some(crate::world::INNER));
}

/// 80 kB at 200 kbit/s, against a gateway that lets not one byte more pass in any second.
async fn upload_at_the_default_limit(agent: Agent) {
    let instance = Instance::new(INSTANCE).agent(agent).pace(Pace::default().tolerance_percent(0));
    let Some(world) = World::with(Server::InProcess, instance).await else { return };
    let bytes = noise(80_000);
    std::fs::write(world.path("here"), &bytes).unwrap();
    let file = std::fs::File::open(world.path("here")).unwrap();
    let begin = Instant::now();
    succeed(world.openssh("ssh").args([INSTANCE, "cat > up"]).stdin(file)).await;
    kept_the_default_limit(&world.cloud.sessions()[0], begin.elapsed());
    assert!(std::fs::read(world.path("up")).unwrap() == bytes);
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_limit_is_kept_with_an_older_agent() {
    upload_at_the_default_limit(Agent::a().quick()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_limit_is_kept_with_a_newer_agent() {
    upload_at_the_default_limit(Agent::d().quick()).await;
}
