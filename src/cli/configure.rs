//! The command line of profiles: types only.

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::values::secret;

pub(super) const CONFIGURE_ABOUT: &str = "Save credentials and region in a profile, in the file of the aliyun CLI.\n\nWithout a \
        subcommand it prompts for each value; secrets are not displayed, and Enter keeps the current \
        value. It then tests the credentials with one read-only call, prints the result and saves the \
        profile. The rest of the file is not changed; only you can read it (0600).\n\nModes: AK, StsToken, CredentialsURI, \
        EcsRamRole, RamRoleArn, RamRoleArnWithRoleName, ChainableRamRoleArn, OIDC, External. CloudSSO and \
        OAuth need a browser: create the profile with aliyun configure --mode CloudSSO --profile NAME; \
        ecs-bridge then uses it.";

/// `ecs-bridge configure`
#[derive(Args, Debug)]
#[command(after_help = CONFIGURE_EXAMPLES)]
pub(crate) struct Configure {
    /// What to do instead of prompting.
    #[command(subcommand)]
    pub action: Option<ConfigureAction>,

    /// Use this type: AK, RamRoleArn, OIDC, … [default: AK]
    ///
    /// The default is the mode of the profile, or AK for a new one.
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Save the profile without testing it
    #[arg(long)]
    pub no_check: bool,
}

const CONFIGURE_EXAMPLES: &str = "\
Examples:
  ecs-bridge configure
  ecs-bridge configure --mode RamRoleArn --profile work
  ecs-bridge configure set --region cn-beijing --profile work
  ecs-bridge configure get region_id --profile work";

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigureAction {
    /// Set fields of a profile, without prompts
    ///
    /// An empty value removes a field.
    ///
    /// --profile is the profile (default: the current one), --region its region, --endpoint its
    /// endpoint. A profile that does not exist is created.
    Set(Box<ConfigureSet>),
    /// Print fields of a profile [default: all]
    Get(ConfigureGet),
    /// List the profiles
    List(ConfigureList),
    /// Delete a profile
    Delete(ConfigureDelete),
    /// Set the default profile
    Switch(ConfigureSwitch),
}

/// `ecs-bridge configure set`
#[derive(Args, Debug)]
pub(crate) struct ConfigureSet {
    /// Set the type: AK, RamRoleArn, OIDC, …
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Set the AccessKey id (- = from stdin)
    #[arg(long, value_name = "ID|-", allow_hyphen_values = true)]
    pub access_key_id: Option<String>,

    /// The AccessKey secret.
    #[arg(
        long,
        value_name = "-|SECRET",
        env = "ECS_BRIDGE_ACCESS_KEY_SECRET",
        allow_hyphen_values = true,
        value_parser = secret,
        help = "Set the AccessKey secret (- = from stdin)",
        long_help = "Set the AccessKey secret; - reads the next line of stdin. Other users can see a \
                     secret here"
    )]
    pub access_key_secret: Option<SecretString>,

    /// The security token.
    #[arg(
        long,
        value_name = "-|TOKEN",
        env = "ECS_BRIDGE_STS_TOKEN",
        allow_hyphen_values = true,
        value_parser = secret,
        help = "Set the security token (- = from stdin)",
        long_help = "Set the security token; - reads the next line of stdin. Other users can see a \
                     token here"
    )]
    pub sts_token: Option<SecretString>,

    /// Set when the security token expires
    ///
    /// Seconds since 1970, or as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub sts_expiration: Option<String>,

    /// Set the region whose STS is called
    #[arg(long, hide_short_help = true, value_name = "REGION")]
    pub sts_region: Option<String>,

    /// Set the RAM role of this ECS instance
    #[arg(long, value_name = "NAME")]
    pub ram_role_name: Option<String>,

    /// Set the role to assume
    ///
    /// For example acs:ram::ACCOUNT:role/NAME.
    #[arg(long, value_name = "ARN")]
    pub ram_role_arn: Option<String>,

    /// Set the name of the role's session
    #[arg(long, hide_short_help = true, visible_alias = "role-session-name", value_name = "NAME")]
    pub ram_session_name: Option<String>,

    /// Set the external id that the role requires
    #[arg(long, hide_short_help = true, value_name = "ID")]
    pub external_id: Option<String>,

    /// Set the profile that assumes the role
    #[arg(long, value_name = "NAME")]
    pub source_profile: Option<String>,

    /// Assume the role for this many seconds (900 to 43200)
    #[arg(long, hide_short_help = true, value_name = "SECS")]
    pub expired_seconds: Option<String>,

    /// Set the URI that returns credentials
    #[arg(long, value_name = "URI")]
    pub credentials_uri: Option<String>,

    /// Set the command that prints credentials
    #[arg(long, value_name = "CMD")]
    pub process_command: Option<String>,

    /// Set the ARN of the OIDC provider
    ///
    /// For example acs:ram::ACCOUNT:oidc-provider/NAME.
    #[arg(long, value_name = "ARN")]
    pub oidc_provider_arn: Option<String>,

    /// Set the file of the OIDC token
    #[arg(long, value_name = "FILE")]
    pub oidc_token_file: Option<String>,

    /// Call the API over the internet or inside the VPC: internet, vpc
    #[arg(long, hide_short_help = true, value_name = "TYPE")]
    pub endpoint_type: Option<String>,

    /// Set the language of the aliyun CLI (en, zh); ecs-bridge does not use it
    #[arg(long, hide_short_help = true, value_name = "LANGUAGE")]
    pub language: Option<String>,

    /// Set the output format of the aliyun CLI (json, cols, rows); ecs-bridge does not use it
    #[arg(long, hide_short_help = true, value_name = "FORMAT")]
    pub output_format: Option<String>,

    /// Test the credentials afterwards
    ///
    /// What was set stays set if the test fails.
    #[arg(long)]
    pub check: bool,
}

/// `ecs-bridge configure get`
#[derive(Args, Debug)]
pub(crate) struct ConfigureGet {
    /// Print these fields, such as region_id, one value per line [default: all, with names]
    #[arg(value_name = "FIELD")]
    pub fields: Vec<String>,

    /// Print secrets; without this, a secret as FIELD is an error
    #[arg(long)]
    pub show_secrets: bool,

    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `ecs-bridge configure list`
#[derive(Args, Debug)]
pub(crate) struct ConfigureList {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `ecs-bridge configure delete`
#[derive(Args, Debug)]
pub(crate) struct ConfigureDelete {
    /// Name of the profile, here or with --profile
    #[arg(value_name = "PROFILE")]
    pub name: Option<String>,
}

/// `ecs-bridge configure switch`
#[derive(Args, Debug)]
pub(crate) struct ConfigureSwitch {
    /// Name of the profile, here or with --profile
    #[arg(value_name = "PROFILE")]
    pub name: Option<String>,
}
