//! The async half: a WebSocket to the gateway, spliced to a local endpoint.
//!
//! - [`dial`]: TCP, TLS and the upgrade.
//! - [`driver`]: one task that moves bytes between socket, session core and local endpoint.
//! - [`connection`]: the way to a gateway, and how to make it again.
//! - [`endpoint`]: what the local side is: stdin and stdout, or a connection.
//! - [`socket`]: a local connection as an endpoint; [`deferred`]: one that comes after its session;
//!   [`gate`]: one that takes nothing until it is told to.
//! - [`redactor`]: what of the gateway's texts is not shown.
//! - [`error`]: what a user is told when a session fails.

pub mod connection;
pub mod deferred;
pub mod dial;
pub mod driver;
pub mod endpoint;
pub mod error;
mod finish;
pub mod gate;
mod reason;
pub mod redactor;
pub mod rewind;
mod sleep;
pub mod socket;
mod upgrade;
