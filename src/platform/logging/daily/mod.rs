//! The log that is always written: what was done and every failure, at the level of `-v`.
//!
//! A folder has a file a day (`2026-11-28.log`), and a further part of that day (`2026-11-28.1.log`)
//! once a file is large. All processes append, one write a line. Whoever makes a file deletes those
//! that are too old, and the oldest where all together are too large. There are no locks. Nothing
//! here fails a command: what cannot be written is missing.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::failure::{self, LastFailure};
use super::folder::{Folder, Name, PART, day};
use crate::platform::cache;

/// The longest line, in bytes.
const MAX_LINE: usize = 8_192;

/// The log of one process.
#[derive(Debug)]
pub(super) struct DailyLog {
    folder: Option<Folder>,
    /// Which process writes, and for what command and target.
    label: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<(Name, File)>,
    /// Whether a line was begun and not ended.
    torn: bool,
    /// Why something is missing.
    problem: Option<io::Error>,
}

impl DailyLog {
    pub(super) fn new(folder: Option<Folder>, label: String) -> Self {
        let label = format!("[{} {label}]", std::process::id());
        Self { folder, label, state: Mutex::default() }
    }

    /// Appends a line. Line breaks and other control characters in `text` are replaced.
    pub(super) fn line(&self, level: &str, text: &str) {
        self.line_at(SystemTime::now(), level, text);
    }

    fn line_at(&self, now: SystemTime, level: &str, text: &str) {
        let time = humantime::format_rfc3339_millis(now);
        let text = on_one_line(text);
        let mut line = format!("{time} {level:<5} {} {text}", self.label);
        if line.len() >= MAX_LINE {
            let end = (0..MAX_LINE - 4).rev().find(|at| line.is_char_boundary(*at));
            line.truncate(end.unwrap_or(0));
            line.push('…');
        }
        line.push('\n');
        let mut state = self.state();
        if let Err(error) = state.write(self.folder.as_ref(), now, line) {
            state.problem.get_or_insert(error);
        }
    }

    /// Keeps a failure as the last one.
    pub(super) fn keep_failure(&self, failure: &LastFailure) {
        let Some(folder) = &self.folder else { return };
        let kept = folder.make().and_then(|()| failure.write(folder));
        if let Err(error) = kept {
            self.state().problem.get_or_insert(error);
        }
    }

    /// Why something is missing, if it is.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.state();
        let problem = state.problem.as_ref()?;
        let Some(folder) = &self.folder else { return Some(problem.to_string()) };
        Some(format!("cannot write to {}: {problem}", folder.path().display()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, folder: Option<&Folder>, now: SystemTime, line: String) -> io::Result<()> {
        let Some(folder) = folder else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no home folder"));
        };
        self.open(folder, now)?;
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        let line = if self.torn { format!("\n{line}") } else { line };
        loop {
            match file.write(line.as_bytes()) {
                Ok(written) if written == line.len() => {
                    self.torn = false;
                    return Ok(());
                }
                // The rest of it would be mixed up with other processes' lines.
                Ok(written) => {
                    self.torn |= written > 0;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the file of this day, or a further part of it where that file is large.
    fn open(&mut self, folder: &Folder, now: SystemTime) -> io::Result<()> {
        let today = day(now);
        let open = self.open.take().filter(|(name, _)| name.day == today);
        if let Some((name, file)) = open
            && file.metadata()?.len() < PART
        {
            self.open = Some((name, file));
            return Ok(());
        }
        folder.make()?;
        self.torn = false;
        let newest = folder.files().into_iter().rev().find(|name| name.day == today);
        let mut name = newest.unwrap_or(Name { day: today, part: 0 });
        loop {
            let file = append_to(&folder.file(&name))?;
            let length = file.metadata()?.len();
            if length < PART {
                if length == 0 {
                    folder.prune(&name, now);
                    failure::sweep(folder.path(), cache::DAY, now);
                }
                self.open = Some((name, file));
                return Ok(());
            }
            name.part = name.part.checked_add(1).ok_or(io::ErrorKind::StorageFull)?;
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;

        // Neither a pipe that nobody reads nor a link to elsewhere.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    }
    options.open(path)
}

/// A text of several lines as one: `what; why: …; fix: …`.
fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Takes events to the daily log.
pub(super) struct DailyLayer(pub(super) &'static DailyLog);

impl<S: Subscriber> Layer<S> for DailyLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.line(event.metadata().level().as_str(), &(text.message + &text.fields));
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests;
