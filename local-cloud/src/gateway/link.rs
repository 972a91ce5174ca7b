//! What the futures of one stream share: whose it is, where to send, the faults to inject, and the socket that it is on.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, time::sleep_until};

use super::{
    channel::Channel,
    corrupt::{Corruptor, Passed},
    ending::{Ending, OPENED, Scope},
    frame::kind,
    io::Switches,
    outgoing::{Outbox, Outgoing},
    pacing::Pacing,
    upgrade::Admitted,
};
use crate::{
    fault::Fault,
    frame_fault::{FrameFault, Way},
    instance::Instance,
    record::Serial,
    session::SessionRecord,
    shell::ShellRequest,
    world::Shared,
};

/// Who stands still.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stalls {
    /// The agent altogether.
    pub(crate) agent: bool,
    /// The gateway's reading of the client.
    pub(crate) client: bool,
    /// The same, until then.
    pub(crate) client_until: Option<tokio::time::Instant>,
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
    first_sent_at: Option<Instant>,
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
    pub(crate) shell: ShellRequest,
    pub(crate) resumable: bool,
    pub(crate) out: Outbox,
    pub(crate) pacing: Pacing,
    pub(crate) faults: Vec<Fault>,
    stalls: watch::Sender<Stalls>,
    opened: watch::Sender<bool>,
    urgent: watch::Sender<Option<Urgent>>,
    attachment: Mutex<Attachment>,
    channel: Mutex<Channel>,
    to_client: Mutex<Corruptor>,
    to_agent: Mutex<Corruptor>,
    /// Rung when there may be something to send, or room to read more.
    bell: watch::Sender<()>,
    /// Whether pings are answered.
    pongs: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, session: Admitted, out: Outbox) -> Self {
        let Admitted { serial, instance, port, target_server, shell, faults, channel, resumption } =
            session;
        let corruptor = |way| Mutex::new(Corruptor::new(way, &instance.frame_faults));
        Self {
            shared,
            serial,
            port,
            target_server,
            shell,
            resumable: resumption.is_some(),
            out,
            pacing: Pacing::new(instance.pace),
            faults,
            stalls: watch::Sender::new(Stalls::default()),
            opened: watch::Sender::new(false),
            urgent: watch::Sender::new(None),
            attachment: Mutex::default(),
            channel: Mutex::new(Channel::new(channel, resumption)),
            to_client: corruptor(Way::ToClient),
            to_agent: corruptor(Way::ToAgent),
            bell: watch::Sender::new(()),
            pongs: AtomicBool::new(instance.pongs),
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
        switches.pongs(self.pongs.load(Ordering::Relaxed));
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

    /// Records that the client was sent a frame.
    pub(crate) fn note_sent(&self) {
        lock(&self.attachment).first_sent_at.get_or_insert_with(Instant::now);
    }

    /// When it was sent the first one.
    pub(crate) fn first_sent_at(&self) -> Option<Instant> {
        lock(&self.attachment).first_sent_at
    }

    /// Which progress there was so far.
    pub(crate) fn reached(&self) -> Vec<u8> {
        lock(&self.attachment).progress.clone()
    }

    /// Whether pings are answered from now on, on this socket and those that follow.
    pub(crate) fn answer_pings(&self, answered: bool) {
        self.pongs.store(answered, Ordering::Relaxed);
        self.switches().pongs(answered);
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

    fn corruptor(&self, way: Way) -> MutexGuard<'_, Corruptor> {
        match way {
            Way::ToClient => lock(&self.to_client),
            Way::ToAgent => lock(&self.to_agent),
        }
    }

    pub(crate) fn corrupt_more(&self, fault: &FrameFault) {
        self.corruptor(fault.way).add(fault.clone());
    }

    /// What becomes of a message; `None` is nothing out of the ordinary.
    pub(crate) fn corrupt(&self, way: Way, kind: u32, message: &Bytes) -> Option<Vec<Passed>> {
        let mut corruptor = self.corruptor(way);
        if corruptor.is_idle() {
            return None;
        }
        let (passed, hit) = corruptor.pass(kind, message.clone(), Instant::now());
        drop(corruptor);
        if hit {
            self.note(|session| session.corrupted_frames += 1);
        }
        Some(passed)
    }

    /// When a message that waits to be swapped goes on at the latest.
    pub(crate) fn swap_deadline(&self, way: Way) -> Option<Instant> {
        self.corruptor(way).deadline()
    }

    /// The message that has waited for too long.
    pub(crate) fn overdue(&self, way: Way) -> Option<Bytes> {
        self.corruptor(way).overdue(Instant::now())
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

    /// The limit on what is sent to the client, in bits per second: a shell's output has that of its input.
    pub(crate) fn output_limit(&self) -> Option<u64> {
        let of_shell = || self.port.is_none().then(|| self.pacing.limit(Instant::now())).flatten();
        self.instance.output_limit.or_else(of_shell)
    }

    /// Whether a Close from the client ends the session. Before the agent has joined, the gateway sees to it.
    pub(crate) fn obeys_close(&self) -> bool {
        !self.is_open() || self.instance.agent.generation.ends_on_close()
    }

    /// Whether the agent has joined.
    pub(crate) fn is_open(&self) -> bool {
        *self.opened.borrow()
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

    /// Returns when the gateway may read the client. For how long it had to wait.
    pub(crate) async fn client_may_be_read(&self) -> Duration {
        let begin = tokio::time::Instant::now();
        let mut stalls = self.stalls.subscribe();
        loop {
            let Stalls { client, client_until, .. } = *stalls.borrow_and_update();
            let until = client_until.filter(|until| *until > tokio::time::Instant::now());
            match until {
                None if !client => return begin.elapsed(),
                Some(until) if !client => tokio::select! {
                    () = sleep_until(until) => {}
                    _ = stalls.changed() => {}
                },
                // The sender lives in self, so this cannot fail.
                _ => _ = stalls.changed().await,
            }
        }
    }

    /// Returns when the gateway may no longer read the client.
    pub(crate) async fn client_stalls(&self) {
        let stalled = |stalls: &Stalls| {
            let now = tokio::time::Instant::now();
            stalls.client || stalls.client_until.is_some_and(|until| until > now)
        };
        let _ = self.stalls.subscribe().wait_for(stalled).await;
    }

    pub(crate) fn stall(&self, change: impl FnOnce(&mut Stalls)) {
        self.stalls.send_modify(change);
    }

    /// Something befalls the socket now.
    pub(crate) fn befall(&self, urgent: Urgent) {
        self.urgent.send_replace(Some(urgent));
    }

    /// The kinds of frames that a 1.02 client numbers.
    pub(crate) fn is_numbered(frame: u32) -> bool {
        matches!(frame, kind::INPUT | kind::RESIZE)
    }
}
