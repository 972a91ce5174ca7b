//! What happens in a session.

use std::collections::VecDeque;
use std::time::Duration;

use super::end::{Disconnect, End};
use crate::frame::Version;
use crate::status::Progress;

/// Something that happened, for a log. At most 64 wait for [`Session::poll_event`](super::Session::poll_event);
/// later ones are dropped, but for the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A status of progress.
    Progress(Progress),
    /// The agent has joined. It has not dialled the target yet (docs/protocol.md, 5).
    Opened,
    /// Local bytes flow from now on.
    Ready,
    /// The target is taken to be listening.
    Reached,
    /// The limit of what may be sent has changed, in bits per second (docs/protocol.md, 4).
    Limit(u64),
    /// The stream goes on in a newer version, which the peer has used first.
    Version(Version),
    /// The sequence of a 1.01 Output is not the one that was due: output may be lost (docs/protocol.md, 3).
    /// Reported once.
    Gap {
        /// What had to come.
        expected: i64,
        /// What came.
        got: i64,
    },
    /// A frame or a status that is not known was skipped.
    Skipped(String),
    /// The WebSocket was lost, and another one is to be made.
    Disconnected(Disconnect),
    /// There is another WebSocket.
    Reconnected,
    /// A 1.02 Output is missing: it is requested again (docs/protocol.md, 8).
    Missing {
        /// What had to come.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// The peer requests Input again.
    Replaying {
        /// The sequence of the first one.
        from: u32,
    },
    /// What was sent was held up on the way for so long, and has arrived.
    HeldUp(Duration),
    /// The peer does not answer pings any more, and nothing waits for an answer.
    Unanswered,
    /// Nothing has come from the agent for so long after what was sent last. Reported once.
    NoAnswer(Duration),
    /// The session ends in so long unless something is carried.
    IdleSoon(Duration),
    /// The session has ended; what is queued is still to be delivered.
    Ended(End),
}

/// The most events that are kept; later ones are dropped, except the end.
const MAX_EVENTS: usize = 64;

/// The events that were not polled yet.
#[derive(Debug, Default)]
pub(super) struct Events(pub(super) VecDeque<Event>);

impl Events {
    /// Adds an event, unless there are too many.
    pub(super) fn push(&mut self, event: impl Into<Option<Event>>) {
        if let Some(event) = event.into()
            && (self.0.len() < MAX_EVENTS || matches!(event, Event::Ended(_)))
        {
            self.0.push_back(event);
        }
    }

    /// What came is not known, or came before.
    pub(super) fn skip(&mut self, what: String) {
        self.push(Event::Skipped(what));
    }
}
