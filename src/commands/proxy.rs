//! `ecs-bridge proxy`: a port of an instance over stdin and stdout.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncRead;
use tracing::{debug, info, warn};

use crate::app::{Done, Message, Result, cache, usage, with_notice};
use crate::cli::{self, Global};
use crate::explain::ExitCode;
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::{self, LocalWrite};
use crate::gateway::gate::Gate;
use crate::gateway::local::{GOODBYE, LocalSide};
use crate::keys::known_hosts;
use crate::keys::public_key::{self, PublicKey};
use crate::keys::registration::{Registration, check_user};
use crate::platform::signals::Signals;
use crate::platform::{logging, terminal};
use crate::session::agent::AgentVersions;
use crate::session::event::SessionEvent;
use crate::session::failure::NotSent;
use crate::session::key::SessionKey;
use crate::session::origin::{OF_URL, Origin, not_of_own};
use crate::session::plan::{Plan, When};
use crate::session::queue::Queue;
use crate::session::start::Starter;
use crate::session::target::Target;
use crate::session::warning::Warning;
use crate::session::{self, SessionOutcome, SessionRequest};
use crate::target::finder::{Finder, Found, Instances, with_instance};
use crate::target::is_id;
use session_manager_proto::session::End;

/// How long to wait for more of stdin when the remote side has ended the session.
const MORE_WITHIN: Duration = Duration::from_millis(400);

/// Runs the command until either side has ended, or a signal comes.
pub(crate) async fn run(global: &Global, args: &cli::Proxy) -> Result<Done> {
    let input = args.target.as_deref().unwrap_or_default();
    let origin = Origin::new(&args.via, args.target.as_deref())?;
    if !origin.is_url() {
        Finder::check(input)?;
    }
    check_send_key(args)?;
    check_origin(args, &origin)?;
    let target = Target {
        instance: input.to_owned(),
        name: None,
        remote_host: args.remote_host.clone(),
        port: Some(args.port),
    };
    let agents = Rc::new(AgentVersions::new(cache(&args.look_up), global.quiet));
    let quiet = global.quiet;
    let tell = move |text: &str| {
        logging::record("INFO", text);
        if !quiet {
            logging::eprint(&format!("ecs-bridge: {text}"));
        }
    };
    let queue = Rc::new(Queue::new(args.session.opening.wait, tell));
    let plan = Plan::new(target, &args.session)?.of_origin(&origin);
    let plan = plan.with_agents(&agents, When::IfNotSsh).queued(&queue);
    let key = match &args.send_key {
        Some(given) => Some(key(given.as_deref(), &args.user)?),
        None => None,
    };
    let signals = Signals::inherited()
        .map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let (stdin, stdout) = endpoint::stdio()
        .map_err(|error| Message(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = origin.open(global)?;
    let asks = cloud.provider.credential_source().runs_a_program();
    if !asks {
        terminal::leave();
    }
    let finder = origin.instance(&cloud, input, &args.look_up)?;
    let input = if origin.is_url() { OF_URL } else { input };

    let (gate, writer) = Gate::new(stdout);
    let tap = OutputTap::default();
    let local = LocalSide::new(stdin, writer.shown_to(tap.shown_to()));
    let local = local.reading_ahead(cfg!(not(unix)));
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
    with_notice(tell_waiting, run.find_and_run(&finder)).await
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
    async fn find_and_run(&mut self, finder: &impl Instances) -> Result<Done> {
        let cancelled = async |run: &mut Self| Ok(run.cancelled().await);
        let work = async |run: &mut Self, found: &Found| match run.run_session(found).await {
            Err(error) if error.is_unknown_instance() && !run.has_begun.get() => Err(error),
            // The API knew the instance when a session was started.
            done => Ok(done),
        };
        with_instance(finder, self, cancelled, work).await?
    }

    /// Waits until a signal comes, or ssh has gone.
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
        if !plan.origin.is_url() {
            let remote_host = args.remote_host.as_deref();
            self.tap.set(known_hosts::watch(found, cache.clone(), remote_host, args.port));
        }
        let starter = self.starter.as_ref();
        let registration = self.key.map(|key| {
            let (cloud, instance) = (&found.cloud, found.id.as_str());
            Registration { cloud, cache: &cache, instance, user: &args.user, key }
        });
        let key = SessionKey::new(registration, found, starter);
        let output_gate = OutputGate {
            gate: &self.gate,
            key: &key,
            is_final: Cell::new(starter.is_none()),
            has_begun: &self.has_begun,
            opened: &self.opened,
            target: &plan.target,
        };
        let (ended_by, failed) = (Cell::new(None), Cell::new(None));
        let outcome = {
            let (signals, gate) = (&mut self.signals, &self.gate);
            let stop = async {
                tokio::select! {
                    biased;
                    signal = signals.next() => ended_by.set(Some(signal)),
                    error = key.register(gate, plan.queue().map(Rc::as_ref)) => failed.set(Some(error)),
                }
            };
            let mut stop = std::pin::pin!(stop.fuse());
            if !key.is_opening() {
                debug!("the session is opened once the key plug-in is installed");
                tokio::select! {
                    biased;
                    () = stop.as_mut() => {}
                    () = key.installed() => {}
                    // ssh is gone.
                    () = self.local.closed() => return Ok(Done::Normally),
                }
            }
            match key.is_opening() {
                true => {
                    let request = SessionRequest { found, plan: &plan, starter, up_by: &key.up_by };
                    let on_event = |event: SessionEvent<'_>| output_gate.on_event(event);
                    session::run(&request, &mut self.local, stop, &on_event).await
                }
                false => Ok(SessionOutcome::Stopped),
            }
        };
        if let Some(signal) = ended_by.get() {
            return Ok(Done::By(signal));
        }
        if let Some(error) = failed.take() {
            return Err(error);
        }
        if let SessionOutcome::Ended(mut outcome) = outcome? {
            if let Some(not_sent @ 0) = &mut outcome.not_sent {
                tokio::select! {
                    biased;
                    signal = self.signals.next() => return Ok(Done::By(signal)),
                    more = self.local.read_more(MORE_WITHIN, GOODBYE) => *not_sent = more,
                }
            }
            return ended(&plan.target, outcome);
        }
        Ok(Done::Normally)
    }
}

/// What is reported of a session that did not fail. One that was ended from elsewhere is no success:
/// the target may have had more to send.
fn ended(target: &Target, mut outcome: Outcome) -> Result<Done> {
    info!("{} bytes sent, {} bytes received", outcome.sent, outcome.delivered);
    if let Some(error) = outcome.local_error.take() {
        return Err(error.into());
    }
    if let Some(reason) = outcome.end.notified() {
        warn!("{}", Warning::of_notified(reason));
        return Ok(Done::Code(ExitCode::Session as u8));
    }
    let bytes = outcome.not_sent.unwrap_or(0);
    if matches!(outcome.end, End::Remote(_)) && !outcome.has_output && bytes == 0 {
        warn!("{target} accepted the connection and closed it without sending data");
    }
    // A stream whose reader has gone is complete: no answer is expected.
    let is_unanswered = outcome.end == End::Local && !outcome.complete;
    if is_unanswered && outcome.sent > 0 && outcome.delivered == 0 {
        warn!("{}", Warning::of_silence(target, outcome.yielded));
    }
    match bytes {
        0 => Ok(Done::Normally),
        bytes => Err(NotSent { bytes, target: target.clone() }.into()),
    }
}

/// Inspects what is delivered, once the instance is known.
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
    Ok(public_key::of_login(given)?.key)
}

/// `--send-key` may be followed by a file, and takes any next word for one.
fn check_send_key(args: &cli::Proxy) -> Result<()> {
    let remedy = match args.send_key.as_ref().and_then(Option::as_deref) {
        Some("-") => "name a file: stdin carries the SSH stream",
        Some(path) if is_id(path) && !Path::new(path).exists() => {
            "put another option behind it, as in  proxy --send-key --user %r %h %p"
        }
        _ => return Ok(()),
    };
    let given = args.send_key.clone().flatten().unwrap_or_default();
    usage(format!("--send-key takes {given:?} for the file of a public key"), remedy)
}

/// `--send-key` and `--start` need calls of one's own account.
fn check_origin(args: &cli::Proxy, origin: &Origin) -> Result<()> {
    let option = match (args.send_key.is_some(), args.start.start) {
        _ if origin.is_api() => return Ok(()),
        (true, _) => "--send-key",
        (_, true) => "--start",
        _ => return Ok(()),
    };
    Err(not_of_own(option, origin).into())
}

/// Opens the gate once the key is registered, so that authentication finds it, or once the session has
/// ended. It stays shut if the key cannot be registered, so that ssh does not prompt for a password
/// instead.
struct OutputGate<'a> {
    gate: &'a Gate,
    key: &'a SessionKey<'a>,
    /// Whether there is no other session after this one: the instance need not be started first.
    is_final: Cell<bool>,
    has_begun: &'a Cell<bool>,
    opened: &'a Cell<bool>,
    target: &'a Target,
}

impl OutputGate<'_> {
    fn on_event(&self, event: SessionEvent<'_>) {
        self.key.on_event(&event);
        match event {
            SessionEvent::Started(_) => self.has_begun.set(true),
            SessionEvent::Ready => {
                self.is_final.set(true);
                self.opened.set(true);
            }
            SessionEvent::Notice(notice) => {
                warn!("{}", Warning::of_notice(notice, self.target));
            }
            SessionEvent::Ended if self.is_final.get() && !self.key.has_failed() => {
                self.gate.open();
            }
            _ => {}
        }
    }
}
