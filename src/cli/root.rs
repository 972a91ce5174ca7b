//! The command line as a whole: global options and a command.

use clap::{CommandFactory as _, Parser, Subcommand};

use super::cache::{CACHE_ABOUT, Cache};
use super::completions::{
    COMPLETE_TARGETS_ABOUT, COMPLETIONS_ABOUT, CompleteTargets, Completions, MAN_ABOUT, Man,
};
use super::configure::{CONFIGURE_ABOUT, Configure};
use super::doctor::{DOCTOR_ABOUT, Doctor};
use super::forward::{FORWARD_ABOUT, Forward};
use super::global::Global;
use super::help::{HELP_ABOUT, Help};
use super::keys::{KNOWN_HOSTS_ABOUT, KnownHosts, SEND_KEY_ABOUT, SendKey};
use super::list::{LIST_ABOUT, List};
use super::log::{LOG_ABOUT, Log};
use super::policy::{POLICY_ABOUT, Policy};
use super::proxy::{PROXY_ABOUT, Proxy};
use super::shell::{SHELL_ABOUT, Shell};
use super::ssh_config::{SSH_CONFIG_ABOUT, SshConfig};
use super::text::{CREDENTIALS, EXAMPLES, EXIT_CODES};
use super::version::{VERSION_ABOUT, Version};

/// SSH and port forwarding to Alibaba Cloud ECS instances without a public IP address
#[derive(Debug, Parser)]
#[command(
    name = "ecs-bridge",
    version,
    about = "SSH and port forwarding to Alibaba Cloud ECS without a public IP address",
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    after_long_help = CREDENTIALS
)]
pub(crate) struct Cli {
    /// Options that every subcommand takes.
    #[command(flatten, next_help_heading = "Global options")]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect stdin and stdout to a port (ProxyCommand)
    #[command(long_about = PROXY_ABOUT)]
    Proxy(Proxy),
    /// Forward local ports: databases, RDP, web UIs
    #[command(long_about = FORWARD_ABOUT)]
    Forward(Forward),
    /// Open a shell without SSH
    #[command(long_about = SHELL_ABOUT)]
    Session(Shell),
    /// Let your SSH key log in for the next 60 seconds
    #[command(long_about = SEND_KEY_ABOUT)]
    SendKey(SendKey),
    /// Print an instance's host keys (KnownHostsCommand)
    #[command(long_about = KNOWN_HOSTS_ABOUT)]
    KnownHosts(KnownHosts),
    /// Show your instances and whether you can connect
    #[command(long_about = LIST_ABOUT)]
    List(List),
    /// Find out why a connection does not work
    #[command(long_about = DOCTOR_ABOUT)]
    Doctor(Doctor),
    /// Print the RAM policy that your user needs
    #[command(long_about = POLICY_ABOUT)]
    Policy(Policy),
    /// Print the log, or the last failure and what to do
    #[command(long_about = LOG_ABOUT)]
    Log(Log),
    /// Save and test credentials and region
    #[command(long_about = CONFIGURE_ABOUT)]
    Configure(Configure),
    /// Delete the cache, or print its folder
    #[command(long_about = CACHE_ABOUT)]
    Cache(Cache),
    /// Print the SSH configuration, or install it (--write)
    #[command(long_about = SSH_CONFIG_ABOUT)]
    SshConfig(SshConfig),
    /// Print a completion script for a shell
    #[command(long_about = COMPLETIONS_ABOUT)]
    Completions(Completions),
    /// Print the manual page, or write all pages
    #[command(long_about = MAN_ABOUT)]
    Man(Man),
    /// Print the version, or what a bug report needs
    #[command(hide = true, long_about = VERSION_ABOUT)]
    Version(Version),
    /// Print the help of a command or of a topic
    #[command(long_about = HELP_ABOUT)]
    Help(Help),
    /// Print the cached targets
    #[command(hide = true, long_about = COMPLETE_TARGETS_ABOUT)]
    CompleteTargets(CompleteTargets),
}

/// The command line as clap has it. The long help of each command that has examples ends with the exit
/// codes, and no help prints what a variable has: it may be a secret.
pub(crate) fn command() -> clap::Command {
    complete(Cli::command())
}

fn complete(command: clap::Command) -> clap::Command {
    let examples = command.get_after_help().map(ToString::to_string);
    let topics = command.get_after_long_help().map(|topics| format!("{topics}\n\n"));
    let command = match examples {
        Some(examples) => command
            .after_long_help(format!("{examples}\n\n{}{EXIT_CODES}", topics.unwrap_or_default())),
        None => command,
    };
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(complete)
}
