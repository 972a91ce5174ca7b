//! The command line of temporary keys and of host keys: types only.

use clap::{Args, ValueHint};

use super::look_up::LookUp;
use super::text::{TARGET, append_to_known_hosts};
use super::values::whole;

pub(super) const SEND_KEY_ABOUT: &str = "Let your SSH key log in to a Linux instance for the next 60 seconds.\n\nThe public key \
        is registered with the service; it is not stored on the instance. The service's key plug-in is \
        installed on the instance at the same time; that is cached for a day \
        (`ecs-bridge cache path` prints where). The command takes at most 60 seconds.\n\nTo use a temporary key \
        at each connection: ecs-bridge ssh-config --write --send-key";

pub(super) const KNOWN_HOSTS_ABOUT: &str = "Print the host keys of a Linux instance as known_hosts lines.\n\nThe keys are fetched from \
        the instance through the ECS API, so you need not confirm a fingerprint: \
        StrictHostKeyChecking yes works on the first connection. They are the keys that the instance's \
        sshd is configured with. They are cached for a day (`ecs-bridge cache path` \
        prints where), and fetched again when `ecs-bridge proxy` has seen the server show \
        another key. The keys of another server on the instance, such as a container's, cannot be fetched: for a \
        port other than 22 that has shown a key which is not among these, nothing is printed.";

/// `ecs-bridge send-key`
#[derive(Args, Debug)]
#[command(after_help = SEND_KEY_EXAMPLES)]
pub(crate) struct SendKey {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, required_unless_present = "instance")]
    pub target: Option<String>,

    /// The same as TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        env = "ECS_BRIDGE_INSTANCE",
        value_hint = ValueHint::Hostname
    )]
    pub instance: Option<String>,

    /// Register this key [default: your ~/.ssh/id_*.pub]
    ///
    /// A file, the key itself in quotes, or - for stdin. The default is the first of
    /// ~/.ssh/id_ed25519.pub, id_ecdsa.pub and id_rsa.pub.
    #[arg(long, value_name = "KEY", env = "ECS_BRIDGE_PUBLIC_KEY", allow_hyphen_values = true)]
    pub public_key: Option<String>,

    /// Log in as this user
    #[arg(long, visible_alias = "user", value_name = "NAME", default_value = "root")]
    pub user_name: String,

    /// Install the key plug-in again
    ///
    /// Even if it is cached as installed, for example after the system disk was replaced.
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
  ecs-bridge send-key web-1 && ssh root@web-1.ecs
  ecs-bridge send-key web-1 --public-key ~/.ssh/work.pub --user-name admin
  ssh-add -L | head -n 1 | ecs-bridge send-key web-1 --public-key -";

/// `ecs-bridge known-hosts`
#[derive(Args, Debug)]
#[command(after_help = known_hosts_examples(cfg!(windows)))]
pub(crate) struct KnownHosts {
    /// The instance, as ssh's %H has it.
    #[arg(
        help = "Instance, as for proxy, or [instance]:port (ssh's %H)",
        value_hint = ValueHint::Hostname,
        required_unless_present = "instance"
    )]
    pub target: Option<String>,

    /// The same as TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// Print lines for this port, if it is not 22
    #[arg(long, value_name = "PORT", value_parser = whole::<u16>(1, 65_535))]
    pub port: Option<u16>,

    /// Fetch the keys again if this one (ssh's %K) is not among the cached ones
    ///
    /// Needed only if ssh does not use `ecs-bridge proxy`. NONE has no effect.
    #[arg(long, value_name = "BASE64", allow_hyphen_values = true)]
    pub key: Option<String>,

    /// Ignore cached host keys
    #[arg(long)]
    pub refresh: bool,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,
}

pub(super) fn known_hosts_examples(is_windows: bool) -> String {
    // A pipe at the end of a line goes on in the next one.
    let append = append_to_known_hosts(is_windows).replacen("| ", "|\n    ", 1);
    let program =
        if is_windows { "C:/ecs-bridge/ecs-bridge.exe" } else { "/usr/local/bin/ecs-bridge" };
    format!(
        "Examples:\n  ecs-bridge known-hosts i-bp1example0001 {append}\n  \
         # at each connection, in ~/.ssh/config (ssh needs an absolute path here):\n  \
         #   KnownHostsCommand {program} known-hosts %H"
    )
}
