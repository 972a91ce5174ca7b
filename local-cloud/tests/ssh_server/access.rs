//! Who is let in, and what the server says first.

use std::fs;
use std::time::{Duration, Instant};

use local_cloud::ssh_server::SshServer;
use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::lab::{Lab, keygen, line, ok};

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let lab = Lab::new().await;
    fs::remove_file(lab.path("key")).unwrap();
    fs::remove_file(lab.path("key.pub")).unwrap();
    keygen(&lab.path("key")).await;
    let output = lab.run("true").await;
    assert_eq!(output.status.code(), Some(255));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("Permission denied (publickey)"), "{errors}");
    assert_eq!(lab.server.processes(), 0);
}

#[tokio::test]
async fn without_a_key_only_when_asked_for() {
    let lab = Lab::with(|builder| builder.accept_none(true)).await;
    fs::remove_file(lab.path("key")).unwrap();
    assert_eq!(lab.run("echo in").await.stdout, b"in\n");
}

#[tokio::test]
async fn an_unknown_host_key_is_noticed() {
    let lab = Lab::new().await;
    let other = SshServer::builder().start().await.unwrap();
    let known = format!("instance {}\n", other.host_key_openssh());
    fs::write(lab.path("known_hosts"), known).unwrap();
    let output = lab.run("true").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("Host key verification failed"), "{errors}");
}

#[tokio::test]
async fn a_host_key_can_be_given() {
    let first = SshServer::builder().start().await.unwrap();
    let key = first.host_private_key_openssh();
    let second = SshServer::builder().host_key(key).start().await.unwrap();
    assert_eq!(first.host_key_openssh(), second.host_key_openssh());
    assert!(SshServer::builder().host_key("no key").start().await.is_err());
    assert!(SshServer::builder().authorized_key("no key").start().await.is_err());
    assert!(SshServer::builder().root_dir("/no/such/dir").start().await.is_err());
    assert!(SshServer::builder().bind(first.addr()).start().await.is_err());
}

#[tokio::test]
async fn the_banner_can_be_late() {
    let delay = Duration::from_millis(400);
    let lab = Lab::with(|builder| builder.banner_delay(delay)).await;
    let started = Instant::now();
    let mut stream = BufReader::new(TcpStream::connect(lab.server.addr()).await.unwrap());
    assert!(line(&mut stream).await.starts_with("SSH-2.0-"));
    assert!(started.elapsed() >= delay);
    assert_eq!(ok(&lab.run("echo late").await), "late\n");
}
