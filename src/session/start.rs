//! `--start`: an instance that does not run is started, and waited for.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::diagnose::not_running;
use super::error::SessionError;
use super::failure::Finding;
use crate::app::{Result, UsageError};
use crate::cli;
use crate::cloud::{self, Client, InstanceState};
use crate::explain::ExitCode;
use crate::keys::command::Failed;
use crate::target::finder::Found;

/// The instance of a session that is not open by then is looked at. A session that succeeds is open
/// before, so that no call is made in vain.
const LOOK_AFTER: Duration = Duration::from_secs(3);
/// The first pause between two polls; each further one is longer.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What an instance lacks that is to be started.
const DOWN: &str = "it does not run";

/// How an instance is started, and where progress is reported.
pub(crate) struct Starter {
    within: Duration,
    tell: Box<dyn Fn(&str)>,
    reported: RefCell<String>,
    /// Held by the one who asks for the instance's state. Others who wait for the same ask nothing.
    asking: Mutex<()>,
    /// The instance that was last seen to be up, and when.
    up: RefCell<Option<(String, Instant)>>,
    /// What the instance was last seen to lack.
    lacks: Cell<&'static str>,
    unanswered: Unanswered,
}

impl Starter {
    /// `None` if no instance is to be started.
    pub(crate) fn new(args: &cli::Start, tell: impl Fn(&str) + 'static) -> Option<Self> {
        args.start.then(|| Self {
            within: Duration::from_secs(args.start_timeout),
            tell: Box::new(tell),
            reported: RefCell::default(),
            asking: Mutex::default(),
            up: RefCell::default(),
            lacks: Cell::new(DOWN),
            unanswered: Unanswered::default(),
        })
    }

    /// The progress; several connections wait for the same start.
    fn tell(&self, text: String) {
        if *self.reported.borrow() != text {
            (self.tell)(&text);
            self.reported.replace(text);
        }
    }

    /// Starts an instance, and waits until its agent is there, until `deadline`, which the first call
    /// sets. A further call is for one that is up for all that is known, but did not answer.
    pub(super) async fn bring_up(
        &self,
        found: &Found,
        deadline: &Cell<Option<Instant>>,
    ) -> Result<()> {
        let by = match deadline.get() {
            Some(by) => {
                sleep(LONGEST_PAUSE).await;
                by
            }
            None => Instant::now() + self.within,
        };
        deadline.set(Some(by));
        come_up(self, &found.cloud.client, &found.id, by).await
    }
}

/// Does work in an instance. If it turns out that the instance does not run it is started first,
/// where there is a starter, and the work is done once its agent is there. `is_up` is for the work to
/// tell that the instance runs; `deadline` is set to when it has to be up, if it is started.
///
/// # Errors
/// As the work, and when the instance cannot be started or does not come up in time.
pub(crate) async fn do_started<T>(
    starter: Option<&Starter>,
    deadline: &Cell<Option<Instant>>,
    found: &Found,
    is_up: &Cell<bool>,
    work: impl AsyncFn() -> std::result::Result<T, Failed>,
) -> Result<T> {
    let Some(starter) = starter else { return Ok(work().await?) };
    let client = &found.cloud.client;
    tokio::select! {
        biased;
        done = work() => match done {
            // One that runs is not started: its agent is away, and that is to be told.
            Err(error) if error.is_of_starting() && !is_up.get() => {
                if !is_down(client, &found.id).await {
                    return Err(error.into());
                }
            }
            done => return Ok(done?),
        },
        () = seen_down(client, &found.id, is_up) => {}
    }
    loop {
        starter.bring_up(found, deadline).await?;
        match work().await {
            // The agent is said to be there when it is not any more, or not quite.
            Err(error)
                if error.is_of_starting()
                    && deadline.get().is_some_and(|by| Instant::now() < by) =>
            {
                debug!("once more: {error}");
            }
            done => return Ok(done?),
        }
    }
}

/// Whether a failure is that of an instance which is not up, or only just.
pub(super) fn is_of_starting(session_error: &SessionError, was_started: bool) -> bool {
    match session_error.finding() {
        Some(Finding::NotRunning { .. }) => true,
        // The agent is up before the services, and is said to be there when it is not any more.
        Some(Finding::AgentOffline) => was_started,
        // It was waited for too long to be given up for a call that fails now.
        _ => was_started && (session_error.has_no_target() || session_error.may_pass()),
    }
}

/// Waits until it is seen that an instance does not run which is waited for: its session does not
/// open, or it does not do its work.
pub(super) async fn seen_down(client: &Client, instance: &str, is_up: &Cell<bool>) {
    sleep(LOOK_AFTER).await;
    if !is_up.get() {
        debug!("nothing has come of it yet: is the instance running?");
        let is_down = is_down(client, instance).await;
        // It may have come up while the answer was on its way: then the answer is out of date.
        match is_up.get() {
            true => debug!("the instance has come up meanwhile"),
            false if is_down => return,
            false => {}
        }
    }
    std::future::pending().await
}

/// Whether an instance is known not to run.
async fn is_down(client: &Client, instance: &str) -> bool {
    match client.instance_state(instance).await {
        Ok(state) => state.is_some_and(|state| not_running(&state).is_some()),
        Err(error) => {
            debug!("cannot look at the instance: {error}");
            false
        }
    }
}

/// The last call, if it has failed in a way that may pass.
#[derive(Default)]
struct Unanswered(RefCell<Option<cloud::Error>>);

impl Unanswered {
    /// The answer to a call. `None` if it has failed in a way that may pass: it is made again.
    fn unless_passing<T>(
        &self,
        answered: std::result::Result<T, cloud::Error>,
    ) -> std::result::Result<Option<T>, cloud::Error> {
        let (answer, failed) = match answered {
            Ok(answer) => (Some(answer), None),
            Err(error) if error.kind().may_pass() => {
                debug!("the instance is still waited for although a call failed: {error}");
                (None, Some(error))
            }
            Err(error) => return Err(error),
        };
        self.0.replace(failed);
        Ok(answer)
    }
}

/// Starts an instance, and waits until its agent is there. Calls that the service is too busy to
/// answer, or that cannot reach it, are made again.
async fn come_up(
    starter: &Starter,
    client: &Client,
    instance: &str,
    deadline: Instant,
) -> Result<()> {
    let label = client.label(instance);
    let Starter { lacks, unanswered, .. } = starter;
    let began = Instant::now();
    let up = async {
        let _asking = starter.asking.lock().await;
        let is_seen = |(id, at): &(String, Instant)| id == instance && *at >= began;
        if starter.up.borrow().as_ref().is_some_and(is_seen) {
            return Ok(());
        }
        lacks.set(DOWN);
        let mut pause = Pause::default();
        let mut is_started = false;
        loop {
            match unanswered.unless_passing(client.instance_state(instance).await)? {
                None => {}
                Some(None) => return Err(gone(&label).into()),
                Some(Some(InstanceState::Running)) => break,
                // It may have been started by somebody else a moment ago, which is as good.
                Some(Some(InstanceState::Stopped)) if !is_started => {
                    let started = client.start_instance(instance).await;
                    if let Some(started) = unanswered.unless_passing(started)? {
                        is_started = started;
                        starter.tell(format!("{label} is stopped: starting it"));
                    }
                }
                Some(Some(InstanceState::Stopping)) => {
                    lacks.set("it is still being stopped");
                    starter.tell(format!("{label} is stopping: it will be started after that"));
                }
                Some(Some(_)) => {
                    lacks.set("it is still starting");
                    if !is_started {
                        starter.tell(format!("{label} is starting"));
                    }
                }
            }
            pause.wait().await;
        }
        lacks.set("its Cloud Assistant agent is not online yet");
        let mut pause = Pause::default();
        loop {
            let agent = unanswered.unless_passing(client.agent_status(instance).await)?;
            if agent.flatten().is_some_and(|agent| agent.online == Some(true)) {
                break;
            }
            starter.tell(format!("{label} is running: waiting for its agent"));
            pause.wait().await;
        }
        starter.up.replace(Some((instance.to_owned(), Instant::now())));
        let took = began.elapsed().as_secs();
        starter.tell(format!("{label} and its agent are up after {took} s"));
        Ok(())
    };
    match timeout_at(deadline, up).await {
        Ok(up) => up,
        Err(_) => {
            let within = starter.within.as_secs();
            if let Some(error) = unanswered.0.take() {
                let late =
                    format!("{label} was not seen to be up within {within} s (--start-timeout)");
                let notes: Vec<_> =
                    error.note().map(str::to_owned).into_iter().chain([late]).collect();
                return Err(error.with_note(notes.join("; ")).into());
            }
            let fix = "look at it in the ECS console; where it needs longer, raise --start-timeout, or \
                       connect again in a while";
            Err(UsageError::new(format!("{label} did not come up within {within} s"), fix)
                .because(lacks.get())
                .exits(ExitCode::Target)
                .into())
        }
    }
}

fn gone(label: &str) -> UsageError {
    UsageError::new(
        format!("{label} is gone: the service does not know it any more"),
        "see `ecs-bridge list`",
    )
    .exits(ExitCode::Target)
}

/// Ever longer pauses.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 3 / 2).min(LONGEST_PAUSE);
    }
}
