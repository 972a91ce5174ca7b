//! What goes wrong before there is a session: credentials, configuration, the API.

use std::path::Path;
use std::time::Duration;

use local_cloud::{AccessKey, ApiFault, ClockOffset, Instance, KeyState};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab, refusing};
use crate::world::{INSTANCE, run};

const HOUR: Duration = Duration::from_secs(3600);
const START: &str = "StartTerminalSession";
/// A profile file with a good profile and one whose temporary keys are over.
const PROFILES: &str = r#"{"current": "good", "profiles": [
    {"name": "good", "mode": "AK", "access_key_id": "testid", "access_key_secret": "testsecret"},
    {"name": "late", "mode": "StsToken", "access_key_id": "testid", "access_key_secret": "testsecret",
     "sts_token": "testsecret-token", "sts_expiration": 1600000000},
    {"name": "pair", "mode": "RsaKeyPair", "private_key": "testsecret", "key_pair_name": "k"},
    {"name": "odd", "mode": "AK", "access_key_id": "testid", "access_key_secret": "testsecret",
     "endpoint": "a b"},
    {"name": "half", "mode": "AK", "access_key_id": "testid"}]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_usable_credentials_nothing_is_sent() {
    let config = |name: &'static str| Case::new(name).without_keys().calls(START, 0);
    let profile = |name, profile: &str| {
        config(name).file(".aliyun/config.json", PROFILES).args(&["--profile", profile])
    };
    run_all(vec![
        config("no credentials").fails(
            3,
            "no credentials were found",
            ".aliyun/config.json: not there",
            "ecs-bridge configure",
        ),
        config("half a key").env("ALIBABA_CLOUD_ACCESS_KEY_ID", "testid").fails(
            3,
            "ALIBABA_CLOUD_ACCESS_KEY_ID is set, but ALIBABA_CLOUD_ACCESS_KEY_SECRET is not",
            "",
            "set ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        ),
        profile("an unknown profile", "nosuch").fails(
            3,
            "there is no profile 'nosuch'",
            "--profile asks for it",
            "ecs-bridge configure --profile nosuch",
        ),
        profile("a profile of another mode", "pair").fails(
            3,
            "(mode RsaKeyPair) cannot be used: its mode is not supported",
            "supported are AK, StsToken, CredentialsURI,",
            "use a profile of another mode",
        ),
        profile("a profile without a secret", "half").fails(
            3,
            "has no access_key_secret",
            "",
            "ecs-bridge configure --mode AK --profile half",
        ),
        profile("temporary keys that are over, as the file says", "late").fails(
            3,
            "the temporary credentials of profile 'late'",
            "sts_expiration is 2020-09-13T12:26:40Z",
            "get new temporary credentials",
        ),
        config("a file that is not JSON")
            .file(".aliyun/config.json", "[default]\naccess_key_secret = testsecret\n")
            .fails(3, "config.json is invalid", "", "correct it, name another file with --config"),
        config("a file that ends in the middle")
            .file("c.json", &PROFILES[..150])
            .args(&["--config", "DIR/c.json"])
            .fails(3, "c.json is invalid", "", "correct it, name another file with --config"),
        config("a file that is a folder")
            .prepare(|lab| {
                std::fs::create_dir_all(lab.dir.path().join(".aliyun/config.json")).unwrap()
            })
            .fails(3, "config.json is invalid: it is a folder", "", "--config"),
        config("a file that is a link to nothing")
            .prepare(|lab| {
                std::fs::create_dir(lab.dir.path().join(".aliyun")).unwrap();
                let link = lab.dir.path().join(".aliyun/config.json");
                std::os::unix::fs::symlink("nowhere", link).unwrap();
            })
            .fails(3, "it is a link to a file that does not exist", "", "--config"),
        Case::new("a file that does not exist")
            .args(&["--config", "DIR/nowhere.json"])
            .calls(START, 0)
            .fails(3, "nowhere.json does not exist", "--config names it", "correct the path"),
        Case::new("no region").env("ALIBABA_CLOUD_REGION_ID", "").calls(START, 0).fails(
            3,
            "no region is known",
            "",
            "--region",
        ),
        Case::new("a file of certificates that is not there")
            .args(&["--ca-file", "DIR/ca.pem"])
            .calls(START, 0)
            .fails(3, "ca.pem cannot be read", "", "correct the path"),
        Case::new("a file of certificates that is none")
            .file("ca.pem", "testsecret")
            .args(&["--ca-file", "DIR/ca.pem"])
            .calls(START, 0)
            .fails(3, "ca.pem is invalid", "", "-----BEGIN CERTIFICATE-----"),
        // No shell has put the home folder in place of these tildes.
        config("a file by its tilde")
            .file("c.json", &PROFILES[..150])
            .args(&["--config=~/c.json"])
            .fails(3, "c.json is invalid", "", "correct it, name another file with --config"),
        Case::new("no file by its tilde")
            .env("ECS_BRIDGE_CONFIG", "~/nowhere.json")
            .calls(START, 0)
            .fails(
                3,
                "nowhere.json does not exist",
                "ECS_BRIDGE_CONFIG names it",
                "correct the path",
            ),
        Case::new("a file of certificates by its tilde")
            .file("ca.pem", "testsecret")
            .args(&["--ca-file=~/ca.pem"])
            .calls(START, 0)
            .fails(3, "ca.pem is invalid", "", "-----BEGIN CERTIFICATE-----"),
        Case::new("a log file by its tilde").args(&["--log-file=~"]).calls(START, 0).fails(
            3,
            "cannot write the log file",
            "",
            "--log-file",
        ),
        Case::new("a log file that cannot be written")
            .args(&["--log-file", "DIR"])
            .calls(START, 0)
            .fails(3, "cannot write the log file", "", "--log-file"),
        Case::new("an endpoint without TLS elsewhere")
            .args(&["--endpoint", "http://192.0.2.1"])
            .calls(START, 0)
            .fails(3, "is not encrypted", "set by --endpoint; http://", "https://"),
        Case::new("a region that is none")
            .env("ALIBABA_CLOUD_REGION_ID", "CN-Hangzhou")
            .calls(START, 0)
            .fails(
                3,
                "'CN-Hangzhou' is not a region id",
                "set by ALIBABA_CLOUD_REGION_ID",
                "write it as cn-hangzhou",
            ),
        profile("an endpoint of a profile that is none", "odd").without_endpoint().fails(
            3,
            "'a b' is not an endpoint",
            "set by endpoint of profile 'odd' of ",
            "leave the endpoint out",
        ),
    ])
    .await;
}

/// Root may read everything: there the binary runs as nobody.
#[tokio::test]
async fn a_file_that_may_not_be_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = lab.dir.path().join("config.json");
    std::fs::write(&path, PROFILES).unwrap();
    set_mode(&path, 0);
    set_mode(lab.dir.path(), 0o755);
    let args = ["proxy", INSTANCE, "--config", path.to_str().unwrap()];
    let mut command = lab.bridge(args);
    if std::fs::File::open(&path).is_ok() {
        // Nobody may not come to where the binary was built. Another program makes the copy: what this
        // one has open for writing could be inherited by another test's child, and cannot be run then.
        let copy = lab.dir.path().join("ecs-bridge");
        let made = run(Command::new("cp").arg(env!("CARGO_BIN_EXE_ecs-bridge")).arg(&copy)).await;
        assert!(made.status.success());
        let mut as_nobody = crate::world::command(copy, &lab.cloud, lab.dir.path());
        as_nobody.uid(65_534).args(args);
        command = as_nobody;
    }
    let ended = Bridge::start(&mut command).end().await;
    let report = ended.report().unwrap();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(report.what.contains("config.json cannot be read: Permission denied"));
    assert!(report.fix.contains("chmod"), "{}", report.fix);
    assert!(ended.stdout.is_empty());
    assert!(lab.cloud.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_refuses_is_told_with_its_request_id() {
    let refused = |name| Case::new(name).request_id().calls(START, 1);
    let key = || AccessKey::new("testid", "testsecret");
    let clock = |name, offset| refused(name).cloud(move |cloud| cloud.clock_offset(offset));
    let secret = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
    run_all(vec![
        refused("a wrong secret").env(secret, "othersecret").fails(
            4,
            "the signature does not match (SignatureDoesNotMatch)",
            "the secret does not belong to the access key id; the credentials",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        ),
        refused("a wrong secret, signed in the old way")
            .args(&["--signature-version", "v1"])
            .env(secret, "othersecret")
            .fails(4, "the signature does not match", "the secret does not belong", secret),
        refused("an unknown key").env("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIunknown").fails(
            4,
            "the access key is not known (InvalidAccessKeyId.NotFound)",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
        ),
        refused("a key that is switched off")
            .cloud(move |cloud| cloud.access_key(key().state(KeyState::Inactive)))
            .fails(4, "the access key is disabled", "switched it off", "RAM console"),
        refused("an expired token")
            .cloud(move |cloud| {
                cloud.access_key(key().token("testsecret-token").state(KeyState::Expired))
            })
            .fails(
                4,
                "the security token has expired",
                "temporary credentials end",
                "ALIBABA_CLOUD_SECURITY_TOKEN",
            ),
        refused("no token")
            .cloud(move |cloud| cloud.access_key(key().token("testsecret-token")))
            .env("ALIBABA_CLOUD_SECURITY_TOKEN", "")
            .fails(4, "the security token is missing", "temporary", "SECURITY_TOKEN"),
        clock("a clock that is an hour behind", ClockOffset::Ahead(HOUR)).fails(
            4,
            "the time of the request is wrong",
            " behind; the service says",
            "timedatectl set-ntp true",
        ),
        clock("a clock that is an hour ahead", ClockOffset::Behind(HOUR)).fails(
            4,
            "the time of the request is wrong",
            " ahead; the service says",
            "timedatectl set-ntp true",
        ),
        refused("a permission that is missing")
            .cloud(move |cloud| cloud.access_key(key().deny(START)))
            .fails(
                5,
                "a permission is missing (Forbidden.RAM)",
                "may not do ecs:StartTerminalSession",
                r#""Action":["ecs:StartTerminalSession","#,
            ),
        refused("an unknown instance").command(&["proxy", "i-nosuch"]).fails(
            6,
            "there is no such instance",
            "region cn-hangzhou has no 'i-nosuch'",
            "--region",
        ),
        refused("an unknown region").args(&["--region", "cn-nosuch"]).fails(
            6,
            "there is no such region",
            "'cn-nosuch'",
            "--region",
        ),
        refused("Session Manager is switched off")
            .cloud(|cloud| cloud.session_manager_enabled(false))
            .fails(
                6,
                "Session Manager is switched off",
                "cn-hangzhou",
                "ModifyCloudAssistantSettings",
            ),
        refused("the quota is reached")
            .cloud(|cloud| cloud.region_quota(0))
            .args(&["--wait", "0"])
            .fails(6, "there are too many sessions", "100 active sessions", "EndTerminalSession"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_fails_is_told() {
    let api =
        |name, fault: ApiFault| Case::new(name).prepare(move |lab| lab.cloud.faults().api(fault));
    let on_start = || ApiFault::on(START);
    let half = r#"{"RequestId": "R-1", "SessionId": "s-1", "SecurityToken": "testsecret"}"#;
    run_all(vec![
        api("throttled for good", on_start().error(400, "Throttling.User", "slow down"))
            .request_id()
            .calls(START, 4)
            .within(15)
            .fails(7, "too many calls (Throttling.User)", "tried 4 times", "wait a minute"),
        api(
            "throttled for longer than a call may take",
            on_start().error(400, "Throttling", "slow").header("x-acs-retry-after", "60000"),
        )
        .request_id()
        .calls(START, 1)
        .fails(7, "too many calls", "the service asks to wait 60 s", "wait a minute"),
        api("the service is down", on_start().error(503, "ServiceUnavailable", "down"))
            .request_id()
            .calls(START, 4)
            .within(15)
            .fails(7, "the service is not available", "tried 4 times", "in a few minutes"),
        api(
            "a page of HTML",
            on_start().raw(502, "text/html", "<html><title>502 Bad Gateway</title>testsecret"),
        )
        .fails(
            7,
            "the answer is not the API's: HTTP 502, '502 Bad Gateway'",
            "something else answers",
            "check the endpoint",
        ),
        api("an answer that lacks fields", on_start().raw(200, "application/json", half))
            .request_id()
            .fails(7, "the answer has no WebSocketUrl", "the API has changed", "newer ecs-bridge"),
        api("an answer that is no JSON", on_start().raw(200, "application/json", &half[..60]))
            .fails(7, "the answer is damaged JSON", "sent this", "try again"),
        api("an unknown code", on_start().error(400, "Odd.Code", "oddly so"))
            .request_id()
            .calls(START, 1)
            .fails(1, "(Odd.Code)", "the service says: oddly so", "support"),
        api("cut before each answer", on_start().cut()).calls(START, 4).within(15).fails(
            7,
            "closed the connection without an answer",
            "tried 4 times",
            "try again",
        ),
        api("taken and never answered", on_start().silent()).calls(START, 3).within(15).fails(
            7,
            "is silent: no answer within 15 s",
            "nothing came back",
            "firewall or proxy",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_cannot_be_reached_is_told() {
    // One that takes connections into its backlog and does nothing with them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let (_bound, refusing) = refusing();
    let at = |name, endpoint: String| {
        Case::new(name).args(&["--endpoint", &endpoint]).calls(START, 0).within(15)
    };
    run_all(vec![
        at("a name that does not resolve", "https://ecs.nosuch.invalid".into()).fails(
            7,
            "the host name 'ecs.nosuch.invalid' does not resolve",
            "the resolver says",
            "check the region and the endpoint",
        ),
        at("refused", format!("http://{refusing}")).fails(
            7,
            "refuses connections",
            "nothing listens there",
            "--endpoint",
        ),
        at("silent", format!("http://127.0.0.1:{silent_port}")).fails(
            7,
            "is silent: no answer within 15 s",
            "nothing came back",
            "firewall or proxy",
        ),
        at("silent where TLS is due", format!("https://127.0.0.1:{silent_port}")).fails(
            7,
            "is silent: no TLS within 5 s",
            "nothing there speaks TLS",
            "firewall or proxy",
        ),
    ])
    .await;
    drop(silent);
}

#[tokio::test]
async fn what_is_throttled_twice_is_sent_again_as_the_same_request() {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    let fault = ApiFault::on(START).error(400, "Throttling.User", "slow down").times(2);
    lab.cloud.faults().api(fault.header("x-acs-retry-after", "50"));
    let bridge = lab.start(&[]);
    drop(lab.accept().await);
    bridge.end().await;
    let calls: Vec<_> = lab.cloud.calls().into_iter().filter(|call| call.action == START).collect();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.params["ClientToken"] == calls[0].params["ClientToken"]));
    assert_eq!(lab.cloud.sessions().len(), 1);
    lab.all_ended().await;
}

#[tokio::test]
async fn a_wrong_command_line_is_told_and_ends_with_2() {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    for (args, part) in [
        (&["proxy", ""][..], "the target is empty"),
        (&["proxy", "tag:=x"], "\"tag:=x\" names no tag"),
        (&["proxy", "i-a\u{1b}[2J"], "it has control characters"),
        (&["proxy", INSTANCE, "0"], "expected a number from 1 to 65535"),
        (&["proxy", INSTANCE, "ssh"], "invalid value 'ssh'"),
        (&["proxy", INSTANCE, "--remote-host", "a b"], "\"a b\" is not a host"),
        (&["proxy", INSTANCE, "--no-verify"], "unexpected argument '--no-verify'"),
        (&["proxy", INSTANCE, "--keepalive", "often"], "invalid value 'often'"),
        (&["proxy"], "required arguments"),
        (&["proxie", INSTANCE], "unrecognized subcommand 'proxie'"),
    ] {
        let ended = Bridge::start(&mut lab.bridge(args)).end().await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}'), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}");
    }
    assert!(lab.cloud.calls().is_empty());
}
