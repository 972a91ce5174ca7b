//! OpenSSH's own programs by way of a local port, with agents of both generations and the pace
//! enforced.

use std::fs;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::forward_driver::Forward;
use crate::world::{INSTANCE, PATIENCE, World, installed, noise, run, succeed};

everywhere!(
    ssh_by_a_local_port_gives_output_and_exit_code,
    scp_by_a_local_port_copies_5_mb_both_ways,
    sftp_by_a_local_port_copies_both_ways,
    rsync_by_a_local_port_copies_both_ways,
);

/// A forward to the SSH server. Older agents do not tell that it has closed: what the client's end
/// of file leaves open is ended by the linger.
async fn forward(world: &World) -> (Forward, String) {
    let mut command = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
    command.args(["forward", "--json", "-i", INSTANCE, "--local-port", "0", "--linger", "1"]);
    let mut forward = Forward::run(&mut command);
    let port = forward.port().await;
    (forward, port)
}

/// Every connection was carried to its end.
async fn all_is_well(mut forward: Forward, connections: usize) {
    for closed in forward.all(connections, "closed").await {
        assert_ne!(closed["reason"], "failed", "{closed}");
    }
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("error").len()), (143, 0), "{over:?}");
}

async fn ssh_by_a_local_port_gives_output_and_exit_code(world: &World) {
    let (forward, port) = forward(world).await;
    let command = ["-p", &port, "plain", "echo out; echo err >&2; exit 42"];
    let output = run(world.openssh("ssh").args(command)).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(42));
    all_is_well(forward, 1).await;
}

async fn scp_by_a_local_port_copies_5_mb_both_ways(world: &World) {
    let (forward, port) = forward(world).await;
    let bytes = noise(5_000_000);
    fs::write(world.path("here"), &bytes).unwrap();
    let there = world.path("there").display().to_string();
    let remote = format!("plain:{there}");
    succeed(world.openssh("scp").args(["-q", "-P", &port, "here", &remote])).await;
    assert!(fs::read(&there).unwrap() == bytes, "what went up is not the same");
    succeed(world.openssh("scp").args(["-q", "-P", &port, &remote, "back"])).await;
    assert!(fs::read(world.path("back")).unwrap() == bytes, "what came down is not the same");
    all_is_well(forward, 2).await;
    let up = world.cloud.sessions().iter().map(|session| session.input_bytes).max();
    assert!(up > Some(5_000_000), "it went another way");
}

async fn sftp_by_a_local_port_copies_both_ways(world: &World) {
    let (forward, port) = forward(world).await;
    let bytes = noise(1_000_000);
    fs::write(world.path("here"), &bytes).unwrap();
    let dir = world.dir.path().display();
    let batch = format!("mkdir {dir}/sub\nput here {dir}/sub/there\nget {dir}/sub/there back\n");
    let mut sftp = world.openssh("sftp");
    sftp.args(["-q", "-b", "-", "-P", &port, "plain"]).stdin(Stdio::piped());
    let mut child = sftp.stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(batch.as_bytes()).await.unwrap();
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(fs::read(world.path("sub/there")).unwrap() == bytes);
    assert!(fs::read(world.path("back")).unwrap() == bytes);
    all_is_well(forward, 1).await;
}

async fn rsync_by_a_local_port_copies_both_ways(world: &World) {
    let Some(rsync) = installed("rsync") else { return };
    let (forward, port) = forward(world).await;
    fs::create_dir_all(world.path("here/deep")).unwrap();
    fs::write(world.path("here/a"), noise(300_000)).unwrap();
    fs::write(world.path("here/deep/b"), noise(70_000)).unwrap();
    let remote = format!("plain:{}/", world.path("there").display());
    let ssh = format!("{} -p {port}", world.ssh_words());
    for (from, to) in [("here/", &remote[..]), (&remote, "back/")] {
        succeed(world.command(&rsync).args(["-a", "-e", &ssh, from, to])).await;
    }
    for folder in ["there", "back"] {
        for (name, len) in [("a", 300_000), ("deep/b", 70_000)] {
            let copy = fs::read(world.path(folder).join(name)).unwrap();
            assert!(copy == noise(len), "{folder}/{name}");
        }
    }
    all_is_well(forward, 2).await;
}
