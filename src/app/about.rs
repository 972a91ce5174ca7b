//! What this program is, and what it runs on: for bug reports.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::openssh::{Ssh, printed};

/// How long a program may take that tells which system this is.
const WITHIN: Duration = Duration::from_secs(2);

/// The facts of `version --json`: what is not known is null.
pub(crate) async fn about(ssh: &Ssh) -> Value {
    let system = system().await;
    let ssh = match ssh {
        Ssh::Version { name, .. } | Ssh::Other(name) => Some(name),
        Ssh::Missing | Ssh::Unknown(_) => None,
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("ECS_BRIDGE_COMMIT"),
        "target": env!("ECS_BRIDGE_TARGET"),
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "os": {
            "family": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "name": system.name,
            "kernel": system.kernel,
        },
        "tls": { "library": "rustls", "provider": "ring", "roots": ROOTS },
        "ssh": ssh,
    })
}

/// Where certificates of authorities come from, unless the command line or a variable names others.
const ROOTS: &str = if cfg!(windows) {
    "Windows certificate store"
} else if cfg!(target_vendor = "apple") {
    "Keychain"
} else {
    "files of the system"
};

/// The system's name and its kernel, as far as they are known.
#[derive(Debug, Default, PartialEq, Eq)]
struct System {
    name: Option<String>,
    kernel: Option<String>,
}

async fn system() -> System {
    if cfg!(windows) {
        // A built-in of the shell: Windows has no program of its own for it.
        return line_of(Command::new("cmd").args(["/c", "ver"]))
            .await
            .as_deref()
            .map_or_else(System::default, windows);
    }
    let name = if cfg!(target_os = "macos") {
        let version = line_of(Command::new("/usr/bin/sw_vers").arg("-productVersion")).await;
        version.map(|version| format!("macOS {version}"))
    } else {
        distribution()
    };
    System { name, kernel: kernel() }
}

/// The first line that a program prints, if it ends well and in time.
async fn line_of(command: &mut Command) -> Option<String> {
    let printed = printed(command, WITHIN).await.ok().filter(|printed| printed.status.success())?;
    let line = printed.stdout.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.to_owned())
}

/// What `ver` prints: `Microsoft Windows [Version 10.0.22631.3593]`, with a word of the user's language, in the
/// console's encoding, before the number.
fn windows(line: &str) -> System {
    let is_of_version = |c: char| c.is_ascii_digit() || c == '.';
    let version =
        line.split(|c| !is_of_version(c)).find(|word| word.contains('.') && word.len() > 2);
    let name =
        line.split(|c: char| c == '[' || c.is_ascii_digit()).next().unwrap_or_default().trim();
    let name = [name, version.unwrap_or_default()].join(" ");
    System {
        name: Some(name.trim().to_owned()).filter(|name| !name.is_empty()),
        kernel: version.map(|version| format!("Windows NT {version}")),
    }
}

/// The name of the distribution (os-release).
fn distribution() -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}

#[cfg(unix)]
fn kernel() -> Option<String> {
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Some(format!("{} {}", text(system.sysname()), text(system.release())))
}

#[cfg(not(unix))]
fn kernel() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_windows_is_found_in_every_language() {
        for (line, name, kernel) in [
            (
                "Microsoft Windows [Version 10.0.22631.3593]",
                "Microsoft Windows 10.0.22631.3593",
                Some("Windows NT 10.0.22631.3593"),
            ),
            (
                "Microsoft Windows [\u{fffd}\u{fffd} 10.0.19045.1]",
                "Microsoft Windows 10.0.19045.1",
                Some("Windows NT 10.0.19045.1"),
            ),
            // Wine
            (
                "Microsoft Windows 6.1.7601",
                "Microsoft Windows 6.1.7601",
                Some("Windows NT 6.1.7601"),
            ),
            ("Microsoft Windows", "Microsoft Windows", None),
        ] {
            let expected =
                System { name: Some(name.to_owned()), kernel: kernel.map(str::to_owned) };
            assert_eq!(windows(line), expected, "{line}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_that_fails_tells_nothing() {
        let mut said = Command::new("/bin/sh");
        assert_eq!(
            line_of(said.args(["-c", "echo; echo ' 14.5 '; echo x"])).await.as_deref(),
            Some("14.5")
        );
        let mut failed = Command::new("/bin/sh");
        assert_eq!(line_of(failed.args(["-c", "echo 14.5; exit 1"])).await, None);
        assert_eq!(line_of(&mut Command::new("/nonexistent")).await, None);
    }
}
