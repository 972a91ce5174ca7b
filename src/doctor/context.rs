//! The checks in their order, and the results that they share.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::check::Check;
use super::outcome::Outcome;
use crate::app::Cloud;
use crate::cli::{self, Global};
use crate::cloud::{AgentStatus, ClockReading, InstanceState};
use crate::explain::Explain;
use crate::openssh::{Options, Ssh};
use crate::target::finder::Found;

/// How long all of it may take. What is left of a minute is for ending the session.
const WITHIN: Duration = Duration::from_secs(55);
/// How long the session may take to be ended once a signal has come.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// The arguments of the checks, and the results that they share.
pub(crate) struct DoctorContext<'a> {
    pub(crate) global: &'a Global,
    pub(crate) args: &'a cli::Doctor,
    pub(crate) deadline: Instant,
    /// Notified when the session is to end early.
    pub(crate) stop: Notify,
    pub(crate) in_session: Cell<bool>,
    pub(crate) session_ended: Notify,
    /// Why there are no credentials, where that is known from the configuration.
    pub(crate) no_credentials: RefCell<Option<Box<dyn Explain>>>,
    pub(crate) cloud: OnceCell<Cloud>,
    /// When the API was called, and what the clocks said at its answer.
    pub(crate) times: OnceCell<Option<(SystemTime, ClockReading)>>,
    pub(crate) found: OnceCell<Found>,
    pub(crate) state: OnceCell<Option<InstanceState>>,
    pub(crate) agent: OnceCell<AgentStatus>,
    pub(crate) ssh: OnceCell<Ssh>,
    pub(crate) through: OnceCell<Through>,
    /// What the session has shown of its port.
    pub(crate) port: RefCell<Option<Outcome>>,
}

/// How ssh comes to the instance.
pub(crate) struct Through {
    pub(crate) options: Options,
    /// The words of its `ProxyCommand`.
    pub(crate) words: Vec<String>,
    /// This program, as the first of them names it.
    pub(crate) program: PathBuf,
}

impl<'a> DoctorContext<'a> {
    pub(crate) fn new(global: &'a Global, args: &'a cli::Doctor) -> Self {
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

    /// All checks, in the order in which they are reported, each with those that it needs and the seconds
    /// that it may take.
    #[rustfmt::skip]
    pub(crate) fn checks(&self) -> Vec<Check<'_>> {
        // A command is run in the instance only with --send-key.
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

    /// The outcome of a check of the instance that lacks a result of another check, or a TARGET.
    pub(super) fn not_known(&self, what: &str) -> Outcome {
        self.args.target.as_ref().map_or_else(without_target, |_| not_known(what))
    }

    /// Ends an open session, while the other checks go on.
    pub(crate) async fn end_session(&self, checks: impl Future) {
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

/// The outcome of a check that needs a TARGET.
pub(super) fn without_target() -> Outcome {
    Outcome::skipped("not looked at: no TARGET was given")
}

/// The outcome of a check that lacks a result of another check.
pub(crate) fn not_known(what: &str) -> Outcome {
    Outcome::skipped(format!("not looked at: {what} is not known"))
}
