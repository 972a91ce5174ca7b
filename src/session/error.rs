//! Why a session could not be opened, or failed.

use std::time::Duration;

use http::StatusCode;

use super::diagnose::Diagnosis;
use super::failure::{Finding, NotDialled, SessionFailure};
use crate::cloud::{self, Kind};
use crate::explain::{ExitCode, Explain};
use crate::gateway::dial::DialError;
use session_manager_proto::session::Failure;

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The API has not started it.
    #[error("{}{error}", before(.finding.as_ref()))]
    Start {
        error: cloud::Error,
        /// What a look at the instance has shown, if one was taken.
        finding: Option<Finding>,
    },
    /// Its gateway could not be reached.
    #[error(transparent)]
    Dial(#[from] NotDialled),
    /// It did not open, or broke.
    #[error(transparent)]
    Session(#[from] SessionFailure),
    /// Its instance does not run, and could not be started.
    #[error("{0}")]
    NotUp(Box<dyn Explain>),
    /// A quota was full, and stayed so for as long as it waited.
    #[error("{error}")]
    Waited { error: Box<SessionError>, waited: Duration },
}

/// What was seen of the instance comes before what the API says.
fn before(finding: Option<&Finding>) -> String {
    finding.map(|finding| format!("{finding}: ")).unwrap_or_default()
}

impl From<cloud::Error> for SessionError {
    fn from(error: cloud::Error) -> Self {
        Self::Start { error, finding: None }
    }
}

impl SessionError {
    /// Whether a look at the instance may show more than it says by itself.
    pub(crate) fn is_unexplained(&self) -> bool {
        match self {
            Self::Start { error, finding } => error.kind().is_of_instance() && finding.is_none(),
            Self::Dial(_) | Self::NotUp(_) | Self::Waited { .. } => false,
            Self::Session(error) => error.did_not_open(),
        }
    }

    /// Whether a session opened, and led to nothing that takes connections.
    pub(crate) fn has_no_target(&self) -> bool {
        matches!(self, Self::Session(error) if error.has_no_target())
    }

    /// Whether a quota of sessions is the cause, as the API or the gateway tells it.
    pub(crate) fn is_quota(&self) -> bool {
        match self {
            Self::Start { error, .. } => error.kind() == Kind::SessionQuota,
            Self::Dial(not) => {
                let too_many = StatusCode::TOO_MANY_REQUESTS;
                matches!(not.error, DialError::Refused { status, .. } if status == too_many)
            }
            Self::Session(_) | Self::NotUp(_) => false,
            Self::Waited { error, .. } => error.is_quota(),
        }
    }

    /// Whether the API was too busy to start it, or out of reach: it may do so some time later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Start { error, .. } if error.kind().may_pass())
    }

    /// Adds what was seen of the instance.
    pub(crate) fn explain(&mut self, seen: Diagnosis) {
        match self {
            Self::Start { finding, .. } => *finding = seen.finding,
            Self::Dial(_) | Self::NotUp(_) | Self::Waited { .. } => {}
            Self::Session(error) => error.finding = seen.finding,
        }
    }

    /// What was found to be wrong with the instance.
    pub(crate) fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Start { finding, .. } => finding.as_ref(),
            Self::Dial(_) | Self::NotUp(_) | Self::Waited { .. } => None,
            Self::Session(error) => error.finding.as_ref(),
        }
    }

    /// How the session failed, if there was one.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Session(error) => Some(&error.failure),
            _ => None,
        }
    }

    fn inner(&self) -> &dyn Explain {
        match self {
            Self::Start { error, .. } => error,
            Self::Dial(error) => error,
            Self::Session(error) => error,
            Self::NotUp(error) => &**error,
            Self::Waited { error, .. } => &**error,
        }
    }
}

impl Explain for SessionError {
    fn why(&self) -> Option<String> {
        match self {
            Self::Waited { error, waited } => {
                let why = error.why().unwrap_or_default();
                let why = why.trim_end_matches('.');
                let waited = waited.as_secs();
                Some(format!("{why}; the quota was still full after {waited} s (--wait)"))
            }
            _ => self.inner().why(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Start { finding: Some(finding), .. } => Some(finding.remedy()),
            _ => self.inner().remedy(),
        }
    }

    fn request_id(&self) -> Option<&str> {
        self.inner().request_id()
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Start { finding: Some(_), .. } => ExitCode::Target,
            _ => self.inner().exit_code(),
        }
    }

    fn is_unknown_instance(&self) -> bool {
        self.inner().is_unknown_instance()
    }
}
