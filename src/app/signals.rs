//! Signals for commands that do not handle them.

use super::error::{Done, Message, Result};
use crate::platform::signals::Signals;

/// Runs a command that does not handle signals itself. A signal ends it and what it has started:
/// a program that prints credentials would go on otherwise.
pub(crate) async fn until_signal(command: impl Future<Output = Result<Done>>) -> Result<Done> {
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        done = command => done,
        signal = signals.next() => Ok(Done::By(signal)),
    }
}
