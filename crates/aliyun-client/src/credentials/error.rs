//! Why there are no credentials. What a source has to say of itself is in its own file.

use std::path::PathBuf;
use std::time::SystemTime;

use super::problem::{ExternalProblem, LoginProblem, LookedAt, MetadataProblem, UriProblem};
use super::source::Source;
use crate::cause::Cause;
use crate::endpoint::EndpointError;
use crate::openapi::error::Error as CallError;

/// The variable that names the user's home folder.
pub const HOME_VARIABLE: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// Why there are no credentials. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing anywhere.
    #[error("no credentials were found")]
    None {
        /// What was looked at, and what was there, in the order of looking.
        looked_at: Vec<LookedAt>,
    },
    /// The profile asked for is in no file.
    #[error("there is no profile '{name}'")]
    UnknownProfile {
        /// The profile's name.
        name: String,
        /// What asked for it: a flag, a variable, or `current` of a file.
        asked_by: String,
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The names there are.
        names: Vec<String>,
        /// The variable because of which the profile files were not read.
        forbidden_by: Option<Box<str>>,
    },
    /// The file given by hand does not exist.
    #[error("the configuration file {} does not exist", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// What named it: a flag or a variable.
        asked_by: String,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        problem: std::io::Error,
    },
    /// The file is a folder, empty, too large, or not what it should be.
    #[error("the configuration file {} is invalid: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// A field that the mode needs is missing.
    #[error("{origin} has no {}", origin.setting(field))]
    MissingField {
        /// The profile.
        origin: Source,
        /// The field's name.
        field: &'static str,
    },
    /// A key, secret or token is empty, or has a character that no header can carry.
    #[error("{part} from {origin} is malformed")]
    Malformed {
        /// Which part it is.
        part: &'static str,
        /// Where it came from.
        origin: Source,
    },
    /// The mode is one that this program cannot use.
    #[error("{origin} cannot be used: its {} is not supported", origin.setting("mode"))]
    UnsupportedMode {
        /// The profile.
        origin: Source,
    },
    /// The output of a program leads to a program.
    #[error("{origin} is circular")]
    ProgramInAnswer {
        /// The output, or a profile that it takes its keys from.
        origin: Source,
    },
    /// Programs must not be run for credentials here.
    #[error("{origin} cannot be used: {variable} forbids running programs for credentials")]
    ProgramForbidden {
        /// The profile.
        origin: Source,
        /// The variable that forbids it.
        variable: String,
    },
    /// A field, or the variable in its place, has an invalid value.
    #[error("{} of {origin} is invalid: {problem}", origin.setting(field))]
    BadField {
        /// The profile or the variables.
        origin: Source,
        /// The field's name.
        field: &'static str,
        /// What is wrong with it; never the value itself, where it may be a secret.
        problem: String,
    },
    /// The endpoint of STS that a variable gives is none.
    #[error("{variable} is invalid: {problem}")]
    BadEndpoint {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: EndpointError,
    },
    /// A variable has a value that is invalid.
    #[error("{variable} is invalid: {problem}")]
    BadVariable {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        problem: String,
    },
    /// source_profile names a profile that does not exist.
    #[error("source_profile of {origin} names '{name}', which does not exist")]
    UnknownSourceProfile {
        /// The profile.
        origin: Source,
        /// What it names.
        name: String,
        /// The names there are.
        names: Box<[String]>,
    },
    /// Profiles that take their keys from each other.
    #[error("source_profile of {origin} is circular")]
    Cycle {
        /// The profile that closes it.
        origin: Source,
        /// The names of the profiles, from one to itself.
        path: Vec<String>,
    },
    /// The source of the keys of a profile failed.
    #[error("{error}")]
    InSourceChain {
        /// The sources, each of which takes its keys from the next.
        chain: Vec<Source>,
        /// Why the last one failed.
        error: Box<Error>,
    },
    /// The credentials URI gives none.
    #[error("the credentials URI at {at} gives no credentials for {origin}: {problem}")]
    Uri {
        /// What names it.
        origin: Source,
        /// Scheme, host and port; the rest may be a secret.
        at: String,
        /// Why it gives none.
        problem: Box<UriProblem>,
    },
    /// The metadata service gives none.
    #[error("the metadata service at {at} gives no credentials for {origin}: {problem}")]
    Metadata {
        /// What names it.
        origin: Source,
        /// Where it was asked.
        at: String,
        /// Why it gives none.
        problem: Box<MetadataProblem>,
    },
    /// The program gives none.
    #[error("process_command of {origin} gives no credentials: {problem}")]
    External {
        /// The profile.
        origin: Source,
        /// Why it gives none.
        problem: Box<ExternalProblem>,
    },
    /// The service that somebody has signed in to gives none.
    #[error("{at} does not renew the credentials of {origin}: {problem}")]
    Login {
        /// The profile.
        origin: Source,
        /// The service.
        at: String,
        /// Why it gives none.
        problem: Box<LoginProblem>,
    },
    /// The file with the token of an identity provider cannot be used.
    #[error("the OIDC token of {origin} cannot be read from {}: {problem}", path.display())]
    OidcToken {
        /// What names it.
        origin: Source,
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: Box<str>,
    },
    /// STS gives none.
    #[error("no credentials by STS for {origin}: {error}")]
    Sts {
        /// What asks for the role.
        origin: Source,
        /// Why the call failed.
        error: Box<CallError>,
    },
    /// This program was ended meanwhile.
    #[error("the credentials were not awaited to the end")]
    Stopped,
    /// Only one half of the key is in the environment.
    #[error("{set} is set, but {missing} is not")]
    HalfSet {
        /// The variable that is set.
        set: String,
        /// The variable that is missing.
        missing: String,
    },
    /// A variable's value is not UTF-8.
    #[error("the value of {variable} is not text")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// The file cannot be changed.
    #[error("{0}")]
    Unwritten(Cause),
    /// Somebody else has changed it while its user was asked.
    #[error("profile '{name}' of {} was changed meanwhile: nothing was written", path.display())]
    Changed {
        /// The profile's name.
        name: String,
        /// The file it stands in.
        path: PathBuf,
    },
    /// Nowhere to look for the file, and nowhere to write it.
    #[error("no configuration file was named, and no home folder is known ({})", HOME_VARIABLE)]
    NoHome,
    /// The temporary credentials have expired.
    #[error("the temporary credentials of {origin} have expired")]
    Expired {
        /// The profile.
        origin: Box<Source>,
        /// The field that says so.
        field: &'static str,
        /// When.
        at: SystemTime,
        /// The time it was held against.
        now: SystemTime,
    },
}

impl Error {
    /// What is wrong with a profile, in a few words for a list of them.
    pub fn in_short(&self) -> String {
        match self {
            Self::MissingField { field, .. } => format!("lacks {field}"),
            Self::UnsupportedMode { origin } => {
                format!("mode {} is not supported", origin.mode())
            }
            Self::Malformed { part, .. } => format!("{part} is malformed"),
            Self::BadField { field, problem, .. } => format!("{field} is invalid: {problem}"),
            Self::UnknownSourceProfile { name, .. } => format!("there is no profile '{name}'"),
            Self::Cycle { .. } => "source_profile is circular".to_owned(),
            Self::Expired { .. } => "expired".to_owned(),
            Self::InSourceChain { chain, error } => match chain.last() {
                Some(Source::Profile { name, .. }) => {
                    format!("profile '{name}': {}", error.in_short())
                }
                _ => error.in_short(),
            },
            other => other.to_string(),
        }
    }

    /// The error of `source`, with the `chain` of sources that take their keys from it, each from the
    /// next.
    pub(super) fn in_source_chain(self, mut chain: Vec<Source>, source: Source) -> Self {
        chain.push(source);
        // A profile that has its own keys for its role.
        chain.dedup();
        match chain.len() {
            1 => self,
            _ => Self::InSourceChain { chain, error: Box::new(self) },
        }
    }
}
