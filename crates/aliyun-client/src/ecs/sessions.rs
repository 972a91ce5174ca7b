//! The calls of the ECS API that this program makes, version 2014-05-26.

use secrecy::SecretString;
use serde_json::Value;

use crate::openapi::answer::{AnswerError, all, text, word};
use crate::openapi::client::{Client, random_hex};
use crate::openapi::config::{Answer, Call};
use crate::openapi::error::{Error, Problem};
use crate::openapi::sign::Params;

const VERSION: &str = "2014-05-26";

/// The longest `TargetServer`, in bytes.
const MAX_TARGET_SERVER: usize = 128;
/// The longest `CommandLine`, in characters.
pub const MAX_COMMAND_LINE: usize = 512;

/// `ConnectionType`: from where the session's gateway is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// The WebSocket URL is for the internet.
    Internet,
    /// The WebSocket URL is for a VPC of the region.
    Intranet,
}

impl ConnectionType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "Internet",
            Self::Intranet => "Intranet",
        }
    }
}

/// The request of `StartTerminalSession`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartTerminalSession {
    /// `InstanceId.1`: `i-…` or `mi-…`.
    pub instance_id: String,
    /// `PortNumber`, 1 to 65535; without it the session is a shell.
    pub port: Option<u16>,
    /// `TargetServer`: a host or address as seen from the instance, at most 128 bytes; needs a port.
    pub target_server: Option<String>,
    /// `ConnectionType`; the service decides if it is left out.
    pub connection_type: Option<ConnectionType>,
    /// `Username`, for shells: the account on the instance.
    pub user_name: Option<String>,
    /// `CommandLine`, for shells: one command, at most [`MAX_COMMAND_LINE`] characters.
    pub command_line: Option<String>,
    /// `PasswordName`, for shells on Windows: the name under which the account's password is stored.
    pub password_name: Option<String>,
}

impl StartTerminalSession {
    /// A session with a TCP port of the instance.
    pub fn to_port(instance_id: &str, port: u16) -> Self {
        Self { instance_id: instance_id.to_owned(), port: Some(port), ..Self::default() }
    }

    /// A shell on the instance.
    pub fn shell(instance_id: &str) -> Self {
        Self { instance_id: instance_id.to_owned(), ..Self::default() }
    }

    /// The parameters of the call.
    pub(crate) fn fields(&self, token: &str) -> Vec<(&'static str, String)> {
        let optional = [
            ("InstanceId.1", Some(self.instance_id.clone())),
            ("PortNumber", self.port.map(|port| port.to_string())),
            ("TargetServer", self.target_server.clone()),
            ("ConnectionType", self.connection_type.map(|kind| kind.as_str().to_owned())),
            ("Username", self.user_name.clone()),
            ("CommandLine", self.command_line.clone()),
            ("PasswordName", self.password_name.clone()),
            ("ClientToken", Some(token.to_owned())),
        ];
        optional.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        check_id("instance id", &self.instance_id)?;
        let of_shell = [&self.user_name, &self.command_line, &self.password_name];
        if self.port.is_some() && of_shell.iter().any(|value| value.is_some()) {
            return Err("a user, a command or a password is for a shell, not for a port".into());
        }
        if self.command_line.as_ref().is_some_and(|line| line.chars().count() > MAX_COMMAND_LINE) {
            return Err(format!("the command is longer than {MAX_COMMAND_LINE} characters"));
        }
        if self.port == Some(0) {
            return Err("the port is 0; it is a number from 1 to 65535".into());
        }
        let Some(server) = &self.target_server else {
            return Ok(());
        };
        if self.port.is_none() {
            return Err("a remote host needs a port".into());
        }
        if server.is_empty() || server.len() > MAX_TARGET_SERVER {
            return Err(format!("the remote host is empty or longer than {MAX_TARGET_SERVER}"));
        }
        if server.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("the remote host has blanks or control characters".into());
        }
        Ok(())
    }
}

/// A session that was started. It counts against quotas until [`Client::end_terminal_session`].
#[derive(Clone, Debug)]
pub struct TerminalSession {
    /// `SessionId`.
    pub session_id: String,
    /// `SecurityToken`; empty if the answer has none.
    pub security_token: SecretString,
    /// `WebSocketUrl`, valid for 10 minutes. It holds a token that gives access to the session.
    pub websocket_url: SecretString,
    /// `RequestId`.
    pub request_id: Option<String>,
}

/// The state of an instance: `Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Being made.
    Pending,
    /// Being started.
    Starting,
    /// Up.
    Running,
    /// Being stopped.
    Stopping,
    /// Down.
    Stopped,
    /// A state that this program does not know; empty if the answer has none.
    Other(String),
}

/// The last version of the agent that does not support sessions, whatever the platform.
const LAST_WITHOUT_SESSIONS: (u32, u32) = (3, 256);

/// What `DescribeCloudAssistantStatus` says of the agent in an instance. `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// `CloudAssistantStatus`: whether the agent is installed and in touch.
    pub online: Option<bool>,
    /// `CloudAssistantVersion`, such as `2.2.3.256`; only the last two numbers can be compared.
    pub version: Option<String>,
    /// `OSType`: `Linux`, `Windows` or `FreeBSD`.
    pub os_type: Option<String>,
    /// `SupportSessionManager`.
    pub supports_sessions: Option<bool>,
    /// `LastHeartbeatTime`, as it was written.
    pub last_heartbeat: Option<String>,
}

impl AgentStatus {
    /// Whether the instance runs Windows.
    pub fn is_windows(&self) -> bool {
        self.os_type.as_deref().is_some_and(|os| os.eq_ignore_ascii_case("windows"))
    }

    /// Whether it supports sessions: as the service reports, or else by its version.
    pub fn can_have_sessions(&self) -> Option<bool> {
        self.supports_sessions.or_else(|| Some(self.number()? > LAST_WITHOUT_SESSIONS))
    }

    /// The numbers of its version that can be compared.
    fn number(&self) -> Option<(u32, u32)> {
        let numbers: Result<Vec<u32>, _> =
            self.version.as_deref()?.trim().split('.').map(str::parse).collect();
        match *numbers.ok()? {
            [_, _, major, build] => Some((major, build)),
            _ => None,
        }
    }
}

impl Client {
    /// `StartTerminalSession`: asks for a WebSocket URL. All tries carry one `ClientToken`, so that
    /// no more than one session is made of them.
    ///
    /// # Errors
    /// Every [`Error`]; nothing is sent for an invalid request. A future that is dropped may leave a
    /// session behind until the service ends it. A caller that needs no session any more therefore
    /// sets `unwanted` and keeps waiting as long as it can: then only a try that may have started a
    /// session is repeated.
    pub async fn start_terminal_session(
        &self,
        request: &StartTerminalSession,
        unwanted: impl Future<Output = ()>,
    ) -> Result<TerminalSession, Error> {
        let mut call = self.prepare(
            "StartTerminalSession",
            Some(request.instance_id.clone()),
            request.check(),
        )?;
        let token = random_hex().map_err(|problem| self.error(&call, (problem, None), 0))?;
        for (name, value) in request.fields(&token) {
            call.set(name, value);
        }

        let answer = self.call_unless(&call, unwanted).await?;
        match terminal_session(&answer) {
            Ok(session) => Ok(session),
            Err(field) => {
                if let Some(session_id) = text(&answer.0, "SessionId") {
                    // It counts against the quotas although nobody can use it.
                    let _ = self.end_terminal_session(&session_id).await;
                }
                Err(self.missing(&call, &answer, field))
            }
        }
    }

    /// `EndTerminalSession`: gives a session's place in the quotas back.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn end_terminal_session(&self, session_id: &str) -> Result<(), Error> {
        let checked = check_id("session id", session_id);
        let mut call = self.prepare("EndTerminalSession", Some(session_id.to_owned()), checked)?;
        call.set("SessionId", session_id.to_owned());
        call.is_last = true;
        self.call(&call).await.map(drop)
    }

    /// `DescribeInstanceStatus`; `None` if the region has no such instance.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn instance_state(&self, instance_id: &str) -> Result<Option<InstanceState>, Error> {
        let (value, _) = self.describe("DescribeInstanceStatus", instance_id).await?;
        Ok(instance_state(&value))
    }

    /// `DescribeCloudAssistantStatus`; `None` if the service knows of no agent there.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn agent_status(&self, instance_id: &str) -> Result<Option<AgentStatus>, Error> {
        let (value, _) = self.describe("DescribeCloudAssistantStatus", instance_id).await?;
        Ok(agent_status(&value))
    }

    async fn describe(&self, action: &'static str, instance_id: &str) -> Result<Answer, Error> {
        let mut call = self.prepare_for(action, instance_id)?;
        call.set("InstanceId.1", instance_id.to_owned());
        self.call(&call).await
    }

    /// A call about an instance.
    pub(crate) fn prepare_for(
        &self,
        action: &'static str,
        instance_id: &str,
    ) -> Result<Call, Error> {
        let checked = check_id("instance id", instance_id);
        self.prepare(action, Some(instance_id.to_owned()), checked)
    }

    /// A call with the common parameters; an error if its input is invalid.
    pub(crate) fn prepare(
        &self,
        action: &'static str,
        subject: Option<String>,
        checked: Result<(), String>,
    ) -> Result<Call, Error> {
        let region = self.config().region.as_str().to_owned();
        let params = Params::from([("RegionId".to_owned(), region)]);
        // Each call of this program may be repeated: some only read, one ends what has ended
        // already, and those that make something carry a ClientToken.
        let call = Call {
            action,
            version: VERSION,
            params,
            idempotent: true,
            is_signed: true,
            is_last: false,
            secret: None,
            subject,
        };
        match checked {
            Ok(()) => Ok(call),
            Err(problem) => Err(self.error(&call, (Problem::Input(problem), None), 0)),
        }
    }

    pub(crate) fn missing(&self, call: &Call, answer: &Answer, field: &'static str) -> Error {
        let problem = Problem::Answer(AnswerError::Missing { field });
        self.error(call, (problem, answer.1.clone()), 1)
    }
}

/// The session of an answer, or the field that it lacks.
pub(crate) fn terminal_session(
    (value, request_id): &Answer,
) -> Result<TerminalSession, &'static str> {
    let need = |field| text(value, field).ok_or(field);
    Ok(TerminalSession {
        session_id: need("SessionId")?,
        websocket_url: need("WebSocketUrl")?.into(),
        security_token: text(value, "SecurityToken").unwrap_or_default().into(),
        request_id: request_id.clone(),
    })
}

pub(crate) fn instance_state(answer: &Value) -> Option<InstanceState> {
    all(answer, "InstanceStatuses", "InstanceStatus").first().map(state_of)
}

/// The state of one instance.
pub(crate) fn state_of(item: &Value) -> InstanceState {
    let state = word(item, "Status").unwrap_or_default();
    match state.to_ascii_lowercase().as_str() {
        "pending" => InstanceState::Pending,
        "starting" => InstanceState::Starting,
        "running" => InstanceState::Running,
        "stopping" => InstanceState::Stopping,
        "stopped" => InstanceState::Stopped,
        _ => InstanceState::Other(state),
    }
}

pub(crate) fn agent_status(answer: &Value) -> Option<AgentStatus> {
    let set = "InstanceCloudAssistantStatusSet";
    all(answer, set, "InstanceCloudAssistantStatus").first().map(agent_of)
}

/// What is said of one agent.
pub(crate) fn agent_of(item: &Value) -> AgentStatus {
    let flag = |name| text(item, name)?.to_ascii_lowercase().parse().ok();
    AgentStatus {
        // Some answers spell it without the 's'.
        online: flag("CloudAssistantStatus").or_else(|| flag("CloudAssitantStatus")),
        version: word(item, "CloudAssistantVersion"),
        os_type: word(item, "OSType"),
        supports_sessions: flag("SupportSessionManager"),
        last_heartbeat: word(item, "LastHeartbeatTime"),
    }
}

/// Refuses an invalid id before the call: the error is clearer than the API's.
pub(crate) fn check_id(what: &str, id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(format!("'{id}' is no {what}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn agents_are_read_in_both_spellings() {
        let read = |item: Value| {
            let list = json!({"InstanceCloudAssistantStatus": [item]});
            agent_status(&json!({"InstanceCloudAssistantStatusSet": list}))
        };
        let status = read(json!({
            "CloudAssitantStatus": "true", "CloudAssistantVersion": "2.2.3.300",
            "OSType": "Linux", "SupportSessionManager": false, "LastHeartbeatTime": ""
        }));
        let status = status.unwrap();
        assert_eq!(status.online, Some(true));
        assert_eq!(status.supports_sessions, Some(false));
        assert_eq!(status.version.as_deref(), Some("2.2.3.300"));
        assert_eq!(status.last_heartbeat, None);
        assert_eq!(read(json!({})), Some(AgentStatus::default()));
        assert_eq!(agent_status(&json!({})), None);
    }

    #[test]
    fn old_agents_are_told_by_their_versions() {
        for (os, version, supports, can) in [
            ("linux", "2.2.3.256", None, Some(false)),
            ("linux", "2.2.3.257", None, Some(true)),
            ("linux", "2.2.4.1", None, Some(true)),
            ("linux", "2.4.3.200", None, Some(false)),
            ("linux", "2.1.3.900", None, Some(true)),
            ("windows", "2.1.3.256", None, Some(false)),
            ("windows", "2.1.3.257", None, Some(true)),
            ("windows", "2.2.3.200", None, Some(false)),
            ("freebsd", "2.3.3.256", None, Some(false)),
            ("freebsd", "2.3.3.300", None, Some(true)),
            ("linux", "2.2.4", None, None),
            ("linux", "2.2.3.256", Some(true), Some(true)),
            ("linux", "new", None, None),
        ] {
            let agent = AgentStatus {
                version: Some(version.to_owned()),
                os_type: Some(os.to_owned()),
                supports_sessions: supports,
                ..AgentStatus::default()
            };
            assert_eq!(agent.can_have_sessions(), can, "{agent:?}");
        }
        assert_eq!(AgentStatus::default().can_have_sessions(), None);
    }

    #[test]
    fn instances_are_read() {
        let read = |status: &str| {
            let list = json!({"InstanceStatus": [{"Status": status}]});
            instance_state(&json!({"InstanceStatuses": list})).unwrap()
        };
        assert_eq!(read("Stopped"), InstanceState::Stopped);
        assert_eq!(read("running"), InstanceState::Running);
        assert_eq!(read("Odd"), InstanceState::Other("Odd".into()));
        assert_eq!(instance_state(&json!({})), None);
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        let good = StartTerminalSession::to_port("i-bp1", 22);
        assert_eq!(good.check(), Ok(()));
        let server = |server: &str| Some(server.to_owned());
        for bad in [
            StartTerminalSession { instance_id: String::new(), ..good.clone() },
            StartTerminalSession { instance_id: "i-a b".into(), ..good.clone() },
            StartTerminalSession { port: Some(0), ..good.clone() },
            StartTerminalSession { port: None, target_server: server("h"), ..good.clone() },
            StartTerminalSession { target_server: server(""), ..good.clone() },
            StartTerminalSession { target_server: server(&"h".repeat(129)), ..good.clone() },
            StartTerminalSession { target_server: server("a\nb"), ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
