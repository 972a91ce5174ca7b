//! What ssh itself carries on top of one session: multiplexed sessions and forwarded ports.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::{INSTANCE, PATIENCE, World, noise, succeed};

everywhere!(
    ten_sessions_share_one_connection,
    a_local_forward_carries_connections,
    a_dynamic_forward_carries_connections,
);

async fn ten_sessions_share_one_connection(world: &World) {
    // It goes on in the background, and would keep a pipe open.
    let mut master = world.openssh("ssh");
    master.args(["-f", "-N", "-M", INSTANCE]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = timeout(PATIENCE, master.status()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    let mut sessions = JoinSet::new();
    for number in 0..10 {
        let mut ssh = world.openssh("ssh");
        ssh.args([INSTANCE, &format!("head -c 100000 /dev/zero | wc -c; echo {number}")]);
        sessions.spawn(async move { (number, succeed(&mut ssh).await) });
    }
    while let Some(result) = sessions.join_next().await {
        let (number, out) = result.unwrap();
        assert_eq!(String::from_utf8_lossy(&out).trim(), format!("100000\n{number}"));
    }
    succeed(world.openssh("ssh").args(["-O", "exit", INSTANCE]).stderr(Stdio::null())).await;
    assert_eq!(world.cloud.sessions().len(), 1);
}

async fn a_local_forward_carries_connections(world: &World) {
    let echo = Echo::start().await;
    let port = free_port().await;
    let forward = format!("{ADDRESS}:{port}:{}", echo.addr);
    let mut ssh = hold_open(world.openssh("ssh").args(["-L", &forward])).await;
    let mut connections = JoinSet::new();
    for _ in 0..3 {
        connections.spawn(async move { echoes(connect(port).await).await });
    }
    connections.join_all().await;
    ssh.kill().await.unwrap();
}

async fn a_dynamic_forward_carries_connections(world: &World) {
    let echo = Echo::start().await;
    let port = free_port().await;
    let mut ssh = hold_open(world.openssh("ssh").args(["-D", &format!("{ADDRESS}:{port}")])).await;
    let mut stream = connect(port).await;
    // SOCKS5 (RFC 1928): no authentication, then CONNECT to an IPv4 address.
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut reply = [0; 2];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, [5, 0]);
    let [high, low] = echo.addr.port().to_be_bytes();
    stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).await.unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[..2], [5, 0]);
    echoes(stream).await;
    ssh.kill().await.unwrap();
}

/// Starts ssh with a command that tells when the connection stands, and stays.
async fn hold_open(ssh: &mut Command) -> Child {
    ssh.args(["-o", "ExitOnForwardFailure=yes", INSTANCE, "echo ready; exec sleep 60"]);
    let mut child = ssh.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
    timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "ready\n");
    child
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((ADDRESS, port)).await.unwrap()
}

/// What is sent comes back, and the end of file too.
async fn echoes(mut stream: TcpStream) {
    let bytes = noise(200_000);
    let (mut reader, mut writer) = stream.split();
    let send = async {
        writer.write_all(&bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let receive = async { timeout(PATIENCE, reader.read_to_end(&mut back)).await };
    let ((), received) = tokio::join!(send, receive);
    received.unwrap().unwrap();
    assert!(back == bytes, "{} bytes came back", back.len());
}

/// Where only ssh listens in these tests, so that nobody takes a port that was free a moment ago: ssh cannot be
/// asked which one it took.
const ADDRESS: &str = "127.0.77.9";

async fn free_port() -> u16 {
    TcpListener::bind((ADDRESS, 0)).await.unwrap().local_addr().unwrap().port()
}

/// A server that sends back what it gets.
struct Echo {
    addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.shutdown().await;
                });
            }
        });
        Self { addr, _tasks: tasks }
    }
}
