//! The result of a prompt.

use std::io;

use secrecy::zeroize::Zeroizing;

use crate::explain::{ExitCode, Explain};
use crate::platform::signals::Signal;

/// The longest answer, in bytes. Security tokens are the longest that there are.
pub(super) const LONGEST: usize = 16 * 1024;

/// What was answered: secrets are wiped once they are not needed.
pub(crate) type Answer = Zeroizing<String>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal: Ctrl-C, or the terminal has gone.
    By(Signal),
    /// Ctrl-D.
    Closed,
    /// It is longer than any answer.
    TooLong,
}

/// There is no terminal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTerminal {
    /// Input or output is something else.
    #[error("{0} is not a terminal, and this command has prompts")]
    Not(&'static str),
    /// Git Bash's window, which is a pipe to a program of Windows.
    #[cfg(windows)]
    #[error("this window (mintty, as of Git Bash) is no console, and this command has prompts")]
    Mintty,
    /// It cannot be used.
    #[error("the terminal cannot be used: {0}")]
    Unusable(#[source] io::Error),
}

impl Explain for NoTerminal {
    fn remedy(&self) -> Option<String> {
        #[cfg(windows)]
        if matches!(self, Self::Mintty) {
            return Some(
                "run `winpty ecs-bridge …`, or use Windows Terminal; or answer by options: ecs-bridge configure set \
                 --profile NAME --mode MODE … (secrets on stdin, with -)"
                    .to_owned(),
            );
        }
        Some(
            "without a terminal, use: ecs-bridge configure set --profile NAME --mode MODE … \
             (secrets on stdin, with -)"
                .to_owned(),
        )
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}
