//! The metadata service where nothing else is set, the credentials URI after it, and the variables that
//! change how credentials are looked for.

use std::net::TcpListener;
use std::time::Duration;

use local_cloud::{Metadata, MetadataTokens, Role, SourceFault, SourcePart};
use tokio::process::Command;

use crate::case::{Case, run_all};
use crate::lab::Lab;
use crate::profiles::{
    ARN, KEYS, OIDC_TOKEN, PROVIDER, calls, carries, cloud, failing, file, instance, one,
    shows_nothing, without_keys, write,
};
use crate::world::{INSTANCE, run};

const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

fn parts(lab: &Lab) -> Vec<SourcePart> {
    lab.cloud.sources().iter().map(|asked| asked.part).collect()
}

async fn proxy(lab: &Lab, change: impl FnOnce(&mut Command) -> &mut Command) -> String {
    let mut command = lab.bridge(["-vvv", "proxy", INSTANCE]);
    let ended = carries(lab, change(without_keys(&mut command))).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    shows_nothing(lab, &ended.stderr);
    lab.all_ended().await;
    ended.stderr
}

#[tokio::test]
async fn the_metadata_service_is_asked_where_nothing_else_is_set() {
    let lab = Lab::with(cloud(), instance()).await;
    let log = proxy(&lab, |command| command).await;
    assert!(log.contains("of the metadata service of this instance are there"), "{log}");
    let asked = [SourcePart::MetadataToken, SourcePart::MetadataRole, SourcePart::MetadataKeys];
    assert_eq!(parts(&lab), asked);

    let mut command = lab.bridge(["doctor"]);
    let looked = run(without_keys(&mut command)).await;
    let stdout = String::from_utf8(looked.stdout).unwrap();
    assert!(stdout.contains("the metadata service of this instance, key STS."), "{stdout}");
}

#[tokio::test]
async fn the_credentials_uri_is_asked_after_the_metadata_service() {
    // There is such a service, and no role.
    let lab = Lab::with(cloud().metadata(Metadata::new()), instance()).await;
    let uri = lab.cloud.credentials_uri();
    let log = proxy(&lab, |command| command.env("ALICLOUD_CREDENTIALS_URI", &uri)).await;
    assert!(log.contains("(CredentialsURI: ALICLOUD_CREDENTIALS_URI) are there"), "{log}");
    assert_eq!(parts(&lab).last(), Some(&SourcePart::Uri));
    assert!(parts(&lab).contains(&SourcePart::MetadataRole));

    let before = parts(&lab).len();
    let change = |command: &mut Command| {
        command.env("ALICLOUD_CREDENTIALS_URI", &uri).env(DISABLED, "True");
    };
    proxy(&lab, |command| {
        change(command);
        command
    })
    .await;
    assert_eq!(parts(&lab)[before..], [SourcePart::Uri]);
}

fn nothing(name: &'static str) -> Case {
    Case::new(name).cloud(|_| cloud()).without_keys().calls("StartTerminalSession", 0)
}

fn fault(name: &'static str, fault: SourceFault) -> Case {
    nothing(name).prepare(|lab| lab.cloud.faults().source(fault))
}

/// Each place that was looked at is named, and a silent service takes 1 s in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_anywhere_is_told_with_each_place() {
    let none = "no credentials were found";
    let fix = "run `ecs-bridge configure`";
    // Taken by the system, never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    run_all(vec![
        nothing("no role").cloud(|cloud| cloud.metadata(Metadata::new())).fails(
            3,
            none,
            "no RAM role is attached to the instance",
            fix,
        ),
        nothing("the ini file").cloud(|cloud| cloud.metadata(Metadata::new())).fails(
            3,
            none,
            ".alibabacloud/credentials: not there",
            fix,
        ),
        nothing("a URI that is not set").cloud(|cloud| cloud.metadata(Metadata::new())).fails(
            3,
            none,
            "CREDENTIALS_URI with the same: not set",
            fix,
        ),
        nothing("silence").env("ECS_BRIDGE_METADATA_URL", url).within(1).fails(
            3,
            none,
            "it did not answer within 1 s",
            fix,
        ),
        // Each answer comes in time; all of them do not.
        fault("slowness", SourceFault::on_any().delay(Duration::from_millis(700))).within(1).fails(
            3,
            none,
            "it did not answer within 1 s",
            fix,
        ),
        fault("nonsense", SourceFault::on_any().raw(200, "text/html", "<b>hi</b> <b>ho</b>"))
            .fails(3, none, "the metadata service at http://127.0.0.1:", fix),
        nothing("a variable").env(DISABLED, "true").fails(
            3,
            none,
            "the metadata service: not asked, since ALIBABA_CLOUD_ECS_",
            fix,
        ),
        nothing("a variable that is overruled")
            .env(DISABLED, "true")
            .env("ALIBABA_CLOUD_ECS_METADATA", "EcsRole")
            .fails(3, none, "the metadata service: not asked, since ALIBABA_CLOUD_ECS_", fix),
        nothing("no region").env("ALIBABA_CLOUD_REGION_ID", "").fails(
            3,
            none,
            "the metadata service: not asked, since no region is known (--region)",
            fix,
        ),
    ])
    .await;
}

/// What a profile or the environment does not say of a role's session, these variables do.
#[tokio::test]
async fn variables_that_reach_sts() {
    let role = || Role::new(ARN).external_id("x 1").oidc_token(PROVIDER, OIDC_TOKEN);
    let lab = Lab::with(cloud().role(role()), instance()).await;
    write(&lab, &one("RamRoleArn", &format!(r#"{KEYS}, "ram_role_arn": "{ARN}""#)));
    proxy(&lab, |command| {
        command.env("ALIBABACLOUD_ROLE_SESSION_NAME", "by-variable");
        command.env("ALICLOUD_EXTERNAL_ID", "x 1")
    })
    .await;
    let call = calls(&lab, "AssumeRole").remove(0);
    assert_eq!(call.params["RoleSessionName"], "by-variable");
    assert_eq!(call.params["ExternalId"], "x 1");

    // What the profile says comes first.
    let fields = r#""ram_session_name": "by-profile", "external_id": "x 1""#;
    write(&lab, &one("RamRoleArn", &format!(r#"{KEYS}, "ram_role_arn": "{ARN}", {fields}"#)));
    proxy(&lab, |command| {
        command.env("ALIBABA_CLOUD_ROLE_SESSION_NAME", "by-variable");
        command.env("ALIBABA_CLOUD_EXTERNAL_ID", "another")
    })
    .await;
    let call = calls(&lab, "AssumeRole").remove(1);
    assert_eq!(call.params["RoleSessionName"], "by-profile");
    assert_eq!(call.params["ExternalId"], "x 1");

    file(&lab, "token", OIDC_TOKEN);
    std::fs::remove_file(lab.dir.path().join(".aliyun/config.json")).unwrap();
    let token = lab.dir.path().join("token");
    proxy(&lab, |command| {
        command.env("ALIBABA_CLOUD_ROLE_ARN", ARN).env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER);
        command.env("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token);
        command.env("ALIBABA_CLOUD_ROLE_SESSION_NAME", "by-variable")
    })
    .await;
    assert_eq!(calls(&lab, "AssumeRoleWithOIDC")[0].params["RoleSessionName"], "by-variable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_forbid() {
    let role = one("RamRoleArn", &format!(r#"{KEYS}, "ram_role_arn": "{ARN}""#));
    run_all(vec![
        failing("a program", one("External", r#""process_command": "touch DIR/it-ran""#))
            .env("ALICLOUD_DISABLE_EXTERNAL_PROCESS", "true")
            .fails(
                3,
                "ALICLOUD_DISABLE_EXTERNAL_PROCESS forbids running programs for credentials",
                "",
                "unset ALICLOUD_DISABLE_EXTERNAL_PROCESS",
            ),
        failing("no token", one("EcsRamRole", r#""ram_role_name": "EcsRole""#))
            .prepare(|lab| {
                lab.cloud.update_metadata(|metadata| metadata.tokens = MetadataTokens::Unknown);
            })
            .env("ALICLOUD_IMDSV1_DISABLED", "true")
            .fails(3, "it refuses a token, with HTTP 404", "", "unset ALICLOUD_IMDSV1_DISABLED"),
        failing("a region of STS", role)
            .env("ECS_BRIDGE_STS_ENDPOINT", "")
            .env("ALIBABA_CLOUD_STS_REGION", "CN_NOWHERE")
            .fails(3, "ALIBABA_CLOUD_STS_REGION is invalid", "", "unset ALIBABA_CLOUD_STS_REGION"),
    ])
    .await;
}
