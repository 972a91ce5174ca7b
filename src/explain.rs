//! What a user is told when something failed: what happened, why, what to do next.
//!
//! Every error type that can end the program implements [`Explain`]; [`Report`] is what `main`
//! prints on stderr. The order of the parts never changes, so that a message can be read by habit.

use std::fmt;

/// The exit codes of the program, one for each kind of cause that a script may want to tell apart.
///
/// They are listed in `--help` and in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitCode {
    /// The far side ended normally, or the local side did.
    Ok = 0,
    /// Anything that has no code of its own.
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
pub trait Explain: std::error::Error {
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

/// Stdout cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct Unwritten(pub std::io::Error);

impl Explain for Unwritten {
    fn remedy(&self) -> Option<String> {
        Some("check what stdout is connected to, and whether there is room".to_owned())
    }
}

/// The message for one failure, ready to be printed.
///
/// ```text
/// ecs-bridge: error: what happened
///   why: …
///   fix: …
///   RequestId: …
/// ```
#[derive(Debug)]
pub struct Report {
    pub(crate) what: String,
    pub(crate) cause: Option<String>,
    pub(crate) remedy: Option<String>,
    pub(crate) request_id: Option<String>,
    exit_code: ExitCode,
}

impl Report {
    /// Takes an error apart into the lines of a message.
    pub fn new(error: &dyn Explain) -> Self {
        Self {
            what: error.to_string(),
            cause: error.why(),
            remedy: error.remedy(),
            request_id: error.request_id().map(str::to_owned),
            exit_code: error.exit_code(),
        }
    }

    /// The code that the process should end with.
    pub fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ecs-bridge: error: {}", printable(&self.what))?;
        let lines = [("why", &self.cause), ("fix", &self.remedy), ("RequestId", &self.request_id)];
        for (label, text) in lines {
            if let Some(text) = text {
                write!(f, "\n  {label}: {}", printable(text))?;
            }
        }
        Ok(())
    }
}

/// Text from elsewhere, fit for a terminal: control characters (escape sequences among them)
/// become spaces, and line breaks are kept with an indent.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push_str("\n       "),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it broke\u{1b}[31m")]
    struct Broke;

    impl Explain for Broke {
        fn why(&self) -> Option<String> {
            Some("a reason".into())
        }
        fn request_id(&self) -> Option<&str> {
            Some("R-1")
        }
    }

    #[test]
    fn parts_come_in_order_and_without_control_characters() {
        let report = Report::new(&Broke);
        assert_eq!(
            report.to_string(),
            "ecs-bridge: error: it broke [31m\n  why: a reason\n  RequestId: R-1"
        );
        assert_eq!(report.exit_code(), ExitCode::Failed);
    }
}
