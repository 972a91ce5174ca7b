//! The options that every command takes.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use secrecy::SecretString;

use super::values::{path, secret};
use crate::credentials::Overrides;
use crate::vendor::Vendor;

/// Options that every subcommand takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Which options the command line gives, and not a variable.
    #[arg(skip)]
    pub given: Given,

    /// Fields of the profile that the command line gives, in the words of ali-instance-cli.
    #[arg(skip)]
    pub overrides: Overrides,

    /// The command line, if it is in the words of ali-instance-cli.
    #[arg(skip)]
    pub vendor: Option<Vendor>,

    /// Use this profile of the configuration file [default: the current one]
    #[arg(long, global = true, value_name = "NAME", env = "ECS_BRIDGE_PROFILE")]
    pub profile: Option<String>,

    /// Use this region, such as cn-hangzhou [default: from the environment or the profile]
    #[arg(long, global = true, value_name = "REGION", env = "ECS_BRIDGE_REGION")]
    pub region: Option<String>,

    /// Use this ECS API endpoint: a host or an https URL [default: the region's]
    ///
    /// http:// is accepted for addresses of this computer only.
    #[arg(long, global = true, value_name = "URL", env = "ECS_BRIDGE_ENDPOINT")]
    pub endpoint: Option<String>,

    /// Read profiles from this file [default: ~/.aliyun/config.json]
    #[arg(long, global = true, value_name = "FILE", env = "ECS_BRIDGE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Trust additional CA certificates (PEM), for the API, the gateway and https:// proxies
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_CA_FILE",
        value_parser = path()
    )]
    pub ca_file: Option<PathBuf>,

    /// The network proxy.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ECS_BRIDGE_PROXY",
        value_parser = secret,
        help = "Use this network proxy: [http|https|socks5|socks5h]://[user:password@]host[:port], or \
                none [default: HTTPS_PROXY or ALL_PROXY]",
        long_help = "Use this network proxy for the API and the gateway: \
                [http|https|socks5|socks5h]://[user:password@]host[:port], or none for no proxy \
                [default: HTTPS_PROXY or ALL_PROXY]\n\nOther users can see a password here: put it \
                into ECS_BRIDGE_PROXY. Hosts in NO_PROXY are always reached directly."
    )]
    pub proxy: Option<SecretString>,

    /// Sign API calls with this version; v1 is for private-cloud endpoints
    #[arg(
        long,
        global = true,
        value_name = "VERSION",
        env = "ECS_BRIDGE_SIGNATURE_VERSION",
        default_value = "v3"
    )]
    pub signature_version: Signature,

    /// Print more on stderr: -v what is done, -vv how, -vvv each event; never a secret
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        env = "ECS_BRIDGE_VERBOSE"
    )]
    pub verbose: u8,

    /// Print only errors on stderr, even with -v (-v still applies to --log-file)
    #[arg(
        short,
        long,
        global = true,
        value_parser = FalseyValueParser::new(),
        env = "ECS_BRIDGE_QUIET"
    )]
    pub quiet: bool,

    /// Append the log to this file instead of stderr, at least at the level of -v
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_LOG_FILE",
        value_parser = path()
    )]
    pub log_file: Option<PathBuf>,

    /// Do not write the log that `ecs-bridge log` prints; also ECS_BRIDGE_LOG=off
    #[arg(long, global = true)]
    pub no_log: bool,
}

/// Which options the command line gives. Of one that it leaves out, the value is that of a variable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    /// `--profile`
    pub profile: bool,
    /// `--region`
    pub region: bool,
    /// `--endpoint`
    pub endpoint: bool,
}

/// How API calls are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Signature {
    /// ACS3-HMAC-SHA256
    V3,
    /// HMAC-SHA1
    V1,
}
