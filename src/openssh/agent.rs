//! The keys of the agent that ssh asks.

use std::time::Duration;

use tokio::process::Command;

use super::printed::printed;

/// How long the agent may take to answer.
const WITHIN: Duration = Duration::from_secs(3);

/// What the agent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentKeys {
    /// Public keys, in Base64.
    Some(Vec<String>),
    /// No key, or there is no agent, or it does not answer.
    None,
}

/// Asks the agent, as ssh does.
pub(crate) async fn agent_keys() -> AgentKeys {
    match printed(Command::new("ssh-add").arg("-L"), WITHIN).await {
        Ok(printed) if printed.status.success() => {
            let key = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
            AgentKeys::Some(printed.stdout.lines().filter_map(key).collect())
        }
        _ => AgentKeys::None,
    }
}
