//! `configure` at a terminal, mode by mode.

use std::fs;

use serde_json::json;

use crate::configure::{ID, PRESENT, SECRET, file, lab, profile, run, start, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_asks_for_what_it_needs() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    let arn = "acs:ram::123456:role/ops";
    let provider = "acs:ram::123456:oidc-provider/idp";
    for (mode, answers, expected) in [
        (
            "CredentialsURI",
            &[("URI", "http://127.0.0.1:1/keys")][..],
            json!({"credentials_uri": "http://127.0.0.1:1/keys"}),
        ),
        ("EcsRamRole", &[("Role of the instance", "")], json!({})),
        ("EcsRamRole", &[("Role of the instance", "ops")], json!({"ram_role_name": "ops"})),
        (
            "RamRoleArn",
            &[
                ("AccessKey ID", ID),
                ("AccessKey secret", SECRET),
                ("ARN of the role", arn),
                ("session [ecs-bridge]", ""),
                ("External id", "x-1"),
                ("Duration of the role's session in seconds [3600]", ""),
                ("Region of STS", ""),
            ],
            json!({"access_key_id": ID, "access_key_secret": SECRET, "ram_role_arn": arn,
                "ram_session_name": "ecs-bridge", "external_id": "x-1", "expired_seconds": 3600}),
        ),
        (
            "RamRoleArnWithRoleName",
            &[
                ("Role of the instance", "ops"),
                ("ARN of the role", arn),
                ("session", "me"),
                ("External id", ""),
                ("Duration", "1800"),
                ("Region of STS", "cn-beijing"),
            ],
            json!({"ram_role_name": "ops", "ram_role_arn": arn, "ram_session_name": "me",
                "expired_seconds": 1800, "sts_region": "cn-beijing"}),
        ),
        (
            "ChainableRamRoleArn",
            &[
                ("Profile that assumes", "no-such"),
                ("there are: work", ""),
                ("Profile that assumes", "work"),
                ("ARN of the role", "arn:aws:iam::1:role/x"),
                ("ARN of the role", arn),
                ("session", ""),
                ("External id", ""),
                ("Duration", ""),
                ("Region of STS", ""),
            ],
            json!({"source_profile": "work", "ram_role_arn": arn,
                "ram_session_name": "ecs-bridge", "expired_seconds": 3600}),
        ),
        (
            "OIDC",
            &[
                ("ARN of the OIDC provider", provider),
                ("File of the OIDC token", "~/token"),
                ("no such file yet", "-"),
                ("ARN of the role", arn),
                ("session", ""),
                ("Duration of the role's session in seconds [3600]", ""),
                ("Region of STS", ""),
            ],
            json!({"oidc_provider_arn": provider, "ram_role_arn": arn,
                "oidc_token_file": lab.dir.path().join("token").to_str().unwrap(),
                "ram_session_name": "ecs-bridge", "expired_seconds": 3600}),
        ),
        (
            "External",
            &[("Command that prints", "get-keys --for 'me'")],
            json!({"process_command": "get-keys --for 'me'"}),
        ),
    ] {
        fs::write(file(&lab), PRESENT).unwrap();
        let mut it = start(&lab, &["--mode", mode, "--profile", "new", "--no-check"]);
        for (question, answer) in answers {
            it.expect(question).await;
            if question.contains("there are") || question.contains("no such file") {
                continue;
            }
            it.type_in(&format!("{answer}\r")).await;
        }
        it.answer("Region, such as", "cn-hangzhou").await;
        let (code, screen) = it.end().await;
        assert_eq!(code, Some(0), "{mode}");
        assert!(!screen.contains("hush"), "{screen}");
        let mut expected = expected;
        for (field, value) in [
            ("name", "new"),
            ("mode", mode),
            ("region_id", "cn-hangzhou"),
            ("output_format", "json"),
            ("language", "en"),
        ] {
            expected[field] = value.into();
        }
        assert_eq!(profile(&lab, "new"), expected, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modes_that_there_are_not() {
    let lab = lab(&[]).await;
    for (mode, what, fix) in [
        ("i-bp1example0001", "there is no mode \"i-bp1example0001\"", "give one of AK, StsToken, "),
        (
            "RsaKeyPair",
            "there is no mode \"RsaKeyPair\"",
            "ChainableRamRoleArn, OIDC, External; or",
        ),
        (
            "cloudsso",
            "mode CloudSSO needs a browser",
            "aliyun configure --mode CloudSSO --profile x",
        ),
        ("OAuth", "mode OAuth needs a browser", "aliyun configure --mode OAuth --profile x"),
    ] {
        for args in
            [&["--mode", mode, "--profile", "x"][..], &["set", "--mode", mode, "--profile", "x"]]
        {
            let ended = run(&lab, args).await;
            let report = ended.report().unwrap();
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            assert!(report.what.contains(what) && report.fix.contains(fix), "{}", ended.stderr);
        }
    }
    // One that is there already is as good.
    write(&lab, &PRESENT.replace("\"mode\": \"AK\"", "\"mode\": \"CloudSSO\""));
    let ended = run(&lab, &[]).await;
    assert!(ended.report().unwrap().fix.contains("--mode CloudSSO --profile work"));
}
