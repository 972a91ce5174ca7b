//! Tests of `lines`.

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
        lines.push(number.to_string());
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
    lines.push("one".to_owned());
    lines.push("two".to_owned());
    lines.finish();
    assert_eq!(written.try_iter().flatten().collect::<Vec<u8>>(), b"one\ntwo\n");
}
