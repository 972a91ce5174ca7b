//! The command line of profiles: types only.

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::secret;
use super::text::EXIT_CODES;

pub(super) const CONFIGURE_ABOUT: &str = "Set up the credentials of a profile, in the file of the aliyun CLI.\n\nWithout a \
        subcommand it asks for them on the terminal, secrets unseen; Enter keeps what is there. Then it \
        makes one harmless call, says whether they are good, and writes the file. Whatever else the file \
        has stays as it is, and the file is yours alone (0600).\n\nModes: AK, StsToken, CredentialsURI, \
        EcsRamRole, RamRoleArn, RamRoleArnWithRoleName, ChainableRamRoleArn, OIDC, External. CloudSSO and \
        OAuth need a browser: aliyun configure --mode CloudSSO --profile NAME sets up a profile that \
        ecs-bridge then uses, too.";

/// `ecs-bridge configure`
#[derive(Args, Debug)]
#[command(
    after_help = CONFIGURE_EXAMPLES,
    after_long_help = format!("{CONFIGURE_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct Configure {
    /// What to do instead of asking.
    #[command(subcommand)]
    pub action: Option<ConfigureAction>,

    /// How credentials are come by: AK, StsToken, RamRoleArn, EcsRamRole, OIDC, … [default: the
    /// profile's, or AK]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Write the profile without trying whether it is any good
    #[arg(long)]
    pub no_check: bool,
}

const CONFIGURE_EXAMPLES: &str = "\
Examples:
  ecs-bridge configure
  ecs-bridge configure --mode RamRoleArn --profile work
  printf '%s\\n' \"$SECRET\" | ecs-bridge configure set --profile ci --region cn-hangzhou \\
      --access-key-id LTAI5texample --access-key-secret -
  ecs-bridge configure get region_id --profile work
  ecs-bridge configure list
  ecs-bridge configure switch work";

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum ConfigureAction {
    /// Set fields of a profile, without questions; an empty value takes a field out
    ///
    /// --profile names the profile (the current one, if not), --region is its region, --endpoint its
    /// endpoint. A profile that is not there is made.
    Set(Box<ConfigureSet>),
    /// Print fields of a profile, or all of it
    Get(ConfigureGet),
    /// List the profiles
    List(ConfigureList),
    /// Take a profile out
    Delete(ConfigureDelete),
    /// Make a profile the one that is used where none is named
    Switch(ConfigureSwitch),
}

/// `ecs-bridge configure set`
#[derive(Args, Debug)]
pub struct ConfigureSet {
    /// How credentials are come by: AK, StsToken, RamRoleArn, EcsRamRole, OIDC, …
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// The AccessKey id, or - for a line of stdin
    #[arg(long, value_name = "ID|-", allow_hyphen_values = true)]
    pub access_key_id: Option<String>,

    /// The AccessKey secret.
    #[arg(
        long,
        value_name = "-|SECRET",
        env = "ECS_BRIDGE_ACCESS_KEY_SECRET",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = secret,
        help = "The AccessKey secret: - for the next line of stdin. Others on this machine can see a \
                secret here"
    )]
    pub access_key_secret: Option<SecretString>,

    /// The security token.
    #[arg(
        long,
        value_name = "-|TOKEN",
        env = "ECS_BRIDGE_STS_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = secret,
        help = "The security token of temporary credentials: - for the next line of stdin. Others on \
                this machine can see a token here"
    )]
    pub sts_token: Option<SecretString>,

    /// When the security token ends: seconds since 1970, or as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub sts_expiration: Option<String>,

    /// The region whose STS is asked
    #[arg(long, value_name = "REGION")]
    pub sts_region: Option<String>,

    /// The role of the instance that this runs on
    #[arg(long, value_name = "NAME")]
    pub ram_role_name: Option<String>,

    /// The ARN of the role to take: acs:ram::ACCOUNT:role/NAME
    #[arg(long, value_name = "ARN")]
    pub ram_role_arn: Option<String>,

    /// What the role's session is called
    #[arg(long, visible_alias = "role-session-name", value_name = "NAME")]
    pub ram_session_name: Option<String>,

    /// The external id that the role asks for
    #[arg(long, value_name = "ID")]
    pub external_id: Option<String>,

    /// The profile whose keys take the role
    #[arg(long, value_name = "NAME")]
    pub source_profile: Option<String>,

    /// For how long the role is taken, in seconds: 900 to 43200
    #[arg(long, value_name = "SECS")]
    pub expired_seconds: Option<String>,

    /// The URI that gives credentials
    #[arg(long, value_name = "URI")]
    pub credentials_uri: Option<String>,

    /// The command that prints credentials
    #[arg(long, value_name = "CMD")]
    pub process_command: Option<String>,

    /// The ARN of the OIDC provider: acs:ram::ACCOUNT:oidc-provider/NAME
    #[arg(long, value_name = "ARN")]
    pub oidc_provider_arn: Option<String>,

    /// The file of the OIDC token
    #[arg(long, value_name = "FILE")]
    pub oidc_token_file: Option<String>,

    /// From where the API is called: internet or vpc
    #[arg(long, value_name = "TYPE")]
    pub endpoint_type: Option<String>,

    /// The language of the aliyun CLI: en or zh; ecs-bridge does not use it
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Option<String>,

    /// The output format of the aliyun CLI: json, cols or rows; ecs-bridge does not use it
    #[arg(long, value_name = "FORMAT")]
    pub output_format: Option<String>,

    /// Make one harmless call afterwards, and fail if it does; what was set stays set
    #[arg(long)]
    pub check: bool,
}

/// `ecs-bridge configure get`
#[derive(Args, Debug)]
pub struct ConfigureGet {
    /// The fields to print, such as region_id; one value a line [default: all, with their names]
    #[arg(value_name = "FIELD")]
    pub fields: Vec<String>,

    /// Print secrets as they are; without it, a secret that is named as FIELD is an error
    #[arg(long)]
    pub show_secrets: bool,

    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `ecs-bridge configure list`
#[derive(Args, Debug)]
pub struct ConfigureList {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `ecs-bridge configure delete`
#[derive(Args, Debug)]
pub struct ConfigureDelete {
    /// The profile's name, here or with --profile
    #[arg(value_name = "PROFILE")]
    pub name: Option<String>,
}

/// `ecs-bridge configure switch`
#[derive(Args, Debug)]
pub struct ConfigureSwitch {
    /// The profile's name, here or with --profile
    #[arg(value_name = "PROFILE")]
    pub name: Option<String>,
}
