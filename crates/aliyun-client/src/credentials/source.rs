//! Where credentials come from, in words.

use std::fmt;
use std::path::PathBuf;

use super::ini;

/// Where credentials came from. `Display` says it in words.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A section of the ini file of the vendor's SDKs.
    Section {
        /// The section's name.
        name: String,
        /// The file.
        file: PathBuf,
        /// The mode that a profile would have for its type, such as `AK`.
        mode: Box<str>,
    },
    /// What a program of mode External has printed.
    Answer {
        /// The profile that runs the program.
        of: Box<Source>,
        /// The mode that it has printed, such as `RamRoleArn`.
        mode: Box<str>,
    },
    /// The metadata service of the instance that this program runs on, where no other source is set.
    Instance,
    /// Keys in environment variables.
    Environment {
        /// The variable that holds the access key id.
        variable: String,
        /// Whether there is a security token too.
        temporary: bool,
    },
    /// Environment variables that say where to get keys.
    Variables {
        /// The mode that a profile would have for it, such as `OIDC`.
        mode: &'static str,
        /// The variables.
        names: Vec<String>,
    },
    /// A provider of the program's own.
    Custom {
        /// What it is called in messages.
        name: String,
    },
}

impl Source {
    /// The mode: that of the profile, or that which a profile would have.
    pub fn mode(&self) -> &str {
        match self {
            Self::Profile { mode, .. } => mode,
            Self::Section { mode, .. } | Self::Answer { mode, .. } => mode,
            Self::Instance => "EcsRamRole",
            Self::Environment { temporary: true, .. } => "StsToken",
            Self::Environment { .. } => "AK",
            Self::Variables { mode, .. } => mode,
            Self::Custom { name } => name,
        }
    }

    /// What a setting of it is called there: a field of the profile, or the variable that stands in
    /// its place.
    pub fn setting(&self, field: &'static str) -> String {
        if let Self::Section { .. } = self {
            return ini::section_field(field).to_owned();
        }
        let variable = match field {
            "ram_role_arn" => "ROLE_ARN",
            "ram_session_name" => "ROLE_SESSION_NAME",
            "oidc_provider_arn" => "OIDC_PROVIDER_ARN",
            "oidc_token_file" => "OIDC_TOKEN_FILE",
            "ram_role_name" => "ECS_METADATA",
            "credentials_uri" => "CREDENTIALS_URI",
            _ => return field.to_owned(),
        };
        match self {
            Self::Variables { names, .. } => {
                let found = names.iter().find(|name| name.ends_with(variable));
                found.cloned().unwrap_or_else(|| field.to_owned())
            }
            _ => field.to_owned(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile { name, file, mode } => {
                write!(f, "profile '{name}' of {} (mode {mode})", file.display())
            }
            Self::Section { name, file, mode } => {
                let kind = ini::type_of(mode);
                write!(f, "section [{name}] of {} (type {kind})", file.display())
            }
            Self::Answer { of, mode } => match &**of {
                Self::Profile { name, file, .. } => {
                    let file = file.display();
                    write!(
                        f,
                        "the output of process_command of profile '{name}' of {file} (mode {mode})"
                    )
                }
                of => write!(f, "the output of process_command of {of} (mode {mode})"),
            },
            Self::Instance => f.write_str("the metadata service of this instance"),
            Self::Environment { variable, .. } => write!(f, "the environment ({variable})"),
            Self::Custom { name } => f.write_str(name),
            Self::Variables { mode, names } => {
                write!(f, "the environment ({}: {})", mode, names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(mode: &str) -> Source {
        Source::Profile { name: "a b".into(), file: "/f".into(), mode: mode.into() }
    }

    #[test]
    fn settings_have_the_names_that_they_have_there() {
        let names = vec!["ALICLOUD_CREDENTIALS_URI".to_owned()];
        let source = Source::Variables { mode: "CredentialsURI", names };
        assert_eq!(
            source.to_string(),
            "the environment (CredentialsURI: ALICLOUD_CREDENTIALS_URI)"
        );
        assert_eq!(source.setting("credentials_uri"), "ALICLOUD_CREDENTIALS_URI");
        assert_eq!(profile("CredentialsURI").setting("credentials_uri"), "credentials_uri");
    }
}
