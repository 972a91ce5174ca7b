//! What only shells have (docs/protocol.md, 9): the size of the window, and a failure that comes as Output.

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
}

impl Shell {
    /// The window has a size from now on.
    pub(super) fn set_size(&mut self, columns: u16, rows: u16) {
        let size = Some([rows, columns]);
        self.is_resize_due |= size != self.size;
        self.size = size;
    }

    /// The shell has written something, and so has a terminal: unless it is a failure, which only the first
    /// may be. The size is sent again after it: an agent drops what comes before there is a terminal.
    pub(super) fn handle_output(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.has_written, true) {
            if let Some(reason) = payload.strip_prefix(FAILED) {
                return Err(Failure::Ended(Reason::parse(reason)));
            }
            self.is_resize_due = self.size.is_some();
        }
        Ok(())
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
}

/// How many of the bytes that may be sent go into one frame. On Windows only CR is Enter, and an agent there makes
/// CR of the LFs of a frame: of all if the frame begins with one, otherwise of one fewer than bytes come before
/// the first (docs/protocol.md, 9). So a frame ends before its first LF where that is too few.
pub(super) fn shell_payload(bytes: &[u8]) -> usize {
    let is_lf = |byte: &&u8| **byte == b'\n';
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(first @ 1..) if bytes.iter().filter(is_lf).count() >= first => first,
        _ => bytes.len(),
    }
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
        assert_eq!(shell.handle_output(b"$ "), Ok(()));
        assert_eq!(shell.take_resize().as_deref(), Some(&[33, 0, 101, 0][..]));
        assert_eq!(shell.handle_output(b"$ "), Ok(()));
        assert_eq!(shell.take_resize(), None);
        shell.set_size(300, 33);
        assert_eq!(shell.take_resize().as_deref(), Some(&[33, 0, 44, 1][..]));
    }

    #[test]
    fn a_failure_that_comes_as_output_has_its_reason() {
        let first = |output: &[u8]| Shell::default().handle_output(output);
        let failure = first(b"The session has terminated. UserNotExists: no user x\r\n");
        let Err(Failure::Ended(reason)) = failure else { panic!("{failure:?}") };
        assert_eq!(reason.kind(), ReasonKind::ShellUser);
        assert_eq!(reason.text(), "UserNotExists: no user x");
        assert_eq!(first(b"$ "), Ok(()));
        assert_eq!(first(b" The session has terminated. Exit"), Ok(()));
    }
}
