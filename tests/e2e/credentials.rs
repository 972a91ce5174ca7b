//! Each way to come by credentials, through the built binary.

use local_cloud::{MetadataTokens, SessionRecord, SourcePart};

use crate::case::run_all;
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    ARN, ECS_ROLE, KEYS, OIDC_TOKEN, PROVIDER, ROLE, calls, carries, cloud, failing, file,
    instance, one, shows_nothing, without_keys, write,
};
use crate::relay::Rules;
use crate::world::INSTANCE;

/// Who had the one session that there was.
async fn session(lab: &Lab) -> SessionRecord {
    lab.all_ended().await;
    let mut sessions = lab.cloud.sessions();
    assert_eq!(sessions.len(), 1);
    sessions.remove(0)
}

/// `ecs-bridge proxy` with these profiles, twice: as users have it, and with everything that it can
/// log. It needs so many calls of STS and questions to sources, and signs with temporary keys or not.
async fn works(name: &str, profiles: &str, sts: usize, sources: usize, is_temporary: bool) {
    eprintln!("--- {name}");
    for args in [&[][..], &["-vvv"], &["--signature-version", "v1"]] {
        let lab = Lab::with(cloud(), instance()).await;
        file(&lab, "token", &format!("{OIDC_TOKEN}\n"));
        let printed = format!(r#"{{"mode": "AK", {KEYS}, "sts_token": "not taken"}}"#);
        file(&lab, "keys.json", &printed);
        write(&lab, profiles);
        let mut command = lab.bridge(args.iter().chain(&["proxy", INSTANCE]));
        let ended = carries(&lab, without_keys(&mut command)).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        match args.first() {
            Some(&"-vvv") => assert!(ended.stderr.contains("profile 'p' of"), "{}", ended.stderr),
            _ => assert_eq!(ended.stderr, ""),
        }
        shows_nothing(&lab, &ended.stderr);
        let session = session(&lab).await;
        assert_eq!(session.access_key_id.starts_with("STS."), is_temporary, "{session:?}");
        let actions = ["AssumeRole", "AssumeRoleWithOIDC"];
        let asked: usize = actions.iter().map(|action| calls(&lab, action).len()).sum();
        assert_eq!((asked, lab.cloud.sources().len()), (sts, sources));
        let version = if args.contains(&"v1") { "v1" } else { "v3" };
        assert!(calls(&lab, "AssumeRole").iter().all(|call| call.signature == Some(version)));
        assert!(calls(&lab, "AssumeRoleWithOIDC").iter().all(|call| call.signature.is_none()));
        assert_eq!(lab.cloud.violations(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_stand_in_the_profile() {
    works("AK", &one("AK", KEYS), 0, 0, false).await;
    // The stand-in knows no token of this key, and takes one that comes with it.
    for mode in ["StsToken", "CloudSSO", "OAuth"] {
        let fields =
            format!(r#"{KEYS}, "sts_token": "testsecret-t", "sts_expiration": "4000000000""#);
        let lab = Lab::with(
            cloud().access_key(
                local_cloud::AccessKey::new("testid", "testsecret").token("testsecret-t"),
            ),
            instance(),
        )
        .await;
        write(&lab, &one(mode, &fields));
        let mut command = lab.bridge(["-vvv", "proxy", INSTANCE]);
        command.env_remove("ALIBABA_CLOUD_SECURITY_TOKEN");
        let ended = carries(&lab, without_keys(&mut command)).await;
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.stderr);
        shows_nothing(&lab, &ended.stderr);
        assert_eq!(session(&lab).await.access_key_id, "testid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_a_server_hands_out() {
    let uri = r#""credentials_uri": "CLOUD/credentials?testsecret""#;
    works("CredentialsURI", &one("CredentialsURI", uri), 0, 1, true).await;
    let named = r#""ram_role_name": "EcsRole""#;
    works("EcsRamRole", &one("EcsRamRole", named), 0, 2, true).await;
    works("EcsRamRole, whichever", &one("EcsRamRole", r#""ram_role_name": """#), 0, 3, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_exchanged_for_a_role_s() {
    works("RamRoleArn", &one("RamRoleArn", &format!("{KEYS}, {ROLE}")), 1, 0, true).await;
    let named = format!(r#"{ROLE}, "ram_role_name": "{ECS_ROLE}""#);
    let mode = "RamRoleArnWithRoleName";
    works(mode, &one(mode, &named), 1, 2, true).await;
    let of = |name: &str, from: &str| {
        format!(
            r#"{{"name": "{name}", "mode": "ChainableRamRoleArn", {ROLE}, "source_profile": "{from}"}}"#
        )
    };
    let keys = format!(r#"{{"name": "end", "mode": "AK", {KEYS}}}"#);
    let chain = [of("p", "middle"), of("middle", "end"), keys].join(",");
    works("ChainableRamRoleArn", &chain, 2, 0, true).await;
    let uri =
        r#"{"name": "uri", "mode": "CredentialsURI", "credentials_uri": "CLOUD/credentials"}"#;
    works("ChainableRamRoleArn of a URI", &[&of("p", "uri"), uri].join(","), 1, 1, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_exchanged_for_a_role_s_keys() {
    let oidc =
        format!(r#"{ROLE}, "oidc_provider_arn": "{PROVIDER}", "oidc_token_file": "DIR/token""#);
    works("OIDC", &one("OIDC", &oidc), 1, 0, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_a_program_prints() {
    let command = r#""process_command": "cat 'DIR/keys.json'""#;
    works("External", &one("External", command), 0, 0, false).await;
}

/// What is asked of STS is what the profile has.
#[tokio::test]
async fn the_profile_s_settings_reach_sts() {
    let role = local_cloud::Role::new(ARN).external_id("x 1");
    let lab = Lab::with(cloud().role(role), instance()).await;
    let fields = format!(r#"{KEYS}, {ROLE}, "external_id": "x 1", "expired_seconds": "1800""#);
    write(&lab, &one("RamRoleArn", &fields));
    let ended = carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let call = calls(&lab, "AssumeRole").remove(0);
    for (name, value) in [
        ("RoleArn", ARN),
        ("RoleSessionName", "tests"),
        ("DurationSeconds", "1800"),
        ("ExternalId", "x 1"),
    ] {
        assert_eq!(call.params[name], value);
    }
    assert!(!call.params.contains_key("RegionId"));
}

/// Where the service's metadata does not know of tokens, none is shown; unless that is forbidden.
#[tokio::test]
async fn a_metadata_service_without_tokens_is_asked_without() {
    let lab = Lab::with(cloud(), instance()).await;
    lab.cloud.update_metadata(|metadata| metadata.tokens = MetadataTokens::Unknown);
    write(&lab, &one("EcsRamRole", r#""ram_role_name": "EcsRole""#));
    let ended = carries(&lab, without_keys(&mut lab.bridge(["proxy", INSTANCE]))).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let asked: Vec<_> = lab.cloud.sources().iter().map(|source| source.part).collect();
    assert_eq!(asked, [SourcePart::MetadataToken, SourcePart::MetadataKeys]);
}

/// To a proxy the metadata service would be its own: it is never asked for it, nor for a credentials URI
/// on this machine. STS it is asked for, and another credentials URI.
#[tokio::test]
async fn what_a_proxy_is_asked_for() {
    // It has the keys of another cloud, so that its address tells what it was asked for.
    let elsewhere = cloud().start().await.unwrap();
    let there = elsewhere.addr().to_string();
    // An address of this machine that does not look like one.
    let unlike = there.replace("127.0.0.1", "0.0.0.0");
    for (profile, asks_proxy) in [
        (one("EcsRamRole", r#""ram_role_name": """#), false),
        (one("CredentialsURI", r#""credentials_uri": "ELSEWHERE/credentials""#), false),
        (
            one("CredentialsURI", &format!(r#""credentials_uri": "http://{unlike}/credentials""#)),
            true,
        ),
        (one("RamRoleArn", &format!("{KEYS}, {ROLE}")), true),
    ] {
        let relay = Rules::http().start().await;
        let lab = Lab::with(cloud(), instance()).await;
        write(&lab, &profile.replace("ELSEWHERE", &elsewhere.endpoint()));
        let proxy = relay.url("http");
        let mut command = lab.bridge(["-v", "--proxy", &proxy, "proxy", INSTANCE]);
        command.env("ECS_BRIDGE_METADATA_URL", elsewhere.metadata_url());
        command.env("ECS_BRIDGE_STS_ENDPOINT", elsewhere.endpoint());
        let ended = Bridge::start(without_keys(&mut command)).end().await;
        assert!(ended.stderr.contains("(InvalidAccessKeyId.NotFound)"), "{}", ended.stderr);
        let asked = relay.asked();
        let is_asked = asked.contains(&there) || asked.contains(&unlike);
        assert_eq!(is_asked, asks_proxy, "{profile}: {asked:?}");
        assert!(relay.asked().contains(&lab.cloud.addr().to_string()), "the API is, in any case");
    }
    assert!(!elsewhere.sources().is_empty());
}

/// A credentials URI that is not encrypted is not for the proxy of https:// URLs.
#[tokio::test]
async fn which_proxy_of_the_environment_a_credentials_uri_has() {
    let elsewhere = cloud().start().await.unwrap();
    // An address of this machine that does not look like one.
    let there = elsewhere.addr().to_string().replace("127.0.0.1", "0.0.0.0");
    let profile =
        one("CredentialsURI", &format!(r#""credentials_uri": "http://{there}/credentials""#));
    for (variables, asks_proxy) in [
        (&[("HTTPS_PROXY", "RELAY"), ("HTTP_PROXY", "RELAY"), ("http_proxy", "RELAY")][..], false),
        (&[("https_proxy", "RELAY"), ("ALL_PROXY", "")], false),
        (&[("ALL_PROXY", "RELAY")], true),
        (&[("HTTPS_PROXY", "192.0.2.1:1"), ("all_proxy", "RELAY")], true),
        (&[("ALL_PROXY", "RELAY"), ("NO_PROXY", "0.0.0.0")], false),
    ] {
        let relay = Rules::http().start().await;
        let lab = Lab::with(cloud(), instance()).await;
        write(&lab, &profile);
        let mut command = lab.bridge(["-v", "proxy", INSTANCE]);
        command.envs(
            variables
                .iter()
                .map(|(name, value)| (name, value.replace("RELAY", &relay.url("http")))),
        );
        let ended = Bridge::start(without_keys(&mut command)).end().await;
        assert!(ended.stderr.contains("(InvalidAccessKeyId.NotFound)"), "{}", ended.stderr);
        let wanted = if asks_proxy { vec![there.clone()] } else { vec![] };
        assert_eq!(relay.asked(), wanted, "{variables:?}: {}", ended.stderr);
    }

    // A proxy that cannot be used is not gone around.
    let asked = elsewhere.sources().len();
    let case = failing("another kind of proxy", profile)
        .env("HTTPS_PROXY", "http://192.0.2.1:1")
        .env("ALL_PROXY", "socks://u:testsecret@h");
    let what = "the proxy of ALL_PROXY cannot be used: socks:// is not a kind of proxy";
    run_all(vec![case.fails(3, what, "", "switch it off with --proxy none")]).await;
    assert_eq!(elsewhere.sources().len(), asked);
}

/// In the order of the vendor's tools, each of these before those that follow; and under each prefix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_s_ways() {
    let prefixes = ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"];
    for (number, prefix) in prefixes.into_iter().enumerate() {
        let lab = Lab::with(cloud(), instance()).await;
        file(&lab, "token", OIDC_TOKEN);
        let keys = [("ACCESS_KEY_ID", "testid"), ("ACCESS_KEY_SECRET", "testsecret")];
        let token = lab.dir.path().join("token").display().to_string();
        let oidc =
            [("ROLE_ARN", ARN), ("OIDC_PROVIDER_ARN", PROVIDER), ("OIDC_TOKEN_FILE", &token)];
        let uri = lab.cloud.credentials_uri();
        let by_uri = [("CREDENTIALS_URI", uri.as_str())];
        let ways: [(&str, &[(&str, &str)]); 4] = [
            ("CREDENTIALS_URI", &by_uri),
            ("ECS_METADATA", &[("ECS_METADATA", ECS_ROLE)]),
            ("OIDC", &oidc),
            ("keys", &keys),
        ];
        // From the last to the first: each comes before all that are set already.
        let mut set: Vec<(String, String)> = Vec::new();
        for (way, variables) in ways {
            set.extend(variables.iter().map(|(n, v)| (format!("{prefix}{n}"), (*v).to_owned())));
            let before = (lab.cloud.sources().len(), calls(&lab, "AssumeRoleWithOIDC").len());
            let mut command = lab.bridge(["proxy", INSTANCE]);
            if way == "CREDENTIALS_URI" {
                // The metadata service is asked before it, and has a role here.
                command.env(format!("{prefix}ECS_METADATA_DISABLED"), "true");
            }
            let ended = carries(&lab, without_keys(&mut command).envs(set.clone())).await;
            assert_eq!(ended.code, Some(0), "{prefix} {way}: {}", ended.stderr);
            ended.well(b"");
            let after = (lab.cloud.sources().len(), calls(&lab, "AssumeRoleWithOIDC").len());
            let asked = (after.0 - before.0, after.1 - before.1);
            let wanted = match way {
                "CREDENTIALS_URI" => (1, 0),
                "ECS_METADATA" => (2, 0),
                "OIDC" => (0, 1),
                _ => (0, 0),
            };
            assert_eq!(asked, wanted, "{prefix} {way}");
        }
        // A profile that is named comes before all of them, and a current one before two.
        write(&lab, &one("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#));
        let name = ["ALIBABACLOUD_PROFILE", "ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE"][number];
        let mut command = lab.bridge(["proxy", INSTANCE]);
        let ended =
            carries(&lab, without_keys(&mut command).envs(set.clone()).env(name, "p")).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(lab.cloud.sources().len(), 4, "the named profile");
        set.retain(|(name, _)| name.ends_with("ECS_METADATA") || name.ends_with("_URI"));
        let mut command = lab.bridge(["proxy", INSTANCE]);
        carries(&lab, without_keys(&mut command).envs(set)).await;
        assert_eq!(lab.cloud.sources().last().unwrap().part, SourcePart::Uri, "the current one");
        lab.all_ended().await;
    }
}
