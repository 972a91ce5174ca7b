//! A real sshd that an installation of the key plug-in configures and restarts.

use std::{io, path::PathBuf, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    fs,
    time::{sleep, timeout},
};

use crate::instance::Instance;

/// Options of sshd_config that keep the plug-in from adding its own, as sshd compares them.
const OPTIONS: [&str; 3] =
    ["authorizedkeyscommand", "authorizedkeyscommanduser", "authorizedkeyscommandrunas"];
/// How long a restarted sshd may take until it listens again.
const RESTARTED_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at the file that tells that it does.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A real OpenSSH sshd, run by a test, that plays an instance's.
///
/// Installing the key plug-in appends the lines to the configuration file, unless that has an AuthorizedKeysCommand (or a user for
/// one) already, whoever's it is, and then restarts sshd (SIGHUP to the process in the pid file). As on an instance, a connection that was accepted before keeps the
/// old configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sshd {
    config: PathBuf,
    pid_file: PathBuf,
    lines: String,
    failures: u32,
}

impl Sshd {
    /// An sshd that reads this configuration file and writes this pid file once it listens (PidFile), and the lines that the
    /// plug-in adds.
    pub fn new(
        config: impl Into<PathBuf>,
        pid_file: impl Into<PathBuf>,
        lines: impl Into<String>,
    ) -> Self {
        Self { config: config.into(), pid_file: pid_file.into(), lines: lines.into(), failures: 0 }
    }

    /// So many installations fail although they have done their work, as the first one does where systemd listens for sshd.
    #[must_use]
    pub fn installations_fail(mut self, times: u32) -> Self {
        self.failures = times;
        self
    }

    /// Counts one installation; whether it is to fail.
    pub(super) fn use_up_failure(&mut self) -> bool {
        let fails = self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        fails
    }

    /// Configures and restarts it. Whether there was something to do.
    pub(super) async fn install(&self) -> io::Result<bool> {
        let mut config = fs::read_to_string(&self.config).await?;
        if config.lines().any(sets_command) {
            return Ok(false);
        }
        config.push('\n');
        config.push_str(self.lines.trim_end());
        config.push('\n');
        fs::write(&self.config, config).await?;
        let pid = self.pid().await.ok_or_else(|| io::Error::other("no pid of sshd"))?;
        // It is written again once the new one listens.
        fs::remove_file(&self.pid_file).await?;
        kill_process(pid, Signal::HUP)?;
        let listens = async {
            while self.pid().await.is_none() {
                sleep(LOOK_EVERY).await;
            }
        };
        let late = |_| io::Error::other("sshd did not come back");
        timeout(RESTARTED_WITHIN, listens).await.map_err(late)?;
        Ok(true)
    }

    async fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.pid_file).await.ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}

fn sets_command(line: &str) -> bool {
    let word = line.trim_start().split(|c: char| c.is_whitespace() || c == '=').next();
    word.is_some_and(|word| OPTIONS.iter().any(|option| word.eq_ignore_ascii_case(option)))
}

impl Instance {
    /// A real sshd that the installation of the key plug-in configures and restarts (none).
    #[must_use]
    pub fn sshd(mut self, sshd: Sshd) -> Self {
        self.commands.sshd = Some(sshd);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_found_as_sshd_finds_it() {
        for (line, found) in [
            ("AuthorizedKeysCommand /bin/true", true),
            ("  authorizedkeyscommand=/bin/true", true),
            ("#AuthorizedKeysCommand /bin/true", false),
            ("AuthorizedKeysCommandUser root", true),
            ("AuthorizedKeysCommand none", true),
            ("AuthorizedKeysFile none", false),
            ("", false),
        ] {
            assert_eq!(sets_command(line), found, "{line}");
        }
    }

    #[test]
    fn failures_are_used_up() {
        let mut sshd = Sshd::new("/a", "/b", "").installations_fail(1);
        assert!(sshd.use_up_failure());
        assert!(!sshd.use_up_failure());
    }

    #[tokio::test]
    async fn a_command_of_somebody_elses_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("sshd_config");
        std::fs::write(&config, "AuthorizedKeysCommand /opt/sso\n").unwrap();
        let sshd = Sshd::new(&config, folder.path().join("pid"), "AuthorizedKeysCommand /x\n");
        assert!(!sshd.install().await.unwrap());
        assert_eq!(std::fs::read_to_string(&config).unwrap(), "AuthorizedKeysCommand /opt/sso\n");
    }
}
