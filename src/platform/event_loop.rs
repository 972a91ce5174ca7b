//! The event loop of a command: one thread.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::platform::open_files::OpenFiles;

/// How many files an event loop opens: those of epoll or kqueue, a waker and the sockets for signals.
const OWN_FILES: usize = 6;

/// Starts an event loop.
///
/// # Errors
/// When the operating system refuses what it needs, as under a low limit of open files.
pub(crate) fn start() -> io::Result<Runtime> {
    // tokio panics where the sockets for signals cannot be made.
    OpenFiles::check_room(OWN_FILES)?;
    Builder::new_current_thread().enable_all().build()
}
