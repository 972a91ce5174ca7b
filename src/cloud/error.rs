//! Why a call failed. The words for it are in `advice`.

use super::advice::{self, Advice};
use super::answer::Refusal;
use super::check_reachable::ClockReading;
use super::client::Config;
use super::transport::Problem;
use crate::credentials::{Credentials, Source};
use crate::explain::{ExitCode, Explain};

/// What kind of failure it was: for callers that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// `IdempotentProcessing`: the first try is still at work.
    StillProcessing,
    /// `EntityNotExist.*` of STS: there is no such role or identity provider.
    RoleNotFound,
    /// `AuthenticationFail.*` of STS: the identity provider's token is not taken.
    OidcTokenRefused,
    /// `InvalidParameter.*` of STS: a setting of the role's session is not taken.
    RoleSettingInvalid,
    /// Refused, with a code that this program does not know.
    OtherCode,
    /// There are no credentials to sign with: nothing was sent.
    NoCredentials,
    /// No answer, see [`NetworkError`](super::NetworkError).
    Network,
    /// An answer that is not the API's, see [`AnswerError`](super::AnswerError).
    Answer,
    /// TLS cannot be set up: nothing was sent.
    Tls,
    /// The call makes no sense: nothing was sent.
    Input,
    /// Something in this program or machine: nothing was sent.
    Setup,
}

impl Kind {
    /// The kind that belongs to a `Code` of the API.
    pub fn of_code(code: &str) -> Self {
        let family = |name: &str| {
            code.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match code {
            "InvalidAccessKeyId.Inactive" => Self::AccessKeyInactive,
            "SignatureDoesNotMatch" => Self::SecretWrong,
            "IncompleteSignature" => Self::SignatureIncomplete,
            "InvalidSecurityToken.Expired" => Self::TokenExpired,
            "InvalidSecurityToken.MismatchWithAccessKey" => Self::TokenMismatch,
            "MissingSecurityToken" => Self::TokenMissing,
            "InvalidTimeStamp.Format" => Self::TimestampFormat,
            "Forbidden.RiskControl" => Self::RiskControl,
            "UserBehavior.SessionManagerDisabled" => Self::SessionManagerDisabled,
            "SessionCount.ExceedLimit" => Self::SessionQuota,
            "PortForwarding.NotSupported" => Self::PortForwardingNotSupported,
            "InvalidInstance.NotRunning" => Self::InstanceNotRunning,
            "InstanceIds.ExceedLimit" => Self::TooManyInstances,
            "PortNumber.Invalid" => Self::PortInvalid,
            "InvalidParameter.ConnectionType" | "InvalidOperation.ConnectionTypeUnsupported" => {
                Self::ConnectionTypeInvalid
            }
            "InternalError.Dispatch" => Self::DispatchFailed,
            "InvalidOperation.SecurityGroupRuleDenied" => Self::SecurityGroupDenied,
            "RegionId.ApiNotSupported" => Self::RegionNotSupported,
            "Operation.Forbidden" => Self::OperationForbidden,
            "SignatureNonceUsed" => Self::NonceUsed,
            "IdempotentProcessing" => Self::StillProcessing,
            "InvalidParameter.RoleArn"
            | "InvalidParameter.RoleSessionName"
            | "InvalidParameter.DurationSeconds"
            | "InvalidParameter.ExternalId"
            | "InvalidParameter.OIDCProviderArn"
            | "InvalidParameter.OIDCToken" => Self::RoleSettingInvalid,
            _ if family("EntityNotExist") => Self::RoleNotFound,
            _ if family("AuthenticationFail") => Self::OidcTokenRefused,
            _ if family("InvalidAccessKeyId") => Self::AccessKeyUnknown,
            _ if family("InvalidSecurityToken") => Self::TokenMalformed,
            _ if family("InvalidTimeStamp") => Self::ClockWrong,
            _ if family("Forbidden") || family("NoPermission") => Self::PermissionMissing,
            _ if family("InvalidInstance") || family("InvalidInstanceId") => Self::InstanceNotFound,
            _ if family("InvalidInstanceIds") => Self::TooManyInstances,
            _ if family("InvalidCommandLine") => Self::CommandLineInvalid,
            _ if family("Username") => Self::UserNameInvalid,
            _ if family("InvalidPasswordName") => Self::PasswordNameInvalid,
            _ if family("InvalidTargetServer") => Self::TargetServerInvalid,
            _ if family("InvalidRegionId") => Self::RegionNotFound,
            _ if family("Throttling") => Self::Throttled,
            _ if family("ServiceUnavailable") || code.starts_with("InternalError") => {
                Self::ServiceUnavailable
            }
            _ => Self::OtherCode,
        }
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

    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            kind if kind.is_credentials() => ExitCode::Credentials,
            Self::ClockWrong
            | Self::TimestampFormat
            | Self::RoleNotFound
            | Self::OidcTokenRefused
            | Self::RoleSettingInvalid => ExitCode::Credentials,
            Self::PermissionMissing | Self::RiskControl => ExitCode::Permission,
            Self::SessionManagerDisabled
            | Self::SessionQuota
            | Self::PortForwardingNotSupported
            | Self::InstanceNotFound
            | Self::InstanceNotRunning
            | Self::TooManyInstances
            | Self::CommandLineInvalid
            | Self::UserNameInvalid
            | Self::PasswordNameInvalid
            | Self::TargetServerInvalid
            | Self::PortInvalid
            | Self::ConnectionTypeInvalid
            | Self::SecurityGroupDenied
            | Self::RegionNotFound
            | Self::RegionNotSupported
            | Self::OperationForbidden => ExitCode::Target,
            Self::Throttled
            | Self::ServiceUnavailable
            | Self::DispatchFailed
            | Self::NonceUsed
            | Self::StillProcessing
            | Self::Network
            | Self::Answer => ExitCode::Network,
            Self::Tls | Self::NoCredentials => ExitCode::Config,
            Self::Input => ExitCode::Usage,
            _ => ExitCode::Failed,
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.advice().what)]
pub struct Error {
    // Boxed: it travels in every Result.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    problem: Problem,
    context: Context,
    request_id: Option<String>,
    tries: u32,
    note: Option<String>,
}

/// What the words of an error need to know of the call.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) action: &'static str,
    pub(super) subject: Option<String>,
    pub(super) endpoint: String,
    pub(super) region: String,
    /// As far as it is known with which the call was signed.
    pub(super) access_key_id: Option<String>,
    pub(super) has_token: bool,
    pub(super) source: Source,
}

impl Context {
    pub(super) fn of(
        config: &Config,
        action: &'static str,
        subject: Option<String>,
        credentials: Option<&Credentials>,
    ) -> Self {
        Self {
            action,
            subject: subject.map(|id| config.label(&id)),
            endpoint: config.endpoint.to_string(),
            region: config.region.to_string(),
            access_key_id: credentials.map(|of| of.access_key_id().to_owned()),
            has_token: credentials.is_some_and(|of| of.security_token().is_some()),
            source: config.credentials.source().clone(),
        }
    }
}

impl Error {
    pub(super) fn new(
        problem: Problem,
        context: Context,
        request_id: Option<String>,
        tries: u32,
    ) -> Self {
        Self { inner: Box::new(Inner { problem, context, request_id, tries, note: None }) }
    }

    /// Adds why no other try was made.
    pub(super) fn with_note(mut self, note: String) -> Self {
        self.inner.note = Some(note);
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        match &self.inner.problem {
            Problem::Refused(refusal) => Kind::of_code(&refusal.code),
            Problem::Answer(_) => Kind::Answer,
            Problem::Network(_) => Kind::Network,
            Problem::Credentials(_) => Kind::NoCredentials,
            Problem::Tls(_) => Kind::Tls,
            Problem::Input(_) => Kind::Input,
            Problem::Setup(_) => Kind::Setup,
        }
    }

    /// The API's `Code`, if it answered with one.
    pub fn code(&self) -> Option<&str> {
        match &self.inner.problem {
            Problem::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// What the clocks said when the API refused.
    pub fn times(&self) -> Option<ClockReading> {
        match &self.inner.problem {
            Problem::Refused(refusal) => {
                Some(ClockReading { local: refusal.local_time, service: refusal.service_time })
            }
            _ => None,
        }
    }

    /// Why no answer came, if none came.
    pub fn network(&self) -> Option<&super::NetworkError> {
        match &self.inner.problem {
            Problem::Network(problem) => Some(problem),
            _ => None,
        }
    }

    /// How often the call was tried; 0 if nothing was sent.
    pub fn tries(&self) -> u32 {
        self.inner.tries
    }

    fn advice(&self) -> Advice {
        let context = &self.inner.context;
        match &self.inner.problem {
            Problem::Refused(refusal) => advice::refused(self.kind(), refusal, context),
            Problem::Answer(problem) => advice::answer(problem, context),
            Problem::Network(problem) => advice::network(problem, context),
            Problem::Credentials(problem) => advice::credentials_missing(problem),
            Problem::Tls(problem) => advice::tls(problem),
            Problem::Input(text) => advice::input(text, context),
            Problem::Setup(text) => advice::setup(text, context),
        }
    }
}

impl Explain for Error {
    fn why(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.advice().why);
        if let Problem::Refused(Refusal { message, .. }) = &self.inner.problem
            && !message.is_empty()
        {
            parts.push(format!("the service says: {message}"));
        }
        if self.inner.tries > 1 {
            parts.push(format!("tried {} times", self.inner.tries));
        }
        parts.extend(self.inner.note.clone());
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn remedy(&self) -> Option<String> {
        self.advice().fix
    }

    fn request_id(&self) -> Option<&str> {
        match &self.inner.problem {
            Problem::Credentials(problem) => problem.request_id(),
            _ => self.inner.request_id.as_deref(),
        }
    }

    fn exit_code(&self) -> ExitCode {
        match &self.inner.problem {
            Problem::Credentials(problem) => problem.exit_code(),
            Problem::Tls(problem) => problem.exit_code(),
            _ => self.kind().exit_code(),
        }
    }

    fn is_unknown_instance(&self) -> bool {
        self.kind() == Kind::InstanceNotFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_has_its_kind() {
        use Kind::*;
        for (code, kind, exit) in [
            ("InvalidAccessKeyId.NotFound", AccessKeyUnknown, 4),
            ("InvalidAccessKeyId.Inactive", AccessKeyInactive, 4),
            ("SignatureDoesNotMatch", SecretWrong, 4),
            ("IncompleteSignature", SignatureIncomplete, 4),
            ("InvalidSecurityToken.Expired", TokenExpired, 4),
            ("InvalidSecurityToken.Malformed", TokenMalformed, 4),
            ("InvalidSecurityToken.MismatchWithAccessKey", TokenMismatch, 4),
            ("MissingSecurityToken", TokenMissing, 4),
            ("InvalidTimeStamp.Expired", ClockWrong, 4),
            ("InvalidTimeStamp.Format", TimestampFormat, 4),
            ("Forbidden.RAM", PermissionMissing, 5),
            ("NoPermission", PermissionMissing, 5),
            ("Forbidden.RiskControl", RiskControl, 5),
            ("UserBehavior.SessionManagerDisabled", SessionManagerDisabled, 6),
            ("SessionCount.ExceedLimit", SessionQuota, 6),
            ("PortForwarding.NotSupported", PortForwardingNotSupported, 6),
            ("InvalidInstance.NotFound", InstanceNotFound, 6),
            ("InstanceIds.ExceedLimit", TooManyInstances, 6),
            ("InvalidTargetServer.TooLong", TargetServerInvalid, 6),
            ("PortNumber.Invalid", PortInvalid, 6),
            ("InvalidParameter.ConnectionType", ConnectionTypeInvalid, 6),
            ("InvalidOperation.SecurityGroupRuleDenied", SecurityGroupDenied, 6),
            ("InvalidRegionId.NotFound", RegionNotFound, 6),
            ("RegionId.ApiNotSupported", RegionNotSupported, 6),
            ("Operation.Forbidden", OperationForbidden, 6),
            ("Throttling", Throttled, 7),
            ("Throttling.User", Throttled, 7),
            ("ServiceUnavailable", ServiceUnavailable, 7),
            ("InternalError", ServiceUnavailable, 7),
            ("InternalErrorTimeout", ServiceUnavailable, 7),
            ("SignatureNonceUsed", NonceUsed, 7),
            ("IdempotentProcessing", StillProcessing, 7),
            ("EntityNotExist.Role", RoleNotFound, 4),
            ("AuthenticationFail.OIDCToken.Expired", OidcTokenRefused, 4),
            ("InvalidParameter.RoleSessionName", RoleSettingInvalid, 4),
            ("ThrottlingElse", OtherCode, 1),
            ("", OtherCode, 1),
        ] {
            assert_eq!(Kind::of_code(code), kind, "{code}");
            assert_eq!(kind.exit_code() as u8, exit, "{code}");
            assert_eq!(kind.is_transient(), exit == 7, "{code}");
        }
    }
}
