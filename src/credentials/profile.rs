//! The profile file that the vendor's tools write. It is only read here.
//!
//! Nobody knows every field of it, and every tool writes it a little differently: unknown fields
//! are ignored, and a number may stand where text is expected and the other way round.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{Credentials, Error, Source};

/// The most that is read of a profile file, in bytes; thousands of profiles fit.
const MAX_FILE: u64 = 1 << 20;

/// The modes of the vendor's tools that are not supported yet.
const PLANNED: [&str; 9] = [
    "CredentialsURI",
    "EcsRamRole",
    "RamRoleArn",
    "RamRoleArnWithRoleName",
    "ChainableRamRoleArn",
    "OIDC",
    "External",
    "CloudSSO",
    "OAuth",
];

/// A file that was read and understood.
#[derive(Debug)]
pub(super) struct ProfileFile {
    pub(super) path: PathBuf,
    /// The name of the profile that is used when none is asked for.
    pub(super) current: Option<String>,
    /// Those that have a name, in the file's order.
    pub(super) profiles: Vec<Profile>,
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
    /// Reads a file; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        read_bytes(path)?.map(|bytes| Self::of(path, &bytes)).transpose()
    }

    /// A file with this content.
    pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_owned();
        match parse(bytes) {
            Ok((current, profiles)) => Ok(Self { path, current, profiles }),
            Err(problem) => Err(Error::Unusable { path, problem }),
        }
    }

    /// The first profile of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

impl Profile {
    /// A field's text; `None` if it is missing, empty, or no text or number.
    pub(super) fn text(&self, field: &str) -> Option<String> {
        let text = match self.fields.get(field)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// What the profile signs with.
    pub(super) fn credentials(&self, file: &Path, now: SystemTime) -> Result<Credentials, Error> {
        // A profile without a mode is of the oldest one.
        let mode = self.text("mode").unwrap_or_else(|| "AK".to_owned());
        let source =
            Source::Profile { name: self.name.clone(), file: file.to_owned(), mode: mode.clone() };
        let temporary = if mode.eq_ignore_ascii_case("AK") {
            false
        } else if mode.eq_ignore_ascii_case("StsToken") {
            true
        } else {
            let planned = PLANNED.iter().any(|known| mode.eq_ignore_ascii_case(known));
            let (name, file) = (self.name.clone(), file.to_owned());
            return Err(Error::UnsupportedMode { name, file, mode, planned });
        };

        let need = |field| {
            self.text(field)
                .ok_or_else(|| Error::MissingField { source_of_it: source.clone(), field })
        };
        let id = need("access_key_id")?;
        let secret = need("access_key_secret")?;
        let token = if temporary { Some(need("sts_token")?) } else { None };
        if let Some(at) = self.expiration().filter(|at| temporary && *at <= now) {
            return Err(Error::Expired { source_of_it: source, at, now });
        }
        Credentials::new(&id, &secret, token.as_deref(), source)
    }

    /// `sts_expiration`: seconds since the epoch, or a time as RFC 3339 has it; 0 is none.
    fn expiration(&self) -> Option<SystemTime> {
        let text = self.text("sts_expiration")?;
        let seconds: Option<f64> = text.parse().ok();
        match seconds {
            Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds)
                .ok()
                .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
                // The year 10000 and later cannot be written down, and are a slip.
                .filter(|at| *at < SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)),
            Some(_) => None,
            None => humantime::parse_rfc3339_weak(&text).ok(),
        }
    }
}

/// The file's content; `None` if there is no file.
fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let unreadable = |problem| Error::Unreadable { path: path.to_owned(), problem };
    let unusable =
        |problem: &str| Error::Unusable { path: path.to_owned(), problem: problem.to_owned() };

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
    if metadata.is_dir() {
        return Err(unusable("it is a folder"));
    }
    warn_if_shared(path, &metadata);
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unusable("it is larger than 1 MiB"));
    }
    Ok(Some(bytes))
}

#[cfg(unix)]
fn warn_if_shared(path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        tracing::warn!(
            "{} holds secrets and others may read or change it (mode {mode:03o}): chmod 600 it",
            path.display()
        );
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &std::fs::Metadata) {}

/// `current` and the profiles; or what is wrong, in words that hold nothing of the content.
fn parse(bytes: &[u8]) -> Result<(Option<String>, Vec<Profile>), String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".into());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|problem| {
        let (line, column) = (problem.line(), problem.column());
        if problem.is_eof() {
            format!("it is not JSON: it ends too early, at line {line}, column {column}")
        } else {
            format!("it is not JSON, at line {line}, column {column}")
        }
    })?;
    let Value::Object(mut top) = value else {
        return Err("it is JSON, but not an object".into());
    };
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
    use secrecy::ExposeSecret as _;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn credentials(fields: &str) -> Result<Credentials, Error> {
        let json = format!(r#"{{"profiles":[{{"name":"p",{fields}}}]}}"#);
        let (_, profiles) = parse(json.as_bytes()).unwrap();
        profiles[0].credentials(Path::new("/f"), now())
    }

    fn problem(content: &[u8]) -> String {
        parse(content).map(|_| ()).unwrap_err()
    }

    #[test]
    fn both_modes() {
        let found = credentials(
            r#""mode":"AK","access_key_id":"i","access_key_secret":" s ","sts_token":"x","new":{}"#,
        );
        let found = found.unwrap();
        assert_eq!(found.access_key_secret().expose_secret(), "s");
        assert!(found.security_token().is_none(), "mode AK has none, whatever else stands there");
        assert_eq!(found.source().to_string(), "profile 'p' of /f (mode AK)");

        let found = credentials(
            r#""mode":"ststoken","access_key_id":1,"access_key_secret":"s","sts_token":"t","sts_expiration":0"#,
        );
        let found = found.unwrap();
        assert_eq!(found.access_key_id(), "1");
        assert_eq!(found.security_token().unwrap().expose_secret(), "t");
    }

    #[test]
    fn a_missing_field_is_named() {
        for (fields, missing) in [
            (r#""mode":"AK","access_key_id":"","access_key_secret":"s""#, "access_key_id"),
            (r#""access_key_id":"i","access_key_secret":null"#, "access_key_secret"),
            (r#""mode":"StsToken","access_key_id":"i","access_key_secret":"s""#, "sts_token"),
        ] {
            let error = credentials(fields).unwrap_err();
            assert!(matches!(error, Error::MissingField { field, .. } if field == missing));
        }
    }

    #[test]
    fn expired_tokens_are_refused() {
        let sts = |expiration: &str| {
            credentials(&format!(
                r#""mode":"StsToken","access_key_id":"i","access_key_secret":"s","sts_token":"t","sts_expiration":{expiration}"#
            ))
        };
        for over in ["1700000000", "\"1699999999\"", "1.0", "\"2023-01-01T00:00:00Z\""] {
            assert!(matches!(sts(over), Err(Error::Expired { .. })), "{over}");
        }
        for good in ["1700000001", "\"\"", "null", "-5", "1e300", "\"soon\"", "\"NaN\""] {
            assert!(sts(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn other_modes_are_refused_by_name() {
        for (mode, expected) in [("RamRoleArn", true), ("RsaKeyPair", false), ("Magic", false)] {
            let error = credentials(&format!(r#""mode":"{mode}""#)).unwrap_err();
            assert!(
                matches!(&error, Error::UnsupportedMode { planned, .. } if *planned == expected)
            );
            let text = error.to_string();
            let yet = if expected { " yet" } else { "" };
            assert_eq!(text, format!("mode {mode} is not supported{yet} (profile 'p' of /f)"));
        }
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
    fn files_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(ProfileFile::read(&path).unwrap().is_none());
        let error = ProfileFile::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
        std::fs::write(&path, vec![b' '; MAX_FILE as usize + 1]).unwrap();
        let error = ProfileFile::read(&path).unwrap_err();
        assert!(error.to_string().contains("larger"), "{error}");
        let error = ProfileFile::read(&path.join("below")).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(folder.path().join("nothing"), &link).unwrap();
            let error = ProfileFile::read(&link).unwrap_err();
            assert!(error.to_string().contains("a link to"), "{error}");
        }
    }
}
