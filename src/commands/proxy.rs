//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::app::{Cloud, Done, Message, Result, UsageError, cache, telling};
use crate::cli::{self, Global};
use crate::credentials::home;
use crate::explain::ExitCode;
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::{self, LocalWrite};
use crate::gateway::gate::Gate;
use crate::gateway::local::LocalSide;
use crate::keys::known_hosts;
use crate::keys::public_key::{self, PublicKey};
use crate::keys::registration::{FRESH, Registration, check_user};
use crate::platform::signals::Signals;
use crate::platform::{logging, terminal};
use crate::session::agent::AgentVersions;
use crate::session::event::SessionEvent;
use crate::session::plan::{Ask, Plan};
use crate::session::queue::Queue;
use crate::session::start::{Starter, do_started};
use crate::session::target::Target;
use crate::session::warning::Warning;
use crate::session::{self, SessionOutcome, SessionRequest};
use crate::target::finder::{Finder, Found, with_instance};
use crate::target::is_id;
use session_manager_proto::session::End;

/// How long a registration that has failed lets the session be started that is to be ended.
const STARTED_WITHIN: Duration = Duration::from_secs(15);

/// Runs the command until either side has ended, or a signal comes.
pub(crate) async fn run(global: &Global, args: &cli::Proxy) -> Result<Done> {
    let input = args.target.as_deref().unwrap_or_default();
    Finder::check(input)?;
    check_send_key(args)?;
    let target = Target {
        instance: input.to_owned(),
        name: None,
        remote_host: args.remote_host.clone(),
        port: Some(args.port),
    };
    let agents = Rc::new(AgentVersions::new(cache(&args.look_up)));
    let quiet = global.quiet;
    let tell = move |text: &str| {
        logging::done(text);
        if !quiet {
            logging::tell(&format!("ecs-bridge: {text}"));
        }
    };
    let queue = Rc::new(Queue::new(args.session.opening.wait, tell));
    let plan = Plan::new(target, &args.session)?.heeding(&agents, Ask::IfNotSsh).queued(&queue);
    let key = match &args.send_key {
        Some(given) => Some(key(given.as_deref(), &args.user)?),
        None => None,
    };
    let signals = Signals::inherited()
        .map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let local = endpoint::stdio()
        .map_err(|error| Message(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = Cloud::open(global)?;
    let asks = cloud.provider.credential_source().runs_a_program();
    if !asks {
        terminal::leave();
    }
    let finder = Finder::new(&cloud, input, &args.look_up)?;

    let (gate, writer) = Gate::new(local.writer);
    let tap = OutputTap::default();
    let local = LocalSide::new(local.reader, writer.shown_to(tap.shown_to()));
    let starter = Starter::new(&args.start, tell);
    let (has_begun, is_open) = (Cell::new(false), Rc::new(Cell::new(false)));
    let key = key.as_ref();
    let opened = Rc::clone(&is_open);
    let mut run = Run { args, starter, plan, key, gate, tap, signals, local, has_begun, opened };
    if asks {
        // The program may ask on the terminal, which is left afterwards.
        tokio::select! {
            biased;
            obtained = cloud.client.obtain_credentials("StartTerminalSession") => obtained?,
            done = run.cancelled() => return Ok(done),
        }
        terminal::leave();
    }
    let tell_waiting = || {
        if !is_open.get() {
            tell(&format!("waiting for a session to port {} of {input}", args.port));
        }
    };
    telling(tell_waiting, run.find_and_run(&finder)).await
}

/// The command at work.
struct Run<'a, R, W> {
    args: &'a cli::Proxy,
    starter: Option<Starter>,
    plan: Plan,
    key: Option<&'a PublicKey>,
    gate: Gate,
    tap: OutputTap,
    signals: Signals,
    local: LocalSide<R, W>,
    /// Whether there was a session.
    has_begun: Cell<bool>,
    /// Whether one was open.
    opened: Rc<Cell<bool>>,
}

impl<R: AsyncRead + Unpin, W: LocalWrite> Run<'_, R, W> {
    /// Finds the instance, and runs a session with it to its end.
    async fn find_and_run(&mut self, finder: &Finder) -> Result<Done> {
        let cancelled = async |run: &mut Self| Ok(run.cancelled().await);
        let work = async |run: &mut Self, found: &Found| match run.run_session(found).await {
            Err(error) if error.is_unknown_instance() && !run.has_begun.get() => Err(error),
            // The API knew the instance when a session was started.
            done => Ok(done),
        };
        with_instance(finder, self, cancelled, work).await?
    }

    /// Waits until a signal comes, or nobody is left to run a session for.
    async fn cancelled(&mut self) -> Done {
        tokio::select! {
            biased;
            signal = self.signals.next() => Done::By(signal),
            () = self.local.closed() => Done::Normally,
        }
    }

    /// Runs a session with an instance to its end.
    async fn run_session(&mut self, found: &Found) -> Result<Done> {
        let (args, cache) = (self.args, cache(&self.args.look_up));
        let plan = self.plan.to(found);
        self.tap.set(known_hosts::watch(found, cache.clone(), args.remote_host.as_deref()));
        let starter = self.starter.as_ref();
        let output_gate = OutputGate {
            gate: &self.gate,
            is_final: Cell::new(starter.is_none()),
            registration_failed: Cell::new(false),
            started: Notify::new(),
            connected: Notify::new(),
            ready: Notify::new(),
            has_begun: &self.has_begun,
            opened: &self.opened,
            target: &plan.target,
        };
        let (ended_by, failed) = (Cell::new(None), Cell::new(None));
        let registration = self.key.map(|key| {
            let (cloud, instance) = (&found.cloud, found.id.as_str());
            Registration { cloud, cache: &cache, instance, user: &args.user, key }
        });
        let was_fresh = registration.as_ref().is_some_and(Registration::is_fresh);
        let of_key = registration.as_ref();
        let registration = of_key.filter(|_| !was_fresh);
        // Installing the plug-in restarts sshd, and a connection that sshd has accepted before never
        // asks for the key: only where the plug-in is known is the session opened meanwhile.
        let waits = registration.is_some_and(|registration| !registration.has_plugin());
        let (is_opening, is_installed) = (Cell::new(!waits), Cell::new(false));
        let (installed, up_by) = (Notify::new(), Cell::new(None));
        let signals = &mut self.signals;
        let stop = async {
            let not_registered = async {
                let register = async |registration: &Registration<'_>| -> Result<()> {
                    let tell = || {
                        is_installed.set(true);
                        installed.notify_one();
                    };
                    let register = async || registration.register(false, tell).await;
                    if waits {
                        do_started(starter, &up_by, found, &is_installed, register).await?;
                        return Ok(());
                    }
                    match register().await {
                        Err(error) if starter.is_some() && error.is_of_starting() => {
                            debug!("once the instance is up the key is registered: {error}");
                            output_gate.ready.notified().await;
                            register().await?;
                        }
                        registered => drop(registered?),
                    }
                    Ok(())
                };
                if let Some(registration) = registration
                    && let Err(error) = register(registration).await
                {
                    output_gate.registration_failed.set(true);
                    failed.set(Some(error));
                    if is_opening.get() {
                        // A session that is being started can only be ended once it is known.
                        let _ = timeout(STARTED_WITHIN, output_gate.started.notified()).await;
                    }
                    return;
                }
                let registered = Instant::now();
                // The instance may be gone, and the next one not have the key yet.
                output_gate.connected.notified().await;
                // A session that had to wait for a place may come later than the key is good for.
                let is_good = |key: &Registration<'_>| match was_fresh {
                    true => key.is_fresh(),
                    false => registered.elapsed() < FRESH,
                };
                if plan.queue().is_some_and(Queue::was_full)
                    && let Some(key) = of_key
                    && !is_good(key)
                    && let Err(error) = key.register(false, || ()).await
                {
                    output_gate.registration_failed.set(true);
                    failed.set(Some(error.into()));
                    return;
                }
                output_gate.gate.open();
                std::future::pending().await
            };
            tokio::select! {
                biased;
                signal = signals.next() => ended_by.set(Some(signal)),
                () = not_registered => {}
            }
        };
        let mut stop = std::pin::pin!(stop.fuse());
        if waits {
            debug!("the session is opened once the key plug-in is installed");
            tokio::select! {
                biased;
                () = stop.as_mut() => {}
                () = installed.notified() => is_opening.set(true),
                // ssh is gone.
                () = self.local.closed() => return Ok(Done::Normally),
            }
        }
        let outcome = match is_opening.get() {
            true => {
                let (plan, up_by) = (&plan, &up_by);
                let request = SessionRequest { found, plan, starter, up_by };
                let on_event = |event: SessionEvent<'_>| output_gate.on_event(event);
                session::run(&request, &mut self.local, stop, &on_event).await
            }
            false => Ok(SessionOutcome::Stopped),
        };
        if let Some(signal) = ended_by.get() {
            return Ok(Done::By(signal));
        }
        if let Some(error) = failed.take() {
            return Err(error);
        }
        if let SessionOutcome::Ended(outcome) = outcome? {
            ended(&plan.target, outcome)?;
        }
        Ok(Done::Normally)
    }
}

/// What there is to say of a session that did not fail.
fn ended(target: &Target, mut outcome: Outcome) -> Result<()> {
    info!("{} bytes sent, {} bytes received", outcome.sent, outcome.delivered);
    if matches!(outcome.end, End::Remote(_)) && !outcome.has_output {
        warn!("{target} took the connection and closed it without a word");
    }
    if outcome.end == End::Local && outcome.sent > 0 && outcome.delivered == 0 {
        warn!("{}", Warning::of_silence(target, outcome.yielded));
    }
    match outcome.local_error.take() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Looks at what is delivered, once it is known of whom it comes.
#[derive(Clone, Default)]
struct OutputTap(Rc<RefCell<Option<Tap>>>);

type Tap = Box<dyn FnMut(&[u8])>;

impl OutputTap {
    fn set(&self, tap: impl FnMut(&[u8]) + 'static) {
        self.0.replace(Some(Box::new(tap)));
    }

    fn shown_to(&self) -> impl FnMut(&[u8]) + use<> {
        let tap = self.clone();
        move |bytes| {
            if let Some(tap) = &mut *tap.0.borrow_mut() {
                tap(bytes);
            }
        }
    }
}

/// The key to register. It is read before anything is sent.
fn key(given: Option<&str>, user: &str) -> Result<PublicKey> {
    check_user(user)?;
    // The variable that send-key takes its key from.
    let set =
        std::env::var("ECS_BRIDGE_PUBLIC_KEY").ok().filter(|key| !key.is_empty() && key != "-");
    Ok(public_key::load(given.or(set.as_deref()), home().as_deref())?.key)
}

/// `--send-key` may be followed by a file, and takes what is none for one.
fn check_send_key(args: &cli::Proxy) -> Result<()> {
    let remedy = match args.send_key.as_ref().and_then(Option::as_deref) {
        Some("-") => "name a file: stdin carries the SSH stream",
        Some(path) if is_id(path) && !Path::new(path).exists() => {
            "put another option behind it, as in  proxy --send-key --user %r %h %p"
        }
        _ => return Ok(()),
    };
    let given = args.send_key.clone().flatten().unwrap_or_default();
    Err(UsageError {
        what: format!("--send-key takes {given:?} for the file of a public key"),
        remedy: remedy.to_owned(),
        exit_code: ExitCode::Usage,
    }
    .into())
}

/// ssh tells its user what there is to tell. The gate opens once the key is registered, so that
/// authentication finds it, or once there is nobody left to authenticate with. It stays shut if the
/// key cannot be registered: no password is asked for in place of it.
struct OutputGate<'a> {
    gate: &'a Gate,
    /// Whether there is no other session after this one: the instance need not be started first.
    is_final: Cell<bool>,
    registration_failed: Cell<bool>,
    started: Notify,
    connected: Notify,
    ready: Notify,
    has_begun: &'a Cell<bool>,
    opened: &'a Cell<bool>,
    target: &'a Target,
}

impl OutputGate<'_> {
    fn on_event(&self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::Started(_) => {
                self.has_begun.set(true);
                self.started.notify_one();
            }
            SessionEvent::Connected => self.connected.notify_one(),
            SessionEvent::Ready => {
                self.is_final.set(true);
                self.opened.set(true);
                self.ready.notify_one();
            }
            SessionEvent::Notice(notice) => {
                warn!("{}", Warning::of_notice(notice, self.target));
            }
            SessionEvent::Ended if self.is_final.get() && !self.registration_failed.get() => {
                self.gate.open();
            }
            _ => {}
        }
    }
}
