//! Names that do not resolve, of the API and of the gateway, and a resolver that never answers.

use std::time::Duration;

use local_cloud::{Agent, ApiFault, Instance, Pace, State};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::forward_driver::{Forward, read, text};
use crate::lab::{Bridge, Ended, Lab, SOON};
use crate::send_key::lab as lab_with_key;
use crate::terminal::by;
use crate::world::{INSTANCE, PATIENCE, installed, run};

const START: &str = "StartTerminalSession";
const END: &str = "EndTerminalSession";
const API: &str = "https://ecs.nosuch.invalid";
const GATEWAY: &str = "gateway.nosuch.invalid";
/// What the API gives that must not be shown.
const TOKEN: &str = "the-token-of-s-1";
/// The time that a call of the API has, and the one that a connection has.
const CALL: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// What a busy machine adds to them.
const MARGIN: Duration = Duration::from_secs(3);

/// A lab whose API tells of a gateway that has no address.
async fn lab() -> Lab {
    let lab =
        lab_with_key(|instance: Instance| instance.agent(Agent::d().quick()).pace(Pace::off()));
    let lab = lab.await;
    let answer = serde_json::json!({
        "RequestId": "R-1", "SessionId": "s-1", "SecurityToken": TOKEN,
        "WebSocketUrl": format!("wss://{GATEWAY}/session?sessionid=s-1&token={TOKEN}"),
    });
    lab.cloud.faults().api(ApiFault::on(START).raw(200, "application/json", answer.to_string()));
    lab
}

/// The session that nobody could connect to was ended, or is being ended: `forward` does not wait for that.
async fn is_ended(lab: &Lab) {
    let ends = |state: &State| {
        state.calls().any(|call| call.action == END && call.params["SessionId"] == "s-1")
    };
    lab.cloud.wait_for(ends, PATIENCE).await.expect("it is ended");
}

/// It tells which name it is, and why; the log tells more, and no secret.
fn tells(ended: &Ended, name: &str, why: &str) {
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    ended.said(b"");
    let at = ended.stderr.find("ecs-bridge: error: ").expect("a report");
    let stderr = ended.stderr[at..].to_owned();
    let report = Ended { code: None, stdout: Vec::new(), stderr, took: ended.took }.report();
    let report = report.unwrap();
    assert!(report.what.contains(name) && report.what.contains("resolve"), "{report:?}");
    assert!(report.why.contains(why) && !report.fix.is_empty(), "{report:?}");
    for secret in [TOKEN, "testsecret", "token=", "sessionid="] {
        assert!(!ended.stderr.contains(secret), "it shows '{secret}': {}", ended.stderr);
    }
}

const COMMANDS: [&[&str]; 4] = [
    &["proxy", INSTANCE],
    &["forward", "-i", INSTANCE, "-L", "0:localhost:22"],
    &["send-key", "-i", INSTANCE],
    &["known-hosts", INSTANCE],
];

/// Runs each command, with little to say and with much, all at once.
async fn each<F: Future<Output = ()> + Send + 'static>(
    commands: &[&'static [&'static str]],
    how: fn(Vec<&'static str>) -> F,
) {
    let cases = commands.iter().flat_map(|args| [args.to_vec(), [&["-vvv"], *args].concat()]);
    all(cases.map(|args| (args.clone(), how(args)))).await;
}

/// Runs cases all at once, and says which of them have failed.
async fn all<N: std::fmt::Debug + Send + 'static>(
    cases: impl Iterator<Item = (N, impl Future<Output = ()> + Send + 'static)>,
) {
    let mut running = JoinSet::new();
    for (name, case) in cases {
        running.spawn(async move { (name, tokio::spawn(case).await.is_ok()) });
    }
    let failed: Vec<_> = running.join_all().await.into_iter().filter(|(_, fine)| !fine).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_an_address_is_told_by_each_command() {
    each(&COMMANDS, |args| async move {
        let lab = lab().await;
        let ended = Bridge::start(lab.bridge(&args).args(["--endpoint", API])).end().await;
        tells(&ended, "ecs.nosuch.invalid", "the resolver says");
        assert!(lab.cloud.calls().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_an_address_is_told_by_each_command() {
    each(&COMMANDS[..2], |args| async move {
        let lab = lab().await;
        let ended = Bridge::start(&mut lab.bridge(&args)).end().await;
        tells(&ended, GATEWAY, "");
        is_ended(&lab).await;
    })
    .await;
}

/// It costs the connections of that time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_lives_on_without_names() {
    let lab = lab().await;
    let args = ["-L", "0:localhost:22", "--no-probe", "--grace", "0"];
    let mut forward = Forward::start(&lab, &args);
    forward.refused().await;
    let error = forward.told(1, "error").await;
    assert!(text(&error, "message").contains(GATEWAY), "{error}");
    assert!(!error.to_string().contains(TOKEN), "{error}");
    is_ended(&lab).await;
    lab.cloud.faults().clear();
    let mut client = forward.connect().await;
    lab.accept().await.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
}

/// The words that run a program for which every look-up of a name takes for ever, or `None` where this
/// user may not have a file system of his own. The resolver reads the file of hosts first; a pipe
/// into which nobody writes is one that it waits for.
async fn without_resolver(lab: &Lab) -> Option<Vec<&'static str>> {
    installed("unshare")?;
    let made = run(Command::new("mkfifo").arg("hosts").current_dir(lab.dir.path())).await;
    assert!(made.status.success());
    let script = "mount --bind hosts /etc/hosts && exec \"$@\"";
    let words = vec!["unshare", "-rm", "sh", "-c", script, "sh"];
    let mut look_up = lab.bridge([] as [&str; 0]);
    look_up = by(&[&words[..], &["timeout", "1", "getent", "ahosts", GATEWAY]].concat(), &look_up);
    let hangs = run(&mut look_up).await;
    // As timeout tells it.
    if hangs.status.code() == Some(124) {
        return Some(words);
    }
    eprintln!("skipped: no resolver that hangs can be had here: {hangs:?}");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_hangs_does_not_hang_a_call() {
    each(&COMMANDS, |args| async move {
        let lab = lab().await;
        let Some(words) = without_resolver(&lab).await else { return };
        let mut command = by(&words, lab.bridge(&args).args(["--endpoint", API]));
        let ended = timeout(CALL + MARGIN, Bridge::start(&mut command).end()).await;
        tells(&ended.expect("it ends in time"), "ecs.nosuch.invalid", "no answer within 4.5 s");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_hangs_does_not_hang_a_connection_to_the_gateway() {
    each(&COMMANDS[..2], |args| async move {
        let lab = lab().await;
        let Some(words) = without_resolver(&lab).await else { return };
        let mut command = by(&words, &lab.bridge(&args));
        let ended = timeout(CONNECT + MARGIN, Bridge::start(&mut command).end()).await;
        tells(&ended.expect("it ends in time"), GATEWAY, "no answer within 4.5 s");
        is_ended(&lab).await;
    })
    .await;
}

/// Nor does it hold up the end, with look-ups under way that nobody can stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_hangs_does_not_keep_the_process() {
    let told = [None, Some(("TERM", 143)), Some(("HUP", 129))];
    let cases = told.into_iter().flat_map(|told| [(None, told), (Some(API), told)]);
    all(cases.map(|(endpoint, told)| ((endpoint, told), is_told(endpoint, told)))).await;
}

async fn is_told(endpoint: Option<&str>, told: Option<(&str, i32)>) {
    let lab = lab().await;
    let Some(words) = without_resolver(&lab).await else { return };
    let mut inner = lab.bridge(["-v", "--proxy", "none", "proxy", INSTANCE]);
    inner.args(endpoint.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
    let mut bridge = Bridge::start(&mut by(&words, &inner));
    bridge.logged(if endpoint.is_some() { "the API at" } else { "the gateway at" }).await;
    let code = match told {
        Some((signal, code)) => {
            bridge.signal(signal).await;
            code
        }
        None => {
            drop(bridge.stdout.take());
            0
        }
    };
    let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    if endpoint.is_none() {
        is_ended(&lab).await;
    }
}
