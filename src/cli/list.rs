//! The command line of `list`: types only.

use clap::{Args, ValueHint};

use super::look_up::LookUp;

pub(super) const LIST_ABOUT: &str = "Show your instances, and whether Session Manager can reach them: ids, names, states, \
        private addresses and Cloud Assistant agents, managed instances (mi-…) included.\n\n\
        Filters are written like targets; '*' in a name matches anything. An instance is listed if one \
        filter matches it. Listed names complete in the shell: see `ecs-bridge completions \
        --help`.\n\nWith --json, stdout has one array of objects: id, name, kind (ecs or managed), \
        region, status, host_name, os, private_addresses, public_addresses, tags, agent (online, \
        version, last_heartbeat), session_manager (true, false, or null if it is not known) and \
        reason (why not). list.schema.json is its schema.";

/// `ecs-bridge list`
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct List {
    /// Show these: name (* matches anything), id, address, tag:key=value [default: all]
    #[arg(value_name = "FILTER", value_hint = ValueHint::Hostname)]
    pub filters: Vec<String>,

    /// The same as FILTER; repeatable
    #[arg(short, long, value_name = "FILTER", value_hint = ValueHint::Hostname)]
    pub instance: Vec<String>,

    /// Print a JSON array
    #[arg(long)]
    pub json: bool,

    /// Where to look.
    #[command(flatten)]
    pub look_up: LookUp,
}

const LIST_EXAMPLES: &str = "\
Examples:
  ecs-bridge list
  ecs-bridge list 'web-*' tag:env=prod
  ecs-bridge list --regions cn-beijing,ap-southeast-1 db-1
  ecs-bridge list --json | jq -r '.[] | select(.session_manager) | .name'";
