//! What the fields of a profile may hold.

use serde_json::Value;

use super::external;
use super::fetch::Address;
use super::metadata::is_role;
use crate::endpoint::{Endpoint, EndpointType, Region};
use crate::regions;

/// A field's value, as the file is to have it.
///
/// # Errors
/// What is wrong with it, without a part of it.
pub fn check(field: &str, text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("it has a line break or another control character".to_owned());
    }
    let is_word = |allowed: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
    };
    let problem = match field {
        "access_key_id" | "access_key_secret" | "sts_token" => {
            let is_good = text.bytes().all(|byte| byte.is_ascii_graphic());
            (!is_good).then_some("it has blanks, or characters beyond ASCII")
        }
        "ram_role_arn" => (!is_arn(text, "role/")).then_some(
            "an ARN of a role is acs:ram::ACCOUNT:role/NAME, with the account's number",
        ),
        "oidc_provider_arn" => (!is_arn(text, "oidc-provider/")).then_some(
            "an ARN of a provider is acs:ram::ACCOUNT:oidc-provider/NAME, with the account's number",
        ),
        "ram_session_name" => (!is_word(".@-_", 2, 64))
            .then_some("it has to have 2 to 64 letters, digits and the characters . @ - _"),
        "ram_role_name" => (!is_role(text))
            .then_some("it may have up to 64 letters, digits and the characters . - _"),
        "source_profile" => None,
        "expired_seconds" => {
            return match text.parse::<u32>() {
                Ok(seconds) if (900..=43_200).contains(&seconds) => Ok(seconds.into()),
                _ => Err("it has to be a number of seconds from 900 to 43200".to_owned()),
            };
        }
        "sts_expiration" => {
            return time(text).map(Value::from).ok_or_else(|| {
                "it has to be seconds since 1970, or a time such as 2026-01-31T12:00:00Z".to_owned()
            });
        }
        "region_id" | "sts_region" => {
            let problem = "a region is made of lower-case letters, digits and hyphens";
            match (Region::parse(text), regions::meant_by(text)) {
                (Err(_), Some(id)) => return Err(format!("{problem}; did you mean {id}?")),
                (Err(_), None) => Some(problem),
                (Ok(_), _) => None,
            }
        }
        "endpoint" => match Endpoint::parse(text) {
            Ok(_) => None,
            Err(error) => return Err(error.to_string()),
        },
        "endpoint_type" => {
            EndpointType::parse(text).is_err().then_some("it has to be vpc or internet")
        }
        "language" => (!["en", "zh"].contains(&text)).then_some("it has to be en or zh"),
        "output_format" => (!["json", "cols", "rows"].contains(&text))
            .then_some("it has to be json, cols or rows"),
        "credentials_uri" => Address::parse(text).err(),
        "process_command" => match external::words(text) {
            Ok(_) => None,
            Err(problem) => return Err(problem.to_string()),
        },
        _ => None,
    };
    match problem {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(text.into()),
    }
}

fn is_arn(text: &str, kind: &str) -> bool {
    let parts: Vec<&str> = text.splitn(5, ':').collect();
    let [acs, "ram", region, account, resource] = parts[..] else { return false };
    let name = resource.strip_prefix(kind).unwrap_or_default();
    acs == "acs"
        && region.is_empty()
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

fn time(text: &str) -> Option<u64> {
    match text.parse() {
        Ok(seconds) => Some(seconds),
        Err(_) => {
            let time = humantime::parse_rfc3339_weak(text).ok()?;
            time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
        }
    }
}
