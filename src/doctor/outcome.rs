//! What came of a check.

use crate::explain::{ExitCode, Explain, Report};
use crate::platform::open_files::OpenFiles;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is as it should be: what was found, in one line.
    Passed(String),
    /// It is not.
    Failed(Report),
    /// It was not looked at, for there is no need to, or no way.
    Skipped {
        /// Why not, in one line.
        why: String,
        /// The id of the failed check that it needs, if that is why.
        because: Option<&'static str>,
    },
    /// It was looked at, and nothing could be told: why not.
    Unknown(Report),
}

impl Outcome {
    /// It is as it should be.
    pub(crate) fn passed(found: impl Into<String>) -> Self {
        Self::Passed(found.into())
    }

    /// There is no need to look at it.
    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped { why: why.into(), because: None }
    }

    /// An error has come of it.
    pub(crate) fn failed(error: &dyn Explain) -> Self {
        Self::Failed(Report::new(error))
    }

    /// The same, where a limit of open files is named before what it has made fail.
    pub(super) fn naming_limits(self) -> Self {
        let named = |report: Report| {
            let words = format!("{} {}", report.what, report.why.as_deref().unwrap_or_default());
            match OpenFiles::of_words(&words) {
                Some(files) => report.why(files.why()).fix(files.remedy()),
                None => report,
            }
        };
        match self {
            Self::Failed(report) => Self::Failed(named(report)),
            Self::Unknown(report) => Self::Unknown(named(report)),
            other => other,
        }
    }

    /// The id of the failed check for which a check that needs this one cannot be made.
    pub(super) fn blocking_check(&self, id: &'static str) -> Option<&'static str> {
        match self {
            Self::Failed(_) => Some(id),
            Self::Skipped { because, .. } => *because,
            Self::Passed(_) | Self::Unknown(_) => None,
        }
    }
}

/// A check that was made.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// What scripts know it by. It never changes.
    pub id: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// The exit code that belongs to the first check that failed.
pub(crate) fn exit_code(checked: &[Checked]) -> ExitCode {
    let failed = checked.iter().find_map(|checked| match &checked.outcome {
        Outcome::Failed(report) => Some(report.exit_code),
        _ => None,
    });
    failed.unwrap_or(ExitCode::Ok)
}
