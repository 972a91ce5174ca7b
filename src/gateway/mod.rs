//! A WebSocket to the gateway, spliced to a local endpoint.
//!
//! - [`dial`]: TCP, TLS and the upgrade.
//! - [`driver`]: one task that moves bytes between socket, session core and local endpoint.
//! - [`connection`]: a connection to a gateway, and how to make it again.
//! - [`endpoint`]: what the local side is: stdin and stdout, or a connection.
//! - [`socket`]: a local connection as an endpoint; [`deferred`]: one that comes after its session;
//!   [`gate`]: one that takes nothing until it is told to.
//! - [`redactor`]: what of the gateway's texts is not shown.

pub(crate) mod connection;
pub(crate) mod deferred;
pub mod dial;
pub(crate) mod driver;
pub(crate) mod endpoint;
mod finish;
pub(crate) mod gate;
pub(crate) mod redactor;
pub(crate) mod rewind;
mod sleep;
pub(crate) mod socket;
mod upgrade;
