//! `ecs-bridge proxy`: its arguments.

use clap::{Args, ValueHint};

use super::look_up::LookUp;
use super::session::Session;
use super::start::Start;
use super::text::TARGET;
use super::values::whole;
use super::via::Via;
use crate::target::SSH_PORT;

pub(super) const PROXY_ABOUT: &str = "Connect stdin and stdout to a port of an instance (ssh's ProxyCommand).\n\n\
        stdout has what the port sends and nothing else; messages go to stderr. The session ends \
        within 2 seconds when the remote side ends it, when the reader of stdout is gone (as when ssh \
        exits), and on SIGHUP, SIGINT, SIGQUIT and SIGTERM. After end of file on stdin alone it stays open \
        until no data has arrived for --linger seconds.";

/// `ecs-bridge proxy`
#[derive(Args, Debug)]
#[command(after_help = PROXY_EXAMPLES)]
pub(crate) struct Proxy {
    /// The instance
    #[arg(
        help = TARGET,
        value_hint = ValueHint::Hostname,
        required_unless_present_any = ["instance", "wss_url"]
    )]
    pub target: Option<String>,

    /// Port of the instance
    #[arg(default_value_t = SSH_PORT, value_parser = whole::<u16>(1, 65_535))]
    pub port: u16,

    /// The same as TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// Connect to this host, from the instance
    #[arg(long, value_name = "HOST", env = "ECS_BRIDGE_REMOTE_HOST")]
    pub remote_host: Option<String>,

    /// Register a public key (file or text)
    ///
    /// The default is that of send-key. The key is registered for 60 seconds while the session
    /// opens; the server's banner is held back until it is registered. A key that was registered
    /// less than 45 seconds ago is not registered again. If the key plug-in has to be installed,
    /// the session opens after that.
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        conflicts_with = "remote_host"
    )]
    pub send_key: Option<Option<String>>,

    /// Register the key for this user: ssh's %r
    #[arg(
        long,
        visible_alias = "user-name",
        value_name = "NAME",
        default_value = "root",
        requires = "send_key"
    )]
    pub user: String,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,

    /// Whether it is started.
    #[command(flatten)]
    pub start: Start,

    /// How a session is started.
    #[command(flatten)]
    pub via: Via,

    /// What its session is to be like.
    #[command(flatten)]
    pub session: Session,
}

const PROXY_EXAMPLES: &str = "\
Examples:
  ssh -o ProxyCommand='ecs-bridge proxy %h %p' root@i-bp1example0001
  ssh -o ProxyCommand='ecs-bridge proxy web-1 22 --remote-host 10.0.0.7' inner
  printf 'PING\\r\\n' | ecs-bridge proxy i-bp1example0001 6379";
