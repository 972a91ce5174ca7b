//! The order in which credentials are looked for.
//!
//! A profile named by flag or environment; keys in the environment; OIDC in the environment; the
//! file's `current` profile; the ini file of the vendor's SDKs; the metadata service; a credentials
//! URI. The first that is there is taken, and if it cannot be used that is an error: to go on silently
//! would sign as someone else. Only the metadata service may be missing where no variable names it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::credential_source::{CredentialSource, Instance, SourceKind, no_uri};
use super::env::{Environment, PREFIXES, PROFILES};
use super::error::{Error, HOME_VARIABLE};
use super::host::Host;
use super::modes::Reader;
use super::problem::LookedAt;
use super::profile::{Profile, ProfileFile, names};
use super::query::{Query, Resolved, Setting, in_home};
use super::source::Source;

/// The folder of the vendor's tools, in the home folder.
pub(super) const FOLDER: &str = ".aliyun";

/// Read in this order, where no file is given by hand.
pub(super) const FILES: [&str; 2] = ["config_ecs.json", "config.json"];

/// The ini file of the vendor's SDKs, in the home folder.
const INI: [&str; 2] = [".alibabacloud", "credentials"];

/// The variable that holds an endpoint.
const ENDPOINT: &str = "ALIBABA_CLOUD_ENDPOINT";

/// Finds the source of the credentials, and the region and endpoint that belong to them.
///
/// # Errors
/// Whatever can be found out without asking anybody; nothing is sent or written.
pub fn resolve(query: &Query<'_>) -> Result<Resolved, Error> {
    resolve_from(query, &|path| ProfileFile::read(path, query.host))
}

/// The same as if one of the files had this content.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_as_if(query: &Query<'_>, file: &Path, content: &[u8]) -> Result<Resolved, Error> {
    resolve_from(query, &|path| match path == file {
        true => ProfileFile::of(path, content).map(Some),
        false => ProfileFile::read(path, query.host),
    })
}

/// What keeps each of these profiles from being used, as far as can be told without asking anybody.
///
/// # Errors
/// When the files cannot be read.
pub fn problems(query: &Query<'_>, names: &[&str]) -> Result<Vec<Option<Error>>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let env = query.environment();
    // Whether the files are forbidden does not matter to what is wrong with them.
    let files = ProfileFiles::of(query, &env);
    let files = files.load(&|path| ProfileFile::read(path, query.host))?;
    let region = asked_region(query, &env)?;
    let reader = Reader::new(query, &env, &files, region.as_ref());
    let problem = |name: &&str| {
        let found = files.iter().find_map(|file| Some((file, file.get(name)?)));
        let (file, profile) = found?;
        reader.profile(file, profile).and_then(|_| reader.place(file, profile)).err()
    };
    Ok(names.iter().map(problem).collect())
}

/// Reads a profile file; `None` if there is none.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Result<Option<ProfileFile>, Error>;

/// The same with files that something else reads.
pub(super) fn resolve_from(query: &Query<'_>, read: Read<'_>) -> Result<Resolved, Error> {
    let env = query.environment();
    let files = Files::of(query, &env)?;
    let region = asked_region(query, &env)?;
    let reader = |files| Reader::new(query, &env, files, region.as_ref());

    if let Some((name, asked_by)) = named_profile(query, &env)? {
        let mut loaded = files.load(read)?;
        if files.named(&loaded, &name).is_none() {
            loaded.extend(files.load_ini(query.host)?);
        }
        let (file, profile) = files
            .named(&loaded, &name)
            .ok_or_else(|| unknown(&name, asked_by, &loaded, files.forbidden_by.clone()))?;
        let credential_source = reader(&loaded).profile(file, profile)?;
        return finish(&env, credential_source, region, Some((file, profile)), true);
    }

    if let Some(credentials) = env.credentials(&PREFIXES)? {
        // The keys are of no profile: its endpoint is not theirs, but its region is a good guess.
        let loaded = files.load_if_sound(query, read)?;
        let current = current(&loaded).ok().flatten();
        let credential_source = CredentialSource::of_keys(credentials);
        return finish(&env, credential_source, region, current, false);
    }

    let role = env.find_text("ROLE_ARN")?;
    let provider = env.find_text("OIDC_PROVIDER_ARN")?;
    let token = env.find_text("OIDC_TOKEN_FILE")?;
    if let (Some(role), Some(provider), Some(token)) = (role, provider, token) {
        let loaded = files.load_if_sound(query, read)?;
        let current = current(&loaded).ok().flatten();
        let credential_source = reader(&loaded).oidc([role, provider, token])?;
        return finish(&env, credential_source, region, current, false);
    }

    let mut loaded = files.load(read)?;
    if current(&loaded)?.is_none() {
        loaded.extend(files.load_ini(query.host)?);
    }
    if let Some((file, profile)) = current(&loaded)? {
        let credential_source = reader(&loaded).profile(file, profile)?;
        return finish(&env, credential_source, region, Some((file, profile)), true);
    }

    let source = |mode, name: &str| Source::Variables { mode, names: vec![name.to_owned()] };
    let disabled = env.is_on("ECS_METADATA_DISABLED")?;
    let role = env.find_text("ECS_METADATA")?;
    if let (Some((name, role)), None) = (&role, &disabled) {
        let credential_source =
            reader(&loaded).metadata(Some(role.clone()), source("EcsRamRole", name))?;
        return finish(&env, credential_source, region, None, false);
    }
    let reader = reader(&loaded);
    let uri = match env.find_text("CREDENTIALS_URI")? {
        Some((name, uri)) => {
            let source = source("CredentialsURI", &name);
            Some((reader.address(&uri, &source)?, source))
        }
        None => None,
    };
    let mut looked_at = files.looked_at(&loaded);
    if role.is_none() {
        looked_at.push(LookedAt::Other("ECS_METADATA with the same: not set".to_owned()));
    }
    let not_asked = match (&disabled, &region) {
        (Some(variable), _) => {
            let why = format!("the metadata service: not asked, since {variable} is set");
            Some(LookedAt::Other(why))
        }
        // Nothing can be called then, whatever it answers.
        (None, None) => Some(LookedAt::NoRegion),
        (None, Some(_)) => None,
    };
    let credential_source = match (not_asked, uri) {
        (None, uri) => {
            let metadata = reader.metadata_service(None)?;
            let instance = Instance { metadata, uri, looked_at };
            CredentialSource::new(Source::Instance, SourceKind::Instance(instance))
        }
        (Some(_), Some((address, source))) => {
            CredentialSource::new(source, SourceKind::Uri(address))
        }
        (Some(not_asked), None) => {
            looked_at.extend([not_asked, no_uri()]);
            return Err(Error::None { looked_at });
        }
    };
    finish(&env, credential_source, region, None, false)
}

/// The region that is asked for, or that a variable names.
pub(super) fn asked_region(
    query: &Query<'_>,
    env: &Environment<'_>,
) -> Result<Option<Setting>, Error> {
    if let Some(region) = given(&query.region) {
        return Ok(Some(region.clone()));
    }
    let found = env.find_text("REGION_ID")?;
    Ok(found.map(|(origin, value)| Setting { value, origin }))
}

/// Region and endpoint: those asked for, else the profile's; its endpoint only if it is its own
/// credentials that are used.
pub(super) fn finish(
    env: &Environment<'_>,
    credential_source: CredentialSource,
    region: Option<Setting>,
    profile: Option<(&ProfileFile, &Profile)>,
    is_its_own: bool,
) -> Result<Resolved, Error> {
    let endpoint = env.own(Some(ENDPOINT))?;
    let endpoint = endpoint.map(|(name, value)| Setting { value, origin: name.to_owned() });
    let of = |field: &str| {
        let (file, profile) = profile?;
        let (name, is_ini, file) = (&profile.name, file.is_ini, file.path.display());
        let origin = match is_ini {
            true => format!("{field} of section [{name}] of {file}"),
            false => format!("{field} of profile '{name}' of {file}"),
        };
        profile.text(field).map(|value| Setting { value, origin })
    };
    let own = |field| is_its_own.then(|| of(field)).flatten();
    Ok(Resolved {
        credential_source,
        region: region.or_else(|| of("region_id")),
        endpoint: endpoint.or_else(|| own("endpoint")),
        endpoint_type: own("endpoint_type"),
    })
}

/// What is asked for, unless it is empty.
pub(super) fn given(setting: &Option<Setting>) -> Option<&Setting> {
    setting.as_ref().filter(|setting| !setting.value.is_empty())
}

/// The profile that is asked for, or that a variable names, and what asks for it.
pub(super) fn named_profile(
    query: &Query<'_>,
    env: &Environment<'_>,
) -> Result<Option<(String, String)>, Error> {
    if let Some(Setting { value, origin }) = given(&query.profile) {
        return Ok(Some((value.clone(), origin.clone())));
    }
    Ok(env.profile()?.map(|(variable, name)| (name, variable)))
}

/// The profile that is used when none is asked for.
pub(super) fn current(files: &[ProfileFile]) -> Result<Option<(&ProfileFile, &Profile)>, Error> {
    for file in files {
        let found = match &file.current {
            Some(name) => {
                // Another file's profile of that name will do: both are the user's own.
                let found = files.iter().find_map(|f| f.get(name).map(|profile| (f, profile)));
                let asked_by = format!("'current' of {}", file.path.display());
                Some(found.ok_or_else(|| unknown(name, asked_by, files, None))?)
            }
            None => file.get("default").map(|profile| (file, profile)),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

pub(super) fn unknown(
    name: &str,
    asked_by: String,
    files: &[ProfileFile],
    forbidden_by: Option<String>,
) -> Error {
    Error::UnknownProfile {
        name: name.to_owned(),
        asked_by,
        files: files.iter().map(|file| file.path.clone()).collect(),
        names: names(files.iter().flat_map(|file| &file.profiles)),
        forbidden_by: forbidden_by.map(String::into_boxed_str),
    }
}

/// The files that may hold profiles.
pub(super) struct Files {
    profiles: ProfileFiles,
    /// The ini file of the vendor's SDKs, and the variable that names it.
    ini: Option<(PathBuf, Option<String>)>,
    /// The variable that forbids the files of profiles.
    forbidden_by: Option<String>,
    /// The file that the profile has to be of.
    of_profile: Option<PathBuf>,
}

enum ProfileFiles {
    /// Given by hand, and by what.
    Given(PathBuf, String),
    /// The usual ones; none if there is no home folder.
    Usual(Vec<PathBuf>),
}

impl Files {
    pub(super) fn of(query: &Query<'_>, env: &Environment<'_>) -> Result<Self, Error> {
        let home = query.home.as_deref();
        let ini = match (&query.config, env.find("CREDENTIALS_FILE")) {
            // A file that was asked for stands alone.
            (Some(_), _) => None,
            (None, Some((variable, path))) => {
                Some((in_home(Path::new(&path), home), Some(variable)))
            }
            (None, None) => home.map(|home| (home.join(INI[0]).join(INI[1]), None)),
        };
        let is_asked_for = query.config.is_some() || given(&query.profile).is_some();
        let forbidden_by = match is_asked_for {
            true => None,
            false => env.is_on("CLI_PROFILE_DISABLED")?,
        };
        let profiles = ProfileFiles::of(query, env);
        Ok(Self { profiles, ini, forbidden_by, of_profile: query.file.clone() })
    }

    /// The files of profiles that are there.
    pub(super) fn load(&self, read: Read<'_>) -> Result<Vec<ProfileFile>, Error> {
        let of_profile = self.of_profile.as_ref();
        let is_of_ini =
            of_profile.is_some() && of_profile == self.ini.as_ref().map(|(path, _)| path);
        match self.forbidden_by.is_some() || is_of_ini {
            true => Ok(Vec::new()),
            false => self.profiles.load(read),
        }
    }

    /// The profile of a name, and its file.
    pub(super) fn named<'f>(
        &self,
        loaded: &'f [ProfileFile],
        name: &str,
    ) -> Option<(&'f ProfileFile, &'f Profile)> {
        let is_meant =
            |file: &&ProfileFile| self.of_profile.as_ref().is_none_or(|path| file.path == *path);
        let mut meant = loaded.iter().filter(is_meant);
        meant.find_map(|file| file.get(name).map(|profile| (file, profile)))
    }

    /// Whether the profile is of none of the files of profiles, but of the ini file or the command line.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.of_profile.as_ref().is_some_and(|path| !self.profiles.paths().contains(path))
    }

    /// The ini file, if it is there.
    fn load_ini(&self, host: &dyn Host) -> Result<Option<ProfileFile>, Error> {
        let Some((path, asked_by)) = &self.ini else { return Ok(None) };
        match (ProfileFile::read_ini(path, host)?, asked_by) {
            (None, Some(asked_by)) => {
                Err(Error::NoFile { path: path.clone(), asked_by: asked_by.clone() })
            }
            (found, _) => Ok(found),
        }
    }

    /// The same where they matter less: one that was not asked for by hand may be damaged.
    pub(super) fn load_if_sound(
        &self,
        query: &Query<'_>,
        read: Read<'_>,
    ) -> Result<Vec<ProfileFile>, Error> {
        match self.load(read) {
            Err(problem) if query.config.is_none() => {
                tracing::debug!("no region from the profile file: {problem}");
                Ok(Vec::new())
            }
            loaded => loaded,
        }
    }

    fn looked_at(&self, loaded: &[ProfileFile]) -> Vec<LookedAt> {
        let keys =
            format!("ACCESS_KEY_ID and ACCESS_KEY_SECRET with {}: not set", PREFIXES.join(", "));
        let oidc = "ROLE_ARN, OIDC_PROVIDER_ARN, OIDC_TOKEN_FILE with the same: not all set";
        let mut looked = vec![
            LookedAt::Named { variables: &PROFILES },
            LookedAt::Other(keys),
            LookedAt::Other(oidc.to_owned()),
        ];
        let at = |path: &Path, found: &str| LookedAt::Other(format!("{}: {found}", path.display()));
        let state = |path: &Path, empty: &str, lacks: &'static str| match loaded
            .iter()
            .find(|file| file.path == path)
        {
            None => at(path, "not there"),
            Some(file) if file.profiles.is_empty() => at(path, &format!("has no {empty}")),
            Some(read) => LookedAt::NoCurrent { file: path.to_owned(), lacks, names: read.names() },
        };
        let paths = self.profiles.paths();
        looked.extend(paths.iter().map(|path| match &self.forbidden_by {
            Some(variable) => at(path, &format!("not read, since {variable} is set")),
            None => state(path, "profiles", "names no current profile"),
        }));
        if paths.is_empty() {
            let found = format!("no home folder is known ({HOME_VARIABLE})");
            looked.push(at(Path::new("~/.aliyun/config.json"), &found));
        }
        let ini = self.ini.as_ref();
        looked.extend(ini.map(|(path, _)| state(path, "sections", "has no section [default]")));
        looked
    }
}

impl ProfileFiles {
    fn of(query: &Query<'_>, env: &Environment<'_>) -> Self {
        if let Some(Setting { value, origin }) = &query.config {
            return Self::Given(in_home(value, query.home.as_deref()), origin.clone());
        }
        if let Some((variable, path)) = env.find("CONFIG_FILE") {
            return Self::Given(in_home(Path::new(&path), query.home.as_deref()), variable);
        }
        let home = query.home.as_deref();
        Self::Usual(home.map_or_else(Vec::new, |home| usual_files(home, query.env)))
    }

    /// Those that are there.
    fn load(&self, read: Read<'_>) -> Result<Vec<ProfileFile>, Error> {
        match self {
            Self::Given(path, asked_by) => match read(path)? {
                Some(file) => Ok(vec![file]),
                None => Err(Error::NoFile { path: path.to_owned(), asked_by: asked_by.to_owned() }),
            },
            Self::Usual(paths) => {
                let files = paths.iter().map(|path| read(path));
                files.filter_map(Result::transpose).collect()
            }
        }
    }

    fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Given(path, _) => std::slice::from_ref(path),
            Self::Usual(paths) => paths,
        }
    }
}

/// The files of profiles in this home folder, in the order in which they are read.
fn usual_files(home: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let of_drive = if cfg!(windows) { home_of_drive(env) } else { None };
    usual_files_of(home, of_drive.as_deref(), &Path::exists)
}

/// `config.json` is that of the other folder if only that one is there.
fn usual_files_of(
    home: &Path,
    of_drive: Option<&Path>,
    is_there: &dyn Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let [ecs, config] = FILES.map(|name| home.join(FOLDER).join(name));
    let other = of_drive.map(|home| home.join(FOLDER).join(FILES[1]));
    let other = other.filter(|other| *other != config && !is_there(&config) && is_there(other));
    vec![ecs, other.unwrap_or(config)]
}

/// The home folder of the aliyun CLI on Windows, which firms have on a drive of the network.
fn home_of_drive(env: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let (mut drive, path) = (env("HOMEDRIVE")?, env("HOMEPATH")?);
    drive.push(path);
    Some(drive.into())
}

/// The files that profiles are written to: the one that a flag or a variable names, or else the usual ones;
/// `None` if no home folder is known.
pub fn profile_paths(
    config: Option<&Path>,
    env: &dyn Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Option<Vec<PathBuf>> {
    let named = || Environment { get: env, host: &() }.find("CONFIG_FILE");
    let given = config.map(Path::to_owned).or_else(|| named().map(|(_, path)| path.into()));
    match (given, home) {
        (Some(path), _) => Some(vec![in_home(&path, home)]),
        (None, Some(home)) => Some(usual_files(home, env)),
        (None, None) => None,
    }
}

/// The variable that names a profile, and the name.
///
/// # Errors
/// When its value is not text.
pub fn profile_variable(
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<(String, String)>, Error> {
    Environment { get: env, host: &() }.profile()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_drive_variables_is_read_if_the_user_s_folder_has_none() {
        let env = |name: &str| match name {
            "HOMEDRIVE" => Some("/h".into()),
            "HOMEPATH" => Some("/ann".into()),
            _ => None,
        };
        let of_drive = home_of_drive(&env).unwrap();
        assert_eq!(home_of_drive(&|name| env(name).filter(|_| name == "HOMEPATH")), None);
        let (home, ecs) = (Path::new("/c/ann"), "/c/ann/.aliyun/config_ecs.json");
        let (own, other) = ("/c/ann/.aliyun/config.json", "/h/ann/.aliyun/config.json");
        for (there, read) in [
            (&[][..], own),
            (&[own], own),
            (&[other], other),
            (&[ecs, other], other),
            (&[own, other], own),
        ] {
            let is_there = |path: &Path| there.iter().any(|file| path == Path::new(file));
            let files = usual_files_of(home, Some(&of_drive), &is_there);
            assert_eq!(files, [Path::new(ecs), Path::new(read)], "{there:?}");
        }
        let files = usual_files_of(home, None, &|_| true);
        assert_eq!(files, [Path::new(ecs), Path::new(own)]);
    }
}
