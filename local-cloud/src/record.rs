//! What happened, for tests to look at: calls, upgrades and sessions.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use crate::command::{InvocationRecord, KeyQueryRecord, KeyRecord, Log};

/// So many calls, upgrades and sessions are kept; older ones are forgotten.
const KEPT: usize = 16_384;
/// So many violations of one session are kept.
const KEPT_VIOLATIONS: usize = 64;

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallRecord {
    /// The action, empty if none was named.
    pub action: String,
    /// Query and form parameters, those of the V1 signature included.
    pub params: BTreeMap<String, String>,
    /// `host`, `user-agent`, `authorization`, `content-type` and all `x-acs-…`.
    pub headers: BTreeMap<String, String>,
    /// The HTTP method.
    pub method: String,
    /// `v1` or `v3`, if it was signed at all.
    pub signature: Option<&'static str>,
    /// The HTTP status of the answer; 0 if there was none.
    pub status: u16,
    /// The error code of the answer.
    pub code: Option<String>,
    /// The RequestId of the answer.
    pub request_id: String,
    /// When it came, by this machine's clock.
    pub at: SystemTime,
    /// What must not have been in it, such as a private key.
    pub violations: Vec<String>,
}

/// A request to upgrade to a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpgradeRecord {
    /// The session it named.
    pub session: Option<String>,
    /// The HTTP status of the answer; 0 if there was none.
    pub status: u16,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The header `x-acs-session-token`.
    pub token_header: Option<String>,
    /// When it came.
    pub at: SystemTime,
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
    /// Ended, by the API, by a Close frame or by the far side.
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
    pub sync_frames: u64,
    /// WebSocket pings of the client.
    pub pings: u64,
    /// WebSocket pongs of the client.
    pub pongs: u64,
    /// The client took part in the WebSocket's close.
    pub close_handshake: bool,
    /// Bytes that reached the target.
    pub forwarded_bytes: u64,
    /// Bytes that an old agent dropped because they came before the target was dialled.
    pub dropped_bytes: u64,
    pub output_frames: u64,
    /// Payload bytes of Output.
    pub output_bytes: u64,
    /// The most Input payload that any sliding second brought.
    pub peak_bytes_per_second: u64,
    /// The same by the times at which the client made the frames. On a busy machine what was sent apart may be
    /// read together; what was made apart stays so.
    pub peak_made_per_second: u64,
    /// How many faults have struck its connections, the upgrade's not counted.
    pub faults_struck: u32,
    /// Why it ended: a reason of the protocol, or `ClientClosed`, `ClientGone`, `EndTerminalSession`, or a fault.
    pub end_reason: Option<String>,
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
            connection_type: None,
            client_token: None,
            access_key_id: String::new(),
            started: SystemTime::now(),
            url_expires: SystemTime::now(),
            state: SessionState::Started,
            ended_by_api: false,
            end_calls: 0,
            connections: 0,
            live: 0,
            token_header: None,
            opened: 0,
            joined: None,
            spoke: None,
            dials: 0,
            dial_failures: 0,
            input_frames: 0,
            input_bytes: 0,
            empty_inputs: 0,
            full_inputs: 0,
            resize_frames: 0,
            close_frames: 0,
            sync_frames: 0,
            pings: 0,
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

    pub(crate) fn violation(&mut self, what: String) {
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(what);
        }
    }

    /// The end, of which the first reason counts.
    pub(crate) fn terminate(&mut self, reason: &str) {
        self.state = SessionState::Terminated;
        self.end_reason.get_or_insert_with(|| reason.to_owned());
    }
}

/// All that was seen so far.
#[derive(Debug, Default)]
pub struct State {
    calls: VecDeque<CallRecord>,
    upgrades: VecDeque<UpgradeRecord>,
    sessions: BTreeMap<u64, SessionRecord>,
    next_session: u64,
    pub(crate) commands: Log,
}

/// Names a session in the [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serial(u64);

impl State {
    /// The calls of the API, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = &CallRecord> {
        self.calls.iter()
    }

    /// The WebSocket upgrades, oldest first.
    pub fn upgrades(&self) -> impl Iterator<Item = &UpgradeRecord> {
        self.upgrades.iter()
    }

    /// The sessions, oldest first.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionRecord> {
        self.sessions.values()
    }

    /// A session by its id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&SessionRecord> {
        self.sessions().find(|session| session.id == id)
    }

    /// How many sessions count against the quotas.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions().filter(|session| session.is_open()).count()
    }

    /// The commands, one record for each instance that a call named, oldest first.
    pub fn invocations(&self) -> impl Iterator<Item = &InvocationRecord> {
        self.commands.invocations()
    }

    /// The temporary keys that were registered, whether they still hold or not, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &KeyRecord> {
        self.commands.keys.iter()
    }

    /// The questions for keys, oldest first.
    pub fn key_queries(&self) -> impl Iterator<Item = &KeyQueryRecord> {
        self.commands.key_queries.iter()
    }

    pub(crate) fn add_call(&mut self, call: CallRecord) {
        push_bounded(&mut self.calls, call);
    }

    /// Fills in how a call was answered.
    pub(crate) fn answered(&mut self, request_id: &str, fill: impl FnOnce(&mut CallRecord)) {
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.request_id == request_id) {
            fill(call);
        }
    }

    pub(crate) fn add_upgrade(&mut self, upgrade: UpgradeRecord) {
        push_bounded(&mut self.upgrades, upgrade);
    }

    pub(crate) fn add_session(&mut self, session: SessionRecord) -> Serial {
        let serial = self.next_session;
        self.next_session += 1;
        self.sessions.insert(serial, session);
        if self.sessions.len() > KEPT {
            self.sessions.pop_first();
        }
        Serial(serial)
    }

    pub(crate) fn get_mut(&mut self, serial: Serial) -> Option<&mut SessionRecord> {
        self.sessions.get_mut(&serial.0)
    }

    pub(crate) fn by_id_mut(&mut self, id: &str) -> Option<&mut SessionRecord> {
        self.sessions.values_mut().find(|session| session.id == id)
    }

    /// A few lines for the message of a test that waited in vain.
    fn summary(&self) -> String {
        let mut text = format!("{} calls", self.calls.len());
        for call in self.calls.iter().rev().take(3).rev() {
            let code = call.code.as_deref().unwrap_or("-");
            text.push_str(&format!("; {} {} {code}", call.action, call.status));
        }
        text.push_str(&format!("; {} sessions", self.sessions.len()));
        for session in self.sessions.values().rev().take(3).rev() {
            text.push_str(&format!("\n{session:?}"));
        }
        let invocations: Vec<_> = self.invocations().collect();
        text.push_str(&format!("\n{} invocations", invocations.len()));
        for invocation in invocations.iter().rev().take(3).rev() {
            text.push_str(&format!("\n{invocation:?}"));
        }
        let (keys, queries) = (self.keys().count(), self.key_queries().count());
        text.push_str(&format!("\n{keys} keys; {queries} questions for them"));
        text
    }

    pub(crate) fn timed_out(&self, after: Duration) -> TimedOut {
        TimedOut { after, seen: self.summary() }
    }
}

/// What was waited for did not happen in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not seen within {after:?}; what was seen: {seen}")]
pub struct TimedOut {
    /// How long was waited.
    after: Duration,
    /// The last of what was seen.
    seen: String,
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
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
    }

    #[test]
    fn records_are_bounded() {
        let mut state = State::default();
        for _ in 0..KEPT + 5 {
            state.add_session(SessionRecord::new(String::new(), String::new(), String::new()));
        }
        assert_eq!(state.sessions().count(), KEPT);
        let mut session = SessionRecord::new(String::new(), String::new(), String::new());
        (0..1_000).for_each(|_| session.violation("again".into()));
        assert_eq!(session.violations.len(), KEPT_VIOLATIONS);
    }
}
