//! What the futures of one stream share: whose it is, where to send, what may strike, and the socket that it is on.

use std::{
    ops::Add,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    channel::Channel,
    ending::{Ending, OPENED, Scope},
    frame::kind,
    io::Switches,
    mangle::{Mangler, Passed},
    pacing::Pacing,
    points::{Points, When},
    upgrade::Admitted,
    writer::{Outbox, Outgoing},
};
use crate::{
    fault::{Action, Fault, Point},
    frame_fault::{FrameFault, Way},
    instance::Instance,
    record::Serial,
    session::SessionRecord,
    world::Shared,
};

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

/// Something that befalls the socket at once, whatever is still to be sent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgent {
    Cut(&'static str),
    Close(u16),
}

/// The socket that the stream is on.
#[derive(Debug, Default)]
struct Attachment {
    switches: Arc<Switches>,
    /// Counted from 1.
    number: u64,
    attached: bool,
    /// The client has said where it stands, if it is to say so.
    synced: bool,
    /// When the client was sent a frame for the first time.
    told: Option<Instant>,
    /// Which progress it was told, or would have been.
    progress: Vec<u8>,
}

/// One stream.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) serial: Serial,
    pub(crate) instance: Instance,
    pub(crate) port: Option<u16>,
    pub(crate) target_server: Option<String>,
    pub(crate) resumable: bool,
    pub(crate) out: Outbox,
    pub(crate) pacing: Pacing,
    faults: Vec<Fault>,
    stalls: watch::Sender<Stalls>,
    opened: watch::Sender<bool>,
    urgent: watch::Sender<Option<Urgent>>,
    attachment: Mutex<Attachment>,
    channel: Mutex<Channel>,
    to_client: Mutex<Mangler>,
    to_agent: Mutex<Mangler>,
    /// Rung when there may be something to send, or room to read more.
    bell: watch::Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, session: Admitted, out: Outbox) -> Self {
        let Admitted { serial, instance, port, target_server, faults, channel, resumption, .. } =
            session;
        let mangler = |way| Mutex::new(Mangler::new(way, &instance.frame_faults));
        Self {
            shared,
            serial,
            port,
            target_server,
            resumable: resumption.is_some(),
            out,
            pacing: Pacing::new(instance.pace),
            faults,
            stalls: watch::Sender::new(Stalls::default()),
            opened: watch::Sender::new(false),
            urgent: watch::Sender::new(None),
            attachment: Mutex::default(),
            channel: Mutex::new(Channel::new(channel, resumption)),
            to_client: mangler(Way::ToClient),
            to_agent: mangler(Way::ToAgent),
            bell: watch::Sender::new(()),
            instance,
        }
    }

    /// Takes note of something about the session.
    pub(crate) fn note(&self, note: impl FnOnce(&mut SessionRecord)) {
        self.shared.note_session(self.serial, note);
    }

    /// Takes note of how it ended.
    pub(crate) fn ended(&self, ending: &Ending) {
        let here = u32::from(self.is_attached());
        self.note(|session| {
            if ending.scope == Scope::Session && session.live <= here {
                session.terminate(&ending.reason);
            } else {
                session.end_reason.get_or_insert_with(|| ending.reason.clone());
            }
        });
    }

    // ------------------------------------------------------------ the socket

    /// The stream is on this socket from now on. Whether it was on another before.
    pub(crate) fn attach(
        &self,
        switches: Arc<Switches>,
    ) -> (bool, watch::Receiver<Option<Urgent>>) {
        lock(&self.channel).attached();
        lock(&self.to_client).attached();
        lock(&self.to_agent).attached();
        let mut here = lock(&self.attachment);
        here.switches = switches;
        here.number += 1;
        here.attached = true;
        here.synced = here.number == 1;
        (here.number > 1, self.urgent.subscribe())
    }

    /// The stream is on no socket.
    pub(crate) fn detach(&self) {
        lock(&self.attachment).attached = false;
    }

    pub(crate) fn is_attached(&self) -> bool {
        lock(&self.attachment).attached
    }

    /// Which socket of the stream it is on, counted from 1.
    pub(crate) fn socket(&self) -> u64 {
        lock(&self.attachment).number
    }

    pub(crate) fn switches(&self) -> Arc<Switches> {
        Arc::clone(&lock(&self.attachment).switches)
    }

    /// Whether the client has said on this socket where it stands, if it is to say so.
    pub(crate) fn is_synced(&self) -> bool {
        lock(&self.attachment).synced
    }

    /// It has.
    pub(crate) fn synced(&self) {
        lock(&self.attachment).synced = true;
        self.ring();
    }

    /// The client was sent a frame.
    pub(crate) fn told(&self) {
        lock(&self.attachment).told.get_or_insert_with(Instant::now);
    }

    /// When it was sent the first one.
    pub(crate) fn told_at(&self) -> Option<Instant> {
        lock(&self.attachment).told
    }

    /// Which progress there was so far.
    pub(crate) fn reached(&self) -> Vec<u8> {
        lock(&self.attachment).progress.clone()
    }

    // ------------------------------------------------------------ numbers

    /// Looks at the stream's numbers.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Channel) -> T) -> T {
        look(&lock(&self.channel))
    }

    /// Changes them, and wakes who waits for that.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Channel) -> T) -> T {
        let out = change(&mut lock(&self.channel));
        self.ring();
        out
    }

    fn ring(&self) {
        self.bell.send_replace(());
    }

    /// Returns once something is true of the numbers.
    pub(crate) async fn wait_until(&self, fits: impl Fn(&Channel) -> bool) {
        let mut bell = self.bell.subscribe();
        while !self.look(&fits) {
            // The sender lives in self, so this cannot fail.
            let _ = bell.changed().await;
        }
    }

    // ------------------------------------------------------------ frames that something happens to

    fn mangler(&self, way: Way) -> MutexGuard<'_, Mangler> {
        match way {
            Way::ToClient => lock(&self.to_client),
            Way::ToAgent => lock(&self.to_agent),
        }
    }

    pub(crate) fn mangle_more(&self, fault: &FrameFault) {
        self.mangler(fault.way).add(fault.clone());
    }

    /// What becomes of a message; `None` is nothing out of the ordinary.
    pub(crate) fn mangle(&self, way: Way, kind: u32, message: &Bytes) -> Option<Vec<Passed>> {
        let mut mangler = self.mangler(way);
        if mangler.is_idle() {
            return None;
        }
        let (passed, struck) = mangler.pass(kind, message.clone(), Instant::now());
        drop(mangler);
        if struck {
            self.note(|session| session.mangled_frames += 1);
        }
        Some(passed)
    }

    /// When a message that waits to be swapped goes on at the latest.
    pub(crate) fn swap_deadline(&self, way: Way) -> Option<Instant> {
        self.mangler(way).deadline()
    }

    /// The message that has waited for too long.
    pub(crate) fn overdue(&self, way: Way) -> Option<Bytes> {
        self.mangler(way).overdue(Instant::now())
    }

    // ------------------------------------------------------------ progress

    /// Tells the client of another limit, now or when it is opened.
    pub(crate) async fn change_limit(&self, limit: u64) {
        self.pacing.change(limit);
        // On no socket: the next one is told.
        if self.is_attached() {
            self.announce().await;
        }
    }

    /// A status on the way to Opened.
    pub(crate) async fn progress(&self, state: u8) {
        lock(&self.attachment).progress.push(state);
        self.out.send(Outgoing::Progress(Bytes::copy_from_slice(&[state]))).await;
    }

    /// Opened: tells the client, as far as it is to be told, and wakes who waited for it.
    pub(crate) async fn open(&self) {
        self.note(|session| {
            session.opened += 1;
            session.joined.get_or_insert_with(Instant::now);
        });
        if self.instance.progress.opened {
            self.progress(OPENED).await;
        }
        self.pacing.open();
        self.announce().await;
        self.opened.send_replace(true);
    }

    async fn announce(&self) {
        if let Some(payload) = self.pacing.announcement(Instant::now()) {
            self.out.send(Outgoing::Progress(payload)).await;
        }
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

    fn stall(&self, change: impl FnOnce(&mut Stalls)) {
        self.stalls.send_modify(change);
    }

    // ------------------------------------------------------------ faults

    /// The faults of one kind of point, with when they strike.
    pub(crate) fn points<T>(&self, when: impl Fn(&Point) -> Option<When<T>>) -> Points<T>
    where
        T: Ord + Copy + Add<Output = T>,
    {
        let fits = |fault: &Fault| when(&fault.at).map(|at| (at, fault.action.clone()));
        Points::new(self.faults.iter().filter_map(fits))
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
            Action::Vanish => out.send(Outgoing::Vanish).await,
            Action::Hang => self.stall(|stalls| stalls.agent = true),
            Action::StallClient => self.stall(|stalls| stalls.client = true),
            Action::StallTarget => self.stall(|stalls| stalls.target = true),
            Action::Resume => self.stall(|stalls| *stalls = Stalls::default()),
            Action::AckAhead(_) | Action::AskFor(_) | Action::ForgetOutputs => {
                out.send(Outgoing::Channel(action.clone())).await;
            }
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

    /// The last thing that goes out on this socket. If it is the end of the stream, the agent does nothing more.
    async fn last(&self, reason: String, last: Outgoing) {
        if !self.resumable || matches!(last, Outgoing::Close(1000 | 1008)) {
            self.stall(|stalls| stalls.agent = true);
            self.note(|session| {
                session.end_reason.get_or_insert(reason);
            });
        }
        self.out.send(last).await;
    }

    /// A fault strikes at once: what befalls the socket waits for nothing that is on its way, and does nothing where there is no
    /// socket. Whether the socket is cut.
    pub(crate) async fn strike_now(&self, action: &Action) -> bool {
        let agents_own = matches!(
            action,
            Action::Hang
                | Action::StallClient
                | Action::StallTarget
                | Action::Resume
                | Action::AckAhead(_)
                | Action::ForgetOutputs
        );
        if !agents_own && !self.is_attached() {
            return false;
        }
        let urgent = match action {
            Action::Cut | Action::Close(1006) => Urgent::Cut("Cut"),
            Action::Reset => {
                self.switches().reset();
                Urgent::Cut("Reset")
            }
            Action::Close(code) if self.resumable => Urgent::Close(*code),
            Action::Vanish => {
                self.switches().vanish();
                self.note(|session| session.faults_struck += 1);
                return false;
            }
            Action::AckAhead(_) | Action::AskFor(_) | Action::ForgetOutputs => {
                self.strike_channel(action);
                self.note(|session| session.faults_struck += 1);
                return false;
            }
            other => {
                self.strike(other).await;
                return false;
            }
        };
        self.note(|session| session.faults_struck += 1);
        self.urgent.send_replace(Some(urgent));
        true
    }

    /// A fault of the agent's numbers.
    pub(crate) fn strike_channel(&self, action: &Action) {
        self.change(|channel| match action {
            Action::AckAhead(by) => channel.acknowledge_ahead(*by),
            Action::AskFor(number) => channel.ask_for(*number),
            Action::ForgetOutputs => channel.forget_outputs(),
            _ => {}
        });
    }

    /// The kinds of frames that a 1.02 client numbers.
    pub(crate) fn is_numbered(frame: u32) -> bool {
        matches!(frame, kind::INPUT | kind::RESIZE)
    }
}
