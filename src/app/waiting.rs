//! A line for people who wait at a terminal.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use tokio::time::sleep;

/// How long to wait before the line is printed: a session is usually open before.
const SOON: Duration = Duration::from_secs(3);

/// Does work; after 3 s, `notice` prints what the work waits for, if stderr is a terminal.
pub(crate) async fn with_notice<T>(notice: impl FnOnce(), work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep(SOON) => {}
    }
    if stderr().is_terminal() {
        notice();
    }
    work.await
}
