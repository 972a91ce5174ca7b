//! What has to hold for long: copies whose sockets are cut hundreds of times, and a thousand logins.
//!
//! ```text
//! cargo bench --bench soak
//! ```
//!
//! It takes about a quarter of an hour, and prints its table of docs/figures.md; `-- cuts`, `-- logins` or
//! `-- forward` prints a part of it. Everything is counted, and what does not hold ends it with an error.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking")]

#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use all of it")]
mod world;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use local_cloud::{Action, Agent, Fault, Instance, LocalCloud, Pace, Point};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use world::{INSTANCE, Server, World, noise};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");
const COPY: usize = 20_000_000;
const CUTS: usize = 200;
const LOGINS: usize = 1_000;
const AT_ONCE: usize = 50;
/// The service allows 20 sessions for an instance.
const INSTANCES: usize = 3;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and the like ask for nothing to be measured.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let parts: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    println!("| what | result |");
    println!("|---|---|");
    if wants("cuts") {
        let (up, down) = tokio::join!(cuts(true), cuts(false));
        println!("{up}\n{down}");
    }
    if wants("logins") {
        logins().await;
    }
    if wants("forward") {
        forward().await;
    }
}

/// A copy of 20 MB, whose socket is cut 200 times in its course.
async fn cuts(up: bool) -> String {
    let every = u64::try_from(COPY / CUTS).unwrap();
    let point = if up { Point::EveryInputBytes(every) } else { Point::EveryOutputBytes(every) };
    let instance = Instance::new(INSTANCE)
        .agent(Agent::resumable().quick())
        .pace(Pace::announced(64_000_000))
        .fault(Fault::new(point, Action::Cut));
    let world = World::with(Server::OpenSsh, instance).await.expect("sshd is installed");
    let bytes = noise(COPY);
    std::fs::write(world.path("there"), &bytes).unwrap();
    let begin = Instant::now();
    let mut ssh = world.openssh("ssh");
    ssh.args([INSTANCE, if up { "cat > here" } else { "cat there" }]);
    let mut child =
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        if up {
            stdin.write_all(&bytes).await.unwrap();
        }
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.unwrap();
    assert!(output.status.success(), "ssh noticed: {}", output.status);
    let got = if up { std::fs::read(world.path("here")).unwrap() } else { output.stdout };
    assert!(got == bytes, "{} bytes came", got.len());
    let took = begin.elapsed().as_secs();
    let sessions = world.cloud.sessions();
    let (session, name) = (&sessions[0], if up { "up" } else { "down" });
    assert_eq!((sessions.len(), &session.violations), (1, &Vec::new()));
    format!(
        "| 20 MB {name} through `ssh`, the socket cut again and again | byte for byte; {} cuts, {} \
         sockets, no disconnect, {took} s |",
        session.faults_struck,
        session.resumptions + 1
    )
}

/// A thousand logins one after another, and fifty at once.
async fn logins() {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
    let world = World::with(Server::OpenSsh, instance).await.expect("sshd is installed");
    let mut names = vec![INSTANCE.to_owned()];
    for number in 1..INSTANCES {
        names.push(format!("i-bp1soak{number}"));
        let agent = Agent::d().quick();
        let other = Instance::new(names.last().unwrap()).agent(agent).target(22, world.addr);
        world.cloud.add_instance(other);
    }
    let (mut good, begin) = (0, Instant::now());
    for _ in 0..LOGINS {
        good += usize::from(login(&world, INSTANCE).status().await.unwrap().success());
    }
    let each = begin.elapsed().as_secs_f64() * 1e3 / LOGINS as f64;
    let mut together = JoinSet::new();
    for number in 0..AT_ONCE {
        let mut login = login(&world, &names[number % INSTANCES]);
        together.spawn(async move { login.status().await.unwrap().success() });
    }
    while let Some(success) = together.join_next().await {
        good += usize::from(success.unwrap());
    }
    assert_eq!(good, LOGINS + AT_ONCE);
    world.check().await;
    let left = processes(world.dir.path()).await;
    println!(
        "| {LOGINS} `ssh … true` one after another ({each:.0} ms each), {AT_ONCE} at once | {good} exits \
         0, {} sessions, all ended, {left} processes left |",
        world.cloud.sessions().len()
    );
    assert_eq!(left, 0);
}

fn login(world: &World, instance: &str) -> Command {
    let mut ssh = world.openssh("ssh");
    ssh.args([instance, "true"]);
    ssh
}

/// How many `ecs-bridge` of this run are left two seconds later: their working folder tells.
async fn processes(folder: &Path) -> usize {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let is_ours = |entry: &std::fs::DirEntry| {
        let link = |name: &str| std::fs::read_link(entry.path().join(name));
        link("exe").is_ok_and(|exe| exe.ends_with("ecs-bridge"))
            && link("cwd").is_ok_and(|cwd| cwd == folder)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(is_ours).count()
}

/// A `forward` that lives through a thousand connections.
async fn forward() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = Instance::new(INSTANCE)
        .agent(Agent::d().quick())
        .pace(Pace::announced(64_000_000))
        .target(7, listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut bytes = [0; 1_000];
                // The probe of the forward says nothing.
                if stream.read_exact(&mut bytes).await.is_ok() {
                    stream.write_all(&bytes).await.unwrap();
                }
            });
        }
    });
    let cloud = LocalCloud::builder().instance(instance).start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut command = world::command(BRIDGE, &cloud, dir.path());
    command.args([
        "forward",
        "--json",
        "-i",
        INSTANCE,
        "-L",
        "0:localhost:7",
        "--ready-delay",
        "0",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let address = listening["address"].as_str().unwrap().to_owned();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let pid = child.id().unwrap();
    let bytes = noise(1_000);
    let mut seen = Vec::new();
    for number in 1..=LOGINS {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert!(back == bytes);
        drop(stream);
        if number == LOGINS / 10 || number == LOGINS {
            let quiet = |state: &local_cloud::State| state.open_sessions() == 0;
            cloud.wait_for(quiet, Duration::from_secs(10)).await.expect("each session is ended");
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            seen.push(format!("{} resident, {descriptors} descriptors", memory.trim()));
        }
    }
    println!(
        "| a `forward` after {} and after {LOGINS} connections | {}; {} |",
        LOGINS / 10,
        seen[0],
        seen[1]
    );
    child.kill().await.unwrap();
}
