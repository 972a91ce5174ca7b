//! The file system as the sftp subsystem sees it: blocking, and no jail.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, FileTimes, Metadata, OpenOptions, Permissions, ReadDir};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown, symlink,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh_sftp::protocol::{File, FileAttributes, OpenFlags, StatusCode};
use russh_sftp::server::StatusReply;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Entries of a directory in one reply.
const NAMES_AT_ONCE: usize = 100;

type Result<T> = std::result::Result<T, StatusReply>;

/// The open files and directories of one sftp session.
pub(super) struct Files {
    root: PathBuf,
    open: HashMap<String, Open>,
    next: u64,
}

enum Open {
    File(fs::File),
    Directory(ReadDir),
}

impl Files {
    /// More handles than this are refused.
    pub(super) const MAX_OPEN: usize = 256;

    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, open: HashMap::new(), next: 0 }
    }

    pub(super) fn open(
        &mut self,
        path: &str,
        flags: OpenFlags,
        attributes: &FileAttributes,
    ) -> Result<String> {
        let mode = attributes.permissions.unwrap_or(0o666) & 0o777;
        let file = OpenOptions::from(flags).mode(mode).open(self.path(path)).map_err(status)?;
        self.keep(Open::File(file))
    }

    pub(super) fn open_dir(&mut self, path: &str) -> Result<String> {
        let entries = fs::read_dir(self.path(path)).map_err(status)?;
        self.keep(Open::Directory(entries))
    }

    pub(super) fn close(&mut self, handle: &str) -> Result<()> {
        self.open.remove(handle).map(drop).ok_or_else(unknown_handle)
    }

    pub(super) fn read(&self, handle: &str, offset: u64, length: u32) -> Result<Vec<u8>> {
        let mut data = vec![0; length as usize];
        let read = self.file(handle)?.read_at(&mut data, offset).map_err(status)?;
        if read == 0 && length > 0 {
            return Err(StatusCode::Eof.into());
        }
        data.truncate(read);
        Ok(data)
    }

    pub(super) fn write(&self, handle: &str, offset: u64, data: &[u8]) -> Result<()> {
        self.file(handle)?.write_all_at(data, offset).map_err(status)
    }

    pub(super) fn sync(&self, handle: &str) -> Result<()> {
        self.file(handle)?.sync_all().map_err(status)
    }

    pub(super) fn read_dir(&mut self, handle: &str) -> Result<Vec<File>> {
        let Some(Open::Directory(entries)) = self.open.get_mut(handle) else {
            return Err(unknown_handle());
        };
        let mut names = Vec::new();
        for entry in entries.take(NAMES_AT_ONCE) {
            let entry = entry.map_err(status)?;
            // An entry may be gone by now, which is no error of the listing.
            if let Ok(metadata) = entry.metadata() {
                names.push(listed(entry.file_name().to_string_lossy().into_owned(), &metadata));
            }
        }
        if names.is_empty() { Err(StatusCode::Eof.into()) } else { Ok(names) }
    }

    pub(super) fn stat(&self, path: &str) -> Result<FileAttributes> {
        Ok(attributes(&fs::metadata(self.path(path)).map_err(status)?))
    }

    pub(super) fn lstat(&self, path: &str) -> Result<FileAttributes> {
        Ok(attributes(&fs::symlink_metadata(self.path(path)).map_err(status)?))
    }

    pub(super) fn fstat(&self, handle: &str) -> Result<FileAttributes> {
        Ok(attributes(&self.file(handle)?.metadata().map_err(status)?))
    }

    pub(super) fn set_stat(&self, path: &str, wanted: &FileAttributes) -> Result<()> {
        let path = self.path(path);
        if let Some(size) = wanted.size {
            let file = OpenOptions::new().write(true).open(&path).map_err(status)?;
            file.set_len(size).map_err(status)?;
        }
        if let Some(mode) = wanted.permissions {
            fs::set_permissions(&path, permissions(mode)).map_err(status)?;
        }
        if let (Some(accessed), Some(modified)) = (wanted.atime, wanted.mtime) {
            let at = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
            let times = Timestamps { last_access: at(accessed), last_modification: at(modified) };
            utimensat(CWD, &path, &times, AtFlags::empty())
                .map_err(|errno| status(errno.into()))?;
        }
        if wanted.uid.is_some() || wanted.gid.is_some() {
            chown(&path, wanted.uid, wanted.gid).map_err(status)?;
        }
        Ok(())
    }

    pub(super) fn fset_stat(&self, handle: &str, wanted: &FileAttributes) -> Result<()> {
        let file = self.file(handle)?;
        if let Some(size) = wanted.size {
            file.set_len(size).map_err(status)?;
        }
        if let Some(mode) = wanted.permissions {
            file.set_permissions(permissions(mode)).map_err(status)?;
        }
        if let (Some(accessed), Some(modified)) = (wanted.atime, wanted.mtime) {
            let times = FileTimes::new().set_accessed(time(accessed)).set_modified(time(modified));
            file.set_times(times).map_err(status)?;
        }
        if wanted.uid.is_some() || wanted.gid.is_some() {
            fchown(file, wanted.uid, wanted.gid).map_err(status)?;
        }
        Ok(())
    }

    pub(super) fn make_dir(&self, path: &str, wanted: &FileAttributes) -> Result<()> {
        let mode = wanted.permissions.unwrap_or(0o777) & 0o777;
        DirBuilder::new().mode(mode).create(self.path(path)).map_err(status)
    }

    pub(super) fn remove_dir(&self, path: &str) -> Result<()> {
        fs::remove_dir(self.path(path)).map_err(status)
    }

    pub(super) fn remove(&self, path: &str) -> Result<()> {
        fs::remove_file(self.path(path)).map_err(status)
    }

    /// As the draft has it: it does not replace.
    pub(super) fn rename(&self, old: &str, new: &str) -> Result<()> {
        if fs::symlink_metadata(self.path(new)).is_ok() {
            return Err(StatusCode::Failure.with_message("the new name exists"));
        }
        self.replace(old, new)
    }

    /// As POSIX has it: it does.
    pub(super) fn replace(&self, old: &str, new: &str) -> Result<()> {
        fs::rename(self.path(old), self.path(new)).map_err(status)
    }

    pub(super) fn hard_link(&self, old: &str, new: &str) -> Result<()> {
        fs::hard_link(self.path(old), self.path(new)).map_err(status)
    }

    pub(super) fn symlink(&self, target: &str, link: &str) -> Result<()> {
        symlink(target, self.path(link)).map_err(status)
    }

    pub(super) fn read_link(&self, path: &str) -> Result<String> {
        text(&fs::read_link(self.path(path)).map_err(status)?)
    }

    /// The absolute path; its last part need not exist, as with OpenSSH's server.
    pub(super) fn real_path(&self, path: &str) -> Result<String> {
        let path = self.path(path);
        let real = match (path.canonicalize(), path.parent(), path.file_name()) {
            (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                parent.canonicalize().map(|parent| parent.join(name))
            }
            (result, ..) => result,
        };
        text(&real.map_err(status)?)
    }

    /// [`real_path`](Self::real_path) after `~`, which is the root directory.
    pub(super) fn expand_path(&self, path: &str) -> Result<String> {
        match path.strip_prefix('~') {
            Some("") => self.real_path("."),
            Some(rest) if rest.starts_with('/') => self.real_path(rest.trim_start_matches('/')),
            Some(_) => Err(StatusCode::NoSuchFile.with_message("no such user here")),
            None => self.real_path(path),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn keep(&mut self, open: Open) -> Result<String> {
        if self.open.len() >= Self::MAX_OPEN {
            return Err(StatusCode::Failure.with_message("too many open files"));
        }
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Ok(handle)
    }

    fn file(&self, handle: &str) -> Result<&fs::File> {
        match self.open.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(unknown_handle()),
        }
    }
}

fn unknown_handle() -> StatusReply {
    StatusCode::Failure.with_message("no such handle")
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn status(error: io::Error) -> StatusReply {
    let code = match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        io::ErrorKind::Unsupported => StatusCode::OpUnsupported,
        _ => StatusCode::Failure,
    };
    code.with_message(error.to_string())
}

fn permissions(mode: u32) -> Permissions {
    Permissions::from_mode(mode & 0o7777)
}

fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| StatusCode::Failure.with_message("not UTF-8"))?;
    Ok(text.to_owned())
}

/// The crate's own conversion calls everything but a directory a regular file.
fn attributes(metadata: &Metadata) -> FileAttributes {
    let seconds = |time: i64| u32::try_from(time).unwrap_or_default();
    FileAttributes {
        size: Some(metadata.len()),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        permissions: Some(metadata.mode()),
        atime: Some(seconds(metadata.atime())),
        mtime: Some(seconds(metadata.mtime())),
        ..FileAttributes::default()
    }
}

fn listed(name: String, metadata: &Metadata) -> File {
    let mut file = File::new(name, attributes(metadata));
    if metadata.is_symlink() {
        file.longname.replace_range(..1, "l");
    }
    file
}
