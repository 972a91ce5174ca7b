//! Why a source gives no credentials, in the words of each kind of source, and where there was none.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::fetch;

/// What was looked at for credentials, and what was there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookedAt {
    /// The variables that name a profile: none is set, and none was asked for.
    #[error("{}: none named", variables.join(", "))]
    Named {
        /// The variables.
        variables: &'static [&'static str],
    },
    /// A file with profiles, none of which is the one to take.
    #[error("{}: {lacks}; it has {}", file.display(), listed(names))]
    NoCurrent {
        /// The file.
        file: PathBuf,
        /// What would say which one to take.
        lacks: &'static str,
        /// The names there are.
        names: Vec<String>,
    },
    /// The metadata service: it is not asked, since nothing can be called in no region.
    #[error("the metadata service: not asked, since no region is known")]
    NoRegion,
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// Names for a message, the first twenty of them.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Why the program gives no credentials. Of what it has printed and of its arguments nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum ExternalProblem {
    /// The command is not one: a quote that is not closed, or nothing at all.
    #[error("it is not a command: it is empty, or a quote is not closed")]
    NotACommand,
    /// It cannot be started.
    #[error("'{program}' cannot be started: {problem}")]
    Start {
        /// The program, without its arguments.
        program: String,
        /// What the operating system says.
        problem: std::io::Error,
    },
    /// It ended with an error.
    #[error("'{program}' failed: {status}")]
    Failed {
        /// The program, without its arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long.
    #[error("'{program}' did not end within {} s, and was ended", within.as_secs())]
    Timeout {
        /// The program, without its arguments.
        program: String,
        /// How long it may take.
        within: Duration,
    },
    /// It prints and prints.
    #[error("'{program}' printed more than 1 MiB, and was ended")]
    TooMuch {
        /// The program, without its arguments.
        program: String,
    },
    /// What it printed is not what it should be.
    #[error("what '{program}' printed is invalid: {problem}")]
    Unusable {
        /// The program, without its arguments.
        program: String,
        /// What is wrong with it; never its content.
        problem: String,
    },
}

/// Why a credentials URI gives none.
#[derive(Debug, thiserror::Error)]
pub enum UriProblem {
    /// No answer came.
    #[error(transparent)]
    NoAnswer(#[from] fetch::Problem),
    /// The answer is not what it should be: its HTTP status, a redirect to another server, or what it
    /// holds.
    #[error("{0}")]
    Invalid(String),
}

/// Why the metadata service gives no credentials.
#[derive(Debug, thiserror::Error)]
pub enum MetadataProblem {
    /// It is not there, or broke off.
    #[error(transparent)]
    NoAnswer(#[from] fetch::Problem),
    /// It does not give a token.
    #[error("it refuses a token, with HTTP {status}")]
    NoToken {
        /// The HTTP status.
        status: u16,
        /// The variable that forbids to ask without one.
        needed_by: Option<String>,
    },
    /// It has no role, or no such role.
    #[error("{}", match .0 {
        Some(role) => format!("the instance has no RAM role '{role}'"),
        None => "no RAM role is attached to the instance".to_owned(),
    })]
    NoRole(Option<String>),
    /// The answer is not what it should be: its HTTP status, or what it holds.
    #[error("{0}")]
    Invalid(String),
}

/// Why a service gives no new credentials.
#[derive(Debug, thiserror::Error)]
pub enum LoginProblem {
    /// No answer came.
    #[error(transparent)]
    NoAnswer(#[from] fetch::Problem),
    /// The login is not valid any more.
    #[error("the login has ended (HTTP {0})")]
    Ended(u16),
    /// The answer is not what it should be: its HTTP status, or what it holds.
    #[error("{0}")]
    Invalid(String),
    /// The profile has neither keys nor a login any more.
    #[error("the profile has no valid login any more")]
    Gone,
}
