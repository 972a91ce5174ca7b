//! Credentials that a command line gives itself: fields in place of a profile's own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::chain::{Files, asked_region, current, finish, given, named_profile, resolve, unknown};
use super::credential_source::CredentialSource;
use super::env::{Environment, PREFIXES, PROFILES};
use super::error::Error;
use super::keys::Credentials;
use super::mode::{Mode, mode_of};
use super::modes::Reader;
use super::profile::{Profile, ProfileFile};
use super::query::{Query, Resolved, Setting};
use super::source::Source;

/// The prefixes of the variables of keys: ali-instance-cli reads them without one, too.
const KEY_PREFIXES: [&str; 4] = [PREFIXES[0], PREFIXES[1], PREFIXES[2], ""];

/// Fields of a profile that the command line gives. They go before those of the profile.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The fields, by their names in the file.
    pub fields: Vec<(&'static str, SecretString)>,
    /// Whether a profile goes before the variables of keys and of the region, as ali-instance-cli has
    /// it; no variable names a profile then.
    pub profile_first: bool,
    /// What gives the access key, in words for messages.
    pub key_origin: String,
}

impl Overrides {
    fn get(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, _)| *name == field);
        found.map(|(_, value)| value.expose_secret())
    }

    /// The keys, where the command line has a whole one and no mode that needs more than that.
    fn keys(&self) -> Option<Result<Credentials, Error>> {
        let (id, secret) = (self.get("access_key_id")?, self.get("access_key_secret")?);
        let mode = mode_of(|field| self.get(field).map(str::to_owned));
        let token = match Mode::parse(&mode) {
            Some((Mode::Ak, _)) => None,
            Some((Mode::StsToken, _)) => Some(self.get("sts_token")?),
            _ => return None,
        };
        let name = self.key_origin.clone();
        Some(Credentials::new(id, secret, token, Source::Custom { name }))
    }
}

/// The same as [`resolve`], with fields that the command line gives.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(query: &Query<'_>, overrides: &Overrides) -> Result<Resolved, Error> {
    if overrides.fields.is_empty() && !overrides.profile_first {
        return resolve(query);
    }
    let as_vendor = |name: &str| vendor_variable(query.env, name);
    let query = match overrides.profile_first {
        true => Query { env: &as_vendor, ..query.clone() },
        false => query.clone(),
    };
    let env = query.environment();
    let region = asked_region(&query, &env)?;
    let given_keys = overrides.keys().transpose()?;
    let read = &|path: &Path| ProfileFile::read(path, query.host);
    let files = Files::of(&query, &env)?;
    let loaded = match given_keys {
        Some(_) => files.load_if_sound(&query, read)?,
        None => files.load(read)?,
    };
    let base = match named_profile(&query, &env)? {
        Some(_) if files.is_elsewhere() => None,
        Some((name, asked_by)) => {
            let found = files.named(&loaded, &name);
            Some(found.ok_or_else(|| unknown(&name, asked_by, &loaded, None))?)
        }
        None => current(&loaded)?,
    };
    // A variable goes before a profile's region, unless the profile goes before variables.
    let of_profile = base.is_some_and(|(_, profile)| profile.text("region_id").is_some());
    let is_asked_for = given(&query.region).is_some();
    let region = region.filter(|_| is_asked_for || !(overrides.profile_first && of_profile));
    if let Some(credentials) = given_keys {
        let fixed = CredentialSource::of_keys(credentials);
        return finish(&env, fixed, region, base, false);
    }
    let mut fields = base.map(|(_, profile)| profile.fields().clone()).unwrap_or_default();
    if overrides.profile_first
        && lacks_keys(&fields)
        && let Some(found) = env.credentials(&KEY_PREFIXES)?
    {
        if overrides.fields.is_empty() {
            let fixed = CredentialSource::of_keys(found);
            return finish(&env, fixed, region, base, true);
        }
        fill(&mut fields, &found);
    }
    if base.is_none() && overrides.fields.is_empty() {
        return resolve(&query);
    }
    for (name, value) in &overrides.fields {
        fields.insert((*name).to_owned(), value.expose_secret().into());
    }
    if overrides.profile_first {
        fill_uri(&mut fields, &env)?;
    }
    let name = base.map_or("default", |(_, profile)| profile.name.as_str());
    let profile = Profile::new(name.to_owned(), fields);
    let none = ProfileFile::empty(PathBuf::from("the command line"));
    let file = base.map_or(&none, |(file, _)| file);
    let reader = Reader::new(&query, &env, &loaded, region.as_ref());
    let source = reader.profile(file, &profile)?;
    finish(&env, source, region, Some((file, &profile)), true)
}

/// A placeholder for a command that calls no API; `name` is what is shown as its source.
///
/// # Errors
/// None that can be expected.
pub fn placeholder(region: &str, name: &str) -> Result<Resolved, Error> {
    let source = Source::Custom { name: name.to_owned() };
    let credentials = Credentials::new("none", "none", None, source)?;
    Ok(Resolved {
        credential_source: CredentialSource::of_keys(credentials),
        region: Some(Setting { value: region.to_owned(), origin: name.to_owned() }),
        endpoint: None,
        endpoint_type: None,
    })
}

/// Whether a profile has no key at all, in a mode that needs no more than one: a key of two sources is
/// none.
fn lacks_keys(fields: &Map<String, Value>) -> bool {
    let text = |field: &str| super::json::text(fields, field);
    let mode = mode_of(text);
    (text("mode").is_none() || ["AK", "StsToken"].contains(&mode.as_str()))
        && text("access_key_id").is_none()
        && text("access_key_secret").is_none()
}

/// Fills the fields of keys with those of variables.
fn fill(fields: &mut Map<String, Value>, found: &Credentials) {
    let token = found.security_token().map(|token| token.expose_secret().to_owned());
    let values = [
        ("mode", Some(if token.is_some() { "StsToken" } else { "AK" }.to_owned())),
        ("access_key_id", Some(found.access_key_id().to_owned())),
        ("access_key_secret", Some(found.access_key_secret().expose_secret().to_owned())),
        ("sts_token", token),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.into());
        }
    }
}

/// Fills the URI of credentials from the environment, in the mode that needs one.
fn fill_uri(fields: &mut Map<String, Value>, env: &Environment<'_>) -> Result<(), Error> {
    let mode = mode_of(|field| super::json::text(fields, field));
    let needs_uri = matches!(Mode::parse(&mode), Some((Mode::CredentialsUri, _)))
        && super::json::text(fields, "credentials_uri").is_none();
    if needs_uri && let Some((_, uri)) = env.find_text("CREDENTIALS_URI")? {
        fields.insert("credentials_uri".to_owned(), uri.into());
    }
    Ok(())
}

/// A variable as ali-instance-cli reads it: none names a profile, and that of the region needs no prefix.
fn vendor_variable(env: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<OsString> {
    if PROFILES.contains(&name) {
        return None;
    }
    let own = env(name).filter(|value| !value.is_empty());
    let is_last = name.strip_prefix(PREFIXES[2]) == Some("REGION_ID");
    own.or_else(|| if is_last { env("REGION") } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// Resolves with a profile file, variables, and fields of the command line.
    fn resolved(
        file: &str,
        variables: &[(&str, &str)],
        fields: &[(&'static str, &str)],
        profile_first: bool,
    ) -> Result<Resolved, Error> {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".aliyun/config.json");
        std::fs::create_dir(config.parent().unwrap()).unwrap();
        std::fs::write(&config, file).unwrap();
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let query = Query {
            profile: None,
            region: None,
            config: None,
            env: &env,
            now: SystemTime::UNIX_EPOCH,
            home: Some(home.path().to_owned()),
            file: None,
            host: &(),
        };
        let fields = fields.iter().map(|(name, value)| (*name, SecretString::from(*value)));
        let (fields, key_origin) =
            (fields.collect(), "the command line (--access-key-id)".to_owned());
        resolve_with(&query, &Overrides { fields, profile_first, key_origin })
    }

    /// The id of the key.
    fn key(found: &Resolved) -> String {
        let account = found.credential_source.account();
        account.rsplit(": ").next().unwrap_or_default().to_owned()
    }

    const PROFILE: &str = r#"{"current":"p","profiles":[{"name":"p","mode":"AK",
        "access_key_id":"of-profile","access_key_secret":"s","region_id":"cn-beijing"}]}"#;
    const KEYS: [(&str, &str); 3] =
        [("ACCESS_KEY_ID", "bare"), ("ACCESS_KEY_SECRET", "s"), ("REGION", "cn-hangzhou")];

    #[test]
    fn the_command_line_goes_before_the_profile_and_the_environment() {
        let given = [("access_key_id", "given"), ("access_key_secret", "s")];
        for first in [false, true] {
            let found = resolved(PROFILE, &KEYS, &given, first).unwrap();
            assert_eq!(key(&found), "given");
            assert_eq!(found.region.unwrap().value, "cn-beijing");
            assert_eq!(
                found.credential_source.source().to_string(),
                "the command line (--access-key-id)"
            );
        }
        let found = resolved("{}", &[], &[("ram_role_name", "web")], false).unwrap();
        assert_eq!(found.credential_source.source().mode(), "EcsRamRole");
        let error = resolved("{}", &[], &[("access_key_id", "half")], false).unwrap_err();
        assert!(matches!(error, Error::MissingField { field: "access_key_secret", .. }), "{error}");
    }

    /// A command that runs for days looks again, and other files may be there by then.
    #[test]
    fn what_has_given_credentials_is_found_again() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let ask = |from: Option<(&str, &Path)>, fields: &[(&'static str, &str)]| {
            let query = Query {
                profile: from.map(|(name, _)| Setting { value: name.into(), ..Setting::default() }),
                region: None,
                config: None,
                env: &|_| None,
                now: SystemTime::UNIX_EPOCH,
                home: Some(home.path().to_owned()),
                file: from.map(|(_, file)| file.to_owned()),
                host: &(),
            };
            let fields = fields.iter().map(|(name, value)| (*name, SecretString::from(*value)));
            let (fields, key_origin) = (fields.collect(), String::new());
            let overrides = Overrides { fields, profile_first: true, key_origin };
            resolve_with(&query, &overrides).unwrap().credential_source
        };
        let again = |found: &CredentialSource, fields| match found.source() {
            Source::Profile { name, file, .. } | Source::Section { name, file, .. } => {
                assert_eq!(ask(Some((name, file)), fields), *found);
            }
            other => panic!("{other}"),
        };
        let line: &[_] = &[("ram_role_name", "web")];
        let of_line = ask(None, line);
        again(&of_line, line);
        let keys = "access_key_id = ini\naccess_key_secret = s\n";
        write(".alibabacloud/credentials", &format!("[default]\ntype = access_key\n{keys}"));
        let of_ini = ask(None, &[]);
        again(&of_ini, &[]);
        write(".aliyun/config.json", PROFILE);
        let of_file = ask(None, &[]);
        write(".aliyun/config_ecs.json", &PROFILE.replace("of-profile", "other"));
        assert_ne!(ask(None, &[]), of_file);
        again(&of_file, &[]);
        again(&of_ini, &[]);
        again(&of_line, line);
    }

    #[test]
    fn a_profile_goes_before_the_environment_where_it_is_to() {
        let account = |file, variables: &[_]| {
            let found = resolved(file, variables, &[], true).unwrap();
            (key(&found), found.region.map(|region| region.value))
        };
        let prefixed = KEYS.map(|(name, value)| match name {
            "REGION" => ("ALICLOUD_REGION_ID", value),
            "ACCESS_KEY_ID" => ("ALIBABA_CLOUD_ACCESS_KEY_ID", value),
            _ => ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", value),
        });
        for variables in [KEYS, prefixed] {
            let of_profile = ("of-profile".to_owned(), Some("cn-beijing".to_owned()));
            assert_eq!(account(PROFILE, &variables), of_profile);
            let of_variables = ("bare".to_owned(), Some("cn-hangzhou".to_owned()));
            assert_eq!(account("{}", &variables), of_variables);
            let empty = r#"{"current":"p","profiles":[{"name":"p","mode":"AK"}]}"#;
            assert_eq!(account(empty, &variables), of_variables);
        }
        let bare = resolved("{}", &KEYS, &[], true).unwrap();
        assert_eq!(bare.credential_source.source().to_string(), "the environment (ACCESS_KEY_ID)");
        let token = [&KEYS[..], &[("SECURITY_TOKEN", "t")]].concat();
        let token = resolved("{}", &token, &[], true).unwrap();
        let source = token.credential_source.source();
        assert!(matches!(source, Source::Environment { temporary: true, .. }), "{source}");
        let half = resolved("{}", &KEYS[..1], &[], true).unwrap_err();
        assert!(matches!(half, Error::HalfSet { missing, .. } if missing == "ACCESS_KEY_SECRET"));
        let uri = [("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1/keys")];
        let found = resolved("{}", &uri, &[("mode", "CredentialsURI")], true).unwrap();
        assert_eq!(found.credential_source.source().mode(), "CredentialsURI");
        let named = [("ALIBABA_CLOUD_PROFILE", "nobody")];
        assert_eq!(account(PROFILE, &named).0, "of-profile", "no variable names a profile");
    }
}
