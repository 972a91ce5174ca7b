//! The profile file and how a profile is chosen, fed by a fuzzer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::chain::resolve_from;
use super::profile::ProfileFile;
use super::{Error, Host, Query, Resolved, Setting, Source};

/// What secrets of the corpus begin with.
const MARK: &str = "hush";

/// A first line of what the program is called with, the two `options` of a profile and a file, each as
/// `OPTION=VALUE`, and `VARIABLE=VALUE` between blanks, and behind it the files: `config.json`, and after
/// a byte of 0 `config_ecs.json`.
///
/// `report` is how the program shows what was found.
pub fn config(
    input: &[u8],
    options: [&str; 2],
    host: &dyn Host,
    report: &dyn Fn(&Result<Resolved, Error>) -> String,
) {
    let (line, files) = split(input, b'\n');
    let line = String::from_utf8_lossy(line);
    let (first, second) = split(files, 0);
    let value = |name: &str| {
        line.split(' ').filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name)
    };
    let [profile, config] = options.map(value);
    let query = Query {
        profile: profile.map(|(origin, name)| given(name.to_owned(), origin)),
        region: None,
        config: config.map(|(origin, path)| given(PathBuf::from(path), origin)),
        // What the machine has must not matter.
        env: &|name| match name.ends_with("CREDENTIALS_FILE") {
            true => None,
            false => value(name).map(|(_, value)| OsString::from(value)),
        },
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        home: Some(PathBuf::from("/home")),
        file: None,
        host,
    };
    let read = |path: &Path| match path.file_name().and_then(|name| name.to_str()) {
        Some("config_ecs.json") if files.contains(&0) => ProfileFile::of(path, second).map(Some),
        Some("config.json") => ProfileFile::of(path, first).map(Some),
        _ => Ok(None),
    };

    let resolved = resolve_from(&query, &read);
    let again = resolve_from(&query, &read);
    assert_eq!(format!("{resolved:?}"), format!("{again:?}"), "another choice");
    if let Ok(resolved) = &resolved {
        assert_chosen(resolved, &query, &[first, second]);
    }
    let shown = format!("{resolved:?} {}", report(&resolved));
    // Names may be shown, whatever they are.
    let is_told =
        line.contains(MARK) || [first, second].iter().any(|file| names(file).contains(MARK));
    assert!(is_told || !shown.contains(MARK), "a secret is shown: {shown}");
}

fn given<T>(value: T, origin: &str) -> Setting<T> {
    Setting { value, origin: origin.to_owned() }
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == at) {
        Some(place) => (&bytes[..place], &bytes[place + 1..]),
        None => (bytes, b""),
    }
}

fn profiles(file: &[u8]) -> (Option<Value>, Vec<Value>) {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut file: Value = serde_json::from_slice(file).unwrap_or_default();
    let list = file.get_mut("profiles").map(Value::take);
    let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
    (file.get("current").cloned(), list)
}

/// All of a file that a message or a log may show.
fn names(file: &[u8]) -> String {
    let (current, profiles) = profiles(file);
    let public = [
        "name",
        "mode",
        "access_key_id",
        "region_id",
        "sts_region",
        "endpoint",
        "endpoint_type",
        "source_profile",
    ];
    let fields = profiles.iter().flat_map(|profile| public.map(|name| text(profile, name)));
    let current = current.iter().map(Value::to_string);
    fields.chain(current).collect()
}

/// All that stands under a name, however it is written.
fn text(profile: &Value, name: &str) -> String {
    let fields = profile.as_object().into_iter().flatten();
    let named = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| format!("{value}\n")).collect()
}

/// Credentials that stand in a profile are those of the one that was asked for, else of the current
/// one, whole; and so is the way to others.
fn assert_chosen(resolved: &Resolved, query: &Query<'_>, files: &[&[u8]]) {
    let source = resolved.credential_source.source();
    let asked = query.profile.as_ref().map(|asked| &asked.value).filter(|asked| !asked.is_empty());
    let Source::Profile { name, mode, .. } = source else {
        assert_eq!(asked, None, "not what was asked for");
        return;
    };
    if let Some(asked) = asked {
        assert_eq!(name, asked, "not what was asked for");
    }
    let Some(cached) = resolved.credential_source.cached() else { return };
    let credentials = &cached.credentials;
    let secret = credentials.access_key_secret().expose_secret();
    let token = credentials.security_token().map(|token| token.expose_secret());
    for part in [Some(credentials.access_key_id()), Some(secret), token].into_iter().flatten() {
        assert!(!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic()), "{part:?}");
    }
    assert_eq!(["StsToken", "CloudSSO", "OAuth"].contains(&mode.as_str()), token.is_some());
    let is_it = |profile: &Value| {
        let has = |field, part: &str| {
            let quoted = Value::from(part).to_string();
            let mut lines = text(profile, field);
            lines.retain(|c| c != '\n');
            lines.contains(&quoted[1..quoted.len() - 1])
        };
        profile.get("name").and_then(Value::as_str) == Some(name)
            && has("access_key_secret", secret)
            && has("access_key_id", credentials.access_key_id())
            && token.is_none_or(|token| has("sts_token", token))
    };
    assert!(files.iter().any(|file| profiles(file).1.iter().any(is_it)), "parts of two profiles");
}
