//! Questions on a terminal: answers that nobody else sees, and a terminal that is always given back
//! as it was.

use std::io;

use secrecy::zeroize::Zeroizing;

use crate::explain::{ExitCode, Explain};
use crate::shutdown::Signal;

#[cfg(unix)]
mod line;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// The longest answer, in bytes. Security tokens are the longest that there are.
const LONGEST: usize = 16 * 1024;

/// What was answered: secrets are wiped once they are not needed.
pub type Answer = Zeroizing<String>;

/// A terminal with somebody at it. What is typed is not echoed by the terminal itself as long as this
/// is there: so not even what is typed ahead of a question for a secret is seen.
#[derive(Debug)]
pub struct Dialogue(platform::Terminal);

impl Dialogue {
    /// Takes the terminal that stdin and stderr are.
    ///
    /// # Errors
    /// When they are none.
    pub fn new() -> Result<Self, NoTerminal> {
        platform::Terminal::new().map(Self)
    }

    /// Asks for a line that may be seen.
    ///
    /// # Errors
    /// When there is no answer to be had.
    pub async fn ask(&mut self, question: &str) -> Result<Answer, Stop> {
        self.0.line(question, true).await
    }

    /// Asks for a line that nobody sees.
    ///
    /// # Errors
    /// When there is no answer to be had.
    pub async fn ask_unseen(&mut self, question: &str) -> Result<Answer, Stop> {
        self.0.line(question, false).await
    }

    /// Says something.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub fn say(&mut self, text: &str) -> Result<(), Stop> {
        self.0.write(&format!("{text}\n"))
    }

    /// Waits for something that needs no answer, unless it is interrupted.
    ///
    /// # Errors
    /// When it is.
    pub async fn wait_for<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            result = work => Ok(result),
            stop = self.0.stopped() => Err(stop),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal asked to end: Ctrl-C, or the terminal has gone.
    By(Signal),
    /// Ctrl-D.
    Closed,
    /// It is longer than any answer.
    TooLong,
}

/// Nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoTerminal {
    /// Input or output is something else.
    #[error("{0} is not a terminal, and there are questions to be answered")]
    Not(&'static str),
    /// It cannot be used.
    #[error("the terminal cannot be used: {0}")]
    Unusable(#[source] io::Error),
}

impl Explain for NoTerminal {
    fn remedy(&self) -> Option<String> {
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
