//! A program that prints a profile, and what that profile is read with.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

/// Fields of the profile that runs the program, which hold for what it prints unless it prints them too.
pub(super) const INHERITED: [&str; 3] = ["region_id", "sts_region", "endpoint_type"];

/// A program, and what the profile that it prints is read with.
#[derive(Clone)]
pub(super) struct Program {
    /// The command line, which may hold a secret.
    pub(super) command: SecretString,
    /// The name of the profile that runs it.
    pub(super) name: String,
    /// Where `source_profile` is looked up: the profile's own file first.
    pub(super) files: Vec<PathBuf>,
    /// The variables that a profile is read with.
    pub(super) variables: Vec<(String, OsString)>,
    pub(super) home: Option<PathBuf>,
    /// The region that a flag or a variable names.
    pub(super) region: Option<String>,
    pub(super) inherited: Vec<(&'static str, String)>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        let parts = |of: &Self| {
            let Self { command, name, files, variables, home, region, inherited } = of.clone();
            let command = command.expose_secret().to_owned();
            (command, name, files, variables, home, region, inherited)
        };
        parts(self) == parts(other)
    }
}

impl Eq for Program {}
