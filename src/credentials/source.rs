//! Where credentials come from, in words, and what to do about them there.

use std::fmt;
use std::path::PathBuf;

use super::{ini, shell_word};

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
        }
    }

    /// How to renew the credentials where they are: a sentence without a final period.
    pub fn renewal(&self) -> String {
        match self {
            Self::Profile { name, mode, .. } => {
                let name = shell_word(name);
                match mode.as_str() {
                    // Its mode is not asked for again: signing in is all that there is to do.
                    "CloudSSO" => format!("sign in again with: aliyun configure --profile {name}"),
                    "OAuth" => {
                        format!(
                            "sign in again with: aliyun configure --mode OAuth --profile {name}"
                        )
                    }
                    _ => format!(
                        "renew the profile with: ecs-bridge configure --mode {} --profile {name}",
                        shell_word(mode)
                    ),
                }
            }
            Self::Section { name, file, .. } => {
                format!("correct section [{name}] of {}", file.display())
            }
            Self::Answer { of, .. } => match &**of {
                Self::Profile { name, .. } => {
                    format!("correct what process_command of profile {} prints", shell_word(name))
                }
                _ => "correct what process_command prints".to_owned(),
            },
            Self::Instance => "use a profile (--profile)".to_owned(),
            Self::Environment { variable, temporary } => {
                let prefix = variable.trim_end_matches("ACCESS_KEY_ID");
                let mut names = format!("{variable}, {prefix}ACCESS_KEY_SECRET");
                if *temporary {
                    names.push_str(&format!(" and {prefix}SECURITY_TOKEN"));
                }
                format!("set {names} anew, or unset them to use a profile")
            }
            Self::Variables { names, .. } => {
                format!("correct {}, or name a profile with --profile", names.join(", "))
            }
        }
    }

    /// How to give temporary credentials the security token that they lack: a sentence without a
    /// final period.
    pub fn add_token(&self) -> String {
        match self {
            Self::Profile { name, .. } => format!(
                "make it a profile of temporary credentials with: ecs-bridge configure --mode \
                 StsToken --profile {}",
                shell_word(name)
            ),
            Self::Environment { variable, .. } => {
                format!("set {}SECURITY_TOKEN too", variable.trim_end_matches("ACCESS_KEY_ID"))
            }
            Self::Section { name, file, .. } => format!(
                "put the keys into a profile with: ecs-bridge configure --mode StsToken; section \
                 [{name}] of {} cannot hold a token",
                file.display()
            ),
            Self::Answer { .. } | Self::Instance | Self::Variables { .. } => self.renewal(),
        }
    }

    /// What a setting of it is called there: a field of the profile, or the variable that stands in
    /// its place.
    pub(super) fn setting(&self, field: &'static str) -> String {
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
    fn each_says_how_to_renew_it() {
        for (mode, fix) in [
            ("AK", "renew the profile with: ecs-bridge configure --mode AK --profile 'a b'"),
            ("CloudSSO", "sign in again with: aliyun configure --profile 'a b'"),
            ("OAuth", "sign in again with: aliyun configure --mode OAuth --profile 'a b'"),
        ] {
            assert_eq!(profile(mode).renewal(), fix);
        }
        let names = vec!["ALICLOUD_CREDENTIALS_URI".to_owned()];
        let source = Source::Variables { mode: "CredentialsURI", names };
        assert!(source.renewal().starts_with("correct ALICLOUD_CREDENTIALS_URI, or"));
        assert_eq!(
            source.to_string(),
            "the environment (CredentialsURI: ALICLOUD_CREDENTIALS_URI)"
        );
        assert_eq!(source.setting("credentials_uri"), "ALICLOUD_CREDENTIALS_URI");
        assert_eq!(profile("CredentialsURI").setting("credentials_uri"), "credentials_uri");
    }
}
