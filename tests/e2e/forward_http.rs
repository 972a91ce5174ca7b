//! curl against an HTTP/1.1 server of the test's own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_cloud::{Agent, Instance, Pace};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::forward_driver::{Forward, Server, number};
use crate::lab::Lab;
use crate::world::{INSTANCE, installed, noise, succeed};

const BODY: usize = 300_000;

/// Answers `/length` and `/chunked` and goes on, `/close` by closing, and a POST with its own body.
async fn serve(stream: TcpStream, requests: Arc<AtomicUsize>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let body = noise(BODY);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = head[start..].split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent).await?;
        match head.split(' ').nth(1).unwrap() {
            "/length" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            "/chunked" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
                for chunk in body.chunks(10_000) {
                    stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                    stream.write_all(chunk).await?;
                    stream.write_all(b"\r\n").await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
            }
            "/echo" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&sent).await?;
            }
            _ => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
                stream.write_all(&body).await?;
                return stream.shutdown().await;
            }
        }
        stream.flush().await?;
    }
}

/// A lab whose port 80 is that server, and a forward to it.
async fn web(agent: Agent) -> (Lab, Server, Forward, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = Server::start(move |stream| serve(stream, Arc::clone(&counter))).await;
    let instance = Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000));
    let lab = Lab::new(instance.target(80, server.addr)).await;
    let forward = Forward::start(&lab, &["-L", "0:localhost:80", "--linger", "1"]);
    (lab, server, forward, requests)
}

fn curl(lab: &Lab) -> Option<Command> {
    let mut command = Command::new(installed("curl")?);
    // -q: the settings of whoever runs the test are none of its business.
    command.args(["-q", "-sS", "--fail", "--noproxy", "*", "--max-time", "50"]);
    command.current_dir(lab.dir.path()).kill_on_drop(true);
    Some(command)
}

async fn ends_well(lab: &Lab, mut forward: Forward, connections: usize) {
    forward.all(connections, "closed").await;
    let over = forward.stop("TERM").await;
    assert_eq!((over.code(), over.all("error").len()), (143, 0), "{over:?}");
    lab.all_ended().await;
    for session in lab.cloud.sessions() {
        assert_eq!(session.dropped_bytes, 0, "an older agent dropped early input");
        assert_ne!(session.end_reason.as_deref(), Some("FlowExceedLimit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_keeps_a_connection_for_many_requests() {
    for agent in [Agent::d(), Agent::a()] {
        let (lab, _server, mut forward, requests) = web(agent).await;
        let Some(mut curl) = curl(&lab) else { return };
        let url = format!("http://{}", forward.address().await);
        std::fs::write(lab.dir.path().join("up"), noise(BODY)).unwrap();
        curl.args(["-o", "a", &format!("{url}/length"), "-o", "b", &format!("{url}/chunked")]);
        curl.args(["-o", "c", &format!("{url}/length"), "-w", "%{num_connects}\n"]);
        assert_eq!(succeed(&mut curl).await, b"1\n0\n0\n", "connections made for each");
        for name in ["a", "b", "c"] {
            let got = std::fs::read(lab.dir.path().join(name)).unwrap();
            assert!(got == noise(BODY), "{name}: {} bytes", got.len());
        }
        assert_eq!(requests.load(Ordering::Relaxed), 3);
        ends_well(&lab, forward, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sends_a_body_and_gets_it_back() {
    for agent in [Agent::d(), Agent::a()] {
        let (lab, _server, mut forward, _) = web(agent).await;
        let Some(mut curl) = curl(&lab) else { return };
        let url = format!("http://{}/echo", forward.address().await);
        std::fs::write(lab.dir.path().join("up"), noise(2_000_000)).unwrap();
        // Without an Expect: 100-continue, which the server does not know.
        let got = succeed(curl.args(["--data-binary", "@up", "-H", "Expect:", &url])).await;
        assert!(got == noise(2_000_000), "{} bytes", got.len());
        let closed = forward.told(1, "closed").await;
        assert!(number(&closed, "sent") > 2_000_000, "{closed}");
        assert!(number(&closed, "received") > 2_000_000, "{closed}");
        ends_well(&lab, forward, 1).await;
    }
}

/// The answer ends with the connection. With newer agents only: older ones do not tell that the
/// target has closed (docs/protocol.md, 7), and a client that waits for it waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_takes_an_answer_that_the_server_s_close_ends() {
    let (lab, _server, mut forward, _) = web(Agent::d()).await;
    let Some(mut curl) = curl(&lab) else { return };
    let url = format!("http://{}/close", forward.address().await);
    curl.args(["-o", "a", &url, "-o", "b", &url, "-w", "%{num_connects}\n"]);
    assert_eq!(succeed(&mut curl).await, b"1\n1\n", "connections made for each");
    for name in ["a", "b"] {
        let got = std::fs::read(lab.dir.path().join(name)).unwrap();
        assert!(got == noise(BODY), "{name}: {} bytes", got.len());
    }
    for connection in [1, 2] {
        assert_eq!(forward.told(connection, "closed").await["reason"], "target");
    }
    ends_well(&lab, forward, 2).await;
}
