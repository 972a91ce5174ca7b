//! The events of a `forward` and its connections.

use std::fmt;

use serde::Serialize;

/// The number of a connection, from 1.
pub(crate) type Number = u64;

/// The bytes of a connection, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    /// From the local side to the remote side.
    pub(crate) sent: u64,
    /// From the remote side to the local side.
    pub(crate) received: u64,
}

/// An event. With `--json` it is one line, as docs/forwarding.md and forward.schema.json say.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    /// A forward listens, and its target can be reached.
    Listening {
        address: &'a str,
        /// All of them, with the one above.
        addresses: &'a [String],
        /// None for the session of a URL.
        instance: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        remote_host: Option<&'a str>,
        remote_port: u16,
    },
    /// A connection came.
    Accepted { connection: Number, address: &'a str, peer: &'a str },
    /// Its session is there. The URL of one that somebody else has started may have no id.
    Opened { connection: Number, session: Option<&'a str>, waited_ms: u64 },
    /// It is over. Every connection that was accepted comes to this.
    Closed { connection: Number, sent: u64, received: u64, duration_ms: u64, reason: Reason },
    /// A warning about a connection that has not failed, or about a forward.
    Warning { connection: Option<Number>, message: &'a str, fix: &'a str },
    /// It failed, or the command did.
    Error {
        connection: Option<Number>,
        message: &'a str,
        why: Option<String>,
        fix: Option<String>,
        request_id: Option<&'a str>,
    },
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reason {
    /// The local side closed it.
    Local,
    /// The target did.
    Target,
    /// The forward was stopped.
    Stopped,
    /// It failed, as an error tells.
    Failed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "the local client closed the connection",
            Self::Target => "the target closed the connection",
            Self::Stopped => "the forward was stopped",
            Self::Failed => "it failed",
        })
    }
}
