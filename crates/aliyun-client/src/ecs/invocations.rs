//! Waits for a command in an instance, and reports why it failed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use crate::ecs::commands::{Invocation, InvocationResult, InvocationStatus};
use crate::openapi::client::Client;
use crate::openapi::error::Error;

/// The shortest time between two polls.
const SOONEST: Duration = Duration::from_millis(200);
/// The longest.
const LATEST: Duration = Duration::from_secs(2);
/// The next poll comes after this part of the time that has passed: an end is noticed at most that
/// much later.
const PART: u32 = 5;
/// Why a command in an instance failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The service refused the call, or could not be reached.
    #[error(transparent)]
    Call(#[from] Error),
    /// It has ended with a failure.
    #[error("{what}: {}", ended(.result))]
    Ended {
        /// What it was for, as the subject of the error message.
        what: String,
        /// How it ended.
        result: Box<InvocationResult>,
        /// Of the call that started it.
        request_id: Option<String>,
    },
    /// It did not end in time.
    #[error("{what}: no result within {} s, {}", .within.as_secs(), seen_as(.seen))]
    Late {
        /// What it was for.
        what: String,
        /// Its last known state.
        seen: Option<InvocationStatus>,
        /// How long it was waited for.
        within: Duration,
        /// Of the call that started it.
        request_id: Option<String>,
    },
}

impl Client {
    /// Waits for an invocation to succeed, and gives its result. `what` is for messages: what has
    /// failed if it does not; `since` is when the work began that may take `within`.
    ///
    /// It polls every 200 ms to 2 s, less often with time. A poll that the service is too busy to
    /// answer, or that does not reach it, is repeated.
    ///
    /// # Errors
    /// Every [`InvocationError`].
    pub async fn succeeded(
        &self,
        invocation: &Invocation,
        what: &str,
        since: Instant,
        within: Duration,
    ) -> Result<InvocationResult, InvocationError> {
        let (asked, deadline) = (Instant::now(), since + within);
        let (mut seen, mut busy) = (None, None);
        loop {
            let pause = (asked.elapsed() / PART).clamp(SOONEST, LATEST);
            let now = Instant::now();
            // The last poll still has some time for its answer.
            let next = (now + pause).min(deadline - SOONEST);
            if next <= now {
                break;
            }
            sleep_until(next).await;
            let result = match timeout_at(deadline, self.invocation_result(invocation)).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) if error.kind().may_pass() => {
                    debug!("asking for a result goes on although it failed: {error}");
                    busy = Some(error);
                    continue;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => break,
            };
            busy = None;
            let Some(result) = result else { continue };
            if seen.as_ref() != Some(&result.status) {
                debug!("{}: {:?}", invocation.invoke_id, result.status);
            }
            match &result.status {
                InvocationStatus::Success => return Ok(result),
                InvocationStatus::Failed(_) => {
                    let (what, request_id) = (what.to_owned(), invocation.request_id.clone());
                    return Err(InvocationError::Ended {
                        what,
                        result: Box::new(result),
                        request_id,
                    });
                }
                InvocationStatus::Underway(_) | InvocationStatus::Unknown(_) => {
                    seen = Some(result.status);
                }
            }
        }
        Err(match busy {
            Some(error) => error.into(),
            None => {
                let (what, request_id) = (what.to_owned(), invocation.request_id.clone());
                InvocationError::Late { what, seen, within, request_id }
            }
        })
    }
}

fn ended(result: &InvocationResult) -> String {
    let mut text = match &result.status {
        InvocationStatus::Failed(word) => word.clone(),
        other => format!("{other:?}"),
    };
    if let Some(code) = &result.error_code {
        text += &format!(" ({code})");
    }
    text
}

fn seen_as(seen: &Option<InvocationStatus>) -> String {
    match seen {
        None => "and the service has not listed it".to_owned(),
        Some(InvocationStatus::Underway(word)) => format!("it is still {word}"),
        Some(InvocationStatus::Unknown(word)) => {
            format!("its last status is one that this program does not know: {word:?}")
        }
        Some(other) => format!("{other:?}"),
    }
}

/// Codes that need no further look at the instance.
const CLEAR_CODES: [&str; 12] = [
    "InstanceNotRunning",
    "InstanceNotExists",
    "InstanceReleased",
    "ClientNotRunning",
    "ClientNotOnline",
    "ClientNotResponse",
    "ClientNetworkBlocked",
    "ClientNeedUpgrade",
    "DeliveryTimeout",
    "ExecutionTimeout",
    "AccountNotExists",
    "SecurityGroupRuleDenied",
];

impl InvocationError {
    /// Whether the command may not have reached the instance, because that or its agent was not up.
    pub fn is_undelivered(&self) -> bool {
        const CODES: [&str; 5] = [
            "InstanceNotRunning",
            "ClientNotRunning",
            "ClientNotOnline",
            "ClientNotResponse",
            "DeliveryTimeout",
        ];
        match self {
            Self::Ended { result, .. } => {
                result.error_code.as_deref().is_some_and(|code| CODES.contains(&code))
            }
            Self::Call(_) | Self::Late { .. } => self.is_vague(),
        }
    }

    /// Whether a call failed that may succeed some time later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Call(error) if error.kind().may_pass())
    }

    /// Whether the command itself was run in the instance and failed.
    pub fn is_of_command(&self) -> bool {
        matches!(self, Self::Ended { result, .. } if result.exit_code.is_some_and(|code| code != 0))
    }

    /// Whether more can be found out by looking at the instance and its agent.
    pub fn is_vague(&self) -> bool {
        match self {
            Self::Call(error) => error.kind().is_of_instance(),
            // A command that has run has failed for a reason of its own, such as the system's kind.
            Self::Ended { result, .. } => {
                result.error_code.as_deref().is_none_or(|code| !CLEAR_CODES.contains(&code))
            }
            Self::Late { .. } => true,
        }
    }
}

#[cfg(test)]
#[path = "invocations_tests.rs"]
mod tests;
