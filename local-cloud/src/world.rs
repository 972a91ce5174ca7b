//! What the cloud is made of at the moment, shared by the API, the gateway and the handle of the test.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};

use crate::{
    account::AccessKey,
    api::{Answered, Asked},
    command::Task,
    fault::{Action, ApiFault},
    fleet::BootStep,
    frame_fault::FrameFault,
    gateway::{Socket, Vanished},
    instance::Instance,
    record::{Serial, State},
    session::SessionRecord,
    shell::ShellRequest,
    sources::{Issuer, Lifetime, Logins, Metadata, Role, SourceFault},
    ssh_server::registry::Registry,
};

/// So many nonces, sessions and answers are remembered.
pub(crate) const REMEMBERED: usize = 16_384;
/// So many calls may wait for their commands to be begun, which is done at once.
const WAITING_TASKS: usize = 1_024;

/// The cloud's clock against this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockOffset {
    /// They agree.
    #[default]
    None,
    /// The cloud is ahead: here it is too early.
    Ahead(Duration),
    /// The cloud is behind: here it is too late.
    Behind(Duration),
}

/// What holds for the whole cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Sessions a region may have at a time.
    pub region_quota: usize,
    /// Sessions an instance may have connected at a time.
    pub instance_quota: usize,
    /// For how long a session that has ended still counts against both.
    pub quota_lag: Duration,
    /// Whether Session Manager is switched on.
    pub session_manager_enabled: bool,
    /// How WebSocketUrl spells the query key of the session's id.
    pub url_key: String,
    /// For how long a WebSocketUrl works.
    pub url_lifetime: Duration,
    /// Whether the upgrade needs the header `x-acs-session-token`, empty or with the SecurityToken.
    pub check_token_header: bool,
    /// The cloud's clock against this machine's.
    pub clock_offset: ClockOffset,
    /// How far a call's time may be from the cloud's.
    pub clock_tolerance: Duration,
    /// For how long a temporary key is given to an sshd that asks.
    pub key_lifetime: Duration,
    /// How many instances DescribeCloudAssistantStatus may be asked about at once.
    pub agent_status_limit: usize,
    /// Whether DescribeInstances answers those who may not ask it with no instances, as the service is known to do.
    pub empty_if_denied: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region_quota: 100,
            instance_quota: 20,
            quota_lag: Duration::ZERO,
            session_manager_enabled: true,
            url_key: "sessionid".to_owned(),
            url_lifetime: Duration::from_secs(600),
            check_token_header: true,
            clock_offset: ClockOffset::None,
            clock_tolerance: Duration::from_secs(15 * 60),
            key_lifetime: Duration::from_secs(60),
            agent_status_limit: 50,
            empty_if_denied: false,
        }
    }
}

impl Settings {
    /// The cloud's time.
    pub(crate) fn now(&self) -> SystemTime {
        match self.clock_offset {
            ClockOffset::None => SystemTime::now(),
            ClockOffset::Ahead(offset) => SystemTime::now() + offset,
            ClockOffset::Behind(offset) => SystemTime::now() - offset,
        }
    }
}

/// Something a live connection is told from outside.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    /// A fault, now.
    Inject(Action),
    /// The session was ended.
    End,
    /// A fault, so much later.
    StrikeIn(Duration, Action),
    /// A fault of frames.
    Corruption(FrameFault),
    /// Another limit, to be announced.
    Limit(u64),
    /// The gateway restarts.
    Restart { announced: bool, close_after: Duration, code: u16 },
}

/// A stream of a session, as it is known from outside.
#[derive(Debug)]
pub(crate) struct LiveStream {
    pub(crate) controls: mpsc::Sender<Control>,
    pub(crate) channel: String,
    /// Where sockets are handed in that take it up again; none where the agent does not resume.
    pub(crate) sockets: Option<mpsc::Sender<Socket>>,
    pub(crate) outlives_url: bool,
}

/// When the gateway takes nobody.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) session: Option<String>,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) refusal: u16,
}

/// A session that may be connected to.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) serial: Serial,
    pub(crate) token: String,
    pub(crate) url: String,
    pub(crate) expires: SystemTime,
    pub(crate) instance: String,
    pub(crate) port: Option<u16>,
    pub(crate) target_server: Option<String>,
    /// What is asked for where no port is.
    pub(crate) shell: ShellRequest,
    /// What was asked with a ClientToken: the same again is the same session.
    pub(crate) asked: Option<Asked>,
    /// The streams that are there now.
    pub(crate) live: Vec<LiveStream>,
}

/// The tickets, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Tickets(VecDeque<Ticket>);

impl Tickets {
    pub(crate) fn add(&mut self, ticket: Ticket) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(ticket);
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Ticket> {
        self.0.iter_mut().rev().find(|ticket| ticket.id == id)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Ticket> {
        let index = self.0.iter().position(|ticket| ticket.id == id)?;
        self.0.remove(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ticket> {
        self.0.iter()
    }
}

/// Nonces that were used.
#[derive(Debug, Default)]
pub(crate) struct Nonces(VecDeque<String>, std::collections::HashSet<String>);

impl Nonces {
    /// Takes note of one; whether it was new.
    pub(crate) fn is_new(&mut self, nonce: &str) -> bool {
        if !self.1.insert(nonce.to_owned()) {
            return false;
        }
        self.0.push_back(nonce.to_owned());
        if self.0.len() > REMEMBERED
            && let Some(oldest) = self.0.pop_front()
        {
            self.1.remove(&oldest);
        }
        true
    }
}

/// What may change while the cloud runs.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) regions: Vec<String>,
    pub(crate) keys: HashMap<String, AccessKey>,
    pub(crate) instances: BTreeMap<String, Instance>,
    /// Compute Nest's.
    pub(crate) service_instances: BTreeSet<String>,
    pub(crate) api_faults: Vec<ApiFault>,
    /// The access key that [`crate::LocalCloud::env`] gives.
    pub(crate) first_key: Option<String>,
    pub(crate) nonces: Nonces,
    pub(crate) tickets: Tickets,
    /// Commands that were asked for with a ClientToken.
    pub(crate) answered: Answered,
    /// When the gateway takes nobody.
    pub(crate) down: Vec<Down>,
    /// By their ARNs.
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) metadata: Metadata,
    pub(crate) logins: Logins,
    /// How long the keys of the credentials URI hold.
    pub(crate) uri_lifetime: Lifetime,
    pub(crate) source_faults: Vec<SourceFault>,
    pub(crate) issuer: Issuer,
    /// Instances on their way up.
    pub(crate) booting: Vec<BootStep>,
    /// Connections to the API that were there then are dead.
    pub(crate) dead_until: Option<Instant>,
}

impl World {
    /// Puts an instance in, into the first region if it names none.
    pub(crate) fn add_instance(&mut self, mut instance: Instance) {
        if instance.region.is_empty() {
            instance.region = self.regions.first().cloned().unwrap_or_default();
        }
        if !self.regions.contains(&instance.region) {
            self.regions.push(instance.region.clone());
        }
        self.instances.insert(instance.id.clone(), instance);
    }

    /// The connections to the API that are there now are dead from now on.
    pub(crate) fn connections_die(&mut self) {
        self.dead_until = Some(Instant::now());
    }

    /// Whether a connection that was accepted then is dead.
    pub(crate) fn is_dead(&self, accepted: Instant) -> bool {
        self.dead_until.is_some_and(|until| accepted <= until)
    }

    /// The HTTP status that an upgrade of this session is refused with now, if it is.
    pub(crate) fn gateway_is_down(&mut self, session: &str) -> Option<u16> {
        let now = Instant::now();
        self.down.retain(|down| now < down.until);
        let concerns =
            |down: &&Down| down.session.as_deref().is_none_or(|concerned| concerned == session);
        let mut down = self.down.iter().filter(concerns);
        down.find(|down| down.from <= now).map(|down| down.refusal)
    }
}

/// The world, and the record of what happened in it.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    state: watch::Sender<State>,
    /// `ws://127.0.0.1:1234` or `wss://localhost:1234`.
    pub(crate) websocket_base: String,
    /// Whether only this machine can call.
    pub(crate) on_loopback: bool,
    /// Commands that were asked for, to whom carries them out.
    pub(crate) tasks: mpsc::Sender<Vec<Task>>,
    /// The processes of scripts.
    pub(crate) processes: Arc<Registry>,
    /// Connections whose packets vanish.
    pub(crate) vanished: Arc<Vanished>,
}

impl Shared {
    /// The second value is for the server, which carries commands out.
    pub(crate) fn new(
        world: World,
        websocket_base: String,
        on_loopback: bool,
    ) -> (Self, mpsc::Receiver<Vec<Task>>) {
        let (state, _) = watch::channel(State::default());
        let (tasks, receiver) = mpsc::channel(WAITING_TASKS);
        let (world, processes) = (Mutex::new(world), Registry::new());
        let vanished = Arc::default();
        let shared = Self { world, state, websocket_base, on_loopback, tasks, processes, vanished };
        (shared, receiver)
    }

    /// The world, to look at or to change. Never held across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.settle(Instant::now());
        world
    }

    /// Takes note of something, and wakes who waits for it.
    pub(crate) fn note<T>(&self, note: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut out = None;
        self.state.send_modify(|state| out = Some(note(state)));
        out
    }

    /// Takes note of something about one session.
    pub(crate) fn note_session(&self, serial: Serial, note: impl FnOnce(&mut SessionRecord)) {
        self.state.send_modify(|state| {
            if let Some(session) = state.get_mut(serial) {
                note(session);
            }
        });
    }

    /// Looks at what was noted.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Tells the streams of a session; whether there was one that heard.
    pub(crate) fn tell(&self, session: &str, control: &Control) -> bool {
        let mut world = self.world();
        let Some(ticket) = world.tickets.get_mut(session) else { return false };
        ticket.live.retain(|stream| !stream.controls.is_closed());
        let mut heard = false;
        for stream in &ticket.live {
            heard |= stream.controls.try_send(control.clone()).is_ok();
        }
        heard
    }

    /// Another limit on what clients of an instance send. Whether there is one with that id.
    pub(crate) fn set_limit(&self, instance: &str, limit: u64) -> bool {
        let change = |found: &mut Instance| {
            found.pace.limit = limit;
            found.pace.announced = true;
        };
        self.change_live(instance, change, &Control::Limit(limit))
    }

    /// Whether pings of an instance's sessions are answered. Whether there is one with that id.
    pub(crate) fn pongs(&self, instance: &str, answered: bool) -> bool {
        let control = Control::Inject(Action::Pongs(answered));
        self.change_live(instance, |found| found.pongs = answered, &control)
    }

    /// Changes an instance, and tells the streams of its sessions. Whether there is one with that id.
    fn change_live(
        &self,
        instance: &str,
        change: impl FnOnce(&mut Instance),
        control: &Control,
    ) -> bool {
        let sessions: Vec<String> = {
            let mut world = self.world();
            let Some(found) = world.instances.get_mut(instance) else { return false };
            change(found);
            let here = world.tickets.iter().filter(|ticket| ticket.instance == instance);
            here.map(|ticket| ticket.id.clone()).collect()
        };
        for session in sessions {
            self.tell(&session, control);
        }
        true
    }

    /// Ends a session: nobody can connect to it any more, and who is connected is cut off. Whether it was there.
    pub(crate) fn end_session(&self, session: &str, reason: &str) -> bool {
        self.tell(session, &Control::End);
        let Some(ticket) = self.world().tickets.remove(session) else { return false };
        self.note_session(ticket.serial, |record| record.terminate(reason));
        true
    }
}

/// So many random bytes (a multiple of 8), in hex.
pub(crate) fn random_hex(bytes: usize) -> String {
    (0..bytes.div_ceil(8))
        .map(|word| format!("{:016x}", RandomState::new().hash_one((word, SystemTime::now()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_once() {
        let mut nonces = Nonces::default();
        assert!(nonces.is_new("a"));
        assert!(!nonces.is_new("a"));
        for number in 0..REMEMBERED + 10 {
            nonces.is_new(&number.to_string());
        }
        assert_eq!(nonces.0.len(), REMEMBERED);
        assert_eq!(nonces.1.len(), REMEMBERED);
    }

    #[test]
    fn random_is_not_the_same_twice() {
        assert_eq!(random_hex(16).len(), 32);
        assert_ne!(random_hex(16), random_hex(16));
    }

    #[test]
    fn an_instance_comes_into_the_first_region_or_its_own() {
        let mut world = World { regions: vec!["cn-hangzhou".into()], ..World::default() };
        world.add_instance(Instance::new("i-a"));
        world.add_instance(Instance::new("i-b").region("cn-beijing"));
        assert_eq!(world.instances["i-a"].region, "cn-hangzhou");
        assert_eq!(world.regions, ["cn-hangzhou", "cn-beijing"]);
    }
}
