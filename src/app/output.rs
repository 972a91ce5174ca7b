//! What commands print.

use std::io::Write as _;

use super::error::Result;
use crate::explain::Unwritten;

/// Writes a line to stdout, for people or programs that asked for it.
pub(crate) fn print(line: &dyn std::fmt::Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Unwritten(error).into())
        }
        _ => Ok(()),
    }
}
