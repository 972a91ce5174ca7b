//! The figures of temporary keys, for docs/figures.md: `send-key` alone, and `ssh` with it.
//!
//! ```text
//! cargo bench --bench send_key
//! ```
//!
//! Each invocation takes one second in the instance, and the agent joins and dials as the real one
//! does. A run with nothing remembered installs the plug-in, too.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking")]

#[path = "common/spread.rs"]
mod spread;
#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use all of it")]
mod world;

use std::time::{Duration, Instant};

use local_cloud::{Agent, Instance, LocalCloud};
use spread::Spread;
use tokio::process::Command;
use world::{INSTANCE, World, user};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");
const INVOCATION: Duration = Duration::from_secs(1);
const RUNS: usize = 11;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and the like ask for nothing to be measured.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let instance = Instance::new(INSTANCE).agent(Agent::d()).command_time(INVOCATION);
    let world = World::of_registered_keys(LocalCloud::builder(), instance).await;
    let world = world.expect("sshd and curl are installed");
    println!("| what, {RUNS} runs | seconds | for comparison |");
    println!("|---|---|---|");

    let user = user().await;
    let send = ["send-key", "-q", "-i", INSTANCE, "--public-key", "id.pub", "--user-name", &user];
    let (mut first, mut after) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let cache = format!("cache-{run}");
        for times in [&mut first, &mut after] {
            let mut command = world.command(BRIDGE);
            command.args(send).env("XDG_CACHE_HOME", world.path(&cache));
            times.push(seconds(&mut command).await);
        }
        world.cloud.uninstall_key_plugin(INSTANCE);
    }
    println!("| `send-key`, the first time | {:.2} | 1.00: one invocation |", Spread::of(first));
    println!(
        "| `send-key`, the plug-in cached | {:.2} | 1.00: one invocation |",
        Spread::of(after)
    );

    #[cfg(target_os = "linux")]
    logins().await;
}

/// `ssh … true`: the first login with an instance, whose sshd the installation restarts; one that
/// knows the plug-in to be there; and one without a key to send, for that of the one before is good.
#[cfg(target_os = "linux")]
async fn logins() {
    let (mut fresh, mut known, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let instance = Instance::new(INSTANCE).agent(Agent::d()).command_time(INVOCATION);
        let world = World::without_plugin(instance, |sshd| sshd).await;
        let world = world.expect("sshd and curl are installed");
        let key = format!("--send-key {} --user %r", world.path("id.pub").display());
        for (options, times) in [(&*key, &mut fresh), (&*key, &mut known), ("", &mut without)] {
            let mut ssh = world.openssh("ssh");
            let proxy = format!("ProxyCommand={BRIDGE} proxy {options} %h %p");
            ssh.args(["-o", &proxy, INSTANCE, "true"]).env("XDG_CACHE_HOME", world.path("cache"));
            times.push(seconds(&mut ssh).await);
            forget_registrations(&world.path("cache"));
        }
    }
    let (fresh, known, without) = (Spread::of(fresh), Spread::of(known), Spread::of(without));
    println!(
        "| `ssh … true` with `--send-key`, the plug-in cached | {known:.2} | {without:.2} without |"
    );
    println!("| the same on a fresh instance | {fresh:.2} | {known:.2} with the plug-in |");
}

/// Lets the key be sent again; the plug-in stays known.
#[cfg(target_os = "linux")]
fn forget_registrations(cache: &std::path::Path) {
    for entry in std::fs::read_dir(cache.join("ecs-bridge")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("key-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

async fn seconds(command: &mut Command) -> f64 {
    let begin = Instant::now();
    assert!(command.status().await.unwrap().success());
    begin.elapsed().as_secs_f64()
}
