//! Messages for the user.

use std::io::{self, IsTerminal, Write};

/// Writes a message for the user to stderr.
pub(crate) fn tell(message: &dyn std::fmt::Display) {
    // Nobody is left to be told if this fails.
    let _ = Stderr.write_all(format!("{message}\n").as_bytes());
}

/// Whether stderr shows colours. On Windows they are switched on for the console.
pub(super) fn shows_colours() -> bool {
    #[cfg(windows)]
    return console::Term::stderr().features().colors_supported();
    #[cfg(not(windows))]
    io::stderr().is_terminal()
}

/// Stderr, where lines end so that they also look right on a terminal that ssh has in raw mode.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if !stderr.is_terminal() {
            stderr.write_all(bytes)?;
            return Ok(bytes.len());
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', text)) => {
                    stderr.write_all(text)?;
                    stderr.write_all(b"\r\n")?;
                }
                _ => stderr.write_all(line)?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
