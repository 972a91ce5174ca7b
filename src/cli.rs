//! The command line: types only.

use std::convert::Infallible;
mod cache;
mod configure;
mod doctor;
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

/// Reach Alibaba Cloud ECS instances that have no public address with ordinary OpenSSH.
#[derive(Debug, Parser)]
#[command(
    name = "ecs-bridge",
    version,
    about,
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

    /// The profile of the configuration file to use
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "ECS_BRIDGE_PROFILE",
        hide_env_values = true
    )]
    pub profile: Option<String>,

    /// The region of the instance, such as cn-hangzhou [default: from environment or profile]
    #[arg(
        long,
        global = true,
        value_name = "REGION",
        env = "ECS_BRIDGE_REGION",
        hide_env_values = true
    )]
    pub region: Option<String>,

    /// The ECS API endpoint, a host or a URL; http:// only for this machine [default: the region's]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ECS_BRIDGE_ENDPOINT",
        hide_env_values = true
    )]
    pub endpoint: Option<String>,

    /// The configuration file [default: ~/.aliyun/config.json]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,

    /// Certificates to trust beside the platform's own, PEM, for API, gateway and https:// proxies
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_CA_FILE",
        hide_env_values = true
    )]
    pub ca_file: Option<PathBuf>,

    /// The proxy to the API and the gateway.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ECS_BRIDGE_PROXY",
        hide_env_values = true,
        value_parser = secret,
        help = "The proxy to the API and the gateway: [http|https|socks5|socks5h]://\
                [user:password@]host[:port], or none for no proxy at all. Others on this machine \
                can see a password here: better put it into ECS_BRIDGE_PROXY [default: HTTPS_PROXY \
                or ALL_PROXY; NO_PROXY holds always]"
    )]
    pub proxy: Option<SecretString>,

    /// How API calls are signed; v1 is for private-cloud endpoints
    #[arg(
        long,
        global = true,
        value_name = "VERSION",
        env = "ECS_BRIDGE_SIGNATURE_VERSION",
        hide_env_values = true,
        default_value = "v3"
    )]
    pub signature_version: Signature,

    /// Say more on stderr: -v what is done, -vv how, -vvv each event; never a secret
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        env = "ECS_BRIDGE_VERBOSE",
        hide_env_values = true
    )]
    pub verbose: u8,

    /// Say nothing on stderr but why it failed, whatever -v says (it holds for --log-file)
    #[arg(
        short,
        long,
        global = true,
        value_parser = FalseyValueParser::new(),
        env = "ECS_BRIDGE_QUIET",
        hide_env_values = true
    )]
    pub quiet: bool,

    /// Append the log to a file instead of stderr, at least at the level of -v
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ECS_BRIDGE_LOG_FILE",
        hide_env_values = true
    )]
    pub log_file: Option<PathBuf>,

    /// Do not write to the log that `ecs-bridge log` prints; also ECS_BRIDGE_LOG=off
    #[arg(long, global = true)]
    pub no_log: bool,
}

const PROXY_ABOUT: &str = "Carry a port of an instance over stdin and stdout, as ssh's ProxyCommand.\n\n\
        stdout carries what the port sends and nothing else; everything meant for people goes to \
        stderr. The session is ended when either side ends, and on SIGHUP, SIGINT and SIGTERM, \
        within 2 seconds.";

const FORWARD_ABOUT: &str = "Listen on local ports or unix sockets, and carry every connection to a port of an \
        instance, or of another host that the instance can reach.\n\nEach connection has a session \
        of its own, so a forward works for days. It ends on SIGINT and SIGTERM: open connections \
        may go on for --grace seconds, or until a second signal.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Carry a port of an instance over stdin and stdout, as ssh's ProxyCommand
    #[command(long_about = PROXY_ABOUT)]
    Proxy(Proxy),
    /// Carry local ports or sockets to ports of an instance, for scp, sftp, IDEs, databases
    #[command(long_about = FORWARD_ABOUT)]
    Forward(Forward),
    /// Register a public key for a minute, so that ssh can log in with it
    #[command(long_about = SEND_KEY_ABOUT)]
    SendKey(SendKey),
    /// Print the host keys of an instance as known_hosts lines, for ssh's KnownHostsCommand
    #[command(long_about = KNOWN_HOSTS_ABOUT)]
    KnownHosts(KnownHosts),
    /// List instances, and whether Session Manager can reach them
    #[command(long_about = LIST_ABOUT)]
    List(List),
    /// Check all that a connection needs, and say what is missing
    #[command(long_about = DOCTOR_ABOUT)]
    Doctor(Doctor),
    /// Print the RAM policy that connections, keys or lists need
    #[command(long_about = POLICY_ABOUT)]
    Policy(Policy),
    /// Print the log, or the last failure with its cause and what to do
    #[command(long_about = LOG_ABOUT)]
    Log(Log),
    /// Set up the credentials of a profile, in the file of the aliyun CLI
    #[command(long_about = CONFIGURE_ABOUT)]
    Configure(Configure),
    /// Delete the cache, or print its folder
    #[command(long_about = CACHE_ABOUT)]
    Cache(Cache),
    /// Print what ~/.ssh/config needs, or put it there
    #[command(long_about = SSH_CONFIG_ABOUT)]
    SshConfig(SshConfig),
    /// Print a script that completes ecs-bridge's command line in a shell
    #[command(long_about = COMPLETIONS_ABOUT)]
    Completions(Completions),
    /// Print the manual page, or write all of them
    #[command(long_about = MAN_ABOUT)]
    Man(Man),
    /// Print the targets that are remembered
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

    /// The port of the instance
    #[arg(default_value_t = 22, value_parser = whole::<u16>(1, 65_535))]
    pub port: u16,

    /// The instance, instead of TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// Connect to another host that the instance can reach, instead of the instance itself
    #[arg(long, value_name = "HOST", env = "ECS_BRIDGE_REMOTE_HOST", hide_env_values = true)]
    pub remote_host: Option<String>,

    /// Register a public key with the instance while the session opens: a file, or the key itself
    /// [default: as of send-key]. The server's banner waits for it; a key that was registered less
    /// than 45 s ago is not sent again. If the key plug-in has to be installed, the session opens after that
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        conflicts_with = "remote_host"
    )]
    pub send_key: Option<Option<String>>,

    /// The user whose key --send-key registers: ssh's %r
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
    #[arg(help = format!("{TARGET}. -i names it as well"), value_hint = ValueHint::Hostname)]
    pub target: Option<String>,

    /// What to forward, by position.
    #[arg(
        value_name = "SPEC",
        help = "What to forward, as for -L: port, port:hostport or [bind:]port:host:hostport"
    )]
    pub specs: Vec<String>,

    /// The instance, instead of TARGET
    #[arg(
        short,
        long,
        value_name = "TARGET",
        env = "ECS_BRIDGE_INSTANCE",
        hide_env_values = true,
        value_hint = ValueHint::Hostname
    )]
    pub instance: Option<String>,

    /// The local port; 0 takes a free one
    #[arg(long, value_name = "PORT", value_parser = whole::<u16>(0, 65_535))]
    pub local_port: Option<u16>,

    /// The port that --local-port leads to [default: 22]
    #[arg(
        long,
        value_name = "PORT",
        requires = "local_port",
        value_parser = whole::<u16>(1, 65_535)
    )]
    pub remote_port: Option<u16>,

    /// The host that --local-port leads to, as seen from the instance [default: the instance]
    #[arg(long, value_name = "HOST", requires = "local_port")]
    pub remote_host: Option<String>,

    /// What to forward, as `ssh -L` has it.
    #[arg(
        short = 'L',
        value_name = "SPEC",
        help = "What to forward, as ssh -L has it: [bind:]port:host:hostport, port:hostport or port (of \
                the instance), or /path/to.sock:host:hostport; repeatable"
    )]
    pub forwards: Vec<spec::Forward>,

    /// The address to listen on where the forward names none; localhost is 127.0.0.1 and ::1, * is
    /// every IPv4 address, :: every one
    #[arg(long, value_name = "ADDR", default_value = "localhost", value_parser = bind)]
    pub bind: Bind,

    /// How many sessions all forwards may have connected at once; the next connections wait. The
    /// service allows 20 for an instance
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole::<usize>(1, 1000))]
    pub max_connections: usize,

    /// Keep so many channels open and ready for each forward, so that a connection starts at once.
    /// The target sees connections that say nothing; they count against the quotas
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = whole::<usize>(0, 1000)
    )]
    pub warm: usize,

    /// Renew such a channel after so many seconds; shorter than what the target lets a connection
    /// be silent for. Without --warm: end the probe's session after so long if no connection used it
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 100,
        value_parser = whole::<u64>(1, 9_000)
    )]
    pub warm_for: u64,

    /// How long open connections may go on after the signal to end, in seconds. TCP connections that
    /// are still open then are reset
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 5,
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub grace: u64,

    /// Listen without trying first whether the target can be reached. Otherwise the first connection
    /// uses the session that the probe opened
    #[arg(long)]
    pub no_probe: bool,

    /// End after the first connection, on any forward, with 0 or the code of its failure
    #[arg(long)]
    pub once: bool,

    /// Tell what happens on stdout, one JSON object a line
    #[arg(long, conflicts_with = "exec")]
    pub json: bool,

    /// Run a program with the forwards up, and end with its exit code; `-- CMD` alone does the same.
    /// Its environment has ECS_BRIDGE_ADDR, _HOST and _PORT, numbered (_1, _2, …) for several
    #[arg(long, requires = "command", conflicts_with = "once")]
    pub exec: bool,

    /// The program of --exec and its arguments
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
  ecs-bridge forward i-bp1example0001 5432 8080:80
  ecs-bridge forward --instance i-bp1example0001 --local-port 2222
  ecs-bridge forward -i i-bp1example0001 -L 5432:localhost:5432 -L 6379:cache.internal:6379
  ecs-bridge forward -i i-bp1example0001 -L /tmp/db.sock:localhost:3306 --warm 1
  ecs-bridge forward -i i-bp1example0001 -L 0:localhost:5432 -- \\
      sh -c 'psql -h $ECS_BRIDGE_HOST -p $ECS_BRIDGE_PORT'";

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
  ssh -o ProxyCommand='ecs-bridge proxy i-bp1example0001 22 --remote-host 10.0.0.7' root@inner
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
#[path = "cli/tests.rs"]
mod tests;
