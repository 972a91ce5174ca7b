//! Where log lines and error messages go: stderr, or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::explain::{ExitCode, Explain};

/// The log file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log file {}: {source}", .path.display())]
pub struct LogFileError {
    path: PathBuf,
    source: io::Error,
}

impl Explain for LogFileError {
    fn remedy(&self) -> Option<String> {
        Some("give --log-file (or ECS_BRIDGE_LOG_FILE) a path that can be written".to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }
}

/// Starts logging. Only this crate's own events are logged: other crates' would show requests with
/// their signatures, and addresses with their tokens.
///
/// # Errors
/// When `file` cannot be opened to be appended to.
pub fn init(verbose: u8, quiet: bool, file: Option<&Path>) -> Result<(), LogFileError> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let level = match file {
        Some(_) => level.max(LevelFilter::INFO),
        None if quiet => LevelFilter::OFF,
        None => level,
    };
    let only_ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let registry = tracing_subscriber::registry().with(only_ours);
    // A second call, as tests may make, changes nothing.
    let _ = match file {
        Some(path) => {
            let file =
                open(path).map_err(|source| LogFileError { path: path.to_owned(), source })?;
            let file = LogFile::new(file, path, quiet);
            let lines = lines.with_ansi(false).with_writer(Mutex::new(file));
            tracing::subscriber::set_global_default(registry.with(lines))
        }
        None => {
            let lines = lines.without_time().with_ansi(io::stderr().is_terminal());
            tracing::subscriber::set_global_default(registry.with(lines.with_writer(|| Stderr)))
        }
    };
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A log file. What is logged goes on although it cannot be written any more: that is told, once.
struct LogFile<W> {
    file: W,
    path: PathBuf,
    /// Whether a line was begun and not ended.
    torn: bool,
    told: bool,
}

impl<W: Write> LogFile<W> {
    fn new(file: W, path: &Path, quiet: bool) -> Self {
        Self { file, path: path.to_owned(), torn: false, told: quiet }
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
            && !std::mem::replace(&mut self.told, true)
        {
            let error = LogFileError { path: self.path.clone(), source };
            tell(&format_args!(
                "ecs-bridge: warning: {error}; lines are missing there (told once)"
            ));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a message for the user to stderr.
pub fn tell(message: &dyn std::fmt::Display) {
    // Nobody is left to be told if this fails.
    let _ = Stderr.write_all(format!("{message}\n").as_bytes());
}

/// Stderr, where lines end so that they also look right on a terminal that ssh has in raw mode.
struct Stderr;

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
