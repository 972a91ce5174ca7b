//! How a session ends.

use std::fmt;
use std::time::Duration;

use crate::frame::DecodeError;
use crate::status::{Reason, ReasonKind};

/// How a session ended (docs/protocol.md, 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer ended it, as it does when the target closes.
    Remote(RemoteEnd),
    /// The local side has ended, and nothing more came from the peer, or nothing was left to read
    /// it.
    Local,
    /// It failed.
    Failed(Failure),
}

impl End {
    /// The reason, if the session was ended by the API or the console: that is no end of the target's.
    pub fn notified(&self) -> Option<&Reason> {
        match self {
            Self::Remote(RemoteEnd::Status(reason)) => {
                (reason.kind() == ReasonKind::Notified).then_some(reason)
            }
            _ => None,
        }
    }
}

/// The ways in which a peer ends a session when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEnd {
    /// A Status with a normal reason.
    Status(Reason),
    /// A Close frame.
    Close,
    /// The WebSocket was closed normally, with no Status before.
    WebSocket,
    /// The agent has dialled the target again after it had closed: a second SSH identification line
    /// came.
    Redialled,
    /// The agent ends sessions that are idle for 180 s, and this one could not be kept open without harm
    /// (docs/protocol.md, 5 and 6).
    Idle,
}

/// Why a session failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Neither Opened nor any Output came in time, which is 15 s from the upgrade (docs/protocol.md, 5).
    #[error("the session did not open within {} s", .waited.as_secs())]
    NotOpened {
        /// How long was waited.
        waited: Duration,
        /// Whether the gateway sent anything at all.
        progress: bool,
    },
    /// Status Aborted, with its text.
    #[error("the session could not be established{}", detail(.0))]
    Aborted(String),
    /// Status Closed or Exited, with a reason that is not a normal end.
    #[error("the remote side ended the session: {0}")]
    Ended(Reason),
    /// A message that is not a frame.
    #[error("the remote side broke the protocol: {0}")]
    Malformed(DecodeError),
    /// A text message, or one that is too long to be a frame.
    #[error("the remote side broke the protocol: {0}")]
    NotAFrame(String),
    /// Status Frozen, of a session that cannot be resumed.
    #[error("the gateway restarts, and this session cannot be resumed")]
    Frozen,
    /// Frames are missing, and did not come within 60 s although they were requested (docs/protocol.md, 8).
    #[error("bytes were lost on the way: Output {expected} did not come, and {got} was sent")]
    Lost {
        /// The sequence that had to come.
        expected: u32,
        /// The last one that is known to have been sent.
        got: u32,
    },
    /// The peer requests frames again that are not kept, from this sequence on.
    #[error("bytes were lost on the way: the remote side asks for Input {0} again")]
    LostInput(u32),
    /// The peer acknowledges frames that do not exist.
    #[error(
        "the remote side broke the protocol: it acknowledges Input {got}, and {sent} was the last"
    )]
    NeverSent {
        /// What it acknowledges.
        got: u32,
        /// The last one that was sent.
        sent: u32,
    },
    /// The WebSocket was lost.
    #[error("the connection to the gateway was lost: {0}")]
    Disconnected(Disconnect),
    /// The WebSocket was lost, and the stream could not be resumed within 60 s (docs/protocol.md, 8).
    #[error("the connection to the gateway was lost, and could not be made again: {last}")]
    NotResumed {
        /// How it was lost.
        why: Disconnect,
        /// How the last try failed.
        last: String,
    },
    /// The target had closed, and the agent has dialled it again: the greeting of another connection
    /// came.
    #[error("the target closed the connection, and the agent dialled it again")]
    Redialled,
    /// What was sent before the local end of file has not arrived in time.
    #[error("{bytes} bytes that were sent are not known to have arrived")]
    NotArrived {
        /// How many payload bytes.
        bytes: u64,
    },
    /// Nothing was carried for as long as [`Config::idle_timeout`](super::Config::idle_timeout) allows.
    #[error("nothing was carried for {} s", .0.as_secs())]
    Idle(Duration),
}

/// Whether what was sent has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// All of it, as the gateway confirms, or the agent where it speaks 1.02.
    Yes,
    /// Not all of it yet: the peer confirms what has arrived.
    NotYet,
    /// The peer confirms nothing.
    Unknown,
}

/// How a WebSocket went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// By a close frame, with its code if it had one.
    Closed {
        /// RFC 6455, 7.4.
        code: Option<u16>,
        /// The text of the close frame, from the peer.
        text: String,
    },
    /// Without a close frame: end of file, reset, TLS error, time-out.
    Broken(String),
    /// Status Frozen: the gateway restarts.
    Frozen,
}

impl Disconnect {
    /// Whether it is how a session without Status frames ends normally.
    pub(super) fn is_normal(&self) -> bool {
        matches!(self, Self::Closed { code: None | Some(1000), .. })
    }

    /// Whether no other WebSocket can go on with the stream (docs/protocol.md, 8).
    pub(super) fn is_final(&self) -> bool {
        const TRANSIENT: [u16; 5] = [1001, 1005, 1006, 1012, 1013];
        match self {
            Self::Closed { code, .. } => code.is_some_and(|code| !TRANSIENT.contains(&code)),
            Self::Broken(_) | Self::Frozen => false,
        }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code: Some(code), text } => {
                write!(f, "it was closed with code {code}{}", detail(text))
            }
            Self::Closed { code: None, text } => {
                write!(f, "it was closed without a code{}", detail(text))
            }
            Self::Broken(how) => f.write_str(how),
            Self::Frozen => f.write_str("the gateway restarts"),
        }
    }
}

fn detail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
