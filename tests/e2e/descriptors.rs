//! A limit of open files: it is named, whatever it has made fail, and not again and again.

use std::time::Duration;

use local_cloud::{Agent, Instance, LocalCloud, Pace, Tls};
use tokio::net::TcpStream;

use crate::forward_driver::Server;
use crate::lab::{Bridge, Ended, Lab, QUIET_PORT};
use crate::terminal::by;
use crate::world::{INSTANCE, PATIENCE};

const CONFIG: &str = r#"{"current":"p","profiles":[{"name":"p","mode":"AK","access_key_id":"none",
    "access_key_secret":"none","region_id":"cn-hangzhou"}]}"#;

fn limited(lab: &Lab, limit: usize, args: &[&str]) -> tokio::process::Command {
    let inner = lab.bridge(args);
    by(&["sh", "-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"], &inner)
}

/// Limits under which nothing but the program itself can be opened, and such that are enough.
const LIMITS: [usize; 10] = [5, 6, 7, 8, 9, 10, 11, 12, 14, 40];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_under_a_low_limit_names_it_and_nothing_else() {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::with(LocalCloud::builder().tls(Tls::Trusted), instance).await;
    let file = |name: &str, text: &str| {
        let path = lab.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    file(".aliyun/config.json", CONFIG);
    let path = file("ca.pem", lab.cloud.ca_pem().unwrap());
    let ca_file = ["--ca-file", &path];
    let proxy = ["proxy", INSTANCE, QUIET_PORT, "--linger", "0", "--wait", "0"];
    for (args, variable) in [
        (vec!["configure", "list"], None),
        ([&["list", "--profile", "p"], &ca_file[..]].concat(), None),
        (vec!["list"], Some(&path)),
        ([&proxy[..], &ca_file].concat(), None),
    ] {
        let mut failed = Vec::new();
        for limit in LIMITS {
            let mut command = limited(&lab, limit, &args);
            if let Some(path) = variable {
                command.env("SSL_CERT_FILE", path);
            }
            let mut bridge = Bridge::start(&mut command);
            drop(bridge.stdin.take());
            let Ended { code, stderr, .. } = bridge.end().await;
            assert!(!stderr.contains("panicked"), "{args:?}, {limit}: {stderr}");
            if !stderr.contains("ulimit -n") {
                assert!(!stderr.contains("Too many open files"), "{args:?}, {limit}: {stderr}");
                continue;
            }
            for other in ["correct", "unset", "resolver says", "ca-certificates"] {
                assert!(!stderr.contains(other), "{args:?}, {limit}: {stderr}");
            }
            assert!(matches!(code, Some(1..=8)), "{args:?}, {limit}: {code:?}, {stderr}");
            failed.push(limit);
        }
        assert!(failed.len() > 1, "{args:?}: {failed:?}");
        assert!(!failed.contains(&40), "{args:?}: {failed:?}");
    }
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
