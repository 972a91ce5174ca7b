//! What a user is told when a file was not changed.

use std::io::ErrorKind as Kind;

use super::failure::{ExitCode, Explain};
use crate::platform::replace::{Error, folder_of};

impl Explain for Error {
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "make it readable, or name another file".to_owned(),
            Self::NotAFile { .. } | Self::TooLarge { .. } => "name another file".to_owned(),
            Self::Link { .. } => "make the folder, or remove the link".to_owned(),
            Self::ReadOnly { .. } if cfg!(windows) => "allow it: attrib -R FILE".to_owned(),
            Self::ReadOnly { .. } => "allow it: chmod u+w FILE".to_owned(),
            #[cfg(unix)]
            Self::Foreign { .. } => "run this as the file's owner".to_owned(),
            Self::Busy { .. } => "try again in a moment".to_owned(),
            Self::Write { path, problem } => match problem.kind() {
                Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                    "free some space, and try again".to_owned()
                }
                Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
                    let folder = folder_of(path).display();
                    format!("make its folder {folder} writable, or name another file")
                }
                _ => "correct that, or name another file".to_owned(),
            },
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }
}
