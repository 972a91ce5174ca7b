//! The figures of docs/figures.md, each beside plain `ssh` to the same server.
//!
//! ```text
//! cargo bench --bench figures
//! ```
//!
//! A relay before the server tells when its banner passed and how fast bytes came. The tunnel goes
//! over TLS to the stand-in cloud, which enforces its limit on every sliding second; the agent
//! takes the time that the real one takes. The machine should be idle otherwise: look at the spread.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking")]

#[path = "common/spread.rs"]
mod spread;
#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use all of it")]
mod world;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use local_cloud::{Agent, Instance, LocalCloud, Pace, Tls};
use spread::Spread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use world::{INSTANCE, Server, World, noise};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");

#[tokio::main]
async fn main() {
    // `cargo test --benches` and the like ask for nothing to be measured.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let bench = Bench::start().await;
    println!("| what | ecs-bridge | plain ssh, same server |");
    println!("|---|---|---|");
    bench.handshake(21).await;
    for (limit, seconds) in [(204_800, 30), (1_638_400, 20)] {
        bench.upload(limit, seconds).await;
    }
    bench.memory().await;
    let size = std::fs::metadata(BRIDGE).unwrap().len() as f64 / 1e6;
    println!("| binary, stripped | {size:.2} MB | |");
    bench.cloud.shutdown().await;
}

struct Bench {
    world: World,
    cloud: LocalCloud,
    relay: Relay,
}

impl Bench {
    async fn start() -> Self {
        let server =
            if world::installed("sshd").is_some() { Server::OpenSsh } else { Server::InProcess };
        let world = World::new(server, Agent::d()).await.unwrap();
        let relay = Relay::start(world.addr).await;
        let instance =
            Instance::new(INSTANCE).target(22, relay.addr).pace(Pace::announced(80_000_000));
        let cloud =
            LocalCloud::builder().tls(Tls::Trusted).instance(instance).start().await.unwrap();
        std::fs::write(world.path("ca.pem"), cloud.ca_pem().unwrap()).unwrap();
        Self { world, cloud, relay }
    }

    /// ssh through the tunnel, or past it.
    fn ssh(&self, through: bool, command: &str) -> Command {
        let dir = self.world.dir.path();
        let mut ssh = world::command("ssh", &self.cloud, dir);
        // The platform's roots are loaded too, as they are for a user.
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            std::env::var_os(name).map(|value| ssh.env(name, value));
        }
        ssh.arg("-F").arg(self.world.config());
        if through {
            let ca = dir.join("ca.pem");
            let pid = dir.join("pid");
            ssh.arg("-o").arg(format!(
                "ProxyCommand=sh -c 'echo $$ > {}; exec {BRIDGE} --ca-file {} proxy %h %p'",
                pid.display(),
                ca.display()
            ));
            ssh.arg(INSTANCE);
        } else {
            let port = self.relay.addr.port().to_string();
            ssh.args(["-p", &port, "plain"]);
        }
        ssh.arg(command);
        ssh
    }

    /// From the server's banner to the end of `ssh … true`.
    async fn handshake(&self, runs: usize) {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for run in 0..=runs {
            for through in [true, false] {
                let mut ssh = self.ssh(through, "true");
                assert!(ssh.status().await.unwrap().success());
                let took = self.relay.take().banner.unwrap().elapsed().as_secs_f64() * 1e3;
                // The first run of each only warms up.
                if run > 0 {
                    if through { &mut ours } else { &mut plain }.push(took);
                }
            }
        }
        let (ours, plain) = (Spread::of(ours), Spread::of(plain));
        println!(
            "| server's banner to the end of `ssh … true`, {runs} runs | {ours} ms | {plain} ms |"
        );
    }

    /// Bytes at the server, from the end of the SSH handshake to the last one, against the limit.
    async fn upload(&self, limit: u64, seconds: u64) {
        self.cloud.update_instance(INSTANCE, |instance| instance.pace = Pace::announced(limit));
        let bytes = noise(usize::try_from(limit / 8 * seconds).unwrap());
        let before = self.cloud.sessions().len();
        let rate = self.copy(true, &bytes).await;
        let session = self.cloud.sessions().swap_remove(before);
        assert_ne!(session.end_reason.as_deref(), Some("FlowExceedLimit"));
        assert_eq!(session.violations, Vec::<String>::new());
        let share = rate * 8.0 / limit as f64;
        let peak = session.peak_bytes_per_second as f64 * 8.0 / limit as f64;
        let plain = self.copy(false, &bytes).await / 1e6;
        println!(
            "| upload at {} kbit/s, {seconds} s, as a share of the limit | {share:.4} (heaviest \
             second {peak:.4}) | {plain:.0} MB/s, no limit |",
            limit / 1000
        );
    }

    async fn copy(&self, through: bool, bytes: &[u8]) -> f64 {
        let mut child = self.ssh(through, "cat > /dev/null").stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(bytes).await.unwrap();
        drop(stdin);
        assert!(child.wait().await.unwrap().success());
        let seen = self.relay.take();
        let (start, end) = (seen.start.unwrap(), seen.last.unwrap());
        (seen.bytes - HEAD) as f64 / (end - start).as_secs_f64()
    }

    /// The process in the middle of a copy of 5 MB each way.
    async fn memory(&self) {
        self.cloud
            .update_instance(INSTANCE, |instance| instance.pace = Pace::announced(16_000_000));
        let bytes = noise(5_000_000);
        let mut child =
            self.ssh(true, "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let send = async {
            stdin.write_all(&bytes).await.unwrap();
            drop(stdin);
        };
        let receive = async {
            let mut half = vec![0; bytes.len() / 2];
            stdout.read_exact(&mut half).await.unwrap();
            let memory = Memory::of(&self.world.path("pid"));
            let mut rest = Vec::new();
            stdout.read_to_end(&mut rest).await.unwrap();
            assert!([half, rest].concat() == bytes);
            memory
        };
        let ((), memory) = tokio::join!(send, receive);
        assert!(child.wait().await.unwrap().success());
        println!(
            "| memory in the middle of copying 5 MB (resident, its peak) | {:.1} MB, {:.1} MB | |",
            memory.resident, memory.peak
        );
    }
}

struct Memory {
    resident: f64,
    peak: f64,
}

impl Memory {
    fn of(pid: &Path) -> Self {
        let pid = std::fs::read_to_string(pid).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let megabytes = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Self { resident: megabytes("VmRSS:"), peak: megabytes("VmHWM:") }
    }
}

/// By then the SSH handshake is over, and the burst with which a copy begins.
const HEAD: usize = 40_000;

/// What one connection to the server has carried.
#[derive(Default)]
struct Seen {
    /// When the server first spoke.
    banner: Option<Instant>,
    /// When the client last did.
    last: Option<Instant>,
    /// When the client had sent [`HEAD`].
    start: Option<Instant>,
    /// What the client has sent in all.
    bytes: usize,
}

/// A relay before the server that looks at the clock.
struct Relay {
    addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let up = Arc::clone(&shared);
                tokio::spawn(carry(from_client, to_server, move |bytes| {
                    let mut seen = up.lock().unwrap();
                    seen.last = Some(Instant::now());
                    seen.bytes += bytes;
                    if seen.bytes >= HEAD {
                        seen.start.get_or_insert_with(Instant::now);
                    }
                }));
                let down = Arc::clone(&shared);
                tokio::spawn(carry(from_server, to_client, move |_| {
                    down.lock().unwrap().banner.get_or_insert_with(Instant::now);
                }));
            }
        });
        Self { addr, seen, _tasks: tasks }
    }

    /// What the last connection has carried.
    fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn(usize)) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        note(read);
    }
}
