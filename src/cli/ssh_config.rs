//! The command line of `ssh-config`: types only.

use std::path::PathBuf;

use clap::Args;

use super::session::ConnectionType;
use crate::cloud::Region;

pub(super) const SSH_CONFIG_ABOUT: &str = "Print the SSH configuration, or install it with --write: ssh, scp, rsync, git and VS Code then \
        reach instances by id (i-…, mi-…) or by name (NAME.ecs, NAME.REGION.ecs).\n\nWith --write, the \
        configuration is written to a file of its own, and one marked Include line to ~/.ssh/config, at the \
        top, outside of any Host block. Both are replaced when the command is run again, and removed by \
        --uninstall; the rest of ~/.ssh/config is not changed.\n\n--profile, --region, --endpoint, --config, \
        --ca-file and --signature-version are written, too; so are --start, --regions and \
        --connection-type, for each connection.\n\nOnly options that the installed ssh supports are \
        written: KnownHostsCommand, which --send-key uses to verify host keys, needs OpenSSH 8.5.";

/// `ecs-bridge ssh-config`
#[derive(Args, Debug)]
#[command(after_help = SSH_CONFIG_EXAMPLES)]
pub(crate) struct SshConfig {
    /// Use temporary keys, and verify host keys
    ///
    /// Each login to a Linux instance registers a public key for 60 seconds, and verifies the host key
    /// through the ECS API. PATH is the public key's file: ssh then offers only that key [default: as
    /// send-key, and ssh offers the keys that it finds].
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub send_key: Option<Option<PathBuf>>,

    /// Share one session among later ssh, scp, git commands
    #[arg(long)]
    pub control_master: bool,

    /// Add a host to VS Code's list; repeatable
    ///
    /// NAME.ecs or an id.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,

    /// Start a stopped instance at each connection
    #[arg(long)]
    pub start: bool,

    /// Also search these regions (comma-separated)
    #[arg(long, value_name = "REGION,…", value_delimiter = ',', value_parser = Region::parse)]
    pub regions: Vec<Region>,

    /// Reach the gateway over the internet or from inside the VPC [default: the service's choice]
    #[arg(long, hide_short_help = true, value_name = "TYPE")]
    pub connection_type: Option<ConnectionType>,

    /// Install it [default: ~/.ssh/ecs-bridge.conf]
    ///
    /// Writes the configuration to FILE, and an Include line for it to ~/.ssh/config.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub write: Option<Option<PathBuf>>,

    /// Remove what --write added
    #[arg(long, conflicts_with_all = [
        "write", "send_key", "control_master", "host", "start", "regions", "connection_type",
    ])]
    pub uninstall: bool,
}

const SSH_CONFIG_EXAMPLES: &str = "\
Examples:
  ecs-bridge ssh-config --write && ssh root@i-bp1example0001
  ecs-bridge ssh-config --write --send-key --control-master
  ecs-bridge ssh-config --write --send-key ~/.ssh/work.pub --start
  ecs-bridge --profile work ssh-config --write --host web-1.ecs
  ecs-bridge ssh-config --uninstall";
