//! Files of the user's that are changed: read whole, and replaced whole or left as they are.
//!
//! A file is written beside itself and renamed, so that no reader ever gets half of it, and a link
//! stays a link. Two processes of this program wait for each other; what another program has
//! written meanwhile is noticed, and the change is made to that.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::task::JoinHandle;
use tracing::debug;

use super::cache;

/// The most that is read of a file, in bytes.
pub(crate) const MOST: u64 = 1 << 20;
/// How long to wait for another process that is changing a file of the same folder.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a change is made anew to what somebody else has written meanwhile.
const TRIES: u32 = 10;
/// How often Windows is asked again for a file that another process has open, and after which pauses: who looks
/// for viruses or makes an index opens what has just been written.
const OPEN_TRIES: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// As many links may lead to a file as the system follows.
const LINKS: u32 = 40;
/// How files are called that are not whole yet.
const PREFIX: &str = ".ecs-bridge-";

/// Who may read a file once it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its owner alone, whoever might before.
    Private,
    /// Whoever might before; its owner alone if it is new.
    Kept,
}

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It stays as it is.
    None,
    /// It has this content.
    To(Vec<u8>),
    /// It is removed.
    Gone,
}

/// Where a file is, or is to be.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    given: PathBuf,
    /// Behind all links.
    real: PathBuf,
}

impl Destination {
    /// Follows the links that a path may be. There need not be a file.
    ///
    /// # Errors
    /// [`Error::Link`] where they lead nowhere.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let lost = |problem: String| Error::Link { path: path.to_owned(), problem };
        let mut real = path.to_owned();
        for _ in 0..LINKS {
            let is_link = fs::symlink_metadata(&real).is_ok_and(|found| found.is_symlink());
            if !is_link {
                let place = Self { given: path.to_owned(), real };
                if place.real != place.given && !place.folder().is_dir() {
                    let folder = place.folder().display().to_string();
                    return Err(lost(format!("there is no folder {folder}")));
                }
                return Ok(place);
            }
            let to = fs::read_link(&real).map_err(|error| lost(error.to_string()))?;
            real = folder_of(&real).join(to);
        }
        Err(lost(format!("it leads to {LINKS} more links")))
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.given
    }

    /// The path behind all links.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    /// The folder that the file is in.
    pub(crate) fn folder(&self) -> &Path {
        folder_of(&self.real)
    }

    /// The file's content; `None` if there is no file.
    ///
    /// # Errors
    /// Where it is no plain file, too large, or cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        let failed = |problem| Error::Read { path: self.given.clone(), problem };
        let no_file = |what| Error::NotAFile { path: self.given.clone(), what };
        // To open a pipe would wait for somebody to write to it.
        match fs::metadata(&self.real) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(problem) => return Err(failed(problem)),
            Ok(found) if found.is_dir() => return Err(no_file("a folder")),
            Ok(found) if !found.is_file() => return Err(no_file("no plain file")),
            Ok(_) => {}
        }
        let file = File::open(&self.real).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MOST {
            return Err(Error::TooLarge { path: self.given.clone() });
        }
        Ok(Some(bytes))
    }

    /// Checks that the file could be written, before the user is prompted.
    ///
    /// # Errors
    /// As [`update`].
    pub(crate) fn probe(&self) -> Result<(), Error> {
        let found = self.found()?;
        if self.folder().is_dir() {
            let beside = self.beside().map_err(|problem| self.unwritten(problem))?;
            self.owned(&beside, found.as_ref(), Mode::Private)?;
        }
        Ok(())
    }

    fn beside(&self) -> io::Result<NamedTempFile> {
        // Its owner's alone until it is told otherwise.
        tempfile::Builder::new().prefix(PREFIX).tempfile_in(self.folder())
    }

    /// What there is, if it may be replaced.
    fn found(&self) -> Result<Option<Metadata>, Error> {
        let found = fs::metadata(&self.real).ok();
        match &found {
            Some(found) if found.permissions().readonly() => {
                Err(Error::ReadOnly { path: self.given.clone() })
            }
            _ => Ok(found),
        }
    }

    /// Puts a new content in the place of an old one; `false` if it is not the old one any more.
    async fn replace(&self, old: Option<&[u8]>, new: &[u8], mode: Mode) -> Result<bool, Error> {
        let found = self.found()?;
        let failed = |problem| self.unwritten(problem);
        let mut file = self.beside().map_err(failed)?;
        file.write_all(new).map_err(failed)?;
        self.owned(&file, found.as_ref(), mode)?;
        file.as_file().sync_all().map_err(failed)?;
        if self.read_once_free().await?.as_deref() != old {
            return Ok(false);
        }
        let mut tries = 0;
        while let Err(error) = file.persist(&self.real) {
            if !is_free_later(&error.error, &mut tries).await {
                return Err(failed(error.error));
            }
            file = error.file;
        }
        self.settle();
        Ok(true)
    }

    /// Removes the file; `false` if its content is another one by now.
    async fn remove(&self, old: Option<&[u8]>) -> Result<bool, Error> {
        if self.read_once_free().await?.as_deref() != old {
            return Ok(false);
        }
        let mut tries = 0;
        while let Err(error) = fs::remove_file(&self.real) {
            if error.kind() == io::ErrorKind::NotFound {
                break;
            }
            if !is_free_later(&error, &mut tries).await {
                return Err(self.unwritten(error));
            }
        }
        self.settle();
        Ok(true)
    }

    /// The same as [`Self::read`], and waits for another process that has the file to itself.
    async fn read_once_free(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut tries = 0;
        loop {
            let read = self.read();
            let is_held = match &read {
                Err(Error::Read { problem, .. }) => is_free_later(problem, &mut tries).await,
                _ => false,
            };
            if !is_held {
                return read;
            }
        }
    }

    /// Gives a file that is to be renamed the owner and the mode that it has to have.
    #[cfg(unix)]
    fn owned(
        &self,
        file: &NamedTempFile,
        found: Option<&Metadata>,
        mode: Mode,
    ) -> Result<(), Error> {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

        let failed = |problem| self.unwritten(problem);
        let Some(found) = found else { return Ok(()) };
        let own = file.as_file().metadata().map_err(failed)?;
        if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
            // As root, say: what was the user's stays the user's. The group matters less.
            let user = rustix::fs::Uid::from_raw(found.uid());
            let group = rustix::fs::Gid::from_raw(found.gid());
            let given = rustix::fs::fchown(file.as_file(), Some(user), Some(group));
            if given.is_err() && own.uid() != found.uid() {
                return Err(Error::Foreign { path: self.given.clone() });
            }
        }
        if mode == Mode::Kept {
            let mode = fs::Permissions::from_mode(found.mode() & 0o7777);
            file.as_file().set_permissions(mode).map_err(failed)?;
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn owned(&self, _: &NamedTempFile, _: Option<&Metadata>, _: Mode) -> Result<(), Error> {
        Ok(())
    }

    /// Syncs the folder, so that its new state survives a loss of power.
    fn settle(&self) {
        #[cfg(unix)]
        if let Err(error) = File::open(self.folder()).and_then(|folder| folder.sync_all()) {
            debug!("cannot sync {}: {error}", self.folder().display());
        }
    }

    fn unwritten(&self, problem: io::Error) -> Error {
        Error::Write { path: self.given.clone(), problem }
    }
}

/// Waits a moment where a file may be open in another process, which Windows tells by these errors; `false`
/// where it is not, or that takes too long.
async fn is_free_later(error: &io::Error, tries: &mut u32) -> bool {
    const ACCESS_DENIED: i32 = 5;
    const SHARING_VIOLATION: i32 = 32;
    const LOCK_VIOLATION: i32 = 33;
    let code = error.raw_os_error().filter(|_| cfg!(windows));
    let is_open = matches!(code, Some(ACCESS_DENIED | SHARING_VIOLATION | LOCK_VIOLATION));
    *tries += 1;
    if !is_open || *tries > OPEN_TRIES {
        return false;
    }
    debug!("another process may have the file open: {error}");
    tokio::time::sleep(OPEN_PAUSE).await;
    true
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Changes a file by what `edit` makes of its content, and gives what else `edit` gave. It is called
/// again if somebody else has changed the file meanwhile; the last call's result holds.
///
/// # Errors
/// What `edit` says, and [`Error`]; the file is as it was then.
pub(crate) async fn update<T, E: From<Error>>(
    place: &Destination,
    mode: Mode,
    mut edit: impl FnMut(Option<&[u8]>) -> Result<(Change, T), E>,
) -> Result<T, E> {
    let folder = place.folder();
    for _ in 0..TRIES {
        let lock = if folder.is_dir() { Some(lock(place).await?) } else { None };
        let old = place.read_once_free().await?;
        let (change, result) = edit(old.as_deref())?;
        let is_done = match change {
            Change::None => true,
            // The folder is made for a file that is written, and not before.
            Change::To(_) if lock.is_none() => {
                cache::make(folder).map_err(|problem| place.unwritten(problem))?;
                false
            }
            Change::To(new) => place.replace(old.as_deref(), &new, mode).await?,
            Change::Gone => place.remove(old.as_deref()).await?,
        };
        if is_done {
            return Ok(result);
        }
    }
    Err(Error::Busy { path: place.given.clone() }.into())
}

/// What is locked for a file or a folder: that itself, which leaves nothing behind, and can be locked where
/// nothing can be written.
#[cfg(unix)]
fn lock_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The file that is locked in place of `path` where folders cannot be opened: in the user's folder of
/// temporary files, so that nothing stays beside the user's own.
#[cfg(not(unix))]
fn lock_file(path: &Path) -> io::Result<File> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let digest = cache::digest(&[path.as_os_str().as_encoded_bytes()]);
    File::create(std::env::temp_dir().join(format!("ecs-bridge-{digest}.lock")))
}

/// Locks a file or a folder, once nobody else has it locked.
fn locked(path: &Path) -> JoinHandle<io::Result<File>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let file = lock_file(&path)?;
        file.lock().map(|()| file)
    })
}

/// Waits until no other process of this program changes a file of the folder. `None` where there
/// are no locks to be had: what others write is noticed without them, but for a moment.
async fn lock(place: &Destination) -> Result<Option<File>, Error> {
    let folder = place.folder();
    match tokio::time::timeout(PATIENCE, locked(folder)).await {
        Ok(Ok(Ok(file))) => Ok(Some(file)),
        Ok(Ok(Err(error))) => {
            debug!("{} is not locked: {error}", folder.display());
            Ok(None)
        }
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(Error::Busy { path: place.given.clone() }),
    }
}

/// Waits until no other process of this program holds the file by this function, and holds it until
/// the result is dropped. `None` where there are no locks to be had, or one took too long.
pub(crate) async fn hold(place: &Destination, patience: Duration) -> Option<File> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let locking = locked(&place.real);
        let file = tokio::time::timeout_at(deadline, locking).await.ok()?.ok()?.ok()?;
        if is_in_place(&file, place) {
            return Some(file);
        }
    }
}

/// Whether the file was not replaced while its lock was waited for.
#[cfg(unix)]
fn is_in_place(file: &File, place: &Destination) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |found: Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(&place.real)) {
        (Ok(held), Ok(found)) => id(held) == id(found),
        // There is nothing to wait for.
        _ => true,
    }
}

#[cfg(not(unix))]
fn is_in_place(_: &File, _: &Destination) -> bool {
    true
}

/// Why a file was not changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("{} cannot be read: {problem}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        problem: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{} is {what}", .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is too large.
    #[error("{} is larger than {} MiB", .path.display(), MOST >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A link that leads nowhere.
    #[error("{} is a link, and where it leads nothing can be written: {problem}", .path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// What is wrong there.
        problem: String,
    },
    /// It is read-only.
    #[error("{} is read-only: it was left as it is", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[cfg(unix)]
    #[error("{} belongs to another user: it was left as it is", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{} cannot be written: {problem}; it was left as it is", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        problem: io::Error,
    },
    /// Other programs kept changing it.
    #[error("another program is changing {}: it was left as it is", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests;
