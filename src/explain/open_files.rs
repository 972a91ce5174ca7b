//! What a user is told when a limit of open files is reached.

use super::failure::Explain;
use crate::platform::open_files::OpenFiles;

impl OpenFiles {
    /// Whether a limit of open files is what an error comes from. Some keep only the words of the
    /// operating system.
    pub(crate) fn of(error: &dyn Explain) -> Option<Self> {
        Self::of_words(&format!("{error} {}", error.why().unwrap_or_default()))
            .or_else(|| Self::of_source(error.source()))
    }

    /// What has happened, as a cause.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::OfProcess => {
                "this process has as many files and sockets open as its limit allows"
            }
            Self::OfSystem => "all programs together have as many files open as the system allows",
        }
    }

    /// What a user can do about it.
    pub(crate) fn remedy(self) -> &'static str {
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
