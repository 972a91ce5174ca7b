//! What a user is told when something failed: what happened, why, what to do next.
//!
//! Every error type that can end the program implements [`Explain`]; [`Report`] is what `main`
//! prints on stderr. The order of the parts never changes, so that a message can be read by habit.

use std::fmt;

mod call;
mod cloud;
mod credentials;
mod proxy;
pub(crate) mod source;
mod tls;

pub use aliyun_client::text::printable;
pub(crate) use call::{SET_CLOCK, apart, switch_on};
pub(crate) use cloud::UPDATE_AGENT;

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

/// What ran out when a file or a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFiles {
    /// This process has reached its limit.
    OfProcess,
    /// The system has reached its own.
    OfSystem,
}

impl OpenFiles {
    /// Whether a limit of open files is what an error comes from. Some keep only the words of the
    /// operating system.
    pub fn of(error: &dyn Explain) -> Option<Self> {
        Self::of_words(&format!("{error} {}", error.why().unwrap_or_default()))
            .or_else(|| Self::of_source(error.source()))
    }

    /// The same for a text with the words of the operating system.
    pub fn of_words(text: &str) -> Option<Self> {
        Self::of_code(|code| text.contains(&format!("(os error {code})")))
    }

    /// The same for an error of the operating system.
    pub fn of_io(error: &std::io::Error) -> Option<Self> {
        Self::of_code(|code| error.raw_os_error() == Some(code))
    }

    /// Checks that so many files can be opened now. Some libraries do not say that a limit is what they
    /// have failed for, or panic.
    ///
    /// # Errors
    /// What the operating system says where a limit of open files is reached; nothing else.
    pub fn check_room(files: usize) -> std::io::Result<()> {
        let opened = (0..files).map(|_| std::fs::File::open("/")).collect::<Result<Vec<_>, _>>();
        match opened {
            Err(error) if Self::of_io(&error).is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn of_source(mut source: Option<&(dyn std::error::Error + 'static)>) -> Option<Self> {
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref().and_then(Self::of_io) {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    fn of_code(is: impl Fn(i32) -> bool) -> Option<Self> {
        let any = |codes: &[i32]| codes.iter().any(|code| is(*code));
        match () {
            // Files and sockets have codes of their own there.
            () if cfg!(windows) => any(&[4, 10_024]).then_some(Self::OfProcess),
            () if any(&[24]) => Some(Self::OfProcess),
            () if any(&[23]) => Some(Self::OfSystem),
            () => None,
        }
    }

    /// What has happened, as a cause.
    pub fn why(self) -> &'static str {
        match self {
            Self::OfProcess => {
                "this process has as many files and sockets open as its limit allows"
            }
            Self::OfSystem => "all programs together have as many files open as the system allows",
        }
    }

    /// What a user can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::OfProcess if cfg!(windows) => "use fewer connections at once",
            Self::OfProcess => {
                "raise the limit in the shell that starts the program, as in `ulimit -n 4096`, or use \
                 fewer connections at once"
            }
            Self::OfSystem => {
                "end programs that have many files open, or raise the system's limit \
                 (fs.file-max on Linux; `ulimit -n` is that of one process)"
            }
        }
    }
}

/// Why an error happened, as a user is told: a limit of open files comes before what it has made fail.
pub fn why(error: &dyn Explain) -> Option<String> {
    OpenFiles::of(error).map(|files| files.why().to_owned()).or_else(|| error.why())
}

/// What a user can do about an error; see [`why`].
pub fn remedy(error: &dyn Explain) -> Option<String> {
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
            cause: why(error),
            remedy: remedy(error),
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

    #[derive(Debug, thiserror::Error)]
    enum NoFile {
        #[error("the file cannot be read")]
        Source(#[source] std::io::Error),
        #[error("no connection: {0}")]
        Words(String),
    }

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
        assert_eq!(report.exit_code(), ExitCode::Failed);
    }
}
