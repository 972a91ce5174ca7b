//! How a session went, and what can be wrong with its local side.

use std::io;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Error as WsError;

use crate::explain::Explain;
use crate::platform::pipe;
use session_manager_proto::session::End;

/// How a splice went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How the session ended.
    pub end: End,
    /// Whether the target has sent anything.
    pub has_output: bool,
    /// Bytes from the local side that were sent to the remote side.
    pub sent: u64,
    /// Bytes from the remote side that the local side has taken.
    pub delivered: u64,
    /// How many bytes of the local side, or more, were not sent since the remote side has ended the session.
    /// Nothing where it has not, for SSH, which notices, and where the local side has gone.
    pub not_sent: Option<u64>,
    /// How many bytes the target had not answered when the stream ended by the local side's end of file.
    /// None where it has answered before, and no more than a protocol's goodbye was sent since.
    pub unanswered: u64,
    /// How many bytes are not known to have arrived where the connection to the gateway was lost, or where the
    /// session was to end early and the local side had come to its end of file. None for SSH, which notices.
    pub not_arrived: u64,
    /// For how long this machine had slept, if it woke shortly before the end.
    pub slept: Option<Duration>,
    /// Whether the local side had come to its end of file.
    pub input_ended: bool,
    /// Whether anything came from the target after the end of file of the local side.
    #[cfg(test)]
    pub output_after_eof: bool,
    /// Whether the session was ended, while it lingered, because another one needed its place.
    pub yielded: bool,
    /// Whether the connection has come to an end of its own, so that the local side may be closed
    /// cleanly. Otherwise it is to be reset.
    pub complete: bool,
    /// What is wrong with the local side itself, beyond that nobody uses it any more.
    pub local_error: Option<LocalError>,
}

/// What can be wrong with a local side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// It cannot be read.
    #[error("cannot read from the local side: {0}")]
    Read(#[source] io::Error),
    /// It cannot be written to; what was left for it is lost.
    #[error("cannot write to the local side: {0}")]
    Write(#[source] io::Error),
}

impl Explain for LocalError {
    fn why(&self) -> Option<String> {
        let why = match self {
            Self::Read(_) => "stdin cannot be read: nothing more could be sent",
            Self::Write(_) => "stdout cannot be written to: bytes of the remote side are lost",
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        Some("check what stdin and stdout are connected to".to_owned())
    }
}

/// Whether an error of a write only shows that the other side has cut the connection.
pub(super) fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, NotConnected};
    pipe::is_closed(error)
        || matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected)
}

/// Whether the local side has gone, which is no error of its own.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, TimedOut};
    is_cut(error) || matches!(error.kind(), HostUnreachable | TimedOut)
}

/// What the system says, without the library's words around it.
pub(super) fn plain(error: WsError) -> String {
    match error {
        WsError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
