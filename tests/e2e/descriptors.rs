//! A limit of open files: it is named, whatever it has made fail, and not again and again.

use std::time::Duration;

use local_cloud::{Agent, Instance, Pace};
use tokio::net::TcpStream;

use crate::forward_driver::Server;
use crate::lab::{Bridge, Lab};
use crate::terminal::by;
use crate::world::{INSTANCE, PATIENCE};

fn limited(lab: &Lab, limit: usize, args: &[&str]) -> tokio::process::Command {
    let inner = lab.bridge(args);
    by(&["sh", "-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"], &inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fail_for_it_are_counted_and_not_told_one_by_one() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let args = ["forward", "-i", INSTANCE, "-L", "0:localhost:7", "--no-probe"];
    let mut forward = Bridge::start(&mut limited(&lab, 24, &args));
    forward.logged("Forwarding ").await;
    let log = forward.log();
    let address = log.split_whitespace().nth(1).unwrap().to_owned();
    // Each of them has a socket, and none is left for their sessions.
    let connect = || TcpStream::connect(&address);
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(connect().await.unwrap());
    }
    forward.logged("ulimit -n").await;
    forward.logged("closed after").await;
    let reset = async {
        for client in &mut clients {
            let _ = tokio::time::timeout(
                Duration::from_secs(2),
                tokio::io::AsyncReadExt::read(client, &mut [0]),
            )
            .await;
        }
    };
    tokio::time::timeout(PATIENCE, reset).await.unwrap();
    forward.signal("TERM").await;
    drop(clients);
    let ended = forward.end().await;
    let reports = ended.stderr.matches("error: ").count();
    assert!(reports <= 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("connections failed so far"), "{}", ended.stderr);
}
