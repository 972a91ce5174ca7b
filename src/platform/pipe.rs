//! Pipes whose reader has gone.

use std::io;

/// Whether the reader has closed its end of the pipe.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    /// `ERROR_PIPE_NOT_CONNECTED` of Windows, which std does not count.
    const NOT_CONNECTED: i32 = 233;
    error.kind() == io::ErrorKind::BrokenPipe
        || cfg!(windows) && error.raw_os_error() == Some(NOT_CONNECTED)
}
