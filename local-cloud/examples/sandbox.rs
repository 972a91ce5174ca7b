//! Try ecs-bridge with no account, no instance and no SSH server.
//!
//! ```text
//! cargo run --example sandbox              run one command on the "instance" and end
//! cargo run --example sandbox -- --shell   an interactive shell there
//! cargo run --example sandbox -- --keep    stay up, and print the ssh command for other terminals
//! ```
//!
//! It starts the stand-in cloud and an SSH server in this process, makes throw-away keys and an
//! ssh_config in a temporary folder, and runs this machine's own `ssh` through the real
//! `ecs-bridge proxy` binary, which it builds first. The folder goes when it ends.
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};

use clap::Parser;
use local_cloud::ssh_server::SshServer;
use local_cloud::{Instance, LocalCloud, Pace};
use tempfile::TempDir;
use tokio::process::Command;

const INSTANCE: &str = "i-sandbox0001";
const REGION: &str = "cn-hangzhou";

/// Try ecs-bridge with no account, no instance and no SSH server.
#[derive(Parser)]
#[command(name = "sandbox")]
struct Options {
    /// Open an interactive shell on the "instance"
    #[arg(long, conflicts_with = "keep")]
    shell: bool,
    /// Stay up until Ctrl-C, and print the ssh command to use from another terminal
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Whatever ends it, what it made is dropped on the way out: the folder, the server, the cloud.
    tokio::select! {
        done = run(&options) => done.unwrap_or_else(|error| {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }),
        () = interrupted() => ExitCode::from(if options.keep { 0 } else { 130 }),
    }
}

/// Waits for Ctrl-C, or for a polite request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    println!("1. building ecs-bridge");
    let bridge = build().await?;

    let dir = TempDir::with_prefix("ecs-bridge-sandbox-")?;
    println!("2. making throw-away keys and an ssh_config in {}", dir.path().display());
    keygen(dir.path()).await?;

    let server = SshServer::builder()
        .authorized_key(std::fs::read_to_string(dir.path().join("id.pub"))?)
        .root_dir(dir.path())
        .start()
        .await?;
    // A limit as a gateway may announce it: 1.6 Mbit/s.
    let instance = Instance::new(INSTANCE).target(22, server.addr());
    let cloud = LocalCloud::builder()
        .region(REGION)
        .instance(instance.pace(Pace::announced(1_638_400)))
        .start()
        .await?;
    println!("3. started a stand-in cloud at {}, with {INSTANCE} in it", cloud.endpoint());
    let config = configure(dir.path(), &bridge, &cloud, server.host_key_openssh())?;

    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&config).kill_on_drop(true);
    let code = if options.keep {
        println!("4. ready; in another terminal:\n\n   ssh -F {} {INSTANCE}\n", config.display());
        println!("   (Ctrl-C ends the sandbox)");
        std::future::pending().await
    } else if options.shell {
        println!("4. ssh {INSTANCE}   (`exit` ends the sandbox)\n");
        code_of(status(ssh.args(["-t", INSTANCE])).await?)
    } else {
        let command = "echo \"hello from $(uname -n), as $(id -un)\"";
        println!("4. ssh {INSTANCE} '{command}'\n");
        let status = status(ssh.args([INSTANCE, command]).stdin(Stdio::null())).await?;
        println!();
        if status.success() {
            let sessions = cloud.sessions();
            let bytes: u64 = sessions.iter().map(|session| session.output_bytes).sum();
            println!("That was OpenSSH over ecs-bridge: {bytes} bytes came back through the");
            println!("WebSocket of {} session. Nothing is left behind.", sessions.len());
        }
        code_of(status)
    };
    cloud.shutdown().await;
    Ok(code)
}

/// Builds the binary with the cargo that runs this example, and finds it.
async fn build() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // With this example beside it, so that cargo takes the dependencies as it has built them for the example.
    let targets = ["--bin", "ecs-bridge", "--example", "sandbox"];
    build.args(["build", "--quiet", "--message-format", "json"]).args(targets);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let output = build.stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        return Err("ecs-bridge does not build".into());
    }
    let path = String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ecs-bridge")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.ok_or_else(|| "cargo did not say where it put ecs-bridge".into())
}

async fn keygen(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f"]).arg(dir.join("id"));
    match status(&mut keygen).await?.success() {
        true => Ok(()),
        false => Err("ssh-keygen failed".into()),
    }
}

/// Writes all that `ssh -F` needs, so that it works from any terminal.
fn configure(
    dir: &Path,
    bridge: &Path,
    cloud: &LocalCloud,
    host_key: &str,
) -> Result<PathBuf, Box<dyn Error>> {
    let value = |name: &str| {
        let pair = cloud.env().into_iter().find(|(key, _)| key.ends_with(name));
        pair.map(|(_, value)| value).unwrap_or_default()
    };
    let profile = serde_json::json!({
        "current": "sandbox",
        "profiles": [{
            "name": "sandbox",
            "mode": "AK",
            "access_key_id": value("ACCESS_KEY_ID"),
            "access_key_secret": value("ACCESS_KEY_SECRET"),
        }],
    });
    private(&dir.join("config.json"), &profile.to_string())?;
    private(&dir.join("known_hosts"), &format!("{INSTANCE} {}\n", host_key.trim()))?;
    let path = |name: &str| dir.join(name).display().to_string();
    let proxy = [
        bridge.display().to_string(),
        "--config".to_owned(),
        path("config.json"),
        "--profile=sandbox".to_owned(),
        format!("--region={REGION}"),
        format!("--endpoint={}", cloud.endpoint()),
        "proxy".to_owned(),
    ];
    let proxy = proxy.map(|word| quote(&word)).join(" ");
    let config = format!(
        "Host {INSTANCE}\n  ProxyCommand {proxy} %h %p\n  User sandbox\n  IdentityFile \"{id}\"\n  \
         IdentitiesOnly yes\n  UserKnownHostsFile \"{known_hosts}\"\n  \
         StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n",
        id = path("id"),
        known_hosts = path("known_hosts"),
    );
    let file = dir.join("ssh_config");
    private(&file, &config)?;
    Ok(file)
}

/// A word of a ProxyCommand, which the shell takes apart after ssh has replaced its `%` tokens.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''").replace('%', "%%"))
}

/// Writes a file that nobody else may read. The folder is private already.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

async fn status(command: &mut Command) -> Result<ExitStatus, Box<dyn Error>> {
    let program = command.as_std().get_program().to_owned();
    let status = command.status().await;
    status.map_err(|error| format!("{}: {error}", program.display()).into())
}

fn code_of(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
