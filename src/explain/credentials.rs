//! Why there are no credentials: each cause with its own way out.

use super::cause::explained;
use super::failure::{ExitCode, Explain};
use super::source::renewal;
use crate::credentials::{
    self, Error, ExternalProblem, FetchProblem, LoginProblem, LookedAt, MetadataProblem, Source,
    UriProblem, listed, shell_word,
};

/// What the program may print.
const ACCEPTED: &str = "it has to print one JSON object and nothing else: a profile of any \
    mode but External, with mode (AK or StsToken), access_key_id, access_key_secret and sts_token, or \
    with the fields of another mode; expiration, if it is there, says until when to use it";

/// How a file gets its owner's rights, by commands of the system.
fn readable(path: &str, on_windows: bool) -> String {
    match on_windows {
        // As cmd.exe and PowerShell take it; it gets the entries of its folder.
        true => format!(
            "make it yours and readable: takeown /f \"{path}\", then icacls \"{path}\" /reset"
        ),
        false => {
            let path = shell_word(path);
            format!("make it yours and readable: chown $USER {path} && chmod 600 {path}")
        }
    }
}

/// What was looked at, and what could be given there.
fn looked_at(place: &LookedAt) -> String {
    match place {
        LookedAt::Named { .. } => format!("--profile, {place}"),
        LookedAt::NoCurrent { .. } => format!("{place}: give one with --profile"),
        LookedAt::NoRegion => format!("{place} (--region)"),
        LookedAt::Other(words) => words.clone(),
    }
}

impl Explain for Error {
    fn why(&self) -> Option<String> {
        match self {
            Self::None { looked_at: places } => {
                let places: Vec<_> = places.iter().map(looked_at).collect();
                Some(format!("looked at:\n{}", places.join("\n")))
            }
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
            Self::Unwritten(cause) => explained(cause).and_then(Explain::why),
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
            Self::InSourceChain { chain, error } => {
                let chain: Vec<_> = chain.iter().take(20).map(ToString::to_string).collect();
                let chain = chain.join(" takes its keys from ");
                Some(match error.why() {
                    Some(why) => format!("{why}; {chain}"),
                    None => chain,
                })
            }
            Self::UnsupportedMode { origin: Source::Section { .. } } => {
                Some(format!("supported are {}", credentials::section_types()))
            }
            Self::UnsupportedMode { origin } => {
                let is_answer = matches!(origin, Source::Answer { .. });
                Some(format!("supported are {}", credentials::modes(is_answer)))
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
                std::io::ErrorKind::PermissionDenied => {
                    readable(&path.to_string_lossy(), cfg!(windows))
                }
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
            Self::MissingField { origin, .. } | Self::Malformed { origin, .. } => renewal(origin),
            Self::UnsupportedMode { .. } => "use a profile of another mode (--profile), or put \
                 temporary keys into ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET \
                 and ALIBABA_CLOUD_SECURITY_TOKEN and name no profile"
                .into(),
            Self::BadField { origin, .. } => match origin {
                Source::Profile { .. } => {
                    format!("correct it there, or {}", renewal(origin))
                }
                _ => renewal(origin),
            },
            Self::BadEndpoint { variable, problem } => match problem.remedy() {
                Some(remedy) => format!("{remedy}; without {variable} the service's own is used"),
                None => format!("correct or unset {variable}"),
            },
            Self::BadVariable { variable, .. } => format!("correct or unset {variable}"),
            Self::UnknownSourceProfile { name, .. } => format!(
                "correct source_profile, or make the profile with: ecs-bridge configure --profile {}",
                shell_word(name)
            ),
            Self::ProgramInAnswer { .. } => format!("run process_command by hand: {ACCEPTED}"),
            Self::Cycle { origin, .. } => format!(
                "let one of them have keys of its own, as a profile of another mode, or {}",
                renewal(origin)
            ),
            Self::InSourceChain { error, .. } => return error.remedy(),
            Self::Uri { problem, origin, .. } => match &**problem {
                UriProblem::NoAnswer(problem) if !matches!(problem, FetchProblem::TooLarge(_)) => {
                    network(problem).unwrap_or_else(|| {
                        format!(
                            "start what serves it, or correct {}",
                            origin.setting("credentials_uri")
                        )
                    })
                }
                _ => format!(
                    "open it with curl: it has to answer 200 with a JSON object of AccessKeyId, \
                     AccessKeySecret, SecurityToken and Expiration; or correct {}",
                    origin.setting("credentials_uri")
                ),
            },
            Self::Metadata { problem, origin, .. } => {
                let setting = origin.setting("ram_role_name");
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
                    } => format!("unset {variable}: this metadata service has no tokens"),
                    MetadataProblem::NoAnswer(_) => {
                        "elsewhere use a profile of another mode (--profile)".into()
                    }
                    _ => "try again; if it stays so, look at the metadata service with curl".into(),
                }
            }
            Self::External { problem, .. } => external(problem),
            Self::Login { origin, problem, .. } => match &**problem {
                LoginProblem::NoAnswer(problem) => network(problem)
                    .unwrap_or_else(|| "check this machine's network, and try again".into()),
                LoginProblem::Ended(_) | LoginProblem::Gone => renewal(origin),
                _ => format!("try again; if it stays so, {}", renewal(origin)),
            },
            Self::OidcToken { origin, .. } => format!(
                "see that whoever issues the tokens writes them there, or correct {}",
                origin.setting("oidc_token_file")
            ),
            Self::Sts { error, .. } => return error.remedy(),
            Self::Stopped => "try again".into(),
            Self::HalfSet { set, missing } => format!("set {missing} too, or unset {set}"),
            Self::NotText { variable } => format!("set {variable} anew"),
            Self::Unwritten(cause) => return explained(cause).and_then(Explain::remedy),
            Self::Changed { .. } => "look at it, and try again".into(),
            Self::NoHome => "name a file with --config".into(),
            Self::Expired { origin, .. } => match origin.mode() {
                // That is what gets them.
                "CloudSSO" | "OAuth" => renewal(origin),
                _ => format!("get new temporary credentials, and {}", renewal(origin)),
            },
        })
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::InSourceChain { error, .. } => error.request_id(),
            Self::Sts { error, .. } => Explain::request_id(&**error),
            _ => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::InSourceChain { error, .. } => error.exit_code(),
            Self::Sts { error, .. } => error.exit_code(),
            Self::Stopped => ExitCode::Failed,
            _ => ExitCode::Config,
        }
    }
}

/// What to do about the way to a source, if that is what is wrong.
fn network(problem: &FetchProblem) -> Option<String> {
    match problem {
        FetchProblem::Proxy(cause) | FetchProblem::Tls(cause) => {
            explained(cause).and_then(Explain::remedy)
        }
        _ => None,
    }
}

/// What to do about a program that gives no credentials.
fn external(problem: &ExternalProblem) -> String {
    match problem {
        ExternalProblem::NotACommand => {
            "correct process_command in the profile: it is split into words \
                              as a shell would, and no shell runs it"
                .to_owned()
        }
        ExternalProblem::Start { .. } => {
            "correct process_command in the profile: a program that is in \
                               PATH, or an absolute path; no shell runs it"
                .to_owned()
        }
        ExternalProblem::Failed { .. } => {
            "run process_command by hand; what it says is on stderr, above".to_owned()
        }
        ExternalProblem::Timeout { .. } => {
            "run process_command by hand; it may wait for an answer: it can ask on the \
                                 terminal (/dev/tty) where there is one, and it has no stdin"
                .to_owned()
        }
        ExternalProblem::TooMuch { .. } | ExternalProblem::Unusable { .. } => {
            format!("run process_command by hand: {ACCEPTED}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_a_file_are_given_by_commands_of_the_system() {
        let unix = readable("/home/me/a b", false);
        assert!(unix.ends_with("chown $USER '/home/me/a b' && chmod 600 '/home/me/a b'"), "{unix}");
        let windows = readable(r"C:\a b\c.json", true);
        assert!(
            windows.ends_with(r#"takeown /f "C:\a b\c.json", then icacls "C:\a b\c.json" /reset"#),
            "{windows}"
        );
    }
}
