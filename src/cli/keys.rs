//! The command line of temporary keys and of host keys: types only.

use clap::{Args, ValueHint};

use super::text::{EXIT_CODES, TARGET};
use super::{LookUp, whole};

pub(super) const SEND_KEY_ABOUT: &str = "Register a public key with a Linux instance for 60 seconds: until then, ssh can log \
        in with the private half, and no key need live on the instance.\n\nThe service's key plug-in \
        is installed in the instance at the same time. That it is there is remembered for a day in \
        $XDG_CACHE_HOME/ecs-bridge (~/.cache/ecs-bridge). All of it takes 60 seconds at most.";

pub(super) const KNOWN_HOSTS_ABOUT: &str = "Print the host keys of a Linux instance as known_hosts lines. They are asked of the \
        instance over the service's control plane, so that nobody need answer 'yes' to a \
        fingerprint: with it, StrictHostKeyChecking yes works on the first connection.\n\nThe keys \
        are those that the instance's sshd is configured with. They are remembered for a day in \
        $XDG_CACHE_HOME/ecs-bridge (~/.cache/ecs-bridge), and asked again once ecs-bridge proxy has \
        seen the server show another one.";

/// `ecs-bridge send-key`
#[derive(Args, Debug)]
#[command(
    after_help = SEND_KEY_EXAMPLES,
    after_long_help = format!("{SEND_KEY_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct SendKey {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, required_unless_present = "instance")]
    pub target: Option<String>,

    /// The instance, instead of TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        env = "ECS_BRIDGE_INSTANCE",
        hide_env_values = true,
        value_hint = ValueHint::Hostname
    )]
    pub instance: Option<String>,

    /// The public key: a file, the key itself in quotes, or - for stdin [default: the first of
    /// ~/.ssh/id_ed25519.pub, id_ecdsa.pub, id_rsa.pub]
    #[arg(
        long,
        value_name = "PATH|TEXT|-",
        env = "ECS_BRIDGE_PUBLIC_KEY",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub public_key: Option<String>,

    /// The user of the instance who is to be let in
    #[arg(long, visible_alias = "user", value_name = "NAME", default_value = "root")]
    pub user_name: String,

    /// Install the key plug-in again, whatever is remembered (ecs-bridge cache clear forgets it)
    #[arg(long)]
    pub reinstall: bool,

    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,
}

const SEND_KEY_EXAMPLES: &str = "\
Examples:
  ecs-bridge send-key -i i-bp1example0001 && ssh root@i-bp1example0001
  ecs-bridge send-key -i i-bp1example0001 --public-key ~/.ssh/work.pub --user-name admin
  ssh-add -L | head -n 1 | ecs-bridge send-key -i i-bp1example0001 --public-key -
  # with every connection, in ~/.ssh/config:
  #   ProxyCommand ecs-bridge proxy --send-key --user %r %h %p";

/// `ecs-bridge known-hosts`
#[derive(Args, Debug)]
#[command(
    after_help = KNOWN_HOSTS_EXAMPLES,
    after_long_help = format!("{KNOWN_HOSTS_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct KnownHosts {
    /// The instance, as ssh's %H has it.
    #[arg(
        help = "The instance, as for proxy; or [instance]:port as ssh's %H has it",
        value_hint = ValueHint::Hostname,
        required_unless_present = "instance"
    )]
    pub target: Option<String>,

    /// The instance, instead of TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// The port that ssh connects to, if it is not 22: part of the lines' name
    #[arg(long, value_name = "PORT", value_parser = whole::<u16>(1, 65_535))]
    pub port: Option<u16>,

    /// The key that the server shows, ssh's %K, where ssh does not come through ecs-bridge proxy. If it
    /// is not among those remembered the instance is asked again; NONE counts as not given
    #[arg(long, value_name = "BASE64", allow_hyphen_values = true)]
    pub key: Option<String>,

    /// Ask the instance, whatever is remembered of its host keys (ecs-bridge cache clear forgets all
    /// instances')
    #[arg(long)]
    pub refresh: bool,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,
}

const KNOWN_HOSTS_EXAMPLES: &str = "\
Examples:
  ecs-bridge known-hosts i-bp1example0001 >> ~/.ssh/known_hosts
  # with every connection, in ~/.ssh/config (ssh wants an absolute path here):
  #   KnownHostsCommand /usr/local/bin/ecs-bridge known-hosts %H";
