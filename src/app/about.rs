//! What this program is, and what it runs on: for bug reports.

use serde_json::{Value, json};

use crate::openssh::Ssh;

/// The facts of `version --json`: what is not known is null.
pub(crate) fn about(ssh: &Ssh) -> Value {
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
            "name": os_name(),
            "kernel": kernel(),
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

/// The name of the distribution (os-release).
fn os_name() -> Option<String> {
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
