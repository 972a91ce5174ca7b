//! Through proxies: the API and the gateway alike, of every kind, by every setting.
//!
//! The cloud's name is one that only the proxy can resolve, where nothing else is said.

use std::time::Duration;

use local_cloud::{Agent, ApiFault, Instance, LocalCloud, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::forward_driver::Forward;
use crate::lab::{BANNER, Bridge, Lab, QUIET_PORT};
use crate::relay::{NAME, Relay, Rules};
use crate::world::{INSTANCE, Server, World, succeed};

const USER: &str = "us@r";
const PASSWORD: &str = "pass/w%rd-of-the-proxy";

/// A lab whose cloud serves TLS by a name, and trusts one more certificate.
async fn lab(name: &str, more: &str) -> Lab {
    let cloud = LocalCloud::builder().tls(Tls::Trusted).name(name);
    let lab = Lab::with(cloud, Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let pem = format!("{}\n{more}", lab.cloud.ca_pem().unwrap());
    std::fs::write(lab.dir.path().join("ca.pem"), pem).unwrap();
    lab
}

/// A `proxy` that trusts the lab's cloud.
fn proxy(lab: &Lab, args: &[&str]) -> Command {
    let mut command = lab.bridge(args);
    command.args(["--ca-file", "ca.pem", "proxy", INSTANCE]);
    command
}

/// Carries a few bytes each way, and gives what was said on stderr.
async fn carries(lab: &Lab, command: &mut Command) -> String {
    let mut bridge = Bridge::start(command);
    bridge.send(BANNER).await;
    let mut target = tokio::select! {
        target = lab.accept() => target,
        ended = bridge.child.wait() => panic!("{ended:?}: {}", bridge.log()),
    };
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    bridge.expect(b"SSH-2.0-x\r\n").await;
    let mut got = [0; BANNER.len()];
    target.read_exact(&mut got).await.unwrap();
    assert_eq!(got, BANNER);
    drop(target);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said(b"");
    lab.all_ended().await;
    ended.stderr
}

/// What the relay was asked for is the cloud, by this name, and at least once for each of the two.
fn is_used(relay: &Relay, lab: &Lab, name: &str) {
    let asked = relay.asked();
    assert!(asked.len() >= 2, "{asked:?}");
    let target = format!("{name}:{}", lab.cloud.addr().port());
    assert!(asked.iter().all(|asked| *asked == target), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_leads_to_the_api_and_the_gateway() {
    let (https, pem) = Rules::http().tls();
    for (scheme, rules, pem) in
        [("http", Rules::http(), ""), ("https", https, &*pem), ("socks5h", Rules::socks(), "")]
    {
        for rules in [rules.clone(), rules.login(USER, PASSWORD)] {
            let relay = rules.start().await;
            let lab = lab(NAME, pem).await;
            let said =
                carries(&lab, &mut proxy(&lab, &["-v", "--proxy", &relay.url(scheme)])).await;
            is_used(&relay, &lab, NAME);
            let there = format!("{NAME}:{}", lab.cloud.addr().port());
            for what in ["the API", "the gateway"] {
                let line = format!(
                    "{what} at {there} is reached through the proxy {scheme}://{}, as --proxy says",
                    relay.place()
                );
                assert_eq!(said.matches(&line).count(), 1, "{line}\n{said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_leads_to_a_cloud_without_tls_on_this_machine() {
    for (scheme, rules) in
        [("http", Rules::http()), ("socks5", Rules::socks()), ("socks5h", Rules::socks())]
    {
        for rules in [rules.clone(), rules.login(USER, PASSWORD)] {
            let relay = rules.start().await;
            let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
            let url = relay.url(scheme);
            let said = carries(&lab, &mut lab.bridge(["--proxy", &url, "proxy", INSTANCE])).await;
            assert_eq!(said, "");
            is_used(&relay, &lab, "127.0.0.1");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_resolved_where_the_scheme_says() {
    for (scheme, rules, asked) in [
        ("http", Rules::http(), "localhost"),
        ("socks5h", Rules::socks(), "localhost"),
        ("socks5", Rules::socks(), "127.0.0.1"),
    ] {
        let relay = rules.start().await;
        let lab = lab("localhost", "").await;
        carries(&lab, &mut proxy(&lab, &["--proxy", &relay.url(scheme)])).await;
        is_used(&relay, &lab, asked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_variable_is_honoured_and_the_first_one_counts() {
    let variables = ["ECS_BRIDGE_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    for (at, variable) in variables.into_iter().enumerate() {
        let (relay, other) = (Rules::http().start().await, Rules::http().start().await);
        let lab = lab(NAME, "").await;
        let mut command = proxy(&lab, &["-v"]);
        command.env(variable, relay.place());
        for later in &variables[at + 1..] {
            command.env(later, other.url("http"));
        }
        let said = carries(&lab, &mut command).await;
        assert!(said.contains(&format!("as {variable} says")), "{said}");
        is_used(&relay, &lab, NAME);
        assert_eq!(other.connections(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_excepted_is_reached_directly() {
    let relay = Rules::http().start().await;
    let url = relay.url("http");
    let direct = |args: &'static [&str], env: &'static [(&str, &str)], reason: &'static str| {
        let (relay, url) = (&relay, &url);
        async move {
            let lab = lab("localhost", "").await;
            let mut command = proxy(&lab, &["-v"]);
            command.args(args.iter().map(|arg| if *arg == "URL" { url } else { *arg }));
            for (name, value) in env {
                command.env(name, if *value == "URL" { url } else { *value });
            }
            let said = carries(&lab, &mut command).await;
            assert_eq!(relay.connections(), 0, "{args:?} {env:?}");
            for what in ["the API", "the gateway"] {
                let line = format!(
                    "{what} at localhost:{} is reached without {reason}",
                    lab.cloud.addr().port()
                );
                assert_eq!(said.matches(&line).count(), 1, "{line}\n{said}");
            }
        }
    };
    tokio::join!(
        direct(&["--proxy", "none"], &[("ALL_PROXY", "URL")], "a proxy: --proxy is 'none'"),
        direct(
            &[],
            &[("ECS_BRIDGE_PROXY", "none"), ("HTTPS_PROXY", "URL")],
            "a proxy: ECS_BRIDGE_PROXY is 'none'"
        ),
        direct(
            &["--proxy", "URL"],
            &[("NO_PROXY", "x.example, localhost")],
            "the proxy: NO_PROXY has it"
        ),
        direct(&[], &[("https_proxy", "URL"), ("no_proxy", "*")], "the proxy: no_proxy has it"),
        direct(&[], &[("HTTPS_PROXY", "URL")], "the proxy: it is on this machine"),
        direct(&["--proxy", "http://192.0.2.1:3128"], &[], "the proxy: it is on this machine"),
    );
    // Nothing is said where there is nothing to say.
    let lab = lab("localhost", "").await;
    let said = carries(&lab, proxy(&lab, &["-v"]).env("HTTP_PROXY", &url)).await;
    assert!(!said.contains("is reached"), "{said}");
    assert_eq!(relay.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_go_through_and_connect_to_the_gateway_ahead() {
    for (scheme, rules) in [("http", Rules::http()), ("socks5h", Rules::socks())] {
        let relay = rules.login(USER, PASSWORD).start().await;
        let lab = lab(NAME, "").await;
        let spec = format!("0:localhost:{QUIET_PORT}");
        let mut command = lab.bridge(["-vv", "--ca-file", "ca.pem", "--proxy"]);
        command.arg(relay.url(scheme));
        command.args(["forward", "--json", "-i", INSTANCE, "--no-probe", "-L", &spec]);
        let mut forward = Forward::run(&mut command);
        for at in 0..2 {
            if at == 1 {
                // Long enough for the gateway to be connected to meanwhile.
                let slow = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(500));
                lab.cloud.faults().api(slow);
            }
            let mut client = forward.connect().await;
            client.write_all(b"ping").await.unwrap();
            let mut target = lab.accept().await;
            let mut got = [0; 4];
            target.read_exact(&mut got).await.unwrap();
            target.write_all(b"pong").await.unwrap();
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"pong");
        }
        // One connection to the API for all of it, or two; one to the gateway for each session.
        let count = relay.asked().len();
        assert!((3..=4).contains(&count), "{:?}", relay.asked());
        is_used(&relay, &lab, NAME);
        let over = forward.stop("TERM").await;
        let said = &over.ended.stderr;
        assert!(said.contains("connected to the gateway ahead of the session: true"), "{said}");
        assert_eq!(said.matches("the gateway at").count(), 1, "{said}");
        lab.all_ended().await;
    }
}

/// A proxy or a gateway may close what is idle at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_the_gateway_that_is_closed_before_it_is_used_is_made_anew() {
    let relay = Rules::http().start().await;
    let lab = lab(NAME, "").await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut command = lab.bridge(["-vv", "--ca-file", "ca.pem", "--proxy"]);
    command.arg(relay.url("http"));
    command.args(["forward", "--json", "-i", INSTANCE, "--no-probe", "-L", &spec]);
    let mut forward = Forward::run(&mut command);
    let mut clients = Vec::new();
    for at in 0..2 {
        if at == 1 {
            // The gateway is connected to meanwhile, and the connection is closed.
            let slow = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(1_500));
            lab.cloud.faults().api(slow);
        }
        let before = relay.connections();
        let mut client = forward.connect().await;
        if at == 1 {
            forward.bridge.logged("connected to the gateway ahead of the session: true").await;
            (before..relay.connections()).for_each(|connection| relay.cut(connection));
        }
        client.write_all(b"ping").await.unwrap();
        let mut target = lab.accept().await;
        let mut got = [0; 4];
        target.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");
        clients.push((client, target));
    }
    drop(clients);
    let over = forward.stop("TERM").await;
    let said = &over.ended.stderr;
    assert!(said.contains("making another one"), "{said}");
    assert_eq!(lab.cloud.upgrades().len(), 2);
    lab.all_ended().await;
}

async fn ssh_goes_through(scheme: &str, rules: Rules) {
    let relay = rules.login(USER, PASSWORD).start().await;
    let cloud = LocalCloud::builder().tls(Tls::Trusted).name(NAME);
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
    let Some(world) = World::in_cloud(Server::InProcess, cloud, instance).await else { return };
    std::fs::write(world.path("ca.pem"), world.cloud.ca_pem().unwrap()).unwrap();
    let mut ssh = world.openssh("ssh");
    ssh.env("HTTPS_PROXY", relay.url(scheme)).env("ECS_BRIDGE_CA_FILE", world.path("ca.pem"));
    let out = succeed(ssh.args([INSTANCE, "echo hello"])).await;
    assert_eq!(out, b"hello\n");
    let asked = relay.asked();
    assert!(asked.len() >= 2 && asked.iter().all(|asked| asked.starts_with(NAME)), "{asked:?}");
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains("as HTTPS_PROXY says") && !log.contains("of-the-proxy"), "{log}");
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_goes_through_an_http_proxy() {
    ssh_goes_through("http", Rules::http()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_goes_through_a_socks_proxy() {
    ssh_goes_through("socks5h", Rules::socks()).await;
}
