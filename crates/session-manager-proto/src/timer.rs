//! What a session can be waiting for: the earliest is its one deadline.

/// One kind of deadline. A session derives each from its state, so that none can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Local bytes may be sent (docs/protocol.md, 5).
    Ready,
    /// The target is taken to be listening (docs/protocol.md, 5).
    Reached,
    /// The stream has to be open by now (docs/protocol.md, 5).
    Open,
    /// The pace allows the next frame (docs/protocol.md, 4).
    Pace,
    /// A keepalive is due (docs/protocol.md, 6).
    KeepAlive,
    /// Nothing was carried for as long as the user allows.
    Idle,
    /// The session is idle, and ends soon.
    IdleWarning,
    /// The agent has ended a session that may not be kept open (docs/protocol.md, 6).
    AgentIdle,
    /// The gateway, which has answered pings, is silent.
    Silence,
    /// Nothing has come from the agent after what was sent last.
    NoAnswer,
    /// What was sent is not acknowledged (docs/protocol.md, 8): an acknowledgement is requested.
    RequestAck,
    /// What was sent before the local end of file has to have arrived (docs/protocol.md, 7).
    Arrival,
    /// After the local end of file, the peer has been quiet for long enough (docs/protocol.md, 7).
    Linger,
    /// What is still queued at a shutdown has to be gone by now.
    Flush,
    /// Outputs that were requested again have not come (docs/protocol.md, 8).
    Resync,
    /// What was missing at the end of the stream has to be there.
    PendingEnd,
    /// The peer has not reported what it has received (docs/protocol.md, 8).
    PeerAck,
    /// Another WebSocket is to be made (docs/protocol.md, 8).
    Reconnect,
    /// There is still no other WebSocket.
    GiveUp,
}

impl Timer {
    /// In the order in which they count when several are due at once.
    pub(super) const ALL: [Self; 19] = [
        Self::Ready,
        Self::Reached,
        Self::Open,
        Self::Pace,
        Self::KeepAlive,
        // What is waited for no longer lets the peer be asked, and be quiet.
        Self::PeerAck,
        Self::Resync,
        Self::PendingEnd,
        Self::Silence,
        Self::RequestAck,
        Self::NoAnswer,
        Self::IdleWarning,
        Self::Idle,
        Self::AgentIdle,
        Self::Arrival,
        Self::Linger,
        Self::Flush,
        Self::Reconnect,
        Self::GiveUp,
    ];
}
