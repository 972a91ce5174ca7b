//! Sources of credentials that give none.

use local_cloud::{AccessKey, ApiFault, MetadataTokens, Role, SourceFault, SourcePart};

use crate::case::{Case, run_all};
use crate::lab::{Lab, refusing};
use crate::profiles::{ARN, KEYS, OIDC_TOKEN, PROVIDER, ROLE, cloud, failing, one};

fn uri(name: &'static str, fault: SourceFault) -> Case {
    let profile = one("CredentialsURI", r#""credentials_uri": "CLOUD/credentials?testsecret""#);
    failing(name, profile).prepare(move |lab| lab.cloud.faults().source(fault))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_uri_that_gives_none_is_told() {
    let on = || SourceFault::on(SourcePart::Uri);
    let json = |body: &str| on().raw(200, "application/json", body);
    let (_bound, refusing) = refusing();
    let elsewhere = format!(r#""credentials_uri": "http://{refusing}/testsecret""#);
    run_all(vec![
        uri("HTTP 500", on().raw(500, "application/json", "testsecret")).fails(
            3,
            "it answers with HTTP 500",
            "",
            "open it with curl",
        ),
        uri("a page of HTML", on().raw(200, "text/html", "<h1>testsecret</h1>")).fails(
            3,
            "its response is invalid: it is not JSON",
            "",
            "open it with curl",
        ),
        uri("never an answer", on().silent()).within(10).fails(
            3,
            "it did not answer within 10 s",
            "",
            "start what serves it, or correct credentials_uri",
        ),
        uri("cut before the answer", on().cut()).fails(3, "it broke off", "", "start what"),
        uri("cut in the middle", on().cut_midway()).fails(3, "it broke off", "", "start what"),
        uri("an answer without an end", on().huge(10 << 20)).fails(
            3,
            "its answer is larger than 64 KiB",
            "",
            "open it with curl",
        ),
        uri("a redirect to another host", on().redirect(302, "http://192.0.2.1/testsecret")).fails(
            3,
            "it redirects to http://192.0.2.1, which is not followed",
            "",
            "correct credentials_uri",
        ),
        uri("a redirect to where it is", on().redirect(302, "/credentials")).fails(
            3,
            "it redirects again and again",
            "",
            "correct credentials_uri",
        ),
        uri("a code", json(r#"{"Code": "Failed", "AccessKeySecret": "testsecret"}"#)).fails(
            3,
            "it says Code 'Failed', not 'Success'",
            "",
            "open it with curl",
        ),
        uri("a key without a secret", json(r#"{"Code": "Success", "AccessKeyId": "i"}"#)).fails(
            3,
            "its answer has no AccessKeySecret",
            "",
            "open it with curl",
        ),
        uri(
            "a key without a token",
            json(r#"{"AccessKeyId": "i", "AccessKeySecret": "testsecret"}"#),
        )
        .fails(3, "its answer has no SecurityToken", "", "open it with curl"),
        failing("nobody there", one("CredentialsURI", &elsewhere)).fails(
            3,
            "gives no credentials for profile 'p'",
            "",
            "start what serves it",
        ),
        Case::new("by a variable")
            .without_keys()
            .env("ALICLOUD_CREDENTIALS_URI", format!("http://{refusing}/testsecret"))
            .fails(
                3,
                "the environment (CredentialsURI: ALICLOUD_CREDENTIALS_URI)",
                "",
                "or correct ALICLOUD_CREDENTIALS_URI",
            ),
    ])
    .await;
}

/// On the same server a redirect is followed.
#[tokio::test]
async fn a_redirect_on_the_same_server_is_followed() {
    let lab = Lab::with(cloud(), crate::profiles::instance()).await;
    let there = format!("{}?x", lab.cloud.credentials_uri());
    let fault = SourceFault::on(SourcePart::Uri).redirect(307, there).times(1);
    lab.cloud.faults().source(fault);
    crate::profiles::write(
        &lab,
        &one("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#),
    );
    let mut command = lab.bridge(["proxy", crate::world::INSTANCE]);
    let command = crate::profiles::without_keys(&mut command);
    crate::profiles::carries(&lab, command).await.well(b"");
    assert_eq!(lab.cloud.sources().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metadata_service_that_gives_none_is_told() {
    let role = |name, fields: &str| failing(name, one("EcsRamRole", fields));
    let named = r#""ram_role_name": "EcsRole""#;
    let fault = |name, fault: SourceFault| {
        role(name, named).prepare(move |lab| lab.cloud.faults().source(fault))
    };
    let on = SourceFault::on;
    let (_bound, refusing) = refusing();
    run_all(vec![
        // It costs one second, not as long as the system waits for a connection.
        fault("it is not there", on(SourcePart::MetadataToken).silent()).within(1).fails(
            3,
            "gives no credentials for profile 'p'",
            "it is there on ECS instances alone",
            "use a profile of another mode",
        ),
        fault("it is silent later", on(SourcePart::MetadataKeys).silent()).within(1).fails(
            3,
            "it did not answer within 1 s",
            "it is there on ECS instances alone",
            "use a profile of another mode",
        ),
        role("it refuses connections", named)
            .env("ECS_BRIDGE_METADATA_URL", format!("http://{refusing}"))
            .fails(3, "it cannot be reached", "it is there on ECS instances alone", "another mode"),
        role("no such role", r#""ram_role_name": "other""#).fails(
            3,
            "the instance has no RAM role 'other'",
            "",
            "correct ram_role_name, or leave it out",
        ),
        role("no role at all", r#""x": 1"#).cloud(|_| local_cloud::LocalCloud::builder()).fails(
            3,
            "no RAM role is attached to the instance",
            "",
            "Attach/Detach RAM Role",
        ),
        fault("a page in place of keys", {
            on(SourcePart::MetadataKeys).raw(200, "text/html", "<b>testsecret</b>")
        })
        .fails(3, "its response is invalid: it is not JSON", "", "curl"),
        fault("a code", {
            on(SourcePart::MetadataKeys).raw(200, "application/json", r#"{"Code": "Failed"}"#)
        })
        .fails(3, "it says Code 'Failed'", "", "curl"),
        fault("HTTP 503", on(SourcePart::MetadataKeys).raw(503, "text/plain", "no")).fails(
            3,
            "it answers with HTTP 503",
            "",
            "curl",
        ),
        fault("no tokens, by its word", on(SourcePart::MetadataToken).raw(403, "text/plain", ""))
            .fails(3, "it refuses a token, with HTTP 403", "", "curl"),
        role("no tokens, where they are wanted", named)
            .prepare(|lab| {
                lab.cloud.update_metadata(|metadata| metadata.tokens = MetadataTokens::Unknown);
            })
            .env("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")
            .fails(3, "it refuses a token, with HTTP 404", "", "ALIBABA_CLOUD_IMDSV1_DISABLED"),
        role("a name that is none", r#""ram_role_name": """#)
            .prepare(|lab| {
                let page =
                    SourceFault::on(SourcePart::MetadataRole).raw(200, "text/html", "<b>a/b</b>");
                lab.cloud.faults().source(page);
            })
            .fails(3, "what it gives for the name of the role is none", "", "curl"),
        failing("by a variable", "")
            .env("ALIBABA_CLOUD_ECS_METADATA", "other")
            .args(&["--config", "DIR/none.json"])
            .file("none.json", "{}")
            .fails(
                3,
                "the instance has no RAM role 'other'",
                "",
                "correct ALIBABA_CLOUD_ECS_METADATA",
            ),
    ])
    .await;
}

fn oidc() -> String {
    one(
        "OIDC",
        &format!(r#"{ROLE}, "oidc_provider_arn": "{PROVIDER}", "oidc_token_file": "DIR/token""#),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_cannot_be_assumed_is_told() {
    let profile = |fields: &str| one("RamRoleArn", &format!("{KEYS}, {ROLE}{fields}"));
    let role = |name, fields: &str| failing(name, profile(fields));
    let sts =
        |name, fault: ApiFault| role(name, "").prepare(move |lab| lab.cloud.faults().api(fault));
    let (_bound, refusing) = refusing();
    let gone = format!(r#"{KEYS}, "ram_role_arn": "acs:ram::1:role/gone""#);
    let chain = format!(
        r#"{{"name": "p", "mode": "ChainableRamRoleArn", {ROLE}, "source_profile": "q"}},
           {{"name": "q", "mode": "AK", "access_key_id": "nobody", "access_key_secret": "testsecret"}}"#
    );
    let gone_by_chain = format!(
        r#"{{"name": "p", "mode": "ChainableRamRoleArn", "ram_role_arn": "acs:ram::1:role/gone",
             "source_profile": "q"}},
           {{"name": "q", "mode": "AK", {KEYS}}}"#
    );
    run_all(vec![
        role("no permission", "")
            .cloud(|_| {
                cloud().access_key(AccessKey::new("testid", "testsecret").deny("AssumeRole"))
            })
            .request_id()
            .calls("AssumeRole", 1)
            .fails(
                5,
                "no credentials by STS for profile 'p' of ",
                "may not do sts:AssumeRole",
                r#""Action":["sts:AssumeRole"]"#,
            ),
        role("a role that trusts another", r#", "external_id": "y""#)
            .cloud(|cloud| cloud.role(Role::new(ARN).external_id("x")))
            .request_id()
            .fails(5, "a permission is missing (NoPermission)", "", "let the trust policy of acs:"),
        failing("no such role", one("RamRoleArn", &gone)).request_id().fails(
            4,
            "there is no such role or identity provider (EntityNotExist.Role)",
            "asks for acs:ram::1:role/gone",
            "correct its ARN",
        ),
        failing(
            "a name that is none",
            profile(r#", "ram_session_name": "a b""#).replacen(
                r#""ram_session_name": "tests", "#,
                "",
                1,
            ),
        )
        .request_id()
        .fails(
            4,
            "(InvalidParameter.RoleSessionName)",
            "asks for acs:",
            "correct ram_session_name",
        ),
        role("too short a time", r#", "expired_seconds": 60"#).request_id().fails(
            4,
            "(InvalidParameter.DurationSeconds)",
            "",
            "correct expired_seconds",
        ),
        failing("keys that nobody knows", chain).request_id().fails(
            4,
            "no credentials by STS for profile 'p'",
            "came from profile 'q'",
            "ecs-bridge configure --mode AK --profile q",
        ),
        // The role is that of one profile, the keys are those of another.
        failing("no such role of a chain", gone_by_chain).request_id().fails(
            4,
            "no credentials by STS for profile 'p'",
            "AssumeRole asks for acs:ram::1:role/gone with the keys of profile 'q'",
            "correct its ARN",
        ),
        sts("a page of HTML", ApiFault::on("AssumeRole").raw(502, "text/html", "<b>x</b>")).fails(
            7,
            "AssumeRole: the answer is not the API's: HTTP 502",
            "something else answers",
            "check the endpoint",
        ),
        sts("a part of an answer", {
            let body = r#"{"Credentials": {"AccessKeyId": "i", "SecurityToken": "testsecret"}}"#;
            ApiFault::on("AssumeRole").raw(200, "application/json", body)
        })
        .fails(7, "the answer has no AccessKeySecret", "", "newer ecs-bridge"),
        sts("throttled for good", ApiFault::on("AssumeRole").error(400, "Throttling", "slow"))
            .request_id()
            .calls("AssumeRole", 4)
            .within(15)
            .fails(7, "too many calls (Throttling)", "tried 4 times", "wait a minute"),
        role("STS cannot be reached", "")
            .env("ECS_BRIDGE_STS_ENDPOINT", format!("http://{refusing}"))
            .within(15)
            .fails(7, "refuses connections", "nothing listens there", "endpoint"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_an_identity_provider_that_is_not_taken_is_told() {
    let with = |name, token: &'static str| failing(name, oidc()).file("token", token);
    run_all(vec![
        with("another token", "testsecret.other").request_id().fails(
            4,
            "the OIDC token is not taken (AuthenticationFail.OIDCToken.Invalid)",
            "it is of another issuer",
            "compare its issuer and audience",
        ),
        with("an old token", OIDC_TOKEN)
            .cloud(|_| cloud().role(Role::new(ARN).expired_oidc_token(PROVIDER, OIDC_TOKEN)))
            .request_id()
            .fails(
                4,
                "(AuthenticationFail.OIDCToken.Expired)",
                "it has expired",
                "renew the token's file",
            ),
        // The service's own words repeat it.
        with("a token that is repeated", OIDC_TOKEN)
            .prepare(|lab| {
                let words = format!("the token {OIDC_TOKEN} is bad");
                let code = "AuthenticationFail.OIDCToken.Invalid";
                let fault = ApiFault::on("AssumeRoleWithOIDC").error(400, code, words);
                lab.cloud.faults().api(fault);
            })
            .request_id()
            .fails(4, "the OIDC token is not taken", "says: the token … is bad", "compare"),
        with("a provider that nobody knows", OIDC_TOKEN)
            .cloud(|_| cloud().role(Role::new(ARN)))
            .request_id()
            .fails(4, "(EntityNotExist.OIDCProvider)", "asks for acs:", "correct its ARN"),
        with("an empty file", "\n").fails(3, "token: it is empty", "", "oidc_token_file"),
        failing("no file", oidc()).fails(
            3,
            "the OIDC token of profile 'p'",
            "",
            "or correct oidc_token_file",
        ),
    ])
    .await;
}
