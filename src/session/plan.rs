//! What sessions of one kind are to be like: the command line's options, and what each command adds.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::agent::{AgentLookUp, AgentVersions};
use super::end_calls::{END_WITHIN, EndCalls};
use super::origin::Origin;
use super::queue::{Queue, random};
use super::target::Target;
use crate::app::{Cloud, Result, usage};
use crate::cli;
use crate::cloud::{ConnectionType, StartTerminalSession};
use crate::platform::console::WindowSize;
use crate::target::SSH_PORT;
use crate::target::finder::Found;
use session_manager_proto::session::{Config, Keepalive};

/// How long EndTerminalSession may take where nobody waits for it, until the command is asked to stop.
const END_WITHIN_UNAWAITED: Duration = Duration::from_secs(5);
/// After the local end of file of a shell, which comes only if its terminal has gone.
const LINGER: Duration = Duration::from_secs(1);
/// How long before the end of an idle shell its user is warned.
const IDLE_WARNING: Duration = Duration::from_secs(15);
/// After how long without a frame of this side a keepalive is sent, unless `--keepalive` is given.
const KEEPALIVE: Duration = Duration::from_secs(50);

/// What sessions of one kind are to be like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    /// What a shell is to be like.
    shell: Option<Shell>,
    pub(crate) origin: Origin,
    connection_type: Option<ConnectionType>,
    /// Whether the remote side is known to speak first.
    server_first: bool,
    ready_delay: Duration,
    keepalive: Keepalive,
    idle_timeout: Option<Duration>,
    linger: Duration,
    pub(crate) agents: Option<(Rc<AgentVersions>, When)>,
    pub(super) end_within: Duration,
    /// What ends them, where nobody waits for that.
    pub(super) end_calls: Option<Rc<EndCalls>>,
    queue: Option<Rc<Queue>>,
    /// Whether it waits for a place before it has a local side.
    pub(super) waits_unused: bool,
    /// Whether an instance whose session does not open is looked at.
    pub(crate) diagnoses: bool,
}

/// What a shell is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    /// The account on the instance, if not the service's own.
    pub(crate) user_name: Option<String>,
    /// The program in place of the account's shell.
    pub(crate) command_line: Option<String>,
    /// The name under which the account's password is stored (Windows).
    pub(crate) password_name: Option<String>,
    /// The size of the window.
    pub(crate) window: watch::Receiver<WindowSize>,
}

/// When the version of the instance's agent is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Beside the call that starts the session.
    AtOnce,
    /// Once the stream is known not to be SSH's, for which it changes nothing.
    IfNotSsh,
}

impl Plan {
    /// A plan from the command line.
    ///
    /// # Errors
    /// When the host is not a host.
    pub(crate) fn new(target: Target, options: &cli::Session) -> Result<Self> {
        check(&target)?;
        let server_first = target.port == Some(SSH_PORT);
        Ok(Self {
            target,
            origin: Origin::Api,
            shell: None,
            connection_type: connection_type(&options.opening),
            server_first,
            ready_delay: Duration::from_secs_f64(options.ready_delay),
            keepalive: keepalive(options.keepalive),
            idle_timeout: seconds(options.idle_timeout),
            linger: Duration::from_secs(options.linger),
            agents: None,
            end_within: END_WITHIN,
            end_calls: None,
            queue: None,
            waits_unused: false,
            diagnoses: true,
        })
    }

    /// A plan for shells from the command line.
    pub(crate) fn shell(target: Target, options: &cli::Shell, shell: Shell) -> Self {
        Self {
            target,
            origin: Origin::Api,
            connection_type: connection_type(&options.opening),
            server_first: shell.command_line.is_none(),
            shell: Some(shell),
            ready_delay: Duration::ZERO,
            keepalive: keepalive(options.keepalive),
            idle_timeout: seconds(options.idle_timeout),
            linger: LINGER,
            agents: None,
            end_within: END_WITHIN,
            end_calls: None,
            queue: None,
            waits_unused: false,
            diagnoses: true,
        }
    }

    /// The size of the window of a shell, as it changes.
    pub(crate) fn window(&self) -> Option<watch::Receiver<WindowSize>> {
        self.shell.as_ref().map(|shell| shell.window.clone())
    }

    /// The same for sessions whose URL comes from elsewhere. Only the instances of one's own account can
    /// be looked at.
    pub(crate) fn of_origin(self, origin: &Origin) -> Self {
        Self { origin: origin.clone(), diagnoses: self.diagnoses && origin.is_api(), ..self }
    }

    /// The same for sessions whose EndTerminalSession nobody waits for.
    pub(crate) fn unawaited(self, end_calls: &Rc<EndCalls>) -> Self {
        Self { end_within: END_WITHIN_UNAWAITED, end_calls: Some(Rc::clone(end_calls)), ..self }
    }

    /// The same for sessions that depend on the version of the instance's agent. On port 22 it changes
    /// nothing.
    pub(crate) fn with_agents(self, agents: &Rc<AgentVersions>, when: When) -> Self {
        let is_needed = !self.server_first && self.origin.is_api();
        let agents = is_needed.then(|| (Rc::clone(agents), when));
        Self { agents, ..self }
    }

    /// The same for sessions that wait for a place where a quota is full.
    pub(crate) fn queued(self, queue: &Rc<Queue>) -> Self {
        Self { queue: Some(Rc::clone(queue)), ..self }
    }

    pub(crate) fn queue(&self) -> Option<&Rc<Queue>> {
        self.queue.as_ref()
    }

    /// Waits until another session needs the place of one that lingers. Cancel-safe.
    pub(crate) fn slot_requested(&self) -> LocalBoxFuture<'_, ()> {
        match &self.queue {
            Some(queue) => queue.slot_requested().boxed_local(),
            None => std::future::pending().boxed_local(),
        }
    }

    /// The same for a session that somebody waits for before it has a local side.
    pub(crate) fn for_probe(&self) -> Self {
        Self { waits_unused: true, ..self.clone() }
    }

    /// The look-up of the instance's agent, if it changes anything, and when it begins.
    pub(crate) fn agent<'a>(&'a self, cloud: &'a Cloud) -> Option<(AgentLookUp<'a>, When)> {
        let (agents, when) = self.agents.as_ref()?;
        Some((agents.look_up(cloud, &self.target.instance), *when))
    }

    /// The same for the instance that was found.
    pub(crate) fn to(&self, found: &Found) -> Self {
        let (instance, name) = (found.id.clone(), found.name.clone());
        Self { target: Target { instance, name, ..self.target.clone() }, ..self.clone() }
    }

    /// The same for a session that only receives: a target that should send first and does not is
    /// reported like any other. The caller has looked at the instance already.
    pub(crate) fn for_listening(&self) -> Self {
        Self { server_first: false, diagnoses: false, ..self.clone() }
    }

    pub(crate) fn request(&self) -> StartTerminalSession {
        let instance = &self.target.instance;
        let mut request = match (self.target.port, &self.shell) {
            (Some(port), _) => StartTerminalSession::to_port(instance, port),
            (None, shell) => {
                let mut request = StartTerminalSession::shell(instance);
                if let Some(shell) = shell {
                    request.user_name = shell.user_name.clone();
                    request.command_line = shell.command_line.clone();
                    request.password_name = shell.password_name.clone();
                }
                request
            }
        };
        request.target_server = self.target.remote_host.clone();
        request.connection_type = self.connection_type;
        request
    }

    pub(crate) fn config(&self) -> Config {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = now.map_or(1, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let (defaults, ready_delay, idle_warning) = match &self.shell {
            None => (Config::new(unix_ms), self.ready_delay, None),
            Some(shell) => {
                let defaults = Config::shell(unix_ms, shell.command_line.is_some());
                let ready_delay = defaults.ready_delay;
                (defaults, ready_delay, Some(IDLE_WARNING))
            }
        };
        Config {
            server_first: self.server_first,
            ready_delay,
            keepalive: self.keepalive,
            idle_warning,
            idle_timeout: self.idle_timeout,
            linger: self.linger,
            random: random(),
            ..defaults
        }
    }
}

fn connection_type(options: &cli::Opening) -> Option<ConnectionType> {
    options.connection_type.map(|kind| match kind {
        cli::ConnectionType::Internet => ConnectionType::Internet,
        cli::ConnectionType::Intranet => ConnectionType::Intranet,
    })
}

fn keepalive(after: Option<u64>) -> Keepalive {
    match after.map(seconds) {
        None => Keepalive::ByAgent(KEEPALIVE),
        Some(None) => Keepalive::Never,
        Some(Some(after)) => Keepalive::Always(after),
    }
}

/// A time of the command line, where 0 is never.
fn seconds(value: u64) -> Option<Duration> {
    (value > 0).then(|| Duration::from_secs(value))
}

fn check(target: &Target) -> Result<()> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if let Some(host) = &target.remote_host
        && (host.is_empty() || host.len() > 128 || host.contains(odd))
    {
        return usage(
            format!("{host:?} is not a host"),
            "give --remote-host a name or an address of at most 128 characters, as the \
             instance would use it",
        );
    }
    Ok(())
}
