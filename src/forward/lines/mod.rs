//! Lines on stdout for a program, which may be slow to read them, or read only the first.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::platform::pipe;

/// The most lines that wait to be written.
const MOST_WAITING: usize = 1024;
/// How long the last lines may take.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// Lines that a thread writes: nothing else waits for whoever reads them.
pub(crate) struct Lines {
    sender: RefCell<Option<SyncSender<String>>>,
    /// Closed once everything is written.
    written: Receiver<()>,
    dropped: Cell<bool>,
}

impl Lines {
    /// Lines for `out`.
    pub(crate) fn to(mut out: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel::<String>(MOST_WAITING);
        let (writing, written) = sync_channel(0);
        thread::spawn(move || {
            let (mut rest, mut told) = (Vec::new(), false);
            while let Ok(line) = lines.recv() {
                if let Err(error) = write(&mut out, &mut rest, line)
                    // A program may close stdout on purpose.
                    && !pipe::is_closed(&error)
                    && !std::mem::replace(&mut told, true)
                {
                    warn!(
                        "cannot write to stdout: {error}: some events were not written (shown once)"
                    );
                }
            }
            drop(writing);
        });
        Self { sender: RefCell::new(Some(sender)), written, dropped: Cell::new(false) }
    }

    /// Lines for stdout.
    pub(crate) fn to_stdout() -> Self {
        Self::to(io::stdout())
    }

    /// Adds a line. It is dropped where too many wait to be read.
    pub(crate) fn push(&self, line: String) {
        let Some(sender) = &*self.sender.borrow() else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(line)
            && !self.dropped.replace(true)
        {
            warn!("stdout is not read: events that do not fit are dropped (shown once)");
        }
    }

    /// Waits until all of them are written, for a second at most.
    pub(crate) fn finish(&self) {
        self.sender.take();
        if let Err(RecvTimeoutError::Timeout) = self.written.recv_timeout(FINISH_WITHIN) {
            warn!("stdout is not read: the last events are dropped");
        }
    }
}

/// Writes a line behind the `rest` of one that could not be written to its end. Without that it is
/// dropped: nobody could read a line that begins in the middle of another.
fn write(out: &mut impl Write, rest: &mut Vec<u8>, line: String) -> io::Result<()> {
    finish(out, rest)?;
    let mut line = line.into_bytes();
    line.push(b'\n');
    let whole = line.len();
    let written = finish(out, &mut line);
    if line.len() < whole {
        *rest = line;
    }
    written
}

/// Writes bytes, and keeps those that are not taken.
fn finish(out: &mut impl Write, bytes: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
