//! An SSH server in the process: the `sshd` of the stand-in instance.
//!
//! It lets the end-to-end tests and the sandbox example run on a machine that has the OpenSSH
//! *client* only. Sessions are real child processes of the current user (pipes or a pseudo-terminal),
//! `sftp` and modern `scp` are answered in the process, and `-L`, `-D`, `-R` reach loopback
//! addresses. Whoever holds an authorized key can run anything as the current user, so the keys
//! are meant to be thrown away and the listener stays on 127.0.0.1.
//!
//! ```no_run
//! # async fn example(public_key: &str) -> Result<(), local_cloud::ssh_server::Error> {
//! use local_cloud::ssh_server::SshServer;
//!
//! let server = SshServer::builder().authorized_key(public_key).start().await?;
//! let known_hosts = format!("i-bp1example {}\n", server.host_key_openssh());
//! # drop(known_hosts);
//! # Ok(())
//! # }
//! ```
//!
//! # Flow control
//!
//! A client that stops reading stops the read of the child's output: every write waits for room in
//! the channel's window. In the other direction russh renews the client's window when data
//! *arrives*, not when the child took it, so what a child has not read yet waits in a queue of at
//! most 32 MiB a channel; when that is full, the whole connection stops being read. A client that
//! sends more than that to an echo and reads nothing of it meanwhile therefore blocks itself for
//! good, where an sshd would go on as soon as it reads.
//!
//! # What an sshd does and this does not
//!
//! It does not support OpenSSH's own requests, so a command whose reader went away (`ssh host yes |
//! head -1`) is not notified. The end of a command's output is reported only with its exit status,
//! though it may have closed its output long before. RSA keys, agent and X11 forwarding, and
//! forwarded Unix sockets are refused. The environment is a clean one, and `$HOME` is the root
//! directory. Whatever a session leaves in the background is killed with it.

mod client;
mod environment;
mod forward;
mod process;
pub(crate) mod registry;
mod sftp;
mod sftp_files;

use std::borrow::Cow;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::{MethodKind, MethodSet, SshId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use client::ClientHandler;
use environment::Environment;
use registry::{Counts, Registry};

/// Messages of a channel that may wait for their child process; with packets of 32 KiB, 32 MiB.
const CHANNEL_QUEUE: usize = 1024;

/// The pause after a failed `accept`, which is mostly a process out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The host key could not be read, made or written.
    #[error("the host key is not usable: {0}")]
    HostKey(russh::keys::ssh_key::Error),
    /// An authorized key is not one line of OpenSSH public key.
    #[error("an authorized key is not an OpenSSH public key: {0}")]
    AuthorizedKey(russh::keys::ssh_key::Error),
    /// The directory that sessions start in is not there.
    #[error("cannot use {path} as the root directory: {source}")]
    RootDir {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The settings of a server that is not started yet; made by [`SshServer::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    bind: SocketAddr,
    host_key: Option<String>,
    authorized_keys: Vec<String>,
    accept_none: bool,
    banner_delay: Duration,
    root_dir: Option<PathBuf>,
    shell: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl Builder {
    /// Listens on this address in place of a free port of 127.0.0.1.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = address;
        self
    }

    /// Uses this private key (OpenSSH format, no passphrase) in place of a generated ed25519 one.
    pub fn host_key(mut self, openssh_private_key: impl Into<String>) -> Self {
        self.host_key = Some(openssh_private_key.into());
        self
    }

    /// Lets the holder of this key in, under any user name. May be called more than once.
    pub fn authorized_key(mut self, openssh_public_key: impl Into<String>) -> Self {
        self.authorized_keys.push(openssh_public_key.into());
        self
    }

    /// Lets everybody in, without any key. Off unless asked for.
    pub fn accept_none(mut self, accept: bool) -> Self {
        self.accept_none = accept;
        self
    }

    /// Accepts a connection at once, but says the identification line only after this delay.
    pub fn banner_delay(mut self, delay: Duration) -> Self {
        self.banner_delay = delay;
        self
    }

    /// The directory sessions start in, their `$HOME`, and what relative paths of sftp start from.
    /// The current directory unless given. It is not a jail.
    pub fn root_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_dir = Some(path.into());
        self
    }

    /// The shell of commands and interactive sessions. Unless given, commands are run by `/bin/sh`
    /// and interactive sessions by `$SHELL`.
    pub fn shell(mut self, path: impl Into<PathBuf>) -> Self {
        self.shell = Some(path.into());
        self
    }

    /// Sets one more variable for the sessions, whose environment is otherwise a clean one.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// When a key cannot be parsed, the root directory is not there, or the address is taken.
    pub async fn start(self) -> Result<SshServer, Error> {
        let host_key = match &self.host_key {
            Some(text) => PrivateKey::from_openssh(text),
            None => PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519),
        }
        .map_err(Error::HostKey)?;
        let host_key_openssh = host_key.public_key().to_openssh().map_err(Error::HostKey)?;
        let host_private_key = host_key.to_openssh(LineEnding::LF).map_err(Error::HostKey)?;

        let authorized_keys = self
            .authorized_keys
            .iter()
            .map(|text| PublicKey::from_openssh(text.trim()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::AuthorizedKey)?;

        let root = self.root_dir.unwrap_or_else(|| PathBuf::from("."));
        let root = root.canonicalize().map_err(|source| Error::RootDir { path: root, source })?;

        let listen = |source| Error::Listen { address: self.bind, source };
        let listener = TcpListener::bind(self.bind).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let registry = Registry::new();
        let shared = Arc::new(Shared {
            ssh: Arc::new(ssh_config(host_key)),
            authorized_keys,
            accept_none: self.accept_none,
            banner_delay: self.banner_delay,
            environment: Environment::new(root, self.shell, self.env),
            registry: Arc::clone(&registry),
        });
        let accepting = tokio::spawn(accept(listener, shared)).abort_handle();

        Ok(SshServer {
            address,
            host_key_openssh,
            host_private_key: host_private_key.to_string(),
            counts: registry.watch(),
            registry,
            accepting,
        })
    }
}

/// A running server. Dropping it closes the listener and every connection and kills the child
/// processes of all sessions, all before the drop returns.
pub struct SshServer {
    address: SocketAddr,
    host_key_openssh: String,
    host_private_key: String,
    counts: watch::Receiver<Counts>,
    registry: Arc<Registry>,
    accepting: AbortHandle,
}

impl SshServer {
    /// The settings of a new server, all at their defaults: nobody is let in.
    pub fn builder() -> Builder {
        Builder {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host_key: None,
            authorized_keys: Vec::new(),
            accept_none: false,
            banner_delay: Duration::ZERO,
            root_dir: None,
            shell: None,
            env: Vec::new(),
        }
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The public half of the host key, `ssh-ed25519 AAAA…`: a line of known_hosts without its host.
    pub fn host_key_openssh(&self) -> &str {
        &self.host_key_openssh
    }

    /// The host key itself, for a second server that is to look like this one.
    pub fn host_private_key_openssh(&self) -> &str {
        &self.host_private_key
    }

    /// Connections that are open now, authenticated or not.
    pub fn connections(&self) -> usize {
        self.counts.borrow().connections
    }

    /// Connections that were accepted since the start.
    pub fn accepted(&self) -> usize {
        self.counts.borrow().accepted
    }

    /// Child processes that run now; each is the leader of its process group.
    pub fn processes(&self) -> usize {
        self.counts.borrow().processes
    }

    /// Returns once exactly this many connections are open.
    pub async fn wait_for_connections(&self, count: usize) {
        self.wait_until(|now| now.connections == count).await;
    }

    /// Returns once exactly this many child processes run.
    pub async fn wait_for_processes(&self, count: usize) {
        self.wait_until(|now| now.processes == count).await;
    }

    async fn wait_until(&self, condition: impl FnMut(&Counts) -> bool) {
        // It fails only when the registry is gone, and this server holds it.
        let _ = self.counts.clone().wait_for(condition).await;
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.registry.close();
    }
}

impl std::fmt::Debug for SshServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshServer")
            .field("address", &self.address)
            .field("counts", &*self.counts.borrow())
            .finish_non_exhaustive()
    }
}

/// What all connections of a server share.
struct Shared {
    ssh: Arc<russh::server::Config>,
    authorized_keys: Vec<PublicKey>,
    accept_none: bool,
    banner_delay: Duration,
    environment: Environment,
    registry: Arc<Registry>,
}

fn ssh_config(host_key: PrivateKey) -> russh::server::Config {
    russh::server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-local_cloud")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        keys: vec![host_key],
        // A wrong key need not be slow here; tests wait for the refusal.
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        channel_buffer_size: CHANNEL_QUEUE,
        ..Default::default()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its first byte to its last.
async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // The session runs in a task of russh that cannot be aborted from here; it ends when its
    // socket is shut down, which the guard does.
    let Ok((stream, _guard)) = shared.registry.add_connection(stream) else {
        return;
    };
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let _ = stream.set_nodelay(true);
    if !shared.banner_delay.is_zero() {
        tokio::time::sleep(shared.banner_delay).await;
    }
    let ssh = Arc::clone(&shared.ssh);
    let handler = ClientHandler::new(shared, peer, local);
    if let Ok(session) = russh::server::run_stream(ssh, stream, handler).await {
        // How it ended is the client's to tell; a dropped connection is no error of the server.
        let _ = session.await;
    }
}
