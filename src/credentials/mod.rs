//! Who calls the API: the vendor's profile file and the environment, in the vendor's order.
//!
//! ```text
//! profile (the file), env ─▶ chain (the order) ─▶ CredentialSource ─▶ Provider
//!                            modes (what each needs)   uri metadata role oidc external     (cache)
//! ```
//! [`resolve`] reads files and variables and sends nothing: what is missing or contradicts itself is
//! found there. A [`Provider`] follows the [`CredentialSource`] when a call first needs credentials, and again
//! before they end. It asks STS with [`crate::cloud`]'s client, which in turn asks it for keys.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};

mod answer;
mod brief;
mod cached;
mod chain;
mod credential_source;
pub(crate) mod edit;
mod env;
mod error;
mod external;
mod fetch;
pub(crate) mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod ini;
mod json;
mod login;
mod metadata;
mod mode;
mod modes;
mod oidc;
mod profile;
mod provider;
mod role;
mod source;
pub(crate) mod store;
mod uri;

pub use chain::resolve;
pub(crate) use chain::{in_home, listed, problems, resolve_as_if};
pub use credential_source::CredentialSource;
pub use error::Error;
pub use external::Problem as ExternalProblem;
pub use fetch::Problem as FetchProblem;
pub use json::InvalidResponse;
pub use login::Problem as LoginProblem;
pub use metadata::Problem as MetadataProblem;
pub use provider::Provider;
pub use source::Source;
pub use uri::Problem as UriProblem;

/// What signs the calls. `Debug` shows neither secret nor token.
#[derive(Clone, Debug)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: Option<SecretString>,
    source: Source,
}

impl Credentials {
    /// Puts credentials together that were found elsewhere than by [`resolve`].
    ///
    /// # Errors
    /// [`Error::Malformed`] if a part is empty or has a character that no header can carry.
    pub fn new(
        access_key_id: &str,
        access_key_secret: &str,
        security_token: Option<&str>,
        source: Source,
    ) -> Result<Self, Error> {
        let parts = [
            ("AccessKeyId", Some(access_key_id)),
            ("AccessKeySecret", Some(access_key_secret)),
            ("SecurityToken", security_token),
        ];
        for (part, value) in parts {
            let Some(value) = value else { continue };
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::Malformed { part, source_of_it: source });
            }
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            access_key_secret: access_key_secret.into(),
            security_token: security_token.map(SecretString::from),
            source,
        })
    }

    /// `AccessKeyId`: an identifier, not a secret.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// `AccessKeySecret`.
    pub fn access_key_secret(&self) -> &SecretString {
        &self.access_key_secret
    }

    /// `SecurityToken`, which temporary credentials have.
    pub fn security_token(&self) -> Option<&SecretString> {
        self.security_token.as_ref()
    }

    /// The `AccessKeyId` as it may be shown: enough to recognise it.
    pub fn masked_id(&self) -> String {
        mask(&self.access_key_id)
    }

    /// Where they came from.
    pub fn source(&self) -> &Source {
        &self.source
    }
}

impl PartialEq for Credentials {
    /// Whether they sign alike, wherever they came from.
    fn eq(&self, other: &Self) -> bool {
        let token = |of: &Self| of.security_token.as_ref().map(|t| t.expose_secret().to_owned());
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && token(self) == token(other)
    }
}

impl Eq for Credentials {}

/// Where to look for credentials.
#[derive(Clone)]
pub struct Query<'a> {
    /// `--profile`.
    pub profile: Option<&'a str>,
    /// `--region`, where STS is asked too.
    pub region: Option<&'a str>,
    /// `--config`.
    pub config: Option<&'a Path>,
    /// Reads an environment variable: `&|name| std::env::var_os(name)`.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The time now, against which expirations are held.
    pub now: SystemTime,
    /// The home folder, in which `.aliyun` is looked for.
    pub home: Option<PathBuf>,
    /// Whether to read the ini file of the vendor's SDKs alone, and no profile file.
    pub ini_only: bool,
}

impl<'a> Query<'a> {
    /// Asks for one profile of one file, whatever the environment says of other ones.
    pub fn of_profile(name: &'a str, file: &'a Path) -> Self {
        Self {
            profile: Some(name),
            region: None,
            config: Some(file),
            env: &own_variable,
            now: SystemTime::now(),
            home: home(),
            ini_only: false,
        }
    }
}

/// Reads a variable of this program's own.
fn own_variable(name: &str) -> Option<OsString> {
    name.starts_with("ECS_BRIDGE_").then(|| std::env::var_os(name)).flatten()
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("profile", &self.profile)
            .field("region", &self.region)
            .field("config", &self.config)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// What [`resolve`] found. Region and endpoint are as they were written, not yet checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The source of the credentials that sign the calls.
    pub credential_source: CredentialSource,
    /// From `--region`, else the environment, else the profile's `region_id`.
    pub region: Option<Setting>,
    /// From `ALIBABA_CLOUD_ENDPOINT`, else the profile's `endpoint`.
    pub endpoint: Option<Setting>,
    /// The profile's `endpoint_type`, such as `vpc`.
    pub endpoint_type: Option<Setting>,
}

/// A value, and where it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: String,
    /// A flag, a variable, or a field of a profile, in words.
    pub origin: String,
}

/// The names of the modes that are supported, in a profile or in what a program prints.
pub(crate) fn modes(is_answer: bool) -> String {
    mode::Mode::names(is_answer)
}

/// The types of sections that are supported.
pub(crate) fn section_types() -> String {
    ini::TYPES.map(|(name, _)| name).join(", ")
}

/// An access key id as it may be shown.
pub(crate) fn mask(id: &str) -> String {
    match (id.get(..4), id.get(id.len().saturating_sub(3)..)) {
        (Some(head), Some(tail)) if id.len() >= 12 => format!("{head}…{tail}"),
        _ => "…".to_owned(),
    }
}

/// The words of a command line, as a shell splits it; `None` where a quote is not closed.
pub(crate) fn shell_words(command: &str) -> Option<Vec<String>> {
    // Where it separates folders, a backslash quotes nothing.
    match cfg!(windows) {
        true => shlex::split(&command.replace('\\', r"\\")),
        false => shlex::split(command),
    }
}

/// The user's home folder.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// A name as it has to be typed into a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let source = Source::Environment { variable: "X_ACCESS_KEY_ID".into(), temporary: true };
        let credentials = Credentials::new("id", "hush-1", Some("hush-2"), source).unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("id") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn parts_that_no_header_can_carry_are_refused() {
        let source = || Source::Environment { variable: "X".into(), temporary: false };
        for (id, secret, token) in
            [("", "s", None), ("i", "a\nb", None), ("中", "s", None), ("i", "s", Some("a b"))]
        {
            let error = Credentials::new(id, secret, token, source()).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }));
        }
    }

    #[test]
    fn keys_are_masked() {
        assert_eq!(mask("LTAI0123456789abc"), "LTAI…abc");
        assert_eq!(mask("short"), "…");
        assert_eq!(mask(""), "…");
    }

    #[test]
    fn names_are_quoted_for_the_shell() {
        assert_eq!(shell_word("dev-1"), "dev-1");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
