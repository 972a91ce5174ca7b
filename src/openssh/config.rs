//! What `ssh -G` says that ssh would do with a host.

use std::io;
use std::time::Duration;

use tokio::process::Command;

use super::{SSH, printed};
use crate::explain::printable;

/// How long it may take: the configuration may have commands that are run for it.
const WITHIN: Duration = Duration::from_secs(5);
/// How much of what ssh says is shown, in characters.
const SHOWN: usize = 200;

/// The options that hold for a host, with names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(Vec<(String, String)>);

/// Asks ssh.
///
/// # Errors
/// When it does not tell: why not, in one line.
pub(crate) async fn options(host: &str) -> Result<Options, String> {
    match printed(Command::new(SSH).args(["-G", "--", host]), WITHIN).await {
        Ok(printed) if printed.status.success() => Ok(Options::parse(&printed.stdout)),
        Ok(printed) => {
            let mut lines = printed.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
            let said = lines.next().map_or_else(|| printed.status.to_string(), printable);
            Err(said.chars().take(SHOWN).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("`ssh -G` did not end within {} s", WITHIN.as_secs()))
        }
        Err(error) => Err(format!("ssh cannot be run: {error}")),
    }
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
