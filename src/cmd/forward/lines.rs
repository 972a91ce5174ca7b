//! Lines on stdout for a program, which may be slow to read them, or read only the first.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::warn;

/// So many lines may wait to be read.
const MOST_WAITING: usize = 1024;
/// How long the last lines may take.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// Lines that a thread writes: nothing else waits for whoever reads them.
pub(super) struct Lines {
    sender: RefCell<Option<SyncSender<String>>>,
    /// Closed once everything is written.
    written: Receiver<()>,
    dropped: Cell<bool>,
}

impl Lines {
    /// Lines for `out`.
    pub(super) fn to(mut out: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel::<String>(MOST_WAITING);
        let (writing, written) = sync_channel(0);
        thread::spawn(move || {
            let (mut rest, mut told) = (Vec::new(), false);
            while let Ok(line) = lines.recv() {
                if let Err(error) = write(&mut out, &mut rest, line)
                    // A program that does not listen any more has its reasons.
                    && error.kind() != io::ErrorKind::BrokenPipe
                    && !std::mem::replace(&mut told, true)
                {
                    warn!("cannot write to stdout: {error}: events are missing there (told once)");
                }
            }
            drop(writing);
        });
        Self { sender: RefCell::new(Some(sender)), written, dropped: Cell::new(false) }
    }

    /// Lines for stdout.
    pub(super) fn to_stdout() -> Self {
        Self::to(io::stdout())
    }

    /// Adds a line. It is dropped where too many wait to be read.
    pub(super) fn tell(&self, line: String) {
        let Some(sender) = &*self.sender.borrow() else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(line)
            && !self.dropped.replace(true)
        {
            warn!("nobody reads stdout: events that it cannot take are dropped (told once)");
        }
    }

    /// Waits until all of them are written, for a second at most.
    pub(super) fn finish(&self) {
        self.sender.take();
        if let Err(RecvTimeoutError::Timeout) = self.written.recv_timeout(FINISH_WITHIN) {
            warn!("nobody reads stdout: the last events are dropped");
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
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line only when it is allowed to.
    struct Slow(Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let ((allow, allowed), (sender, written)) = (mpsc::channel(), mpsc::channel());
        let lines = Lines::to(Slow(allowed, sender));
        for number in 0..2 * MOST_WAITING {
            lines.tell(number.to_string());
        }
        assert!(lines.dropped.get());
        // It reads after all: what waited is there, in order.
        for _ in 0..4 * MOST_WAITING {
            allow.send(()).unwrap();
        }
        lines.finish();
        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert!(written.starts_with(b"0\n1\n2\n"));
    }

    /// A disk that is full now and then.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = bytes.len().min(self.1);
            if written == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1 -= written;
            self.0.extend_from_slice(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_whole_or_not_at_all() {
        let (mut disk, mut rest) = (Disk(Vec::new(), 0), Vec::new());
        for (room, line, is_taken) in
            [(0, "one", false), (2, "two", false), (0, "three", false), (9, "four", true)]
        {
            disk.1 = room;
            assert_eq!(write(&mut disk, &mut rest, line.to_owned()).is_ok(), is_taken, "{line}");
        }
        assert_eq!(String::from_utf8(disk.0).unwrap(), "two\nfour\n");
    }

    #[test]
    fn all_is_written_before_the_end() {
        let (sender, written) = mpsc::channel();
        let (allow, allowed) = mpsc::channel();
        for _ in 0..20 {
            allow.send(()).unwrap();
        }
        let lines = Lines::to(Slow(allowed, sender));
        lines.tell("one".to_owned());
        lines.tell("two".to_owned());
        lines.finish();
        assert_eq!(written.try_iter().flatten().collect::<Vec<u8>>(), b"one\ntwo\n");
    }
}
