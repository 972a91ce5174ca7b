//! Sessions that wait for a place where a quota is full.

use std::process::Stdio;
use std::time::Duration;

use local_cloud::{Action, Agent, ApiFault, Builder, Fault, Instance, LocalCloud, Pace, Point};
use tokio::io::AsyncWriteExt;

use crate::lab::{BANNER, Bridge, Lab, SOON};
use crate::world::{INSTANCE, Server, World};

const START: &str = "StartTerminalSession";
const FULL: &str = "SessionCount.ExceedLimit";
const WAITS: &str = "the session quota is full";

async fn lab(change: impl FnOnce(Builder) -> Builder) -> Lab {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    Lab::with(change(LocalCloud::builder()), instance).await
}

fn starts(lab: &Lab) -> usize {
    lab.count(START)
}

/// What one session says and hears.
async fn carries(lab: &Lab, bridge: &mut Bridge) {
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    bridge.expect(BANNER).await;
    bridge.stdin.take();
    drop(target);
}

async fn all_of_24_ssh_succeed(server: Server) {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let Some(world) = World::in_cloud(server, LocalCloud::builder(), instance).await else {
        return;
    };
    let mut all: Vec<_> = (0..24)
        .map(|_| {
            let mut ssh = world.openssh("ssh");
            ssh.args([INSTANCE, "cat"]);
            let mut ssh = Bridge::start(&mut ssh);
            let stdin = ssh.stdin.take().unwrap();
            (ssh, stdin)
        })
        .collect();
    // The first 20 stay, and the others wait.
    let connected = world.cloud.wait_for(
        |state| state.sessions().filter(|session| session.live > 0).count() == 20,
        10 * SOON,
    );
    connected.await.expect("20 are connected");
    let waits = async {
        while all.iter().filter(|(ssh, _)| ssh.log().contains(WAITS)).count() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(10 * SOON, waits).await.expect("4 wait");
    for (_, stdin) in &mut all {
        stdin.write_all(b"hello").await.unwrap();
    }
    // Any of them may be one that waits: each place has to come free.
    let all: Vec<_> = all.into_iter().map(|(ssh, _)| ssh).collect();
    for ssh in all {
        let ended = ssh.end().await;
        assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"hello"[..]), "{}", ended.stderr);
        assert!(ended.stderr.matches(WAITS).count() <= 1, "{}", ended.stderr);
    }
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_24_ssh_at_once_succeed() {
    all_of_24_ssh_succeed(Server::InProcess).await;
}

/// The gateway counts for itself, a service that is asked too often says so, and one may be out of reach for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_full_quota_is_waited_for() {
    let lab = lab(|builder| builder).await;
    let full = Fault::new(Point::Upgrade, Action::Refuse(429)).times(2);
    assert!(lab.cloud.faults().stream(INSTANCE, full));
    let mut bridge = lab.start(&[]);
    carries(&lab, &mut bridge).await;
    let ended = bridge.end().await;
    assert_eq!((ended.code, starts(&lab)), (Some(0), 3), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(WAITS).count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("waiting up to 60 s (--wait)"), "{}", ended.stderr);

    let throttled = ApiFault::on(START).error(400, "Throttling.User", "slow");
    for (fails, tries) in [(throttled, 6), (ApiFault::on(START).cut(), 12)] {
        lab.cloud.faults().api(ApiFault::on(START).error(403, FULL, "too many sessions").times(1));
        // As often as one call is tried.
        lab.cloud.faults().api(fails.times(4));
        let mut bridge = lab.start(&["-q"]);
        carries(&lab, &mut bridge).await;
        bridge.end().await.well(BANNER_IS_READ);
        assert_eq!(starts(&lab), 3 + tries);
    }
    lab.all_ended().await;
}

/// [`carries`] has read it.
const BANNER_IS_READ: &[u8] = b"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_does_not_come_free_is_waited_for_as_long_as_wait_says() {
    for quota in [Builder::instance_quota, Builder::region_quota] {
        let lab = lab(|builder| quota(builder, 0)).await;
        let ended = lab.start(&["--wait", "2"]).end().await;
        assert_eq!(ended.code, Some(6), "{}", ended.stderr);
        assert!(ended.took >= Duration::from_secs(2), "{:?}", ended.took);
        let (told, report) = ended.stderr.split_once('\n').unwrap();
        assert!(told.contains(WAITS) && told.contains("up to 2 s (--wait)"), "{told}");
        assert!(report.contains(FULL), "{report}");
        assert!(report.contains("the quota was still full after 2 s (--wait)"), "{report}");
        let asked = starts(&lab);
        assert!((3..10).contains(&asked), "{asked}");

        let ended = lab.start(&["--wait", "0"]).end().await;
        assert_eq!(ended.code, Some(6), "{}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(report.what.contains(FULL) && !report.why.contains("--wait"), "{report:?}");
        assert_eq!(starts(&lab), asked + 1);
        lab.all_ended().await;
    }
}

/// What is no quota is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_is_waited_for() {
    let lab = lab(|builder| builder).await;
    let faults = lab.cloud.faults();
    faults.api(ApiFault::on(START).error(403, "Forbidden.RAM", "no").times(1));
    let ended = lab.start(&[]).end().await;
    assert!(ended.report().unwrap().what.contains("Forbidden.RAM"), "{}", ended.stderr);
    assert!(faults.stream(INSTANCE, Fault::new(Point::Upgrade, Action::Refuse(403)).times(1)));
    let ended = lab.start(&[]).end().await;
    assert!(ended.report().unwrap().what.contains("403"), "{}", ended.stderr);
    // Throttling is waited for by each call, and no longer.
    faults.api(ApiFault::on(START).error(400, "Throttling.User", "slow").times(4));
    let ended = lab.start(&[]).end().await;
    assert!(ended.report().unwrap().what.contains("Throttling.User"), "{}", ended.stderr);
    assert_eq!(starts(&lab), 1 + 1 + 4);
    lab.all_ended().await;
}

/// Neither ssh's end nor a signal is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_ends_when_it_is_asked_to() {
    let lab = lab(|builder| builder.instance_quota(0)).await;
    for signal in [true, false] {
        let mut bridge = lab.start(&[]);
        bridge.logged(WAITS).await;
        let code = if signal {
            bridge.signal("TERM").await;
            143
        } else {
            drop((bridge.stdin.take(), bridge.stdout.take()));
            0
        };
        let ended = tokio::time::timeout(SOON, bridge.end()).await.expect("it ends soon");
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    lab.all_ended().await;
}

/// What ssh says first is not lost while its session waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_early_wait_too() {
    let lab = lab(|builder| builder.instance_quota(1)).await;
    let mut first = lab.start(&[]);
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    first.expect(BANNER).await;
    let mut command = lab.bridge(["proxy", INSTANCE, "--wait", "50"]);
    let mut second = Bridge::start(command.stderr(Stdio::piped()));
    second.send(BANNER).await;
    second.logged("waiting up to 50 s").await;
    drop((first.stdin.take(), target));
    first.end().await.well(b"");
    let mut target = lab.accept().await;
    let mut got = vec![0; BANNER.len()];
    target.write_all(BANNER).await.unwrap();
    second.expect(BANNER).await;
    tokio::io::AsyncReadExt::read_exact(&mut target, &mut got).await.unwrap();
    assert_eq!(got, BANNER);
    drop((second.stdin.take(), target));
    assert_eq!(second.end().await.code, Some(0));
    lab.all_ended().await;
}
