//! Commands: what may be asked for, by whom, and how they live.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use local_cloud::{AccessKey, ApiFault, CommandKind, Instance, LocalCloud, State};
use serde_json::{Value, json};
use support::*;

async fn cloud() -> LocalCloud {
    cloud_with(Instance::new("i-a")).await
}

/// A call, changed in some parameters; an empty value takes one out.
async fn refusal(cloud: &LocalCloud, action: &str, changes: &[(&str, &str)]) -> String {
    let (content, parameters) = (STANDARD.encode("true"), key_parameters("root", PUBLIC_KEY));
    let mut params = match action {
        "RunCommand" => vec![
            ("Type", "RunShellScript"),
            ("CommandContent", content.as_str()),
            ("ContentEncoding", "Base64"),
        ],
        _ => vec![("CommandId", SEND_KEY), ("Parameters", parameters.as_str())],
    };
    params.push(("InstanceId.1", "i-a"));
    params.extend(changes);
    call(cloud, action, &params).await.code()
}

#[tokio::test]
async fn what_may_be_run() {
    let cloud = cloud().await;
    cloud.add_instance(Instance::new("i-far").region("cn-beijing"));
    // 18,432 bytes are 24 KB in Base64.
    let fits = STANDARD.encode("#".repeat(18_432));
    let (long, plain) = (STANDARD.encode("#".repeat(18_433)), "#".repeat(18_433));
    let token = "t".repeat(65);
    let cases: [(&[(&str, &str)], &str); 25] = [
        (&[], ""),
        (&[("CommandContent", &fits)], ""),
        (&[("ContentEncoding", "PlainText"), ("CommandContent", "echo ü")], ""),
        (&[("ContentEncoding", ""), ("CommandContent", "echo plain")], ""),
        (&[("Timeout", "5")], ""),
        (&[("Timeout", "86400"), ("ClientToken", &token[1..])], ""),
        (&[("EnableParameter", "false"), ("RepeatMode", "Once"), ("Name", "n")], ""),
        (&[("CommandContent", &long)], "CmdContent.ExceedLimit"),
        (&[("ContentEncoding", "PlainText"), ("CommandContent", &plain)], "CmdContent.ExceedLimit"),
        (&[("CommandContent", "no base64")], "CmdContent.DecodeError"),
        (&[("CommandContent", "")], "MissingParameter.CommandContent"),
        (&[("ContentEncoding", "Rot13")], "InvalidParameter.ContentEncoding"),
        (&[("Type", "")], "MissingParameter.Type"),
        (&[("Type", "RunBatScript")], "InvalidParameter.Type"),
        (&[("Timeout", "0")], "InvalidParameter.Timeout"),
        (&[("Timeout", "86401")], "InvalidParameter.Timeout"),
        (&[("Timeout", "1m")], "InvalidParameter.Timeout"),
        (&[("ClientToken", &token)], "InvalidParameter.ClientToken"),
        (&[("ClientToken", "ü")], "InvalidParameter.ClientToken"),
        (&[("Username", "root")], "InvalidParameter.Username"),
        (&[("RepeatMode", "Period")], "InvalidParameter.RepeatMode"),
        (&[("RegionId", "mars")], "InvalidRegionId.NotFound"),
        (&[("InstanceId.1", "")], "MissingParameter.InstanceId"),
        (&[("InstanceId.1", "i-far")], "InvalidInstance.NotFound"),
        (&[("InstanceId.2", "i-a")], "InvalidParameter.InstanceId"),
    ];
    for (changes, wanted) in cases {
        assert_eq!(refusal(&cloud, "RunCommand", changes).await, wanted, "{changes:?}");
    }
    assert_eq!(cloud.invocations().len(), 7, "what was refused is not carried out");
    let many: Vec<String> = (1..=101).map(|index| format!("InstanceId.{index}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "i-a")).collect();
    assert_eq!(refusal(&cloud, "RunCommand", &many).await, "InstanceIds.ExceedLimit");
}

#[tokio::test]
async fn what_may_be_invoked() {
    let cloud = cloud().await;
    let with = key_parameters;
    let kind = |kind: &str| PUBLIC_KEY.replace("ssh-ed25519", kind);
    let cases = [
        (with("root", PUBLIC_KEY), ""),
        (with("_machine$", PUBLIC_KEY.strip_suffix(" me@here").unwrap()), ""),
        (String::new(), "MissingParameter.Parameters"),
        ("username=root".to_owned(), "InvalidParameter.Parameters"),
        ("[]".to_owned(), "InvalidParameter.Parameters"),
        ("{}".to_owned(), "Parameter.NotMatched"),
        (json!({"username": "root"}).to_string(), "Parameter.NotMatched"),
        (json!({"sshPublicKey": PUBLIC_KEY}).to_string(), "Parameter.NotMatched"),
        (
            json!({"username": "root", "sshPublicKey": PUBLIC_KEY, "more": 1}).to_string(),
            "Parameter.NotMatched",
        ),
        (
            json!({"username": 0, "sshPublicKey": PUBLIC_KEY}).to_string(),
            "ParameterType.NotSupported",
        ),
        (with("", PUBLIC_KEY), "InvalidParameter.Parameters"),
        (with("a b", PUBLIC_KEY), "InvalidParameter.Parameters"),
        (with("../root", PUBLIC_KEY), "InvalidParameter.Parameters"),
        (with("root", ""), "InvalidParameter.Parameters"),
        (with("root", &format!("{PUBLIC_KEY}\n")), "InvalidParameter.Parameters"),
        (with("root", &format!("command=\"x\" {PUBLIC_KEY}")), "InvalidParameter.Parameters"),
        (with("root", &kind("ssh-dss")), "InvalidParameter.Parameters"),
        (with("root", &kind("ssh-rsa")), "InvalidParameter.Parameters"),
    ];
    for (parameters, wanted) in cases {
        let changes = [("Parameters", parameters.as_str())];
        assert_eq!(refusal(&cloud, "InvokeCommand", &changes).await, wanted, "{parameters}");
    }
    let unknown = [("CommandId", "c-x")];
    assert_eq!(refusal(&cloud, "InvokeCommand", &unknown).await, "InvalidCmdId.NotFound");
    assert_eq!(cloud.invocations().len(), 2);
    let windows = [("CommandId", "cmd-ACS-ECS-SendSshPublicKey-windows.ps1")];
    assert_eq!(refusal(&cloud, "InvokeCommand", &windows).await, "InvalidCmdId.NotFound");
    assert_eq!(
        refusal(&cloud, "InvokeCommand", &[("CommandId", "")]).await,
        "MissingParameter.CommandId"
    );
}

#[tokio::test]
async fn all_three_want_a_signature_and_a_permission() {
    let names = ["RunCommand", "InvokeCommand", "DescribeInvocationResults"];
    let denied = names.iter().fold(AccessKey::new("denied", "s"), |key, name| key.deny(*name));
    let cloud = LocalCloud::builder()
        .instance(Instance::new("i-a"))
        .access_key(AccessKey::new("testid", "testsecret"))
        .access_key(denied)
        .start()
        .await
        .unwrap();
    for name in names {
        let ask = async |request: String| exchange(&cloud, &request).await.unwrap().code();
        let known = Call::new(name, &[("InstanceId.1", "i-a")]);
        let wrong = Call { secret: "wrong".into(), ..known.clone() };
        assert_eq!(ask(wrong.v3()).await, "SignatureDoesNotMatch");
        let wrong = Call { secret: "wrong".into(), nonce: fresh_nonce(), ..known.clone() };
        assert_eq!(ask(wrong.v1(true)).await, "SignatureDoesNotMatch");
        assert_eq!(
            ask(known.v3_tampered(|r| r.replace("i-a", "i-b"))).await,
            "SignatureDoesNotMatch"
        );
        let unsigned = format!(
            "POST /?Action={name}&Version=2014-05-26 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(ask(unsigned).await, "IncompleteSignature");
        let denied = Call { id: "denied".into(), secret: "s".into(), ..known };
        assert_eq!(ask(denied.v3()).await, "Forbidden.RAM");
        // Throttled as any other.
        cloud.faults().api(ApiFault::on(name).error(400, "Throttling.User", "slow down").times(1));
        assert_eq!(call(&cloud, name, &[]).await.code(), "Throttling.User");
        assert_ne!(call(&cloud, name, &[]).await.code(), "Throttling.User");
    }
    assert!(cloud.invocations().is_empty());
}

#[tokio::test]
async fn a_command_lives_from_nothing_to_its_end() {
    let time = Duration::from_millis(1_500);
    let cloud = cloud_with(Instance::new("i-a").command_time(time).results_empty(2)).await;
    let answer = run_script(&cloud, "i-a", &format!("  {INSTALL}\n")).await;
    let json = answer.json();
    let id = invoke_id(&answer);
    assert!(id.starts_with("t-") && json["CommandId"].as_str().unwrap().starts_with("c-"));
    for _ in 0..2 {
        assert_eq!(results(&cloud, &id, &[]).await, Vec::<Value>::new());
    }
    let pending = results(&cloud, &id, &[]).await.remove(0);
    assert_eq!(pending["InvocationStatus"], "Pending");
    assert_eq!(pending["InvokeRecordStatus"], "Running");
    assert_eq!((pending["ExitCode"].clone(), &pending["StartTime"]), (Value::Null, &json!("")));
    cloud.wait_for_invocation(|record| record.status == "Running", SOON).await.unwrap();
    let running = results(&cloud, &id, &[]).await.remove(0);
    assert_eq!(running["InvocationStatus"], "Running");
    assert_ne!(running["StartTime"], "");
    assert_eq!(running["FinishedTime"], "");

    let record = ended(&cloud, &id).await;
    assert!(record.ended.unwrap().duration_since(record.started).unwrap() >= time);
    let done = results(&cloud, &id, &[("InstanceId", "i-a")]).await.remove(0);
    assert_eq!(done["InvocationStatus"], "Success");
    assert_eq!((&done["ExitCode"], &done["ErrorCode"]), (&json!(0), &json!("")));
    assert_eq!(done["CommandId"], json["CommandId"]);
    assert_ne!(done["FinishedTime"], "");
    let output = STANDARD.decode(done["Output"].as_str().unwrap()).unwrap();
    let plain = results(&cloud, &id, &[("ContentEncoding", "PlainText")]).await.remove(0);
    assert_eq!(plain["Output"].as_str().unwrap().as_bytes(), output);

    let record = cloud.invocations().remove(0);
    assert!(record.succeeded());
    assert_eq!(record.content.as_deref(), Some(INSTALL));
    assert_eq!((record.kind, record.region.as_str()), (CommandKind::Install, "cn-hangzhou"));
    assert_eq!((record.access_key_id.as_str(), record.calls), ("testid", 1));
    assert_eq!(record.timeout, Duration::from_secs(60));
    let shown: Vec<_> = record.polls.iter().map(|poll| poll.status.as_deref()).collect();
    let success = Some("Success");
    assert_eq!(shown, [None, None, Some("Pending"), Some("Running"), success, success]);
    assert_eq!(record.poll_intervals().len(), 5);
}

#[tokio::test]
async fn results_are_those_that_were_asked_for() {
    let cloud = cloud_with(Instance::new("i-a").results_empty(0)).await;
    cloud.add_instance(Instance::new("i-b").results_empty(0));
    cloud.add_instance(Instance::new("i-c").region("cn-beijing"));
    let content = STANDARD.encode(INSTALL);
    let both = [
        ("Type", "RunShellScript"),
        ("CommandContent", content.as_str()),
        ("ContentEncoding", "base64"),
        ("InstanceId.1", "i-a"),
        ("InstanceId.2", "i-b"),
    ];
    let id = invoke_id(&call(&cloud, "RunCommand", &both).await);
    cloud.wait_for(|state| state.invocations().all(|i| i.succeeded()), SOON).await.unwrap();
    assert!(cloud.has_key_plugin("i-a") && cloud.has_key_plugin("i-b"));
    let of = |list: &[Value]| -> Vec<String> {
        list.iter().map(|result| result["InstanceId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&results(&cloud, &id, &[]).await), ["i-a", "i-b"]);
    assert_eq!(of(&results(&cloud, &id, &[("InstanceId", "i-b")]).await), ["i-b"]);
    assert_eq!(of(&results(&cloud, &id, &[("PageSize", "1"), ("PageNumber", "2")]).await), ["i-b"]);
    assert!(results(&cloud, "t-unknown", &[]).await.is_empty(), "no error");
    assert!(results(&cloud, &id, &[("RegionId", "cn-beijing")]).await.is_empty());
    let other = call(&cloud, "DescribeInvocationResults", &[("ContentEncoding", "Rot13")]).await;
    assert_eq!(other.code(), "InvalidParameter.ContentEncoding");
}

#[tokio::test]
async fn a_client_token_makes_it_one_command() {
    let cloud = cloud().await;
    let content = |text: &str| STANDARD.encode(text);
    let run = async |text: &str, token: &str| {
        let content = content(text);
        let params = [
            ("Type", "RunShellScript"),
            ("CommandContent", content.as_str()),
            ("ContentEncoding", "Base64"),
            ("InstanceId.1", "i-a"),
            ("ClientToken", token),
        ];
        exchange(&cloud, &Call::new("RunCommand", &params).v1(true)).await.unwrap()
    };
    let first = invoke_id(&run(INSTALL, "a").await);
    assert_eq!(invoke_id(&run(INSTALL, "a").await), first);
    assert_ne!(invoke_id(&run(INSTALL, "b").await), first);
    assert_eq!(run("true", "a").await.code(), "IdempotentParameterMismatch");
    let parameters = key_parameters("root", PUBLIC_KEY);
    let invoke = async |token: &str| {
        let params = [
            ("CommandId", SEND_KEY),
            ("InstanceId.1", "i-a"),
            ("Parameters", parameters.as_str()),
            ("ClientToken", token),
        ];
        call(&cloud, "InvokeCommand", &params).await
    };
    assert_eq!(invoke("a").await.code(), "IdempotentParameterMismatch", "another action");
    let key = invoke_id(&invoke("k").await);
    assert_eq!(invoke_id(&invoke("k").await), key);
    // The answer is lost, the command is not.
    cloud.faults().api(ApiFault::on("InvokeCommand").cut_midway().times(1));
    invoke("lost").await;
    invoke_id(&invoke("lost").await);
    let seen: Vec<_> = cloud
        .invocations()
        .into_iter()
        .map(|record| (record.client_token.unwrap(), record.calls))
        .collect();
    let wanted = [("a", 2), ("b", 1), ("k", 2), ("lost", 2)];
    assert_eq!(seen, wanted.map(|(token, calls)| (token.to_owned(), calls)));
    cloud.wait_for(|state| state.keys().count() == 2, SOON).await.unwrap();
}

#[tokio::test]
async fn a_private_key_does_not_go_unseen() {
    let cloud = cloud().await;
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let answer = send_key(&cloud, "i-a", "root", private).await;
    assert_eq!(answer.code(), "InvalidParameter.Parameters");
    assert!(!answer.body.contains("b3Blbn"), "{}", answer.body);
    run_script(&cloud, "i-a", &format!("cat > key <<E\n{private}E\n")).await;
    let wanted = ["Parameters", "CommandContent"]
        .map(|name| format!("a private key in the parameter {name}"));
    assert_eq!(cloud.violations(), wanted);
    assert_eq!(cloud.calls()[0].violations, wanted[..1]);
    send_key(&cloud, "i-a", "root", PUBLIC_KEY).await;
    assert_eq!(cloud.look(|state: &State| state.calls().last().unwrap().violations.len()), 0);
}
