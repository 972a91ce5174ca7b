//! CloudSSO and OAuth: keys that have ended are renewed without a new login, and written back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use local_cloud::{AccessKey, Builder, KeyState, Logins, SourceFault, SourcePart};
use serde_json::Value;
use tokio::process::Command;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    KEYS, carries, cloud, failing, instance, one, shows_nothing, without_keys, write,
};
use crate::world::INSTANCE;

const OVER: &str = r#""sts_token": "testsecret-old", "sts_expiration": 1600000000"#;
const SSO: &str = r#""cloud_sso_sign_in_url": "CLOUD/login?x", "cloud_sso_account_id": "123",
    "cloud_sso_access_config": "ac-1", "access_token": "testsecret-access",
    "cloud_sso_access_token_expire": 4000000000"#;
const OAUTH: &str = r#""oauth_site_type": "CN", "oauth_access_token": "testsecret-old",
    "oauth_access_token_expire": 1600000000, "oauth_refresh_token": "testsecret-refresh""#;

fn logins() -> Builder {
    cloud()
        .logins(Logins::new().access_token("testsecret-access").refresh_token("testsecret-refresh"))
}

fn config(lab: &Lab) -> PathBuf {
    lab.dir.path().join(".aliyun/config.json")
}

/// A field of the profile, as it is written.
fn written(lab: &Lab, field: &str) -> Value {
    let text = std::fs::read(config(lab)).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    all["profiles"][0][field].clone()
}

fn parts(lab: &Lab) -> Vec<SourcePart> {
    lab.cloud.sources().iter().map(|asked| asked.part).collect()
}

/// The refresh token that works next.
fn next_refresh_token(lab: &Lab) -> Value {
    let mut token = None;
    lab.cloud.update_logins(|logins| token.clone_from(&logins.refresh_token));
    token.unwrap().into()
}

fn proxy(lab: &Lab) -> Command {
    let mut command = lab.bridge(["-v", "proxy", INSTANCE]);
    without_keys(&mut command);
    command
}

/// Opens a session with the profile; what was logged.
async fn works(lab: &Lab) -> String {
    let ended = carries(lab, &mut proxy(lab)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    shows_nothing(lab, &ended.stderr);
    lab.all_ended().await;
    ended.stderr
}

#[tokio::test]
async fn cloud_sso_keys_are_renewed_with_the_access_token() {
    let lab = Lab::with(logins(), instance()).await;
    write(&lab, &one("CloudSSO", &format!(r#"{KEYS}, {OVER}, {SSO}, "new": {{"x": [1]}}"#)));
    works(&lab).await;
    assert_eq!(parts(&lab), [SourcePart::CloudSso]);
    let id = lab.cloud.sources()[0].access_key_id.clone().unwrap();
    assert_eq!(written(&lab, "access_key_id"), id);
    assert!(written(&lab, "sts_expiration").as_u64().unwrap() > 1_700_000_000);
    assert_eq!(written(&lab, "new"), serde_json::json!({"x": [1]}), "an unknown field");
    let mode = std::fs::metadata(config(&lab)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    works(&lab).await;
    assert_eq!(parts(&lab).len(), 1, "the keys that were written are used");
}

/// They were withdrawn, or a clock is wrong: what the profile says of their end does not count then.
#[tokio::test]
async fn keys_that_the_service_refuses_are_renewed_although_they_say_that_they_hold() {
    let over = AccessKey::new("testid", "testsecret").token("testsecret-old");
    let lab = Lab::with(logins().access_key(over.state(KeyState::Expired)), instance()).await;
    let holds = r#""sts_token": "testsecret-old", "sts_expiration": 4000000000"#;
    write(&lab, &one("CloudSSO", &format!("{KEYS}, {holds}, {SSO}")));
    works(&lab).await;
    assert_eq!(parts(&lab), [SourcePart::CloudSso]);
    let id = lab.cloud.sources()[0].access_key_id.clone().unwrap();
    assert_eq!(written(&lab, "access_key_id"), id);
}

#[tokio::test]
async fn oauth_keys_are_renewed_with_the_refresh_token() {
    let lab = Lab::with(logins(), instance()).await;
    write(&lab, &one("OAuth", &format!("{KEYS}, {OVER}, {OAUTH}")));
    works(&lab).await;
    let both = [SourcePart::OAuthToken, SourcePart::OAuthExchange];
    assert_eq!(parts(&lab), both);
    assert_eq!(written(&lab, "oauth_refresh_token"), next_refresh_token(&lab));
    assert!(written(&lab, "oauth_access_token_expire").as_u64().unwrap() > 1_700_000_000);
    works(&lab).await;
    assert_eq!(parts(&lab), both, "the keys that were written are used");
}

/// The tokens stand in the file, the keys do not: another program has dropped them.
#[tokio::test]
async fn keys_that_are_missing_are_got() {
    for (mode, fields) in [("CloudSSO", SSO), ("OAuth", OAUTH)] {
        let lab = Lab::with(logins(), instance()).await;
        write(&lab, &one(mode, fields));
        works(&lab).await;
        assert!(written(&lab, "sts_token").is_string(), "{mode}");
    }
}

/// The refresh token works once: who comes second uses what the first has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_at_once_do_not_lose_the_refresh_token() {
    let lab = Lab::with(logins(), instance()).await;
    write(&lab, &one("OAuth", &format!("{KEYS}, {OVER}, {OAUTH}")));
    let slow = SourceFault::on(SourcePart::OAuthToken).delay(std::time::Duration::from_millis(500));
    lab.cloud.faults().source(slow);
    let list = || {
        let mut command = lab.bridge(["-v", "list"]);
        Bridge::start(without_keys(&mut command))
    };
    let (mut first, mut second, mut third) = (list(), list(), list());
    for bridge in [&mut first, &mut second, &mut third] {
        bridge.stdin.take();
    }
    for ended in [first.end().await, second.end().await, third.end().await] {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let asked = parts(&lab).into_iter().filter(|part| *part == SourcePart::OAuthToken).count();
    assert_eq!(asked, 1);
    assert_eq!(written(&lab, "oauth_refresh_token"), next_refresh_token(&lab));
}

/// The next refresh token is written before it could be lost.
#[tokio::test]
async fn the_refresh_token_is_written_before_the_keys_are_there() {
    let lab = Lab::with(logins(), instance()).await;
    write(&lab, &one("OAuth", &format!("{KEYS}, {OVER}, {OAUTH}")));
    lab.cloud.faults().source(SourceFault::on(SourcePart::OAuthExchange).cut());
    let ended = Bridge::start(&mut proxy(&lab)).end().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("does not renew the credentials of profile 'p'"),
        "{}",
        ended.stderr
    );
    assert_eq!(written(&lab, "oauth_refresh_token"), next_refresh_token(&lab));
}

#[tokio::test]
async fn a_read_only_file_is_left_as_it_is() {
    let lab = Lab::with(logins(), instance()).await;
    write(&lab, &one("CloudSSO", &format!("{KEYS}, {OVER}, {SSO}")));
    let before = std::fs::read(config(&lab)).unwrap();
    std::fs::set_permissions(config(&lab), std::fs::Permissions::from_mode(0o400)).unwrap();
    let log = works(&lab).await;
    assert!(log.contains("the renewed values are used and not kept"), "{log}");
    assert_eq!(std::fs::read(config(&lab)).unwrap(), before);
}

fn case(name: &'static str, mode: &str, fields: &str) -> Case {
    failing(name, one(mode, &format!("{KEYS}, {OVER}, {fields}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_has_ended_is_told() {
    run_all(vec![
        case("CloudSSO", "CloudSSO", SSO).fails(
            3,
            "does not renew the credentials of profile 'p'",
            "",
            "sign in again with: aliyun configure --profile p",
        ),
        case("OAuth", "OAuth", OAUTH).fails(
            3,
            "the login has ended (HTTP 400)",
            "",
            "sign in again with: aliyun configure --mode OAuth --profile p",
        ),
        case("no HTTPS", "CloudSSO", &SSO.replace("CLOUD", "http://sso.example")).fails(
            3,
            "cloud_sso_sign_in_url of profile 'p'",
            "",
            "correct it there",
        ),
        case("an error of the service", "CloudSSO", SSO)
            .prepare(|lab| {
                lab.cloud.faults().source(SourceFault::on_any().raw(500, "text/plain", ""))
            })
            .fails(3, "it answers with HTTP 500", "", "try again"),
        case("nonsense", "CloudSSO", SSO)
            .prepare(|lab| {
                lab.cloud.faults().source(SourceFault::on_any().raw(200, "text/plain", "{}"))
            })
            .fails(3, "its answer has no CloudCredential", "", "try again"),
    ])
    .await;
}
