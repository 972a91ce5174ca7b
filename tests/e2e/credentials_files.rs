//! Files of profiles that are not as they should be, and profiles that lead nowhere.

use crate::case::run_all;
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    KEYS, ROLE, carries, cloud, failing, instance, one, shows_nothing, without_keys, write,
};
use crate::world::INSTANCE;

fn chained(name: &str, from: &str) -> String {
    format!(
        r#"{{"name": "{name}", "mode": "ChainableRamRoleArn", {ROLE}, "source_profile": "{from}"}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_that_lead_nowhere_are_told() {
    let broken = r#"{"name": "b", "mode": "External", "process_command": "'testsecret"}"#;
    let over = format!(
        r#"{{"name": "c", "mode": "StsToken", {KEYS}, "sts_token": "testsecret",
            "sts_expiration": "1600000000"}}"#
    );
    let late = |mode: &str| {
        one(mode, &format!(r#"{KEYS}, "sts_token": "testsecret", "sts_expiration": 1600000000"#))
    };
    run_all(vec![
        failing("a profile that is its own source", chained("p", "p")).fails(
            3,
            "(mode ChainableRamRoleArn) is circular",
            "each takes its keys from the next: p → p",
            "let one of them have keys of its own",
        ),
        failing(
            "a circle of three",
            [chained("p", "q"), chained("q", "r"), chained("r", "p")].join(","),
        )
        .fails(
            3,
            "source_profile of profile 'r'",
            "p → q → r → p",
            "as a profile of another mode",
        ),
        failing("a source that does not exist", chained("p", "gone")).fails(
            3,
            "source_profile of profile 'p'",
            "there are: p",
            "ecs-bridge configure --profile gone",
        ),
        failing("a source that is broken", [chained("p", "b"), broken.into()].join(",")).fails(
            3,
            "process_command of profile 'b'",
            "(mode ChainableRamRoleArn) takes its keys from profile 'b'",
            "ecs-bridge configure --mode External --profile b",
        ),
        failing("a source that is over", [chained("p", "c"), over].join(",")).fails(
            3,
            "the temporary credentials of profile 'c'",
            "sts_expiration is 2020-09-13T12:26:40Z",
            "get new temporary credentials, and renew the profile",
        ),
        failing("CloudSSO that is over", late("CloudSSO")).fails(
            3,
            "(mode CloudSSO) have expired",
            "sts_expiration is 2020-09-13T12:26:40Z",
            "sign in again with: aliyun configure --profile p",
        ),
        failing("OAuth that is over", late("OAuth")).fails(
            3,
            "(mode OAuth) have expired",
            "sts_expiration is 2020-09-13T12:26:40Z",
            "sign in again with: aliyun configure --mode OAuth --profile p",
        ),
        failing("a mode that nobody knows", one("Magic", KEYS)).fails(
            3,
            "(mode Magic) cannot be used",
            "supported are AK,",
            "--profile",
        ),
        failing("a number that is none", {
            one("RamRoleArn", &format!(r#"{KEYS}, {ROLE}, "expired_seconds": "an hour""#))
        })
        .fails(3, "expired_seconds of profile 'p'", "", "correct it there"),
        failing("a URI that is none", one("CredentialsURI", r#""credentials_uri": "testsecret""#))
            .fails(3, "credentials_uri of profile 'p'", "", "correct it there"),
        failing("a role that is none", one("EcsRamRole", r#""ram_role_name": "../x""#)).fails(
            3,
            "ram_role_name of profile 'p'",
            "",
            "correct it there",
        ),
        failing("STS without TLS elsewhere", one("RamRoleArn", &format!("{KEYS}, {ROLE}")))
            .env("ECS_BRIDGE_STS_ENDPOINT", "http://192.0.2.1")
            .fails(
                3,
                "ECS_BRIDGE_STS_ENDPOINT is invalid: the endpoint 'http://192.0.2.1' is not",
                "http://",
                "https://",
            ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_none_are_told() {
    let raw = |name: &'static str, content: String| {
        failing(name, one("AK", KEYS)).file("c.json", content).args(&["--config", "DIR/c.json"])
    };
    let ten = format!(r#"{{"profiles": [{}]}}"#, "1,".repeat(5 << 20));
    run_all(vec![
        raw("0 bytes", String::new()).fails(3, "c.json is invalid: it is empty", "", "--config"),
        raw("10 MB", ten).fails(3, "c.json is invalid: it is larger than 1 MiB", "", "--config"),
        raw("no object", "[1]".into()).fails(3, "it is JSON, but not an object", "", "--config"),
        failing("a folder", one("AK", KEYS)).args(&["--config", "DIR"]).fails(
            3,
            "is invalid: it is a folder",
            "",
            "--config",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_byte_order_mark_does_no_harm() {
    let lab = Lab::with(cloud(), instance()).await;
    write(&lab, &one("AK", KEYS));
    let path = lab.dir.path().join(".aliyun/config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
    carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await.well(b"");
}

/// As the vendor's own tools do, and it is said.
#[tokio::test]
async fn the_first_of_two_profiles_of_one_name_is_taken() {
    let lab = Lab::with(cloud(), instance()).await;
    let other = r#"{"name": "p", "mode": "AK", "access_key_id": "other",
        "access_key_secret": "testsecret"}"#;
    write(&lab, &[&one("AK", KEYS), other].join(","));
    let ended = carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = "config.json has more than one profile 'p': the first is used";
    assert_eq!(ended.stderr.matches(told).count(), 1, "{}", ended.stderr);
    assert_eq!(lab.cloud.sessions()[0].access_key_id, "testid");
    shows_nothing(&lab, &ended.stderr);
    // Nobody asks for the one that is there twice.
    let unused = other.replace(r#""p""#, r#""q""#);
    write(&lab, &[one("AK", KEYS), unused.clone(), unused].join(","));
    carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await.well(b"");
}

#[tokio::test]
async fn a_circle_is_no_hurdle_for_another_profile() {
    let lab = Lab::with(cloud(), instance()).await;
    write(&lab, &[one("AK", KEYS), chained("q", "q")].join(","));
    carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await.well(b"");
    let mut command = lab.bridge(["--profile", "q", "proxy", INSTANCE]);
    let ended = Bridge::start(without_keys(&mut command)).end().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
}
