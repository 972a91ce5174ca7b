//! -L, -D, -R and -W.

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, ended, finish, line, noise};

/// Sends back what it gets, and says a last word after the end of it.
async fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.write_all(b"last word").await.unwrap();
            });
        }
    });
    port
}

/// Sends it through, closes that direction, and reads to the end.
async fn through(stream: impl AsyncRead + AsyncWrite, data: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        writer.write_all(data).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let both = async { tokio::join!(sending, reader.read_to_end(&mut back)).1 };
    timeout(PATIENCE, both).await.expect("the forwarding hangs").unwrap();
    back
}

/// Where only ssh listens in these tests, so that nobody takes a port that was free a moment ago.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 78, 1);

async fn free_port() -> u16 {
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_local_forwarding_with_half_close() {
    let lab = Lab::new().await;
    let socket = lab.path("socket");
    let forward = format!("{}:localhost:{}", socket.display(), echo().await);
    let ready = ["-o", "ExitOnForwardFailure=yes", "-L", &forward];
    let mut ssh = lab.ssh(ready);
    let mut child =
        ssh.args(["127.0.0.1", "echo ready; cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut stdout).await, "ready");
    let data = noise(1_000_000);
    for _ in 0..3 {
        let stream = UnixStream::connect(&socket).await.unwrap();
        let back = through(stream, &data).await;
        assert!(back == [&data[..], b"last word"].concat());
    }
    drop(child.stdin.take());
    ended(child).await;
}

#[tokio::test]
async fn a_dynamic_forwarding() {
    let lab = Lab::new().await;
    let port = free_port().await;
    let socks = format!("{ADDRESS}:{port}");
    let mut ssh = lab.ssh(["-o", "ExitOnForwardFailure=yes", "-D", &socks, "127.0.0.1"]);
    let mut child = ssh.arg("echo ready; cat").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut stdout).await, "ready");

    let mut stream = TcpStream::connect((ADDRESS, port)).await.unwrap();
    // SOCKS 5: no authentication; connect to this name and port.
    stream.write_all(b"\x05\x01\x00").await.unwrap();
    let mut reply = [0; 2];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, *b"\x05\x00");
    let target = echo().await.to_be_bytes();
    let request = [&b"\x05\x01\x00\x03\x09localhost"[..], &target].concat();
    stream.write_all(&request).await.unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[..2], *b"\x05\x00");
    assert_eq!(through(stream, b"proxied ").await, b"proxied last word");
    drop(child.stdin.take());
    ended(child).await;
}

#[tokio::test]
async fn a_remote_forwarding() {
    let lab = Lab::new().await;
    let forward = format!("127.0.0.1:0:127.0.0.1:{}", echo().await);
    let mut ssh = lab.ssh(["-o", "ExitOnForwardFailure=yes", "-R", &forward, "-N", "127.0.0.1"]);
    let mut child = ssh.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    // "Allocated port 40123 for remote forward to 127.0.0.1:…"
    let said = line(&mut stderr).await;
    let port: u16 = said.split(' ').nth(2).and_then(|port| port.parse().ok()).expect(&said);
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(through(stream, b"around ").await, b"around last word");
    child.start_kill().unwrap();
    lab.server.wait_for_connections(0).await;
}

#[tokio::test]
async fn no_forwarding_off_the_machine_or_to_nobody() {
    let lab = Lab::new().await;
    // Bound and not listened on: connections to it are refused.
    let held = TcpSocket::new_v4().unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    for (target, reason) in [
        ("192.0.2.1:80", "administratively prohibited"),
        (&held.local_addr().unwrap().to_string(), "connect failed"),
    ] {
        let output = finish(lab.ssh(["-W", target, "127.0.0.1"])).await;
        assert!(!output.status.success());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(reason), "{errors}");
    }
}
