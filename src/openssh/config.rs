//! The options that `ssh -G` prints for a host.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::printed::{SSH, printed};
use crate::credentials::shell_words;
use aliyun_client::text::first_line;

/// How long it may take: the configuration may have commands that are run for it.
const WITHIN: Duration = Duration::from_secs(5);
/// How much of what ssh prints is shown, in characters.
const SHOWN: usize = 200;

/// The options that hold for a host, with names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(Vec<(String, String)>);

/// Runs `ssh -G`.
///
/// # Errors
/// When that fails: why, in one line.
pub(crate) async fn options(host: &str) -> Result<Options, String> {
    match printed(Command::new(SSH).args(["-G", "--", host]), WITHIN).await {
        Ok(printed) if printed.status.success() => Ok(Options::parse(&printed.stdout)),
        Ok(printed) => {
            Err(first_line(&printed.stderr, SHOWN).unwrap_or_else(|| printed.status.to_string()))
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("`ssh -G` did not end within {} s", WITHIN.as_secs()))
        }
        Err(error) => Err(format!("ssh cannot be run: {error}")),
    }
}

/// The words of a command that `ssh -G` shows. One that does not come apart is one word.
pub(crate) fn words(command: &str) -> Vec<String> {
    let words = shell_words(command).unwrap_or_else(|| vec![command.to_owned()]);
    words.iter().map(|word| word.replace("%%", "%")).collect()
}

/// Where a program is that is named by its path, or by its name in PATH; `None` if it cannot be run.
pub(crate) fn executable(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_executable(program).then(|| program.to_owned());
    }
    let path = env::var_os("PATH")?;
    let found = env::split_paths(&path).map(|folder| folder.join(program));
    let mut found = found.flat_map(|path| [path.with_extension(env::consts::EXE_EXTENSION), path]);
    found.find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    path.is_file()
}

impl Options {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        Self(lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect())
    }

    /// The value of an option; `none` counts as one that is not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of an option that may be given several times.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fits = move |(other, value): &&(String, String)| other == name && value != "none";
        self.0.iter().filter(fits).map(|(_, value)| value.as_str())
    }
}
