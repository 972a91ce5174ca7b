//! The message for one failure.

use std::fmt;

use super::failure::{ExitCode, Explain, UsageError};
use crate::platform::open_files::OpenFiles;
use aliyun_client::text::printable;

/// Stdout cannot be written.
pub(crate) fn unwritten(error: &std::io::Error) -> UsageError {
    let remedy = "check what stdout is connected to, and whether there is room";
    UsageError::new(format!("cannot write to stdout: {error}"), remedy).exits(ExitCode::Failed)
}

/// Why an error happened, as a user is told: a limit of open files comes before what it has made fail.
fn why(error: &dyn Explain) -> Option<String> {
    OpenFiles::of(error).map(|files| files.why().to_owned()).or_else(|| error.why())
}

/// What a user can do about an error; see [`why`].
fn remedy(error: &dyn Explain) -> Option<String> {
    OpenFiles::of(error).map(|files| files.remedy().to_owned()).or_else(|| error.remedy())
}

/// The message for one failure, ready to be printed.
///
/// ```text
/// ecs-bridge: error: what happened
///   why: …
///   fix: …
///   RequestId: …
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// What happened.
    pub what: String,
    /// Why.
    pub why: Option<String>,
    /// What to do next.
    pub fix: Option<String>,
    /// The `RequestId` of the API's answer.
    pub request_id: Option<String>,
    /// The code that the process should end with.
    pub exit_code: ExitCode,
}

impl Report {
    /// Takes an error apart into the lines of a message.
    pub(crate) fn new(error: &dyn Explain) -> Self {
        Self {
            what: error.to_string(),
            why: why(error),
            fix: remedy(error),
            request_id: error.request_id().map(str::to_owned),
            exit_code: error.exit_code(),
        }
    }

    /// A message of one line.
    pub(crate) fn plain(what: impl Into<String>, exit_code: ExitCode) -> Self {
        Self { what: what.into(), why: None, fix: None, request_id: None, exit_code }
    }

    /// The same with its cause.
    #[must_use]
    pub(crate) fn why(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message(&self.what, [&self.why, &self.fix, &self.request_id]))
    }
}

/// The lines of a message: what happened, and why, the fix and the `RequestId`, if they are known.
pub(crate) fn message(what: &str, parts: [&Option<String>; 3]) -> String {
    let mut text = format!("ecs-bridge: error: {}", printable(what));
    for (label, part) in ["why", "fix", "RequestId"].into_iter().zip(parts) {
        if let Some(part) = part {
            text.push_str(&format!("\n  {label}: {}", printable(part)));
        }
    }
    text
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

    #[cfg(unix)]
    #[derive(Debug, thiserror::Error)]
    enum NoFile {
        #[error("the file cannot be read")]
        Source(#[source] std::io::Error),
        #[error("no connection: {0}")]
        Words(String),
    }

    #[cfg(unix)]
    impl Explain for NoFile {
        fn remedy(&self) -> Option<String> {
            Some("correct it".into())
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_limit_of_open_files_is_named_whatever_it_has_made_fail() {
        for (code, is_limit) in [(24, true), (23, true), (2, false), (124, false)] {
            let error = || std::io::Error::from_raw_os_error(code);
            for error in [NoFile::Source(error()), NoFile::Words(error().to_string())] {
                let report = Report::new(&error).to_string();
                assert_eq!(report.contains("ulimit -n"), is_limit, "{report}");
                assert_eq!(report.contains("correct it"), !is_limit, "{report}");
            }
        }
    }

    #[test]
    fn parts_come_in_order_and_without_control_characters() {
        let report = Report::new(&Broke);
        assert_eq!(
            report.to_string(),
            "ecs-bridge: error: it broke [31m\n  why: a reason\n  RequestId: R-1"
        );
        assert_eq!(report.exit_code, ExitCode::Failed);
    }
}
