//! The figures of names and lists, for docs/figures.md: what they take with 3,000 instances.
//!
//! ```text
//! cargo bench --bench targets
//! ```
//!
//! Each call of the API is answered 50 ms late, over TLS, as from a region that is not far; in the last
//! rows at once, so that what is remembered shows. `proxy` runs from its start to its end: its target
//! says a line and closes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement fails by panicking")]

#[path = "common/spread.rs"]
mod spread;
#[path = "../tests/e2e/world.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use all of it")]
mod world;

use std::time::{Duration, Instant};

use local_cloud::{Agent, ApiFault, Instance, LocalCloud, Pace, Tls};
use spread::Spread;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");
const INSTANCES: u32 = 3_000;
const LATE: Duration = Duration::from_millis(50);
const RUNS: usize = 11;
/// What is small is measured often.
const MANY: usize = 201;
const ID: &str = "i-bp1example0001";

#[tokio::main]
async fn main() {
    // `cargo test --benches` and the like ask for nothing to be measured.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let bench = Bench::start().await;
    println!("| what, with {INSTANCES} instances, {RUNS} runs | seconds | calls of the API |");
    println!("|---|---|---|");
    for (what, args) in [
        ("`list`", &["list"][..]),
        ("`list 'web-000*'`: 99 instances", &["list", "web-000*"]),
        ("`proxy` to an id", &["proxy", ID]),
        ("`proxy` to a name, the first time", &["proxy", "web-own", "--no-cache"]),
        ("`proxy` to a cached name", &["proxy", "web-own"]),
        (
            "`proxy` to a name in other capitals, the first time",
            &["proxy", "WEB-OWN", "--no-cache"],
        ),
        ("`proxy` to an address, the first time", &["proxy", "10.200.0.1", "--no-cache"]),
        ("`proxy` to a name that does not exist", &["proxy", "nosuch", "--no-cache"]),
    ] {
        bench.row(what, args).await;
    }
    bench.remembered().await;
}

struct Bench {
    cloud: LocalCloud,
    dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let instance = Instance::new(ID)
            .name("web-own")
            .private_address("10.200.0.1".parse().unwrap())
            .agent(Agent::d().quick())
            .pace(Pace::off())
            .target(22, target.local_addr().unwrap());
        let cloud = LocalCloud::builder().tls(Tls::Trusted).instance(instance).fleet(INSTANCES - 1);
        let cloud = cloud.start().await.unwrap();
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = target.accept().await.unwrap();
                let _ = connection.write_all(b"SSH-2.0-there\r\n").await;
                let _ = connection.shutdown().await;
            }
        });
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), cloud.ca_pem().unwrap()).unwrap();
        Self { cloud, dir }
    }

    async fn run(&self, args: &[&str]) -> f64 {
        let mut command = world::command(BRIDGE, &self.cloud, self.dir.path());
        // The platform's roots are loaded too, as they are for a user.
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            std::env::var_os(name).map(|value| command.env(name, value));
        }
        command.args(["--ca-file", "ca.pem"]).args(args);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let begin = Instant::now();
        command.status().await.unwrap();
        begin.elapsed().as_secs_f64()
    }

    /// The time and the calls of one command, with answers that come late.
    async fn row(&self, what: &str, args: &[&str]) {
        self.cloud.faults().api(ApiFault::on_any().delay(LATE));
        self.run(args).await;
        let before = self.cloud.look(|state| state.calls().count());
        let mut times = Vec::new();
        for _ in 0..RUNS {
            times.push(self.run(args).await);
        }
        let calls = self.cloud.calls();
        let made = &calls[before..];
        let mut actions: Vec<&str> = made.iter().map(|call| call.action.as_str()).collect();
        actions.sort_unstable();
        let mut counts: Vec<String> = Vec::new();
        for group in actions.chunk_by(|a, b| a == b) {
            counts.push(format!("{} {}", group.len() / RUNS, group[0]));
        }
        let total = made.len() / RUNS;
        println!("| {what} | {:.2} | {total}: {} |", Spread::of(times), counts.join(", "));
        self.cloud.faults().clear();
    }

    /// What a name that is remembered adds to `proxy`.
    async fn remembered(&self) {
        let (mut by_id, mut by_name, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..=MANY {
            let id = self.run(&["proxy", ID]).await * 1e3;
            let name = self.run(&["proxy", "web-own"]).await * 1e3;
            // The first run of each only warms up.
            if run > 0 {
                pairs.push(name - id);
                by_id.push(id);
                by_name.push(name);
            }
        }
        pairs.sort_by(f64::total_cmp);
        println!("\n| `proxy`, answered at once, {MANY} runs | ms |\n|---|---|");
        println!("| to an id | {:.1} |", Spread::of(by_id));
        println!("| to a cached name | {:.1} |", Spread::of(by_name));
        println!("| what the name adds (median of the pairs) | {:.2} |", pairs[MANY / 2]);
    }
}
