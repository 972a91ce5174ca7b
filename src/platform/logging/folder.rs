//! The folder of the daily log, and the names of its files.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::credentials::home;
use crate::platform::cache;

/// How long files are kept.
pub(super) const KEPT: Duration = Duration::from_secs(7 * cache::DAY.as_secs());
/// The most that all files may have, in bytes.
pub(super) const MOST: u64 = 10_000_000;
/// After so many bytes a day's log goes on in another file.
pub(super) const PART: u64 = 2_000_000;
/// What processes that write at once may add to a part that is full.
const MARGIN: u64 = 200_000;

/// The folder of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

/// The name of a file of the log. Names are in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Such as 2026-11-28, in UTC.
    pub day: String,
    /// Which file of this day it is.
    pub part: u32,
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
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

    pub(super) fn file_name(&self) -> String {
        match self.part {
            0 => format!("{}.log", self.day),
            part => format!("{}.{part}.log", self.day),
        }
    }
}

impl Folder {
    /// The log folder of the user that this process runs for.
    pub(crate) fn of_process() -> Option<Self> {
        Self::of_user(&|name| std::env::var_os(name), home().as_deref())
    }

    /// The user's log folder; `env` gives a variable of the environment. `None` if there is no home
    /// folder.
    pub(super) fn of_user(
        env: &dyn Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
    ) -> Option<Self> {
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
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &Name) -> PathBuf {
        self.0.join(name.file_name())
    }

    /// Its log files, the oldest first; none if there is no folder.
    pub(crate) fn files(&self) -> Vec<Name> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    /// Makes it, its owner's alone.
    pub(super) fn make(&self) -> io::Result<()> {
        cache::make(&self.0)?;
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
    pub(super) fn prune(&self, new: &Name, now: SystemTime) {
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
    }

    fn delete(&self, name: &Name) {
        let _ = fs::remove_file(self.file(name));
    }
}

/// The day of a time, in UTC, as files are named.
pub(crate) fn day(time: SystemTime) -> String {
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate(10);
    text
}
