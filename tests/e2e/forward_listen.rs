//! Where `forward` listens without a bind address: on one port of both loopback addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::forward_driver::{Forward, echo_lab, read, text};
use crate::lab::Lab;

fn forward(lab: &Lab, args: &[&str]) -> Forward {
    let all = ["--no-probe", "--ready-delay", "0", "--linger", "0", "--grace", "0"];
    Forward::start(lab, &[&all, args].concat())
}

/// Every address of the only forward.
async fn addresses(forward: &mut Forward) -> Vec<String> {
    forward.address().await;
    let event = forward.so_far("listening").remove(0);
    assert_eq!(event["addresses"][0], event["address"]);
    let addresses = event["addresses"].as_array().unwrap().iter();
    addresses.map(|address| address.as_str().unwrap().to_owned()).collect()
}

async fn echoes(address: &str) {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
}

/// A port that nobody has on either loopback address, and that nobody is given who takes any: those of Linux
/// begin at 32768.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    // Another run of these tests has other numbers.
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let is_free = |address: IpAddr| StdListener::bind((address, port)).is_ok();
        if is_free(Ipv4Addr::LOCALHOST.into()) && is_free(Ipv6Addr::LOCALHOST.into()) {
            return port;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_loopback_addresses_lead_to_the_target_on_one_port() {
    let port = free_port().to_string();
    for args in [
        &["-L", "0:localhost:7"][..],
        &["-L", &format!("{port}:localhost:7")],
        &["-L", "localhost:0:localhost:7", "--bind", "*"],
        &["--local-port", "0", "--remote-port", "7", "--bind", "localhost"],
    ] {
        let (lab, _server) = echo_lab().await;
        let mut forward = forward(&lab, args);
        let addresses = addresses(&mut forward).await;
        let port = addresses[0].strip_prefix("127.0.0.1:").unwrap();
        assert_eq!(addresses[1..], [format!("[::1]:{port}")], "{args:?}");
        for (address, connection) in addresses.iter().zip(1..) {
            echoes(address).await;
            let accepted = forward.told(connection, "accepted").await;
            assert_eq!(text(&accepted, "address"), addresses[0], "it stands for the forward");
        }
        forward.all(2, "closed").await;
        let over = forward.stop("TERM").await;
        assert!(!over.ended.stderr.contains("warning"), "{}", over.ended.stderr);
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_named_is_the_only_one() {
    let (lab, _server) = echo_lab().await;
    for (args, begin) in [
        (&["-L", "127.0.0.1:0:localhost:7"][..], "127.0.0.1:"),
        (&["-L", "0:localhost:7", "--bind", "127.0.0.1"], "127.0.0.1:"),
        (&["-L", "[::1]:0:localhost:7"], "[::1]:"),
    ] {
        let mut forward = forward(&lab, args);
        let addresses = addresses(&mut forward).await;
        assert!(addresses.len() == 1 && addresses[0].starts_with(begin), "{addresses:?}");
        forward.stop("TERM").await;
    }
}

/// As with `ssh -L`, but told: a program that connects to localhost may reach the other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_ipv6_in_use_leaves_the_other_and_is_warned_of() {
    let (lab, _server) = echo_lab().await;
    let port = free_port();
    let _held = StdListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
    let mut forward = forward(&lab, &["-L", &format!("{port}:localhost:7")]);
    assert_eq!(addresses(&mut forward).await, [format!("127.0.0.1:{port}")]);
    echoes(&format!("127.0.0.1:{port}")).await;
    let over = forward.stop("TERM").await;
    let warning = format!("warning: cannot listen on [::1]:{port}: ");
    assert_eq!(over.ended.stderr.matches(&warning).count(), 1, "{}", over.ended.stderr);
    lab.all_ended().await;
}

/// A network of its own, in which one loopback address is missing.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_address_that_the_machine_does_not_have_is_left_out_in_silence() {
    use crate::terminal::by;
    use crate::world::{INSTANCE, installed, run};

    let (lab, _server) = echo_lab().await;
    for (missing, kept) in [("::1/128", "127.0.0.1:"), ("127.0.0.1/8", "[::1]:")] {
        let script = format!("ip link set lo up && ip addr del {missing} dev lo && exec \"$@\"");
        let words = ["unshare", "-rn", "sh", "-c", &script, "sh"];
        let probe = by(&[&words[..], &["true"]].concat(), &lab.bridge([] as [&str; 0]));
        let can = installed("unshare").is_some() && installed("ip").is_some();
        if !can || !run(&mut { probe }).await.status.success() {
            eprintln!("skipped: no network of its own can be had here");
            return;
        }
        let args = ["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:7", "--no-probe"];
        let mut forward = Forward::run(&mut by(&words, &lab.bridge(args)));
        let addresses = addresses(&mut forward).await;
        assert!(addresses.len() == 1 && addresses[0].starts_with(kept), "{addresses:?}");
        let over = forward.stop("TERM").await;
        assert_eq!(over.ended.stderr, "");
    }
}
