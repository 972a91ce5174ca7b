//! What every test needs: a server, a key, a client, patience.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use local_cloud::ssh_server::{Builder, SshServer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing here takes a second; this only keeps a hang from being for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server, a key that it knows, and a folder for both.
pub(crate) struct Lab {
    pub(crate) server: SshServer,
    pub(crate) folder: TempDir,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let public = keygen(&folder.path().join("key")).await;
        let builder = SshServer::builder().authorized_key(public).root_dir(root);
        let server = settings(builder).start().await.unwrap();
        let known = format!("instance {}\n", server.host_key_openssh());
        fs::write(folder.path().join("known_hosts"), known).unwrap();
        Self { server, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.path("root").join(name)
    }

    /// `ssh`, `scp` or `sftp` with everything but its arguments.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=instance"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        command.arg("-o").arg(format!("Port={}", self.server.addr().port()));
        command.arg("-o").arg(format!("User={}", "root"));
        command.arg("-i").arg(self.path("key"));
        command.env_remove("SSH_AUTH_SOCK").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    pub(crate) fn ssh<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.client("ssh");
        command.args(arguments);
        command
    }

    pub(crate) async fn run(&self, command: &str) -> Output {
        finish(self.ssh(["127.0.0.1", command])).await
    }
}

pub(crate) async fn keygen(path: &Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    assert!(keygen.status().await.unwrap().success());
    fs::read_to_string(path.with_extension("pub")).unwrap()
}

pub(crate) async fn finish(mut command: Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("the client hangs").unwrap()
}

/// Runs it with this on its standard input.
pub(crate) async fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = async move {
        // A command that does not read all of it is no failure.
        let _ = stdin.write_all(input).await;
    };
    let both = async { tokio::join!(feeding, child.wait_with_output()).1 };
    timeout(PATIENCE, both).await.expect("the client hangs").unwrap()
}

#[track_caller]
pub(crate) fn ok(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bytes in which no block is like another.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn five_megabytes() -> Vec<u8> {
    noise(5 * 1024 * 1024 + 7)
}

pub(crate) async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    timeout(PATIENCE, reader.read_line(&mut line)).await.expect("no line came").unwrap();
    line.trim_end().to_owned()
}

/// Waits for the child, which was told or is about to end.
pub(crate) async fn ended(mut child: Child) {
    timeout(PATIENCE, child.wait()).await.expect("the client hangs").unwrap();
}
