//! A line for people who wait at a terminal.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use tokio::time::sleep;

/// How long to wait before the line is printed: a session is usually open before.
const SOON: Duration = Duration::from_secs(3);

/// Does work, and lets `tell` print after 3 s what is waited for, if stderr is a terminal.
pub(crate) async fn telling<T>(tell: impl FnOnce(), work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep(SOON) => {}
    }
    if stderr().is_terminal() {
        tell();
    }
    work.await
}
