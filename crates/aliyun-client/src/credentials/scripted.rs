//! Profiles that tests write down.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{CredentialSource, Error, Host, Query, Resolved, Setting, Variables, resolve_as_if};

pub const ROLE: &str = r#""ram_role_arn":"acs:ram::1:role/r""#;
pub const KEYS: &str = r#""access_key_id":"i","access_key_secret":"hush""#;

/// A program that has variables of its own.
#[derive(Debug)]
pub struct Own;

impl Host for Own {
    fn variables(&self) -> Variables {
        Variables {
            sts_endpoint: Some("OWN_STS_ENDPOINT"),
            oauth_url: Some("OWN_OAUTH_URL"),
            metadata_url: Some("OWN_METADATA_URL"),
        }
    }
}

/// What profile `p` of these profiles leads to.
pub fn resolve_profiles(profiles: &str, env: &[(&str, &str)]) -> Result<Resolved, Error> {
    let file = Path::new("/home/u/f");
    let value = |name: &str| env.iter().find(|(set, _)| *set == name).map(|(_, value)| value);
    let query = Query {
        profile: Some(Setting { value: "p".into(), origin: "a test".into() }),
        region: None,
        config: Some(Setting { value: file.into(), origin: "a test".into() }),
        env: &|name| value(name).map(OsString::from),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        home: Some("/home/u".into()),
        file: None,
        host: &Own,
    };
    resolve_as_if(&query, file, format!(r#"{{"profiles":[{profiles}]}}"#).as_bytes())
}

/// What a profile with these fields leads to.
pub fn resolve_fields(fields: &str) -> Result<CredentialSource, Error> {
    let profile = format!(r#"{{"name":"p",{fields}}}"#);
    resolve_profiles(&profile, &[]).map(|found| found.credential_source)
}

/// Profile `name`, which takes its keys from profile `from`.
pub fn chained(name: &str, from: &str) -> String {
    format!(r#"{{"name":"{name}","mode":"ChainableRamRoleArn",{ROLE},"source_profile":"{from}"}}"#)
}
