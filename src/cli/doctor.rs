//! The command line of `doctor`: types only.

use clap::{ArgGroup, Args, ValueHint};

use super::look_up::LookUp;
use super::session::ConnectionType;
use super::text::TARGET;
use super::values::whole;
use crate::target::SSH_PORT;

pub(super) const DOCTOR_ABOUT: &str = "Find out why a connection does not work.\n\nRuns every check from the configuration to \
        the banner of the port, and prints one line each: ✓ passed, ✗ failed (with cause and fix), – \
        skipped, ? unknown. Checks that depend on a failed one are skipped.\n\nWithout TARGET it checks \
        only this computer and your account; with TARGET it also opens and closes a test session. \
        Nothing is changed, and it takes less than a minute.\n\nThe exit code is 0, or that of the first \
        failed check. With --json, stdout has one document: target, ok, exit_code, last_failure, \
        ecs_bridge, and checks, each with id, title, status (passed, failed, skipped, unknown), found, \
        and, if they are known, why, fix, request_id, exit_code, and because: the failed check for \
        which it was skipped. \
        doctor.schema.json is its schema.";

/// `ecs-bridge doctor`
#[derive(Args, Debug)]
#[command(
    after_help = DOCTOR_EXAMPLES,
    group = ArgGroup::new("instance_given").multiple(true)
)]
pub(crate) struct Doctor {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, group = "instance_given")]
    pub target: Option<String>,

    /// Port of the instance
    #[arg(default_value_t = SSH_PORT, value_parser = whole::<u16>(1, 65_535))]
    pub port: u16,

    /// The same as TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        value_hint = ValueHint::Hostname,
        group = "instance_given"
    )]
    pub instance: Option<String>,

    /// Check this host, from the instance
    #[arg(long, value_name = "HOST", requires = "instance_given")]
    pub remote_host: Option<String>,

    /// Reach the gateway over the internet or from inside the VPC [default: the service's choice]
    #[arg(long, hide_short_help = true, value_name = "TYPE", env = "ECS_BRIDGE_CONNECTION_TYPE")]
    pub connection_type: Option<ConnectionType>,

    /// Also check what temporary keys need
    ///
    /// Runs a read-only script on the instance.
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
  ecs-bridge doctor web-1 --send-key
  ecs-bridge doctor web-1 5432 --remote-host db.internal
  ecs-bridge doctor web-1 --json | jq -r '.checks[] | .fix // empty'";
