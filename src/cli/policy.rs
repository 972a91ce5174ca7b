//! The command line of `policy`: types only.

use clap::Args;

use crate::policy::Purpose;

pub(super) const POLICY_ABOUT: &str = "Print one RAM policy for the given uses.\n\nIt allows the actions that ecs-bridge calls, and \
        no others. Paste it into the RAM console (Policies > Create Policy > JSON), and \
        attach the policy to your RAM user or role.\n\nNothing is sent, and no credentials are needed.";

/// `ecs-bridge policy`
#[derive(Args, Debug)]
#[command(after_help = POLICY_EXAMPLES)]
pub(crate) struct Policy {
    /// Allow this
    #[arg(value_name = "USE", default_value = "connect")]
    pub uses: Vec<Purpose>,
}

const POLICY_EXAMPLES: &str = "\
Examples:
  ecs-bridge policy
  ecs-bridge policy connect send-key
  ecs-bridge policy list > policy.json";
