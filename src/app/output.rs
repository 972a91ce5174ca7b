//! What commands print.

use std::io::Write as _;

use super::error::Result;
use crate::cli::Global;
use crate::explain::unwritten;
use crate::platform::logging;
use crate::platform::pipe;

/// Writes a line of a command's output to stdout.
pub(crate) fn print(line: &dyn std::fmt::Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if !pipe::is_closed(&error) => Err(unwritten(&error).into()),
        _ => Ok(()),
    }
}

/// Writes a note to stderr, unless `--quiet` is given.
pub(crate) fn note(global: &Global, text: &str) {
    if !global.quiet {
        logging::eprint(&text);
    }
}
