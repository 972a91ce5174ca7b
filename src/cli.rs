//! The command line: types only.

use std::convert::Infallible;
mod cache;
mod configure;
mod doctor;
mod help;
mod keys;
mod list;
mod log;
mod look_up;
mod policy;
mod process;
mod session;
mod settle;
mod shell;
mod ssh_config;
mod start;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use secrecy::SecretString;

use self::cache::CACHE_ABOUT;
pub use self::cache::{Cache, CacheAction};
use self::configure::CONFIGURE_ABOUT;
pub use self::configure::{
    Configure, ConfigureAction, ConfigureDelete, ConfigureGet, ConfigureList, ConfigureSet,
    ConfigureSwitch,
};
use self::doctor::DOCTOR_ABOUT;
pub use self::doctor::Doctor;
use self::help::HELP_ABOUT;
pub use self::help::Help;
pub(crate) use self::help::page as help_page;
use self::keys::{KNOWN_HOSTS_ABOUT, SEND_KEY_ABOUT};
pub use self::keys::{KnownHosts, SendKey};
use self::list::LIST_ABOUT;
pub use self::list::List;
use self::log::LOG_ABOUT;
pub use self::log::Log;
pub use self::look_up::LookUp;
use self::policy::POLICY_ABOUT;
pub use self::policy::{Policy, PolicyUse};
pub use self::session::{ConnectionType, Session};
use self::shell::{COMPLETE_TARGETS_ABOUT, COMPLETIONS_ABOUT, MAN_ABOUT};
pub use self::shell::{CompleteTargets, Completions, Man};
use self::ssh_config::SSH_CONFIG_ABOUT;
pub use self::ssh_config::SshConfig;
pub use self::start::Start;
use self::text::{CREDENTIALS, EXAMPLES, EXIT_CODES, TARGET};
use crate::spec::{self, Bind, bind};

/// SSH and port forwarding to Alibaba Cloud ECS instances without a public IP address
#[derive(Debug, Parser)]
#[command(
    name = "ecs-bridge",
    version,
    about = "SSH and port forwarding to Alibaba Cloud ECS without a public IP address",
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{CREDENTIALS}\n\n{EXIT_CODES}")
)]
pub struct Cli {
    /// Options that every subcommand takes.
    #[command(flatten, next_help_heading = "Global options")]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every subcommand takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Whether the command line names the profile, and not a variable.
    #[arg(skip)]
    pub profile_is_given: bool,

    /// Use this profile of the configuration file [default: the current one]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "ECS_BRIDGE_PROFILE",
        hide_env_values = true
    )]
    pub profile: Option<String>,

    /// Use this region, such as cn-hangzhou [default: from the environment or the profile]
    #[arg(
        long,
        global = true,
        value_name = "REGION",
        env = "ECS_BRIDGE_REGION",
        hide_env_values = true
    )]
    pub region: Option<String>,

    /// Use this ECS API endpoint: a host or an https URL [default: the region's]
    ///
    /// http:// is accepted for addresses of this computer only.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ECS_BRIDGE_ENDPOINT",
        hide_env_values = true
    )]
    pub endpoint: Option<String>,

    /// Read profiles from this file [default: ~/.aliyun/config.json]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,

    /// Trust additional CA certificates (PEM), for the API, the gateway and https:// proxies
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_CA_FILE",
        hide_env_values = true
    )]
    pub ca_file: Option<PathBuf>,

    /// The network proxy.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ECS_BRIDGE_PROXY",
        hide_env_values = true,
        value_parser = secret,
        help = "Use this network proxy: [http|https|socks5|socks5h]://[user:password@]host[:port], or \
                none [default: HTTPS_PROXY or ALL_PROXY]",
        long_help = "Use this network proxy for the API and the gateway: \
                [http|https|socks5|socks5h]://[user:password@]host[:port], or none for no proxy \
                [default: HTTPS_PROXY or ALL_PROXY]\n\nOther users can see a password here: put it \
                into ECS_BRIDGE_PROXY. Hosts in NO_PROXY are always reached directly."
    )]
    pub proxy: Option<SecretString>,

    /// Sign API calls with this version; v1 is for private-cloud endpoints
    #[arg(
        long,
        global = true,
        value_name = "VERSION",
        env = "ECS_BRIDGE_SIGNATURE_VERSION",
        hide_env_values = true,
        default_value = "v3"
    )]
    pub signature_version: Signature,

    /// Print more on stderr: -v what is done, -vv how, -vvv each event; never a secret
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        env = "ECS_BRIDGE_VERBOSE",
        hide_env_values = true
    )]
    pub verbose: u8,

    /// Print only errors on stderr, even with -v (-v still applies to --log-file)
    #[arg(
        short,
        long,
        global = true,
        value_parser = FalseyValueParser::new(),
        env = "ECS_BRIDGE_QUIET",
        hide_env_values = true
    )]
    pub quiet: bool,

    /// Append the log to this file instead of stderr, at least at the level of -v
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_LOG_FILE",
        hide_env_values = true
    )]
    pub log_file: Option<PathBuf>,

    /// Do not write the log that `ecs-bridge log` prints; also ECS_BRIDGE_LOG=off
    #[arg(long, global = true)]
    pub no_log: bool,
}

const PROXY_ABOUT: &str = "Connect stdin and stdout to a port of an instance (ssh's ProxyCommand).\n\n\
        stdout has what the port sends and nothing else; messages go to stderr. The session is \
        ended within 2 seconds when either side ends, and on SIGHUP, SIGINT and SIGTERM.";

const FORWARD_ABOUT: &str = "Forward local ports or unix sockets to an instance, or to a host that the instance \
        can reach.\n\nEach connection has its own session, so a forward can run for days. It ends on \
        SIGINT (Ctrl-C) and SIGTERM: open connections may continue for --grace seconds, or until a \
        second signal.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect stdin and stdout to a port (ProxyCommand)
    #[command(long_about = PROXY_ABOUT)]
    Proxy(Proxy),
    /// Forward local ports: databases, RDP, web UIs
    #[command(long_about = FORWARD_ABOUT)]
    Forward(Forward),
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
    /// Print the help of a command or of a topic
    #[command(long_about = HELP_ABOUT)]
    Help(Help),
    /// Print the cached targets
    #[command(hide = true, long_about = COMPLETE_TARGETS_ABOUT)]
    CompleteTargets(CompleteTargets),
}

/// `ecs-bridge proxy`
#[derive(Args, Debug)]
#[command(
    after_help = PROXY_EXAMPLES,
    after_long_help = format!("{PROXY_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct Proxy {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, required_unless_present = "instance")]
    pub target: Option<String>,

    /// Port of the instance
    #[arg(default_value_t = 22, value_parser = whole::<u16>(1, 65_535))]
    pub port: u16,

    /// The same as TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// Connect to this host, from the instance
    #[arg(long, value_name = "HOST", env = "ECS_BRIDGE_REMOTE_HOST", hide_env_values = true)]
    pub remote_host: Option<String>,

    /// Register a public key (file or text)
    ///
    /// The default is that of send-key. The key is registered for 60 seconds while the session opens; the server's banner waits for
    /// it. A key that was registered less than 45 seconds ago is not registered again. If the key
    /// plug-in has to be installed, the session opens after that.
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

    /// What its session is to be like.
    #[command(flatten)]
    pub session: Session,
}

/// `ecs-bridge forward`
#[derive(Args, Debug)]
#[command(
    after_help = FORWARD_EXAMPLES,
    after_long_help = format!("{FORWARD_EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct Forward {
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
        hide_env_values = true,
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
    /// Without --warm: end the session of the first test after this time if no connection uses it.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        default_value_t = 100,
        value_parser = whole::<u64>(1, 9_000)
    )]
    pub warm_for: u64,

    /// Let open connections finish for this many seconds after Ctrl-C; TCP connections that are still
    /// open then are reset
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

/// Reads a number within bounds.
fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a number from {least} to {most}"))
    }
}

const PROXY_EXAMPLES: &str = "\
Examples:
  ssh -o ProxyCommand='ecs-bridge proxy %h %p' root@i-bp1example0001
  ssh -o ProxyCommand='ecs-bridge proxy web-1 22 --remote-host 10.0.0.7' inner
  printf 'PING\\r\\n' | ecs-bridge proxy i-bp1example0001 6379";

/// How API calls are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signature {
    /// ACS3-HMAC-SHA256
    V3,
    /// HMAC-SHA1
    V1,
}

/// What is not shown, however the command line is.
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;
