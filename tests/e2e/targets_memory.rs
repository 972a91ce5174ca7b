//! What is remembered of targets, and must not be used; and answers without an end.

use local_cloud::{AccessKey, ApiFault, Role};
use serde_json::{Value, json};

use crate::lab::{Bridge, Lab};
use crate::profiles::{ARN, without_keys};
use crate::targets::{LOOK, calls, lab, proxy, remembered};

fn looked(lab: &Lab) -> usize {
    calls(lab, LOOK).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_or_no_region_is_not_remembered() {
    let lab = lab(|builder| builder).await;
    proxy(&lab, &["web-1"]).await;
    let [entry] = &remembered(&lab, "target-")[..] else { panic!("one entry") };
    let whole = std::fs::read_to_string(entry).unwrap();
    let with = |value: Value| {
        let mut whole: Value = serde_json::from_str(&whole).unwrap();
        whole["value"].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        whole.to_string()
    };
    for (times, text) in (2..).zip([
        with(json!({"id": ""})),
        with(json!({"id": "../x"})),
        with(json!({"id": 7})),
        with(json!({"region": "x y"})),
        with(json!({"input": "web-2"})),
        whole[..whole.len() / 2].to_owned(),
        String::new(),
    ]) {
        std::fs::write(entry, &text).unwrap();
        proxy(&lab, &["web-1"]).await;
        assert_eq!(looked(&lab), times, "{text}");
    }
    // A clock that was set back has stored it in what is the future now.
    let mut ahead: Value = serde_json::from_str(&whole).unwrap();
    ahead["stored"] = (ahead["stored"].as_f64().unwrap() + 600.0).into();
    std::fs::write(entry, ahead.to_string()).unwrap();
    let before = looked(&lab);
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(&lab), before + 1);
    proxy(&lab, &["web-1"]).await;
    assert_eq!(looked(&lab), before + 1);
}

/// Looks for web-1 with a profile `p`.
async fn look(lab: &Lab, file: &str, fields: &str) {
    let file = lab.dir.path().join(file);
    let text =
        format!(r#"{{"profiles": [{{"name": "p", "region_id": "cn-hangzhou", {fields}}}]}}"#);
    std::fs::write(&file, text).unwrap();
    let mut command = lab.bridge(["--profile", "p", "--config"]);
    without_keys(command.arg(file).args(["known-hosts", "web-1"]));
    let ended = Bridge::start(&mut command).end().await;
    // It has no shell that could tell its keys: but it was the one to be asked.
    assert!(ended.stderr.contains("web-1 (i-bp1example0001)"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_account_was_told_is_not_for_another() {
    let other = "acs:ram::1234567890:role/other";
    let lab = lab(|builder| {
        builder
            .access_key(AccessKey::new("testid", "testsecret"))
            .access_key(AccessKey::new("otherid", "testsecret"))
            .role(Role::new(ARN))
            .role(Role::new(other))
    })
    .await;
    let key =
        |id| format!(r#""mode": "AK", "access_key_id": "{id}", "access_key_secret": "testsecret""#);
    let role = |arn| {
        let keys = r#""access_key_id": "testid", "access_key_secret": "testsecret""#;
        format!(
            r#""mode": "RamRoleArn", {keys}, "ram_role_arn": "{arn}", "ram_session_name": "tests""#
        )
    };
    for (times, file, fields) in [
        (1, "a.json", key("testid")),
        (1, "a.json", key("testid")),
        // The same words in another file, or in the same with other keys, or for another role.
        (2, "b.json", key("testid")),
        (3, "a.json", key("otherid")),
        (3, "b.json", key("testid")),
        (4, "a.json", role(ARN)),
        (4, "a.json", role(ARN)),
        (5, "a.json", role(other)),
    ] {
        look(&lab, file, &fields).await;
        assert_eq!(looked(&lab), times, "{file}: {fields}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_without_an_end_are_not_followed_for_ever() {
    let lab = lab(|builder| builder).await;
    for (action, body) in [
        (LOOK, json!({"Instances": {"Instance": []}, "NextToken": "more"})),
        ("DescribeManagedInstances", json!({"Instances": [], "NextToken": "more"})),
    ] {
        lab.cloud.faults().clear();
        lab.cloud.faults().api(ApiFault::on(action).raw(200, "application/json", body.to_string()));
        let before = calls(&lab, action).len();
        let ended = Bridge::start(&mut lab.bridge(["proxy", "nosuch"])).end().await;
        assert_eq!(ended.code, Some(6), "{}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(report.what.starts_with("no instance has the name 'nosuch'"), "{report:?}");
        assert!(report.why.contains("cn-hangzhou has more instances than were looked at"));
        let made = calls(&lab, action).len() - before;
        assert!((50..=160).contains(&made), "{action}: {made} calls");

        let before = calls(&lab, action).len();
        let ended = Bridge::start(&mut lab.bridge(["list", "nosuch"])).end().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("only the first 200 pages"), "{}", ended.stderr);
        let made = calls(&lab, action).len() - before;
        assert!((200..=202).contains(&made), "{action}: {made} calls");
    }
}
