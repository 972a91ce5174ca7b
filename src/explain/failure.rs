//! An error that explains itself, and the exit code that belongs to it.

/// The exit codes of the program, one for each kind of cause that a script may want to tell apart.
///
/// They are listed in `--help` and in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// The remote side ended normally, or the local side did.
    Ok = 0,
    /// Any other failure.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Configuration or credentials are missing or unreadable; nothing was sent.
    Config = 3,
    /// The service refused the credentials or the clock.
    Credentials = 4,
    /// The credentials are good, but lack a permission.
    Permission = 5,
    /// The instance, its port, or Session Manager itself is not available, or a quota is reached.
    Target = 6,
    /// The API or the gateway could not be reached: DNS, TCP, TLS, HTTP, time-outs.
    Network = 7,
    /// A session did not open, or broke after it had opened.
    Session = 8,
}

/// An error that can say why it happened and what to do next.
pub(crate) trait Explain: std::error::Error {
    /// Why it happened, as far as known. One sentence, no final period needed.
    fn why(&self) -> Option<String> {
        None
    }

    /// What the user can do next: a command, a setting, a page to look at.
    fn remedy(&self) -> Option<String> {
        None
    }

    /// The `RequestId` of the API's answer, which support asks for.
    fn request_id(&self) -> Option<&str> {
        None
    }

    /// The exit code that belongs to this cause.
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failed
    }

    /// Whether the API knows of no instance with the id that it was given: one that is remembered may
    /// be gone.
    fn is_unknown_instance(&self) -> bool {
        false
    }
}

/// A usage error, or another failure with fixed texts: what is wrong, why, and how to correct it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UsageError {
    what: String,
    why: Option<String>,
    remedy: String,
    exit_code: ExitCode,
}

impl UsageError {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { what, why: None, remedy, exit_code: ExitCode::Usage }
    }

    /// The same with the reason for it.
    pub(crate) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// The same with an exit code other than that of usage.
    pub(crate) fn exits(self, exit_code: ExitCode) -> Self {
        Self { exit_code, ..self }
    }
}

impl Explain for UsageError {
    fn why(&self) -> Option<String> {
        self.why.clone()
    }

    fn remedy(&self) -> Option<String> {
        Some(self.remedy.clone())
    }

    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}
