//! What goes on while a key is on its way: the session that waits for it, and all that is slow.

use std::time::{Duration, SystemTime};

use local_cloud::{ApiFault, CommandFault, CommandKind, InvocationRecord, SessionRecord, State};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::lab::{BANNER, Bridge, Lab, SOON};
use crate::send_key::{lab, send};
use crate::send_key_memory::{count, tell_host_key};
use crate::world::{INSTANCE, PATIENCE};

/// Longer than any wait of a test: what takes so long has not ended when something else has.
const LONG: Duration = Duration::from_secs(100);

fn slow(lab: &Lab, kind: CommandKind, time: Duration) {
    assert!(lab.cloud.faults().command(INSTANCE, CommandFault::on(kind).takes(time)));
}

fn of(lab: &Lab, kind: CommandKind) -> Vec<InvocationRecord> {
    lab.cloud.invocations().into_iter().filter(|asked| asked.kind == kind).collect()
}

/// A proxy whose banner waits behind a registration that does not come to an end.
async fn waiting(lab: &Lab) -> (Bridge, tokio::net::TcpStream) {
    slow(lab, CommandKind::SendKey, LONG);
    let bridge = lab.start(&["--send-key", "--user", "root"]);
    let mut target = lab.accept().await;
    target.write_all(BANNER).await.unwrap();
    let has_sent = |session: &SessionRecord| session.output_bytes == BANNER.len() as u64;
    lab.session(has_sent).await;
    let asked =
        |asked: &InvocationRecord| asked.kind == CommandKind::SendKey && !asked.polls.is_empty();
    lab.cloud.wait_for_invocation(asked, PATIENCE).await.unwrap();
    (bridge, target)
}

fn is_under_way(lab: &Lab) -> bool {
    of(lab, CommandKind::SendKey).iter().all(|asked| asked.ended.is_none())
}

/// There is nobody left to authenticate with: what was said last is delivered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_side_that_has_ended_does_not_wait_for_the_key() {
    let lab = lab(|instance| instance).await;
    let (bridge, target) = waiting(&lab).await;
    drop(target);
    bridge.end().await.well(BANNER);
    assert!(is_under_way(&lab));
    lab.all_ended().await;
}

/// The banner waits, and nobody is there who could take it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_away_does_not_wait_for_the_key() {
    for with_stdin in [true, false] {
        let lab = lab(|instance| instance).await;
        let (mut bridge, _target) = waiting(&lab).await;
        assert!(bridge.log().is_empty());
        drop(bridge.stdout.take());
        if with_stdin {
            drop(bridge.stdin.take());
        }
        let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
        ended.well(b"");
        assert!(is_under_way(&lab));
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_hosts_ends_with_its_reader() {
    let lab = lab(|instance| instance).await;
    slow(&lab, CommandKind::Script, LONG);
    let mut bridge = Bridge::start(&mut lab.bridge(["known-hosts", INSTANCE]));
    lab.cloud.wait_for_invocation(|asked| !asked.polls.is_empty(), PATIENCE).await.unwrap();
    drop(bridge.stdout.take());
    let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
    ended.well(b"");
    assert!(of(&lab, CommandKind::Script)[0].ended.is_none());
}

/// The registration is refused long before the API has told which session it has started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_being_started_is_ended_if_the_key_is_refused() {
    let lab = lab(|instance| instance).await;
    // Where the plug-in is not known no session is started.
    assert_eq!(send(&lab, &["--user-name", "admin"]).await.code, Some(0));
    let denied = ApiFault::on("InvokeCommand").error(403, "Forbidden.RAM", "no");
    lab.cloud.faults().api(denied);
    let slow = ApiFault::on("StartTerminalSession").delay(Duration::from_millis(2500));
    lab.cloud.faults().api(slow);
    let bridge = lab.start(&["--send-key", "--user", "root"]);
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    ended.said(b"");
    let calls = lab.cloud.calls();
    let starts = calls.iter().filter(|call| call.action == "StartTerminalSession");
    assert_eq!(starts.count(), 1);
    // A session that comes after the end of the process would be there for ever.
    lab.session(|session| session.ended_by_api && session.live == 0).await;
    assert_eq!(lab.cloud.sessions().len(), 1);
}

/// The client has tried so often that the call has failed; the next question finds an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_cannot_reach_the_service_is_asked_again() {
    let lab = lab(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    let question = "DescribeInvocationResults";
    lab.cloud.faults().api(ApiFault::on(question).cut().times(5));
    let mut command = lab.bridge(["-vv", "known-hosts", INSTANCE]);
    let ended = Bridge::start(&mut command).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("asking for a result goes on although"), "{}", ended.stderr);
    assert!(!ended.stdout.is_empty());
    assert_eq!(count(&lab, CommandKind::Script), 1);
    let asked = |state: &State| state.calls().filter(|call| call.action == question).count();
    assert!(lab.cloud.look(asked) > 5);
}

/// Each of these has to take its time, so they take it together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_slow_is_neither_early_nor_late() {
    tokio::join!(
        a_key_is_promised_from_when_it_was_asked_for(),
        a_key_that_waited_long_for_its_plug_in_is_registered_again(),
        an_agent_that_comes_back_is_waited_for(),
        an_agent_that_stays_away_is_not(),
        a_second_look_that_fails_says_nothing_of_the_agent(),
    );
}

async fn a_key_is_promised_from_when_it_was_asked_for() {
    let lab = lab(|instance| instance.command_time(Duration::from_secs(3))).await;
    let until = valid_until(&send(&lab, &["--json"]).await.stdout);
    let asked = of(&lab, CommandKind::SendKey);
    assert_eq!(asked.len(), 1);
    assert!(until <= asked[0].started + Duration::from_secs(60), "{until:?}: {asked:?}");
}

async fn a_key_that_waited_long_for_its_plug_in_is_registered_again() {
    let lab = lab(|instance| instance).await;
    slow(&lab, CommandKind::Install, Duration::from_secs(16));
    let ended = send(&lab, &["--json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let until = valid_until(&ended.stdout);
    let asked = of(&lab, CommandKind::SendKey);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let install = &of(&lab, CommandKind::Install)[0];
    assert!(asked[0].started < install.ended.unwrap() && install.ended < Some(asked[1].started));
    // What is shown has no fractions of a second.
    assert!(until + Duration::from_secs(1) > install.ended.unwrap() + Duration::from_secs(60));
    assert!(until <= asked[1].started + Duration::from_secs(60));
    assert_eq!(lab.cloud.keys().len(), 2);
    assert_eq!(lab.cloud.keys()[0].key, lab.cloud.keys()[1].key);
}

const LOOK: &str = "DescribeCloudAssistantStatus";

fn looks(lab: &Lab) -> usize {
    lab.count(LOOK)
}

/// An agent that is said to be away, and does its work nevertheless.
fn said_to_be_away(instance: &str) -> ApiFault {
    let answer = format!(
        r#"{{"RequestId": "R", "TotalCount": 1, "InstanceCloudAssistantStatusSet":
            {{"InstanceCloudAssistantStatus": [{{"InstanceId": "{instance}", "OSType": "Linux",
            "CloudAssistantStatus": "false", "CloudAssistantVersion": "2.2.3.900"}}]}}}}"#
    );
    ApiFault::on(LOOK).raw(200, "application/json", answer)
}

async fn an_agent_that_comes_back_is_waited_for() {
    let lab = lab(|instance| instance).await;
    lab.cloud.faults().api(said_to_be_away(INSTANCE).times(1));
    slow(&lab, CommandKind::Install, Duration::from_secs(12));
    let ended = send(&lab, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

async fn an_agent_that_stays_away_is_not() {
    let lab = lab(|instance| instance).await;
    lab.cloud.faults().api(said_to_be_away(INSTANCE));
    slow(&lab, CommandKind::Install, LONG);
    let began = SystemTime::now();
    let ended = send(&lab, &[]).await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    let report = ended.report().unwrap();
    assert!(report.why.contains("is not online"), "{report:?}");
    assert!(of(&lab, CommandKind::Install)[0].ended.is_none());
    assert_eq!(looks(&lab), 2);
    let second = lab.cloud.calls().into_iter().rfind(|call| call.action == LOOK).unwrap().at;
    assert!(second > began + Duration::from_secs(9), "it was given a moment only");
}

async fn a_second_look_that_fails_says_nothing_of_the_agent() {
    let lab = lab(|instance| instance).await;
    lab.cloud.faults().api(said_to_be_away(INSTANCE).times(1));
    lab.cloud.faults().api(ApiFault::on(LOOK).error(400, "Throttling.User", "slow"));
    slow(&lab, CommandKind::Install, Duration::from_secs(14));
    let ended = send(&lab, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(looks(&lab), 1 + 4);
}

fn valid_until(json: &[u8]) -> SystemTime {
    let result: Value = serde_json::from_slice(json).unwrap();
    humantime::parse_rfc3339(result["valid_until"].as_str().unwrap()).unwrap()
}
