//! The profile file that the vendor's tools write. It is only read here.
//!
//! Nobody knows every field of it, and every tool writes it a little differently: unknown fields
//! are ignored, and a number may stand where text is expected and the other way round.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::error::Error;
use super::host::Host;
use super::{ini, json};

/// The most that is read of a profile file, in bytes; thousands of profiles fit.
const MAX_FILE: u64 = 1 << 20;

/// A file that was read and understood.
#[derive(Debug)]
pub(super) struct ProfileFile {
    pub(super) path: PathBuf,
    /// The name of the profile that is used when none is asked for.
    pub(super) current: Option<String>,
    /// Those that have a name, in the file's order.
    pub(super) profiles: Vec<Profile>,
    /// Whether it is the ini file of the vendor's SDKs, whose sections are its profiles.
    pub(super) is_ini: bool,
}

/// One profile. Without `Debug` of its fields: secrets are among them.
pub(super) struct Profile {
    pub(super) name: String,
    fields: Map<String, Value>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ProfileFile {
    /// A file at a path, of which no profile is known.
    pub(super) fn empty(path: PathBuf) -> Self {
        Self { path, current: None, profiles: Vec::new(), is_ini: false }
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn read(path: &Path, host: &dyn Host) -> Result<Option<Self>, Error> {
        read_bytes(path, host)?.map(|bytes| Self::of(path, &bytes)).transpose()
    }

    /// A file with this content.
    pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_owned();
        match parse(bytes) {
            Ok((current, profiles)) => Ok(Self { path, current, profiles, is_ini: false }),
            Err(problem) => Err(Error::Unusable { path, problem }),
        }
    }

    /// Reads the ini file of the vendor's SDKs; `None` if there is none.
    pub(super) fn read_ini(path: &Path, host: &dyn Host) -> Result<Option<Self>, Error> {
        let Some(bytes) = read_bytes(path, host)? else { return Ok(None) };
        let path = path.to_owned();
        match ini::sections(&bytes) {
            Ok(found) => {
                let profiles = found.into_iter().map(|(name, fields)| Profile { name, fields });
                Ok(Some(Self { path, current: None, profiles: profiles.collect(), is_ini: true }))
            }
            Err(problem) => Err(Error::Unusable { path, problem }),
        }
    }

    /// The first profile of this name, as the vendor's tools take it.
    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        let mut named = self.profiles.iter().filter(|profile| profile.name == name);
        let first = named.next();
        if named.next().is_some() {
            let file = self.path.display();
            let text = format!("{file} has more than one profile '{name}': the first is used");
            warn_once(&text, || tracing::warn!("{text}"));
        }
        first
    }

    /// The names of its profiles, each once.
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.profiles)
    }
}

/// The names of profiles, each once.
pub(super) fn names<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for profile in profiles {
        if !names.contains(&profile.name) {
            names.push(profile.name.clone());
        }
    }
    names
}

impl Profile {
    pub(super) fn new(name: String, fields: Map<String, Value>) -> Self {
        Self { name, fields }
    }

    /// A field's text; `None` if it is missing, empty, or no text or number.
    pub(super) fn text(&self, field: &str) -> Option<String> {
        json::text(&self.fields, field)
    }

    /// All of its fields.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// `sts_expiration`: seconds since the epoch, or a time as RFC 3339 has it; 0 is none.
    pub(super) fn expiration(&self) -> Option<SystemTime> {
        json::time(&self.text("sts_expiration")?)
    }
}

/// The file's content; `None` if there is no file.
fn read_bytes(path: &Path, host: &dyn Host) -> Result<Option<Vec<u8>>, Error> {
    let unreadable = |problem| Error::Unreadable { path: path.to_owned(), problem };
    let unusable =
        |problem: &str| Error::Unusable { path: path.to_owned(), problem: problem.to_owned() };

    // Windows opens no folders.
    if path.is_dir() {
        return Err(unusable("it is a folder"));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            return match std::fs::symlink_metadata(path) {
                Ok(_) => Err(unusable("it is a link to a file that does not exist")),
                Err(_) => Ok(None),
            };
        }
        Err(problem) => return Err(unreadable(problem)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    warn_if_shared(path, &metadata, host);
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unusable("it is larger than 1 MiB"));
    }
    Ok(Some(bytes))
}

#[cfg(unix)]
fn warn_if_shared(path: &Path, metadata: &std::fs::Metadata, host: &dyn Host) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        warn_once(&format!("{mode} {}", path.display()), || host.warn_of_shared(path, mode));
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &std::fs::Metadata, _: &dyn Host) {}

/// Warns of something that stays as it is however often the file is read.
fn warn_once(what: &str, warn: impl FnOnce()) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned()) {
        warn();
    }
}

/// `current` and the profiles; or what is wrong, in words that hold nothing of the content.
fn parse(bytes: &[u8]) -> Result<(Option<String>, Vec<Profile>), String> {
    let mut top = json::object(bytes)?;
    let current = match top.get("current") {
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    let list = match top.remove("profiles") {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err("its 'profiles' is not a list".into()),
    };
    let profiles = list.into_iter().filter_map(|value| match value {
        Value::Object(fields) => {
            let name = fields.get("name")?.as_str()?.to_owned();
            Some(Profile { name, fields })
        }
        _ => None,
    });
    Ok((current, profiles.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(content: &[u8]) -> String {
        parse(content).map(|_| ()).unwrap_err()
    }

    #[test]
    fn what_is_not_json_is_placed_and_not_shown() {
        assert_eq!(problem(b"{\n \"secret-thing\" oops"), "it is not JSON, at line 2, column 17");
        assert!(problem(b"{\"a\": \"hush").contains("ends too early"));
        assert!(problem(b"{\"a\": \"\xff\"}").contains("not JSON"));
        assert_eq!(problem(b" \n"), "it is empty");
        assert_eq!(problem(b"\xef\xbb\xbf"), "it is empty");
        assert!(problem(b"\xff\xfe{\0").contains("UTF-16"));
        assert!(problem(b"[]").contains("not an object"));
        assert!(problem(b"{\"profiles\":{}}").contains("not a list"));
    }

    #[test]
    fn a_byte_order_mark_and_odd_profiles_are_tolerated() {
        let json =
            b"\xef\xbb\xbf{\"current\":\"b\",\"profiles\":[1,{\"mode\":\"AK\"},{\"name\":\"b\"}]}";
        let (current, profiles) = parse(json).unwrap();
        assert_eq!(current.as_deref(), Some("b"));
        assert_eq!(profiles.len(), 1);
    }

    #[test]
    fn the_first_of_a_name_is_taken() {
        let json = br#"{"profiles":[{"name":"p","mode":"1"},{"name":"q"},{"name":"p"}]}"#;
        let (current, profiles) = parse(json).unwrap();
        let file = ProfileFile { path: "/f".into(), current, profiles, is_ini: false };
        assert_eq!(file.get("p").unwrap().text("mode").as_deref(), Some("1"));
        assert_eq!(file.names(), ["p", "q"]);
    }

    #[test]
    fn files_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(ProfileFile::read(&path, &()).unwrap().is_none());
        let error = ProfileFile::read(folder.path(), &()).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
        std::fs::write(&path, vec![b' '; MAX_FILE as usize + 1]).unwrap();
        let error = ProfileFile::read(&path, &()).unwrap_err();
        assert!(error.to_string().contains("larger"), "{error}");
        // For Windows there is no such file.
        #[cfg(unix)]
        {
            let error = ProfileFile::read(&path.join("below"), &()).unwrap_err();
            assert!(matches!(error, Error::Unreadable { .. }), "{error}");
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(folder.path().join("nothing"), &link).unwrap();
            let error = ProfileFile::read(&link, &()).unwrap_err();
            assert!(error.to_string().contains("a link to"), "{error}");
        }
    }
}
