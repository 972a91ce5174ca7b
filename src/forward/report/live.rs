//! The terminal that the live line is drawn on.

use indicatif::ProgressDrawTarget;

/// Draws by way of the messages, so that a terminal that is stopped (Ctrl-S) holds up no stream.
#[cfg(unix)]
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like(Box::new(unix::Line::default()))
}

/// The console's own calls: not every one has escape sequences.
#[cfg(not(unix))]
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr()
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Write as _};
    use std::sync::{Mutex, PoisonError};

    use indicatif::TermLike;
    use rustix::termios::tcgetwinsize;

    use crate::platform::logging;

    /// What is drawn next.
    #[derive(Debug, Default)]
    pub(super) struct Line(Mutex<String>);

    impl Line {
        fn add(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            Ok(())
        }

        fn by(&self, count: usize, letter: char) -> io::Result<()> {
            if count > 0 { self.add(&format!("\x1b[{count}{letter}")) } else { Ok(()) }
        }
    }

    impl TermLike for Line {
        fn width(&self) -> u16 {
            match tcgetwinsize(io::stderr()) {
                Ok(size) if size.ws_col > 0 => size.ws_col,
                _ => 80,
            }
        }

        fn move_cursor_up(&self, count: usize) -> io::Result<()> {
            self.by(count, 'A')
        }

        fn move_cursor_down(&self, count: usize) -> io::Result<()> {
            self.by(count, 'B')
        }

        fn move_cursor_right(&self, count: usize) -> io::Result<()> {
            self.by(count, 'C')
        }

        fn move_cursor_left(&self, count: usize) -> io::Result<()> {
            self.by(count, 'D')
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.add(text)?;
            self.add("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.add(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.add("\r\x1b[2K")
        }

        fn flush(&self) -> io::Result<()> {
            let text = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            match text.is_empty() || logging::is_held_up() {
                // The next one shows more than this.
                true => Ok(()),
                false => logging::Stderr.write_all(text.as_bytes()),
            }
        }
    }
}
