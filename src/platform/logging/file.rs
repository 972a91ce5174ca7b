//! The file of `--log-file`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::stderr::eprint;
use crate::explain::{ExitCode, UsageError};

/// The log file cannot be written.
pub(super) fn unwritten(path: &Path, source: &io::Error) -> UsageError {
    let remedy = "give --log-file (or ECS_BRIDGE_LOG_FILE) a path that can be written";
    UsageError::new(format!("cannot write the log file {}: {source}", path.display()), remedy)
        .exits(ExitCode::Config)
}

/// A log file. What is logged goes on although it cannot be written any more: that is told, once.
pub(super) struct LogFile<W> {
    file: W,
    path: PathBuf,
    /// Whether a line was begun and not ended.
    torn: bool,
    reported: bool,
}

impl<W: Write> LogFile<W> {
    pub(super) fn new(file: W, path: &Path, quiet: bool) -> Self {
        Self { file, path: path.to_owned(), torn: false, reported: quiet }
    }

    fn add(&mut self, mut line: &[u8]) -> io::Result<()> {
        if self.torn {
            // What is written now has nothing to do with what is there of the last line.
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        while !line.is_empty() {
            match self.file.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    line = &line[written..];
                    self.torn = !line.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for LogFile<W> {
    /// Takes whole lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(source) = self.add(bytes)
            && !std::mem::replace(&mut self.reported, true)
        {
            let error = unwritten(&self.path, &source);
            eprint(&format_args!(
                "ecs-bridge: warning: {error}; some log lines were not written (shown once)"
            ));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room, and a disk that is full beyond it.
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = bytes.len().min(self.room);
            if written == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= written;
            self.text.extend_from_slice(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_mixes_none() {
        let disk = Disk { text: Vec::new(), room: 8 };
        let mut log = LogFile::new(disk, Path::new("log"), true);
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two of it\n").unwrap();
        log.write_all(b"three\n").unwrap();
        log.file.room = 100;
        log.write_all(b"four\n").unwrap();
        log.write_all(b"five\n").unwrap();
        assert_eq!(String::from_utf8(log.file.text).unwrap(), "one\ntwo \nfour\nfive\n");
    }
}
