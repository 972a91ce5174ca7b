//! What happened, for tests to look at: calls, upgrades and sessions.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, SystemTime},
};

use crate::{
    command::{InvocationRecord, KeyQueryRecord, KeyRecord, Log},
    session::SessionRecord,
    sources::SourceRecord,
};

/// So many calls, upgrades and sessions are kept; older ones are forgotten.
const KEPT: usize = 16_384;

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
    /// The stream of it that was to be taken up again (`channelId`).
    pub channel: Option<String>,
    /// The HTTP status of the answer; 0 if there was none.
    pub status: u16,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The header `x-acs-session-token`.
    pub token_header: Option<String>,
    /// When it came.
    pub at: SystemTime,
}

/// All that was seen so far.
#[derive(Debug, Default)]
pub struct State {
    calls: VecDeque<CallRecord>,
    upgrades: VecDeque<UpgradeRecord>,
    sessions: BTreeMap<u64, SessionRecord>,
    next_session: u64,
    sources: VecDeque<SourceRecord>,
    /// How many of them were forgotten.
    forgotten_sources: usize,
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

    /// The questions to the metadata service and to the credentials URI, oldest first.
    pub fn sources(&self) -> impl Iterator<Item = &SourceRecord> {
        self.sources.iter()
    }

    /// Gives its number.
    pub(crate) fn add_source(&mut self, source: SourceRecord) -> usize {
        if self.sources.len() >= KEPT {
            self.forgotten_sources += 1;
        }
        push_bounded(&mut self.sources, source);
        self.forgotten_sources + self.sources.len() - 1
    }

    /// Fills in how a question was answered.
    pub(crate) fn source_answered(&mut self, number: usize, fill: impl FnOnce(&mut SourceRecord)) {
        let index = number.checked_sub(self.forgotten_sources);
        if let Some(source) = index.and_then(|index| self.sources.get_mut(index)) {
            fill(source);
        }
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
        text.push_str(&format!("; {} questions to sources", self.sources.len()));
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
    fn records_are_bounded() {
        let mut state = State::default();
        for _ in 0..KEPT + 5 {
            state.add_session(SessionRecord::new(String::new(), String::new(), String::new()));
        }
        assert_eq!(state.sessions().count(), KEPT);
    }
}
