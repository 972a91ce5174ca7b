//! `ecs-bridge doctor`: all that a connection needs, looked at one after the other.

mod access;
mod banner;
mod instance;
mod keys;
mod network;
mod openssh;
mod session;
mod setup;

use std::cell::{Cell, OnceCell, RefCell};
use std::env;
use std::future::Future;
use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::openssh::Through;
use super::target::{Finder, Found};
use super::{Cloud, Done, Message, Result, print};
use crate::cache::DAY;
use crate::cli::{self, Global};
use crate::cloud::{AgentStatus, ClockReading, InstanceState};
use crate::doctor::{Check, CheckFailure, Outcome, exit_code, run_checks, show};
use crate::explain::{ExitCode, Explain};
use crate::logging::{self, Folder, LastFailure};
use crate::openssh::Ssh;
use crate::shutdown::Signals;

/// How long all of it may take. What is left of a minute is for ending the session.
const WITHIN: Duration = Duration::from_secs(55);
/// How long the session may take to be ended once a signal has come.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// What the checks know, and find out for each other.
struct DoctorContext<'a> {
    global: &'a Global,
    args: &'a cli::Doctor,
    deadline: Instant,
    /// Somebody wants it to end.
    stop: Notify,
    in_session: Cell<bool>,
    session_ended: Notify,
    /// Why there are no credentials, where that is known from the configuration.
    no_credentials: RefCell<Option<Box<dyn Explain>>>,
    cloud: OnceCell<Cloud>,
    times: OnceCell<Option<ClockReading>>,
    found: OnceCell<Found>,
    state: OnceCell<Option<InstanceState>>,
    agent: OnceCell<AgentStatus>,
    ssh: OnceCell<Ssh>,
    through: OnceCell<Through>,
    /// What the session has shown of its port.
    port: RefCell<Option<Outcome>>,
}

/// Runs the command. What is wrong with the setting-up is told by the checks.
pub(super) async fn run(global: &Global, args: &cli::Doctor) -> Result<Done> {
    if let Some(target) = &args.target {
        Finder::check(target)?;
    }
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let context = DoctorContext::new(global, args);
    let in_colour = in_colour();
    let mut unwritten = None;
    let mut tell = |text: &dyn std::fmt::Display| {
        // Whoever has closed stdout wants no more of it.
        if unwritten.is_none() {
            unwritten = print(text).err();
        }
    };
    let last_failure = last_failure(global);
    if let Some(failure) = &last_failure
        && !args.json
    {
        let trouble = CheckFailure {
            what: failure.what.clone(),
            why: failure.why.clone(),
            fix: failure.fix.clone(),
            request_id: failure.request_id.clone(),
            // It is not shown.
            exit_code: ExitCode::Failed,
        };
        tell(&show::last_failure(&failure.title(SystemTime::now()), &trouble, in_colour));
    }
    let checked = {
        let checks = run_checks(context.checks(), context.deadline, |one| {
            if !args.json {
                tell(&show::lines(one, in_colour));
            }
        });
        let mut checks = std::pin::pin!(checks);
        tokio::select! {
            checked = checks.as_mut() => checked,
            signal = signals.next() => {
                context.end_session(checks).await;
                return Ok(Done::By(signal));
            }
        }
    };
    match args.json {
        true => {
            let mut document = show::json(&checked, args.target.as_deref());
            document["last_failure"] = serde_json::json!(last_failure);
            tell(&document);
        }
        false if !global.quiet => {
            tell(&show::summary(&checked));
            if args.target.is_none() {
                tell(&"To check an instance and the way to it: ecs-bridge doctor INSTANCE");
            }
        }
        false => {}
    }
    match unwritten {
        Some(error) => Err(error),
        None => Ok(Done::Code(exit_code(&checked) as u8)),
    }
}

/// The last failure of any command, if it is younger than a day.
fn last_failure(global: &Global) -> Option<LastFailure> {
    if logging::is_off(global.no_log) {
        return None;
    }
    let failure = LastFailure::read(&Folder::of_process()?)?;
    failure.age(SystemTime::now()).is_some_and(|age| age < DAY).then_some(failure)
}

/// Colours are for terminals whose users do not mind.
fn in_colour() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

impl<'a> DoctorContext<'a> {
    fn new(global: &'a Global, args: &'a cli::Doctor) -> Self {
        Self {
            global,
            args,
            deadline: Instant::now() + WITHIN,
            stop: Notify::new(),
            in_session: Cell::new(false),
            session_ended: Notify::new(),
            no_credentials: RefCell::default(),
            cloud: OnceCell::new(),
            times: OnceCell::new(),
            found: OnceCell::new(),
            state: OnceCell::new(),
            agent: OnceCell::new(),
            ssh: OnceCell::new(),
            through: OnceCell::new(),
            port: RefCell::default(),
        }
    }

    /// All checks, in the order in which they are told, each with those that it needs and the seconds
    /// that it may take.
    #[rustfmt::skip]
    fn checks(&self) -> Vec<Check<'_>> {
        // A command is run in the instance only if that is asked for.
        let (needs, seconds): (&[_], _) = match self.args.send_key {
            true => (&["agent_online"], 25),
            false => (&["instance"], 2),
        };
        vec![
            check("configuration", "configuration", &[], 5, self.configuration()),
            check("credentials", "credentials", &["configuration"], 20, self.credentials()),
            check("dns", "DNS", &["credentials"], 11, self.dns()),
            check("proxy", "proxy", &["dns"], 6, self.proxy()),
            check("connection", "connection", &["proxy"], 6, self.connection()),
            check("tls", "TLS", &["connection"], 11, self.tls()),
            check("endpoint", "endpoint", &["tls"], 10, self.endpoint()),
            check("clock", "clock", &["endpoint"], 1, self.clock()),
            check("access_key", "access key", &["clock"], 10, self.access_key()),
            check("permission", "permission", &["access_key"], 10, self.permission()),
            check("instance", "instance", &["access_key"], 12, self.instance()),
            // It is switched on for each region, and the instance may be in another one.
            Check {
                after: &["instance"],
                ..check("session_manager", "Session Manager", &["access_key"], 10, self.session_manager())
            },
            check("running", "running", &["instance"], 1, self.running()),
            check("agent_installed", "agent installed", &["instance"], 10, self.agent_installed()),
            check("agent_online", "agent online", &["running", "agent_installed"], 1, self.agent_online()),
            check("agent_version", "agent version", &["agent_installed"], 1, self.agent_version()),
            check("agent_sessions", "agent's sessions", &["agent_version"], 1, self.agent_sessions()),
            check("session", "session", &["session_manager", "agent_online", "agent_sessions"], 25, self.session()),
            check("port", "port", &["session"], 1, self.port()),
            check("key_plugin", "key plug-in", needs, seconds, self.key_plugin()),
            check("ssh", "ssh", &[], 6, self.ssh()),
            Check {
                after: &["instance", "ssh"],
                ..check("ssh_config", "ssh's configuration", &[], 16, self.ssh_config())
            },
            check("proxy_shell", "ssh's shell", &["ssh_config"], 6, self.proxy_shell()),
            check("known_hosts_command", "host key command", &["ssh_config"], 1, self.known_hosts_command()),
            check("ssh_key", "ssh's key", &["ssh_config"], 4, self.ssh_key()),
        ]
    }

    /// Lets a session that is open be ended, while all else goes on.
    async fn end_session(&self, checks: impl Future) {
        self.stop.notify_one();
        if self.in_session.get() {
            let ended = async {
                tokio::select! {
                    _ = checks => {}
                    () = self.session_ended.notified() => {}
                }
            };
            let _ = timeout(CLEAN_UP, ended).await;
        }
    }
}

fn check<'a>(
    id: &'static str,
    title: &'static str,
    needs: &'static [&'static str],
    seconds: u64,
    work: impl Future<Output = Outcome> + 'a,
) -> Check<'a> {
    let within = Duration::from_secs(seconds);
    Check { id, title, needs, after: &[], within, work: work.boxed_local() }
}

/// What a check says that has nothing to look at.
fn without_target() -> Outcome {
    Outcome::skipped("not looked at: no TARGET was given")
}

/// What a check says whose forerunner could not find out what it needs.
fn not_known(what: &str) -> Outcome {
    Outcome::skipped(format!("not looked at: {what} is not known"))
}
