//! The stack that commands run on.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// The size of the stack, in bytes. The main thread has 1 MiB on Windows (2 MiB with the GNU toolchain), and what
/// `ulimit -s` says on Unix; the futures of a build without optimization need more.
const SIZE: usize = 8 << 20;

/// Runs `run` on a stack of 8 MiB. Where the system has no room for a thread, it runs on this one.
pub(crate) fn on_large_stack<T: Send>(run: impl Fn() -> T + Sync) -> T {
    let ended = scope(|threads| {
        let thread = Builder::new().stack_size(SIZE).spawn_scoped(threads, &run);
        thread.ok().map(|thread| thread.join())
    });
    match ended {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        None => run(),
    }
}
