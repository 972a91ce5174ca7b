use super::*;
use crate::openapi::error::Kind;
use crate::openapi::scripted::*;

const WITHIN: Duration = Duration::from_secs(60);

fn result(fields: &str) -> Act {
    json(
        "200 OK",
        "",
        &format!(
            r#"{{"Invocation":{{"InvocationResults":{{"InvocationResult":[{fields}]}}}},"RequestId":"R-2"}}"#
        ),
    )
}

fn status(word: &str) -> Act {
    result(&format!(r#"{{"InvocationStatus":"{word}"}}"#))
}

fn started() -> Act {
    json("200 OK", "", r#"{"InvokeId":"t-1","RequestId":"R-1"}"#)
}

async fn run(
    script: &[Act],
    within: Duration,
) -> (Server, Result<InvocationResult, InvocationError>) {
    let server = Server::new(script).await;
    let client = client(&server);
    let since = Instant::now();
    let invocation = client.run_command("i-1", "true", 60).await.unwrap();
    let result = client.succeeded(&invocation, "it did not work", since, within).await;
    (server, result)
}

#[tokio::test]
async fn the_calls_say_what_the_api_asks_for() {
    let server = Server::new(&[started()]).await;
    let client = client(&server);
    client.run_command("i-1", "echo 'a b'", 60).await.unwrap();
    let parameters = serde_json::json!({"username": "root"});
    client.invoke_command("i-1", "cmd-1", &parameters).await.unwrap();
    let requests = server.requests();
    for (request, pairs) in requests.iter().zip([
        &[
            ("RegionId", "cn-test"),
            ("Type", "RunShellScript"),
            ("CommandContent", "ZWNobyAnYSBiJw%3D%3D"),
            ("ContentEncoding", "Base64"),
            ("InstanceId.1", "i-1"),
            ("Timeout", "60"),
        ][..],
        &[
            ("CommandId", "cmd-1"),
            ("InstanceId.1", "i-1"),
            ("Parameters", "%7B%22username%22%3A%22root%22%7D"),
        ],
    ]) {
        for (name, value) in pairs {
            assert_eq!(query(request, name), *value);
        }
        assert_eq!(query(request, "ClientToken").len(), 32);
    }
    let tokens: Vec<_> = requests.iter().map(|request| query(request, "ClientToken")).collect();
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn it_is_waited_for_through_all_that_may_come_first() {
    let script = [
        started(),
        result(""),
        status("Pending"),
        refusal("Throttling.User"),
        refusal("Throttling.User"),
        refusal("Throttling.User"),
        refusal("Throttling.User"),
        status("Dreaming"),
        result(r#"{"InvocationStatus":"Success","Output":"b2s="}"#),
    ];
    let (server, result) = run(&script, WITHIN).await;
    assert_eq!(result.unwrap().output, "ok");
    let asked = server.requests();
    assert_eq!(asked.len(), script.len());
    for request in &asked[1..] {
        assert_eq!(query(request, "InvokeId"), "t-1");
        assert_eq!(query(request, "InstanceId"), "i-1");
    }
}

#[tokio::test]
async fn an_end_that_is_not_a_good_one_is_told_with_all_that_is_known() {
    for code in [
        "InstanceNotRunning",
        "ClientNotRunning",
        "ClientNotOnline",
        "ClientNotResponse",
        "ClientNetworkBlocked",
        "ClientNeedUpgrade",
        "DeliveryTimeout",
        "ExecutionTimeout",
        "AccountNotExists",
        "SecurityGroupRuleDenied",
        "ExitCodeNonzero",
        "SomethingNew",
    ] {
        let fields = format!(
            r#"{{"InvocationStatus":"Failed","ErrorCode":"{code}","ErrorInfo":"words","ExitCode":3,"Output":"bm8gc3BhY2UKbGVmdBs="}}"#
        );
        let error = run(&[started(), result(&fields)], WITHIN).await.1.unwrap_err();
        assert_eq!(error.to_string(), format!("it did not work: Failed ({code})"));
        let InvocationError::Ended { result, request_id, .. } = &error else { panic!("{error:?}") };
        assert_eq!((result.error_info.as_deref(), result.exit_code), (Some("words"), Some(3)));
        assert_eq!(result.output.trim_end_matches('\u{1b}'), "no space\nleft");
        assert_eq!(request_id.as_deref(), Some("R-1"));
        assert_eq!(error.is_vague(), matches!(code, "ExitCodeNonzero" | "SomethingNew"), "{code}");
        let is_away = ["InstanceNotRunning", "ClientNotRunning", "ClientNotOnline"].contains(&code)
            || ["ClientNotResponse", "DeliveryTimeout"].contains(&code);
        assert_eq!(error.is_undelivered(), is_away, "{code}");
    }
    for word in ["Failed", "Error", "Timeout", "Cancelled", "Terminated", "Aborted", "Invalid"] {
        let error = run(&[started(), status(word)], WITHIN).await.1.unwrap_err();
        assert_eq!(error.to_string(), format!("it did not work: {word}"));
        assert!(error.is_vague());
    }
}

#[tokio::test]
async fn what_does_not_end_is_given_up_with_what_was_seen_last() {
    // Long enough for an answer on a machine that is busy, and in Wine.
    let seconds = if cfg!(windows) { 15 } else { 3 };
    let within = Duration::from_secs(seconds);
    let cases = [
        (result(""), "and the service has not listed it"),
        (status("Running"), "it is still Running"),
        (
            status("Dreaming"),
            "its last status is one that this program does not know: \"Dreaming\"",
        ),
        // An answer that does not come is not waited for any longer.
        (Act::Silence, "and the service has not listed it"),
    ];
    let runs = cases.into_iter().map(async |(act, told)| {
        let error = run(&[started(), act], within).await.1.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("it did not work: no result within {seconds} s, {told}")
        );
        assert!(error.is_vague());
    });
    let refused = async {
        let error = run(&[started(), refusal("Throttling")], within).await.1.unwrap_err();
        assert!(
            matches!(error, InvocationError::Late { .. } | InvocationError::Call(_)),
            "{error:?}"
        );
    };
    tokio::join!(futures_util::future::join_all(runs), refused);
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_is_the_end() {
    let error = run(&[started(), refusal("Forbidden.RAM")], WITHIN).await.1.unwrap_err();
    assert!(error.to_string().contains("Forbidden.RAM"), "{error}");
    let InvocationError::Call(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), Kind::PermissionMissing);
}
