//! Why a stream has ended, in the words of the peer (docs/protocol.md, 3).

use std::fmt;

/// Why the peer says that a stream is over: the text as it came, less control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The reason of a text, which may be empty.
    pub fn parse(text: &[u8]) -> Self {
        Self::parse_with(text, str::to_owned)
    }

    /// The same, with the text passed through `redact`.
    pub(crate) fn parse_with(text: &[u8], redact: impl FnOnce(&str) -> String) -> Self {
        Self(readable(text, redact))
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The word that the text begins with, such as `FlowExceedLimit`; details may follow it.
    pub fn word(&self) -> &str {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.0.find(|c| !is_of_word(c)).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// What the reason means.
    pub fn kind(&self) -> ReasonKind {
        match ReasonKind::of_word(self.word()) {
            _ if self.0.is_empty() => ReasonKind::Exit,
            ReasonKind::TargetClosed if self.tells_of_reset() => ReasonKind::TargetBroke,
            kind => kind,
        }
    }

    /// Whether the details are those of a connection that was reset, in the words of Go on Linux and Windows.
    fn tells_of_reset(&self) -> bool {
        let text = self.0.to_ascii_lowercase();
        ["connection reset by peer", "forcibly closed"].iter().any(|word| text.contains(word))
    }

    /// Whether it is how a stream ends when nothing went wrong, [`ReasonKind::is_normal`].
    pub fn is_normal(&self) -> bool {
        self.kind().is_normal()
    }

    /// Whether it says itself that the target has closed.
    pub fn is_of_target(&self) -> bool {
        self.kind() == ReasonKind::TargetClosed
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "no reason given" } else { &self.0 })
    }
}

/// What a [`Reason`] means: a reason of docs/protocol.md, 3, or a group of reasons with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// `Exit`, `Ok`, or no text: the session ended normally.
    Exit,
    /// `Notified`: somebody else ended the session, through the console or the API.
    Notified,
    /// `ReadFromTargetPortFailed`, `Read_port_failed`: the target closed its connection, and did not
    /// reset it, as far as the details tell.
    TargetClosed,
    /// `IdleTimeout`: the client sent no frame for too long.
    IdleTimeout,
    /// `Timeout`: a time limit of the service, which one is not said.
    Timeout,
    /// `SessionTimeout`: the session reached its greatest age.
    SessionTimeout,
    /// `AgentTimeout`: the agent did not join in time.
    AgentTimeout,
    /// `InitChannelFailed`, `OpenChannelFailed`: the agent could not join.
    AgentNotJoined,
    /// `ServerDomainUnavailable`: the agent cannot resolve or reach the gateway.
    GatewayUnreachable,
    /// `SessionIdDuplicate`, `SessionIdDuplicated`: another client uses the session.
    DuplicateSession,
    /// `OpenTargetPortFailed`, `Open_port_failed`, `ReopenTargetPortFailed`: the agent cannot connect
    /// to the target.
    NoTarget,
    /// `UserNotExists`, `ObtainUserIdentityFailed`, `ObtainUserInfoFailed`, `PasswordNameNotFound`:
    /// a shell's user cannot be used.
    ShellUser,
    /// `HomeDirNotFound`, `HomeDirPermissionDenied`: a shell's home directory cannot be used.
    ShellHome,
    /// `ShellCommandNotFound`, `ShellCommandPermissionDenied`, `MalformedCommandLine`: a shell's
    /// program cannot be run.
    ShellCommand,
    /// `OpenPtyFailed`, `WinptyLoadFailed`, `WinptyPermissionDenied`: a shell gets no terminal.
    ShellTerminal,
    /// `KeyExchangeFailed`: the agent was told to encrypt a shell and got no key from the client.
    KeyExchange,
    /// `DeliveryTimeout`: the agent did not fetch the order to join.
    DeliveryTimeout,
    /// `InstanceNotExists`: there is no such instance.
    InstanceNotExists,
    /// `InstanceNotRunning`: the instance is not running.
    InstanceNotRunning,
    /// `AgentNeedUpgrade`: the agent is too old for sessions.
    AgentNeedUpgrade,
    /// `AgentNotOnline`: the agent is offline.
    AgentNotOnline,
    /// `MessageFormatInvalid`: agent and gateway do not understand each other.
    MessageFormatInvalid,
    /// `AgentSocketClosed`: the agent's connection to the gateway was closed.
    AgentSocketClosed,
    /// `ClientClosed`: the gateway took the client's connection to be closed.
    ClientClosed,
    /// `FlowExceedLimit`: the gateway counted more bytes than its limit allows.
    FlowExceedLimit,
    /// `SendingDataFailed`, `ReadFromWebsocketFailed`: agent and gateway lost their connection.
    AgentConnectionLost,
    /// `ProcessDataError`, `ProcessStdoutDataError`: agent or gateway could not process the stream's
    /// data.
    DataNotProcessed,
    /// `IO_port_failed`, and `ReadFromTargetPortFailed` with details of a reset: the agent's connection
    /// to the target broke.
    TargetBroke,
    /// `UnknownError`: the peer failed and does not know why.
    UnknownError,
    /// Any other text.
    Other,
}

impl ReasonKind {
    /// The kind of a word, compared with `_` taken out and case folded: old agents write
    /// `Open_port_failed`.
    fn of_word(word: &str) -> Self {
        let mut folded = word.replace('_', "");
        folded.make_ascii_lowercase();
        match folded.as_str() {
            "exit" | "ok" => Self::Exit,
            "notified" => Self::Notified,
            "readfromtargetportfailed" | "readportfailed" => Self::TargetClosed,
            "idletimeout" => Self::IdleTimeout,
            "timeout" => Self::Timeout,
            "sessiontimeout" => Self::SessionTimeout,
            "agenttimeout" => Self::AgentTimeout,
            "initchannelfailed" | "openchannelfailed" => Self::AgentNotJoined,
            "serverdomainunavailable" => Self::GatewayUnreachable,
            "sessionidduplicate" | "sessionidduplicated" => Self::DuplicateSession,
            "opentargetportfailed" | "reopentargetportfailed" | "openportfailed" => Self::NoTarget,
            "usernotexists"
            | "obtainuseridentityfailed"
            | "obtainuserinfofailed"
            | "passwordnamenotfound" => Self::ShellUser,
            "homedirnotfound" | "homedirpermissiondenied" => Self::ShellHome,
            "shellcommandnotfound" | "shellcommandpermissiondenied" | "malformedcommandline" => {
                Self::ShellCommand
            }
            "openptyfailed" | "winptyloadfailed" | "winptypermissiondenied" => Self::ShellTerminal,
            "keyexchangefailed" => Self::KeyExchange,
            "deliverytimeout" => Self::DeliveryTimeout,
            "instancenotexists" => Self::InstanceNotExists,
            "instancenotrunning" => Self::InstanceNotRunning,
            "agentneedupgrade" => Self::AgentNeedUpgrade,
            "agentnotonline" => Self::AgentNotOnline,
            "messageformatinvalid" => Self::MessageFormatInvalid,
            "agentsocketclosed" => Self::AgentSocketClosed,
            "clientclosed" => Self::ClientClosed,
            "flowexceedlimit" => Self::FlowExceedLimit,
            "sendingdatafailed" | "readfromwebsocketfailed" => Self::AgentConnectionLost,
            "processdataerror" | "processstdoutdataerror" => Self::DataNotProcessed,
            "ioportfailed" => Self::TargetBroke,
            "unknownerror" => Self::UnknownError,
            _ => Self::Other,
        }
    }

    /// Whether it is how a stream ends when nothing went wrong.
    pub fn is_normal(self) -> bool {
        matches!(self, Self::Exit | Self::Notified | Self::TargetClosed)
    }

    /// Whether it is one of DescribeTerminalSessions' closed reasons, which the state of the instance
    /// and of its agent explain.
    pub fn is_closed_reason(self) -> bool {
        matches!(
            self,
            Self::DeliveryTimeout
                | Self::InstanceNotExists
                | Self::InstanceNotRunning
                | Self::AgentNeedUpgrade
                | Self::AgentNotOnline
                | Self::MessageFormatInvalid
                | Self::AgentSocketClosed
                | Self::ClientClosed
        )
    }
}

/// Text from the peer, fit for a message: redacted, at most 500 characters, none of them a control.
pub(crate) fn readable(bytes: &[u8], redact: impl FnOnce(&str) -> String) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text: String = redact(&text).chars().take(500).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_know_a_normal_end_and_lose_control_characters() {
        for text in [
            "",
            "Exit",
            "Ok: The session ended normally",
            "ReadFromTargetPortFailed: EOF",
            "Read_port_failed: EOF",
            "Notified",
        ] {
            assert!(Reason::parse(text.as_bytes()).is_normal(), "{text}");
        }
        for text in ["FlowExceedLimit", "Okay", "ExitX", "Notify", "something new", ": Exit", "_"] {
            assert!(!Reason::parse(text.as_bytes()).is_normal(), "{text}");
        }
        let reason = Reason::parse(b"Open\x1b[31mTarget\xff: detail\r\n");
        assert_eq!(reason.text(), "Open[31mTarget\u{fffd}: detail");
        assert_eq!(reason.word(), "Open");
        assert!(Reason::parse(&[b'x'; 9000]).text().len() == 500);
    }

    /// docs/protocol.md, 3, in its order.
    const REASONS: [(&str, ReasonKind); 45] = {
        use ReasonKind as Kind;
        [
            ("Exit", Kind::Exit),
            ("Ok", Kind::Exit),
            ("Notified", Kind::Notified),
            ("ReadFromTargetPortFailed", Kind::TargetClosed),
            ("Read_port_failed", Kind::TargetClosed),
            ("IdleTimeout", Kind::IdleTimeout),
            ("Timeout", Kind::Timeout),
            ("SessionTimeout", Kind::SessionTimeout),
            ("AgentTimeout", Kind::AgentTimeout),
            ("InitChannelFailed", Kind::AgentNotJoined),
            ("OpenChannelFailed", Kind::AgentNotJoined),
            ("ServerDomainUnavailable", Kind::GatewayUnreachable),
            ("SessionIdDuplicate", Kind::DuplicateSession),
            ("SessionIdDuplicated", Kind::DuplicateSession),
            ("OpenPtyFailed", Kind::ShellTerminal),
            ("OpenTargetPortFailed", Kind::NoTarget),
            ("Open_port_failed", Kind::NoTarget),
            ("ReopenTargetPortFailed", Kind::NoTarget),
            ("UserNotExists", Kind::ShellUser),
            ("ObtainUserIdentityFailed", Kind::ShellUser),
            ("ObtainUserInfoFailed", Kind::ShellUser),
            ("ShellCommandNotFound", Kind::ShellCommand),
            ("ShellCommandPermissionDenied", Kind::ShellCommand),
            ("HomeDirNotFound", Kind::ShellHome),
            ("HomeDirPermissionDenied", Kind::ShellHome),
            ("MalformedCommandLine", Kind::ShellCommand),
            ("PasswordNameNotFound", Kind::ShellUser),
            ("KeyExchangeFailed", Kind::KeyExchange),
            ("WinptyLoadFailed", Kind::ShellTerminal),
            ("WinptyPermissionDenied", Kind::ShellTerminal),
            ("DeliveryTimeout", Kind::DeliveryTimeout),
            ("InstanceNotExists", Kind::InstanceNotExists),
            ("InstanceNotRunning", Kind::InstanceNotRunning),
            ("AgentNeedUpgrade", Kind::AgentNeedUpgrade),
            ("AgentNotOnline", Kind::AgentNotOnline),
            ("MessageFormatInvalid", Kind::MessageFormatInvalid),
            ("AgentSocketClosed", Kind::AgentSocketClosed),
            ("ClientClosed", Kind::ClientClosed),
            ("FlowExceedLimit", Kind::FlowExceedLimit),
            ("ProcessDataError", Kind::DataNotProcessed),
            ("ProcessStdoutDataError", Kind::DataNotProcessed),
            ("SendingDataFailed", Kind::AgentConnectionLost),
            ("IO_port_failed", Kind::TargetBroke),
            ("ReadFromWebsocketFailed", Kind::AgentConnectionLost),
            ("UnknownError", Kind::UnknownError),
        ]
    };

    #[test]
    fn every_reason_has_its_kind_however_it_is_written() {
        for (word, kind) in REASONS {
            let spellings = [
                word.to_owned(),
                word.to_ascii_lowercase(),
                word.to_ascii_uppercase(),
                word.replace('_', ""),
                format!("{word}: with details of it, Exit"),
                format!("_{word}_:x"),
                format!("\u{1b}{word}\r\n"),
            ];
            for text in spellings {
                let reason = Reason::parse(text.as_bytes());
                assert_eq!(reason.kind(), kind, "{text}");
            }
            for text in [format!("{word}X"), format!("x {word}"), format!("X{word}")] {
                assert_eq!(Reason::parse(text.as_bytes()).kind(), ReasonKind::Other, "{text}");
            }
        }
        let error = "An error occurred while reading from the target port";
        for reset in ["read tcp 127.0.0.1:1: Connection reset by peer.", "wsarecv: forcibly closed"]
        {
            let reason =
                Reason::parse(format!("ReadFromTargetPortFailed: {error}: {reset}").as_bytes());
            assert_eq!(reason.kind(), ReasonKind::TargetBroke, "{reset}");
        }
        let reason = Reason::parse(format!("ReadFromTargetPortFailed: {error}: EOF.").as_bytes());
        assert_eq!(reason.kind(), ReasonKind::TargetClosed);
        assert_eq!(Reason::parse(b"").kind(), ReasonKind::Exit);
        assert_eq!(Reason::parse(b"Agent is gone").kind(), ReasonKind::Other);
    }
}
