//! The API: signatures, errors, sessions and their quotas, faults.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use local_cloud::{AccessKey, ApiFault, ClockOffset, Instance, KeyState, LocalCloud, State};
use support::*;

async fn cloud() -> LocalCloud {
    cloud_with(Instance::new("i-a")).await
}

/// The code a request is answered with; empty if it went well.
async fn code(cloud: &LocalCloud, request: &str) -> String {
    exchange(cloud, request).await.unwrap().code()
}

fn status_call() -> Call {
    Call::new("DescribeInstanceStatus", &[("InstanceId.1", "i-a")])
}

#[tokio::test]
async fn both_signatures_are_accepted() {
    let cloud = cloud().await;
    let note = [("Note", "a b*~+/中%\"")];
    let answer = call(&cloud, "DescribeInstanceStatus", &note).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for (form, method) in [(false, "GET"), (false, "POST"), (true, "POST")] {
        let call = Call { method, ..Call::new("DescribeInstanceStatus", &note) };
        let answer = exchange(&cloud, &call.v1(form)).await.unwrap();
        assert_eq!(answer.json()["InstanceStatuses"]["InstanceStatus"][0]["Status"], "Running");
        let record = cloud.calls().pop().unwrap();
        assert_eq!(record.params["Note"], "a b*~+/中%\"");
        assert_eq!((record.signature, record.method.as_str()), (Some("v1"), method));
        assert_eq!(record.request_id, answer.json()["RequestId"]);
    }
    assert_eq!(cloud.calls()[0].signature, Some("v3"));
}

#[tokio::test]
async fn a_v3_call_that_is_not_quite_right_is_refused() {
    let cloud = cloud().await;
    let refused = async |wanted: &str, tamper: &dyn Fn(String) -> String| {
        let request = status_call().v3_tampered(tamper);
        assert_eq!(code(&cloud, &request).await, wanted, "{request}");
    };
    refused("", &|r| r).await;
    refused("SignatureDoesNotMatch", &|r| r.replace("i-a", "i-b")).await;
    refused("SignatureDoesNotMatch", &|r| r.replace("Signature=", "Signature=0")).await;
    refused("SignatureDoesNotMatch", &|r| r.replace("host: ", "host: other.")).await;
    refused("IncompleteSignature", &|r| r.replace("x-acs-version:", "x-acs-other:")).await;
    refused("IncompleteSignature", &|r| {
        r.replace("content-length", "x-acs-more: 1\r\ncontent-length")
    })
    .await;
    refused("IncompleteSignature", &|r| r.replace("SignedHeaders=host;", "SignedHeaders=")).await;
    refused("IncompleteSignature", &|r| r.replace("POST", "GET")).await;
    refused("IncompleteSignature", &|r| r.replace("POST /?", "POST /x?")).await;
    refused("IncompleteSignature", &|r| r.replace("ACS3-HMAC-SHA256", "ACS4")).await;
    refused("IncompleteSignature", &|r| r.replace("-length: 0", "-length: 1") + "x").await;
    refused("InvalidParameter", &|r| r.replace("i-a", "i%2da")).await;
    refused("InvalidParameter", &|r| r.replace("InstanceId.1=i-a", "A=1&A=1")).await;
    refused("InvalidAccessKeyId.NotFound", &|r| r.replace("Credential=testid", "Credential=x"))
        .await;
}

#[tokio::test]
async fn a_v1_call_that_is_not_quite_right_is_refused() {
    let cloud = cloud().await;
    let refused = async |wanted: &str, tamper: &dyn Fn(String) -> String| {
        let request = tamper(status_call().v1(false));
        assert_eq!(code(&cloud, &request).await, wanted, "{request}");
    };
    refused("", &|r| r).await;
    refused("SignatureDoesNotMatch", &|r| r.replace("i-a", "i-b")).await;
    refused("SignatureDoesNotMatch", &|r| r.replace("POST", "GET")).await;
    refused("InvalidParameter.SignatureMethod", &|r| r.replace("HMAC-SHA1", "HMAC-MD5")).await;
    refused("InvalidParameter.Format", &|r| r.replace("=JSON", "=XML")).await;
    refused("MissingParameter.SignatureNonce", &|r| r.replace("SignatureNonce", "Nonce")).await;
}

#[tokio::test]
async fn keys_times_and_nonces() {
    let cloud = LocalCloud::builder()
        .instance(Instance::new("i-a"))
        .access_key(AccessKey::new("testid", "testsecret"))
        .access_key(AccessKey::new("temporary", "s").token("tok"))
        .access_key(AccessKey::new("off", "s").state(KeyState::Inactive))
        .access_key(AccessKey::new("denied", "s").deny("DescribeInstanceStatus"))
        .start()
        .await
        .unwrap();
    let by =
        |id: &str, secret: &str| Call { id: id.into(), secret: secret.into(), ..status_call() };
    let with = |call: Call, token: &str| Call { token: Some(token.into()), ..call };
    let at = |offset: i64| {
        let span = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        timestamp(if offset < 0 { now - span } else { now + span })
    };
    let same = status_call();
    let cases = [
        (by("nobody", "s"), "InvalidAccessKeyId.NotFound"),
        (by("testid", "wrong"), "SignatureDoesNotMatch"),
        (by("off", "s"), "InvalidAccessKeyId.Inactive"),
        (by("denied", "s"), "Forbidden.RAM"),
        (by("temporary", "s"), "MissingSecurityToken"),
        (with(by("temporary", "s"), "tok"), ""),
        (with(by("temporary", "s"), "other"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (with(by("testid", "testsecret"), "tok"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (Call { date: at(-14 * 60), ..status_call() }, ""),
        (Call { date: at(-16 * 60), ..status_call() }, "InvalidTimeStamp.Expired"),
        (Call { date: at(16 * 60), ..status_call() }, "InvalidTimeStamp.Expired"),
        (Call { date: "yesterday".into(), ..status_call() }, "InvalidTimeStamp.Format"),
        (same.clone(), ""),
        (same, "SignatureNonceUsed"),
        (Call { version: "2015-04-01", ..status_call() }, "InvalidVersion"),
        (Call { action: "StartWar".into(), ..status_call() }, "InvalidAction.NotFound"),
    ];
    for (call, wanted) in cases {
        let v1 = Call { nonce: format!("{}-v1", call.nonce), ..call.clone() };
        assert_eq!(code(&cloud, &call.v3()).await, wanted, "V3 {} {}", call.id, call.date);
        assert_eq!(code(&cloud, &v1.v1(true)).await, wanted, "V1 {} {}", call.id, call.date);
    }
    cloud.update_access_key("temporary", |key| key.state = KeyState::Expired);
    let expired = with(by("temporary", "s"), "tok").v3();
    assert_eq!(code(&cloud, &expired).await, "InvalidSecurityToken.Expired");

    let answer = exchange(&cloud, &by("denied", "s").v3()).await.unwrap();
    assert_eq!(answer.status, 403);
    let json = answer.json();
    assert!(json["Message"].as_str().unwrap().contains("ecs:DescribeInstanceStatus"));
    for field in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
        assert!(json[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn the_clouds_clock_may_be_another() {
    let cloud = cloud().await;
    let hour = Duration::from_secs(3_600);
    cloud.update_settings(|settings| settings.clock_offset = ClockOffset::Ahead(hour));
    let answer = exchange(&cloud, &status_call().v3()).await.unwrap();
    assert_eq!(answer.code(), "InvalidTimeStamp.Expired");
    let date = answer.head.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    // The head was put in lower case, which the parser of dates does not take.
    let hour_of = |text: &str| text[17..19].parse::<u32>().unwrap();
    let now = httpdate::fmt_http_date(SystemTime::now() + hour);
    assert!((hour_of(&now) + 24 - hour_of(date)) % 24 <= 1, "{date} is not {now}");
    let then = Call { date: timestamp(SystemTime::now() + hour), ..status_call() };
    assert_eq!(code(&cloud, &then.v3()).await, "");
}

#[tokio::test]
async fn what_a_session_may_be_asked_for() {
    let cloud = LocalCloud::builder()
        .region("cn-hangzhou")
        .instance(Instance::new("i-a"))
        .instance(Instance::new("i-b").region("cn-beijing"))
        .start()
        .await
        .unwrap();
    let long = "h".repeat(129);
    let cases: [(&[(&str, &str)], &str); 13] = [
        (&[("InstanceId.1", "i-a"), ("PortNumber", "22")], ""),
        (&[("InstanceId.1", "i-a"), ("PortNumber", "65535"), ("ConnectionType", "Intranet")], ""),
        (&[("InstanceId.1", "i-b"), ("PortNumber", "22"), ("RegionId", "cn-beijing")], ""),
        (&[("PortNumber", "22")], "MissingParameter.InstanceId"),
        (&[("InstanceId.1", "i-a"), ("RegionId", "mars")], "InvalidRegionId.NotFound"),
        (&[("InstanceId.1", "i-a"), ("RegionId", "")], "MissingParameter.RegionId"),
        (&[("InstanceId.1", "i-b"), ("PortNumber", "22")], "InvalidInstance.NotFound"),
        (&[("InstanceId.1", "i-a"), ("InstanceId.2", "i-b")], "InstanceIds.ExceedLimit"),
        (&[("InstanceId.1", "i-a"), ("PortNumber", "0")], "PortNumber.Invalid"),
        (&[("InstanceId.1", "i-a"), ("PortNumber", "65536")], "PortNumber.Invalid"),
        (&[("InstanceId.1", "i-a"), ("TargetServer", "db")], "MissingParameter.PortNumber"),
        (
            &[("InstanceId.1", "i-a"), ("PortNumber", "1"), ("TargetServer", &long)],
            "InvalidTargetServer.Malformed",
        ),
        (
            &[("InstanceId.1", "i-a"), ("ConnectionType", "Carrier")],
            "InvalidParameter.ConnectionType",
        ),
    ];
    for (params, wanted) in cases {
        let answer = call(&cloud, "StartTerminalSession", params).await;
        assert_eq!(answer.code(), wanted, "{params:?}: {}", answer.body);
    }
    cloud.update_settings(|settings| settings.session_manager_enabled = false);
    let answer =
        call(&cloud, "StartTerminalSession", &[("InstanceId.1", "i-a"), ("PortNumber", "22")])
            .await;
    assert_eq!(answer.code(), "UserBehavior.SessionManagerDisabled");
    let answer = call(&cloud, "EndTerminalSession", &[("SessionId", "s-x")]).await;
    assert_eq!(answer.code(), "InvalidSessionId.NotFound");
}

#[tokio::test]
async fn a_client_token_makes_it_one_session() {
    let cloud = cloud().await;
    let ask = async |port: &str, token: &str| {
        let params = [("InstanceId.1", "i-a"), ("PortNumber", port), ("ClientToken", token)];
        let answer = exchange(&cloud, &Call::new("StartTerminalSession", &params).v1(true)).await;
        answer.unwrap()
    };
    let first = started(&ask("22", "a").await);
    assert_eq!(started(&ask("22", "a").await), first);
    assert_ne!(started(&ask("22", "b").await), first);
    assert_eq!(ask("23", "a").await.code(), "IdempotentParameterMismatch");
    assert_eq!(cloud.sessions().len(), 2);
    assert_eq!(cloud.sessions()[0].client_token.as_deref(), Some("a"));
}

#[tokio::test]
async fn quotas_count_what_nobody_has_ended() {
    let cloud = LocalCloud::builder()
        .instance(Instance::new("i-a"))
        .instance(Instance::new("i-b"))
        .region_quota(3)
        .instance_quota(1)
        .start()
        .await
        .unwrap();
    let params = |id| [("InstanceId.1", id), ("PortNumber", "22")];
    let first = start(&cloud, "i-a", 22).await;
    let second = start(&cloud, "i-a", 22).await;
    let _client = Client::connect(&cloud, &first).await;
    let full = call(&cloud, "StartTerminalSession", &params("i-a")).await;
    assert_eq!(full.code(), "SessionCount.ExceedLimit", "one is connected to the instance");
    let refused = Client::try_connect(&cloud, &second, Some("")).await;
    assert!(refused.is_err(), "nor may one that was started before connect");
    start(&cloud, "i-b", 22).await;
    let full = call(&cloud, "StartTerminalSession", &params("i-b")).await;
    assert_eq!(full.code(), "SessionCount.ExceedLimit", "three are open in the region");
    call(&cloud, "EndTerminalSession", &[("SessionId", &second.id)]).await;
    start(&cloud, "i-b", 22).await;
    assert_eq!(cloud.look(State::open_sessions), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_upgrades_at_once_do_not_take_one_place() {
    for _ in 0..50 {
        let quota = LocalCloud::builder().instance_quota(1);
        let cloud = quota.instance(Instance::new("i-a")).start().await.unwrap();
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(start(&cloud, "i-a", 22).await);
        }
        let all = sessions.iter().map(|one| Client::try_connect(&cloud, one, Some("")));
        let clients = futures_util::future::join_all(all).await;
        assert_eq!(clients.iter().filter(|client| client.is_ok()).count(), 1);
        cloud.shutdown().await;
    }
}

#[tokio::test]
async fn a_session_that_has_ended_may_count_for_a_while() {
    let instance = Instance::new("i-a");
    let lag = Duration::from_secs(100);
    let few = LocalCloud::builder().region_quota(2).instance_quota(1).quota_lag(lag);
    let cloud = few.instance(instance).start().await.unwrap();
    let params = [("InstanceId.1", "i-a"), ("PortNumber", "22")];
    let (first, second) = (start(&cloud, "i-a", 22).await, start(&cloud, "i-a", 22).await);
    drop(Client::connect(&cloud, &first).await);
    call(&cloud, "EndTerminalSession", &[("SessionId", &first.id)]).await;
    let full = call(&cloud, "StartTerminalSession", &params).await;
    assert_eq!(full.code(), "SessionCount.ExceedLimit");
    let refused = Client::try_connect(&cloud, &second, Some("")).await;
    assert!(refused.is_err(), "the gateway counts it as well");
    assert_eq!(cloud.look(State::open_sessions), 1);
}

/// What was done is done before anybody is told.
#[tokio::test]
async fn an_answer_may_come_late() {
    let cloud = cloud().await;
    let late = Duration::from_millis(300);
    cloud.faults().api(ApiFault::on("StartTerminalSession").late(late).times(1));
    let begin = std::time::Instant::now();
    let answer = async {
        start(&cloud, "i-a", 22).await;
        begin.elapsed()
    };
    let there = async {
        cloud.wait_for(|state| state.sessions().count() == 1, SOON).await.unwrap();
        cloud.calls()[0].status
    };
    let (answered, status) = tokio::join!(answer, there);
    assert!(answered >= late && status == 0, "{answered:?}, {status}");
}

#[tokio::test]
async fn sessions_are_described_page_by_page() {
    let cloud = cloud().await;
    for _ in 0..3 {
        start(&cloud, "i-a", 22).await;
    }
    let first = call(&cloud, "DescribeTerminalSessions", &[("MaxResults", "2")]).await.json();
    assert_eq!(first["Sessions"]["Session"].as_array().unwrap().len(), 2);
    let next = first["NextToken"].as_str().unwrap();
    let params = [("MaxResults", "2"), ("NextToken", next)];
    let last = call(&cloud, "DescribeTerminalSessions", &params).await.json();
    let list = last["Sessions"]["Session"].as_array().unwrap();
    assert_eq!((list.len(), last["NextToken"].as_str()), (1, Some("")));
    assert_eq!(list[0]["Connections"]["Connection"][0]["Status"], "Connecting");
}

#[tokio::test]
async fn what_is_told_about_instances_and_settings() {
    let cloud = cloud().await;
    cloud.add_instance(Instance::new("i-off").agent_online(false));
    let set = "InstanceCloudAssistantStatusSet";
    for (id, wanted) in [("i-a", "true"), ("i-off", "false")] {
        let params = [("InstanceId.1", id)];
        let json = call(&cloud, "DescribeCloudAssistantStatus", &params).await.json();
        let list = json[set]["InstanceCloudAssistantStatus"].as_array().unwrap();
        assert_eq!((list.len(), list[0]["CloudAssistantStatus"].as_str()), (1, Some(wanted)));
    }
    let settings = [("SettingType.1", "SessionManagerConfig")];
    let json = call(&cloud, "DescribeCloudAssistantSettings", &settings).await.json();
    assert_eq!(json["SessionManagerConfig"]["SessionManagerEnabled"], true);
    cloud.update_settings(|settings| settings.session_manager_enabled = false);
    let behavior = [("statusKey", "sessionManagerStatus")];
    let json = call(&cloud, "DescribeUserBusinessBehavior", &behavior).await.json();
    assert_eq!(json["StatusValue"], "disabled");
}

#[tokio::test]
async fn faults_of_the_api() {
    let cloud = cloud().await;
    let ask = async || exchange(&cloud, &status_call().v3()).await;

    let throttled = ApiFault::on("DescribeInstanceStatus").error(400, "Throttling", "slow down");
    cloud.faults().api(throttled.header("x-acs-retry-after", "200").times(2));
    for _ in 0..2 {
        let answer = ask().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "Throttling"));
        assert!(answer.head.contains("x-acs-retry-after: 200"), "{}", answer.head);
    }
    assert_eq!(ask().await.unwrap().status, 200);

    cloud.faults().api(ApiFault::on("Another").error(500, "X", "x"));
    cloud.faults().api(ApiFault::on_any().raw(502, "text/html", "<html>").times(1));
    let answer = ask().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (502, "<html>"));

    cloud.faults().api(ApiFault::on_any().lower_case().times(1));
    assert!(ask().await.unwrap().json()["requestId"].is_string());

    cloud.faults().api(ApiFault::on_any().cut().times(1));
    assert!(ask().await.is_none());

    cloud.faults().api(ApiFault::on_any().cut_midway().times(1));
    let answer = ask().await.unwrap();
    assert!(!answer.body.is_empty(), "the first half is there");
    assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());

    cloud.faults().api(ApiFault::on_any().stall_midway().times(1));
    let stalled = tokio::time::timeout(Duration::from_millis(60), ask()).await;
    assert!(stalled.is_err(), "it has no end");

    let delay = Duration::from_millis(60);
    cloud.faults().api(ApiFault::on_any().delay(delay).times(1));
    let begin = std::time::Instant::now();
    assert_eq!(ask().await.unwrap().status, 200);
    assert!(begin.elapsed() >= delay);

    cloud.faults().api(ApiFault::on_any().silent());
    let seen = cloud.calls().len();
    let mut silent = pin!(ask());
    tokio::select! {
        _ = &mut silent => panic!("it was answered"),
        asked = cloud.wait_for(|state| state.calls().count() > seen, SOON) => asked.unwrap(),
    }
    let silence = tokio::time::timeout(Duration::from_millis(60), silent).await;
    assert!(silence.is_err());
    assert_eq!(cloud.calls()[seen].status, 0);
    cloud.faults().clear();
    assert_eq!(ask().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_parameter_in_the_query_and_the_form_has_to_agree() {
    let cloud = cloud().await;
    for (region, wanted) in [("cn-hangzhou", ""), ("cn-beijing", "InvalidParameter")] {
        // As the vendor's Python SDK sends RegionId; which of them was signed makes no difference then.
        let request = status_call().v1(true).replacen("/?", &format!("/?RegionId={region}&"), 1);
        assert_eq!(code(&cloud, &request).await, wanted);
    }
}
