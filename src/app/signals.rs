//! Commands that leave signals to their caller.

use super::error::{Done, Message, Result};
use crate::platform::signals::Signals;

/// Runs a command that heeds no signal itself. One that comes ends it, and with it what it has
/// started: a program that credentials come from would go on.
pub(crate) async fn until_signal(command: impl Future<Output = Result<Done>>) -> Result<Done> {
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        done = command => done,
        signal = signals.next() => Ok(Done::By(signal)),
    }
}
