//! The figures of docs/figures.md about `forward`.
//!
//! ```text
//! cargo bench --bench forward
//! ```
//!
//! Over TLS to the stand-in cloud, with an agent that takes the time that the real one takes. The
//! target answers at once, and tells when it was dialled.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking")]

#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use all of it")]
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_cloud::{Agent, Instance, LocalCloud, Pace, Progress, Tls};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;
use tokio::time::timeout;
use world::INSTANCE;

const ONE: usize = 40_000_000;
const MANY: usize = 20;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and the like ask for nothing to be measured.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let target = Target::start().await;
    let instance = Instance::new(INSTANCE).target(9000, target.addr);
    let instance = instance.pace(Pace::announced(80_000_000));
    let cloud = LocalCloud::builder().tls(Tls::Trusted).instance(instance).start().await.unwrap();
    first_byte(5).await;
    println!("| what | ecs-bridge forward | straight to the target |");
    println!("|---|---|---|");

    throughput(&cloud, &target).await;
    cloud.shutdown().await;
}

/// From connect to the answer's first byte, where the client speaks first: by agent, and by whether the
/// gateway tells how far the session has come. All kinds side by side: what is measured are waits.
async fn first_byte(runs: usize) {
    let target = Target::start().await;
    let mut straight = Vec::new();
    for _ in 0..runs {
        straight.push(ask(target.addr).await);
    }
    println!(
        "| first byte of a client-first connection, {runs} runs | cold | cold, from the agent's dial | just \
         after `Forwarding …` | with `--warm 1` |"
    );
    println!("|---|---|---|---|---|");
    let agents = [("A", Agent::a()), ("B", Agent::b()), ("D", Agent::d())];
    let kinds = agents.iter().flat_map(|agent| {
        [("with Opened", Progress::default()), ("without any status", Progress::none())]
            .map(|progress| (agent.clone(), progress))
    });
    let rows = kinds.map(|((name, agent), (told, progress))| async move {
        let row = first_byte_row(agent, progress, runs).await;
        format!("| agent {name}, {told} | {row} |")
    });
    for row in futures_util::future::join_all(rows).await {
        println!("{row}");
    }
    println!("\nStraight to the target: {}\n", spread(straight));
}

async fn first_byte_row(agent: Agent, progress: Progress, runs: usize) -> String {
    let target = Target::start().await;
    let instance = Instance::new(INSTANCE).agent(agent).progress(progress);
    let instance = instance.target(9000, target.addr).pace(Pace::announced(80_000_000));
    let cloud = LocalCloud::builder().tls(Tls::Trusted).instance(instance).start().await.unwrap();
    let (mut cold, mut after_dial, mut told, mut warm) = (vec![], vec![], vec![], vec![]);
    for _ in 0..runs {
        // As soon as it listens, which is long before it has found the target.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let starting = Forward::spawn(&cloud, &format!("{}:localhost:9000", free.port()), &[]);
        let took = loop {
            if let Ok(stream) = TcpStream::connect(free).await {
                break ask_over(stream).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        after_dial.push(target.dialled().elapsed());
        cold.push(took);
        drop(starting);
    }
    for _ in 0..runs {
        let forward = Forward::start(&cloud, &[]).await;
        told.push(ask(forward.addr).await);
    }
    let forward = Forward::start(&cloud, &["--warm", "1"]).await;
    for _ in 0..runs {
        warm.push(ask(forward.addr).await);
        // Until the next channel is ready: at the latest 3 s after the upgrade.
        tokio::time::sleep(Duration::from_millis(4500)).await;
    }
    drop(forward);
    cloud.shutdown().await;
    [cold, after_dial, told, warm].map(spread).join(" | ")
}

/// One download beside twenty at once, and the memory of the process meanwhile.
async fn throughput(cloud: &LocalCloud, target: &Target) {
    let forward = Forward::start(cloud, &[]).await;
    let mut rates = Vec::new();
    for (connections, each) in [(1, ONE), (MANY, ONE / MANY)] {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(forward.addr).await.unwrap();
            // The first byte of the answer says that the channel is open.
            stream.write_all(b"?").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'!');
            streams.push(stream);
        }
        let start = Instant::now();
        let mut downloads = JoinSet::new();
        for stream in streams {
            downloads.spawn(download(stream, each));
        }
        let memory = tokio::time::sleep(Duration::from_millis(150));
        memory.await;
        let memory = forward.memory();
        downloads.join_all().await;
        rates.push((ONE as f64 / start.elapsed().as_secs_f64() / 1e6, memory));
    }
    let start = Instant::now();
    let mut stream = TcpStream::connect(target.addr).await.unwrap();
    stream.write_all(b"?").await.unwrap();
    stream.read_u8().await.unwrap();
    download(stream, ONE).await;
    let straight = ONE as f64 / start.elapsed().as_secs_f64() / 1e6;
    let ((one, one_memory), (many, many_memory)) = (rates[0], rates[1]);
    println!("| download, one connection | {one:.0} MB/s | {straight:.0} MB/s |");
    println!("| download, {MANY} connections together | {many:.0} MB/s | |");
    println!(
        "| memory with 1 and with {MANY} connections moving data | {one_memory:.1} MB, {many_memory:.1} MB | |"
    );
}

async fn ask(addr: SocketAddr) -> Duration {
    let start = Instant::now();
    let stream = TcpStream::connect(addr).await.unwrap();
    ask_over(stream).await;
    start.elapsed()
}

async fn ask_over(mut stream: TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(b"?").await.unwrap();
    let answer = timeout(Duration::from_secs(20), stream.read_u8()).await;
    assert_eq!(answer.unwrap().unwrap(), b'!');
    start.elapsed()
}

async fn download(mut stream: TcpStream, bytes: usize) {
    stream.write_all(&u32::try_from(bytes).unwrap().to_be_bytes()).await.unwrap();
    let mut buffer = vec![0; 65_536];
    let mut left = bytes;
    while left > 0 {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= read;
    }
}

/// Median, least and most.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    format!("{:.1} ({:.1}–{:.1}) ms", ms(median), ms(times[0]), ms(last))
}

/// `?` is answered with `!`, and four bytes that follow with as many bytes as they say.
struct Target {
    addr: SocketAddr,
    dialled: Arc<Mutex<Instant>>,
    _tasks: JoinSet<()>,
}

impl Target {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let dialled = Arc::new(Mutex::new(Instant::now()));
        let shared = Arc::clone(&dialled);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                *shared.lock().unwrap() = Instant::now();
                stream.set_nodelay(true).unwrap();
                connections.spawn(async move {
                    if stream.read_u8().await.is_ok_and(|byte| byte == b'?') {
                        let _ = stream.write_all(b"!").await;
                        let bytes = stream.read_u32().await.unwrap_or_default();
                        let bytes = usize::try_from(bytes).unwrap();
                        for _ in 0..bytes.div_ceil(50_000) {
                            if stream.write_all(&[7; 50_000]).await.is_err() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, dialled, _tasks: tasks }
    }

    fn dialled(&self) -> Instant {
        *self.dialled.lock().unwrap()
    }
}

/// A running `ecs-bridge forward`.
struct Forward {
    addr: SocketAddr,
    child: Child,
    _stdout: BufReader<ChildStdout>,
    _dir: TempDir,
}

impl Forward {
    async fn start(cloud: &LocalCloud, args: &[&str]) -> Self {
        let (mut child, dir) = Self::spawn(cloud, "0:localhost:9000", args);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let addr = event["address"].as_str().unwrap().parse().unwrap();
        Self { addr, child, _stdout: stdout, _dir: dir }
    }

    /// The process and its folder.
    fn spawn(cloud: &LocalCloud, spec: &str, args: &[&str]) -> (Child, TempDir) {
        let dir = TempDir::new().unwrap();
        let ca: PathBuf = dir.path().join("ca.pem");
        std::fs::write(&ca, cloud.ca_pem().unwrap()).unwrap();
        let mut command = world::command(env!("CARGO_BIN_EXE_ecs-bridge"), cloud, dir.path());
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            std::env::var_os(name).map(|value| command.env(name, value));
        }
        command.arg("--ca-file").arg(&ca).args(["forward", "--json", "-i", INSTANCE]);
        command.args(["-L", spec]).args(args);
        (command.stdout(Stdio::piped()).spawn().unwrap(), dir)
    }

    /// Resident, in MB.
    fn memory(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    }
}
