//! What a user is told when a session cannot be dialled, does not open, or breaks.

use std::time::Duration;

use http::StatusCode;

use super::reason::{
    AGENT, KEEP_INPUT_OPEN, START, again, code, explain, is_of_shell, is_of_target, reason,
};
use super::target::Target;
use crate::explain::{ExitCode, Explain, UPDATE_AGENT, switch_on};
use crate::gateway::dial::DialError;
use crate::tls::Fault;
use session_manager_proto::session::{Disconnect, Failure};
use session_manager_proto::status::ReasonKind;

/// A session that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
pub(crate) struct SessionFailure {
    /// What failed.
    pub failure: Failure,
    /// Where the session led.
    pub target: Target,
    /// What a look at the instance has shown, if one was taken.
    pub finding: Option<Finding>,
    /// The request id of the call that started the session.
    pub request_id: Option<String>,
    /// Whether the URL is the command line's, and not the API's.
    pub url_is_given: bool,
    /// How many bytes are not known to have arrived where the connection to the gateway was lost.
    pub not_arrived: u64,
    /// For how long this machine had slept, if it woke shortly before.
    pub slept: Option<Duration>,
    /// Whether the local side had come to its end of file.
    pub input_ended: bool,
}

/// What keeps an instance from a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Finding {
    /// It does not run.
    #[error("the instance does not run, it is {state}")]
    NotRunning {
        /// The state that it is in, as a word.
        state: String,
    },
    /// Its agent is offline.
    #[error("the Cloud Assistant agent of the instance is not online")]
    AgentOffline,
    /// Its agent is unknown to the service.
    #[error("the instance has no Cloud Assistant agent that the service knows of")]
    AgentMissing,
    /// The agent is too old for sessions.
    #[error(
        "the instance's Cloud Assistant agent is too old: version {version} does not support sessions"
    )]
    AgentTooOld {
        /// Its version.
        version: String,
    },
    /// The agent does not support sessions, whatever its version.
    #[error("the instance's Cloud Assistant agent (version {version}) does not support sessions")]
    AgentWithoutSessions {
        /// Its version.
        version: String,
    },
    /// Session Manager is off.
    #[error("Session Manager is switched off in {region}")]
    SwitchedOff {
        /// Where it is off.
        region: String,
    },
}

impl Finding {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        let remedy = match self {
            Self::NotRunning { state } if state == "stopped" => {
                "start the instance (ECS console, or `aliyun ecs StartInstance`), or let `proxy \
                 --start`, `forward --start` or `session --start` do it"
            }
            Self::NotRunning { .. } => START,
            Self::AgentMissing => {
                "install the agent (ECS console > Cloud Assistant > ECS Instances > Install), and \
                 start it"
            }
            Self::AgentOffline => AGENT,
            Self::AgentTooOld { .. } => UPDATE_AGENT,
            Self::AgentWithoutSessions { .. } => {
                "update the agent, and see that the instance's system is one that Session Manager \
                 supports"
            }
            Self::SwitchedOff { region } => return switch_on(region),
        };
        remedy.to_owned()
    }
}

impl Explain for SessionFailure {
    fn why(&self) -> Option<String> {
        // The headline has the cause, where it is known.
        match self.plain_cause() {
            _ if self.url_is_stale() => Some(stale_url(None)),
            Some(_) => Some(self.failure.to_string()),
            None => {
                let parts = [self.cause_and_remedy().0, self.missing()];
                Some(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
                    .filter(|why| !why.is_empty())
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        if self.url_is_stale() {
            return Some(NEW_URL.to_owned());
        }
        if self.is_idle() && self.slept.is_some() {
            return Some("connect again".to_owned());
        }
        if self.is_idle() && self.input_ended && self.target.port.is_some() {
            return Some(KEEP_INPUT_OPEN.to_owned());
        }
        let finding = self.finding.as_ref().map(Finding::remedy);
        let missing = self.missing().map(|_| SEND_AGAIN.to_owned());
        finding.or(missing).or_else(|| self.cause_and_remedy().1)
    }

    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    fn exit_code(&self) -> ExitCode {
        match &self.failure {
            _ if self.finding.is_some() => ExitCode::Target,
            _ if reason(&self.failure).is_some_and(is_of_target) => ExitCode::Target,
            _ if self.target.port.is_none() && reason(&self.failure).is_some_and(is_of_shell) => {
                ExitCode::Target
            }
            _ => ExitCode::Session,
        }
    }
}

impl SessionFailure {
    /// What happened: the cause in plain words, and behind it the service's code.
    fn headline(&self) -> String {
        let code = code(&self.failure).map(|code| format!(" ({code})")).unwrap_or_default();
        match self.plain_cause() {
            Some(cause) if self.has_no_target() => format!("{cause}{code}"),
            Some(cause) => format!("{cause}: {}{code}", self.target),
            None => format!("{} ({})", self.failure, self.target),
        }
    }

    /// The cause, where a look at the instance or the service's reason has shown it.
    fn plain_cause(&self) -> Option<String> {
        if let Some(finding) = &self.finding {
            return Some(finding.to_string());
        }
        if let Some(slept) = self.slept.filter(|_| self.is_idle()) {
            let slept = slept.as_secs();
            return Some(format!(
                "this computer slept for {slept} s, and the session has ended meanwhile"
            ));
        }
        match reason(&self.failure)? {
            ReasonKind::Other => None,
            reason => explain(reason, &self.failure, &self.target).0,
        }
    }

    /// Whether nothing was sent for too long. After the end of the input only a shell gets keepalives.
    fn is_idle(&self) -> bool {
        use ReasonKind::{IdleTimeout, Timeout};
        matches!(reason(&self.failure), Some(IdleTimeout | Timeout))
    }

    /// What may not have arrived of what was sent, where the connection was lost.
    fn missing(&self) -> Option<String> {
        let bytes = Some(self.not_arrived).filter(|bytes| *bytes > 0)?;
        let more = if self.input_ended { "" } else { " or more" };
        Some(format!("{bytes} bytes{more} of the input are not known to have arrived"))
    }

    /// Whether the state of the instance may explain it.
    pub(crate) fn did_not_open(&self) -> bool {
        match &self.failure {
            Failure::NotOpened { .. } => true,
            Failure::Aborted(_) => !self.has_no_target(),
            Failure::Disconnected(disconnect) => is_plain_close(disconnect),
            Failure::Ended(reason) => match reason.kind() {
                // A session that was open and ended normally has not failed.
                ReasonKind::Exit
                | ReasonKind::TargetClosed
                | ReasonKind::AgentTimeout
                | ReasonKind::AgentNotJoined => true,
                kind => kind.is_closed_reason(),
            },
            _ => false,
        }
    }

    /// Whether the gateway has closed the connection as one does whose URL of the command line is no
    /// good any more. How it answers then is not published.
    fn url_is_stale(&self) -> bool {
        let Failure::Disconnected(disconnect) = &self.failure else { return false };
        let is_forbidden = matches!(disconnect, Disconnect::Closed { code: Some(1008), .. });
        self.url_is_given && (is_forbidden || is_plain_close(disconnect))
    }

    /// Whether the agent has joined, and could not connect to the target.
    pub(crate) fn has_no_target(&self) -> bool {
        reason(&self.failure) == Some(ReasonKind::NoTarget)
    }

    fn cause_and_remedy(&self) -> (Option<String>, Option<String>) {
        if let Some(reason) = reason(&self.failure)
            && reason != ReasonKind::Other
        {
            return explain(reason, &self.failure, &self.target);
        }
        let (cause, remedy) = match &self.failure {
            Failure::NotOpened { progress: true, .. } => (
                "the gateway answered, but the instance's Cloud Assistant agent did not join",
                AGENT,
            ),
            Failure::NotOpened { .. } => {
                ("the gateway accepted the connection and sent nothing", AGENT)
            }
            Failure::Aborted(_) => ("the gateway gave up before the session was open", AGENT),
            // Its own words are shown as they came.
            Failure::Ended(_) => return (None, again()),
            Failure::Malformed(_) | Failure::NotAFrame(_) => (
                "something between here and the gateway may change the traffic, or the service \
                 speaks a newer protocol",
                "try again with -vv, look for a newer ecs-bridge, and report it with the RequestId",
            ),
            Failure::Frozen => (
                "the gateway is being updated, and this agent's sessions do not survive that",
                "connect again; a newer Cloud Assistant agent can resume its sessions",
            ),
            Failure::Lost { .. } | Failure::LostInput(_) => {
                ("frames went missing, and the stream cannot go on without them", "connect again")
            }
            Failure::NeverSent { .. } => (
                "the gateway or the agent has mixed this session up with another one",
                "connect again, and report it with the RequestId if it comes back",
            ),
            Failure::NotResumed { why, .. } => {
                let cause = format!("it was tried for up to 60 s after this: {why}");
                return (Some(cause), Some("connect again once the network is back".to_owned()));
            }
            Failure::Disconnected(disconnect) if is_plain_close(disconnect) => {
                ("the gateway closed the connection before the session was open", AGENT)
            }
            Failure::Disconnected(disconnect) => {
                let slept = self
                    .slept
                    .map(|slept| format!("this computer slept for {} s", slept.as_secs()));
                return (slept.or_else(|| cause_of(disconnect)), again());
            }
            Failure::Redialled => (
                "the instance's Cloud Assistant agent does not say that the target has closed: it dials \
                 it again, and the bytes of another connection would follow (versions before 4.1065)",
                "connect again, with a shorter idle time in the client or a longer one in the server; \
                 update the agent (ECS console > Cloud Assistant > ECS Instances), which ends such \
                 sessions",
            ),
            Failure::NotArrived { .. } => (
                "after the end of the input the gateway took nothing more for too long, or did not confirm \
                 what has arrived",
                SEND_AGAIN,
            ),
            Failure::Idle(_) => {
                ("--idle-timeout ended the session", "raise it, or use 0 for never")
            }
        };
        (Some(cause.to_owned()), Some(remedy.to_owned()))
    }
}

/// Whether it is a close that would be the normal end of a session, had it been open.
fn is_plain_close(disconnect: &Disconnect) -> bool {
    matches!(disconnect, Disconnect::Closed { code: None | Some(1000), .. })
}

fn cause_of(disconnect: &Disconnect) -> Option<String> {
    let cause = match disconnect {
        Disconnect::Closed { code: Some(1001), .. } => "the gateway is going away",
        Disconnect::Closed { code: Some(1008), .. } => "the gateway's policy forbids the session",
        Disconnect::Closed { code: Some(1011), .. } => "the gateway failed",
        Disconnect::Closed { code: Some(1012), .. } => "the gateway restarts",
        Disconnect::Closed { code: Some(1013), .. } => "the gateway is overloaded",
        Disconnect::Closed { .. } => return None,
        Disconnect::Frozen => "the gateway restarts",
        Disconnect::Broken(_) => {
            "the network was away, or something between here and the gateway cut the connection; \
             a session of this kind cannot be resumed"
        }
    };
    Some(cause.to_owned())
}

/// What to do where a URL of the command line is not valid any more.
const NEW_URL: &str =
    "start another session for a new URL, or give the instance in place of the URL";

/// Why a URL of the command line may not be valid any more, and what the gateway has sent.
fn stale_url(said: Option<&str>) -> String {
    let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
    format!(
        "the URL of --wss-url has expired, its session has ended, or it is in use: a URL is good for \
         10 minutes and one session{said}"
    )
}

/// What to do where something may not have arrived.
const SEND_AGAIN: &str = "check the result at the target, and send it again if it is incomplete";

/// What to do where the remote side has ended a session before everything was sent.
pub(crate) const KEEP_OPEN: &str =
    "let the target keep both directions open until it has received everything, and send it again";

/// The remote side has ended a session before it had taken all of stdin.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes or more of stdin were not sent to {target}")]
pub(crate) struct NotSent {
    pub(crate) bytes: u64,
    pub(crate) target: Target,
}

impl Explain for NotSent {
    fn why(&self) -> Option<String> {
        let why = match self.target.port {
            Some(_) => {
                "the target closed the connection, or shut down its write side, which newer agents \
                 treat as a close, before all of stdin was sent"
            }
            None => "the session was ended before all of stdin was sent",
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self.target.port {
            Some(_) => KEEP_OPEN,
            None => "look at what was done in the instance, and run the rest",
        };
        Some(remedy.to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Session
    }
}

/// A session that was started, and whose gateway could not be dialled.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct NotDialled {
    /// What failed.
    pub error: DialError,
    /// The request id of the call that started the session.
    pub request_id: Option<String>,
    /// Whether the URL is the command line's, and not the API's.
    pub url_is_given: bool,
}

impl NotDialled {
    /// Whether a URL of the command line is not valid any more.
    fn is_stale(&self) -> bool {
        let DialError::Refused { status, .. } = &self.error else { return false };
        self.url_is_given && matches!(status.as_u16(), 401 | 403 | 404 | 410)
    }
}

impl Explain for NotDialled {
    fn why(&self) -> Option<String> {
        let why = self.error.why();
        match self.is_stale() {
            true => Some(stale_url(why.as_deref())),
            false => why,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self.is_stale() {
            true => Some(NEW_URL.to_owned()),
            false => self.error.remedy(),
        }
    }

    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    fn exit_code(&self) -> ExitCode {
        self.error.exit_code()
    }
}

impl Explain for DialError {
    fn why(&self) -> Option<String> {
        let why = match self {
            Self::Resolve { cause, .. } | Self::Connect { cause, .. } => cause,
            Self::Upgrade { cause, .. } => cause,
            Self::Tls { fault, .. } => return fault.why(),
            Self::TlsSetup(error) => return error.why(),
            Self::Proxy(fault) => return fault.why(),
            Self::Refused { status, text, .. } => return Some(refusal(*status, text)),
            Self::Timeout { .. } => "it accepts nothing, or something in between drops the packets",
            Self::Silent { .. } => "the connection was made, and then nothing came back in time",
            Self::Url(_) => return None,
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Url(_) => "report it with the RequestId; the address itself is a secret",
            Self::Resolve { .. } => "check the network and the name server, then connect again",
            Self::Connect { .. } | Self::Timeout { .. } => {
                "check that this machine may reach the gateway on TCP port 443 (firewall, VPN), \
                 or name a proxy that may with --proxy, then connect again; inside a VPC use \
                 --connection-type intranet"
            }
            Self::Silent { .. } => {
                "connect again; if it stays so, look for a firewall or proxy between here and there"
            }
            // Its address is the API's to give, and nothing that could be misspelt here.
            Self::Tls { fault: Fault::WrongName { .. } | Fault::NotTls, .. } => {
                "look for a proxy or a captive portal between here and there, and check what \
                 answers for the gateway"
            }
            Self::Tls { fault, .. } => return fault.remedy(),
            Self::TlsSetup(error) => return error.remedy(),
            Self::Proxy(fault) => return fault.remedy(),
            Self::Refused { status, .. } => match status.as_u16() {
                401 | 403 => "connect again: an address is good for 10 minutes and one session",
                429 => {
                    "close sessions that are not needed (20 connected an instance, 100 active a \
                     region), wait a moment and connect again"
                }
                500.. => "the service has trouble: connect again in a moment",
                _ => "connect again; with -vv the log says more",
            },
            Self::Upgrade { .. } => "check that nothing in between answers for the gateway",
        };
        Some(remedy.to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused { status: StatusCode::TOO_MANY_REQUESTS, .. } => ExitCode::Target,
            Self::TlsSetup(error) => error.exit_code(),
            _ => ExitCode::Network,
        }
    }
}

fn refusal(status: StatusCode, text: &str) -> String {
    let cause = match status.as_u16() {
        401 | 403 => "the address of the session is not valid, or not any more",
        429 => "too many sessions or too many connections at once",
        500.. => "the gateway failed",
        _ => "it did not take the upgrade",
    };
    match text.trim() {
        "" => cause.to_owned(),
        text => format!("{cause}; its answer: {text}"),
    }
}
