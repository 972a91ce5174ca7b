//! Temporary keys: STS, the metadata service, the credentials URI.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::time::Duration;

use local_cloud::{
    AccessKey, Instance, Lifetime, LocalCloud, Metadata, MetadataTokens, Role, SourceFault,
    SourcePart,
};
use serde_json::Value;
use support::*;

const ARN: &str = "acs:ram::1234567890:role/ops";
const PROVIDER: &str = "acs:ram::1234567890:oidc-provider/ci";

async fn cloud_of(role: Role) -> LocalCloud {
    let builder = LocalCloud::builder().instance(Instance::new("i-a"));
    builder.role(role).metadata(Metadata::new().role("EcsRole")).start().await.unwrap()
}

fn assume(params: &[(&str, &str)]) -> Call {
    let usual = [("RoleArn", ARN), ("RoleSessionName", "me@here")];
    let all: Vec<_> = usual.iter().chain(params).copied().collect();
    Call { version: "2015-04-01", ..Call::new("AssumeRole", &all) }
}

async fn send(cloud: &LocalCloud, request: &str) -> Answer {
    exchange(cloud, request).await.unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

/// Whether keys do for a call of ECS: its code, empty if it went well.
async fn used(cloud: &LocalCloud, keys: &Value) -> String {
    let call = Call {
        id: text(keys, "AccessKeyId").to_owned(),
        secret: text(keys, "AccessKeySecret").to_owned(),
        token: Some(text(keys, "SecurityToken").to_owned()),
        ..Call::new("DescribeInstanceStatus", &[])
    };
    send(cloud, &call.v3()).await.code()
}

fn lifetime(keys: &Value) -> u64 {
    let until = humantime::parse_rfc3339(text(keys, "Expiration")).unwrap();
    until.duration_since(std::time::SystemTime::now()).unwrap().as_secs()
}

#[tokio::test]
async fn a_role_s_session_works_until_it_is_over() {
    let cloud = cloud_of(Role::new(ARN)).await;
    let calls = [assume(&[]).v3(), assume(&[]).v1(false), assume(&[]).v1(true)];
    let mut ids = Vec::new();
    for call in calls {
        let answer = send(&cloud, &call).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let keys = &answer.json()["Credentials"];
        assert_eq!(used(&cloud, keys).await, "");
        assert!((3590..=3600).contains(&lifetime(keys)), "{keys}");
        assert_eq!(answer.json()["AssumedRoleUser"]["Arn"], format!("{ARN}/me@here"));
        ids.push(text(keys, "AccessKeyId").to_owned());
        assert!(!ids[..ids.len() - 1].contains(&ids[ids.len() - 1]), "they are new each time");
    }
    let keys = send(&cloud, &assume(&[("DurationSeconds", "900")]).v3()).await;
    let keys = &keys.json()["Credentials"];
    assert!(lifetime(keys) <= 900);
    assert_eq!(cloud.expire_temporary_keys(), 4);
    assert_eq!(used(&cloud, keys).await, "InvalidSecurityToken.Expired");
}

#[tokio::test]
async fn what_is_told_and_what_is_so_may_differ() {
    let hour = Duration::from_secs(3600);
    let role = Role::new(ARN).lifetime(Lifetime::new(hour).but_really(Duration::ZERO));
    let cloud = cloud_of(role).await;
    let answer = send(&cloud, &assume(&[]).v3()).await.json();
    assert!(lifetime(&answer["Credentials"]) > 3590);
    assert_eq!(used(&cloud, &answer["Credentials"]).await, "InvalidSecurityToken.Expired");
    cloud.add_role(Role::new(ARN).lifetime(Lifetime::new(Duration::from_secs(181))).deny("X"));
    let answer = send(&cloud, &assume(&[]).v3()).await.json();
    assert!(lifetime(&answer["Credentials"]) <= 181);
    assert_eq!(used(&cloud, &answer["Credentials"]).await, "");
}

#[tokio::test]
async fn what_sts_refuses() {
    let cloud = cloud_of(Role::new(ARN).external_id("x")).await;
    let refused = async |wanted: &str, call: Call| {
        assert_eq!(send(&cloud, &call.v3()).await.code(), wanted);
    };
    let with = |name: &str, value: &str| {
        let mut call = assume(&[("ExternalId", "x")]);
        call.params.insert(name.to_owned(), value.to_owned());
        call
    };
    refused("", with("RegionId", "")).await;
    refused("NoPermission", assume(&[])).await;
    refused("NoPermission", with("ExternalId", "y")).await;
    refused("MissingParameter.RoleArn", with("RoleArn", "")).await;
    refused("InvalidParameter.RoleArn", with("RoleArn", "ops")).await;
    refused("EntityNotExist.Role", with("RoleArn", "acs:ram::1:role/gone")).await;
    refused("InvalidParameter.RoleSessionName", with("RoleSessionName", "a b")).await;
    refused("InvalidParameter.DurationSeconds", with("DurationSeconds", "899")).await;
    refused("InvalidParameter.DurationSeconds", with("DurationSeconds", "3601")).await;
    refused("InvalidVersion", Call { version: "2014-05-26", ..assume(&[]) }).await;
    refused("SignatureDoesNotMatch", Call { secret: "other".into(), ..assume(&[]) }).await;
    cloud.add_access_key(AccessKey::new("testid", "testsecret").deny("AssumeRole"));
    refused("NoPermission", with("RegionId", "")).await;
    let unsigned = "POST /?Action=AssumeRole&Version=2015-04-01 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    assert_eq!(send(&cloud, unsigned).await.code(), "IncompleteSignature");
}

/// What nobody signs, with its parameters in a form.
fn with_token(provider: &str, token: &str) -> String {
    let body = format!(
        "RoleArn={}&RoleSessionName=me&OIDCProviderArn={}&OIDCToken={}",
        encode(ARN),
        encode(provider),
        encode(token)
    );
    format!(
        "POST /?Action=AssumeRoleWithOIDC&Version=2015-04-01&Format=JSON HTTP/1.1\r\nhost: h\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_token_of_an_identity_provider_is_looked_at() {
    let role = Role::new(ARN).oidc_token(PROVIDER, "good.token");
    let cloud = cloud_of(role.expired_oidc_token(PROVIDER, "old.token")).await;
    let answer = send(&cloud, &with_token(PROVIDER, "good.token")).await;
    assert_eq!(used(&cloud, &answer.json()["Credentials"]).await, "", "{}", answer.body);
    assert_eq!(cloud.calls()[0].signature, None);
    for (provider, token, code) in [
        (PROVIDER, "other.token", "AuthenticationFail.OIDCToken.Invalid"),
        (PROVIDER, "old.token", "AuthenticationFail.OIDCToken.Expired"),
        ("acs:ram::1:oidc-provider/x", "good.token", "EntityNotExist.OIDCProvider"),
        (PROVIDER, "", "MissingParameter.OIDCToken"),
    ] {
        assert_eq!(send(&cloud, &with_token(provider, token)).await.code(), code);
    }
    assert_eq!(cloud.violations(), Vec::<String>::new());
    let in_query = "POST /?Action=AssumeRoleWithOIDC&Version=2015-04-01&OIDCToken=t HTTP/1.1\r\n\
                    host: h\r\nconnection: close\r\n\r\n";
    send(&cloud, in_query).await;
    assert_eq!(cloud.violations(), ["an OIDC token in the query"]);
}

async fn ask(cloud: &LocalCloud, method: &str, path: &str, header: &str) -> Answer {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: h\r\n{header}connection: close\r\n\r\n");
    send(cloud, &request).await
}

const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds: 21600\r\n";
const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
const KEYS: &str = "/latest/meta-data/ram/security-credentials/EcsRole";

#[tokio::test]
async fn the_metadata_service_wants_a_token() {
    let cloud = cloud_of(Role::new(ARN)).await;
    for header in ["", "X-aliyun-ecs-metadata-token-ttl-seconds: 21601\r\n"] {
        assert_eq!(ask(&cloud, "PUT", TOKEN, header).await.status, 400);
    }
    assert_eq!(ask(&cloud, "GET", TOKEN, TTL).await.status, 405);
    let token = ask(&cloud, "PUT", TOKEN, TTL).await.body;
    let header = format!("x-aliyun-ecs-metadata-token: {token}\r\n");
    assert_eq!(ask(&cloud, "GET", ROLES, &header).await.body, "EcsRole\n");
    let keys = ask(&cloud, "GET", KEYS, &header).await.json();
    assert_eq!((used(&cloud, &keys).await.as_str(), text(&keys, "Code")), ("", "Success"));
    assert_eq!(ask(&cloud, "GET", &format!("{ROLES}other"), &header).await.status, 404);
    for header in ["", "x-aliyun-ecs-metadata-token: guessed\r\n"] {
        assert_eq!(ask(&cloud, "GET", KEYS, header).await.status, 403);
    }
    let seen: Vec<_> = cloud.sources().iter().map(|s| (s.part, s.status)).collect();
    assert_eq!(
        seen[3..6],
        [
            (SourcePart::MetadataToken, 200),
            (SourcePart::MetadataRole, 200),
            (SourcePart::MetadataKeys, 200)
        ]
    );
    assert_eq!(cloud.sources()[5].access_key_id.as_deref(), Some(text(&keys, "AccessKeyId")));

    cloud.update_metadata(|metadata| metadata.tokens = MetadataTokens::Optional);
    assert_eq!(ask(&cloud, "GET", KEYS, "").await.status, 200);
    assert_eq!(ask(&cloud, "PUT", TOKEN, TTL).await.status, 200);
    cloud.update_metadata(|metadata| metadata.tokens = MetadataTokens::Unknown);
    assert_eq!(ask(&cloud, "GET", KEYS, "").await.status, 200);
    assert_eq!(ask(&cloud, "PUT", TOKEN, TTL).await.status, 404);
    cloud.update_metadata(|metadata| metadata.role = None);
    assert_eq!(ask(&cloud, "GET", ROLES, "").await.status, 404);
}

#[tokio::test]
async fn the_credentials_uri_gives_keys_and_fails_as_it_is_told() {
    let cloud = cloud_of(Role::new(ARN)).await;
    assert!(cloud.credentials_uri().ends_with("/credentials"));
    let keys = ask(&cloud, "GET", "/credentials", "").await.json();
    assert_eq!(used(&cloud, &keys).await, "");
    assert_eq!(ask(&cloud, "POST", "/credentials", "").await.status, 405);

    let on = || SourceFault::on(SourcePart::Uri).times(1);
    cloud.faults().source(on().raw(500, "text/html", "<h1>no</h1>"));
    let answer = ask(&cloud, "GET", "/credentials", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (500, "<h1>no</h1>"));
    cloud.faults().source(on().redirect(302, "http://other.example/"));
    let answer = ask(&cloud, "GET", "/credentials", "").await;
    assert!(answer.head.contains("location: http://other.example/"), "{}", answer.head);
    cloud.faults().source(on().huge(100_000));
    assert!(ask(&cloud, "GET", "/credentials", "").await.body.len() > 100_000);
    cloud.faults().source(on().cut_midway());
    let answer = ask(&cloud, "GET", "/credentials", "").await;
    assert!(serde_json::from_str::<Value>(&answer.body).is_err(), "{}", answer.body);
    cloud.faults().source(on().cut());
    assert!(exchange(&cloud, "GET /credentials HTTP/1.1\r\nhost: h\r\n\r\n").await.is_none());
    cloud.faults().source(SourceFault::on_any().silent());
    cloud.faults().clear();
    assert_eq!(ask(&cloud, "GET", "/credentials", "").await.status, 200);
}
