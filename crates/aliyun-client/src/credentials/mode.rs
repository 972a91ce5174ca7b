//! The modes that a profile can have.

/// A mode, as the vendor's tools write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Ak,
    StsToken,
    CredentialsUri,
    EcsRamRole,
    RamRoleArn,
    RamRoleArnWithRoleName,
    ChainableRamRoleArn,
    Oidc,
    External,
    CloudSso,
    OAuth,
}

impl Mode {
    pub(super) const ALL: [(Self, &'static str); 11] = [
        (Self::Ak, "AK"),
        (Self::StsToken, "StsToken"),
        (Self::CredentialsUri, "CredentialsURI"),
        (Self::EcsRamRole, "EcsRamRole"),
        (Self::RamRoleArn, "RamRoleArn"),
        (Self::RamRoleArnWithRoleName, "RamRoleArnWithRoleName"),
        (Self::ChainableRamRoleArn, "ChainableRamRoleArn"),
        (Self::Oidc, "OIDC"),
        (Self::External, "External"),
        (Self::CloudSso, "CloudSSO"),
        (Self::OAuth, "OAuth"),
    ];

    /// The names of all of them, or of those that a program of mode External may print.
    pub(super) fn names(is_answer: bool) -> String {
        let of_answer = |(mode, _): &(Self, _)| !is_answer || *mode != Self::External;
        let names: Vec<_> = Self::ALL.into_iter().filter(of_answer).map(|(_, name)| name).collect();
        names.join(", ")
    }

    /// The mode and its name, in any case.
    pub(super) fn parse(text: &str) -> Option<(Self, &'static str)> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text))
    }

    /// The mode of a profile by what its fields say: as it is written, or as it seems to be.
    pub(super) fn of(text: impl Fn(&str) -> Option<String>) -> String {
        text("mode").unwrap_or_else(|| Self::guess(|field| text(field).is_some()).to_owned())
    }

    /// What a profile without a mode is, by what it has; as the vendor's tools guess.
    fn guess(has: impl Fn(&str) -> bool) -> &'static str {
        let has_keys = has("access_key_id") && has("access_key_secret");
        match () {
            () if has_keys && has("sts_token") => "StsToken",
            () if has_keys && has("ram_role_arn") => "RamRoleArn",
            () if has_keys => "AK",
            () if has("ram_role_name") => "EcsRamRole",
            () if has("process_command") => "External",
            () if has("oidc_provider_arn") && has("oidc_token_file") => "OIDC",
            () if has("cloud_sso_sign_in_url") => "CloudSSO",
            () => "AK",
        }
    }
}
