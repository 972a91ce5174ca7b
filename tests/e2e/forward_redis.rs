//! A real redis-server by way of a local port: a protocol whose clients speak first, many requests
//! at once and large values.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use local_cloud::{Agent, Generation, Instance, Pace};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::forward_driver::{Forward, Over, number, read};
use crate::lab::{Lab, QUIET_PORT};
use crate::world::{INSTANCE, PATIENCE, installed, noise, succeed};

/// A redis-server that ends with the test.
struct Redis {
    addr: SocketAddr,
    _child: Child,
}

impl Redis {
    async fn start(program: &Path, dir: &Path) -> Self {
        // It cannot be asked which port it took: another program may be quicker to take a free one.
        for _ in 0..5 {
            if let Some(redis) = Self::start_on_a_free_port(program, dir).await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    async fn start_on_a_free_port(program: &Path, dir: &Path) -> Option<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let mut command = Command::new(program);
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port"]);
        command.arg(addr.port().to_string()).current_dir(dir).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut log = String::new();
        let ready = async {
            while !log.contains("eady to accept connections") {
                if stdout.read_line(&mut log).await.unwrap() == 0 {
                    return false;
                }
            }
            true
        };
        let ready = timeout(PATIENCE, ready).await.expect("redis-server starts in time");
        // What it says later must not stop it.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        ready.then_some(Self { addr, _child: child })
    }
}

/// A lab whose port is redis-server's, and a forward to it.
async fn forward(redis: &Redis, agent: Agent) -> (Lab, Forward) {
    // Newer agents hold what comes early.
    let ready_delay = if agent.generation == Generation::D { "0" } else { "1.5" };
    // More than enough for 5 MB in a test, and little enough to be felt.
    let instance = Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000));
    let lab = Lab::new(instance.remote("cache.internal", 6379, redis.addr)).await;
    let spec = format!("0:cache.internal:{QUIET_PORT}");
    let args = ["-L", &spec, "--linger", "1", "--ready-delay", ready_delay];
    let forward = Forward::start(&lab, &args);
    (lab, forward)
}

async fn ends_well(lab: &Lab, forward: Forward) -> Over {
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("error").len()), (143, 0), "{over:?}");
    lab.all_ended().await;
    for session in lab.cloud.sessions() {
        assert_eq!(session.target_server.as_deref(), Some("cache.internal"));
        assert_eq!(session.dropped_bytes, 0, "an older agent dropped early input");
        assert_ne!(session.end_reason.as_deref(), Some("FlowExceedLimit"));
    }
    over
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_benchmark_gets_all_its_answers() {
    let Some(server) = installed("redis-server") else { return };
    let Some(benchmark) = installed("redis-benchmark") else { return };
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&server, dir.path()).await;
    for agent in [Agent::d(), Agent::a()] {
        let (lab, mut forward) = forward(&redis, agent).await;
        let mut command = Command::new(&benchmark);
        command.args(["-h", "127.0.0.1", "-p", &forward.port().await]);
        command.args([
            "-n",
            "400",
            "-c",
            "4",
            "-P",
            "8",
            "-d",
            "3000",
            "-t",
            "set,get,lpush",
            "--csv",
        ]);
        let out = succeed(command.kill_on_drop(true)).await;
        let out = String::from_utf8(out).unwrap();
        for test in ["SET", "GET", "LPUSH"] {
            assert!(out.lines().any(|line| line.contains(test)), "no {test}: {out}");
        }
        let over = ends_well(&lab, forward).await;
        let closed = over.all("closed");
        assert!(closed.len() >= 4, "{} connections", closed.len());
        let sent: u64 = closed.iter().map(|event| number(event, "sent")).sum();
        assert!(sent > 2 * 400 * 3000, "{sent} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipelined_value_of_5_mb_comes_back_equal() {
    let Some(server) = installed("redis-server") else { return };
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(&server, dir.path()).await;
    let value = noise(5_000_000);
    for agent in [Agent::d(), Agent::a()] {
        let (lab, mut forward) = forward(&redis, agent).await;
        let mut client = forward.connect().await;
        // RESP: four commands, and not one answer waited for in between.
        let mut request = b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$5000000\r\n".to_vec();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\n*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n");
        request.extend_from_slice(b"*2\r\n$3\r\nDEL\r\n$5\r\nlarge\r\n*1\r\n$4\r\nPING\r\n");
        let mut answer = b"+OK\r\n$5000000\r\n".to_vec();
        answer.extend_from_slice(&value);
        answer.extend_from_slice(b"\r\n:1\r\n+PONG\r\n");
        let (mut reader, mut writer) = client.split();
        let mut got = vec![0; answer.len()];
        let exchange =
            async { tokio::join!(writer.write_all(&request), reader.read_exact(&mut got)) };
        let (sent, received) = timeout(PATIENCE, exchange).await.expect("all goes and comes");
        sent.unwrap();
        received.unwrap();
        assert!(got == answer, "something else came back");
        // QUIT: it is the server that closes, where the agent tells.
        client.write_all(b"*1\r\n$4\r\nQUIT\r\n").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"+OK\r\n");
        drop(client);
        let closed = forward.told(1, "closed").await;
        let sent = u64::try_from(request.len()).unwrap() + 14;
        assert_eq!(number(&closed, "sent"), sent);
        assert_eq!(number(&closed, "received"), u64::try_from(answer.len()).unwrap() + 5);
        ends_well(&lab, forward).await;
    }
}
