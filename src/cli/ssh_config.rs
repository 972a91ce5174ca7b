//! The command line of `ssh-config`: types only.

use std::path::PathBuf;

use clap::Args;

use super::ConnectionType;
use super::text::EXIT_CODES;
use crate::cloud::Region;

pub(super) const SSH_CONFIG_ABOUT: &str = "Print what ~/.ssh/config needs for ssh, scp, rsync, git and VS Code to reach \
        instances by id (i-…, mi-…) or by name (NAME.ecs, NAME.REGION.ecs).\n\nWith --write it goes into a \
        file of its own, and one marked Include line into ~/.ssh/config, at the top, where no Host block \
        claims it. Both are replaced when it is run again, and taken out by --uninstall; the rest of \
        ~/.ssh/config stays as it is, byte for byte.\n\n--profile, --region, --endpoint, --config, --ca-file \
        and --signature-version are written down, too; so are --start, --regions and --connection-type \
        behind the subcommand, for each connection.\n\nWhat is written is what the installed ssh knows: KnownHostsCommand, \
        which --send-key uses to check host keys, needs OpenSSH 8.5.";

/// `ecs-bridge ssh-config`
#[derive(Args, Debug)]
#[command(
    after_help = SSH_CONFIG_EXAMPLES,
    after_long_help = format!("{SSH_CONFIG_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct SshConfig {
    /// Have each login to a Linux instance register a public key for a minute, and check its host key
    /// over the control plane. PATH is the public key's file: ssh then offers that key alone
    /// [default: as of send-key, and ssh offers the keys that it knows]
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub send_key: Option<Option<PathBuf>>,

    /// Have many ssh, scp and git runs share one session
    #[arg(long)]
    pub control_master: bool,

    /// Name a host for programs that list hosts, as VS Code does: web-1.ecs or an id; repeatable
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,

    /// Start a stopped instance at each connection, and wait for its agent
    #[arg(long)]
    pub start: bool,

    /// More regions to look for a target in, with commas between them
    #[arg(long, value_name = "REGION,…", value_delimiter = ',', value_parser = Region::parse)]
    pub regions: Vec<Region>,

    /// How to reach the gateway: over the internet or from inside the VPC [default: the service's]
    #[arg(long, value_name = "TYPE")]
    pub connection_type: Option<ConnectionType>,

    /// Write it to a file of its own, included from ~/.ssh/config [default file: ~/.ssh/ecs-bridge.conf]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub write: Option<Option<PathBuf>>,

    /// Take out what --write has put in
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
  ecs-bridge --profile work --region cn-beijing ssh-config --write --host web-1.ecs
  ecs-bridge ssh-config --uninstall";
