//! The last failure: one JSON object in `last-failure.json`, beside the log.
//!
//! The file is replaced by a rename, so that a reader never finds half of it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::folder::{Folder, KEPT};
use crate::explain::{Report, message, printable};

const FILE: &str = "last-failure.json";
/// How a file is called that is not whole yet.
const PREFIX: &str = ".last-failure-";
/// The most that is read, in bytes.
const MOST: u64 = 1 << 20;

/// A failure that ended a command, or a connection of `forward`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastFailure {
    /// When, in UTC as RFC 3339 has it.
    pub time: String,
    /// The command, without secrets.
    pub command: String,
    /// What happened.
    pub what: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The `RequestId` of the API's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The exit code that belongs to the failure.
    pub exit_code: u8,
}

impl LastFailure {
    pub(super) fn new(report: &Report, command: String, now: SystemTime) -> Self {
        let Report { what, why, fix, request_id, exit_code } = report.clone();
        let time = humantime::format_rfc3339_millis(now).to_string();
        Self { time, command, what, why, fix, request_id, exit_code: exit_code as u8 }
    }

    /// Reads the last failure; `None` if there is none, or none that can be read.
    pub(crate) fn read(folder: &Folder) -> Option<Self> {
        let mut text = String::new();
        let file = File::open(folder.path().join(FILE)).ok()?;
        file.take(MOST).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        // Readable by its owner alone.
        let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder.path())?;
        file.write_all(text.as_bytes())?;
        file.persist(folder.path().join(FILE))?;
        Ok(())
    }

    /// How long ago it was; `None` if its time is in the future.
    pub(crate) fn age(&self, now: SystemTime) -> Option<Duration> {
        let time = humantime::parse_rfc3339(&self.time).ok()?;
        now.duration_since(time).ok()
    }

    /// When it was and of which command, in one line.
    pub(crate) fn title(&self, now: SystemTime) -> String {
        let time = self.time.split('.').next().unwrap_or_default().trim_end_matches('Z');
        let ago = match self.age(now).map(|age| age.as_secs()) {
            None => String::new(),
            Some(seconds @ ..60) => format!(" ({seconds} s ago)"),
            Some(seconds @ ..3_600) => format!(" ({} min ago)", seconds / 60),
            Some(seconds @ ..86_400) => format!(" ({} h ago)", seconds / 3_600),
            Some(seconds) => format!(" ({} d ago)", seconds / 86_400),
        };
        printable(&format!("{time}Z{ago}: {}", self.command))
    }

    /// The message, as it was on stderr.
    pub(crate) fn report(&self) -> String {
        message(&self.what, [&self.why, &self.fix, &self.request_id])
    }
}

/// Deletes what a process has left that was ended while it wrote, and a failure that is too old.
pub(super) fn sweep(folder: &Path, after: Duration, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_partial = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let modified = entry.metadata().and_then(|found| found.modified()).ok();
        let age = modified.and_then(|modified| now.duration_since(modified).ok());
        let is_old = |limit| age.is_some_and(|age| age > limit);
        if is_partial && is_old(after) || entry.file_name() == FILE && is_old(KEPT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
