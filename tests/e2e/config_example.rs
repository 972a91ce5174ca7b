//! What ssh makes of ssh_config.example.

use tokio::process::Command;

use crate::world::succeed;

/// The options that ssh uses for a host, a line each.
async fn options(host: &str) -> Vec<String> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/ssh_config.example");
    let out = succeed(Command::new("ssh").args(["-F", config, "-G", host])).await;
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn instances_and_their_names_go_through_ecs_bridge() {
    for (host, proxy) in [
        ("i-bp1example0001", "proxycommand ecs-bridge proxy --send-key --user %r %h %p"),
        ("mi-hz01example", "proxycommand ecs-bridge proxy %h %p"),
        ("db-1.cn-beijing.ecs", "proxycommand ecs-bridge proxy --send-key --user %r %h %p"),
        ("web-1", "proxycommand ecs-bridge proxy --send-key --user %r %h %p"),
        ("inner", "proxycommand ecs-bridge proxy i-bp1example0001 %p --remote-host 10.0.0.7"),
    ] {
        let options = options(host).await;
        for option in [proxy, "controlmaster auto", "serveraliveinterval 30"] {
            assert!(options.iter().any(|line| line == option), "{host}: no {option}");
        }
    }
    let named = options("web-1").await;
    for option in [
        "hostname i-bp1example0001",
        "stricthostkeychecking true",
        "knownhostscommand /usr/local/bin/ecs-bridge known-hosts %H",
    ] {
        assert!(named.iter().any(|line| line == option), "no {option}");
    }
    let managed = options("mi-hz01example").await;
    assert!(!managed.iter().any(|line| line.starts_with("knownhostscommand")));
}

#[tokio::test]
async fn other_hosts_do_not() {
    let options = options("www.example.com").await;
    assert!(!options.iter().any(|line| line.contains("ecs-bridge")));
}
