//! The calls of ECS and Cloud Assistant, version 2014-05-26: methods of [`Client`](crate::openapi::Client).

mod assistant;
pub(crate) mod commands;
pub(crate) mod instances;
mod invocations;
pub(crate) mod sessions;

pub use commands::{Invocation, InvocationResult, InvocationStatus};
pub use instances::{Instance, InstanceFilter, InstancePage};
pub use invocations::InvocationError;
pub use sessions::{
    AgentStatus, ConnectionType, InstanceState, MAX_COMMAND_LINE, StartTerminalSession,
    TerminalSession,
};
