//! Files, by every program that people copy files with.

use std::fs;

use tokio::io::AsyncWriteExt;

use crate::world::{INSTANCE, PATIENCE, World, installed, noise, succeed};

everywhere!(
    scp_copies_both_ways,
    sftp_copies_both_ways,
    rsync_copies_both_ways,
    git_clones_and_pushes,
);

async fn scp_copies_both_ways(world: &World) {
    let bytes = noise(2_000_000);
    fs::write(world.path("here"), &bytes).unwrap();
    let there = world.path("there").display().to_string();
    let remote = format!("{INSTANCE}:{there}");
    succeed(world.openssh("scp").args(["-q", "here", &remote])).await;
    assert!(fs::read(&there).unwrap() == bytes);
    succeed(world.openssh("scp").args(["-q", &remote, "back"])).await;
    assert!(fs::read(world.path("back")).unwrap() == bytes);
    // The protocol of older scp clients.
    succeed(world.openssh("scp").args(["-q", "-O", &remote, "back2"])).await;
    assert!(fs::read(world.path("back2")).unwrap() == bytes);
}

async fn sftp_copies_both_ways(world: &World) {
    let bytes = noise(1_000_000);
    fs::write(world.path("here"), &bytes).unwrap();
    let dir = world.dir.path().display();
    let batch = format!("mkdir {dir}/sub\nput here {dir}/sub/there\nget {dir}/sub/there back\n");
    let mut sftp = world.openssh("sftp");
    sftp.args(["-q", "-b", "-", INSTANCE]).stdin(std::process::Stdio::piped());
    let mut child = sftp.stdout(std::process::Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(batch.as_bytes()).await.unwrap();
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(fs::read(world.path("sub/there")).unwrap() == bytes);
    assert!(fs::read(world.path("back")).unwrap() == bytes);
}

async fn rsync_copies_both_ways(world: &World) {
    let Some(rsync) = installed("rsync") else { return };
    fs::create_dir_all(world.path("here/deep")).unwrap();
    fs::write(world.path("here/a"), noise(300_000)).unwrap();
    fs::write(world.path("here/deep/b"), noise(70_000)).unwrap();
    let remote = format!("{INSTANCE}:{}/", world.path("there").display());
    let ssh = world.ssh_words();
    for (from, to) in [("here/", &remote[..]), (&remote, "back/")] {
        succeed(world.command(&rsync).args(["-a", "-e", &ssh, from, to])).await;
    }
    for folder in ["there", "back"] {
        for (name, len) in [("a", 300_000), ("deep/b", 70_000)] {
            let copy = fs::read(world.path(folder).join(name)).unwrap();
            assert!(copy == noise(len), "{folder}/{name}");
        }
    }
}

async fn git_clones_and_pushes(world: &World) {
    let Some(git) = installed("git") else { return };
    let ssh = world.ssh_words();
    let git = |args: &[&str]| {
        let mut command = world.command(&git);
        command.env("GIT_SSH_COMMAND", &ssh).env("GIT_CONFIG_NOSYSTEM", "1");
        command.args(["-c", "user.name=test", "-c", "user.email=test@example.com"]).args(args);
        command
    };
    succeed(&mut git(&["init", "-q", "--bare", "there.git"])).await;
    let remote = format!("{INSTANCE}:{}", world.path("there.git").display());
    succeed(&mut git(&["clone", "-q", &remote, "one"])).await;
    fs::write(world.path("one/file"), noise(400_000)).unwrap();
    succeed(&mut git(&["-C", "one", "add", "file"])).await;
    succeed(&mut git(&["-C", "one", "commit", "-q", "-m", "a file"])).await;
    succeed(&mut git(&["-C", "one", "push", "-q", "origin", "HEAD"])).await;
    succeed(&mut git(&["clone", "-q", &remote, "two"])).await;
    assert!(fs::read(world.path("two/file")).unwrap() == noise(400_000));
}
