//! What happens in a session, from its start to its end.

use std::time::Duration;

use crate::cloud::TerminalSession;

/// Something that has happened in a session, in this order. A session that is tried again may start
/// more than once; [`Self::Reached`] never comes before [`Self::Ready`].
#[derive(Debug)]
pub(crate) enum SessionEvent<'a> {
    /// The API has started it.
    Started(&'a TerminalSession),
    /// The gateway has accepted it.
    Connected,
    /// Local bytes flow from now on.
    Ready,
    /// The target is taken to be listening: it has sent data, or the agent has had the time to dial it.
    Reached,
    /// Whether the target may close unnoticed although it has sent data, see
    /// [`Session::may_outlive_target`](session_manager_proto::session::Session::may_outlive_target).
    /// Reported when it changes; at first it may not.
    MayOutliveTarget(bool),
    /// A notice for its user.
    Notice(Notice),
    /// So many bytes have been carried in all, from the local side and to it.
    Progress { sent: u64, delivered: u64 },
    /// It has ended. What it still has to deliver is delivered.
    Ended,
    /// The WebSocket is closed, which can be well before the local side has taken all its bytes.
    Closed,
}

/// A notice for a session's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The 1.01 sequence of Outputs has a gap: bytes of the target may be lost (docs/protocol.md, 3). Only
    /// in a stream that is not SSH, which authenticates its bytes; once a session.
    OutputGap,
    /// Nothing has come from the agent for so long after what was sent last; once a session.
    NoAnswer(Duration),
    /// The session ends in so long unless something is carried.
    IdleSoon(Duration),
}

/// The receiver of a session's events.
pub(crate) type OnEvent<'a> = &'a dyn Fn(SessionEvent<'_>);
