//! What the futures of one connection share: whose it is, where to send, what may strike.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use super::{
    frame::{kind, stream_status},
    io::Switches,
    pace::Limits,
    writer::{Outbox, Outgoing},
};
use crate::{
    fault::{Action, Fault, Point},
    instance::{DEFAULT_LIMIT, Instance},
    record::{Serial, SessionRecord},
    world::Shared,
};

/// Status: could not be established.
pub(crate) const ABORTED: u8 = 2;
/// Status: the agent has joined.
pub(crate) const OPENED: u8 = 3;
/// Status: over.
pub(crate) const CLOSED: u8 = 5;

/// Who stands still.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stalls {
    /// The agent altogether.
    pub(crate) agent: bool,
    /// The gateway's reading of the client.
    pub(crate) client: bool,
    /// The agent's reading of the target.
    pub(crate) target: bool,
}

/// The limit, and whether the client is told of it.
#[derive(Debug)]
struct Pacing {
    limits: Limits,
    announce: Option<u64>,
    opened: bool,
}

/// What is left to do for a connection that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Nothing: the socket is dropped as it stands.
    None,
    /// The client closes, or is gone: what is on its way is read and written.
    Drain,
    /// The same, behind a WebSocket close of the gateway's own.
    Close(u16),
}

/// How a connection is to end.
#[derive(Debug)]
pub(crate) struct Ending {
    /// For the record.
    pub(crate) reason: String,
    /// A last status.
    pub(crate) status: Option<(u8, String)>,
    /// What comes after it.
    pub(crate) goodbye: Goodbye,
    /// Whether it ends the session, or only this connection.
    pub(crate) terminates: bool,
}

impl Ending {
    /// The far side ends it, and says why.
    pub(crate) fn status(state: u8, text: impl Into<String>) -> Self {
        let reason: String = text.into();
        let status = Some((state, reason.clone()));
        Self { reason, status, goodbye: Goodbye::Close(1000), terminates: true }
    }

    /// The client closed it in the orderly way.
    pub(crate) fn client_closed() -> Self {
        let reason = "ClientClosed".to_owned();
        Self { reason, status: None, goodbye: Goodbye::Close(1000), terminates: true }
    }

    /// The client's socket broke, or was closed without a Close frame.
    pub(crate) fn client_gone() -> Self {
        let reason = "ClientGone".to_owned();
        Self { reason, status: None, goodbye: Goodbye::Drain, terminates: false }
    }

    /// A fault drops the socket.
    fn cut(reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { reason, status: None, goodbye: Goodbye::None, terminates: false }
    }
}

/// One connection.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) serial: Serial,
    pub(crate) instance: Instance,
    pub(crate) port: Option<u16>,
    pub(crate) target_server: Option<String>,
    pub(crate) out: Outbox,
    pub(crate) switches: Arc<Switches>,
    faults: Vec<Fault>,
    stalls: watch::Sender<Stalls>,
    opened: watch::Sender<bool>,
    pacing: Mutex<Pacing>,
}

impl Link {
    #[allow(clippy::too_many_arguments, reason = "made in one place only")]
    pub(crate) fn new(
        shared: Arc<Shared>,
        serial: Serial,
        instance: Instance,
        port: Option<u16>,
        target_server: Option<String>,
        faults: Vec<Fault>,
        out: Outbox,
        switches: Arc<Switches>,
    ) -> Self {
        let pace = instance.pace;
        let announce = pace.announced.then_some(pace.limit);
        let first = match pace.limit {
            0 => DEFAULT_LIMIT,
            _ if pace.announced => DEFAULT_LIMIT, // until the client has been told
            limit => limit,
        };
        let pacing = Pacing { limits: Limits::new(first), announce, opened: false };
        Self {
            shared,
            serial,
            instance,
            port,
            target_server,
            out,
            switches,
            faults,
            stalls: watch::Sender::new(Stalls::default()),
            opened: watch::Sender::new(false),
            pacing: Mutex::new(pacing),
        }
    }

    /// Takes note of something about the session.
    pub(crate) fn note(&self, note: impl FnOnce(&mut SessionRecord)) {
        self.shared.note_session(self.serial, note);
    }

    fn pacing(&self) -> std::sync::MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit that may be held against the client now, if any is.
    pub(crate) fn limit(&self, now: Instant) -> Option<u64> {
        self.instance.pace.enforced.then(|| self.pacing().limits.in_force(now))
    }

    /// Another limit, which the client is told of, now or when it is opened.
    pub(crate) async fn change_limit(&self, limit: u64) {
        let opened = {
            let mut pacing = self.pacing();
            pacing.announce = Some(limit);
            pacing.opened
        };
        if opened {
            self.announce().await;
        }
    }

    /// Opened: tells the client, as far as it is to be told, and wakes who waited for it.
    pub(crate) async fn open(&self) {
        self.note(|session| {
            session.opened += 1;
            session.joined.get_or_insert_with(Instant::now);
        });
        if self.instance.progress.opened {
            self.out.status(OPENED, "").await;
        }
        self.pacing().opened = true;
        self.announce().await;
        self.opened.send_replace(true);
    }

    async fn announce(&self) {
        let limit = {
            let mut pacing = self.pacing();
            let Some(limit) = pacing.announce else { return };
            if limit > 0 {
                pacing.limits.change(Instant::now(), limit);
            }
            limit
        };
        let payload = stream_status(u32::try_from(limit).unwrap_or(u32::MAX));
        self.out.frame(kind::STATUS, payload).await;
    }

    /// Returns once the session is opened.
    pub(crate) async fn opened(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }

    /// Returns when who is asked about does not stand still.
    pub(crate) async fn may_go(&self, stalled: impl Fn(&Stalls) -> bool) {
        let _ = self.stalls.subscribe().wait_for(|stalls| !stalled(stalls)).await;
    }

    /// The agent's own turn: everything it does waits here.
    pub(crate) async fn agent_may_go(&self) {
        self.may_go(|stalls| stalls.agent).await;
    }

    /// The faults of one kind of point, with when they strike.
    pub(crate) fn points<T: Ord>(&self, when: impl Fn(&Point) -> Option<T>) -> Points<T> {
        let mut points: Vec<(T, Action)> = self
            .faults
            .iter()
            .filter_map(|fault| when(&fault.at).map(|at| (at, fault.action.clone())))
            .collect();
        points.sort_by(|a, b| a.0.cmp(&b.0));
        Points(points.into())
    }

    /// The faults at a point, in the order they were given.
    pub(crate) async fn strike_at(&self, point: Point) {
        for fault in &self.faults {
            if fault.at == point {
                self.strike(&fault.action).await;
            }
        }
    }

    /// A fault strikes: behind all that is on its way to the client already.
    pub(crate) async fn strike(&self, action: &Action) {
        let out = &self.out;
        match action {
            Action::Refuse(_) => {}
            Action::Delay(delay) => out.send(Outgoing::Pause(*delay)).await,
            Action::Silence => out.send(Outgoing::Mute).await,
            Action::Hang => self.stall(|stalls| stalls.agent = true),
            Action::StallClient => self.stall(|stalls| stalls.client = true),
            Action::StallTarget => self.stall(|stalls| stalls.target = true),
            Action::Resume => self.stall(|stalls| *stalls = Stalls::default()),
            Action::Status { state, text } => {
                out.status(*state, text).await;
                if matches!(state, 2 | 5 | 6) {
                    self.last(text.clone(), Outgoing::Close(1000)).await;
                }
            }
            Action::Frame { kind, payload } => out.frame(*kind, payload.clone().into()).await,
            Action::Send(malformed) => out.send(Outgoing::Malformed(*malformed)).await,
            Action::Cut | Action::Close(1006) => self.last("Cut".to_owned(), Outgoing::Cut).await,
            Action::Reset => self.last("Reset".to_owned(), Outgoing::Reset).await,
            Action::Close(code) => {
                self.last(format!("Close {code}"), Outgoing::Close(*code)).await;
            }
        }
        self.note(|session| session.faults_struck += 1);
    }

    /// The last thing that goes out. The agent does nothing more.
    async fn last(&self, reason: String, last: Outgoing) {
        self.stall(|stalls| stalls.agent = true);
        self.note(|session| {
            session.end_reason.get_or_insert(reason);
        });
        self.out.send(last).await;
    }

    /// A fault strikes at once: what only drops the socket waits for nothing that is on its way.
    pub(crate) async fn strike_now(&self, action: &Action) -> Option<Ending> {
        let reason = match action {
            Action::Cut | Action::Close(1006) => "Cut",
            Action::Reset => {
                self.switches.reset();
                "Reset"
            }
            other => {
                self.strike(other).await;
                return None;
            }
        };
        self.note(|session| session.faults_struck += 1);
        Some(Ending::cut(reason))
    }

    fn stall(&self, change: impl FnOnce(&mut Stalls)) {
        self.stalls.send_modify(change);
    }
}

/// Faults that strike when a count, or the time, has come so far.
pub(crate) struct Points<T>(VecDeque<(T, Action)>);

impl<T: Ord + Copy> Points<T> {
    /// When the next one strikes.
    pub(crate) fn next(&self) -> Option<T> {
        self.0.front().map(|(at, _)| *at)
    }

    /// Takes the next one, if it has come to that.
    pub(crate) fn due(&mut self, now: T) -> Option<Action> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_front().map(|(_, action)| action)
    }
}
