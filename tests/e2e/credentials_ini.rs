//! The ini file of the vendor's SDKs, through the built binary.

use std::os::unix::fs::PermissionsExt as _;

use local_cloud::SourcePart;
use tokio::process::Command;

use crate::case::{Case, run_all};
use crate::lab::Lab;
use crate::profiles::{
    ARN, ECS_ROLE, KEYS, calls, carries, cloud, instance, one, shows_nothing, without_keys, write,
};
use crate::world::{INSTANCE, run};

const INI: &str = ".alibabacloud/credentials";
const INI_KEYS: &str = "access_key_id = testid\naccess_key_secret = testsecret\n";

fn write_ini(lab: &Lab, name: &str, content: &str) {
    let path = lab.dir.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn proxy(lab: &Lab) -> Command {
    let mut command = lab.bridge(["-vvv", "proxy", INSTANCE]);
    without_keys(&mut command);
    command
}

/// Opens a session, which has to have its credentials from a source.
async fn works(lab: &Lab, command: &mut Command, source: &str) {
    let ended = carries(lab, command).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = format!("credentials are those of {source}");
    assert!(ended.stderr.contains(&told), "no '{told}' in {}", ended.stderr);
    shows_nothing(lab, &ended.stderr);
    lab.all_ended().await;
    assert_eq!(lab.cloud.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_type_of_section_gives_credentials() {
    let policy = r#"{"Version": "1", "Statement": []}"#;
    let role = format!(
        "type = ram_role_arn\n{INI_KEYS}role_arn = {ARN}\nrole_session_name = from-ini\npolicy = {policy}\n"
    );
    for (section, content, sts, sources) in [
        ("access_key", format!("type = access_key\n{INI_KEYS}"), 0, 0),
        ("access_key", format!("\u{feff}; x\r\ntype=access_key  # x\r\n{INI_KEYS}"), 0, 0),
        ("ecs_ram_role", format!("type = ecs_ram_role\nrole_name = {ECS_ROLE}\n"), 0, 2),
        ("ecs_ram_role", "type = ecs_ram_role\n".to_owned(), 0, 3),
        ("ram_role_arn", role, 1, 0),
    ] {
        let content = match content.strip_prefix('\u{feff}') {
            Some(rest) => format!("\u{feff}[default]\r\n{rest}"),
            None => format!("[default]\n{content}"),
        };
        let lab = Lab::with(cloud(), instance()).await;
        write_ini(&lab, INI, &content);
        let source =
            format!("section [default] of {}/{INI} (type {section})", lab.dir.path().display());
        works(&lab, &mut proxy(&lab), &source).await;
        let assumed = calls(&lab, "AssumeRole");
        assert_eq!((assumed.len(), lab.cloud.sources().len()), (sts, sources), "{section}");
        for call in assumed {
            assert_eq!(call.params["RoleSessionName"], "from-ini");
            assert_eq!(call.params["RoleArn"], ARN);
            assert_eq!(call.params["Policy"], policy);
        }
    }
}

/// After `config.json`, before the metadata service; a section that is named, a file that is named.
#[tokio::test]
async fn the_order_of_the_files() {
    let lab = Lab::with(cloud(), instance()).await;
    let section = |name: &str, file: &str| {
        format!("section [{name}] of {}/{file} (type access_key)", lab.dir.path().display())
    };
    let both =
        format!("[default]\ntype = access_key\n{INI_KEYS}[p]\ntype = access_key\n{INI_KEYS}");
    write_ini(&lab, INI, &both);
    write_ini(&lab, "other", &both);
    let metadata = |command: &mut Command| {
        command.env("ALIBABA_CLOUD_ECS_METADATA", ECS_ROLE);
    };

    let mut command = proxy(&lab);
    metadata(&mut command);
    works(&lab, &mut command, &section("default", INI)).await;
    let mut command = proxy(&lab);
    works(&lab, command.env("ALIBABA_CLOUD_PROFILE", "p"), &section("p", INI)).await;
    let mut command = proxy(&lab);
    works(&lab, command.args(["--profile", "p"]), &section("p", INI)).await;
    let mut command = proxy(&lab);
    let named = lab.dir.path().join("other");
    works(&lab, command.env("ALICLOUD_CREDENTIALS_FILE", named), &section("default", "other"))
        .await;

    // A profile of config.json comes first, whether it is named or current.
    write(&lab, &one("AK", KEYS));
    works(&lab, &mut proxy(&lab), "profile 'p' of").await;
    let mut command = proxy(&lab);
    works(&lab, command.env("ALIBABA_CLOUD_PROFILE", "p"), "profile 'p' of").await;
    let mut command = proxy(&lab);
    works(&lab, command.env("ALIBABA_CLOUD_PROFILE", "default"), &section("default", INI)).await;
    let forbidden = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
    let mut command = proxy(&lab);
    works(&lab, command.env(forbidden, "true"), &section("default", INI)).await;
    let mut command = proxy(&lab);
    let named = command.env(forbidden, "true").env("ALIBABA_CLOUD_PROFILE", "p");
    works(&lab, named, &section("p", INI)).await;
    let mut command = proxy(&lab);
    let named = command.env(forbidden, "true").args(["--profile", "p"]);
    works(&lab, named, "profile 'p' of").await;
    // Whoever has a profile does not notice that the other file is damaged.
    write_ini(&lab, INI, "[default\n");
    works(&lab, &mut proxy(&lab), "profile 'p' of").await;
    assert!(lab.cloud.sources().is_empty(), "the metadata service was asked");
}

fn failing(name: &'static str, content: impl Into<String>) -> Case {
    let case = Case::new(name).cloud(|_| cloud()).without_keys().calls("StartTerminalSession", 0);
    case.file(INI, content)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_file_is_told() {
    run_all(vec![
        failing("no secret", "[default]\ntype = access_key\naccess_key_id = testid\n").fails(
            3,
            ".alibabacloud/credentials (type access_key) has no access_key_secret",
            "",
            "correct section [default] of",
        ),
        failing("no role", format!("[default]\ntype = ram_role_arn\n{INI_KEYS}")).fails(
            3,
            "(type ram_role_arn) has no role_arn",
            "",
            "correct section [default] of",
        ),
        failing("another type", "[default]\ntype = oidc_role_arn\n").fails(
            3,
            "(type oidc_role_arn) cannot be used: its type is not supported",
            "supported are access_key, ecs_ram_role, ram_role_arn",
            "use a profile",
        ),
        failing("a bad role name", "[default]\ntype = ecs_ram_role\nrole_name = a/b\n").fails(
            3,
            "role_name of section [default] of",
            "",
            "correct section [default] of",
        ),
        failing("no ini file", "[default\ntestsecret\n").fails(
            3,
            "it is not an ini file: line 1",
            "",
            "correct it",
        ),
        failing("no such section", "[default]\n[x]\n")
            .env("ALIBABA_CLOUD_PROFILE", "nosuch")
            .fails(
                3,
                "there is no profile 'nosuch'",
                "credentials has: default, x",
                "correct the name",
            ),
        failing("profile files forbidden", "")
            .env("ALIBABA_CLOUD_PROFILE", "nosuch")
            .env("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true")
            .fails(
                3,
                "there is no profile 'nosuch'",
                "not read because ALIBABA_CLOUD_CLI_PROFILE_DISABLED is set",
                "correct the name",
            ),
        failing("no such file", "").env("ALIBABA_CLOUD_CREDENTIALS_FILE", "DIR/nosuch").fails(
            3,
            "nosuch does not exist",
            "ALIBABA_CLOUD_CREDENTIALS_FILE names it",
            "correct or unset ALIBABA_CLOUD_CREDENTIALS_FILE",
        ),
        failing("no section of that name", "[x]\ntype = access_key\n")
            .env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
            .fails(
                3,
                "no credentials were found",
                "credentials: has no section [default]; it has x: give one with --profile",
                "ecs-bridge configure",
            ),
    ])
    .await;
}

#[tokio::test]
async fn configure_list_and_doctor_name_the_section() {
    let lab = Lab::with(cloud(), instance()).await;
    write_ini(&lab, INI, &format!("[default]\ntype = ecs_ram_role\nrole_name = {ECS_ROLE}\n"));
    let section = format!("section [default] of {}/{INI}", lab.dir.path().display());
    let mut command = lab.bridge(["configure", "list"]);
    let listed = run(without_keys(&mut command).stderr(std::process::Stdio::piped())).await;
    let stderr = String::from_utf8(listed.stderr).unwrap();
    assert!(stderr.contains(&format!("commands use the credentials of {section}")), "{stderr}");
    let mut command = lab.bridge(["doctor"]);
    let looked = run(without_keys(&mut command)).await;
    let stdout = String::from_utf8(looked.stdout).unwrap();
    assert!(stdout.contains(&section), "{stdout}");
    assert!(lab.cloud.sources().iter().any(|asked| asked.part == SourcePart::MetadataKeys));
}
