//! `--start`: an instance that is stopped is started, and what was said meanwhile is not lost.

use std::time::Duration;

use local_cloud::{
    AccessKey, Agent, ApiFault, CallRecord, Instance, InstanceStatus, LocalCloud, Pace,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::forward_driver::{Forward, read};
use crate::lab::{BANNER, Bridge, Ended, Lab, SOON, refusing};
use crate::world::{INSTANCE, PATIENCE, make_key};

const HELLO: &[u8] = b"SSH-2.0-target\r\n";
/// How long it takes the instance to run, and then its agent to be there.
const BOOT: Duration = Duration::from_millis(700);
/// An instance that comes up when the test lets it.
const NEVER: Duration = Duration::from_secs(3_600);

fn instance(status: InstanceStatus) -> Instance {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    instance.status(status).boot(BOOT, BOOT)
}

async fn stopped() -> Lab {
    Lab::new(instance(InstanceStatus::Stopped)).await
}

/// The target finds what was said, and answers.
async fn converse(bridge: &mut Bridge, mut far: TcpStream) {
    let mut said = vec![0; BANNER.len()];
    // An agent dials before anything is said.
    far.write_all(HELLO).await.unwrap();
    let heard = timeout(PATIENCE, far.read_exact(&mut said)).await;
    heard.expect("what was said first comes in time").unwrap();
    assert_eq!(said, BANNER);
    bridge.expect(HELLO).await;
    far.write_all(b"more").await.unwrap();
    bridge.expect(b"more").await;
}

/// The first session carries what is said both ways, and ends well.
async fn carries(lab: &Lab, mut bridge: Bridge) -> Ended {
    bridge.send(BANNER).await;
    let far = lab.accept().await;
    converse(&mut bridge, far).await;
    drop(bridge.stdin.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Somebody else has started it: that is told, and waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_starting_already_is_told_of_and_waited_for() {
    let lab = Lab::new(instance(InstanceStatus::Starting)).await;
    let mut bridge = lab.start(&["--start"]);
    bridge.logged("ecs-bridge: i-bp1example0001 is starting\n").await;
    lab.cloud.update_instance(INSTANCE, |instance| instance.status = InstanceStatus::Running);
    let ended = carries(&lab, bridge).await;
    assert_eq!(ended.stderr.matches("is starting").count(), 1, "{}", ended.stderr);
    assert_eq!(lab.count("StartInstance"), 0);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_instance_is_started_and_nothing_that_was_said_is_lost() {
    let lab = stopped().await;
    let bridge = lab.start(&["--start"]);
    let ended = carries(&lab, bridge).await;
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [stopped, runs, up] = &*lines else { panic!("{lines:?}") };
    assert_eq!(*stopped, "ecs-bridge: i-bp1example0001 is stopped: starting it");
    assert_eq!(*runs, "ecs-bridge: i-bp1example0001 is running: waiting for its agent");
    assert!(up.starts_with("ecs-bridge: i-bp1example0001 and its agent are up after "), "{up}");
    assert_eq!(lab.count("StartInstance"), 1);
    lab.all_ended().await;
}

/// The banner passes once the key is there, which cannot be before the instance is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_registered_with_an_instance_that_had_to_be_started() {
    let slow = Duration::from_millis(500);
    let lab = Lab::new(instance(InstanceStatus::Stopped).command_time(slow)).await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    let mut bridge = lab.start(&["--start", "--send-key"]);
    bridge.send(BANNER).await;
    let mut far = lab.accept().await;
    far.write_all(HELLO).await.unwrap();
    bridge.expect(HELLO).await;
    assert_eq!(lab.cloud.keys().len(), 1, "{}", bridge.log());
    drop(far);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_costs_no_call_more() {
    let lab = Lab::new(instance(InstanceStatus::Running)).await;
    let mut bridge = lab.start(&["--start"]);
    bridge.send(BANNER).await;
    let far = lab.accept().await;
    converse(&mut bridge, far).await;
    drop(bridge.stdin.take());
    bridge.end().await.well(b"");
    lab.all_ended().await;
    let calls: Vec<_> = lab.cloud.calls().into_iter().map(|call| call.action).collect();
    assert_eq!(calls, ["StartTerminalSession", "EndTerminalSession"]);
}

/// The state of the instance is asked for after 3 s, and answered once the session is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_out_of_date_does_not_end_a_session_that_is_open() {
    tokio::join!(
        a_late_answer_says(InstanceStatus::Stopped),
        a_late_answer_says(InstanceStatus::Starting),
    );
}

async fn a_late_answer_says(state: InstanceStatus) {
    let lab = Lab::new(instance(InstanceStatus::Running)).await;
    let answer =
        format!(r#"{{"InstanceStatuses":{{"InstanceStatus":[{{"Status":"{state:?}"}}]}}}}"#);
    let late = ApiFault::on("DescribeInstanceStatus").raw(200, "application/json", answer);
    lab.cloud.faults().api(late.delay(Duration::from_secs(4)));
    let slow = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(3_100));
    lab.cloud.faults().api(slow);
    let mut bridge = lab.start(&["--start", "-vv"]);
    bridge.send(BANNER).await;
    let mut far = lab.accept().await;
    far.write_all(HELLO).await.unwrap();
    bridge.expect(HELLO).await;
    bridge.logged("the instance has come up meanwhile").await;
    far.write_all(b"more").await.unwrap();
    bridge.expect(b"more").await;
    drop(bridge.stdin.take());
    drop(far);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let asked = (lab.count("DescribeInstanceStatus"), lab.count("StartTerminalSession"));
    assert_eq!((asked, lab.count("StartInstance")), ((1, 1), 0));
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_being_stopped_is_waited_for_first() {
    let lab = Lab::new(instance(InstanceStatus::Stopping)).await;
    let mut bridge = lab.start(&["--start"]);
    bridge.send(BANNER).await;
    bridge.logged("is stopping: it will be started after that").await;
    assert_eq!(lab.count("StartInstance"), 0);
    lab.cloud.update_instance(INSTANCE, |instance| instance.status = InstanceStatus::Stopped);
    let far = lab.accept().await;
    converse(&mut bridge, far).await;
    drop(bridge.stdin.take());
    assert_eq!(bridge.end().await.code, Some(0));
    assert_eq!(lab.count("StartInstance"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_that_start_the_same_do_each_other_no_harm() {
    let lab = stopped().await;
    let mut bridges: Vec<_> = (0..3).map(|_| lab.start(&["--start", "-q"])).collect();
    for bridge in &mut bridges {
        bridge.send(BANNER).await;
    }
    let mut far = Vec::new();
    for _ in &bridges {
        let mut target = lab.accept().await;
        target.write_all(HELLO).await.unwrap();
        far.push(target);
    }
    for mut bridge in bridges {
        bridge.expect(HELLO).await;
        drop(bridge.stdin.take());
        bridge.end().await.well(b"");
    }
    let started = lab.cloud.calls().into_iter().filter(|call| call.action == "StartInstance");
    assert_eq!(started.filter(|call| call.code.is_none()).count(), 1);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_there_yet_is_waited_for() {
    let lab = stopped().await;
    let (_held, nobody) = refusing();
    let mut targets = None;
    lab.cloud.update_instance(INSTANCE, |instance| {
        targets = Some(instance.targets.clone());
        instance.targets.insert((None, 22), nobody);
    });
    let mut bridge = lab.start(&["--start"]);
    bridge.send(BANNER).await;
    bridge.logged("and its agent are up").await;
    let refused = |session: &local_cloud::SessionRecord| {
        session.end_reason.as_deref() == Some("OpenTargetPortFailed")
    };
    lab.session(refused).await;
    lab.cloud.update_instance(INSTANCE, |instance| instance.targets = targets.unwrap());
    let far = lab.accept().await;
    converse(&mut bridge, far).await;
    drop(bridge.stdin.take());
    assert_eq!(bridge.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_start_it_is_told_the_policy() {
    let key = AccessKey::new("testid", "testsecret").deny("StartInstance");
    let cloud = LocalCloud::builder().access_key(key);
    let lab = Lab::with(cloud, instance(InstanceStatus::Stopped)).await;
    let ended = lab.start(&["--start"]).end().await;
    let report = ended.report().unwrap_or_else(|problem| panic!("{problem}: {}", ended.stderr));
    assert_eq!(ended.code, Some(5));
    assert!(report.what.contains("StartInstance was refused: a permission is missing"));
    assert!(report.fix.contains("`ecs-bridge policy start`"), "{}", report.fix);
    assert!(report.fix.contains(r#""ecs:StartInstance""#), "{}", report.fix);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_come_up_in_time_is_told() {
    let never = Duration::from_secs(3_600);
    for (boot, agent, why) in
        [(never, never, "it is still starting"), (BOOT, never, "its Cloud Assistant agent is not")]
    {
        let lab = Lab::new(instance(InstanceStatus::Stopped).boot(boot, agent)).await;
        let ended = lab.start(&["--start", "--start-timeout", "3", "-q"]).end().await;
        let report = ended.report().unwrap_or_else(|problem| panic!("{problem}: {}", ended.stderr));
        assert_eq!(ended.code, Some(6));
        assert_eq!(report.what, "i-bp1example0001 did not come up within 3 s");
        assert!(report.why.contains(why), "{}", report.why);
        assert!(report.fix.contains("--start-timeout"));
        lab.all_ended().await;
    }
}

fn throttled(action: &str) -> ApiFault {
    ApiFault::on(action).error(400, "Throttling.User", "Request was denied due to throttling.")
}

/// Waits for calls of an action.
async fn called(lab: &Lab, action: &str, fits: impl Fn(&CallRecord) -> bool, times: usize) {
    let is_one = |call: &&CallRecord| call.action == action && fits(call);
    let called =
        lab.cloud.wait_for(|state| state.calls().filter(is_one).count() >= times, PATIENCE);
    called.await.unwrap_or_else(|_| panic!("{action} is not called so often"));
}

/// One call is tried four times, and the next one waits for what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_fail_for_a_while_do_not_end_the_wait() {
    let lab = Lab::new(instance(InstanceStatus::Stopped).boot(NEVER, NEVER)).await;
    let faults = lab.cloud.faults();
    faults.api(throttled("StartInstance").times(6));
    let mut bridge = lab.start(&["--start"]);
    bridge.logged("is stopped: starting it").await;
    assert_eq!(lab.count("StartInstance"), 7);

    let before = lab.count("DescribeInstanceStatus");
    faults.api(throttled("DescribeInstanceStatus").times(6));
    called(&lab, "DescribeInstanceStatus", |_| true, before + 6).await;
    lab.cloud.update_instance(INSTANCE, |instance| instance.status = InstanceStatus::Running);
    bridge.logged("is running: waiting for its agent").await;

    // The network is away.
    let before = lab.count("DescribeCloudAssistantStatus");
    faults.api(ApiFault::on("DescribeCloudAssistantStatus").cut().times(6));
    called(&lab, "DescribeCloudAssistantStatus", |_| true, before + 6).await;

    let before = lab.count("StartTerminalSession");
    faults.api(throttled("StartTerminalSession").times(6));
    lab.cloud.update_instance(INSTANCE, |instance| instance.agent_online = true);
    carries(&lab, bridge).await;
    assert_eq!(lab.count("StartTerminalSession"), before + 7);
    assert_eq!(lab.count("StartInstance"), 7);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_to_the_end_of_the_wait_is_told() {
    let lab = Lab::new(instance(InstanceStatus::Stopped).boot(NEVER, NEVER)).await;
    let bridge = lab.start(&["--start", "--start-timeout", "8", "-q"]);
    called(&lab, "StartInstance", |call| call.status == 200, 1).await;
    lab.cloud.faults().api(throttled("DescribeInstanceStatus"));
    let ended = bridge.end().await;
    let report = ended.report().unwrap_or_else(|problem| panic!("{problem}: {}", ended.stderr));
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    assert!(report.what.contains("DescribeInstanceStatus was refused"), "{}", report.what);
    let wait = "i-bp1example0001 was not seen to be up within 8 s (--start-timeout)";
    assert!(report.why.contains(wait), "{}", report.why);
    let of_it = |call: &CallRecord| call.request_id == report.request_id;
    let call = lab.cloud.calls().into_iter().find(of_it).expect("its RequestId is told");
    assert_eq!(call.code.as_deref(), Some("Throttling.User"));
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_at_once_when_nobody_wants_it_any_more() {
    for by_signal in [true, false] {
        let never = Duration::from_secs(3_600);
        let lab = Lab::new(instance(InstanceStatus::Stopped).boot(never, never)).await;
        let mut bridge = lab.start(&["--start"]);
        bridge.logged("is stopped: starting it").await;
        let before = std::time::Instant::now();
        let code = match by_signal {
            true => {
                bridge.signal("INT").await;
                130
            }
            false => {
                drop(bridge.stdout.take());
                0
            }
        };
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_starts_it_for_its_probe() {
    let lab = stopped().await;
    let mut command = lab.bridge(["forward", "-i", INSTANCE, "-L", "0:localhost:6379", "--start"]);
    let bridge = Bridge::start(&mut command);
    let far = lab.accept().await;
    let mut bridge = bridge;
    bridge.logged("Forwarding 127.0.0.1:").await;
    assert!(bridge.log().contains("is stopped: starting it"), "{}", bridge.log());
    drop(far);
    bridge.signal("TERM").await;
    assert_eq!(bridge.end().await.code, Some(143));
    lab.all_ended().await;
}

/// One of the connections that wait asks for the state of the instance, and all learn of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_wait_for_the_same_instance_do_not_ask_one_by_one() {
    const MANY: usize = 8;
    let lab = Lab::new(instance(InstanceStatus::Stopped).boot(NEVER, NEVER)).await;
    let args = ["--json", "-i", INSTANCE, "-L", "0:localhost:6379", "--start", "--no-probe"];
    let mut forward = Forward::run(&mut lab.bridge(["forward"].iter().chain(&args)));
    let mut clients = Vec::new();
    for _ in 0..MANY {
        clients.push(forward.connect().await);
    }
    // Each has found it down, and one goes on asking.
    called(&lab, "StartInstance", |call| call.status == 200, 1).await;
    called(&lab, "DescribeInstanceStatus", |_| true, MANY + 4).await;
    lab.cloud.update_instance(INSTANCE, |instance| {
        (instance.status, instance.agent_online) = (InstanceStatus::Running, true);
    });
    for _ in 0..MANY {
        lab.accept().await.write_all(HELLO).await.unwrap();
    }
    for mut client in clients {
        assert_eq!(read(&mut client, HELLO.len()).await, HELLO);
    }
    assert_eq!(lab.count("StartInstance"), 1);
    // One for the agent's version, and one that finds it online.
    let asked = lab.count("DescribeCloudAssistantStatus");
    assert!(asked < MANY, "{asked}");
    forward.stop("TERM").await;
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_it_a_stopped_instance_stays_stopped_and_the_way_is_shown() {
    let waits = Duration::from_millis(300);
    let lab = Lab::new(instance(InstanceStatus::Stopped).agent_timeout(waits)).await;
    let ended = lab.start(&[]).end().await;
    let report = ended.report().unwrap_or_else(|problem| panic!("{problem}: {}", ended.stderr));
    assert_eq!(ended.code, Some(6));
    assert!(report.fix.contains("proxy --start"), "{}", report.fix);
    assert_eq!(lab.count("StartInstance"), 0);
}
