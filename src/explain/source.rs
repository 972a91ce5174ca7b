//! What to do about credentials where they come from.

use crate::credentials::{Source, shell_word};

/// How to renew the credentials where they are: a sentence without a final period.
pub(crate) fn renewal(source: &Source) -> String {
    match source {
        Source::Profile { name, mode, .. } => {
            let name = shell_word(name);
            match mode.as_str() {
                // Its mode is not asked for again: signing in is all that there is to do.
                "CloudSSO" => format!("sign in again with: aliyun configure --profile {name}"),
                "OAuth" => {
                    format!("sign in again with: aliyun configure --mode OAuth --profile {name}")
                }
                _ => format!(
                    "renew the profile with: ecs-bridge configure --mode {} --profile {name}",
                    shell_word(mode)
                ),
            }
        }
        Source::Section { name, file, .. } => {
            format!("correct section [{name}] of {}", file.display())
        }
        Source::Answer { of, .. } => match &**of {
            Source::Profile { name, .. } => {
                format!("correct what process_command of profile {} prints", shell_word(name))
            }
            _ => "correct what process_command prints".to_owned(),
        },
        Source::Instance => "use a profile (--profile)".to_owned(),
        Source::Environment { variable, temporary } => {
            let prefix = variable.trim_end_matches("ACCESS_KEY_ID");
            let mut names = format!("{variable}, {prefix}ACCESS_KEY_SECRET");
            if *temporary {
                names.push_str(&format!(" and {prefix}SECURITY_TOKEN"));
            }
            format!("set {names} anew, or unset them to use a profile")
        }
        Source::Variables { names, .. } => {
            format!("correct {}, or name a profile with --profile", names.join(", "))
        }
        Source::Custom { name } => format!("correct what {name} gives"),
    }
}

/// How to give temporary credentials the security token that they lack: a sentence without a
/// final period.
pub(crate) fn add_token(source: &Source) -> String {
    match source {
        Source::Profile { name, .. } => format!(
            "make it a profile of temporary credentials with: ecs-bridge configure --mode \
             StsToken --profile {}",
            shell_word(name)
        ),
        Source::Environment { variable, .. } => {
            format!("set {}SECURITY_TOKEN too", variable.trim_end_matches("ACCESS_KEY_ID"))
        }
        Source::Section { name, file, .. } => format!(
            "put the keys into a profile with: ecs-bridge configure --mode StsToken; section \
             [{name}] of {} cannot hold a token",
            file.display()
        ),
        Source::Answer { .. }
        | Source::Instance
        | Source::Variables { .. }
        | Source::Custom { .. } => renewal(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_how_to_renew_it() {
        let profile = |mode: &str| Source::Profile {
            name: "a b".into(),
            file: "/f".into(),
            mode: mode.into(),
        };
        for (mode, fix) in [
            ("AK", "renew the profile with: ecs-bridge configure --mode AK --profile 'a b'"),
            ("CloudSSO", "sign in again with: aliyun configure --profile 'a b'"),
            ("OAuth", "sign in again with: aliyun configure --mode OAuth --profile 'a b'"),
        ] {
            assert_eq!(renewal(&profile(mode)), fix);
        }
        let names = vec!["ALICLOUD_CREDENTIALS_URI".to_owned()];
        let source = Source::Variables { mode: "CredentialsURI", names };
        assert!(renewal(&source).starts_with("correct ALICLOUD_CREDENTIALS_URI, or"));
    }
}
