//! Why there are no credentials: each cause with its own words and its own way out.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{Source, shell_word};
use crate::explain::{ExitCode, Explain};

/// Why no credentials were found. Nothing was sent. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing anywhere.
    #[error("no credentials were found")]
    None {
        /// What was looked at, and what was there, in the order of looking.
        looked_at: Vec<String>,
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
    #[error("the configuration file {} is of no use: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// A field that the mode needs is missing.
    #[error("{source_of_it} has no {field}")]
    MissingField {
        /// The profile.
        source_of_it: Source,
        /// The field's name.
        field: &'static str,
    },
    /// A key, secret or token has characters that none can have.
    #[error("{part} from {source_of_it} is not one")]
    Malformed {
        /// Which part it is.
        part: &'static str,
        /// Where it came from.
        source_of_it: Source,
    },
    /// The mode is known, or not, and this program cannot use it.
    #[error(
        "mode {mode} is not supported{} (profile '{name}' of {})",
        if *planned { " yet" } else { "" },
        file.display()
    )]
    UnsupportedMode {
        /// The profile's name.
        name: String,
        /// The file it stands in.
        file: PathBuf,
        /// The mode, as it is written there.
        mode: String,
        /// Whether it is a mode that the vendor's tools know and that will be supported.
        planned: bool,
    },
    /// The environment points at a source that this program cannot use.
    #[error(
        "the environment asks for credentials by {mode} ({variable}), which is not supported yet"
    )]
    UnsupportedVariable {
        /// The variable that asks for it.
        variable: String,
        /// The mode that would be.
        mode: &'static str,
    },
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
    /// The temporary credentials are over.
    #[error("the temporary credentials of {source_of_it} have expired")]
    Expired {
        /// The profile.
        source_of_it: Source,
        /// `sts_expiration`.
        at: SystemTime,
        /// The time it was held against.
        now: SystemTime,
    },
}

impl Explain for Error {
    fn why(&self) -> Option<String> {
        match self {
            Self::None { looked_at } => Some(format!("looked at:\n{}", looked_at.join("\n"))),
            Self::UnknownProfile { asked_by, files, names, .. } => {
                let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
                Some(match (files.is_empty(), names.is_empty()) {
                    (true, _) => format!("{asked_by} asks for it, and there is no profile file"),
                    (_, true) => {
                        format!("{asked_by} asks for it; {} has no profiles", files.join(" and "))
                    }
                    _ => format!(
                        "{asked_by} asks for it; {} has: {}",
                        files.join(" and "),
                        names.join(", ")
                    ),
                })
            }
            Self::NoFile { asked_by, .. } => Some(format!("{asked_by} names it")),
            Self::Malformed { .. } => {
                Some("it is empty, or has blanks, line breaks or characters beyond ASCII".into())
            }
            Self::Expired { at, now, .. } => {
                let ago = now.duration_since(*at).unwrap_or_default();
                let ago = std::time::Duration::from_secs(ago.as_secs());
                Some(format!(
                    "sts_expiration is {}, {} ago",
                    humantime::format_rfc3339_seconds(*at),
                    humantime::format_duration(ago)
                ))
            }
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::None { .. } => "run `aliyun configure`, or set ALIBABA_CLOUD_ACCESS_KEY_ID and \
                                  ALIBABA_CLOUD_ACCESS_KEY_SECRET"
                .into(),
            Self::UnknownProfile { name, .. } => format!(
                "correct the name, or make the profile with: aliyun configure --profile {}",
                shell_word(name)
            ),
            Self::NoFile { .. } => {
                "correct the path, or leave it out to use ~/.aliyun/config.json".into()
            }
            Self::Unreadable { path, problem } => match problem.kind() {
                std::io::ErrorKind::PermissionDenied => format!(
                    "make it yours and readable: chown $USER {0} && chmod 600 {0}",
                    shell_word(&path.to_string_lossy())
                ),
                _ => "correct it, or name another file with --config".into(),
            },
            Self::Unusable { .. } => "correct it in an editor, name another file with --config, or \
                                      move it away and run `aliyun configure`"
                .into(),
            Self::MissingField { source_of_it, .. } | Self::Malformed { source_of_it, .. } => {
                source_of_it.renewal()
            }
            Self::UnsupportedMode { .. } => "meanwhile use a profile of mode AK or StsToken \
                 (--profile), or put temporary keys into ALIBABA_CLOUD_ACCESS_KEY_ID, \
                 ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN and name no profile"
                .into(),
            Self::UnsupportedVariable { variable, .. } => format!(
                "meanwhile name a profile of mode AK or StsToken with --profile, or put temporary \
                 keys into ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and \
                 ALIBABA_CLOUD_SECURITY_TOKEN; without {variable} the current profile is used"
            ),
            Self::HalfSet { set, missing } => format!("set {missing} too, or unset {set}"),
            Self::NotText { variable } => format!("set {variable} anew"),
            Self::Expired { source_of_it, .. } => {
                format!("get new temporary credentials, and {}", source_of_it.renewal())
            }
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }
}
