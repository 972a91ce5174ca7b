//! The command line of `policy`: types only.

use clap::{Args, ValueEnum};

pub(super) const POLICY_ABOUT: &str = "Print one RAM policy for the given uses.\n\nIt allows the actions that ecs-bridge calls, and \
        no others. Paste it into the RAM console (Policies > Create Policy > JSON), and \
        attach the policy to your RAM user or role.\n\nNothing is sent, and no credentials are needed.";

/// `ecs-bridge policy`
#[derive(Args, Debug)]
#[command(after_help = POLICY_EXAMPLES)]
pub struct Policy {
    /// Allow this
    #[arg(value_name = "USE", default_value = "connect")]
    pub uses: Vec<PolicyUse>,
}

/// What a policy can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyUse {
    /// proxy, forward, session and doctor
    Connect,
    /// send-key, known-hosts and --send-key
    SendKey,
    /// list
    List,
    /// proxy, forward and session with --start
    Start,
}

const POLICY_EXAMPLES: &str = "\
Examples:
  ecs-bridge policy
  ecs-bridge policy connect send-key
  ecs-bridge policy list > policy.json";
