//! What only shells have (PROTOCOL.md, 9): the size of the window, a failure that comes as Output, and the
//! warning before an idle session ends.

use std::time::Instant;

use bytes::Bytes;

use super::end::Failure;
use crate::status::Reason;

/// The most that one frame of a shell carries.
pub(super) const MAX_SHELL_PAYLOAD: usize = 1024;

/// What an agent writes in place of a shell that it cannot start. The reason follows.
const FAILED: &[u8] = b"The session has terminated. ";

/// The part of a session that only shells use.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// Rows, then columns.
    size: Option<[u16; 2]>,
    /// Whether the size is to be sent.
    is_resize_due: bool,
    /// Whether the shell has written anything.
    has_written: bool,
    /// The last activity before the idle time of which a warning was given.
    warned_since: Option<Instant>,
}

impl Shell {
    /// The window has a size from now on.
    pub(super) fn set_size(&mut self, columns: u16, rows: u16) {
        let size = Some([rows, columns]);
        self.is_resize_due |= size != self.size;
        self.size = size;
    }

    /// Whether the shell has written anything, and so has a terminal. An empty Output of 1.02 only
    /// acknowledges.
    pub(super) fn has_written(&self) -> bool {
        self.has_written
    }

    /// The shell has written something. The size is sent again after the first of it: an agent drops
    /// what comes before there is a terminal.
    pub(super) fn handle_written(&mut self) {
        if !std::mem::replace(&mut self.has_written, true) {
            self.is_resize_due = self.size.is_some();
        }
    }

    pub(super) fn is_resize_due(&self) -> bool {
        self.is_resize_due
    }

    /// The payload of the Resize that is due, which is sent now.
    pub(super) fn take_resize(&mut self) -> Option<Bytes> {
        let size = self.size.filter(|_| self.is_resize_due)?;
        self.is_resize_due = false;
        Some(size.map(u16::to_le_bytes).concat().into())
    }

    /// Whether a warning was given of the idle time that began at `since`.
    pub(super) fn is_warned(&self, since: Instant) -> bool {
        self.warned_since == Some(since)
    }

    /// A warning is given of the idle time that began at `since`.
    pub(super) fn note_warned(&mut self, since: Instant) {
        self.warned_since = Some(since);
    }
}

/// The failure that the first Output of a shell may be.
pub(super) fn failure_of(first_output: &[u8]) -> Option<Failure> {
    let reason = first_output.strip_prefix(FAILED)?;
    Some(Failure::Ended(Reason::parse(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::ReasonKind;

    #[test]
    fn a_size_is_due_when_it_changes_and_once_there_is_a_terminal() {
        let mut shell = Shell::default();
        assert_eq!((shell.is_resize_due(), shell.take_resize()), (false, None));
        shell.set_size(101, 33);
        assert_eq!(shell.take_resize().as_deref(), Some(&[33, 0, 101, 0][..]));
        shell.set_size(101, 33);
        assert_eq!(shell.take_resize(), None);
        shell.handle_written();
        assert_eq!(shell.take_resize().as_deref(), Some(&[33, 0, 101, 0][..]));
        shell.handle_written();
        assert_eq!(shell.take_resize(), None);
        shell.set_size(300, 33);
        assert_eq!(shell.take_resize().as_deref(), Some(&[33, 0, 44, 1][..]));
    }

    #[test]
    fn a_failure_that_comes_as_output_has_its_reason() {
        let failure = failure_of(b"The session has terminated. UserNotExists: no user x\r\n");
        let Some(Failure::Ended(reason)) = failure else { panic!("{failure:?}") };
        assert_eq!(reason.kind(), ReasonKind::ShellUser);
        assert_eq!(reason.text(), "UserNotExists: no user x");
        assert_eq!(failure_of(b"$ "), None);
        assert_eq!(failure_of(b" The session has terminated. Exit"), None);
    }
}
