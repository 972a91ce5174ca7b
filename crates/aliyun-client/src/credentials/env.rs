//! The environment variables, under each of the three prefixes that the vendor's tools know.

use std::ffi::OsString;

use super::error::Error;
use super::host::{Host, Variables};
use super::keys::Credentials;
use super::source::Source;

/// In the order in which they are looked at.
pub(super) const PREFIXES: [&str; 3] = ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"];

/// The variables that name a profile, in the order in which they are looked at.
pub(super) const PROFILES: [&str; 3] =
    ["ALIBABACLOUD_PROFILE", "ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE"];

/// The metadata service may not be asked without a token.
pub(super) const IMDSV1_DISABLED: &str = "IMDSV1_DISABLED";
/// No program may be run for credentials.
pub(super) const EXTERNAL_DISABLED: &str = "DISABLE_EXTERNAL_PROCESS";

/// The variables that a profile is read with, under each prefix.
const VARIABLES: [&str; 6] = [
    IMDSV1_DISABLED,
    EXTERNAL_DISABLED,
    "EXTERNAL_ID",
    "ROLE_SESSION_NAME",
    "STS_REGION",
    "VPC_ENDPOINT_ENABLED",
];

/// The environment, as the program was given it.
pub(super) struct Environment<'a> {
    pub(super) get: &'a dyn Fn(&str) -> Option<OsString>,
    /// The program, which has variables of its own.
    pub(super) host: &'a dyn Host,
}

impl Environment<'_> {
    /// The first prefix under which the variable is set and not empty: its full name and value.
    pub(super) fn find(&self, name: &str) -> Option<(String, OsString)> {
        PREFIXES.iter().find_map(|prefix| {
            let full = format!("{prefix}{name}");
            self.get(&full).map(|value| (full, value))
        })
    }

    /// As [`Environment::find`], for what has to be text.
    pub(super) fn find_text(&self, name: &str) -> Result<Option<(String, String)>, Error> {
        let Some((variable, value)) = self.find(name) else {
            return Ok(None);
        };
        text(&variable, value).map(|value| Some((variable, value)))
    }

    /// The full name of a variable that is `true` or `1`, under the first prefix where it is set.
    pub(super) fn is_on(&self, name: &str) -> Result<Option<String>, Error> {
        let is_on = |value: &str| value.eq_ignore_ascii_case("true") || value == "1";
        let found = self.find_text(name)?.filter(|(_, value)| is_on(value));
        Ok(found.map(|(variable, _)| variable))
    }

    /// The variable that names a profile, and the name.
    pub(super) fn profile(&self) -> Result<Option<(String, String)>, Error> {
        for variable in PROFILES {
            if let Some(value) = self.get(variable) {
                return text(variable, value).map(|name| Some((variable.to_owned(), name)));
            }
        }
        Ok(None)
    }

    /// The access key that the environment holds under one of these prefixes. Its parts come from one
    /// prefix: two prefixes are two accounts.
    pub(super) fn credentials(&self, prefixes: &[&str]) -> Result<Option<Credentials>, Error> {
        let mut half = None;
        for prefix in prefixes {
            let variable = format!("{prefix}ACCESS_KEY_ID");
            let secret_variable = format!("{prefix}ACCESS_KEY_SECRET");
            let (id, secret) = match (self.get(&variable), self.get(&secret_variable)) {
                (Some(id), Some(secret)) => (id, secret),
                (None, None) => continue,
                (Some(_), None) => {
                    half.get_or_insert((variable, secret_variable));
                    continue;
                }
                (None, Some(_)) => {
                    half.get_or_insert((secret_variable, variable));
                    continue;
                }
            };
            let token_variable = format!("{prefix}SECURITY_TOKEN");
            let token = self.get(&token_variable);
            let token = token.map(|token| text(&token_variable, token)).transpose()?;
            let id = text(&variable, id)?;
            let secret = text(&secret_variable, secret)?;
            let source = Source::Environment { variable, temporary: token.is_some() };
            return Credentials::new(&id, &secret, token.as_deref(), source).map(Some);
        }
        match half {
            Some((set, missing)) => Err(Error::HalfSet { set, missing }),
            None => Ok(None),
        }
    }

    /// A variable that is known under one name only, if there is one, and its value as text.
    pub(super) fn own(
        &self,
        name: Option<&'static str>,
    ) -> Result<Option<(&'static str, String)>, Error> {
        let found = name.and_then(|name| Some((name, self.get(name)?)));
        found.map(|(name, value)| Ok((name, text(name, value)?))).transpose()
    }

    /// The variables that a profile is read with, as they are now.
    pub(super) fn variables(&self) -> Vec<(String, OsString)> {
        let full =
            VARIABLES.iter().flat_map(|name| PREFIXES.map(|prefix| format!("{prefix}{name}")));
        let Variables { sts_endpoint, oauth_url, metadata_url } = self.host.variables();
        let own = [sts_endpoint, oauth_url, metadata_url].into_iter().flatten();
        let names = full.chain(own.map(str::to_owned));
        names.filter_map(|name| self.get(&name).map(|value| (name, value))).collect()
    }

    /// The variable, if it is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        (self.get)(name).filter(|value| !value.is_empty())
    }
}

/// A value as text, without the blanks and line breaks that copying leaves behind.
fn text(variable: &str, value: OsString) -> Result<String, Error> {
    match value.into_string() {
        Ok(value) => Ok(value.trim().to_owned()),
        Err(_) => Err(Error::NotText { variable: variable.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn credentials(set: &[(&str, &str)]) -> Result<Option<Credentials>, Error> {
        let lookup = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Environment { get: &lookup, host: &() }.credentials(&PREFIXES)
    }

    #[test]
    fn each_prefix_and_the_order_of_them() {
        for prefix in PREFIXES {
            let (id, secret) =
                (format!("{prefix}ACCESS_KEY_ID"), format!("{prefix}ACCESS_KEY_SECRET"));
            let found = credentials(&[(&id, "i"), (&secret, " s\n")]).unwrap().unwrap();
            assert_eq!(found.access_key_id(), "i");
            assert_eq!(found.access_key_secret().expose_secret(), "s");
            assert_eq!(found.source().to_string(), format!("the environment ({id})"));
        }
        let found = credentials(&[
            ("ALICLOUD_ACCESS_KEY_ID", "second"),
            ("ALICLOUD_ACCESS_KEY_SECRET", "s"),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "first"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "t"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.access_key_id(), "first");
        assert_eq!(found.security_token().unwrap().expose_secret(), "t");
    }

    #[test]
    fn half_a_key_is_an_error_unless_another_prefix_has_a_whole_one() {
        let error = credentials(&[("ALICLOUD_ACCESS_KEY_SECRET", "s")]).unwrap_err();
        assert!(matches!(error, Error::HalfSet { missing, .. } if missing.ends_with("KEY_ID")));
        let error = credentials(&[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "i"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
        ]);
        assert!(matches!(error, Err(Error::HalfSet { .. })), "an empty variable is not set");
        let found = credentials(&[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "half"),
            ("ALICLOUD_ACCESS_KEY_ID", "whole"),
            ("ALICLOUD_ACCESS_KEY_SECRET", "s"),
        ]);
        assert_eq!(found.unwrap().unwrap().access_key_id(), "whole");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_text_is_named_and_not_shown() {
        use std::os::unix::ffi::OsStringExt as _;
        let lookup = |name: &str| {
            name.starts_with("ALIBABA_CLOUD_ACCESS_KEY").then(|| OsString::from_vec(vec![0xff]))
        };
        let error = Environment { get: &lookup, host: &() }.credentials(&PREFIXES).unwrap_err();
        assert!(error.to_string().contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{error}");
    }
}
