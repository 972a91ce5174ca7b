//! The cache, for a time from one run to the next: `$XDG_CACHE_HOME/ecs-bridge`, or where the system
//! has its caches (`~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`).
//!
//! One small file an entry, so that processes at the same time never overwrite each other's entries.
//! Nothing here is needed: after a failure the API is called again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

/// The longest time that anything is remembered for.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How the names of files begin that are being written.
const UNFINISHED: &str = ".tmp";
/// The most that is read of an entry, in bytes.
const MAX_ENTRY: u64 = 2 * 1024 * 1024;
/// The most entries of one kind that are read together.
const MAX_ENTRIES: usize = 1_000;

/// A folder of entries, or none, where nothing is cached.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Topic {
    file_name: String,
}

impl Topic {
    /// A topic of a kind, which is a word for file names, made of any parts. Those with other parts
    /// never meet.
    pub(crate) fn new(kind: &str, parts: &[&str]) -> Self {
        let digest = digest(parts);
        Self { file_name: format!("{kind}-{digest}.json") }
    }
}

/// A part of a file name that stands for other parts: 32 hexadecimal digits.
pub(super) fn digest(parts: &[impl AsRef<[u8]>]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
        digest.update([0]);
    }
    HEXLOWER.encode(&digest.finalize()[..16])
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    /// Seconds since the epoch.
    stored: f64,
    value: T,
}

impl Cache {
    /// The user's cache folder; `env` gives a variable of the environment.
    pub(crate) fn of_user(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Self {
        let given = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let local = if cfg!(windows) { given("LOCALAPPDATA") } else { None };
        let usual = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        let folder = given("XDG_CACHE_HOME")
            .or(local)
            .or_else(|| home.map(|home| home.join(usual)))
            .map(|folder| folder.join("ecs-bridge"));
        Self { folder }
    }

    /// A cache that keeps nothing.
    pub(crate) fn none() -> Self {
        Self { folder: None }
    }

    /// Where the entries are, if anything is remembered.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The entry of a topic, unless it is older than `within`, and when it was stored. A folder that is not
    /// trusted is reported, once.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        topic: &Topic,
        within: Duration,
        now: SystemTime,
    ) -> Option<(T, SystemTime)> {
        static REPORTED: AtomicBool = AtomicBool::new(false);

        let folder = self.folder.as_deref()?;
        let file = File::open(folder.join(&topic.file_name)).ok()?;
        if let Err(why) = trusted(folder) {
            if !REPORTED.swap(true, Ordering::Relaxed) {
                warn!("{} is not used: {why}", folder.display());
            }
            return None;
        }
        read(file, within, now)
    }

    /// The entries of all topics of a kind, except those older than `within`, in no order.
    pub(crate) fn all<T: DeserializeOwned>(
        &self,
        kind: &str,
        within: Duration,
        now: SystemTime,
    ) -> Vec<T> {
        let Some(folder) = self.folder.as_deref().filter(|folder| trusted(folder).is_ok()) else {
            return Vec::new();
        };
        let is_of_kind = |name: &str| name.strip_prefix(kind).is_some_and(|n| n.starts_with('-'));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let of_kind = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_of_kind));
        of_kind
            .take(MAX_ENTRIES)
            .filter_map(|entry| Some(read(File::open(entry.path()).ok()?, within, now)?.0))
            .collect()
    }

    /// Stores an entry, and gives whether it is stored. A failure is only logged; a disk that is full is
    /// reported, once.
    pub(crate) fn put<T: Serialize>(&self, topic: &Topic, value: &T, now: SystemTime) -> bool {
        static REPORTED: AtomicBool = AtomicBool::new(false);

        let Some(folder) = self.folder.as_deref() else { return false };
        let Err(error) = write(folder, &topic.file_name, value, now) else { return true };
        let (shown, each_time) = (folder.display(), "values are looked up each time");
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                if !REPORTED.swap(true, Ordering::Relaxed) =>
            {
                warn!("cannot write the cache {shown}: {error}; {each_time} (shown once)");
            }
            _ => info!("cannot write the cache {shown}: {error}; {each_time}"),
        }
        false
    }

    /// Deletes the entry of a topic.
    pub(crate) fn forget(&self, topic: &Topic) {
        if let Some(folder) = &self.folder {
            // An entry that does not exist is no failure.
            let _ = fs::remove_file(folder.join(&topic.file_name));
        }
    }

    /// Deletes all entries, and gives how many there were.
    ///
    /// # Errors
    /// The first one, after the other entries are deleted.
    pub(crate) fn clear(&self) -> io::Result<usize> {
        let Some(folder) = &self.folder else { return Ok(0) };
        let is_nothing = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        };
        let entries = match fs::read_dir(folder) {
            Err(error) if is_nothing(&error) => return Ok(0),
            entries => entries?,
        };
        let (mut count, mut failure) = (0, None);
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // A process that has ended while it wrote an entry leaves a file of the other name.
            if !is_entry(name) && !name.starts_with(UNFINISHED) {
                continue;
            }
            match fs::remove_file(entry.path()) {
                Ok(()) => count += usize::from(is_entry(name)),
                Err(error) if is_nothing(&error) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(count), Err)
    }
}

/// Whether a file of this name is an entry. On Windows the log is in the same folder.
fn is_entry(name: &str) -> bool {
    let digest = name.strip_suffix(".json").and_then(|name| name.rsplit_once('-'));
    digest.is_some_and(|(_, digest)| {
        digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn read<T: DeserializeOwned>(
    file: File,
    within: Duration,
    now: SystemTime,
) -> Option<(T, SystemTime)> {
    let mut text = String::new();
    file.take(MAX_ENTRY).read_to_string(&mut text).ok()?;
    let entry: Entry<T> = serde_json::from_str(&text).ok()?;
    let stored = Duration::try_from_secs_f64(entry.stored).ok()?;
    let stored = SystemTime::UNIX_EPOCH.checked_add(stored)?;
    // What was stored in the future was stored by a clock that was wrong.
    (now.duration_since(stored).ok()? < within).then_some((entry.value, stored))
}

fn write<T: Serialize>(folder: &Path, name: &str, value: &T, now: SystemTime) -> io::Result<()> {
    make(folder)?;
    trusted(folder).map_err(io::Error::other)?;
    sweep(folder, now);
    let stored = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let text = serde_json::to_string(&Entry { stored, value })?;
    // Readable by its owner alone, and renamed once it is whole.
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(folder.join(name))?;
    Ok(())
}

/// Refuses to make a folder as root below another user's: under sudo with the user's HOME, the user
/// could not write to it later.
#[cfg(unix)]
pub(crate) fn refuse_as_root(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let found = folder.ancestors().find_map(|above| fs::metadata(above).ok());
    match found {
        Some(found) if found.uid() != 0 => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is another user's, and root makes no folder there",
        )),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn refuse_as_root(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a folder that is its owner's alone, and those above it that are missing, too.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    refuse_as_root(folder)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Whether nobody else can put entries into a folder: host keys are among them.
#[cfg(unix)]
pub(crate) fn trusted(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;

    let found = fs::metadata(folder).map_err(|error| error.to_string())?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user".to_owned());
    }
    match found.mode() & 0o022 {
        0 => Ok(()),
        _ => Err("others can write to it (chmod go-w)".to_owned()),
    }
}

#[cfg(not(unix))]
pub(crate) fn trusted(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Removes what is too old to be of use.
fn sweep(folder: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > DAY + DAY) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
