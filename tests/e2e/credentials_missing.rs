//! Each mode without one of the fields that it needs.

use crate::case::run_all;
use crate::profiles::{ARN, KEYS, PROVIDER, failing};

/// Each mode, and what it needs.
const MODES: &[(&str, &[&str])] = &[
    ("AK", &["access_key_id", "access_key_secret"]),
    ("StsToken", &["access_key_id", "access_key_secret", "sts_token"]),
    ("CredentialsURI", &["credentials_uri"]),
    ("RamRoleArn", &["access_key_id", "access_key_secret", "ram_role_arn"]),
    ("RamRoleArnWithRoleName", &["ram_role_arn"]),
    ("ChainableRamRoleArn", &["source_profile", "ram_role_arn"]),
    ("OIDC", &["oidc_provider_arn", "oidc_token_file", "ram_role_arn"]),
    ("External", &["process_command"]),
    ("CloudSSO", &["access_key_id", "access_key_secret", "sts_token"]),
    ("OAuth", &["access_key_id", "access_key_secret", "sts_token"]),
];

fn value(field: &str) -> &'static str {
    match field {
        "access_key_id" => "testid",
        "credentials_uri" => "CLOUD/credentials",
        "ram_role_arn" => ARN,
        "source_profile" => "end",
        "oidc_provider_arn" => PROVIDER,
        "oidc_token_file" => "DIR/token",
        "process_command" => "cat DIR/keys",
        _ => "testsecret",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_with_profile_file_and_mode() {
    let mut cases = Vec::new();
    for (mode, fields) in MODES {
        for missing in *fields {
            let has = fields.iter().filter(|field| *field != missing);
            let mut has: Vec<_> =
                has.map(|field| format!(r#""{field}": "{}""#, value(field))).collect();
            has.push(r#""region_id": "cn-hangzhou""#.to_owned());
            let has = has.join(", ");
            let profiles = format!(
                r#"{{"name": "p", "mode": "{mode}", {has}}}, {{"name": "end", "mode": "AK", {KEYS}}}"#
            );
            let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            let name = leak(format!("{mode} without {missing}"));
            let what = leak(format!(".aliyun/config.json (mode {mode}) has no {missing}"));
            let fix = match *mode {
                "CloudSSO" => "sign in again with: aliyun configure --profile p".to_owned(),
                "OAuth" => "sign in again with: aliyun configure --mode OAuth --profile p".into(),
                _ => format!(
                    "renew the profile with: ecs-bridge configure --mode {mode} --profile p"
                ),
            };
            cases.push(failing(name, profiles).fails(3, what, "", leak(fix)));
        }
    }
    assert_eq!(cases.len(), 22);
    run_all(cases).await;
}
