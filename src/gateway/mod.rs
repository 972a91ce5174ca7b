//! A WebSocket to the gateway, spliced to a local endpoint.
//!
//! - `dial`: TCP, TLS and the upgrade.
//! - `driver`: one task that moves bytes between socket, session core and local endpoint.
//! - `connection`: a connection to a gateway, and how to make it again.
//! - `endpoint`: what the local side is: stdin and stdout, or a connection.
//! - `local`: an endpoint that may come after its session. `socket`: a local connection as an endpoint;
//!   `gate`: one that takes nothing until it is opened.
//! - `redactor`: what of the gateway's texts is not shown.

pub(crate) mod connection;
pub(crate) mod dial;
pub(crate) mod driver;
pub(crate) mod endpoint;
pub(crate) mod gate;
pub(crate) mod local;
pub(crate) mod redactor;
pub(crate) mod sleep;
pub(crate) mod socket;
pub(crate) mod upgrade;
