//! The command line of `doctor`: types only.

use clap::{ArgGroup, Args, ValueHint};

use super::text::{EXIT_CODES, TARGET};
use super::{ConnectionType, LookUp, whole};

pub(super) const DOCTOR_ABOUT: &str = "Check all that a connection needs, one line a check, from the configuration \
        to the banner of the port: ✓ as it should be, ✗ not, – not looked at, ? not found out. What is \
        wrong has its cause and its remedy below it; what depends on it is left out.\n\nWithout TARGET, \
        what is about an instance is left out. With one, a session is opened, and ended again. Nothing is \
        changed. All of it takes less than a minute.\n\nIt ends with 0 if nothing is wrong, or else with the \
        exit code of the first ✗. With --json, stdout has one document: target, ok, exit_code, and checks, \
        each with id, title, status (passed, failed, skipped, unknown), found, and, where they are known, \
        why, fix, request_id, exit_code, and because: the failed check for which it was skipped. \
        doctor.schema.json is its schema.";

/// `ecs-bridge doctor`
#[derive(Args, Debug)]
#[command(
    after_help = DOCTOR_EXAMPLES,
    after_long_help = format!("{DOCTOR_EXAMPLES}\n\n{EXIT_CODES}"),
    group = ArgGroup::new("instance_given").multiple(true)
)]
pub struct Doctor {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, group = "instance_given")]
    pub target: Option<String>,

    /// The port of the instance
    #[arg(default_value_t = 22, value_parser = whole::<u16>(1, 65_535))]
    pub port: u16,

    /// The instance, instead of TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        value_hint = ValueHint::Hostname,
        group = "instance_given"
    )]
    pub instance: Option<String>,

    /// Try a port of another host that the instance can reach, instead of the instance's own
    #[arg(long, value_name = "HOST", requires = "instance_given")]
    pub remote_host: Option<String>,

    /// How to reach the gateway: over the internet or from inside the VPC [default: the service's]
    #[arg(long, value_name = "TYPE", env = "ECS_BRIDGE_CONNECTION_TYPE", hide_env_values = true)]
    pub connection_type: Option<ConnectionType>,

    /// Also check that temporary keys can work: runs a read-only script on the instance
    #[arg(long, requires = "instance_given")]
    pub send_key: bool,

    /// Print a JSON document
    #[arg(long)]
    pub json: bool,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  ecs-bridge doctor
  ecs-bridge doctor web-1
  ecs-bridge doctor web-1 --send-key
  ecs-bridge doctor i-bp1example0001 5432 --remote-host db.internal
  ecs-bridge doctor web-1 --json | jq -r '.checks[] | select(.status == \"failed\") | .fix'";
