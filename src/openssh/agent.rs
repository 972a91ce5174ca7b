//! The keys of the agent that ssh uses.

use std::time::Duration;

use tokio::process::Command;

use super::printed::printed;

/// How long the agent may take to answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Lists the agent's public keys, as ssh does: in Base64. `None` where it has none, there is no agent, or it
/// does not answer.
pub(crate) async fn agent_keys() -> Option<Vec<String>> {
    match printed(Command::new("ssh-add").arg("-L"), WITHIN).await {
        Ok(printed) if printed.status.success() => {
            let key = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
            Some(printed.stdout.lines().filter_map(key).collect())
        }
        _ => None,
    }
}
