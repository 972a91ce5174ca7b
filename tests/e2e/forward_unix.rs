//! Unix sockets, and other places to listen at.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;

use local_cloud::{Agent, Instance, Pace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::forward_driver::{Forward, Server, read, text};
use crate::lab::Lab;
use crate::world::{INSTANCE, PATIENCE, noise};

/// A lab with an echo server behind port 7.
async fn lab() -> (Lab, Server) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
    let instance = instance.pace(Pace::announced(64_000_000)).target(7, server.addr);
    (Lab::new(instance).await, server)
}

fn forward(lab: &Lab, specs: &[&str], args: &[&str]) -> Forward {
    let mut all = vec!["--no-probe", "--ready-delay", "0", "--linger", "1", "--grace", "0"];
    for spec in specs {
        all.extend(["-L", spec]);
    }
    Forward::start(lab, &[&all, args].concat())
}

async fn echoes(mut stream: UnixStream) {
    let bytes = noise(200_000);
    let (mut reader, mut writer) = stream.split();
    let mut back = vec![0; bytes.len()];
    let exchange = async { tokio::join!(writer.write_all(&bytes), reader.read_exact(&mut back)) };
    let (sent, got) = timeout(PATIENCE, exchange).await.unwrap();
    sent.unwrap();
    got.unwrap();
    assert!(back == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_its_user_s_alone_and_goes_at_the_end() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("to echo.sock");
    let spec = format!("{}:localhost:7", path.display());
    let mut forward = forward(&lab, &[&spec], &[]);
    assert_eq!(forward.address().await, path.display().to_string());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for _ in 0..2 {
        echoes(UnixStream::connect(&path).await.unwrap()).await;
    }
    assert_eq!(forward.told(1, "accepted").await["peer"], "local");
    forward.all(2, "closed").await;
    assert_eq!(forward.stop("TERM").await.code(), 143);
    assert!(!path.exists(), "the socket is still there");
    lab.all_ended().await;
}

/// Where it is, as a shell has it: relative to the folder that it is started in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_a_killed_process_has_left_is_replaced() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s");
    drop(StdListener::bind(&path).unwrap());
    let stale = std::fs::metadata(&path).unwrap().ino();
    let mut forward = forward(&lab, &["./s:localhost:7"], &[]);
    assert_eq!(forward.address().await, "./s");
    let now = std::fs::metadata(&path).unwrap();
    assert_eq!(now.permissions().mode() & 0o777, 0o600);
    echoes(UnixStream::connect(&path).await.unwrap()).await;
    forward.all(1, "closed").await;
    forward.stop("INT").await;
    assert!(!path.exists(), "the socket is still there ({stale})");
    lab.all_ended().await;
}

#[tokio::test]
async fn what_is_not_ours_is_neither_taken_nor_removed() {
    let (lab, _server) = lab().await;
    let live = lab.dir.path().join("live.sock");
    let listener = StdListener::bind(&live).unwrap();
    let file = lab.dir.path().join("a file");
    std::fs::write(&file, "precious").unwrap();
    let nowhere = lab.dir.path().join("no such folder/s");
    for (path, fix) in [
        (&live, "end the program that listens there"),
        (&file, "remove the file if it is no socket"),
        (&nowhere, "make the folder first"),
    ] {
        let spec = format!("{}:localhost:7", path.display());
        let over = forward(&lab, &[&spec], &[]).end().await;
        assert_eq!((over.code(), over.all("listening").len()), (1, 0), "{spec}");
        let error = over.all("error")[0];
        assert!(text(error, "message").starts_with("cannot listen on"), "{error}");
        assert!(text(error, "fix").contains(fix), "{error}");
        assert_eq!(error["connection"], serde_json::Value::Null);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    // Its owner still has it.
    let _client = std::os::unix::net::UnixStream::connect(&live).unwrap();
    listener.accept().unwrap();
    assert!(lab.cloud.calls().is_empty(), "nothing was asked of the service");
}

/// The first one accepts nothing, so it opens no session; and it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_forward_on_a_socket_in_use_is_refused_without_a_trace() {
    let (lab, _server) = lab().await;
    let spec = format!("{}:localhost:7", lab.dir.path().join("s").display());
    let mut first = forward(&lab, &[&spec], &[]);
    let path = first.address().await;
    for _ in 0..3 {
        let second = forward(&lab, &[&spec], &[]).end().await;
        assert_eq!((second.code(), second.all("listening").len()), (1, 0));
        assert!(text(second.all("error")[0], "message").contains("in use"), "{second:?}");
    }
    // Connections are accepted in order: one that a second forward had made would be the first.
    echoes(UnixStream::connect(&path).await.unwrap()).await;
    first.all(1, "closed").await;
    let over = first.stop("TERM").await;
    assert_eq!(over.all("accepted").len(), 1, "{over:?}");
    assert_eq!(lab.cloud.sessions().len(), 1);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_taken_over_from_a_forward_that_was_killed() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s");
    let spec = format!("{}:localhost:7", path.display());
    let mut first = forward(&lab, &[&spec], &[]);
    first.address().await;
    first.bridge.signal("KILL").await;
    first.bridge.child.wait().await.unwrap();
    assert!(path.exists(), "it could not remove its socket");
    let mut second = forward(&lab, &[&spec], &[]);
    echoes(UnixStream::connect(second.address().await).await.unwrap()).await;
    second.all(1, "closed").await;
    second.stop("TERM").await;
    lab.all_ended().await;
}

/// Before anything is bound, and before anything is asked of the service.
#[tokio::test]
async fn a_path_that_is_too_long_and_a_place_that_is_given_twice() {
    let (lab, _server) = lab().await;
    let most = if cfg!(target_os = "linux") { 107 } else { 103 };
    let long = format!("/{}:localhost:7", "x".repeat(most));
    let path = lab.dir.path().join("s");
    let socket = format!("{}:localhost:7", path.display());
    for (specs, message) in [
        ([&socket, &long[..]], format!("has {} bytes", most + 1)),
        ([&socket, &socket], "is given twice".to_owned()),
        (["8022:localhost:7", "8022:localhost:7"], "localhost:8022 is given twice".to_owned()),
    ] {
        let over = forward(&lab, &specs, &[]).end().await;
        assert_eq!((over.code(), over.all("listening").len()), (2, 0), "{specs:?}");
        let error = over.all("error")[0];
        assert!(text(error, "message").contains(&message), "{error}");
        assert!(!path.exists());
    }
    assert!(lab.cloud.calls().is_empty(), "nothing was asked of the service");
}

/// Whoever has put a socket of their own in its place keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_another_has_replaced_is_left_alone() {
    let (lab, _server) = lab().await;
    let path = lab.dir.path().join("s");
    let spec = format!("{}:localhost:7", path.display());
    let mut forward = forward(&lab, &[&spec], &[]);
    forward.address().await;
    std::fs::rename(&path, lab.dir.path().join("moved")).unwrap();
    let _theirs = StdListener::bind(&path).unwrap();
    forward.stop("TERM").await;
    assert!(path.exists(), "another's socket was removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_loopback_is_listened_on_unless_told_otherwise() {
    let (lab, _server) = lab().await;
    let specs = ["0:localhost:7", "127.0.0.2:0:localhost:7", "[::1]:0:localhost:7"];
    let mut own = forward(&lab, &specs, &[]);
    let addresses = own.addresses(3).await;
    for (address, begin) in addresses.iter().zip(["127.0.0.1:", "127.0.0.2:", "[::1]:"]) {
        assert!(address.starts_with(begin), "{address}");
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
    }
    let over = own.stop("TERM").await;
    assert!(!over.ended.stderr.contains("warning"), "{}", over.ended.stderr);

    let mut open = forward(&lab, &["0:localhost:7"], &["--bind", "*"]);
    assert!(open.address().await.starts_with("0.0.0.0:"));
    let over = open.stop("TERM").await;
    let told = over.ended.stderr.matches("is open to other machines").count();
    assert_eq!(told, 1, "{}", over.ended.stderr);
    lab.all_ended().await;
}

#[tokio::test]
async fn a_local_port_in_use_and_an_address_of_another_machine() {
    let (lab, _server) = lab().await;
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held_spec = format!("{}:localhost:7", held.local_addr().unwrap().port());
    for (spec, message, fix) in [
        (&held_spec[..], "in use", "port 0 is a free one"),
        ("192.0.2.1:0:localhost:7", "cannot listen on 192.0.2.1:0", "that this machine has"),
    ] {
        // Beside one that could be listened on.
        let over = forward(&lab, &["0:localhost:7", spec], &[]).end().await;
        assert_eq!((over.code(), over.all("listening").len()), (1, 0), "{spec}");
        let error = over.all("error")[0];
        assert!(text(error, "message").contains(message), "{error}");
        assert!(text(error, "fix").contains(fix), "{error}");
    }
    assert!(lab.cloud.calls().is_empty(), "nothing was asked of the service");
}
