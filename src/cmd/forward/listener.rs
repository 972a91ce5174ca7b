//! Where connections come from: a TCP port or a unix socket.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tracing::warn;

use super::context::{Context, Phase};
use super::lane::Lane;
use super::report::Event;
use crate::cmd::Result;
use crate::explain::{ExitCode, Explain};
use crate::spec::Listen;
use crate::tunnel::socket::{self, ReadHalf, WriteHalf};

/// How many connections may wait for their turn; the system holds those after them.
const MOST_WAITING: usize = 128;

/// Why nothing can be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
struct BindError {
    address: String,
    source: io::Error,
}

impl Explain for BindError {
    fn remedy(&self) -> Option<String> {
        let remedy = match self.source.kind() {
            io::ErrorKind::AddrInUse if self.address.contains('/') => {
                "end the program that listens there, or remove the file if it is no socket"
            }
            io::ErrorKind::AddrInUse => {
                "end the program that has it, or take another: port 0 is a free one"
            }
            io::ErrorKind::PermissionDenied if self.address.contains('/') => {
                "take a folder that you may write to"
            }
            io::ErrorKind::NotFound => "make the folder first, or take another",
            io::ErrorKind::PermissionDenied => "ports below 1024 need root: take a higher one",
            io::ErrorKind::AddrNotAvailable => "give an address that this machine has",
            _ => "give another address, port or path",
        };
        Some(remedy.to_owned())
    }
}

/// A place that is listened on.
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Begins to listen.
    pub(super) fn bind(listen: &Listen) -> Result<Self> {
        let bound = match listen {
            Listen::Tcp(address) => bind_tcp(*address),
            #[cfg(unix)]
            Listen::Unix(path) => bind_unix(path),
            #[cfg(not(unix))]
            Listen::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(bound.map_err(|source| BindError { address: listen.to_string(), source })?)
    }

    /// The address with its real port, or the path.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => address.to_string(),
            #[cfg(unix)]
            Self::Unix(_, file) => file.path.display().to_string(),
        }
    }

    /// Whether other machines may reach it.
    pub(super) fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(_, address) => !address.ip().is_loopback(),
            #[cfg(unix)]
            Self::Unix(..) => false,
        }
    }

    /// Takes connections until the forward is stopped, and waits for them to end. With `once`, takes
    /// one, on whichever forward it comes, and tells the exit code that it is worth.
    pub(super) async fn accept(
        self,
        context: &Rc<Context>,
        lane: &Rc<Lane>,
        once: bool,
    ) -> Option<ExitCode> {
        let mut connections: JoinSet<ExitCode> = JoinSet::new();
        let (mut taken, mut told) = (false, false);
        loop {
            let room = connections.len() < context.max_connections + MOST_WAITING;
            let accepted = tokio::select! {
                biased;
                () = context.reached(Phase::Taken) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.next(), if room => accepted,
            };
            let (halves, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, as a rule: one comes free when a connection ends.
                    if !std::mem::replace(&mut told, true) {
                        warn!(
                            "cannot take a connection on {}: {error}: it waits until one of the \
                             others ends; `ulimit -n` raises a limit of open files (told once)",
                            lane.address
                        );
                    }
                    tokio::select! {
                        Some(_) = connections.join_next() => {}
                        () = context.reached(Phase::Taken) => break,
                        () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {}
                    }
                    continue;
                }
            };
            let number = context.next_connection();
            context.reporter.tell(&Event::Accepted {
                connection: number,
                address: &lane.address,
                peer: &peer,
            });
            let channel = lane.take();
            if once {
                taken = true;
                context.advance(Phase::Taken);
            }
            let (lane, context) = (Rc::clone(lane), Rc::clone(context));
            connections
                .spawn_local(async move { lane.connect(&context, number, halves, channel).await });
        }
        // Nobody can connect any more, and a socket's file goes.
        drop(self);
        let mut code = ExitCode::Ok;
        while let Some(ended) = connections.join_next().await {
            code = ended.unwrap_or(ExitCode::Failed);
        }
        taken.then_some(code)
    }

    async fn next(&self) -> io::Result<((ReadHalf, WriteHalf), String)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
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

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    Ok(Listener::Tcp(listener, address))
}

/// The file of a unix socket, removed at the end.
#[cfg(unix)]
pub(super) struct SocketFile {
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
    if is_socket
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        let _ = std::fs::remove_file(path);
    }
}
