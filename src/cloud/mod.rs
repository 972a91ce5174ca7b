//! The ECS OpenAPI, and that of STS: signed calls, retried where that is safe, with errors that say
//! what to do.
//!
//! ```text
//! ecs, fleet, command, sts (typed calls) → client (credentials, deadline, retry) → transport (one try) → sign
//!                                             ↓
//!                              error: what happened, as data (explain has the advice)
//! ```
//! Nothing here writes to a terminal, and no secret, token, signature or WebSocket URL is part of
//! any `Debug`, message or log line.

mod answer;
mod check_reachable;
mod client;
mod command;
mod ecs;
mod endpoint;
mod error;
mod fleet;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod invocation;
#[cfg(test)]
mod kept_tests;
mod network;
mod probe;
pub(crate) mod regions;
#[cfg(test)]
mod scripted;
pub mod sign;
mod sts;
mod switches;
mod transport;

pub use answer::{AnswerError, Refusal};
pub use check_reachable::ClockReading;
pub use client::{Client, Config, Named};
pub use command::{Invocation, InvocationResult, InvocationStatus};
pub(crate) use ecs::UPDATE_AGENT;
pub use ecs::{
    AgentStatus, ConnectionType, InstanceState, InstanceStatus, StartTerminalSession,
    TerminalSession,
};
pub use endpoint::{Endpoint, EndpointError, EndpointType, Region};
pub use error::{CallContext, Error, Kind};
pub use fleet::{Instance, InstanceFilter, InstancePage};
pub use invocation::InvocationError;
pub use network::NetworkError;
pub use probe::Verdict;
pub use sign::SignatureVersion;
pub use sts::{AssumeRole, AssumeRoleWithOidc, RoleSession};
pub use transport::Problem;
