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

    /// The mode and its name, in any case.
    pub(super) fn parse(text: &str) -> Option<(Self, &'static str)> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text))
    }
}

/// The names of the modes that are supported, in a profile or in what a program prints.
pub fn modes(is_answer: bool) -> String {
    let is_listed = |(mode, _): &(Mode, _)| !is_answer || *mode != Mode::External;
    let names: Vec<_> = Mode::ALL.into_iter().filter(is_listed).map(|(_, name)| name).collect();
    names.join(", ")
}

/// The mode of a profile by what its fields say: as it is written, or else as the vendor's tools guess.
pub fn mode_of(text: impl Fn(&str) -> Option<String>) -> String {
    let has = |field| text(field).is_some();
    let has_keys = has("access_key_id") && has("access_key_secret");
    let guess = match () {
        () if has_keys && has("sts_token") => "StsToken",
        () if has_keys && has("ram_role_arn") => "RamRoleArn",
        () if has_keys => "AK",
        () if has("ram_role_name") => "EcsRamRole",
        () if has("process_command") => "External",
        () if has("oidc_provider_arn") && has("oidc_token_file") => "OIDC",
        () if has("cloud_sso_sign_in_url") => "CloudSSO",
        () => "AK",
    };
    text("mode").unwrap_or_else(|| guess.to_owned())
}
