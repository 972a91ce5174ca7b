//! The end of a command while a login is renewed: the refresh token works once, and its successor is kept.

use std::time::{Duration, SystemTime};

use local_cloud::{ApiFault, Lifetime, LocalCloud, Logins, SourceFault, SourcePart};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::sleep;

use crate::credentials_renewal::{SOON_DUE, Works};
use crate::lab::{Bridge, Lab};
use crate::profiles::{KEYS, cloud, instance, one, shows_nothing, without_keys, write};
use crate::world::{INSTANCE, PATIENCE};

/// A login whose access token has ended.
const OAUTH: &str = r#""oauth_site_type": "CN", "oauth_access_token": "testsecret-old",
    "oauth_access_token_expire": 1600000000, "oauth_refresh_token": "testsecret-refresh""#;

fn logins() -> Logins {
    Logins::new().refresh_token("testsecret-refresh")
}

/// The service has made the next token by then, and the answer is still on its way.
fn slow() -> SourceFault {
    SourceFault::on(SourcePart::OAuthToken).delay(Duration::from_millis(500))
}

/// A lab with a profile whose keys end at a time.
async fn lab(until: u64) -> Lab {
    let lab = Lab::with(cloud().logins(logins()), instance()).await;
    let keys = format!(r#"{KEYS}, "sts_token": "testsecret-old", "sts_expiration": {until}"#);
    write(&lab, &one("OAuth", &format!("{keys}, {OAUTH}")));
    lab
}

fn bridge(lab: &Lab, args: &[&str]) -> Command {
    let mut command = lab.bridge(args);
    without_keys(&mut command);
    command
}

/// How often a new access token was asked for.
fn asked(cloud: &LocalCloud) -> usize {
    let is_token = |part| part == SourcePart::OAuthToken;
    cloud.look(|state| state.sources().filter(|source| is_token(source.part)).count())
}

/// Waits until a new access token is asked for.
async fn is_asked(lab: &Lab) {
    let is_token = |part| part == SourcePart::OAuthToken;
    let asked =
        lab.cloud.wait_for(|state| state.sources().any(|source| is_token(source.part)), PATIENCE);
    asked.await.unwrap();
}

/// The profile has the token that works next: whoever comes then need not sign in again.
async fn goes_on(lab: &Lab) {
    let text = std::fs::read(lab.dir.path().join(".aliyun/config.json")).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    let mut next = None;
    lab.cloud.update_logins(|logins| next.clone_from(&logins.refresh_token));
    assert_eq!(all["profiles"][0]["oauth_refresh_token"], next.unwrap());
    let mut next = Bridge::start(&mut bridge(lab, &["list"]));
    next.stdin.take();
    let ended = next.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_signal_does_not_lose_the_refresh_token() {
    for signal in ["INT", "TERM", "HUP"] {
        let lab = lab(1_600_000_000).await;
        lab.cloud.faults().source(slow());
        let mut list = Bridge::start(&mut bridge(&lab, &["-v", "list"]));
        list.stdin.take();
        is_asked(&lab).await;
        list.signal(signal).await;
        let ended = list.end().await;
        assert!(ended.code > Some(128), "{ended:?}");
        shows_nothing(&lab, &ended.stderr);
        lab.cloud.faults().clear();
        goes_on(&lab).await;
    }
}

/// Nobody waits for a renewal that is begun in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_that_is_stopped_does_not_lose_the_refresh_token() {
    let mut logins = logins().lifetime(Lifetime::new(SOON_DUE));
    // An access token that is not used twice.
    logins.token_seconds = 5;
    let mut works = Works::new(cloud().logins(logins), &one("OAuth", OAUTH)).await;
    works.echoes().await;
    works.lab.cloud.faults().source(slow());
    works.echo_until("a renewal", |cloud| asked(cloud) > 1).await;
    let (lab, _) = works.end().await;
    lab.cloud.faults().clear();
    goes_on(&lab).await;
}

/// The keys are due once the session ends: the call that ends it needs no others.
#[tokio::test]
async fn the_end_of_a_session_does_not_lose_the_refresh_token() {
    let until = SystemTime::now() + Duration::from_secs(186);
    let seconds = until.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let lab = lab(seconds).await;
    let keys = local_cloud::AccessKey::new("testid", "testsecret").token("testsecret-old");
    lab.cloud.add_access_key(keys);
    lab.cloud.faults().source(slow());
    lab.cloud.faults().api(ApiFault::on("EndTerminalSession").delay(Duration::from_millis(300)));
    let mut proxy = Bridge::start(&mut bridge(&lab, &["-vvv", "proxy", INSTANCE]));
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    proxy.expect(b"SSH-2.0-x\r\n").await;
    sleep(Duration::from_secs(8)).await;
    drop(target);
    proxy.stdin.take();
    let ended = proxy.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    lab.all_ended().await;
    assert_eq!(asked(&lab.cloud), 0, "{}", ended.stderr);
    lab.cloud.faults().clear();
    goes_on(&lab).await;
}

/// A login service that does not answer is not waited for against the user's will.
#[tokio::test]
async fn a_second_signal_ends_the_wait_for_the_refresh_token() {
    let lab = lab(1_600_000_000).await;
    lab.cloud.faults().source(SourceFault::on(SourcePart::OAuthToken).silent());
    let mut list = Bridge::start(&mut bridge(&lab, &["-v", "list"]));
    list.stdin.take();
    is_asked(&lab).await;
    list.signal("INT").await;
    list.logged("waits for the login service").await;
    list.signal("INT").await;
    let ended = list.end().await;
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("sign in again"), "{}", ended.stderr);
}
