//! The command line of `ssh-config`: types only.

use std::path::PathBuf;

use clap::Args;

use super::text::EXIT_CODES;

pub(super) const SSH_CONFIG_ABOUT: &str = "Print what ~/.ssh/config needs for ssh, scp, rsync, git and VS Code to reach \
        instances by id (i-…, mi-…) or by name (NAME.ecs, NAME.REGION.ecs).\n\nWith --write it goes into a \
        file of its own, and one marked Include line into ~/.ssh/config, at the top, where no Host block \
        claims it. Both are replaced when it is run again, and taken out by --uninstall; the rest of \
        ~/.ssh/config stays as it is, byte for byte.\n\n--profile, --region, --endpoint, --config, --ca-file \
        and --signature-version are written down, too.";

/// `ecs-bridge ssh-config`
#[derive(Args, Debug)]
#[command(
    after_help = SSH_CONFIG_EXAMPLES,
    after_long_help = format!("{SSH_CONFIG_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct SshConfig {
    /// Have each login to a Linux instance register a public key for a minute, and check its host key
    /// over the control plane. PATH is the key's file [default: as of send-key]
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub send_key: Option<Option<PathBuf>>,

    /// Have many ssh, scp and git runs share one session
    #[arg(long)]
    pub control_master: bool,

    /// Name a host for programs that list hosts, as VS Code does: web-1.ecs or an id; repeatable
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,

    /// Write it to a file of its own, included from ~/.ssh/config [default file: ~/.ssh/ecs-bridge.conf]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub write: Option<Option<PathBuf>>,

    /// Take out what --write has put in
    #[arg(long, conflicts_with_all = ["write", "send_key", "control_master", "host"])]
    pub uninstall: bool,
}

const SSH_CONFIG_EXAMPLES: &str = "\
Examples:
  ecs-bridge ssh-config --write && ssh root@i-bp1example0001
  ecs-bridge ssh-config --write --send-key --control-master
  ecs-bridge --profile work --region cn-beijing ssh-config --write --host web-1.ecs
  ecs-bridge ssh-config --uninstall";
