use std::time::Duration;

use super::*;
use crate::credentials::Source;

fn call() -> CallContext {
    CallContext {
        action: "StartTerminalSession",
        subject: Some("i-bp1".into()),
        endpoint: "https://ecs.cn-beijing.aliyuncs.com".into(),
        region: "cn-beijing".into(),
        access_key_id: Some("LTAI0123456789abc".into()),
        has_token: true,
        source: Source::Profile {
            name: "dev".into(),
            file: "/home/u/.aliyun/config.json".into(),
            mode: "StsToken".into(),
        },
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.into(),
        message: "m".into(),
        denied_action: None,
        service_time: None,
        local_time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_003_600),
        retry_after: None,
    }
}

fn words(refusal: &Refusal) -> (String, String, String) {
    let error = Error::new(Problem::Refused(refusal.clone()), call(), None, 1);
    let (why, fix) = refused(error.kind(), refusal, error.context());
    (error.to_string(), why, fix)
}

#[test]
fn a_region_with_a_slip_gets_the_one_that_may_be_meant() {
    let context = |region: &str, endpoint: &str| CallContext {
        region: region.into(),
        endpoint: endpoint.into(),
        ..call()
    };
    let dns = |host: &str| NetworkError::Dns { host: host.into(), detail: "none".into() };
    let fix = |host: &str, region: &str| {
        network(&dns(host), &context(region, &format!("https://{host}"))).unwrap()
    };
    let hint = "did you mean cn-hangzhou? ";
    assert!(fix("ecs.cn-hangzou.aliyuncs.com", "cn-hangzou").starts_with(hint));
    assert!(!fix("ecs.example.com", "cn-hangzou").contains("did you mean"));
    assert!(!fix("ecs.cn-hangzhou.aliyuncs.com", "cn-hangzhou").contains("did you mean"));
    let refusal = refusal("InvalidRegionId.NotFound");
    let kind = Kind::of_code(&refusal.code);
    let refused = refused(kind, &refusal, &context("cn-hangzou", "https://ecs.aliyuncs.com"));
    assert!(refused.1.starts_with(hint));
}

#[test]
fn credentials_name_their_source_and_how_to_renew_them() {
    for code in [
        "InvalidAccessKeyId.NotFound",
        "InvalidAccessKeyId.Inactive",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "InvalidSecurityToken.Expired",
        "InvalidSecurityToken.Malformed",
        "InvalidSecurityToken.MismatchWithAccessKey",
        "MissingSecurityToken",
    ] {
        let (what, why, fix) = words(&refusal(code));
        assert!(what.contains(code), "{what}");
        assert!(why.contains("profile 'dev' of /home/u/.aliyun/config.json (mode StsToken)"));
        assert!(why.contains("LTAI…abc") && !why.contains("0123456789"), "{why}");
        assert!(fix.contains("ecs-bridge configure --mode StsToken --profile dev"), "{fix}");
    }
}

#[test]
fn a_temporary_key_without_its_token_is_recognised() {
    let call =
        CallContext { access_key_id: Some("STS.NabcNabcNabc".into()), has_token: false, ..call() };
    let advice = refused(Kind::AccessKeyUnknown, &refusal("InvalidAccessKeyId.NotFound"), &call);
    assert!(advice.0.contains("needs its security token"));
    assert!(advice.1.contains("--mode StsToken"));
    let variable = "ALICLOUD_ACCESS_KEY_ID".to_owned();
    let call = CallContext { source: Source::Environment { variable, temporary: false }, ..call };
    let advice = refused(Kind::TokenMissing, &refusal("MissingSecurityToken"), &call);
    assert_eq!(advice.1, "set ALICLOUD_SECURITY_TOKEN too");
}

#[test]
fn a_wrong_clock_is_held_against_the_service_s() {
    let mut wrong = refusal("InvalidTimeStamp.Expired");
    wrong.service_time = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let (_, why, _) = words(&wrong);
    assert_eq!(
        why,
        "this machine's clock says 2023-11-14T23:13:20Z, the service's 2023-11-14T22:13:20Z: \
         this machine is 1h ahead"
    );
    wrong.local_time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_699_999_000_900);
    assert!(words(&wrong).1.ends_with("16m 40s behind"));
    // It is not the clock where both say the same.
    wrong.service_time = Some(wrong.local_time + Duration::from_secs(2));
    let (_, why, fix) = words(&wrong);
    assert!(why.ends_with("they agree, so the request was held up on its way"), "{why}");
    assert!(fix.starts_with("try again"), "{fix}");
    wrong.service_time = None;
    assert!(words(&wrong).1.contains("its answer has no time"));
}

#[test]
fn a_missing_permission_comes_with_a_policy() {
    let (_, why, fix) = words(&refusal("Forbidden.RAM"));
    assert!(why.contains("may not do ecs:StartTerminalSession"), "{why}");
    let policy: serde_json::Value = serde_json::from_str(fix.lines().last().unwrap()).unwrap();
    assert_eq!(policy["Version"], "1");
    assert_eq!(policy["Statement"][0]["Action"][0], "ecs:StartTerminalSession");
    assert!(fix.contains("`ecs-bridge policy connect`"), "{fix}");
    assert!(fix.contains("ecs:SessionStartAs"), "{fix}");
    let mut command = refusal("Forbidden.RAM");
    command.denied_action = Some("ecs:InvokeCommand".into());
    let (_, _, fix) = words(&command);
    assert!(fix.contains("`ecs-bridge policy send-key`"), "{fix}");
    assert!(fix.contains("ecs:CommandRunAs") && fix.contains("acs:ecs:*:*:command/*"), "{fix}");
    let mut other = refusal("NoPermission");
    other.denied_action = Some("ecs:Other".into());
    let (_, why, fix) = words(&other);
    assert!(why.contains("ecs:Other") && fix.contains(r#"["ecs:Other"]"#), "{fix}");
    assert!(!fix.contains("ecs-bridge policy"), "{fix}");
}

#[test]
fn what_the_session_needs_is_said() {
    for (code, parts) in [
        ("UserBehavior.SessionManagerDisabled", &["switched off", "--RegionId cn-beijing"][..]),
        ("SessionCount.ExceedLimit", &["100", "20", "EndTerminalSession"]),
        ("InvalidInstance.NotFound", &["i-bp1", "region cn-beijing", "--region"]),
        ("PortForwarding.NotSupported", &["3.256"]),
        ("InvalidInstance.NotRunning", &["does not run", "start the instance"]),
        ("InvalidTargetServer.Malformed", &["128", "--remote-host"]),
        ("PortNumber.Invalid", &["65535"]),
        ("InvalidParameter.ConnectionType", &["--connection-type"]),
        ("InvalidOperation.ConnectionTypeUnsupported", &["--connection-type"]),
        ("InvalidCommandLine.Conflict", &["a port or a command"]),
        ("InvalidCommandLine.LengthLimitExceeded", &["512 characters"]),
        ("InvalidInstanceIds.CountLimitExceeded", &["too many instances"]),
        ("Username.ExceedLimit", &["user name"]),
        ("InvalidPasswordName.LengthLimitExceeded", &["password"]),
        ("InternalError.Dispatch", &["hand the session on", "agent is online"]),
        (
            "InvalidOperation.SecurityGroupRuleDenied",
            &["security group", "inbound", "100.100.0.0/16", "53"],
        ),
        ("InvalidRegionId.NotFound", &["'cn-beijing'", "DescribeRegions"]),
        ("RegionId.ApiNotSupported", &["cn-beijing"]),
        ("Operation.Forbidden", &["i-bp1"]),
        ("InstanceIds.ExceedLimit", &["too many instances"]),
        ("Forbidden.RiskControl", &["risk control"]),
        ("Throttling.User", &["too many calls"]),
        ("ServiceUnavailable", &["service's side"]),
        ("SignatureNonceUsed", &["seen before"]),
        ("IdempotentProcessing", &["still being worked on"]),
        ("Brand.New", &["does not know", "Brand.New"]),
    ] {
        let (what, why, fix) = words(&refusal(code));
        let all = format!("{what}\n{why}\n{fix}");
        assert!(what.starts_with("StartTerminalSession was refused: "), "{what}");
        for part in parts {
            assert!(all.contains(part), "{code}: {part} in {all}");
        }
    }
}

/// Every code of the API's documented tables and lists, and what a call that gets it is worth: its exit code, and
/// whether it is made again.
const CODES: [(&str, ExitCode, bool); 41] = [
    ("InvalidAccessKeyId.NotFound", ExitCode::Credentials, false),
    ("InvalidAccessKeyId.Inactive", ExitCode::Credentials, false),
    ("SignatureDoesNotMatch", ExitCode::Credentials, false),
    ("IncompleteSignature", ExitCode::Credentials, false),
    ("InvalidSecurityToken.Expired", ExitCode::Credentials, false),
    ("InvalidSecurityToken.Malformed", ExitCode::Credentials, false),
    ("InvalidSecurityToken.MismatchWithAccessKey", ExitCode::Credentials, false),
    ("MissingSecurityToken", ExitCode::Credentials, false),
    ("InvalidTimeStamp.Expired", ExitCode::Credentials, false),
    ("InvalidTimeStamp.Format", ExitCode::Credentials, false),
    ("Forbidden.RAM", ExitCode::Permission, false),
    ("NoPermission", ExitCode::Permission, false),
    ("Forbidden.RiskControl", ExitCode::Permission, false),
    ("UserBehavior.SessionManagerDisabled", ExitCode::Target, false),
    ("SessionCount.ExceedLimit", ExitCode::Target, false),
    ("PortForwarding.NotSupported", ExitCode::Target, false),
    ("InvalidInstance.NotFound", ExitCode::Target, false),
    ("InvalidInstance.NotRunning", ExitCode::Target, false),
    ("InstanceIds.ExceedLimit", ExitCode::Target, false),
    ("InvalidTargetServer.Malformed", ExitCode::Target, false),
    ("InvalidTargetServer.LengthLimitExceeded", ExitCode::Target, false),
    ("PortNumber.Invalid", ExitCode::Target, false),
    ("InvalidParameter.ConnectionType", ExitCode::Target, false),
    ("InvalidOperation.SecurityGroupRuleDenied", ExitCode::Target, false),
    ("InvalidRegionId.NotFound", ExitCode::Target, false),
    ("RegionId.ApiNotSupported", ExitCode::Target, false),
    ("Operation.Forbidden", ExitCode::Target, false),
    ("InvalidCommandLine.Conflict", ExitCode::Target, false),
    ("InvalidCommandLine.LengthLimitExceeded", ExitCode::Target, false),
    ("InvalidInstanceIds.CountLimitExceeded", ExitCode::Target, false),
    ("Username.ExceedLimit", ExitCode::Target, false),
    ("InvalidOperation.ConnectionTypeUnsupported", ExitCode::Target, false),
    ("InvalidPasswordName.LengthLimitExceeded", ExitCode::Target, false),
    ("InternalError.Dispatch", ExitCode::Network, true),
    ("Throttling", ExitCode::Network, true),
    ("Throttling.Api", ExitCode::Network, true),
    ("ServiceUnavailable", ExitCode::Network, true),
    ("InternalError", ExitCode::Network, true),
    ("InternalErrorOfSomeKind", ExitCode::Network, true),
    ("SignatureNonceUsed", ExitCode::Network, true),
    ("IdempotentProcessing", ExitCode::Network, true),
];

#[test]
fn every_code_has_words_of_its_own() {
    let generic = words(&refusal("Brand.New"));
    for (code, exit, is_tried_again) in CODES {
        let kind = Kind::of_code(code);
        assert_ne!(kind, Kind::OtherCode, "{code}");
        assert_eq!((exit_code(kind), kind.is_transient()), (exit, is_tried_again), "{code}");
        let (what, why, fix) = words(&refusal(code));
        assert!(what.contains(code) && !why.is_empty() && !fix.is_empty(), "{what}\n{why}\n{fix}");
        assert_ne!(what.replace(code, "Brand.New"), generic.0, "{code}");
        assert_ne!(fix, generic.2, "{code}");
        let lower = words(&refusal(&code.to_lowercase()));
        assert_eq!((why, fix), (lower.1, lower.2), "{code}");
    }
    // An instance that does not run is one that exists.
    assert_ne!(Kind::of_code("InvalidInstance.NotRunning"), Kind::InstanceNotFound);
}

#[test]
fn every_code_of_the_table_has_its_kind() {
    use Kind::*;
    for (code, kind, exit) in [
        ("InvalidAccessKeyId.NotFound", AccessKeyUnknown, 4),
        ("InvalidAccessKeyId.Inactive", AccessKeyInactive, 4),
        ("SignatureDoesNotMatch", SecretWrong, 4),
        ("IncompleteSignature", SignatureIncomplete, 4),
        ("InvalidSecurityToken.Expired", TokenExpired, 4),
        ("InvalidSecurityToken.Malformed", TokenMalformed, 4),
        ("InvalidSecurityToken.MismatchWithAccessKey", TokenMismatch, 4),
        ("MissingSecurityToken", TokenMissing, 4),
        ("InvalidTimeStamp.Expired", ClockWrong, 4),
        ("InvalidTimeStamp.Format", TimestampFormat, 4),
        ("Forbidden.RAM", PermissionMissing, 5),
        ("NoPermission", PermissionMissing, 5),
        ("Forbidden.RiskControl", RiskControl, 5),
        ("UserBehavior.SessionManagerDisabled", SessionManagerDisabled, 6),
        ("SessionCount.ExceedLimit", SessionQuota, 6),
        ("PortForwarding.NotSupported", PortForwardingNotSupported, 6),
        ("InvalidInstance.NotFound", InstanceNotFound, 6),
        ("InstanceIds.ExceedLimit", TooManyInstances, 6),
        ("InvalidTargetServer.TooLong", TargetServerInvalid, 6),
        ("PortNumber.Invalid", PortInvalid, 6),
        ("InvalidParameter.ConnectionType", ConnectionTypeInvalid, 6),
        ("InvalidOperation.SecurityGroupRuleDenied", SecurityGroupDenied, 6),
        ("InvalidRegionId.NotFound", RegionNotFound, 6),
        ("RegionId.ApiNotSupported", RegionNotSupported, 6),
        ("Operation.Forbidden", OperationForbidden, 6),
        ("Throttling", Throttled, 7),
        ("Throttling.User", Throttled, 7),
        ("ServiceUnavailable", ServiceUnavailable, 7),
        ("InternalError", ServiceUnavailable, 7),
        ("InternalErrorTimeout", ServiceUnavailable, 7),
        ("SignatureNonceUsed", NonceUsed, 7),
        ("IdempotentProcessing", StillProcessing, 7),
        ("EntityNotExist.Role", RoleNotFound, 4),
        ("AuthenticationFail.OIDCToken.Expired", OidcTokenRefused, 4),
        ("InvalidParameter.RoleSessionName", RoleSettingInvalid, 4),
        ("ThrottlingElse", OtherCode, 1),
        ("", OtherCode, 1),
    ] {
        // Services differ in how they write them.
        for code in [code.to_owned(), code.to_lowercase(), code.to_uppercase()] {
            assert_eq!(Kind::of_code(&code), kind, "{code}");
        }
        assert_eq!(exit_code(kind) as u8, exit, "{code}");
        assert_eq!(kind.is_transient(), exit == 7, "{code}");
    }
}

#[test]
fn tries_and_what_ended_them_are_told() {
    let refusal = refusal("Throttling");
    let error =
        Error::new(Problem::Refused(refusal), call(), None, 4).with_note("a note".to_owned());
    let why = error.why().unwrap();
    assert!(why.ends_with("the service says: m; tried 4 times; a note"), "{why}");
    let once = Error::new(Problem::Input("no id".to_owned()), call(), None, 1);
    assert!(once.why().is_none() && once.exit_code() == ExitCode::Usage);
}
