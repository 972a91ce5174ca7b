//! Who calls the API: the vendor's profile file and the environment, in the vendor's order.
//!
//! [`resolve`] reads; nothing here sends or writes. Modes `AK` and `StsToken` are supported; the
//! others are known by name and refused with what to do meanwhile.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use secrecy::SecretString;

mod chain;
mod env;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod profile;

pub(crate) use chain::in_home;
pub use chain::resolve;
pub use error::Error;

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

    /// Where they came from.
    pub fn source(&self) -> &Source {
        &self.source
    }
}

/// Where credentials came from. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A profile of a file.
    Profile {
        /// The profile's name.
        name: String,
        /// The file it stands in.
        file: PathBuf,
        /// Its mode, such as `AK`.
        mode: String,
    },
    /// Environment variables.
    Environment {
        /// The variable that holds the access key id.
        variable: String,
        /// Whether there is a security token too.
        temporary: bool,
    },
}

impl Source {
    /// How to renew the credentials where they are: a sentence without a final period.
    pub fn renewal(&self) -> String {
        match self {
            Self::Profile { name, mode, .. } => {
                let name = shell_word(name);
                format!("renew the profile with: aliyun configure --mode {mode} --profile {name}")
            }
            Self::Environment { variable, temporary } => {
                let prefix = variable.trim_end_matches("ACCESS_KEY_ID");
                let mut names = format!("{variable}, {prefix}ACCESS_KEY_SECRET");
                if *temporary {
                    names.push_str(&format!(" and {prefix}SECURITY_TOKEN"));
                }
                format!("set {names} anew, or unset them to use a profile")
            }
        }
    }

    /// How to give temporary credentials the security token that they lack: a sentence without a
    /// final period.
    pub fn add_token(&self) -> String {
        match self {
            Self::Profile { name, .. } => format!(
                "make it a profile of temporary credentials with: aliyun configure --mode StsToken \
                 --profile {}",
                shell_word(name)
            ),
            Self::Environment { variable, .. } => {
                format!("set {}SECURITY_TOKEN too", variable.trim_end_matches("ACCESS_KEY_ID"))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile { name, file, mode } => {
                write!(f, "profile '{name}' of {} (mode {mode})", file.display())
            }
            Self::Environment { variable, .. } => write!(f, "the environment ({variable})"),
        }
    }
}

/// Where to look for credentials.
#[derive(Clone)]
pub struct Query<'a> {
    /// `--profile`.
    pub profile: Option<&'a str>,
    /// `--config`.
    pub config: Option<&'a Path>,
    /// Reads an environment variable: `&|name| std::env::var_os(name)`.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The time now, against which expirations are held.
    pub now: SystemTime,
    /// The home folder, in which `.aliyun` is looked for.
    pub home: Option<PathBuf>,
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("profile", &self.profile)
            .field("config", &self.config)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// What [`resolve`] found. Region and endpoint are as they were written, not yet checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What signs the calls.
    pub credentials: Credentials,
    /// From the environment, else the profile's `region_id`.
    pub region: Option<String>,
    /// From `ALIBABA_CLOUD_ENDPOINT`, else the profile's `endpoint`.
    pub endpoint: Option<String>,
    /// The profile's `endpoint_type`, such as `vpc`.
    pub endpoint_type: Option<String>,
}

/// A name as it has to be typed into a shell.
fn shell_word(text: &str) -> String {
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
    fn names_are_quoted_for_the_shell() {
        assert_eq!(shell_word("dev-1"), "dev-1");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
