//! The profile files, to be changed: which there are, and which of them a change is made in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use aliyun_client::cause::Cause;

use super::edit::{Document, Entry};
use super::{Error, profile_paths, profile_variable};
use crate::platform::replace::{self, Change, Destination, Mode};

/// The profile that is meant where none is named, and none is current.
const USUAL: &str = "default";

/// The files as they were when they were read, in the order in which profiles are looked for.
pub(crate) struct Store {
    files: Vec<Stored>,
    /// The profile that a variable names.
    from_variable: Option<String>,
}

/// A file, whether it is there or not.
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) document: Option<Document>,
}

/// A profile, and the file that it stands in.
pub(crate) struct Found<'a> {
    pub(crate) file: &'a Stored,
    pub(crate) entry: Entry,
}

impl Store {
    /// Reads the files: the one that a flag or a variable names, or else the usual ones.
    ///
    /// # Errors
    /// When one cannot be read, or is not understood; or no home folder is known.
    pub(crate) fn open(
        config: Option<&Path>,
        env: &dyn Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
    ) -> Result<Self, Error> {
        let paths = profile_paths(config, env, home).ok_or(Error::NoHome)?;
        let read = |path: PathBuf| {
            let content = Destination::of(&path).and_then(|place| place.read());
            let content = content.map_err(|error| unreadable(&path, error))?;
            let document = content.map(|content| parse(&path, &content)).transpose()?;
            Ok(Stored { path, document })
        };
        let files = paths.into_iter().map(read).collect::<Result<_, Error>>()?;
        let from_variable = profile_variable(env)?.map(|(_, name)| name);
        Ok(Self { files, from_variable })
    }

    /// Every profile that can be used. One that stands behind another one of its name cannot.
    pub(crate) fn profiles(&self) -> Vec<Found<'_>> {
        let mut found: Vec<Found<'_>> = Vec::new();
        for file in &self.files {
            for entry in file.document.iter().flat_map(Document::profiles) {
                if found.iter().all(|other| other.entry.name != entry.name) {
                    found.push(Found { file, entry });
                }
            }
        }
        found
    }

    /// The profile of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Found<'_>> {
        self.profiles().into_iter().find(|found| found.entry.name == name)
    }

    /// The profile of a name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn need(&self, name: &str) -> Result<Found<'_>, Error> {
        let there = self.files.iter().filter(|file| file.document.is_some());
        let unknown = || Error::UnknownProfile {
            name: name.to_owned(),
            asked_by: "this command".to_owned(),
            files: there.map(|file| file.path.clone()).collect(),
            names: self.profiles().into_iter().map(|found| found.entry.name).collect(),
            forbidden_by: None,
        };
        self.find(name).ok_or_else(unknown)
    }

    /// The name of the profile that is used where none is named.
    pub(crate) fn current(&self) -> Option<String> {
        self.files.iter().find_map(|file| {
            let document = file.document.as_ref()?;
            let usual = || document.profile(USUAL).map(|entry| entry.name);
            document.current().or_else(usual)
        })
    }

    /// The profile that is meant: the one named, here or by a variable, the current one, or the
    /// usual one, which may not exist.
    pub(crate) fn name(&self, named: Option<&str>) -> String {
        let named = named.filter(|name| !name.is_empty()).map(str::to_owned);
        let name = named.or_else(|| self.from_variable.clone()).or_else(|| self.current());
        name.unwrap_or_else(|| USUAL.to_owned())
    }

    /// The file that a profile of this name is, or is to be, written to.
    pub(crate) fn file_of(&self, name: &str) -> &Path {
        match self.find(name) {
            Some(found) => &found.file.path,
            None => self.last(),
        }
    }

    /// The file that decides the current profile.
    pub(crate) fn file_of_current(&self) -> &Path {
        let speaks = |file: &&Stored| {
            let document = file.document.as_ref();
            document.is_some_and(|it| it.current().is_some() || it.profile(USUAL).is_some())
        };
        self.files.iter().find(speaks).map_or_else(|| self.last(), |file| &file.path)
    }

    /// The vendor's own tools know the last one.
    fn last(&self) -> &Path {
        self.files.last().map_or(Path::new(""), |file| &file.path)
    }

    /// Whether profiles may stand in several files.
    pub(crate) fn is_several(&self) -> bool {
        self.files.iter().filter(|file| file.document.is_some()).count() > 1
    }
}

/// Changes a profile file as it is by now.
///
/// # Errors
/// When it cannot be read, understood or written; it is as it was then.
pub(crate) async fn change<T>(
    path: &Path,
    mut edit: impl FnMut(&mut Document) -> Result<T, Error>,
) -> Result<T, Error> {
    let place = Destination::of(path)?;
    replace::update(&place, Mode::Private, |content| {
        let mut document = match content {
            Some(content) => parse(path, content)?,
            None => Document::default(),
        };
        let result = edit(&mut document)?;
        // Only an error of this program could make it unreadable.
        parse(path, document.bytes())?;
        let is_same = content == Some(document.bytes());
        let new = if is_same { Change::None } else { Change::To(document.bytes().to_owned()) };
        Ok((new, result))
    })
    .await
}

fn parse(path: &Path, content: &[u8]) -> Result<Document, Error> {
    Document::parse(content).map_err(|problem| Error::Unusable { path: path.to_owned(), problem })
}

impl From<replace::Error> for Error {
    fn from(error: replace::Error) -> Self {
        Self::Unwritten(Cause::new(error))
    }
}

/// The error with the same message as when the file is read.
fn unreadable(path: &Path, error: replace::Error) -> Error {
    let path = path.to_owned();
    match error {
        replace::Error::Read { problem, .. } => Error::Unreadable { path, problem },
        replace::Error::NotAFile { what, .. } => {
            Error::Unusable { path, problem: format!("it is {what}") }
        }
        replace::Error::TooLarge { .. } => {
            Error::Unusable { path, problem: "it is larger than 1 MiB".to_owned() }
        }
        other => other.into(),
    }
}
