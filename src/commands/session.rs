//! `ecs-bridge session`: a shell on an instance.

use std::cell::Cell;
use std::io::{self, IsTerminal as _};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncRead;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::app::{Done, Message, Result, UsageError, usage};
use crate::cli::{self, Global};
use crate::cloud::MAX_COMMAND_LINE;
use crate::explain::ExitCode;
use crate::gateway::driver::Outcome;
use crate::gateway::endpoint::{self, LocalWrite};
use crate::gateway::local::LocalSide;
use crate::platform::console::{Console, WindowSize};
use crate::platform::logging;
use crate::platform::signals::{Signal, Signals};
use crate::session::error::SessionError;
use crate::session::event::{Notice, SessionEvent};
use crate::session::failure::NotSent;
use crate::session::origin::{OF_URL, Origin, not_of_own};
use crate::session::plan::{Plan, Shell};
use crate::session::queue::Queue;
use crate::session::start::Starter;
use crate::session::target::Target;
use crate::session::warning::Warning;
use crate::session::{self, SessionOutcome, SessionRequest};
use crate::shell::{Action, Escapes, OutputState, ShellInput, ShellOutput, Spinner};
use crate::target::finder::{Finder, Found, Instances, with_instance};
use session_manager_proto::session::{End, Failure, RemoteEnd};
use session_manager_proto::status::ReasonKind;

/// The longest name of a user or of a password, in bytes.
const MAX_NAME: usize = 255;

/// The note where stdin or stdout is no terminal.
const TEXT_ONLY: &str = "the stream of a shell is not 8-bit clean: text passes, tabs (a prompt completes words at \
                         them) and binary data may not";

/// Runs the command until the shell has ended, the user leaves, or a signal comes.
pub(crate) async fn run(global: &Global, args: &cli::Shell) -> Result<Done> {
    let input = args.target.as_deref().unwrap_or_default();
    let origin = Origin::new(&args.via, args.target.as_deref())?;
    if !origin.is_url() {
        Finder::check(input)?;
    }
    if args.start.start && !origin.is_api() {
        return Err(not_of_own("--start", &origin).into());
    }
    check(args)?;
    let is_interactive = Console::is_there();
    if is_interactive && Console::is_mintty() {
        return Err(no_console().into());
    }
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    let (stdin, stdout) = endpoint::stdio()
        .map_err(|error| Message(format!("cannot use stdin and stdout: {error}")))?;
    let cloud = origin.open(global)?;
    let finder = origin.instance(&cloud, input, &args.look_up)?;
    let input = if origin.is_url() { OF_URL } else { input };
    if cloud.provider.credential_source().runs_a_program() {
        // The program may ask on the terminal, which is changed afterwards.
        tokio::select! {
            biased;
            obtained = cloud.client.obtain_credentials("StartTerminalSession") => obtained?,
            signal = signals.next() => return Ok(Done::By(signal)),
        }
    }

    let (console, changes) = match is_interactive {
        true => {
            let taken = Console::take();
            let (console, changes) =
                taken.map_err(|error| Message(format!("cannot set the terminal up: {error}")))?;
            (Some(Rc::new(console)), Some(changes))
        }
        false => (None, None),
    };
    let spins = is_interactive && !global.quiet;
    let spinner = Rc::new(Spinner::new(spins, &format!("Starting a session with {input}")));
    let (quiet, shown_around) = (global.quiet, Rc::clone(&spinner));
    let tell = move |text: &str| {
        logging::record("INFO", text);
        if !quiet {
            shown_around.suspended(|| logging::eprint(&format!("ecs-bridge: {text}")));
        }
    };
    let (window, size) = watch::channel(WindowSize::of_process());
    let queue = Rc::new(Queue::new(args.opening.wait, tell.clone()));
    let target = Target { instance: input.to_owned(), name: None, remote_host: None, port: None };
    let shell = Shell {
        user_name: args.user_name.clone(),
        command_line: args.command.clone(),
        password_name: args.password_name.clone(),
        window: size,
    };
    let output = Rc::new(OutputState::default());
    let left = Rc::new(Notify::new());
    let reader = match &console {
        Some(console) => {
            let (console, left) = (Rc::clone(console), Rc::clone(&left));
            let act = move |action, help: &str| act(action, help, &console, &left);
            ShellInput::keys(stdin, Escapes::new(args.escape_char.0), act)
        }
        None => ShellInput::script(stdin, &output),
    };
    let stdout =
        ShellOutput::new(stdout, &output).for_console(cfg!(windows) && io::stdout().is_terminal());
    let tell_end = tell.clone();
    let mut run = Run {
        plan: Plan::shell(target, args, shell).of_origin(&origin).queued(&queue),
        starter: Starter::new(&args.start, tell.clone()),
        local: LocalSide::new(reader, stdout),
        signals,
        console: console.clone(),
        spinner,
        left,
        note_text_only: Box::new(move || tell(TEXT_ONLY)),
        has_begun: Cell::new(false),
    };
    let watched = async {
        match (&console, changes) {
            (Some(console), Some(mut changes)) => console.watch(&mut changes, &window).await,
            _ => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = run.find_and_run(&finder) => ended,
        never = watched => match never {},
    };
    run.spinner.clear();
    if !output.is_line_start() && is_interactive {
        logging::eprint(&"");
    }
    drop(run);
    // The terminal is as it was before anything is written below the shell's output.
    drop(console);
    let ended = ended?;
    if let Some(text) = ended.text(args) {
        tell_end(&text);
    }
    Ok(ended.done())
}

/// The window has no console, and the shell would need one.
fn no_console() -> UsageError {
    UsageError::new(
        "this window (mintty, as of Git Bash) is no console, which a shell needs",
        "run `winpty ecs-bridge session …`, or use Windows Terminal; a script needs no console: \
         ecs-bridge session TARGET < script",
    )
}

/// Checks the arguments.
fn check(args: &cli::Shell) -> Result<()> {
    if args.password.is_some() {
        return usage(
            "--password is not supported: other users of this machine could read it",
            "store it as an encrypted parameter of CloudOps Orchestration Service (OOS) in the \
             instance's region, and give the parameter's name: --password-name NAME",
        );
    }
    for (option, name) in
        [("--user-name", &args.user_name), ("--password-name", &args.password_name)]
    {
        if let Some(name) = name
            && (name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control))
        {
            return usage(
                format!("{option} {name:?} is not a name"),
                format!("give a name of 1 to {MAX_NAME} bytes, without control characters"),
            );
        }
    }
    let Some(command) = &args.command else { return Ok(()) };
    let count = command.chars().count();
    if command.trim().is_empty() {
        return usage("--command is empty", "leave it out for a shell");
    }
    if count > MAX_COMMAND_LINE {
        return usage(
            format!("--command has {count} characters, and the service takes {MAX_COMMAND_LINE}"),
            "put the command into a script on the instance, or leave --command out and give the \
             script on stdin",
        );
    }
    Ok(())
}

/// Carries out an escape.
fn act(action: Action, help: &str, console: &Console, left: &Notify) {
    match action {
        Action::Leave => left.notify_one(),
        Action::Help => logging::eprint(&format!("\n{help}")),
        Action::Suspend => {
            #[cfg(unix)]
            console.suspend();
            #[cfg(not(unix))]
            let _ = console;
        }
    }
}

/// How the command ended, if it did not fail.
enum Ended {
    /// By a signal, before there was a session or after.
    By {
        signal: Signal,
        has_begun: bool,
    },
    /// The shell or the command ended.
    Shell(Target),
    /// The user left.
    Left,
    /// Nobody reads stdout any more, or the terminal has gone.
    Unread,
    Idle(Duration),
    /// The service's limit of 3 hours.
    Limit,
    Notified,
}

impl Ended {
    /// The line that tells it.
    fn text(&self, args: &cli::Shell) -> Option<String> {
        let text = match self {
            // A warning has told that it was ended from elsewhere.
            Self::By { has_begun: false, .. } | Self::Unread | Self::Notified => return None,
            Self::By { signal, .. } => format!("the session has ended: {}", signal.name()),
            Self::Shell(target) if args.command.is_some() => format!(
                "the command on {} has ended (the service does not report its exit code)",
                target.instance_name()
            ),
            Self::Shell(target) => format!("the shell on {} has ended", target.instance_name()),
            Self::Left => {
                let escape = Escapes::new(args.escape_char.0).name();
                format!("the session has ended: left by {escape}.")
            }
            Self::Idle(after) => {
                format!("the session has ended: idle for {} s (--idle-timeout)", after.as_secs())
            }
            Self::Limit => "the session has ended: the session limit of 3 h is reached".to_owned(),
        };
        Some(text)
    }

    /// A session that was cut is no success: a script may not have run to its end.
    fn done(self) -> Done {
        match self {
            Self::By { signal, .. } => Done::By(signal),
            Self::Shell(_) | Self::Left | Self::Unread => Done::Normally,
            Self::Idle(_) | Self::Limit | Self::Notified => Done::Code(ExitCode::Session as u8),
        }
    }
}

/// The command at work.
struct Run<R, W> {
    plan: Plan,
    starter: Option<Starter>,
    local: LocalSide<R, W>,
    signals: Signals,
    console: Option<Rc<Console>>,
    spinner: Rc<Spinner>,
    left: Rc<Notify>,
    note_text_only: Box<dyn Fn()>,
    /// Whether there was a session.
    has_begun: Cell<bool>,
}

impl<R: AsyncRead + Unpin, W: LocalWrite> Run<R, W> {
    /// Finds the instance, and runs a session with it to its end.
    async fn find_and_run(&mut self, finder: &impl Instances) -> Result<Ended> {
        let cancelled = async |run: &mut Self| {
            Ok(tokio::select! {
                biased;
                signal = run.signals.next() => Ended::By { signal, has_begun: false },
                () = run.local.closed() => Ended::Unread,
            })
        };
        let work = async |run: &mut Self, found: &Found| match run.run_session(found).await {
            Err(error) if error.is_unknown_instance() && !run.has_begun.get() => Err(error),
            // The API knew the instance when a session was started.
            done => Ok(done),
        };
        with_instance(finder, self, cancelled, work).await?
    }

    /// Runs a session with an instance to its end.
    async fn run_session(&mut self, found: &Found) -> Result<Ended> {
        let plan = self.plan.to(found);
        let (by_signal, has_left, up_by) = (Cell::new(None), Cell::new(false), Cell::new(None));
        let signals = &mut self.signals;
        let left = &self.left;
        let stop = async {
            tokio::select! {
                biased;
                signal = signals.next() => by_signal.set(Some(signal)),
                () = left.notified() => has_left.set(true),
            }
        };
        let told = EventReceiver {
            console: self.console.as_deref(),
            note_text_only: &self.note_text_only,
            spinner: &self.spinner,
            has_begun: &self.has_begun,
            target: &plan.target,
        };
        let on_event = |event: SessionEvent<'_>| told.on_event(&event);
        let request =
            SessionRequest { found, plan: &plan, starter: self.starter.as_ref(), up_by: &up_by };
        let outcome = session::run(&request, &mut self.local, stop.boxed_local(), &on_event).await;
        if let Some(signal) = by_signal.get() {
            return Ok(Ended::By { signal, has_begun: self.has_begun.get() });
        }
        if has_left.get() {
            return Ok(Ended::Left);
        }
        ended(plan.target, outcome)
    }
}

/// What a session that nobody here has ended came to.
fn ended(
    target: Target,
    outcome: std::result::Result<SessionOutcome, SessionError>,
) -> Result<Ended> {
    let Outcome { end, sent, delivered, local_error, not_sent, .. } = match outcome {
        Ok(SessionOutcome::Ended(outcome)) => outcome,
        Ok(SessionOutcome::Stopped) => return Ok(Ended::Unread),
        Err(error) => {
            return match error.failure() {
                Some(Failure::Idle(after)) => Ok(Ended::Idle(*after)),
                Some(Failure::Ended(reason)) if reason.kind() == ReasonKind::SessionTimeout => {
                    Ok(Ended::Limit)
                }
                _ => Err(error.into()),
            };
        }
    };
    info!("{sent} bytes sent, {delivered} bytes received");
    if let Some(error) = local_error {
        return Err(error.into());
    }
    if let Some(reason) = end.notified() {
        warn!("{}", Warning::of_notified(reason));
        return Ok(Ended::Notified);
    }
    // What ends by itself says so, and may leave the rest of a script: `exit` is such an end.
    if let (End::Remote(RemoteEnd::Close | RemoteEnd::WebSocket), Some(bytes @ 1..)) =
        (&end, not_sent)
    {
        return Err(NotSent { bytes, target }.into());
    }
    Ok(match end {
        End::Remote(_) => Ended::Shell(target),
        End::Local | End::Failed(_) => Ended::Unread,
    })
}

/// For the tests that a panic restores the terminal: one that unwinds, or one that aborts, as in a release,
/// where nothing is dropped. This is not part of a release.
#[cfg(debug_assertions)]
fn panic_for_test() {
    use std::panic::{set_hook, take_hook};
    let Some(how) = std::env::var_os("ECS_BRIDGE_TEST_PANIC") else { return };
    if how == "abort" {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            print(info);
            std::process::abort();
        }));
    }
    panic!("as the test asks");
}

/// The receiver of a session's events.
struct EventReceiver<'a> {
    console: Option<&'a Console>,
    note_text_only: &'a dyn Fn(),
    spinner: &'a Spinner,
    has_begun: &'a Cell<bool>,
    target: &'a Target,
}

impl EventReceiver<'_> {
    fn on_event(&self, event: &SessionEvent<'_>) {
        let instance = || self.target.instance_name();
        match event {
            SessionEvent::Started(_) => {
                self.has_begun.set(true);
                self.spinner.set("Connecting to the gateway");
            }
            SessionEvent::Connected => {
                self.spinner.set(&format!("Waiting for the shell on {}", instance()));
            }
            SessionEvent::Ready => {
                self.spinner.clear();
                match self.console {
                    Some(console) => console.pass_all_keys(),
                    None => (self.note_text_only)(),
                }
                #[cfg(debug_assertions)]
                panic_for_test();
            }
            SessionEvent::Notice(notice @ Notice::IdleSoon(_)) => {
                let warning = Warning::of_notice(*notice, self.target);
                if self.console.is_some() {
                    logging::eprint(&format!("\necs-bridge: {warning}"));
                }
                logging::record("WARN", &warning.to_string());
            }
            // The user of a silent program sees it: no warning is printed.
            SessionEvent::Notice(notice @ Notice::NoAnswer(_)) => {
                info!("{}", Warning::of_notice(*notice, self.target));
            }
            SessionEvent::Notice(notice @ Notice::OutputGap) => {
                warn!("{}", Warning::of_notice(*notice, self.target));
            }
            _ => {}
        }
    }
}
