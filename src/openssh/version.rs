//! The version of the installed `ssh`.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::process::Command;

use super::printed::{SSH, printed};
use aliyun_client::text::first_line;

/// How long `ssh -V` may take.
const WITHIN: Duration = Duration::from_secs(5);
/// The first version with `KnownHostsCommand`.
const KNOWN_HOSTS_COMMAND: (u32, u32) = (8, 5);
/// The first version with `Include`.
const INCLUDE: (u32, u32) = (7, 3);
/// How Microsoft's begins its name.
const FOR_WINDOWS: &str = "OpenSSH_for_Windows_";
/// How much of a version is shown, in characters.
const SHOWN: usize = 60;

/// The `ssh` that PATH has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ssh {
    /// OpenSSH, with its major and minor version.
    Version {
        /// As it names itself: `OpenSSH_9.2p1`.
        name: String,
        version: (u32, u32),
    },
    /// Another program of that name, with what it says of itself.
    Other(String),
    /// There is none.
    Missing,
    /// It did not say: why.
    Unknown(String),
}

/// Runs `ssh -V`.
pub(crate) async fn installed() -> Ssh {
    match printed(Command::new(SSH).arg("-V"), WITHIN).await {
        Ok(printed) => parse(&format!("{}\n{}", printed.stderr, printed.stdout)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ssh::Missing,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Ssh::Unknown(format!("`ssh -V` did not end within {} s", WITHIN.as_secs()))
        }
        Err(error) => Ssh::Unknown(format!("ssh cannot be run: {error}")),
    }
}

fn parse(text: &str) -> Ssh {
    let found = text.lines().find_map(|line| {
        // There may be a warning of the loader before it.
        let name = line.get(line.find("OpenSSH_")?..)?;
        let name = name.split([',', ' ']).next().unwrap_or(name);
        let digits = name.trim_start_matches("OpenSSH_").trim_start_matches("for_Windows_");
        let (major, rest) = digits.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let version = (major.parse().ok()?, rest.get(..end)?.parse().ok()?);
        Some(Ssh::Version { name: name.to_owned(), version })
    });
    found.unwrap_or_else(|| match first_line(text, SHOWN) {
        Some(line) => Ssh::Other(line),
        None => Ssh::Unknown("`ssh -V` printed nothing".to_owned()),
    })
}

impl Ssh {
    /// Whether it knows `KnownHostsCommand`: one that does not is stopped by it, for every host. Where
    /// there is no OpenSSH, nothing is stopped.
    pub(crate) fn knows_known_hosts_command(&self) -> bool {
        self.is_at_least(KNOWN_HOSTS_COMMAND)
    }

    /// Whether it knows `Include`.
    pub(crate) fn knows_include(&self) -> bool {
        match self {
            // Versions that are so old are not expected.
            Self::Unknown(_) => true,
            _ => self.is_at_least(INCLUDE),
        }
    }

    /// Whether it is Microsoft's.
    pub(crate) fn is_microsofts(&self) -> bool {
        matches!(self, Self::Version { name, .. } if name.starts_with(FOR_WINDOWS))
    }

    /// Whether it is an OpenSSH of Windows that is not Microsoft's: Git's.
    pub(crate) fn is_gits(&self) -> bool {
        cfg!(windows) && matches!(self, Self::Version { .. }) && !self.is_microsofts()
    }

    /// Whether it knows `ControlMaster`: Microsoft's does not, and each connection with it fails.
    pub(crate) fn shares_connections(&self) -> bool {
        !self.is_microsofts()
    }

    fn is_at_least(&self, first: (u32, u32)) -> bool {
        match self {
            Self::Version { version, .. } => *version >= first,
            Self::Other(_) | Self::Missing => true,
            Self::Unknown(_) => false,
        }
    }
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { name, .. } => f.write_str(name),
            Self::Other(name) => write!(f, "the ssh in PATH is not OpenSSH: {name}"),
            Self::Missing => f.write_str("there is no ssh in PATH"),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_each_build_prints_them() {
        for (text, version, knows) in [
            ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026", (9, 2), true),
            ("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2", (8, 1), false),
            ("OpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w", (8, 4), false),
            ("OpenSSH_8.5p1, OpenSSL", (8, 5), true),
            ("OpenSSH_10.0p2 Debian-7", (10, 0), true),
            ("ssh: warning\nOpenSSH_7.4p1, OpenSSL 1.0.2k-fips", (7, 4), false),
            ("OpenSSH_6.6.1p1", (6, 6), false),
        ] {
            let ssh = parse(text);
            assert!(matches!(&ssh, Ssh::Version { version: found, .. } if *found == version));
            assert_eq!(ssh.knows_known_hosts_command(), knows, "{text}");
            assert_eq!(ssh.shares_connections(), !text.contains("Windows"), "{text}");
            assert_eq!(ssh.knows_include(), version > (7, 2), "{text}");
        }
        let dropbear = parse("Dropbear v2022.83\n");
        assert_eq!(dropbear, Ssh::Other("Dropbear v2022.83".to_owned()));
        assert!(matches!(parse("\n"), Ssh::Unknown(_)));
        assert!(!parse("").knows_known_hosts_command(), "it would stop every ssh");
        assert!(matches!(parse("OpenSSH_x.yp1"), Ssh::Other(_)));
    }
}
