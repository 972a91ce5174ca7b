//! `--send-key`: a key that is registered while the session for it opens.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::event::SessionEvent;
use super::queue::Queue;
use super::start::{Starter, do_started};
use crate::app::Result;
use crate::explain::Explain;
use crate::gateway::gate::Gate;
use crate::keys::registration::Registration;
use crate::target::finder::Found;

/// How long a registration that has failed lets the session be started that is to be ended.
const STARTED_WITHIN: Duration = Duration::from_secs(15);

/// The key of one session, or none.
pub(crate) struct SessionKey<'a> {
    registration: Option<Registration<'a>>,
    found: &'a Found,
    starter: Option<&'a Starter>,
    /// When an instance that is started has to be up.
    pub(crate) up_by: Cell<Option<Instant>>,
    /// Whether the key was registered such a short while ago that it is not registered now.
    was_fresh: bool,
    /// Whether the session is being opened, or may be.
    is_opening: Cell<bool>,
    /// Whether the plug-in is installed.
    is_installed: Cell<bool>,
    has_failed: Cell<bool>,
    installed: Notify,
    started: Notify,
    connected: Notify,
    ready: Notify,
    is_ready: Cell<bool>,
}

impl<'a> SessionKey<'a> {
    /// The key for a session with an instance. Nothing is sent yet.
    pub(crate) fn new(
        registration: Option<Registration<'a>>,
        found: &'a Found,
        starter: Option<&'a Starter>,
    ) -> Self {
        let was_fresh = registration.as_ref().is_some_and(Registration::is_fresh);
        // Installing the plug-in restarts sshd, and a connection that sshd has accepted before never
        // asks for the key: only where the plug-in is known is the session opened meanwhile.
        let waits = !was_fresh && registration.as_ref().is_some_and(|key| !key.has_plugin());
        Self {
            registration,
            found,
            starter,
            up_by: Cell::new(None),
            was_fresh,
            is_opening: Cell::new(!waits),
            is_installed: Cell::new(false),
            has_failed: Cell::new(false),
            installed: Notify::new(),
            started: Notify::new(),
            connected: Notify::new(),
            ready: Notify::new(),
            is_ready: Cell::new(false),
        }
    }

    /// Whether the session may be opened.
    pub(crate) fn is_opening(&self) -> bool {
        self.is_opening.get()
    }

    /// Waits until the plug-in is installed: from then on the session may be opened.
    pub(crate) async fn installed(&self) {
        self.installed.notified().await;
        self.is_opening.set(true);
    }

    /// Whether the key cannot be registered.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    /// Follows the session that the key is for.
    pub(crate) fn on_event(&self, event: &SessionEvent<'_>) {
        match event {
            SessionEvent::Started(_) => self.started.notify_one(),
            SessionEvent::Connected => self.connected.notify_one(),
            SessionEvent::Ready => {
                self.is_ready.set(true);
                self.ready.notify_one();
            }
            _ => {}
        }
    }

    /// Waits until a session is open: no other one follows it.
    async fn ready(&self) {
        if !self.is_ready.get() {
            self.ready.notified().await;
        }
    }

    /// Registers the key, and opens the gate of the session's output once it is registered and the session
    /// is connected. Ends only with the reason why the key cannot be registered.
    pub(crate) async fn register(&self, gate: &Gate, queue: Option<&Queue>) -> Box<dyn Explain> {
        if let Err(error) = self.register_now().await {
            self.has_failed.set(true);
            if self.is_opening.get() {
                // A session that is being started can only be ended once it is known.
                let _ = timeout(STARTED_WITHIN, self.started.notified()).await;
            }
            return error;
        }
        // The instance may be gone, and the next one not have the key yet.
        match self.starter {
            None => self.connected.notified().await,
            // The gateway may accept a session of an instance that is going down: another one follows it.
            Some(_) => self.ready().await,
        }
        // A session that had to wait, for a place or for its instance, may come later than the key is good for.
        let has_waited = queue.is_some_and(Queue::was_full) || self.up_by.get().is_some();
        if has_waited && let Err(error) = self.renew().await {
            self.has_failed.set(true);
            return error;
        }
        gate.open();
        std::future::pending().await
    }

    async fn register_now(&self) -> Result<()> {
        let registration = self.registration.as_ref().filter(|_| !self.was_fresh);
        let Some(registration) = registration else { return Ok(()) };
        let installed = || {
            self.is_installed.set(true);
            self.installed.notify_one();
        };
        let register = async || registration.register(false, installed).await;
        if !self.is_opening.get() {
            let is_up = &self.is_installed;
            do_started(self.starter, &self.up_by, self.found, is_up, register).await?;
            return Ok(());
        }
        match register().await {
            Err(error) if self.starter.is_some() && error.is_of_starting() => {
                debug!("once the instance is up the key is registered: {error}");
                self.ready().await;
                register().await?;
            }
            registered => drop(registered?),
        }
        Ok(())
    }

    /// Registers the key again if it expires soon. Its age counts from the request, whose time is
    /// cached; without a cache, this is one more command.
    async fn renew(&self) -> Result<()> {
        if let Some(registration) = &self.registration
            && !registration.is_fresh()
        {
            registration.register(false, || ()).await?;
        }
        Ok(())
    }
}
