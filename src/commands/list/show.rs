//! Instances as rows for people, and as JSON for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::gather::{Agent, Row};
use crate::app::table::Table;
use crate::cloud::InstanceState;
use crate::target::find::status;

/// Rows for people.
pub(crate) fn table(rows: &[Row], with_region: bool) -> Table {
    let mut head = vec!["INSTANCE", "NAME", "STATUS", "OS", "ADDRESS", "AGENT", "SESSION MANAGER"];
    head.extend(with_region.then_some("REGION"));
    let mut table = Table::new(&head);
    for row in rows {
        let instance = &row.instance;
        let mut cells = vec![
            instance.id.clone(),
            instance.name.clone(),
            status(&row.instance),
            instance.os_type.clone().unwrap_or_default(),
            instance.private_addresses.join(", "),
            agent(row),
            match reach(row) {
                Reach::Yes => "yes".to_owned(),
                Reach::No(why) => format!("no: {why}"),
                Reach::Unknown => "?".to_owned(),
            },
        ];
        cells.extend(with_region.then(|| instance.region.clone()));
        table.row(cells);
    }
    table
}

fn agent(row: &Row) -> String {
    let Agent::Known(agent) = &row.agent else {
        return if row.agent == Agent::Unknown { "?".to_owned() } else { "none".to_owned() };
    };
    let state = match agent.online {
        Some(true) => "online",
        Some(false) => "offline",
        None => "?",
    };
    let version = agent.version.as_deref().unwrap_or_default();
    format!("{state} {version}").trim_end().to_owned()
}

/// Whether Session Manager can reach an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Yes,
    No(String),
    Unknown,
}

fn reach(row: &Row) -> Reach {
    let no = |why: &str| Reach::No(why.to_owned());
    match &row.instance.state {
        Some(InstanceState::Running) | None => {}
        // An unknown value is no obstacle.
        Some(InstanceState::Other(word)) if word.is_empty() => {}
        Some(_) => return no(&status(&row.instance).to_lowercase()),
    }
    let agent = match &row.agent {
        Agent::Known(agent) => agent,
        Agent::Missing => return no("no agent"),
        Agent::Unknown => return Reach::Unknown,
    };
    match (agent.online, agent.can_have_sessions()) {
        (Some(false), _) => no("agent offline"),
        (_, Some(false)) => no("agent too old"),
        (Some(true), Some(true)) => Reach::Yes,
        _ => Reach::Unknown,
    }
}

/// Whether Session Manager can reach it, as far as known.
pub(crate) fn is_reachable(row: &Row) -> bool {
    reach(row) == Reach::Yes
}

/// Whether ssh is seldom there.
pub(crate) fn is_windows(row: &Row) -> bool {
    row.instance.os_type.as_deref() == Some("windows")
}

/// An instance as list.schema.json has it.
#[derive(Debug, Serialize)]
struct Object<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    region: &'a str,
    status: Option<String>,
    host_name: Option<&'a str>,
    os: Option<&'a str>,
    private_addresses: &'a [String],
    public_addresses: &'a [String],
    tags: BTreeMap<&'a str, &'a str>,
    agent: Option<AgentObject<'a>>,
    session_manager: Option<bool>,
    reason: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct AgentObject<'a> {
    online: Option<bool>,
    version: Option<&'a str>,
    last_heartbeat: Option<&'a str>,
}

/// An array for programs.
pub(crate) fn json(rows: &[Row]) -> String {
    let objects: Vec<_> = rows.iter().map(object).collect();
    // There is nothing in it that could not be written.
    serde_json::to_string_pretty(&objects).unwrap_or_default()
}

fn object(row: &Row) -> Object<'_> {
    let instance = &row.instance;
    let (session_manager, reason) = match reach(row) {
        Reach::Yes => (Some(true), None),
        Reach::No(why) => (Some(false), Some(why)),
        Reach::Unknown => (None, None),
    };
    Object {
        id: &instance.id,
        name: &instance.name,
        kind: if instance.is_managed() { "managed" } else { "ecs" },
        region: &instance.region,
        status: Some(status(&row.instance)).filter(|status| !status.is_empty()),
        host_name: instance.host_name.as_deref(),
        os: instance.os_type.as_deref(),
        private_addresses: &instance.private_addresses,
        public_addresses: &instance.public_addresses,
        tags: instance.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        agent: match &row.agent {
            Agent::Unknown => None,
            Agent::Missing => Some(AgentObject { online: Some(false), ..AgentObject::default() }),
            Agent::Known(agent) => Some(AgentObject {
                online: agent.online,
                version: agent.version.as_deref(),
                last_heartbeat: agent.last_heartbeat.as_deref(),
            }),
        },
        session_manager,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{AgentStatus, Instance};

    fn row(state: Option<InstanceState>, agent: Agent) -> Row {
        Row { instance: Instance { state, ..Instance::default() }, agent }
    }

    fn known(change: impl FnOnce(&mut AgentStatus)) -> Agent {
        let mut agent = AgentStatus {
            online: Some(true),
            supports_sessions: Some(true),
            ..AgentStatus::default()
        };
        change(&mut agent);
        Agent::Known(agent)
    }

    #[test]
    fn it_is_told_why_an_instance_cannot_be_reached() {
        let running = || Some(InstanceState::Running);
        for (row, reached) in [
            (row(running(), known(|_| {})), Reach::Yes),
            (row(None, known(|_| {})), Reach::Yes),
            (row(Some(InstanceState::Other(String::new())), known(|_| {})), Reach::Yes),
            (row(Some(InstanceState::Stopped), known(|_| {})), Reach::No("stopped".to_owned())),
            (
                row(running(), known(|agent| agent.online = Some(false))),
                Reach::No("agent offline".to_owned()),
            ),
            (
                row(running(), known(|agent| agent.supports_sessions = Some(false))),
                Reach::No("agent too old".to_owned()),
            ),
            (row(running(), Agent::Missing), Reach::No("no agent".to_owned())),
            (row(running(), Agent::Unknown), Reach::Unknown),
            (row(running(), known(|agent| agent.online = None)), Reach::Unknown),
        ] {
            assert_eq!(reach(&row), reached, "{row:?}");
        }
    }
}
