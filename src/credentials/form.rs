//! The fields that each mode of a profile needs and may have, and what of them may be shown.

use serde_json::Value;

use super::edit::Entry;
use super::{mask, mode_of as mode_by};
pub(crate) use aliyun_client::credentials::check;

/// A mode that can be put together here.
#[derive(Debug)]
pub(crate) struct Mode {
    /// As the vendor's tools write it.
    pub(crate) name: &'static str,
    /// Its prompts, in this order: its own fields, then those of a role. The region comes after
    /// them.
    questions: [&'static [Question]; 2],
}

impl Mode {
    /// Its prompts.
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.concat()
    }
}

/// A prompt for a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) field: &'static str,
    pub(crate) need: Need,
}

/// What happens to a field that gets no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The mode requires it.
    Must,
    /// It has this value.
    Usually(&'static str),
    /// It is left out.
    May,
}

const fn must(field: &'static str) -> Question {
    Question { field, need: Need::Must }
}

const fn may(field: &'static str) -> Question {
    Question { field, need: Need::May }
}

const fn usually(field: &'static str, value: &'static str) -> Question {
    Question { field, need: Need::Usually(value) }
}

const KEY: [Question; 2] = [must("access_key_id"), must("access_key_secret")];
/// The vendor's CLI refuses a profile of a role without a session name.
const SESSION: Question = usually("ram_session_name", super::host::SESSION);
const SECONDS: Question = usually("expired_seconds", "3600");
const ROLE: [Question; 5] =
    [must("ram_role_arn"), SESSION, may("external_id"), SECONDS, may("sts_region")];
/// An identity provider's token needs no external id.
const OIDC_ROLE: [Question; 4] = [ROLE[0], SESSION, SECONDS, ROLE[4]];
const OIDC: [Question; 2] = [must("oidc_provider_arn"), must("oidc_token_file")];

/// The region, which every mode needs.
pub(crate) const REGION: Question = must("region_id");

pub(crate) const MODES: [Mode; 9] = [
    Mode { name: "AK", questions: [&KEY, &[]] },
    Mode { name: "StsToken", questions: [&KEY, &[must("sts_token")]] },
    Mode { name: "CredentialsURI", questions: [&[must("credentials_uri")], &[]] },
    Mode { name: "EcsRamRole", questions: [&[may("ram_role_name")], &[]] },
    Mode { name: "RamRoleArn", questions: [&KEY, &ROLE] },
    Mode { name: "RamRoleArnWithRoleName", questions: [&[may("ram_role_name")], &ROLE] },
    Mode { name: "ChainableRamRoleArn", questions: [&[must("source_profile")], &ROLE] },
    Mode { name: "OIDC", questions: [&OIDC, &OIDC_ROLE] },
    Mode { name: "External", questions: [&[must("process_command")], &[]] },
];

/// Modes that need a browser, and the vendor's CLI for it.
pub(crate) const BROWSER_MODES: [&str; 2] = ["CloudSSO", "OAuth"];

/// Fields in the order in which the vendor's CLI writes them.
pub(crate) const ORDER: [&str; 22] = [
    "mode",
    "access_key_id",
    "access_key_secret",
    "sts_token",
    "sts_region",
    "ram_role_name",
    "ram_role_arn",
    "ram_session_name",
    "external_id",
    "source_profile",
    "expired_seconds",
    "region_id",
    "output_format",
    "language",
    "process_command",
    "credentials_uri",
    "oidc_provider_arn",
    "oidc_token_file",
    "sts_expiration",
    "endpoint_type",
    "endpoint",
    "name",
];

/// A mode by its name, in any case.
pub(crate) fn mode(name: &str) -> Option<&'static Mode> {
    MODES.iter().find(|mode| mode.name.eq_ignore_ascii_case(name))
}

/// A profile's mode: as it is written, or as it seems to be.
pub(crate) fn mode_of(entry: &Entry) -> String {
    mode_by(|field| entry.text(field))
}

/// The name of a field in its prompt.
pub(crate) fn label(field: &str) -> &str {
    match field {
        "access_key_id" => "AccessKey ID",
        "access_key_secret" => "AccessKey secret",
        "sts_token" => "Security token",
        "sts_region" => "Region of STS (optional)",
        "ram_role_name" => "Role of the instance (optional)",
        "ram_role_arn" => "ARN of the role",
        "ram_session_name" => "Name of the role's session",
        "external_id" => "External id (optional)",
        "source_profile" => "Profile that assumes the role",
        "expired_seconds" => "Duration of the role's session in seconds",
        "region_id" => "Region, such as cn-hangzhou",
        "credentials_uri" => "URI that returns credentials",
        "process_command" => "Command that prints credentials",
        "oidc_provider_arn" => "ARN of the OIDC provider",
        "oidc_token_file" => "File of the OIDC token",
        other => other,
    }
}

/// Whether a field is not to be shown, nor displayed when it is typed. An unknown field is judged by
/// its name.
pub(crate) fn is_secret(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    let is_about = |word: &str| field.contains(word);
    let is_harmless = ["access_key_id", "oidc_token_file", "key_pair_name"].contains(&&*field)
        || ["_expire", "_expiration", "_expires", "_header_key"]
            .iter()
            .any(|end| field.ends_with(end));
    !is_harmless
        && ["secret", "token", "password", "passphrase", "private", "credential_value", "api_key"]
            .into_iter()
            .any(is_about)
}

/// A field's value as it may be displayed.
pub(crate) fn shown(field: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => return String::new(),
        // An unknown field may hold anything.
        Value::Array(_) | Value::Object(_) => return "****".to_owned(),
        other => other.to_string(),
    };
    match field.to_ascii_lowercase().as_str() {
        _ if text.is_empty() => text,
        field if is_secret(field) => tail(&text),
        "access_key_id" => mask(&text),
        "process_command" => match text.trim().split_once(char::is_whitespace) {
            Some((program, _)) => format!("{program} …"),
            None => text,
        },
        field if field.ends_with("uri") || field.ends_with("url") || field == "endpoint" => {
            without_secrets(&text)
        }
        _ => text,
    }
}

/// The last characters of a secret, if it is long enough that they do not weaken it.
fn tail(secret: &str) -> String {
    let count = secret.chars().count();
    let shown: String =
        if count >= 24 { secret.chars().skip(count - 3).collect() } else { "".into() };
    format!("****{shown}")
}

/// A URL without the parts of it that may be secret.
fn without_secrets(url: &str) -> String {
    let (before, query) = match url.split_once('?') {
        Some((before, _)) => (before, "?****"),
        None => (url, ""),
    };
    match before.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, rest)))) => format!("{scheme}://****@{rest}{query}"),
        _ => format!("{before}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_found_and_each_field_has_a_label_and_a_place() {
        for mode in &MODES {
            let found = super::mode(&mode.name.to_uppercase()).unwrap();
            assert_eq!(found.name, mode.name);
            for question in mode.questions().into_iter().chain([REGION]) {
                assert_ne!(label(question.field), question.field);
                assert!(ORDER.contains(&question.field), "{}", question.field);
                if let Need::Usually(value) = question.need {
                    assert!(check(question.field, value).is_ok(), "{}", question.field);
                }
            }
        }
        assert!(super::mode("i-bp1example0001").is_none() && super::mode("CloudSSO").is_none());
    }

    #[test]
    fn slips_are_noticed() {
        for (field, good, bad) in [
            ("access_key_id", "LTAI5t", "LTAI 5t"),
            ("access_key_secret", "a/b+c=", "ä"),
            ("ram_role_arn", "acs:ram::123:role/ops-1", "arn:aws:iam::123:role/x"),
            ("ram_role_arn", "acs:ram::1:role/path/x", "acs:ram::x:role/ops"),
            ("ram_role_arn", "acs:ram::1:role/x", "acs:ram::1:user/x"),
            ("oidc_provider_arn", "acs:ram::1:oidc-provider/p", "acs:ram::1:role/p"),
            ("ram_session_name", "me@home", "a"),
            ("ram_role_name", "ops", "a b"),
            ("expired_seconds", "900", "899"),
            ("expired_seconds", "43200", "1h"),
            ("sts_expiration", "2026-01-31T12:00:00Z", "soon"),
            ("region_id", "ap-southeast-1", "Hangzhou"),
            ("sts_region", "cn-hangzhou", "cn_hangzhou"),
            ("endpoint", "https://ecs.example.com", "http://ecs.example.com"),
            ("endpoint_type", "vpc", "vps"),
            ("language", "zh", "german"),
            ("output_format", "cols", "xml"),
            ("credentials_uri", "HTTP://127.0.0.1:1/x", "127.0.0.1"),
            ("credentials_uri", "https://x", "https://"),
            ("credentials_uri", "http://h/p?q", "http://user:LTAI@h/"),
            ("ram_role_name", "a.b", ".."),
            ("process_command", "get-keys --for 'me'", "a\nb"),
            ("process_command", "get-keys", "get-keys 'LTAI"),
        ] {
            assert!(check(field, good).is_ok(), "{field}: {good}");
            let problem = check(field, bad).unwrap_err();
            assert!(!problem.contains("LTAI"), "{problem}");
        }
        assert_eq!(check("expired_seconds", " 900 "), Ok(Value::from(900)));
        assert_eq!(check("sts_expiration", "1700000000"), Ok(Value::from(1_700_000_000)));
    }

    #[test]
    fn secrets_are_not_shown() {
        let long = "0123456789abcdefghijklmnopq";
        for (field, value, expected) in [
            ("access_key_secret", long, "****opq"),
            ("access_key_secret", "short-secret", "****"),
            ("Sts_Token", long, "****opq"),
            ("oauth_refresh_token", "x", "****"),
            ("new_password", "x", "****"),
            ("access_key_id", "LTAI0123456789abc", "LTAI…abc"),
            ("access_key_id", "short", "…"),
            ("oidc_token_file", "/run/token", "/run/token"),
            ("cloud_sso_access_token_expire", "17", "17"),
            ("process_command", "get-keys --password hush", "get-keys …"),
            ("credentials_uri", "http://u:hush@h/p?token=hush", "http://****@h/p?****"),
            ("credentials_uri", "http://h/p", "http://h/p"),
            ("region_id", "cn-x", "cn-x"),
            ("sts_token", "", ""),
        ] {
            assert_eq!(shown(field, &value.into()), expected, "{field}");
        }
        assert_eq!(shown("new", &serde_json::json!({"secret": 1})), "****");
        assert_eq!(shown("expired_seconds", &900.into()), "900");
    }
}
