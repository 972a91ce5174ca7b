//! Instances: what they listen on, which agent runs on them, and how the gateway treats their sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    agent::Agent,
    command::{Commands, Os},
    fault::Fault,
    fleet::Facts,
    frame_fault::FrameFault,
    shell::Shells,
};

/// The limit that holds until another one is announced: 200 kbit/s.
pub const DEFAULT_LIMIT: u64 = 204_800;

/// Which progress the gateway tells of. Endings are told whatever stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Status 0 right after the upgrade.
    pub initial: bool,
    /// Status 1 after that.
    pub opening: bool,
    /// Status 3 when the agent has joined.
    pub opened: bool,
    /// How long each of Initial and Opening is waited for.
    pub delay: Duration,
}

impl Progress {
    /// Initial, Opening, Opened.
    #[must_use]
    pub fn all() -> Self {
        Self { initial: true, opening: true, opened: true, delay: Duration::ZERO }
    }

    /// Not a word.
    #[must_use]
    pub fn none() -> Self {
        Self { initial: false, opening: false, opened: false, delay: Duration::ZERO }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::all()
    }
}

/// The limit on what a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// In bits per second; 0 is no limit of its own, and the default one is enforced.
    pub limit: u64,
    /// Whether a Stream status tells the client, right after Opened.
    pub announced: bool,
    /// Whether `FlowExceedLimit` ends a session that goes over it.
    pub enforced: bool,
    /// How much over it may be, in any one second.
    pub tolerance_percent: u32,
    /// Whether only the time counts at which a frame was read. Otherwise a second has to be over the limit by the
    /// frames' own times of creation as well, so that a machine too busy to read in time blames nobody.
    pub strict: bool,
}

impl Default for Pace {
    /// 204,800 bit/s, of which nothing is said, but which is enforced with 5 % to spare.
    fn default() -> Self {
        Self {
            limit: DEFAULT_LIMIT,
            announced: false,
            enforced: true,
            tolerance_percent: 5,
            strict: false,
        }
    }
}

impl Pace {
    /// A limit that is announced and enforced.
    #[must_use]
    pub fn announced(limit: u64) -> Self {
        Self { limit, announced: true, ..Self::default() }
    }

    /// Nothing announced, nothing enforced.
    #[must_use]
    pub fn off() -> Self {
        Self { enforced: false, ..Self::default() }
    }

    /// How much over the limit a second may be.
    #[must_use]
    pub fn tolerance_percent(mut self, percent: u32) -> Self {
        self.tolerance_percent = percent;
        self
    }

    /// Counts by the time of arrival alone.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Whether going over it ends a session.
    #[must_use]
    pub fn enforced(mut self, enforced: bool) -> Self {
        self.enforced = enforced;
        self
    }
}

/// How a gateway treats a WebSocket on which the client sends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SilentClose {
    /// After so long.
    pub after: Duration,
    /// Whether the client's pings and pongs break the silence, as its frames do.
    pub pings_count: bool,
    /// The code of the WebSocket close. 1005 is a close frame without a code, 1006 none at all.
    pub code: u16,
}

impl SilentClose {
    /// A close with 1001 after so long without a frame.
    #[must_use]
    pub fn after(after: Duration) -> Self {
        Self { after, pings_count: false, code: 1001 }
    }

    /// Pings and pongs break the silence too.
    #[must_use]
    pub fn pings_count(mut self) -> Self {
        self.pings_count = true;
        self
    }

    /// With another code.
    #[must_use]
    pub fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }
}

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceStatus {
    /// Being made.
    Pending,
    /// On its way up.
    Starting,
    /// Up.
    #[default]
    Running,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
}

impl InstanceStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
        }
    }
}

/// An instance of the cloud.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// Its name in the console.
    pub name: String,
    /// Its region; empty is the cloud's first.
    pub region: String,
    /// Its system.
    pub os: Os,
    /// How it is found, beside its id and its name.
    pub facts: Facts,
    /// Whether it runs. Sessions open on running ones only.
    pub status: InstanceStatus,
    /// Whether its agent is connected. Sessions open only if so.
    pub agent_online: bool,
    /// What the agent says its version is, in place of its own; empty is an agent that was never there.
    pub agent_version: Option<String>,
    /// Its agent.
    pub agent: Agent,
    /// How long the gateway waits for an agent that does not come.
    pub agent_timeout: Duration,
    /// What listens where, as seen from the instance: no host is the instance itself.
    pub targets: BTreeMap<(Option<String>, u16), SocketAddr>,
    /// Ports of the instance that answer no dial, as behind a firewall that drops packets.
    pub unanswering: BTreeSet<u16>,
    /// The limit on what clients send.
    pub pace: Pace,
    /// Which progress the gateway tells of.
    pub progress: Progress,
    /// How long a session lives without a frame from its client.
    pub idle_timeout: Duration,
    /// How long a session lives at all.
    pub session_timeout: Duration,
    /// Whether the gateway answers WebSocket pings.
    pub pongs: bool,
    /// Whether the gateway answers a client's WebSocket close, and ends the connection then.
    pub answers_close: bool,
    /// Whether the gateway closes a WebSocket on which the client sends nothing.
    pub silent_close: Option<SilentClose>,
    /// How often the gateway sends a WebSocket ping, if it does.
    pub ping_every: Option<Duration>,
    /// A limit on what the gateway sends, in bits per second.
    pub output_limit: Option<u64>,
    /// What goes wrong with its sessions.
    pub faults: Vec<Fault>,
    /// What goes wrong with their frames.
    pub frame_faults: Vec<FrameFault>,
    /// How it takes commands.
    pub commands: Commands,
    /// How it runs shells.
    pub shells: Shells,
}

impl Instance {
    /// A running instance with an agent of generation D and nothing that listens.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            name: id.clone(),
            id,
            region: String::new(),
            os: Os::Linux,
            facts: Facts::default(),
            status: InstanceStatus::Running,
            agent_online: true,
            agent_version: None,
            agent: Agent::d(),
            agent_timeout: Duration::from_secs(20),
            targets: BTreeMap::new(),
            unanswering: BTreeSet::new(),
            pace: Pace::default(),
            progress: Progress::default(),
            idle_timeout: Duration::from_secs(180),
            session_timeout: Duration::from_secs(3 * 3_600),
            pongs: true,
            answers_close: true,
            silent_close: None,
            ping_every: None,
            output_limit: None,
            faults: Vec::new(),
            frame_faults: Vec::new(),
            commands: Commands::default(),
            shells: Shells::default(),
        }
    }

    /// Its name in the console (the id).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its region (the cloud's first).
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Lets a local listener play a port of the instance.
    #[must_use]
    pub fn target(mut self, port: u16, listener: SocketAddr) -> Self {
        self.targets.insert((None, port), listener);
        self
    }

    /// Lets a local listener play a port of another host, which the instance can reach (`TargetServer`).
    #[must_use]
    pub fn remote(mut self, host: impl Into<String>, port: u16, listener: SocketAddr) -> Self {
        self.targets.insert((Some(host.into()), port), listener);
        self
    }

    /// A port that answers no dial, neither with a connection nor with a refusal.
    #[must_use]
    pub fn unanswering(mut self, port: u16) -> Self {
        self.unanswering.insert(port);
        self
    }

    /// Whether it runs.
    #[must_use]
    pub fn status(mut self, status: InstanceStatus) -> Self {
        self.status = status;
        self
    }

    /// Whether its agent is connected.
    #[must_use]
    pub fn agent_online(mut self, online: bool) -> Self {
        self.agent_online = online;
        self
    }

    /// Its agent ([`Agent::d`]), whose version it reports unless [`Instance::agent_version`] says another.
    #[must_use]
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agent = agent;
        self
    }

    /// How long the gateway waits for an agent that does not come (20 s).
    #[must_use]
    pub fn agent_timeout(mut self, timeout: Duration) -> Self {
        self.agent_timeout = timeout;
        self
    }

    /// The limit on what clients send.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Which progress the gateway tells of.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// How long a session lives without a frame from its client (180 s).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a session lives at all (3 h).
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Whether the gateway answers WebSocket pings (yes). [`crate::LocalCloud::pongs`] switches it for live connections too.
    #[must_use]
    pub fn pongs(mut self, answered: bool) -> Self {
        self.pongs = answered;
        self
    }

    /// Whether the gateway answers a client's WebSocket close (yes). Otherwise nothing comes after it, and the TCP connection
    /// stays for as long as the cloud does.
    #[must_use]
    pub fn answers_close(mut self, answers: bool) -> Self {
        self.answers_close = answers;
        self
    }

    /// Closes WebSockets on which the client sends nothing (never).
    #[must_use]
    pub fn silent_close(mut self, silent_close: SilentClose) -> Self {
        self.silent_close = Some(silent_close);
        self
    }

    /// How often the gateway sends a WebSocket ping (never).
    #[must_use]
    pub fn ping_every(mut self, interval: Duration) -> Self {
        self.ping_every = Some(interval);
        self
    }

    /// A limit on what the gateway sends, in bits per second (none).
    #[must_use]
    pub fn output_limit(mut self, bits_per_second: u64) -> Self {
        self.output_limit = Some(bits_per_second);
        self
    }

    /// Something that goes wrong with its sessions.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Something that goes wrong with the frames of its sessions.
    #[must_use]
    pub fn frame_fault(mut self, fault: FrameFault) -> Self {
        self.frame_faults.push(fault);
        self
    }

    /// How it runs shells.
    #[must_use]
    pub fn shells(mut self, shells: Shells) -> Self {
        self.shells = shells;
        self
    }

    /// What DescribeCloudAssistantStatus reports.
    pub(crate) fn version(&self) -> String {
        self.agent_version.clone().unwrap_or_else(|| self.agent.version_on(self.os))
    }

    /// The agent can be reached, so that a session can open.
    pub(crate) fn reachable(&self) -> bool {
        self.agent_online && self.status == InstanceStatus::Running
    }
}
