//! What is known of a session, for tests to look at.

use std::time::{Duration, Instant, SystemTime};

/// So many violations of one session are kept.
const KEPT_VIOLATIONS: usize = 64;
/// So many of its sockets, Syncs and pings are kept.
const KEPT: usize = 1_024;

/// A Sync frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncRecord {
    /// When it came, or went out.
    pub at: SystemTime,
    /// On which WebSocket of the session, counted from 1.
    pub socket: u32,
    /// Its `input sequence`.
    pub input: u32,
    /// Its `output sequence`.
    pub output: u32,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionState {
    /// Started by the API, no WebSocket yet.
    #[default]
    Started,
    /// A WebSocket is there.
    Connected,
    /// The WebSocket is gone, but nobody has ended the session.
    Disconnected,
    /// Ended, by the API, by a Close frame or by the remote side.
    Terminated,
}

/// A session, from StartTerminalSession to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of counters say it; the others are documented")]
pub struct SessionRecord {
    pub id: String,
    pub region: String,
    pub instance: String,
    /// None for a shell.
    pub port: Option<u16>,
    pub target_server: Option<String>,
    /// A shell's, as the API was told it.
    pub username: Option<String>,
    /// A shell's.
    pub command_line: Option<String>,
    /// Rows and columns that the shell's terminal has.
    pub window: Option<(u16, u16)>,
    pub connection_type: Option<String>,
    pub client_token: Option<String>,
    /// Whose call started it.
    pub access_key_id: String,
    pub started: SystemTime,
    /// When its WebSocket URL stops working.
    pub url_expires: SystemTime,
    pub state: SessionState,
    /// EndTerminalSession came.
    pub ended_by_api: bool,
    /// How often.
    pub end_calls: u32,
    /// WebSockets in all.
    pub connections: u32,
    /// WebSockets that took a stream up again.
    pub resumptions: u32,
    /// When each WebSocket came.
    pub attached: Vec<SystemTime>,
    /// Why each WebSocket ended: a reason as [`SessionRecord::end_reason`] has it, `Close` with a code, or `Replaced` by another.
    pub socket_ends: Vec<String>,
    /// The id of its last stream, which all frames to the client carry.
    pub channel: Option<String>,
    /// WebSockets that are there now.
    pub live: u32,
    /// The header `x-acs-session-token` of the last upgrade.
    pub token_header: Option<String>,
    /// How often an agent joined.
    pub opened: u32,
    /// When one joined first, before anybody was told of it.
    pub joined: Option<Instant>,
    /// When the first payload of Input had come.
    pub spoke: Option<Instant>,
    /// How often the target was dialled with success.
    pub dials: u32,
    pub dial_failures: u32,
    /// How often the agent found that the target had closed.
    pub target_closes: u32,
    /// Input frames, empty ones included.
    pub input_frames: u64,
    /// Payload bytes of Input.
    pub input_bytes: u64,
    /// Input frames without payload: keepalives.
    pub empty_inputs: u64,
    /// Input frames as full as they may be (2,048).
    pub full_inputs: u64,
    pub resize_frames: u64,
    pub close_frames: u64,
    /// Sync frames of the client.
    pub sync_frames: u64,
    /// What they said.
    pub client_syncs: Vec<SyncRecord>,
    /// The Syncs of a resumable agent.
    pub agent_syncs: Vec<SyncRecord>,
    /// Inputs and Resizes that a resumable agent had already.
    pub duplicate_inputs: u64,
    /// Inputs and Resizes that a resumable agent dropped, because one before them was missing.
    pub input_gaps: u64,
    /// The highest Input or Resize that a resumable agent has, and all before it.
    pub received_inputs: u32,
    /// Outputs that were sent again.
    pub resent_outputs: u64,
    /// The number of the last Output of a resumable agent.
    pub last_output: u32,
    /// The highest Output that the client has acknowledged.
    pub acknowledged_outputs: u32,
    /// The most bytes of Output that were kept for the client at a time.
    pub peak_kept_bytes: usize,
    /// Frames that something went wrong with on their way.
    pub corrupted_frames: u64,
    /// WebSocket pings of the client.
    pub pings: u64,
    /// When they came.
    pub ping_times: Vec<SystemTime>,
    /// WebSocket pongs of the client.
    pub pongs: u64,
    /// The client took part in the WebSocket's close.
    pub close_handshake: bool,
    /// Bytes that reached the target: those of an Input that comes more than once are forwarded, and counted, once.
    pub forwarded_bytes: u64,
    /// Bytes that an agent of generation A dropped because they came before the target was dialled.
    pub dropped_bytes: u64,
    pub output_frames: u64,
    /// Payload bytes of Output.
    pub output_bytes: u64,
    /// The most Input payload that any sliding second brought.
    pub peak_bytes_per_second: u64,
    /// The same by the times at which the client made the frames. On a busy machine what was sent apart may be
    /// read together; what was made apart stays so.
    pub peak_made_per_second: u64,
    /// How many faults were injected into its connections, the upgrade's not counted.
    pub faults_struck: u32,
    /// Why it ended: a reason of the protocol, or `ClientClosed`, `ClientGone`, `EndTerminalSession`, or a fault.
    pub end_reason: Option<String>,
    /// Since when it does not count against the quotas any more, but for [`crate::Builder::quota_lag`].
    pub over: Option<Instant>,
    /// What the client did against the protocol.
    pub violations: Vec<String>,
}

impl SessionRecord {
    pub(crate) fn new(id: String, instance: String, region: String) -> Self {
        Self {
            id,
            region,
            instance,
            port: None,
            target_server: None,
            username: None,
            command_line: None,
            window: None,
            connection_type: None,
            client_token: None,
            access_key_id: String::new(),
            started: SystemTime::now(),
            url_expires: SystemTime::now(),
            state: SessionState::Started,
            ended_by_api: false,
            end_calls: 0,
            connections: 0,
            resumptions: 0,
            attached: Vec::new(),
            socket_ends: Vec::new(),
            channel: None,
            live: 0,
            token_header: None,
            opened: 0,
            joined: None,
            spoke: None,
            dials: 0,
            dial_failures: 0,
            target_closes: 0,
            input_frames: 0,
            input_bytes: 0,
            empty_inputs: 0,
            full_inputs: 0,
            resize_frames: 0,
            close_frames: 0,
            sync_frames: 0,
            client_syncs: Vec::new(),
            agent_syncs: Vec::new(),
            duplicate_inputs: 0,
            input_gaps: 0,
            received_inputs: 0,
            resent_outputs: 0,
            last_output: 0,
            acknowledged_outputs: 0,
            peak_kept_bytes: 0,
            corrupted_frames: 0,
            pings: 0,
            ping_times: Vec::new(),
            pongs: 0,
            close_handshake: false,
            forwarded_bytes: 0,
            dropped_bytes: 0,
            output_frames: 0,
            output_bytes: 0,
            peak_bytes_per_second: 0,
            peak_made_per_second: 0,
            faults_struck: 0,
            end_reason: None,
            over: None,
            violations: Vec::new(),
        }
    }

    /// Whether it still counts against the quotas: nobody has ended it, and its URL was used or still can be.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.state {
            SessionState::Started => SystemTime::now() < self.url_expires,
            SessionState::Connected | SessionState::Disconnected => true,
            SessionState::Terminated => false,
        }
    }

    /// Whether it has ended so short a while ago that the service may not have noticed.
    pub(crate) fn lingers(&self, lag: Duration) -> bool {
        self.over.is_some_and(|over| over.elapsed() < lag)
    }

    pub(crate) fn violation(&mut self, what: String) {
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(what);
        }
    }

    pub(crate) fn ping(&mut self) {
        self.pings += 1;
        push_bounded(&mut self.ping_times, SystemTime::now());
    }

    pub(crate) fn sync(&mut self, of_client: bool, input: u32, output: u32) {
        let socket = self.connections;
        let record = SyncRecord { at: SystemTime::now(), socket, input, output };
        push_bounded(
            if of_client { &mut self.client_syncs } else { &mut self.agent_syncs },
            record,
        );
    }

    pub(crate) fn attached(&mut self) {
        self.connections += 1;
        self.live += 1;
        push_bounded(&mut self.attached, SystemTime::now());
    }

    pub(crate) fn socket_ended(&mut self, why: String) {
        push_bounded(&mut self.socket_ends, why);
    }

    /// The end, of which the first reason counts.
    pub(crate) fn terminate(&mut self, reason: &str) {
        self.state = SessionState::Terminated;
        self.over.get_or_insert_with(Instant::now);
        self.end_reason.get_or_insert_with(|| reason.to_owned());
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() < KEPT {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_until_it_is_ended_or_can_no_longer_be_used() {
        let mut session = SessionRecord::new("s-1".into(), "i-1".into(), "cn-hangzhou".into());
        session.url_expires = SystemTime::now() + Duration::from_secs(60);
        assert!(session.is_open());
        session.url_expires = SystemTime::now() - Duration::from_secs(1);
        assert!(!session.is_open());
        session.state = SessionState::Disconnected;
        assert!(session.is_open(), "a socket that broke ends nothing");
        session.terminate("Exit");
        session.terminate("ClientGone");
        assert!(!session.is_open());
        assert_eq!(session.end_reason.as_deref(), Some("Exit"));
        assert!(session.lingers(Duration::from_secs(60)) && !session.lingers(Duration::ZERO));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut session = SessionRecord::new(String::new(), String::new(), String::new());
        (0..1_000).for_each(|_| session.violation("again".into()));
        (0..2_000).for_each(|_| session.ping());
        assert_eq!(session.violations.len(), KEPT_VIOLATIONS);
        assert_eq!((session.pings, session.ping_times.len()), (2_000, KEPT));
    }
}
