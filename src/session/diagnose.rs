//! What can be seen of an instance from outside, and what of it keeps a session from opening: for
//! sessions and commands that failed, and for `doctor`, which asks one after the other.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::failure::Finding;
use crate::cloud::{AgentStatus, Client, InstanceState};
use crate::explain::Explain;

/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(3);

/// What is seen of an instance from outside.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    /// What keeps it from a session or a command.
    pub(crate) finding: Option<Finding>,
    /// Whether it runs Windows.
    pub(crate) is_windows: bool,
}

/// Looks at an instance in which a command failed, for 3 seconds at most.
pub(crate) async fn diagnose(client: &Client, instance: &str) -> Diagnosis {
    let calls = (client.instance_state(instance), client.agent_status(instance));
    let (status, agent) = tokio::join!(in_time(calls.0), in_time(calls.1));
    seen(status.flatten(), agent.flatten())
}

/// The same for a session that did not open, which Session Manager may be switched off for.
pub(crate) async fn diagnose_session(client: &Client, instance: &str) -> Diagnosis {
    let switch = in_time(client.session_manager_enabled());
    let (mut seen, enabled) = tokio::join!(diagnose(client, instance), switch);
    if enabled.flatten() == Some(false) {
        let region = client.config().region.to_string();
        seen.finding.get_or_insert(Finding::SwitchedOff { region });
    }
    seen
}

/// An answer, if it comes in time: one silent call does not cost the others' answers.
async fn in_time<T, E: Explain>(call: impl Future<Output = Result<T, E>>) -> Option<T> {
    match timeout(WITHIN, call).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!("cannot look: {error}");
            None
        }
        Err(_) => None,
    }
}

fn seen(state: Option<InstanceState>, agent: Option<AgentStatus>) -> Diagnosis {
    let state = state.as_ref().and_then(not_running);
    let agent = agent.as_ref();
    let finding = state
        .or_else(|| agent.and_then(missing))
        .or_else(|| agent.and_then(offline))
        .or_else(|| agent.and_then(too_old))
        .or_else(|| agent.and_then(without_sessions));
    Diagnosis { finding, is_windows: agent.is_some_and(AgentStatus::is_windows) }
}

/// An instance that does not run.
pub(crate) fn not_running(state: &InstanceState) -> Option<Finding> {
    let word = match state {
        InstanceState::Running => return None,
        InstanceState::Pending => "being made",
        InstanceState::Starting => "starting",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
        InstanceState::Other(state) if state.is_empty() => return None,
        InstanceState::Other(state) => state,
    };
    Some(Finding::NotRunning { state: word.to_owned() })
}

/// An agent that is unknown to the service.
pub(crate) fn missing(agent: &AgentStatus) -> Option<Finding> {
    let is_known = agent.version.is_some() || agent.last_heartbeat.is_some();
    (agent.online == Some(false) && !is_known).then_some(Finding::AgentMissing)
}

/// An agent that is offline.
pub(crate) fn offline(agent: &AgentStatus) -> Option<Finding> {
    (agent.online == Some(false)).then_some(Finding::AgentOffline)
}

/// An agent that is too old for sessions, unless the service reports that it supports them.
pub(crate) fn too_old(agent: &AgentStatus) -> Option<Finding> {
    let by_version = AgentStatus { supports_sessions: None, ..agent.clone() };
    let is_old = by_version.can_have_sessions() == Some(false);
    let is_supported = agent.supports_sessions == Some(true);
    (is_old && !is_supported).then(|| Finding::AgentTooOld { version: version(agent) })
}

/// An agent that does not support sessions, although it is new enough for all that is known.
pub(crate) fn without_sessions(agent: &AgentStatus) -> Option<Finding> {
    let is_without = agent.supports_sessions == Some(false);
    is_without.then(|| Finding::AgentWithoutSessions { version: version(agent) })
}

/// Its version, as far as it is known.
pub(crate) fn version(agent: &AgentStatus) -> String {
    agent.version.clone().unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(online: bool, version: Option<&str>, supports: Option<bool>) -> AgentStatus {
        let mut agent = AgentStatus::default();
        (agent.online, agent.supports_sessions) = (Some(online), supports);
        agent.version = version.map(str::to_owned);
        agent
    }

    #[test]
    fn the_nearest_cause_is_found() {
        let old = || "2.2.3.256".to_owned();
        for (agent, finding) in [
            (agent(false, None, None), Some(Finding::AgentMissing)),
            (agent(false, Some("2.2.3.900"), None), Some(Finding::AgentOffline)),
            (agent(true, Some(&old()), None), Some(Finding::AgentTooOld { version: old() })),
            (agent(true, Some(&old()), Some(true)), None),
            (
                agent(true, Some("2.2.3.900"), Some(false)),
                Some(Finding::AgentWithoutSessions { version: "2.2.3.900".to_owned() }),
            ),
            (agent(true, None, None), None),
            (agent(true, Some("2.2.3.900"), Some(true)), None),
        ] {
            assert_eq!(seen(None, Some(agent.clone())).finding, finding, "{agent:?}");
        }
        assert_eq!(seen(None, None).finding, None);
    }

    #[test]
    fn states_in_which_nothing_runs_have_their_words() {
        let other = |state: &str| InstanceState::Other(state.to_owned());
        for (state, word) in [
            (InstanceState::Stopped, Some("stopped")),
            (InstanceState::Starting, Some("starting")),
            (InstanceState::Running, None),
            (other("Odd"), Some("Odd")),
            (other(""), None),
        ] {
            let found = word.map(|word| Finding::NotRunning { state: word.to_owned() });
            assert_eq!(not_running(&state), found);
        }
    }
}
