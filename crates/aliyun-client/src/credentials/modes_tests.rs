use secrecy::ExposeSecret as _;

use super::super::login::Service;
use super::super::scripted::{KEYS, ROLE, chained, resolve_fields, resolve_profiles};
use super::*;

fn keys(fields: &str) -> Result<Credentials, Error> {
    resolve_fields(fields)
        .map(|credential_source| credential_source.cached().unwrap().credentials.clone())
}

#[test]
fn keys_that_stand_in_the_profile() {
    let found = keys(
        r#""mode":"AK","access_key_id":"i","access_key_secret":" s ","sts_token":"x","new":{}"#,
    );
    let found = found.unwrap();
    assert_eq!(found.access_key_secret().expose_secret(), "s");
    assert!(found.security_token().is_none(), "mode AK has none, whatever else stands there");
    assert!(found.source().to_string().ends_with("(mode AK)"));
    for mode in ["ststoken", "CloudSSO", "OAuth"] {
        let found = keys(&format!(
            r#""mode":"{mode}","access_key_id":1,"access_key_secret":"s","sts_token":"t",
                "sts_expiration":0"#
        ));
        let found = found.unwrap();
        assert_eq!(found.access_key_id(), "1");
        assert_eq!(found.security_token().unwrap().expose_secret(), "t");
    }
}

#[test]
fn a_missing_field_is_named_with_profile_and_mode() {
    let missing = |mode: &str, fields: &str, field: &str| {
        let error = resolve_fields(&format!(r#""mode":"{mode}",{fields}"#)).unwrap_err();
        let what = error.to_string();
        assert!(what.starts_with("profile 'p' of "), "{what}");
        assert!(what.ends_with(&format!("(mode {mode}) has no {field}")), "{what}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    };
    missing("AK", r#""access_key_id":"","access_key_secret":"s""#, "access_key_id");
    missing("AK", r#""access_key_id":"i","access_key_secret":null"#, "access_key_secret");
    missing("StsToken", KEYS, "sts_token");
    missing("CloudSSO", r#""cloud_sso_sign_in_url":"u""#, "access_key_id");
    missing("OAuth", KEYS, "sts_token");
    missing("CredentialsURI", r#""credentials_uri":"""#, "credentials_uri");
    missing("RamRoleArn", ROLE, "access_key_id");
    missing("RamRoleArn", KEYS, "ram_role_arn");
    missing("RamRoleArnWithRoleName", r#""ram_role_name":"r""#, "ram_role_arn");
    missing("ChainableRamRoleArn", ROLE, "source_profile");
    missing("ChainableRamRoleArn", r#""source_profile":"q""#, "ram_role_arn");
    missing("OIDC", ROLE, "oidc_provider_arn");
    missing("OIDC", r#""oidc_provider_arn":"a","ram_role_arn":"r""#, "oidc_token_file");
    missing("OIDC", r#""oidc_provider_arn":"a","oidc_token_file":"/t""#, "ram_role_arn");
    missing("External", r#""process_command":7.5e0,"process_command":"""#, "process_command");
}

#[test]
fn what_is_over_is_refused_before_any_call() {
    let sts = |mode: &str, expiration: &str| {
        resolve_fields(&format!(
            r#""mode":"{mode}",{KEYS},"sts_token":"t","sts_expiration":{expiration},{ROLE}"#
        ))
    };
    for over in ["1700000000", "\"1699999999\"", "1.0", "\"2023-01-01T00:00:00Z\""] {
        for mode in ["StsToken", "CloudSSO", "OAuth", "RamRoleArn"] {
            assert!(matches!(sts(mode, over), Err(Error::Expired { .. })), "{mode} {over}");
        }
        assert!(sts("AK", over).is_ok());
    }
    for good in ["1700000001", "\"\"", "null", "-5", "1e300", "\"soon\"", "\"NaN\""] {
        assert!(sts("StsToken", good).is_ok(), "{good}");
    }
}

#[test]
fn the_site_of_oauth_leads_to_its_host_and_client() {
    let china = ("https://oauth.aliyun.com", "4038181954557748008");
    let international = ("https://oauth.alibabacloud.com", "4103531455503354461");
    for (site, expected) in [
        (r#""oauth_site_type":"CN","#, china),
        (r#""oauth_site_type":"","#, china),
        ("", china),
        (r#""oauth_site_type":"INTL","#, international),
        (r#""oauth_site_type":"intl","#, international),
    ] {
        let credential_source =
            resolve_fields(&format!(r#""mode":"OAuth",{site}"oauth_refresh_token":"hush""#));
        let credential_source = credential_source.unwrap();
        let Some(Login { service: Service::OAuth { client_id }, base, .. }) =
            credential_source.login()
        else {
            panic!("{site}: no login")
        };
        assert_eq!((base.to_string().trim_end_matches('/'), *client_id), expected, "{site}");
    }
}

#[test]
fn a_profile_without_a_mode_is_what_it_seems_to_be() {
    for (fields, mode) in [
        (KEYS.to_owned(), "AK"),
        (format!(r#"{KEYS},"sts_token":"t""#), "StsToken"),
        (format!("{KEYS},{ROLE}"), "RamRoleArn"),
        (r#""ram_role_name":"r""#.to_owned(), "EcsRamRole"),
        (r#""process_command":"x""#.to_owned(), "External"),
    ] {
        assert_eq!(resolve_fields(&fields).unwrap().source().mode(), mode, "{fields}");
    }
    let error = resolve_fields(r#""region_id":"x""#).unwrap_err();
    assert!(error.to_string().contains("(mode AK) has no access_key_id"), "{error}");
}

#[test]
fn sts_is_where_the_profile_says() {
    let at = |fields: &str, env: &[(&str, &str)]| {
        let profile = format!(r#"{{"name":"p","mode":"RamRoleArn",{KEYS},{ROLE}{fields}}}"#);
        resolve_profiles(&profile, env)
            .map(|found| found.credential_source.sts().unwrap().to_string())
    };
    let (none, env) = (&[][..], &[("ALICLOUD_REGION_ID", "cn-env")][..]);
    let sts = &[("ALICLOUD_STS_REGION", "cn-sts"), ("ALIBABA_CLOUD_REGION_ID", "cn-env")][..];
    let vpc = &[("ALICLOUD_STS_REGION", "cn-sts"), ("ALICLOUD_VPC_ENDPOINT_ENABLED", "true")][..];
    for (fields, env, host) in [
        ("", none, "sts.aliyuncs.com"),
        ("", sts, "sts.cn-sts.aliyuncs.com"),
        ("", vpc, "sts-vpc.cn-sts.aliyuncs.com"),
        (r#","sts_region":"cn-s""#, vpc, "sts-vpc.cn-s.aliyuncs.com"),
        (r#","endpoint_type":"vpc""#, none, "sts.aliyuncs.com"),
        (r#","region_id":"cn-a""#, none, "sts.cn-a.aliyuncs.com"),
        (r#","region_id":"cn-a","endpoint_type":"VPC""#, none, "sts-vpc.cn-a.aliyuncs.com"),
        (r#","region_id":"cn-a""#, env, "sts.cn-env.aliyuncs.com"),
        (r#","region_id":"cn-a","sts_region":"cn-b""#, env, "sts.cn-b.aliyuncs.com"),
    ] {
        assert_eq!(at(fields, env).unwrap(), format!("https://{host}"), "{fields}");
    }
    let own = "OWN_STS_ENDPOINT";
    assert_eq!(at("", &[(own, "http://127.0.0.1:9")]).unwrap(), "http://127.0.0.1:9");
    let error = at("", &[(own, "http://192.0.2.1")]).unwrap_err();
    assert!(error.to_string().starts_with("OWN_STS_ENDPOINT is invalid"), "{error}");
    let error = at(r#","sts_region":"a b""#, none).unwrap_err();
    assert!(error.to_string().starts_with("sts_region of profile 'p'"), "{error}");
}

#[test]
fn numbers_may_be_written_in_any_way() {
    let seconds = |value: &str| {
        let fields = format!(r#""mode":"RamRoleArn",{KEYS},{ROLE},"expired_seconds":{value}"#);
        resolve_fields(&fields).map(|credential_source| credential_source.seconds().unwrap())
    };
    for (value, found) in
        [("900", 900), ("\"1800\"", 1800), ("7200.0", 7200), ("0", 3600), ("null", 3600)]
    {
        assert_eq!(seconds(value).unwrap(), found);
    }
    for value in ["\"an hour\"", "-1", "1e300"] {
        let error = seconds(value).unwrap_err();
        assert!(error.to_string().starts_with("expired_seconds of profile 'p'"), "{error}");
    }
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let end = format!(r#"{{"name":"r","mode":"AK",{KEYS}}}"#);
    let profiles = [chained("p", "q"), chained("q", "r"), end].join(",");
    let credential_source = resolve_profiles(&profiles, &[]).unwrap().credential_source.to_string();
    let modes: Vec<_> = credential_source
        .match_indices("(mode ")
        .map(|(at, _)| &credential_source[at..at + 8])
        .collect();
    assert_eq!(modes, ["(mode Ch", "(mode Ch", "(mode AK"], "{credential_source}");
    assert!(credential_source.contains(", by way of profile 'q'"), "{credential_source}");
}

#[test]
fn what_is_wrong_with_a_profile_is_told_in_a_few_words() {
    let short = |fields: &str| resolve_fields(fields).unwrap_err().in_short();
    assert_eq!(short(r#""mode":"Magic""#), "mode Magic is not supported");
    assert_eq!(
        short(&format!(r#""mode":"OAuth",{KEYS},"sts_token":"t","sts_expiration":1"#)),
        "expired"
    );
    let profiles = [chained("p", "q"), r#"{"name":"q","mode":"StsToken"}"#.to_owned()].join(",");
    assert_eq!(
        resolve_profiles(&profiles, &[]).unwrap_err().in_short(),
        "profile 'q': lacks access_key_id"
    );
    let alone = resolve_profiles(&chained("p", "q"), &[]).unwrap_err();
    assert_eq!(alone.in_short(), "there is no profile 'q'");
    let circle = resolve_profiles(&chained("p", "p"), &[]).unwrap_err();
    assert_eq!(circle.in_short(), "source_profile is circular");
}
