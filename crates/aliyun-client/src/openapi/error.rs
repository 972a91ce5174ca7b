//! Why a call failed.

use super::answer::{AnswerError, ClockReading, Refusal};
use super::network::NetworkError;
use crate::cause::Cause;
use crate::credentials::source::Source;

/// Why one try failed. `Display` says it for a log line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The API refused the call.
    #[error("{}", .0.code)]
    Refused(Refusal),
    /// The answer is not one of the API.
    #[error("{0}")]
    Answer(AnswerError),
    /// No answer came.
    #[error("{0}")]
    Network(NetworkError),
    /// There are no credentials to sign with: nothing was sent.
    #[error("{0}")]
    Credentials(Cause),
    /// The caller has no use for the call any more: nothing was sent.
    #[error("the credentials were not awaited to the end")]
    Stopped,
    /// TLS cannot be set up: nothing was sent.
    #[error("{0}")]
    Tls(Cause),
    /// The call is invalid: nothing was sent.
    #[error("{0}")]
    Input(String),
    /// A failure of this program or machine: nothing was sent.
    #[error("{0}")]
    Setup(String),
}

/// A problem, and the `RequestId` of the answer if there was one.
pub(crate) type Failure = (Problem, Option<String>);

/// What kind of failure it was: for callers that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `InvalidAccessKeyId.NotFound`.
    AccessKeyUnknown,
    /// `InvalidAccessKeyId.Inactive`.
    AccessKeyInactive,
    /// `SignatureDoesNotMatch`: the secret is wrong.
    SecretWrong,
    /// `IncompleteSignature`.
    SignatureIncomplete,
    /// `InvalidSecurityToken.Expired`: fresh credentials may help.
    TokenExpired,
    /// `InvalidSecurityToken.Malformed`.
    TokenMalformed,
    /// `InvalidSecurityToken.MismatchWithAccessKey`.
    TokenMismatch,
    /// `MissingSecurityToken`.
    TokenMissing,
    /// `InvalidTimeStamp.Expired`: this machine's clock is wrong.
    ClockWrong,
    /// `InvalidTimeStamp.Format`.
    TimestampFormat,
    /// `Forbidden.RAM`, `NoPermission`.
    PermissionMissing,
    /// `Forbidden.RiskControl`.
    RiskControl,
    /// `UserBehavior.SessionManagerDisabled`.
    SessionManagerDisabled,
    /// `SessionCount.ExceedLimit`.
    SessionQuota,
    /// `PortForwarding.NotSupported`.
    PortForwardingNotSupported,
    /// `InvalidInstance.NotFound`.
    InstanceNotFound,
    /// `InvalidInstance.NotRunning`.
    InstanceNotRunning,
    /// `InstanceIds.ExceedLimit`, `InvalidInstanceIds.CountLimitExceeded`.
    TooManyInstances,
    /// `InvalidTargetServer.*`.
    TargetServerInvalid,
    /// `PortNumber.Invalid`.
    PortInvalid,
    /// `InvalidCommandLine.*`.
    CommandLineInvalid,
    /// `Username.*`.
    UserNameInvalid,
    /// `InvalidPasswordName.*`.
    PasswordNameInvalid,
    /// `InvalidParameter.ConnectionType`, `InvalidOperation.ConnectionTypeUnsupported`.
    ConnectionTypeInvalid,
    /// `InvalidOperation.SecurityGroupRuleDenied`.
    SecurityGroupDenied,
    /// `InvalidRegionId.NotFound`.
    RegionNotFound,
    /// `RegionId.ApiNotSupported`.
    RegionNotSupported,
    /// `Operation.Forbidden`.
    OperationForbidden,
    /// `Throttling`, `Throttling.*`.
    Throttled,
    /// `ServiceUnavailable`, `InternalError*`.
    ServiceUnavailable,
    /// `InternalError.Dispatch`: the service could not hand a session on.
    DispatchFailed,
    /// `SignatureNonceUsed`.
    NonceUsed,
    /// `IdempotentProcessing`: the first try is still being processed.
    StillProcessing,
    /// `EntityNotExist.*` of STS: there is no such role or identity provider.
    RoleNotFound,
    /// `AuthenticationFail.*` of STS: the identity provider's token is not accepted.
    OidcTokenRefused,
    /// `InvalidParameter.*` of STS: a setting of the role's session is not accepted.
    RoleSettingInvalid,
    /// Refused, with a code that this program does not know.
    OtherCode,
    /// There are no credentials to sign with: nothing was sent.
    NoCredentials,
    /// No answer, see [`NetworkError`].
    Network,
    /// An answer that is not the API's, see [`AnswerError`].
    Answer,
    /// TLS cannot be set up: nothing was sent.
    Tls,
    /// The call is invalid: nothing was sent.
    Input,
    /// A failure of this program or machine: nothing was sent.
    Setup,
}

/// The codes that mean something of their own.
const CODES: &[(&str, Kind)] = &[
    ("InvalidAccessKeyId.Inactive", Kind::AccessKeyInactive),
    ("SignatureDoesNotMatch", Kind::SecretWrong),
    ("IncompleteSignature", Kind::SignatureIncomplete),
    ("InvalidSecurityToken.Expired", Kind::TokenExpired),
    ("InvalidSecurityToken.MismatchWithAccessKey", Kind::TokenMismatch),
    ("MissingSecurityToken", Kind::TokenMissing),
    ("InvalidTimeStamp.Format", Kind::TimestampFormat),
    ("Forbidden.RiskControl", Kind::RiskControl),
    ("UserBehavior.SessionManagerDisabled", Kind::SessionManagerDisabled),
    ("SessionCount.ExceedLimit", Kind::SessionQuota),
    ("PortForwarding.NotSupported", Kind::PortForwardingNotSupported),
    ("InvalidInstance.NotRunning", Kind::InstanceNotRunning),
    ("InstanceIds.ExceedLimit", Kind::TooManyInstances),
    ("PortNumber.Invalid", Kind::PortInvalid),
    ("InvalidParameter.ConnectionType", Kind::ConnectionTypeInvalid),
    ("InvalidOperation.ConnectionTypeUnsupported", Kind::ConnectionTypeInvalid),
    ("InternalError.Dispatch", Kind::DispatchFailed),
    ("InvalidOperation.SecurityGroupRuleDenied", Kind::SecurityGroupDenied),
    ("RegionId.ApiNotSupported", Kind::RegionNotSupported),
    ("Operation.Forbidden", Kind::OperationForbidden),
    ("SignatureNonceUsed", Kind::NonceUsed),
    ("IdempotentProcessing", Kind::StillProcessing),
    ("InvalidParameter.RoleArn", Kind::RoleSettingInvalid),
    ("InvalidParameter.RoleSessionName", Kind::RoleSettingInvalid),
    ("InvalidParameter.DurationSeconds", Kind::RoleSettingInvalid),
    ("InvalidParameter.ExternalId", Kind::RoleSettingInvalid),
    ("InvalidParameter.OIDCProviderArn", Kind::RoleSettingInvalid),
    ("InvalidParameter.OIDCToken", Kind::RoleSettingInvalid),
];

/// The others, by what stands before their first dot.
const FAMILIES: &[(&str, Kind)] = &[
    ("EntityNotExist", Kind::RoleNotFound),
    ("AuthenticationFail", Kind::OidcTokenRefused),
    ("InvalidAccessKeyId", Kind::AccessKeyUnknown),
    ("InvalidSecurityToken", Kind::TokenMalformed),
    ("InvalidTimeStamp", Kind::ClockWrong),
    ("Forbidden", Kind::PermissionMissing),
    ("NoPermission", Kind::PermissionMissing),
    ("InvalidInstance", Kind::InstanceNotFound),
    ("InvalidInstanceId", Kind::InstanceNotFound),
    ("InvalidInstanceIds", Kind::TooManyInstances),
    ("InvalidCommandLine", Kind::CommandLineInvalid),
    ("Username", Kind::UserNameInvalid),
    ("InvalidPasswordName", Kind::PasswordNameInvalid),
    ("InvalidTargetServer", Kind::TargetServerInvalid),
    ("InvalidRegionId", Kind::RegionNotFound),
    ("Throttling", Kind::Throttled),
    ("ServiceUnavailable", Kind::ServiceUnavailable),
];

impl Kind {
    /// The kind that belongs to a `Code` of the API, whatever the case of its letters.
    pub fn of_code(code: &str) -> Self {
        let family = code.split_once('.').map_or(code, |(family, _)| family);
        let of = |kinds: &[(&str, Self)], name: &str| {
            kinds.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
        };
        let internal = "InternalError";
        let is_internal =
            || code.get(..internal.len()).is_some_and(|start| start.eq_ignore_ascii_case(internal));
        of(CODES, code)
            .or_else(|| of(FAMILIES, family))
            .or_else(|| is_internal().then_some(Self::ServiceUnavailable))
            .unwrap_or(Self::OtherCode)
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::ServiceUnavailable
                | Self::DispatchFailed
                | Self::NonceUsed
                | Self::StillProcessing
        )
    }

    /// Whether a wait goes on although one of its calls has failed so: the service is too busy to
    /// answer, or out of reach for a while.
    pub fn may_pass(self) -> bool {
        self.is_transient() || self == Self::Network
    }

    /// Whether a look at the instance may show more. An instance that does not run has a code of its
    /// own, or none that is documented.
    pub fn is_of_instance(self) -> bool {
        matches!(
            self,
            Self::InstanceNotRunning
                | Self::OperationForbidden
                | Self::DispatchFailed
                | Self::OtherCode
        )
    }

    /// Whether the service refused the credentials themselves.
    pub fn is_credentials(self) -> bool {
        matches!(
            self,
            Self::AccessKeyUnknown
                | Self::AccessKeyInactive
                | Self::SecretWrong
                | Self::SignatureIncomplete
                | Self::TokenExpired
                | Self::TokenMalformed
                | Self::TokenMismatch
                | Self::TokenMissing
        )
    }

    /// What is wrong, in the words of a sentence: `the access key is not known`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::AccessKeyUnknown => "the access key is not known",
            Self::AccessKeyInactive => "the access key is disabled",
            Self::SecretWrong => "the signature does not match",
            Self::SignatureIncomplete => "the signature is incomplete",
            Self::TokenExpired => "the security token has expired",
            Self::TokenMalformed => "the security token is not valid",
            Self::TokenMismatch => "the security token is not of this access key",
            Self::TokenMissing => "the security token is missing",
            Self::ClockWrong | Self::TimestampFormat => "the time of the request is wrong",
            Self::PermissionMissing => "a permission is missing",
            Self::RiskControl => "the account is under risk control",
            Self::SessionManagerDisabled => "Session Manager is switched off for this account",
            Self::SessionQuota => "there are too many sessions",
            Self::PortForwardingNotSupported => "the instance does not support port forwarding",
            Self::InstanceNotFound => "there is no such instance",
            Self::InstanceNotRunning => "the instance does not run",
            Self::TooManyInstances => "too many instances in one call",
            Self::TargetServerInvalid => "the remote host is not accepted",
            Self::PortInvalid => "the port is not accepted",
            Self::CommandLineInvalid => "the command is not accepted",
            Self::UserNameInvalid => "the user name is not accepted",
            Self::PasswordNameInvalid => "the name of the password is not accepted",
            Self::ConnectionTypeInvalid => "the connection type is not accepted",
            Self::SecurityGroupDenied => "a security group forbids it",
            Self::RegionNotFound => "there is no such region",
            Self::RegionNotSupported => "the region does not offer this",
            Self::OperationForbidden => "the operation is forbidden",
            Self::Throttled => "too many calls",
            Self::ServiceUnavailable => "the service is not available",
            Self::DispatchFailed => "the service could not hand the session on to the instance",
            Self::NonceUsed => "the request was seen before",
            Self::StillProcessing => "the first try is still being worked on",
            Self::RoleNotFound => "there is no such role or identity provider",
            Self::OidcTokenRefused => "the OIDC token is not taken",
            Self::RoleSettingInvalid => "a setting of the role is not taken",
            Self::OtherCode => "the service gave a code that this program does not know",
            Self::NoCredentials => "there are no credentials",
            Self::Network => "there is no answer",
            Self::Answer => "the answer is not the API's",
            Self::Tls => "TLS cannot be set up",
            Self::Input => "the call makes no sense",
            Self::Setup => "the call cannot be sent",
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.what())]
pub struct Error {
    // Boxed, since every Result holds it.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    problem: Problem,
    context: CallContext,
    request_id: Option<String>,
    tries: u32,
    note: Option<String>,
}

/// The call that failed.
#[derive(Debug)]
pub struct CallContext {
    /// Its action, such as `StartTerminalSession`.
    pub action: &'static str,
    /// What it is about: an instance, a session, a role.
    pub subject: Option<String>,
    /// The endpoint that was called.
    pub endpoint: String,
    /// The region that was called.
    pub region: String,
    /// The key that signed it, if one did.
    pub access_key_id: Option<String>,
    /// Whether it had a security token.
    pub has_token: bool,
    /// Where the credentials are from.
    pub source: Source,
}

impl Error {
    /// Puts an error together.
    pub fn new(
        problem: Problem,
        context: CallContext,
        request_id: Option<String>,
        tries: u32,
    ) -> Self {
        Self { inner: Box::new(Inner { problem, context, request_id, tries, note: None }) }
    }

    /// Adds why no other try was made, if there is a reason.
    pub fn with_note(mut self, note: impl Into<Option<String>>) -> Self {
        self.inner.note = note.into();
        self
    }

    fn what(&self) -> String {
        let action = self.inner.context.action;
        match &self.inner.problem {
            Problem::Refused(refusal) => {
                format!("{action} was refused: {} ({})", self.kind().reason(), refusal.code)
            }
            // They do not depend on the call.
            problem @ (Problem::Credentials(_) | Problem::Tls(_) | Problem::Stopped) => {
                problem.to_string()
            }
            problem => format!("{action}: {problem}"),
        }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        match &self.inner.problem {
            Problem::Refused(refusal) => Kind::of_code(&refusal.code),
            Problem::Answer(_) => Kind::Answer,
            Problem::Network(_) => Kind::Network,
            Problem::Credentials(_) | Problem::Stopped => Kind::NoCredentials,
            Problem::Tls(_) => Kind::Tls,
            Problem::Input(_) => Kind::Input,
            Problem::Setup(_) => Kind::Setup,
        }
    }

    /// The API's `Code`, if it answered with one.
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| &*refusal.code)
    }

    /// What the clocks said when the API refused.
    pub fn times(&self) -> Option<ClockReading> {
        let refusal = self.refusal()?;
        Some(ClockReading { local: refusal.local_time, service: refusal.service_time })
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.inner.problem {
            Problem::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Why no answer came, if none came.
    pub fn network(&self) -> Option<&NetworkError> {
        match &self.inner.problem {
            Problem::Network(problem) => Some(problem),
            _ => None,
        }
    }

    /// How often the call was tried; 0 if nothing was sent.
    pub fn tries(&self) -> u32 {
        self.inner.tries
    }

    /// What went wrong.
    pub fn problem(&self) -> &Problem {
        &self.inner.problem
    }

    /// The call that failed.
    pub fn context(&self) -> &CallContext {
        &self.inner.context
    }

    /// The `RequestId` of the API's answer, which support asks for.
    pub fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// Why no other try was made.
    pub fn note(&self) -> Option<&str> {
        self.inner.note.as_deref()
    }
}
