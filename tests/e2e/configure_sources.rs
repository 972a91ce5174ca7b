//! `configure` where the credentials come from elsewhere: what it tries, and what it says of profiles
//! is what every other command finds.

use serde_json::Value;

use crate::configure::{bare, content, profile, run, start};
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    ARN, ECS_ROLE, KEYS, OIDC_TOKEN, PROVIDER, ROLE, calls, cloud, file, instance, one, write,
};

/// Each mode is tried with a call, and nothing but Enter is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_tried_before_it_is_written() {
    let lab = Lab::with(cloud(), instance()).await;
    file(&lab, "token", OIDC_TOKEN);
    file(&lab, "keys.json", &format!("{{{KEYS}}}"));
    // Profiles that have keys may stand in another file.
    let other = format!(r#"{{"profiles": [{}]}}"#, one("AK", KEYS).replace("\"p\"", "\"base\""));
    let (dir, arn) = (lab.dir.path().display().to_string(), ["--ram-role-arn", ARN]);
    let (uri, token, command) =
        (lab.cloud.credentials_uri(), format!("{dir}/token"), format!("cat {dir}/keys.json"));
    let keys = ["--access-key-id", "testid", "--access-key-secret", "testsecret"];
    for (mode, fields, questions) in [
        ("AK", keys.to_vec(), 3),
        ("CredentialsURI", vec!["--credentials-uri", &uri], 2),
        ("EcsRamRole", vec!["--ram-role-name", ECS_ROLE], 2),
        ("RamRoleArn", [&keys[..], &arn].concat(), 8),
        ("RamRoleArnWithRoleName", arn.to_vec(), 7),
        ("ChainableRamRoleArn", [&["--source-profile", "base"][..], &arn].concat(), 7),
        (
            "OIDC",
            [&["--oidc-provider-arn", PROVIDER, "--oidc-token-file", &token][..], &arn].concat(),
            7,
        ),
        ("External", vec!["--process-command", &command], 2),
    ] {
        write(&lab, "");
        file(&lab, ".aliyun/config_ecs.json", &other);
        let common = ["set", "--profile", "new", "--region", "cn-hangzhou", "--mode", mode];
        let ended = run(&lab, &[&common[..], &fields].concat()).await;
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.stderr);
        assert!(!ended.stderr.contains("cannot be used"), "{mode}: {}", ended.stderr);
        let list = run(&lab, &["list", "--json"]).await;
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        assert_eq!((&list[1]["mode"], &list[1]["problem"]), (&mode.into(), &Value::Null), "{list}");

        let before = calls(&lab, "DescribeInstanceStatus").len();
        let mut it = start(&lab, &["--profile", "new"]);
        for _ in 0..questions {
            it.answer(": ", "").await;
        }
        it.expect("the credentials are good (DescribeInstanceStatus in cn-hangzhou)").await;
        let (code, screen) = it.end().await;
        assert_eq!(code, Some(0), "{mode}");
        assert!(!screen.contains("testsecret"), "{screen}");
        assert_eq!(calls(&lab, "DescribeInstanceStatus").len(), before + 1, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_says_what_keeps_a_profile_from_being_used() {
    let lab = Lab::with(cloud(), instance()).await;
    let named = |name: &str, fields: &str| format!(r#"{{"name": "{name}", {fields}}}"#);
    let profiles = [
        named("p", KEYS),
        named("guessed", r#""process_command": "cat""#),
        named("no token", &format!(r#""mode": "OAuth", {KEYS}"#)),
        named(
            "over",
            &format!(r#""mode": "StsToken", {KEYS}, "sts_token": "t", "sts_expiration": 1"#),
        ),
        named(
            "chained",
            &format!(r#""mode": "ChainableRamRoleArn", "source_profile": "over", {ROLE}"#),
        ),
        named(
            "circle",
            &format!(r#""mode": "ChainableRamRoleArn", "source_profile": "circle", {ROLE}"#),
        ),
        named("odd", r#""mode": "RsaKeyPair""#),
    ];
    write(&lab, &profiles.join(","));
    let ended = run(&lab, &["list"]).await;
    let expected = "\
PROFILE   MODE                 ACCESS KEY  REGION  STATUS
p *       AK                   …           -       lacks region_id
guessed   External             -           -       lacks region_id
no token  OAuth                …           -       lacks sts_token
over      StsToken             …           -       expired
chained   ChainableRamRoleArn  -           -       profile 'over': expired
circle    ChainableRamRoleArn  -           -       source_profile is circular
odd       RsaKeyPair           -           -       mode RsaKeyPair is not supported
";
    ended.said(expected.as_bytes());
    assert_eq!(ended.stderr, "");
}

/// A token would be sent with the new key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_with_the_key_that_it_was_of() {
    let lab = Lab::with(cloud(), instance()).await;
    let old =
        one("RamRoleArn", &format!(r#"{KEYS}, {ROLE}, "sts_token": "old", "sts_expiration": 1"#));
    let key = ["set", "--access-key-id", "LTAI5other"];
    write(&lab, &old);
    assert_eq!(run(&lab, &key).await.code, Some(0));
    let left = profile(&lab, "p");
    assert!(left.get("sts_token").is_none() && left.get("sts_expiration").is_none(), "{left}");

    // It is another one's turn: the token comes after it.
    write(&lab, &old.replace("RamRoleArn", "StsToken"));
    assert_eq!(run(&lab, &key).await.code, Some(0));
    assert_eq!(profile(&lab, "p")["sts_token"], "old");

    write(&lab, &old);
    assert_eq!(run(&lab, &["set", "--access-key-id", "testid"]).await.code, Some(0));
    assert!(content(&lab).contains("\"old\""), "it is the same key");
}

/// Its stderr is read to its end: nothing of the program is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_hangs_is_ended_with_the_trial() {
    let lab = Lab::with(cloud(), instance()).await;
    file(&lab, "script", crate::credentials_program::HANGS);
    write(&lab, &one("External", r#""process_command": "sh DIR/script""#));
    for args in [&["configure", "set", "--check", "--region", "cn-hangzhou"][..], &["doctor"]] {
        let mut bridge = Bridge::start(&mut bare(&lab, args));
        bridge.logged("waiting").await;
        bridge.signal("INT").await;
        assert_eq!(bridge.end().await.code, Some(130), "{args:?}");
    }
}
