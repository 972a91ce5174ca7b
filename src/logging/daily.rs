//! The log that is always written: what was done and every failure, at the level of `-v`.
//!
//! A folder has a file a day (`2026-11-28.log`), and a further part of that day (`2026-11-28.1.log`)
//! once a file is large. All processes append, one write a line. Whoever makes a file deletes those
//! that are too old, and the oldest where all together are too large. There are no locks. Nothing
//! here fails a command: what cannot be written is missing.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::failure::{self, LastFailure};
use crate::cache;
use crate::credentials::home;

/// How long files are kept.
pub(super) const KEPT: Duration = Duration::from_secs(7 * cache::DAY.as_secs());
/// The most that all files may have, in bytes.
const MOST: u64 = 10_000_000;
/// After so many bytes a day's log goes on in another file.
const PART: u64 = 2_000_000;
/// What processes that write at once may add to a part that is full.
const MARGIN: u64 = 200_000;
/// The longest line, in bytes.
const MAX_LINE: usize = 8_192;

/// The folder of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// The name of a file of the log. Names are in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Such as 2026-11-28, in UTC.
    pub day: String,
    /// Which file of this day it is.
    pub part: u32,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_suffix(".log")?;
        let (day, part) = match name.split_once('.') {
            Some((day, part)) => (day, part.parse().ok().filter(|part| *part > 0)?),
            None => (name, 0),
        };
        let is_day = day.len() == 10
            && day.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        is_day.then(|| Self { day: day.to_owned(), part })
    }

    fn file_name(&self) -> String {
        match self.part {
            0 => format!("{}.log", self.day),
            part => format!("{}.{part}.log", self.day),
        }
    }
}

impl Folder {
    /// The log folder of the user that this process runs for.
    pub fn of_process() -> Option<Self> {
        Self::of_user(&|name| std::env::var_os(name), home().as_deref())
    }

    /// The user's log folder; `env` gives a variable of the environment. `None` if there is no home
    /// folder.
    fn of_user(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Option<Self> {
        let given = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(state) = given("XDG_STATE_HOME") {
            return Some(Self(state.join("ecs-bridge").join("log")));
        }
        if cfg!(target_os = "macos") {
            return Some(Self(home?.join("Library/Logs/ecs-bridge")));
        }
        if let Some(local) = given("LOCALAPPDATA").filter(|_| cfg!(windows)) {
            return Some(Self(local.join("ecs-bridge").join("log")));
        }
        Some(Self(home?.join(".local/state/ecs-bridge/log")))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of one of its files.
    pub fn file(&self, name: &Name) -> PathBuf {
        self.0.join(name.file_name())
    }

    /// Its log files, the oldest first; none if there is no folder.
    pub fn files(&self) -> Vec<Name> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    /// Makes it, its owner's alone.
    fn make(&self) -> io::Result<()> {
        cache::refuse_as_root(&self.0)?;
        #[cfg_attr(not(unix), allow(unused_mut))]
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.0)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

            let found = fs::metadata(&self.0)?;
            if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 != 0 {
                fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))?;
            }
        }
        cache::trusted(&self.0).map_err(io::Error::other)
    }

    /// Deletes files that are too old, and the oldest where there is too much beside `new`.
    fn prune(&self, new: &Name, now: SystemTime) {
        let oldest = now.checked_sub(KEPT).map(day).unwrap_or_default();
        let mut kept: Vec<(Name, u64)> = Vec::new();
        for name in self.files().into_iter().filter(|name| name != new) {
            match fs::metadata(self.file(&name)) {
                // Another process may have deleted it.
                Err(_) => {}
                Ok(_) if name.day < oldest => self.delete(&name),
                Ok(found) => kept.push((name, found.len())),
            }
        }
        let mut total: u64 = kept.iter().map(|(_, length)| length).sum();
        for (name, length) in kept {
            if total + PART + MARGIN <= MOST {
                break;
            }
            self.delete(&name);
            total -= length;
        }
        failure::sweep(&self.0, cache::DAY, now);
    }

    fn delete(&self, name: &Name) {
        let _ = fs::remove_file(self.file(name));
    }
}

fn day(time: SystemTime) -> String {
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate(10);
    text
}

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
#[path = "daily_tests.rs"]
mod tests;
