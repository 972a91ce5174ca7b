//! What a session finds around it: directory, shell, variables.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// For a server that was itself started without a `$PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The same for all sessions of a server.
pub(super) struct Environment {
    root: PathBuf,
    command_shell: PathBuf,
    login_shell: PathBuf,
    variables: Vec<(String, String)>,
}

/// Who asks for a session, and from where.
pub(super) struct Origin {
    pub(super) user: String,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

impl Environment {
    pub(super) fn new(
        root: PathBuf,
        shell: Option<PathBuf>,
        variables: Vec<(String, String)>,
    ) -> Self {
        let login_shell = shell
            .clone()
            .or_else(|| std::env::var_os("SHELL").map(PathBuf::from).filter(|path| path.exists()));
        let bourne = || PathBuf::from("/bin/sh");
        Self {
            root,
            command_shell: shell.unwrap_or_else(bourne),
            login_shell: login_shell.unwrap_or_else(bourne),
            variables,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The process of a session: a command given to the shell, or without one a login shell.
    pub(super) fn command(
        &self,
        command: Option<&[u8]>,
        origin: &Origin,
        asked: &[(String, String)],
    ) -> Command {
        let mut process = match command {
            Some(text) => {
                let mut process = Command::new(&self.command_shell);
                process.arg("-c").arg(OsStr::from_bytes(text));
                process
            }
            None => {
                let mut process = Command::new(&self.login_shell);
                process.arg0(login_name(&self.login_shell));
                process
            }
        };
        // Like sshd's: nothing of the server's own environment, or a variable of cargo or git that
        // a test runs under would change what its "instance" does.
        process.env_clear();
        process.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
        process.env("HOME", &self.root).env("SHELL", &self.login_shell);
        process.env("USER", &origin.user).env("LOGNAME", &origin.user);
        let Origin { peer, local, .. } = origin;
        process.env(
            "SSH_CONNECTION",
            format!("{} {} {} {}", peer.ip(), peer.port(), local.ip(), local.port()),
        );
        process.envs(asked.iter().map(|(name, value)| (name, value)));
        process.envs(self.variables.iter().map(|(name, value)| (name, value)));
        process.current_dir(&self.root).kill_on_drop(true);
        process
    }
}

/// The client may set these, as with an sshd of most distributions.
pub(super) fn accepts_variable(name: &str) -> bool {
    matches!(name, "LANG" | "GIT_PROTOCOL" | "TERM") || name.starts_with("LC_")
}

/// A shell takes a name that begins with a dash as the wish to be a login shell.
fn login_name(shell: &Path) -> OsString {
    let mut name = OsString::from("-");
    name.push(shell.file_name().unwrap_or(OsStr::new("sh")));
    name
}
