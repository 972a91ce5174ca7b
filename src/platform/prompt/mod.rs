//! Prompts on a terminal: answers that are not displayed, and a terminal that is always restored.

mod answer;
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

pub(crate) use self::answer::{Answer, NoTerminal, Stop};

/// A terminal for prompts. What is typed is not echoed by the terminal itself as long as this exists:
/// so not even what is typed ahead of the prompt for a secret is displayed.
#[derive(Debug)]
pub(crate) struct Dialogue(platform::Terminal);

impl Dialogue {
    /// Takes the terminal that stdin and stderr are.
    ///
    /// # Errors
    /// When they are none.
    pub(crate) fn new() -> Result<Self, NoTerminal> {
        platform::Terminal::new().map(Self)
    }

    /// Prompts for a line that is displayed.
    ///
    /// # Errors
    /// When there is no answer to be had.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<Answer, Stop> {
        self.0.line(question, true).await
    }

    /// Prompts for a line that is not displayed.
    ///
    /// # Errors
    /// When there is no answer to be had.
    pub(crate) async fn ask_unseen(&mut self, question: &str) -> Result<Answer, Stop> {
        self.0.line(question, false).await
    }

    /// Prints a text.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Stop> {
        self.0.write(&format!("{text}\n"))
    }

    /// Waits for something that needs no answer, unless it is interrupted.
    ///
    /// # Errors
    /// When it is.
    pub(crate) async fn wait_for<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            result = work => Ok(result),
            stop = self.0.stopped() => Err(stop),
        }
    }
}
