//! Why there are no credentials: each cause with its own words and its own way out. What a source
//! has to say of itself is in its own file.

use std::path::PathBuf;
use std::time::SystemTime;

use super::chain::listed;
use super::mode::Mode;
use super::{
    FetchProblem, LoginProblem, MetadataProblem, Source, UriProblem, external, ini, shell_word,
};
use crate::cloud::{self, EndpointError};
use crate::explain::{ExitCode, Explain};

/// Why there are no credentials. No variant holds a secret.
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
    #[error("{source_of_it} has no {}", source_of_it.setting(field))]
    MissingField {
        /// The profile.
        source_of_it: Source,
        /// The field's name.
        field: &'static str,
    },
    /// A key, secret or token has characters that none can have.
    #[error("{part} from {source_of_it} is malformed")]
    Malformed {
        /// Which part it is.
        part: &'static str,
        /// Where it came from.
        source_of_it: Source,
    },
    /// The mode is one that this program cannot use.
    #[error("{source_of_it} cannot be used: its {} is not supported", source_of_it.setting("mode"))]
    UnsupportedMode {
        /// The profile.
        source_of_it: Source,
    },
    /// The output of a program leads to a program.
    #[error("{source_of_it} is circular")]
    ProgramInAnswer {
        /// The output, or a profile that it takes its keys from.
        source_of_it: Source,
    },
    /// Programs must not be run for credentials here.
    #[error("{source_of_it} cannot be used: {variable} forbids running programs for credentials")]
    ProgramForbidden {
        /// The profile.
        source_of_it: Source,
        /// The variable that forbids it.
        variable: String,
    },
    /// A field, or the variable in its place, has an invalid value.
    #[error("{} of {source_of_it} is invalid: {problem}", source_of_it.setting(field))]
    BadField {
        /// The profile or the variables.
        source_of_it: Source,
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
    /// The URL that a variable gives is none.
    #[error("{variable} is invalid: {problem}")]
    BadUrl {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
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
    #[error("source_profile of {source_of_it} names '{name}', which does not exist")]
    UnknownSourceProfile {
        /// The profile.
        source_of_it: Source,
        /// What it names.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// Profiles that take their keys from each other.
    #[error("source_profile of {source_of_it} is circular")]
    Cycle {
        /// The profile that closes it.
        source_of_it: Source,
        /// The names of the profiles, from one to itself.
        path: Vec<String>,
    },
    /// A profile whose keys another one needs has none.
    #[error("{error}")]
    OnTheWay {
        /// The profiles, each of which takes its keys from the next.
        way: Vec<Source>,
        /// Why it has none.
        error: Box<Error>,
    },
    /// The credentials URI gives none.
    #[error("the credentials URI at {at} gives no credentials for {source_of_it}: {problem}")]
    Uri {
        /// What names it.
        source_of_it: Source,
        /// Scheme, host and port; the rest may be a secret.
        at: String,
        /// Why it gives none.
        problem: Box<super::UriProblem>,
    },
    /// The metadata service gives none.
    #[error("the metadata service at {at} gives no credentials for {source_of_it}: {problem}")]
    Metadata {
        /// What names it.
        source_of_it: Source,
        /// Where it was asked.
        at: String,
        /// Why it gives none.
        problem: Box<super::MetadataProblem>,
    },
    /// The program gives none.
    #[error("process_command of {source_of_it} gives no credentials: {problem}")]
    External {
        /// The profile.
        source_of_it: Source,
        /// Why it gives none.
        problem: super::ExternalProblem,
    },
    /// The service that somebody has signed in to gives none.
    #[error("{at} does not renew the credentials of {source_of_it}: {problem}")]
    Login {
        /// The profile.
        source_of_it: Source,
        /// The service.
        at: String,
        /// Why it gives none.
        problem: Box<super::LoginProblem>,
    },
    /// The file with the token of an identity provider cannot be used.
    #[error("the OIDC token of {source_of_it} cannot be read from {}: {problem}", path.display())]
    OidcToken {
        /// What names it.
        source_of_it: Source,
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// STS gives none.
    #[error("no credentials by STS for {source_of_it}: {error}")]
    Sts {
        /// What asks for the role.
        source_of_it: Source,
        /// Why the call failed.
        error: Box<cloud::Error>,
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
    #[error(transparent)]
    Unwritten(#[from] crate::platform::replace::Error),
    /// Somebody else has changed it while its user was asked.
    #[error("profile '{name}' of {} was changed meanwhile: nothing was written", path.display())]
    Changed {
        /// The profile's name.
        name: String,
        /// The file it stands in.
        path: PathBuf,
    },
    /// Nowhere to look for the file, and nowhere to write it.
    #[error("no configuration file was named, and no home folder is known (HOME)")]
    NoHome,
    /// The temporary credentials are over.
    #[error("the temporary credentials of {source_of_it} have expired")]
    Expired {
        /// The profile.
        source_of_it: Source,
        /// The field that says so.
        field: &'static str,
        /// When.
        at: SystemTime,
        /// The time it was held against.
        now: SystemTime,
    },
}

impl Explain for Error {
    fn why(&self) -> Option<String> {
        match self {
            Self::None { looked_at } => Some(format!("looked at:\n{}", looked_at.join("\n"))),
            Self::UnknownProfile { asked_by, files, names, forbidden_by, .. } => {
                let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
                let why = match (files.is_empty(), names.is_empty()) {
                    (true, _) => format!("{asked_by} asks for it, and there is no profile file"),
                    (_, true) => {
                        format!("{asked_by} asks for it; no profiles in {}", files.join(" and "))
                    }
                    _ => format!(
                        "{asked_by} asks for it; {} {}: {}",
                        files.join(" and "),
                        if files.len() == 1 { "has" } else { "have" },
                        listed(names)
                    ),
                };
                Some(match forbidden_by {
                    Some(variable) => {
                        format!("{why}; profile files are not read because {variable} is set")
                    }
                    None => why,
                })
            }
            Self::NoFile { asked_by, .. } => Some(format!("{asked_by} names it")),
            Self::Unwritten(error) => error.why(),
            Self::Malformed { .. } => {
                Some("it is empty, or has blanks, line breaks or characters beyond ASCII".into())
            }
            Self::Expired { field, at, now, .. } => {
                let ago = now.duration_since(*at).unwrap_or_default();
                let ago = std::time::Duration::from_secs(ago.as_secs());
                Some(format!(
                    "{field} is {}, {} ago",
                    humantime::format_rfc3339_seconds(*at),
                    humantime::format_duration(ago)
                ))
            }
            Self::UnknownSourceProfile { names, .. } => Some(match names.is_empty() {
                true => "there are no profiles beside it".to_owned(),
                false => format!("there are: {}", listed(names)),
            }),
            Self::Cycle { path, .. } => Some(format!(
                "each takes its keys from the next: {}",
                path.iter().map(|name| shell_word(name)).collect::<Vec<_>>().join(" → ")
            )),
            Self::OnTheWay { way, error } => {
                let way: Vec<_> = way.iter().take(20).map(ToString::to_string).collect();
                let way = way.join(" takes its keys from ");
                Some(match error.why() {
                    Some(why) => format!("{why}; {way}"),
                    None => way,
                })
            }
            Self::UnsupportedMode { source_of_it: Source::Section { .. } } => {
                let types = ini::TYPES.map(|(name, _)| name).join(", ");
                Some(format!("supported are {types}"))
            }
            Self::UnsupportedMode { source_of_it } => {
                let is_answer = matches!(source_of_it, Source::Answer { .. });
                Some(format!("supported are {}", Mode::names(is_answer)))
            }
            Self::ProgramInAnswer { .. } => {
                Some("the output of a program may not lead to a program again".into())
            }
            Self::BadEndpoint { problem, .. } => problem.why(),
            Self::Metadata { problem, .. } => match **problem {
                MetadataProblem::NoAnswer(_) => Some("it is there on ECS instances alone".into()),
                _ => None,
            },
            Self::Sts { error, .. } => error.why(),
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::None { .. } => {
                "run `ecs-bridge configure`, or set ALIBABA_CLOUD_ACCESS_KEY_ID and \
                                  ALIBABA_CLOUD_ACCESS_KEY_SECRET"
                    .into()
            }
            Self::UnknownProfile { name, .. } => format!(
                "correct the name, or make the profile with: ecs-bridge configure --profile {}",
                shell_word(name)
            ),
            Self::NoFile { asked_by, .. } if asked_by.ends_with("CREDENTIALS_FILE") => {
                format!("correct or unset {asked_by}")
            }
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
            Self::Unusable { .. } => {
                "correct it, name another file with --config, or move it away and run \
                 `ecs-bridge configure`"
                    .into()
            }
            Self::ProgramForbidden { variable, .. } => {
                format!("unset {variable}, or use a profile of another mode (--profile)")
            }
            Self::MissingField { source_of_it, .. } | Self::Malformed { source_of_it, .. } => {
                source_of_it.renewal()
            }
            Self::UnsupportedMode { .. } => "use a profile of another mode (--profile), or put \
                 temporary keys into ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET \
                 and ALIBABA_CLOUD_SECURITY_TOKEN and name no profile"
                .into(),
            Self::BadField { source_of_it, .. } => match source_of_it {
                Source::Profile { .. } => {
                    format!("correct it there, or {}", source_of_it.renewal())
                }
                _ => source_of_it.renewal(),
            },
            Self::BadEndpoint { variable, problem } => match problem.remedy() {
                Some(remedy) => format!("{remedy}; without {variable} the service's own is used"),
                None => format!("correct or unset {variable}"),
            },
            Self::BadUrl { variable, .. } => format!("correct or unset {variable}"),
            Self::BadVariable { variable, .. } => format!("correct or unset {variable}"),
            Self::UnknownSourceProfile { name, .. } => format!(
                "correct source_profile, or make the profile with: ecs-bridge configure --profile {}",
                shell_word(name)
            ),
            Self::ProgramInAnswer { .. } => {
                format!("run process_command by hand: {}", external::ACCEPTED)
            }
            Self::Cycle { source_of_it, .. } => format!(
                "let one of them have keys of its own, as a profile of another mode, or {}",
                source_of_it.renewal()
            ),
            Self::OnTheWay { error, .. } => return error.remedy(),
            Self::Uri { problem, source_of_it, .. } => match &**problem {
                UriProblem::NoAnswer(problem) if !matches!(problem, FetchProblem::TooLarge(_)) => {
                    problem.remedy().unwrap_or_else(|| {
                        format!(
                            "start what serves it, or correct {}",
                            source_of_it.setting("credentials_uri")
                        )
                    })
                }
                _ => format!(
                    "open it with curl: it has to answer 200 with a JSON object of AccessKeyId, \
                     AccessKeySecret, SecurityToken and Expiration; or correct {}",
                    source_of_it.setting("credentials_uri")
                ),
            },
            Self::Metadata { problem, source_of_it, .. } => {
                let setting = source_of_it.setting("ram_role_name");
                match **problem {
                    MetadataProblem::NoRole(Some(_)) => {
                        format!(
                            "correct {setting}, or leave it out to use the one that is attached"
                        )
                    }
                    MetadataProblem::NoRole(None) => {
                        "attach a RAM role to the instance: ECS console, instance, \
                         Attach/Detach RAM Role"
                            .into()
                    }
                    MetadataProblem::NoToken {
                        status: 404 | 405,
                        needed_by: Some(ref variable),
                    } => format!("unset {variable}: this metadata service does not know of tokens"),
                    MetadataProblem::NoAnswer(_) => {
                        "elsewhere use a profile of another mode (--profile)".into()
                    }
                    _ => "try again; if it stays so, look at the metadata service with curl".into(),
                }
            }
            Self::External { problem, .. } => problem.remedy(),
            Self::Login { source_of_it, problem, .. } => match &**problem {
                LoginProblem::NoAnswer(problem) => problem
                    .remedy()
                    .unwrap_or_else(|| "check this machine's network, and try again".into()),
                LoginProblem::Ended(_) | LoginProblem::Gone => source_of_it.renewal(),
                _ => format!("try again; if it stays so, {}", source_of_it.renewal()),
            },
            Self::OidcToken { source_of_it, .. } => format!(
                "see that whoever issues the tokens writes them there, or correct {}",
                source_of_it.setting("oidc_token_file")
            ),
            Self::Sts { error, .. } => return error.remedy(),
            Self::Stopped => "try again".into(),
            Self::HalfSet { set, missing } => format!("set {missing} too, or unset {set}"),
            Self::NotText { variable } => format!("set {variable} anew"),
            Self::Unwritten(error) => return error.remedy(),
            Self::Changed { .. } => "look at it, and try again".into(),
            Self::NoHome => "name a file with --config".into(),
            Self::Expired { source_of_it, .. } => match source_of_it.mode() {
                // That is what gets them.
                "CloudSSO" | "OAuth" => source_of_it.renewal(),
                _ => format!("get new temporary credentials, and {}", source_of_it.renewal()),
            },
        })
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::OnTheWay { error, .. } => error.request_id(),
            Self::Sts { error, .. } => error.request_id(),
            _ => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::OnTheWay { error, .. } => error.exit_code(),
            Self::Sts { error, .. } => error.exit_code(),
            Self::Stopped => ExitCode::Failed,
            _ => ExitCode::Config,
        }
    }
}
