//! Where connections come from: a TCP port or a unix socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::accept_error::AcceptError;
use super::channel::Halves;
use super::context::Phase;
use super::forwarding::Forwarding;
use super::pool::Pool;
use super::report::Event;
use super::spec::Listen;
use crate::app::Result;
use crate::explain::{ExitCode, UsageError};
use crate::gateway::socket;

/// How many connections may wait for their turn; the system holds those after them.
const MOST_WAITING: usize = 128;
/// How long the system may take to show the connections that it had made when the program ended.
const SHOWN_WITHIN: Duration = Duration::from_millis(5);

/// Why nothing can be listened on.
fn not_bound(address: &str, error: &io::Error) -> UsageError {
    let fix = remedy(error.kind(), address, cfg!(windows));
    UsageError::new(format!("cannot listen on {address}: {error}"), fix).exits(ExitCode::Failed)
}

/// What to do when `address`, a path or an address with its port, cannot be listened on.
fn remedy(kind: io::ErrorKind, address: &str, is_windows: bool) -> &'static str {
    let is_path = address.contains('/');
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match kind {
        io::ErrorKind::AddrInUse if is_path => {
            "end the program that listens there, or remove the file if it is no socket"
        }
        io::ErrorKind::AddrInUse => {
            "end the program that has it, or take another: port 0 is a free one"
        }
        io::ErrorKind::PermissionDenied if is_path => "take a folder that you may write to",
        io::ErrorKind::NotFound => "make the folder first, or take another",
        // WSAEACCES: Hyper-V and others reserve ranges.
        io::ErrorKind::PermissionDenied if is_windows => {
            "choose another port, 0 for a free one: Windows reserves ranges of ports, which \
             `netsh interface ipv4 show excludedportrange protocol=tcp` lists"
        }
        io::ErrorKind::PermissionDenied if port.is_some_and(|port| port < 1024) => {
            "ports below 1024 need root: take a higher one"
        }
        io::ErrorKind::PermissionDenied => {
            "choose another port: a security policy of this machine forbids this one"
        }
        io::ErrorKind::AddrNotAvailable => "give an address that this machine has",
        io::ErrorKind::Unsupported if is_windows => {
            "listen on a port: unix sockets are not supported on Windows"
        }
        _ => "give another address, port or path",
    }
}

/// How many free ports are tried until one is free on both loopback addresses.
const MOST_PORTS: usize = 16;

/// A place that is listened on.
pub(crate) enum Listener {
    /// One address, and the same port of ::1 where both loopback addresses are wanted.
    Tcp { first: Tcp, second: Option<Tcp>, warning: Option<String> },
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Begins to listen.
    pub(crate) fn bind(listen: &Listen) -> Result<Self> {
        let bound = match listen {
            Listen::Tcp(address) => {
                Tcp::bind(*address).map(|first| Self::Tcp { first, second: None, warning: None })
            }
            Listen::Loopbacks(port) => bind_loopbacks(*port),
            #[cfg(unix)]
            Listen::Unix(path) => bind_unix(path),
            #[cfg(not(unix))]
            Listen::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(bound.map_err(|error| not_bound(&listen.to_string(), &error))?)
    }

    /// The addresses with their real port, or the path. The first one stands for the forward.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Tcp { first, second, .. } => {
                [Some(first), second.as_ref()].into_iter().flatten().map(Tcp::to_string).collect()
            }
            #[cfg(unix)]
            Self::Unix(_, file) => vec![file.path.display().to_string()],
        }
    }

    /// Whether other machines may reach it.
    pub(crate) fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp { first, .. } => !first.address.ip().is_loopback(),
            #[cfg(unix)]
            Self::Unix(..) => false,
        }
    }

    /// The warning about addresses that are missing.
    pub(crate) fn warning(&self) -> Option<&str> {
        match self {
            Self::Tcp { warning, .. } => warning.as_deref(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }

    /// Takes connections until the forward is stopped, and waits for them to end. With `once`, takes
    /// one, on whichever forward it comes, and returns its exit code. Otherwise returns that of a
    /// connection that failed after the forward was stopped.
    pub(crate) async fn accept(
        self,
        pool: &Rc<Pool>,
        forwarding: &Rc<Forwarding>,
        once: bool,
    ) -> Option<ExitCode> {
        let context = &pool.context;
        let mut connections: JoinSet<ExitCode> = JoinSet::new();
        let (mut taken, mut told) = (false, Vec::new());
        loop {
            let room = connections.len() < context.max_connections + MOST_WAITING;
            let accepted = tokio::select! {
                biased;
                () = context.reached(Phase::Taken) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.next(), if room => accepted,
            };
            let accepted = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    let cause = AcceptError::of(&error);
                    if cause == AcceptError::ClientGone {
                        debug!("a client of {} has left: {error}", forwarding.address());
                        continue;
                    }
                    if !told.contains(&cause) {
                        told.push(cause);
                        if let Some(warning) = cause.warning(forwarding.address(), &error) {
                            warn!("{warning}");
                        }
                    }
                    // A descriptor comes free when a connection ends.
                    tokio::select! {
                        Some(_) = connections.join_next() => {}
                        () = context.reached(Phase::Taken) => break,
                        () = tokio::time::sleep(Duration::from_millis(200)) => {}
                    }
                    continue;
                }
            };
            take(&mut connections, accepted, pool, forwarding);
            if once {
                taken = true;
                context.advance(Phase::Taken);
            }
        }
        // A program may have connected, sent something and ended in one moment.
        while context.is_delivering()
            && let Ok(Ok(accepted)) = timeout(SHOWN_WITHIN, self.next()).await
        {
            take(&mut connections, accepted, pool, forwarding);
        }
        // Nobody can connect any more, and a socket's file goes.
        drop(self);
        let mut code = ExitCode::Ok;
        while let Some(ended) = connections.join_next().await {
            match ended.unwrap_or(ExitCode::Failed) {
                ExitCode::Ok => {}
                failed => code = failed,
            }
        }
        (taken || code != ExitCode::Ok).then_some(code)
    }

    async fn next(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp { first, second, .. } => {
                let second = second.as_ref().map(|second| second.listener.accept());
                let (stream, peer) = tokio::select! {
                    accepted = first.listener.accept() => accepted?,
                    Some(accepted) = OptionFuture::from(second) => accepted?,
                };
                Ok((socket::tcp(stream), peer.to_string()))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((socket::unix(stream), "local".to_owned()))
            }
        }
    }
}

/// A connection, and where it comes from.
type Accepted = (Halves, String);

/// Begins to carry a connection.
fn take(
    connections: &mut JoinSet<ExitCode>,
    (halves, peer): Accepted,
    pool: &Rc<Pool>,
    forwarding: &Rc<Forwarding>,
) {
    let number = pool.context.next_connection();
    let address = forwarding.address();
    pool.context.reporter.emit(&Event::Accepted { connection: number, address, peer: &peer });
    let channel = forwarding.warm.take();
    let (forwarding, pool) = (Rc::clone(forwarding), Rc::clone(pool));
    connections
        .spawn_local(async move { forwarding.connect(&pool, number, halves, channel).await });
}

/// A TCP port that is listened on.
pub(crate) struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
}

impl Tcp {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

impl std::fmt::Display for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// Listens on one port of both loopback addresses. A machine may have one of them only. A port of ::1
/// that is taken leaves 127.0.0.1 alone, as with `ssh -L`, and is warned of: `localhost` may lead to it.
fn bind_loopbacks(port: u16) -> io::Result<Listener> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    // Ports that are free on 127.0.0.1 only are held until the end: the system would offer them again.
    let mut held = Vec::new();
    loop {
        let first = match Tcp::bind(SocketAddr::new(v4, port)) {
            Err(error) if is_missing(&error) => {
                let first = Tcp::bind(SocketAddr::new(v6, port))?;
                return Ok(Listener::Tcp { first, second: None, warning: None });
            }
            first => first?,
        };
        let address = SocketAddr::new(v6, first.address.port());
        let warning = match Tcp::bind(address) {
            Ok(second) => {
                return Ok(Listener::Tcp { first, second: Some(second), warning: None });
            }
            Err(error) if is_missing(&error) => None,
            Err(_) if port == 0 && held.len() < MOST_PORTS => {
                held.push(first);
                continue;
            }
            Err(error) => Some(format!(
                "cannot listen on {address}: {error}: only {first} is forwarded, and programs that \
                 connect to localhost may reach another program"
            )),
        };
        return Ok(Listener::Tcp { first, second: None, warning });
    }
}

/// Whether this machine does not have the address, or its whole family.
fn is_missing(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

#[cfg(unix)]
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
/// WSAEAFNOSUPPORT.
#[cfg(not(unix))]
const NO_SUCH_FAMILY: i32 = 10_047;

/// The file of a unix socket, removed at the end.
#[cfg(unix)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own file in the place.
    id: Option<(u64, u64)>,
}

#[cfg(unix)]
impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), id: id(path) }
    }
}

#[cfg(unix)]
fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id == id(&self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a path that only this user may connect to.
#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<Listener> {
    use rustix::fs::Mode;
    use rustix::process::umask;

    remove_stale(path);
    // The socket must not be open to others for even a moment.
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    Ok(Listener::Unix(bound?, SocketFile::new(path)))
}

/// Removes a socket that nobody listens on any more, as a killed process leaves it.
#[cfg(unix)]
fn remove_stale(path: &Path) {
    use std::os::unix::fs::FileTypeExt;

    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && is_abandoned(path) {
        let _ = std::fs::remove_file(path);
    }
}

/// Whether no program has bound the socket at a path. A datagram socket asks: the system refuses to
/// connect it to a stream socket (EPROTOTYPE), so the program that listens there accepts nothing. A
/// stream socket would be accepted, and another `forward` would open a session for it.
#[cfg(unix)]
fn is_abandoned(path: &Path) -> bool {
    let asked = std::os::unix::net::UnixDatagram::unbound().and_then(|asks| asks.connect(path));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_permitted_has_its_own_reason_on_each_system() {
        for (address, is_windows, text) in [
            ("127.0.0.1:80", false, "ports below 1024 need root"),
            ("[::1]:1023", false, "ports below 1024 need root"),
            ("127.0.0.1:1024", false, "a security policy"),
            ("localhost:8080", false, "a security policy"),
            ("127.0.0.1:80", true, "netsh interface ipv4 show excludedportrange"),
            ("localhost:50000", true, "netsh interface ipv4 show excludedportrange"),
            ("/run/db.sock", false, "a folder that you may write to"),
        ] {
            let remedy = remedy(io::ErrorKind::PermissionDenied, address, is_windows);
            assert!(remedy.contains(text), "{address}: {remedy}");
        }
        let remedy = remedy(io::ErrorKind::Unsupported, "/run/db.sock", true);
        assert!(remedy.contains("listen on a port"), "{remedy}");
    }
}
