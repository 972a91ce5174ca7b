//! What credentials are looked for with, and what is found.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::credential_source::CredentialSource;
use super::env::Environment;
use super::host::Host;

/// Where to look for credentials.
#[derive(Clone)]
pub struct Query<'a> {
    /// The name of the profile that is asked for.
    pub profile: Option<Setting>,
    /// The region that is asked for, where STS is asked too.
    pub region: Option<Setting>,
    /// The file that profiles are read from.
    pub config: Option<Setting<PathBuf>>,
    /// Reads an environment variable: `&|name| std::env::var_os(name)`.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The time now, against which expirations are held.
    pub now: SystemTime,
    /// The home folder, in which `.aliyun` is looked for.
    pub home: Option<PathBuf>,
    /// The file that the profile has to be of, where others may have one of its name. If that is the ini
    /// file of the vendor's SDKs, no profile file is read.
    pub file: Option<PathBuf>,
    /// The program.
    pub host: &'a dyn Host,
}

impl Query<'_> {
    /// Asks for one profile of one file, whatever the environment says.
    pub fn of_profile(name: Setting, file: Setting<PathBuf>) -> Self {
        Self {
            profile: Some(name),
            region: None,
            config: Some(file),
            env: &|_| None,
            now: SystemTime::now(),
            home: home(),
            file: None,
            host: &(),
        }
    }

    /// The variables of the environment.
    pub(super) fn environment(&self) -> Environment<'_> {
        Environment { get: self.env, host: self.host }
    }
}

/// What [`resolve`](super::resolve) found. Region and endpoint are as they were written, not yet checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The source of the credentials that sign the calls.
    pub credential_source: CredentialSource,
    /// From the [`Query`], else the environment, else the profile's `region_id`.
    pub region: Option<Setting>,
    /// From `ALIBABA_CLOUD_ENDPOINT`, else the profile's `endpoint`.
    pub endpoint: Option<Setting>,
    /// The profile's `endpoint_type`, such as `vpc`.
    pub endpoint_type: Option<Setting>,
}

/// A value, and where it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting<T = String> {
    /// The value.
    pub value: T,
    /// An option, a variable, or a field of a profile, in words for messages.
    pub origin: String,
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// A path where no shell has put the home folder in place of a tilde, as of a variable.
pub fn in_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}
