//! How a connection ends, and what is left to do for it then.

use crate::agent::Hangup;

/// Status: could not be established.
pub(crate) const ABORTED: u8 = 2;
/// Status: the agent has joined.
pub(crate) const OPENED: u8 = 3;
/// Status: over.
pub(crate) const CLOSED: u8 = 5;
/// Status: the gateway restarts.
pub(crate) const FROZEN: u8 = 8;

/// What is left to do for a connection that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Nothing: the socket is dropped as it stands.
    None,
    /// The client closes, or is gone: what is on its way is read and written.
    Drain,
    /// The same, behind a WebSocket close of the gateway's own.
    Close(u16),
    /// The same, behind the end of the TCP connection: without a WebSocket close.
    HangUp,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The WebSocket; where nothing resumes, its stream as well.
    Socket,
    /// The stream, but the session is not ended.
    Stream,
    /// The session, if it has no other WebSocket.
    Session,
}

/// How a connection is to end.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// For the record.
    pub(crate) reason: String,
    /// A last status.
    pub(crate) status: Option<(u8, String)>,
    /// What comes after it.
    pub(crate) goodbye: Goodbye,
    /// How much it ends.
    pub(crate) scope: Scope,
}

impl Ending {
    fn new(reason: impl Into<String>, goodbye: Goodbye, scope: Scope) -> Self {
        Self { reason: reason.into(), status: None, goodbye, scope }
    }

    /// The remote side ends it, and says why.
    pub(crate) fn status(state: u8, text: impl Into<String>) -> Self {
        let reason: String = text.into();
        let status = Some((state, reason.clone()));
        Self { status, ..Self::new(reason, Goodbye::Close(1000), Scope::Session) }
    }

    /// The agent ends it, because its target has closed.
    pub(crate) fn target_closed(hangup: Hangup) -> Self {
        Self::over("ReadFromTargetPortFailed", hangup)
    }

    /// The agent ends it, since there is nothing more to come.
    pub(crate) fn over(reason: &str, hangup: Hangup) -> Self {
        let goodbye = match hangup {
            Hangup::CloseFrame => Goodbye::Close(1000),
            Hangup::NoCloseFrame => Goodbye::HangUp,
        };
        Self { goodbye, ..Self::status(CLOSED, reason) }
    }

    /// The client closed it in the orderly way.
    pub(crate) fn client_closed() -> Self {
        Self::new("ClientClosed", Goodbye::Close(1000), Scope::Session)
    }

    /// The client has asked for it, by a Close frame.
    pub(crate) fn is_of_client(&self) -> bool {
        self.status.is_none() && matches!(self.goodbye, Goodbye::Close(_))
    }

    /// The client's socket broke, or was closed without a Close frame. A close with 1000 or 1008 is final.
    pub(crate) fn client_gone(code: Option<u16>) -> Self {
        Self::new("ClientGone", Goodbye::Drain, scope(code, Scope::Stream))
    }

    /// The WebSocket takes nothing any more.
    pub(crate) fn unwritable() -> Self {
        Self::new("ClientGone", Goodbye::None, Scope::Socket)
    }

    /// A fault drops the socket.
    pub(crate) fn cut(reason: impl Into<String>) -> Self {
        Self::new(reason, Goodbye::None, Scope::Socket)
    }

    /// The gateway has sent a close with this code.
    pub(crate) fn closed(code: u16) -> Self {
        let scope = scope(Some(code), Scope::Session);
        Self::new(format!("Close {code}"), Goodbye::Drain, scope)
    }

    /// Another socket of the client's has taken its place.
    pub(crate) fn replaced() -> Self {
        Self::new("Replaced", Goodbye::None, Scope::Socket)
    }

    /// No socket has come in time.
    pub(crate) fn not_resumed() -> Self {
        Self::new("ResumeTimeout", Goodbye::None, Scope::Session)
    }
}

fn scope(code: Option<u16>, finally: Scope) -> Scope {
    if matches!(code, Some(1000 | 1008)) { finally } else { Scope::Socket }
}
