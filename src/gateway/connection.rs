//! The connection of a session to a gateway, apart from its socket.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;
use tokio::sync::watch;

use super::redactor::Redactor;
use super::upgrade::Socket;
use crate::platform::console::WindowSize;
use session_manager_proto::generation::Generation;

/// The connection of a session to a gateway, apart from its socket: how to get another socket, and what
/// the socket's user looks up and waits for.
pub(crate) struct GatewayConnection<'a> {
    /// Makes another socket, given the channel id (docs/protocol.md, 8). Its future is bounded in time.
    pub reconnect: &'a dyn Fn(Bytes) -> Reconnect<'a>,
    /// What of the gateway's texts is not shown.
    pub redactor: Redactor,
    /// Looks up the generation of the instance's agent, if it can be known; `None` once nothing more comes.
    pub agent: Option<Generations<'a>>,
    /// Whether that look-up has begun. Otherwise it begins once the generation changes something. One that
    /// has begun is polled to its end: the answer is for later sessions, too.
    pub agent_is_queried: bool,
    /// Waits until another session needs the place of this one; called while it lingers after the local
    /// end of file. Cancel-safe.
    pub slot_requested: &'a dyn Fn() -> LocalBoxFuture<'a, ()>,
    /// The size of the window of a shell, until it changes no more.
    pub window: Option<watch::Receiver<WindowSize>>,
}

/// The agent's generation as it is known, and again when a newer answer is there. The last one counts.
pub(crate) type Generations<'a> = LocalBoxStream<'a, Generation>;

/// A socket that is being made.
pub(crate) type Reconnect<'a> = Pin<Box<dyn Future<Output = Result<Socket, NotReconnected>> + 'a>>;

/// Why there is no other socket.
#[derive(Debug)]
pub(crate) struct NotReconnected {
    /// What went wrong.
    pub how: String,
    /// Whether another attempt cannot succeed.
    pub is_final: bool,
}
