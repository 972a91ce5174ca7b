//! What is said of profiles that cannot be used, and what `configure` asks for each mode.

use super::scripted::{KEYS, chained, resolve_fields, resolve_profiles};
use super::*;
use crate::explain::Explain as _;

#[test]
fn the_way_out_of_keys_that_have_ended_depends_on_the_mode() {
    let fix = |mode: &str| {
        let fields = format!(r#""mode":"{mode}",{KEYS},"sts_token":"t","sts_expiration":1"#);
        resolve_fields(&fields).unwrap_err().remedy().unwrap()
    };
    assert_eq!(fix("CloudSSO"), "sign in again with: aliyun configure --profile p");
    assert!(fix("StsToken").starts_with("get new temporary credentials, and"));
}

#[test]
fn other_modes_are_refused_by_name() {
    for mode in ["RsaKeyPair", "BearerToken", "Magic"] {
        let error =
            resolve_fields(&format!(r#""mode":"{mode}","private_key":"hush""#)).unwrap_err();
        let what = error.to_string();
        assert!(what.starts_with("profile 'p' of "), "{what}");
        let end = format!("(mode {mode}) cannot be used: its mode is not supported");
        assert!(what.ends_with(&end), "{what}");
        assert!(error.why().unwrap().contains("ChainableRamRoleArn"));
        assert!(error.remedy().is_some() && !format!("{error:?}").contains("hush"));
        assert_eq!(error.exit_code() as u8, 3);
    }
}

#[test]
fn a_circle_is_told_with_all_that_are_in_it() {
    for (profiles, circle) in [
        (vec![chained("p", "p")], "p → p"),
        (vec![chained("p", "q"), chained("q", "p")], "p → q → p"),
        (vec![chained("p", "q"), chained("q", "r"), chained("r", "q")], "q → r → q"),
    ] {
        let error = resolve_profiles(&profiles.join(","), &[]).unwrap_err();
        assert!(error.to_string().contains("(mode ChainableRamRoleArn) is circular"));
        assert!(error.why().unwrap().ends_with(&format!(": {circle}")), "{:?}", error.why());
        assert_eq!(error.exit_code() as u8, 3);
    }
}

#[test]
fn a_long_chain_is_none_the_worse() {
    let name = |n: usize| if n == 0 { "p".to_owned() } else { n.to_string() };
    let mut many: Vec<_> = (0..1000).map(|n| chained(&name(n), &name(n + 1))).collect();
    many.push(format!(r#"{{"name":"1000","mode":"AK",{KEYS}}}"#));
    let credential_source =
        resolve_profiles(&many.join(","), &[]).unwrap().credential_source.to_string();
    assert_eq!(credential_source.matches("(mode ").count(), 1001);
    many.pop();
    let error = resolve_profiles(&many.join(","), &[]).unwrap_err();
    assert!(error.to_string().contains("names '1000', which does not exist"), "{error}");
    assert!(error.why().unwrap().len() < 10_000);
}

#[test]
fn what_is_wrong_on_the_way_is_told_with_the_way() {
    let error = resolve_profiles(&chained("p", "gone"), &[]).unwrap_err();
    assert!(error.to_string().ends_with("names 'gone', which does not exist"), "{error}");
    assert_eq!(error.why().as_deref(), Some("there are: p"));
    let half = r#"{"name":"q","mode":"AK","access_key_id":"i"}"#;
    let error = resolve_profiles(&[&chained("p", "q"), half].join(","), &[]).unwrap_err();
    assert!(error.to_string().contains("profile 'q'"), "{error}");
    assert!(error.to_string().ends_with("(mode AK) has no access_key_secret"), "{error}");
    let why = error.why().unwrap();
    assert!(why.starts_with("profile 'p' of "), "{why}");
    assert!(why.contains("(mode ChainableRamRoleArn) takes its keys from profile 'q'"), "{why}");
    assert!(error.remedy().unwrap().ends_with("ecs-bridge configure --mode AK --profile q"));
}

/// What `configure` asks for is what a profile is read by.
#[test]
fn each_mode_needs_what_it_is_asked_for_and_no_more() {
    use super::form::Need;

    let names: Vec<_> =
        form::MODES.iter().map(|mode| mode.name).chain(form::BROWSER_MODES).collect();
    assert_eq!(names.join(", "), modes(false));
    let value = |field: &str| match field {
        "ram_role_arn" => "acs:ram::1:role/r",
        "oidc_provider_arn" => "acs:ram::1:oidc-provider/p",
        "credentials_uri" => "http://127.0.0.1/",
        "expired_seconds" => "900",
        "source_profile" => "q",
        "sts_region" => "cn-a",
        _ => "x1",
    };
    for mode in &form::MODES {
        let with = |fits: &dyn Fn(&form::Question) -> bool| {
            let questions = mode.questions().into_iter();
            let fields = questions.filter(|question| fits(question)).map(|question| {
                let field = question.field;
                let value = check(field, value(field)).unwrap();
                format!(r#","{field}":{value}"#)
            });
            let fields: String = fields.collect();
            let other = r#"{"name":"q","access_key_id":"i","access_key_secret":"s"}"#;
            resolve_profiles(
                &format!(r#"{{"name":"p","mode":"{}"{fields}}},{other}"#, mode.name),
                &[],
            )
        };
        let is_must = |question: &form::Question| question.need == Need::Must;
        assert!(with(&|_| true).is_ok() && with(&is_must).is_ok(), "{}", mode.name);
        for missing in mode.questions().into_iter().filter(is_must) {
            let error = with(&|question| question.field != missing.field).unwrap_err();
            let field = missing.field;
            assert!(matches!(error, Error::MissingField { field: f, .. } if f == field), "{error}");
            assert_eq!(error.in_short(), format!("lacks {field}"));
        }
        for question in mode.questions() {
            if let Need::Usually(usual) = question.need {
                let here = [host::SESSION.to_owned(), USUAL_SECONDS.to_string()];
                assert!(here.iter().any(|here| here == usual), "{}", question.field);
            }
        }
    }
}
