//! `ecs-bridge forward`: its arguments.

use std::ffi::OsString;

use clap::{Args, ValueHint};

use super::look_up::LookUp;
use super::session::Session;
use super::start::Start;
use super::text::TARGET;
use super::values::whole;
use super::via::Via;
use crate::forward::spec::{self, Bind, bind};

pub(super) const FORWARD_ABOUT: &str = "Forward local ports or unix sockets to an instance, or to a host that the instance \
        can reach.\n\nEach connection has its own session, so a forward can run for days. It ends on \
        SIGINT (Ctrl-C) and SIGTERM: open connections may continue for --grace seconds, or until a \
        second signal. With a program behind `--`, the program gets the signal, and forwarding ends with \
        it: what its closed connections have sent still arrives, within --grace seconds.";

/// `ecs-bridge forward`
#[derive(Args, Debug)]
#[command(after_help = FORWARD_EXAMPLES)]
pub(crate) struct Forward {
    /// The instance, unless --instance names it: then this is the first SPEC.
    #[arg(help = TARGET, value_hint = ValueHint::Hostname)]
    pub target: Option<String>,

    /// What to forward, by position.
    #[arg(value_name = "SPEC", help = "What to forward, as for -L")]
    pub specs: Vec<String>,

    /// What to forward, as `ssh -L` has it.
    #[arg(
        short = 'L',
        value_name = "SPEC",
        help = "Forward [bind:]port:host:hostport, or port",
        long_help = "Forward this, as ssh -L: [bind:]port:host:hostport, or /path/to.sock:host:hostport; \
                     port:hostport and port lead to the instance. Repeatable"
    )]
    pub forwards: Vec<spec::Forward>,

    /// The same as TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        env = "ECS_BRIDGE_INSTANCE",
        value_hint = ValueHint::Hostname
    )]
    pub instance: Option<String>,

    /// Listen on this port and forward it to --remote-port; 0 = any free port
    #[arg(long, hide_short_help = true, value_name = "PORT", value_parser = whole::<u16>(0, 65_535))]
    pub local_port: Option<u16>,

    /// Forward --local-port to this port [default: 22]
    #[arg(
        long,
        hide_short_help = true,
        value_name = "PORT",
        requires = "local_port",
        value_parser = whole::<u16>(1, 65_535)
    )]
    pub remote_port: Option<u16>,

    /// Forward --local-port to this host, from the instance [default: the instance]
    #[arg(long, hide_short_help = true, value_name = "HOST", requires = "local_port")]
    pub remote_host: Option<String>,

    /// Listen on this address where SPEC has none; localhost = 127.0.0.1 and ::1, * = all IPv4
    /// addresses, :: = all
    #[arg(long, hide_short_help = true, value_name = "ADDR", default_value = "localhost", value_parser = bind)]
    pub bind: Bind,

    /// Connect at most N sessions at once, for all forwards; more connections wait. The service allows
    /// 20 for each instance
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = 20, value_parser = whole::<usize>(1, 1000))]
    pub max_connections: usize,

    /// Keep N connections ready
    ///
    /// Each forward keeps N connections open, so that new ones start immediately. The server sees the ready ones as idle connections;
    /// they count against the session quota.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<usize>(0, 1000)
    )]
    pub warm: usize,

    /// Replace ready connections after this many seconds; set it below the server's idle timeout
    ///
    /// Without --warm: end the session of the first test after this time if no connection uses it; after
    /// 5 seconds if the server has sent first and the agent would not report that it has closed.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        default_value_t = 100,
        value_parser = whole::<u64>(1, 9_000)
    )]
    pub warm_for: u64,

    /// Let open connections finish for this many seconds after Ctrl-C, and data of closed ones arrive after
    /// CMD; TCP connections that are still open then are reset
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        default_value_t = 5,
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub grace: u64,

    /// Do not test the target before listening. Otherwise the first connection uses the session of
    /// the test
    #[arg(long, hide_short_help = true)]
    pub no_probe: bool,

    /// Exit after the first connection, on any forward, with its exit code
    #[arg(long, hide_short_help = true)]
    pub once: bool,

    /// Print events as JSON, one object per line
    #[arg(long, hide_short_help = true, conflicts_with = "exec")]
    pub json: bool,

    /// Run CMD while forwarding and exit with its exit code; `-- CMD` alone does the same
    ///
    /// Its environment has ECS_BRIDGE_ADDR, ECS_BRIDGE_HOST and ECS_BRIDGE_PORT; with several
    /// forwards also numbered (ECS_BRIDGE_PORT_1, ECS_BRIDGE_PORT_2, …).
    #[arg(long, hide_short_help = true, requires = "command", conflicts_with = "once")]
    pub exec: bool,

    /// Run this command while forwarding, exit with its code
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["json", "once"])]
    pub command: Vec<OsString>,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,

    /// Whether it is started.
    #[command(flatten)]
    pub start: Start,

    /// How a session is started.
    #[command(flatten)]
    pub via: Via,

    /// What sessions are to be like.
    #[command(flatten)]
    pub session: Session,
}

const FORWARD_EXAMPLES: &str = "\
Examples:
  ecs-bridge forward web-1 5432 8080:80
  ecs-bridge forward web-1 -L 6379:cache.internal:6379 --warm 1
  ecs-bridge forward web-1 -L /tmp/db.sock:localhost:3306
  ecs-bridge forward web-1 5432 -- psql -h localhost";
