//! The order in which credentials are looked for.
//!
//! A profile named by flag or environment; keys in the environment; OIDC in the environment; the
//! file's `current` profile; the metadata service; a credentials URI. The first that is there is
//! taken, and if it cannot be used that is an error: to go on silently would sign as someone else.

use std::path::{Path, PathBuf};

use super::env::{Environment, PREFIXES};
use super::profile::{Profile, ProfileFile};
use super::{Credentials, Error, Query, Resolved};

/// The folder of the vendor's tools, in the home folder.
const FOLDER: &str = ".aliyun";

/// Read in this order, where no file is given by hand.
const FILES: [&str; 2] = ["config_ecs.json", "config.json"];

/// The variable that holds an endpoint.
const ENDPOINT: &str = "ALIBABA_CLOUD_ENDPOINT";

/// Finds the credentials, and the region and endpoint that belong to them.
///
/// # Errors
/// Every [`Error`]; nothing is sent or written.
pub fn resolve(query: &Query<'_>) -> Result<Resolved, Error> {
    resolve_from(query, &ProfileFile::read)
}

/// Reads a profile file; `None` if there is none.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Result<Option<ProfileFile>, Error>;

/// The same with files that something else reads.
pub(super) fn resolve_from(query: &Query<'_>, read: Read<'_>) -> Result<Resolved, Error> {
    let env = Environment(query.env);
    let files = Files::of(query, &env);

    if let Some((name, asked_by)) = named_profile(query, &env)? {
        let loaded = files.load(read)?;
        let (file, profile) = loaded
            .iter()
            .find_map(|file| file.get(&name).map(|profile| (file, profile)))
            .ok_or_else(|| unknown(&name, asked_by, &loaded))?;
        let credentials = profile.credentials(&file.path, query.now)?;
        return finish(&env, credentials, Some(profile), Some(profile));
    }

    if let Some(credentials) = env.credentials()? {
        // The keys are of no profile: its endpoint is not theirs, but its region is a good guess.
        let loaded = match files.load(read) {
            Ok(loaded) => loaded,
            Err(problem) if query.config.is_none() => {
                tracing::debug!("no region from the profile file: {problem}");
                Vec::new()
            }
            Err(problem) => return Err(problem),
        };
        let current = current(&loaded).ok().flatten().map(|(_, profile)| profile);
        return finish(&env, credentials, current, None);
    }

    let oidc = ["ROLE_ARN", "OIDC_PROVIDER_ARN", "OIDC_TOKEN_FILE"].map(|name| env.find(name));
    if let [Some(_), Some(_), Some((variable, _))] = oidc {
        return Err(Error::UnsupportedVariable { variable, mode: "OIDC" });
    }

    let loaded = files.load(read)?;
    if let Some((file, profile)) = current(&loaded)? {
        let credentials = profile.credentials(&file.path, query.now)?;
        return finish(&env, credentials, Some(profile), Some(profile));
    }

    for (name, mode) in [("ECS_METADATA", "EcsRamRole"), ("CREDENTIALS_URI", "CredentialsURI")] {
        if let Some((variable, _)) = env.find(name) {
            return Err(Error::UnsupportedVariable { variable, mode });
        }
    }
    Err(Error::None { looked_at: files.looked_at(&loaded) })
}

/// Region and endpoint: the environment's, else the profile's.
fn finish(
    env: &Environment<'_>,
    credentials: Credentials,
    region_from: Option<&Profile>,
    endpoint_from: Option<&Profile>,
) -> Result<Resolved, Error> {
    let region = env.find_text("REGION_ID")?.map(|(_, region)| region);
    let endpoint = match env.get(ENDPOINT) {
        Some(value) => match value.into_string() {
            Ok(value) => Some(value),
            Err(_) => {
                return Err(Error::NotText { variable: ENDPOINT.to_owned() });
            }
        },
        None => None,
    };
    let of = |profile: Option<&Profile>, field| profile.and_then(|profile| profile.text(field));
    Ok(Resolved {
        credentials,
        region: region.or_else(|| of(region_from, "region_id")),
        endpoint: endpoint.or_else(|| of(endpoint_from, "endpoint")),
        endpoint_type: of(endpoint_from, "endpoint_type"),
    })
}

/// The profile that a flag or a variable asks for, and which of them it was.
fn named_profile(
    query: &Query<'_>,
    env: &Environment<'_>,
) -> Result<Option<(String, String)>, Error> {
    if let Some(name) = query.profile.filter(|name| !name.is_empty()) {
        return Ok(Some((name.to_owned(), "--profile".to_owned())));
    }
    Ok(env.profile()?.map(|(variable, name)| (name, variable)))
}

/// The profile that is used when none is asked for.
fn current(files: &[ProfileFile]) -> Result<Option<(&ProfileFile, &Profile)>, Error> {
    for file in files {
        let found = match &file.current {
            Some(name) => {
                // Another file's profile of that name will do: both are the user's own.
                let found = files.iter().find_map(|f| f.get(name).map(|profile| (f, profile)));
                let asked_by = format!("'current' of {}", file.path.display());
                Some(found.ok_or_else(|| unknown(name, asked_by, files))?)
            }
            None => file.get("default").map(|profile| (file, profile)),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn unknown(name: &str, asked_by: String, files: &[ProfileFile]) -> Error {
    let mut names = Vec::new();
    for profile in files.iter().flat_map(|file| &file.profiles) {
        if !names.contains(&profile.name) {
            names.push(profile.name.clone());
        }
    }
    Error::UnknownProfile {
        name: name.to_owned(),
        asked_by,
        files: files.iter().map(|file| file.path.clone()).collect(),
        names,
    }
}

/// The files that may hold profiles.
enum Files {
    /// Given by hand, and by what.
    Given(PathBuf, String),
    /// The usual ones; none if there is no home folder.
    Usual(Vec<PathBuf>),
}

impl Files {
    fn of(query: &Query<'_>, env: &Environment<'_>) -> Self {
        if let Some(path) = query.config {
            return Self::Given(path.to_owned(), "--config".to_owned());
        }
        if let Some((variable, path)) = env.find("CONFIG_FILE") {
            return Self::Given(in_home(Path::new(&path), query.home.as_deref()), variable);
        }
        let folder = query.home.as_ref().map(|home| home.join(FOLDER));
        Self::Usual(folder.map_or_else(Vec::new, |f| FILES.map(|name| f.join(name)).to_vec()))
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

    fn looked_at(&self, loaded: &[ProfileFile]) -> Vec<String> {
        let mut looked = vec![
            "--profile, ALIBABACLOUD_PROFILE, ALIBABA_CLOUD_PROFILE, ALICLOUD_PROFILE: none named"
                .to_owned(),
            format!("ACCESS_KEY_ID and ACCESS_KEY_SECRET with {}: not set", PREFIXES.join(", ")),
            "ROLE_ARN, OIDC_PROVIDER_ARN, OIDC_TOKEN_FILE with the same: not all set".to_owned(),
        ];
        let paths: &[PathBuf] = match self {
            Self::Given(path, _) => std::slice::from_ref(path),
            Self::Usual(paths) => paths,
        };
        for path in paths {
            let found = match loaded.iter().find(|file| file.path == *path) {
                None => "not there".to_owned(),
                Some(file) if file.profiles.is_empty() => "has no profiles".to_owned(),
                Some(file) => {
                    let names: Vec<_> = file.profiles.iter().map(|p| p.name.as_str()).collect();
                    format!(
                        "names no current profile; it has {}: give one with --profile",
                        names.join(", ")
                    )
                }
            };
            looked.push(format!("{}: {found}", path.display()));
        }
        if paths.is_empty() {
            looked.push("~/.aliyun/config.json: no home folder is known (HOME)".to_owned());
        }
        looked.push("ECS_METADATA, CREDENTIALS_URI with the same: not set".to_owned());
        looked
    }
}

/// A path where no shell has put the home folder in place of a tilde, as of a variable.
pub(crate) fn in_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
