//! What a server must be able to stop at once: sockets and process groups.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::watch;

/// How much of everything there is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) connections: usize,
    pub(super) accepted: usize,
    pub(super) processes: usize,
}

/// The live sockets and process groups of a server.
///
/// Tasks are aborted by the runtime some time after a drop; a socket is shut down and a process
/// killed in the drop itself, so nothing outlives a server whose runtime stops with it.
pub(crate) struct Registry {
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
}

#[derive(Default)]
struct State {
    closed: bool,
    next: u64,
    sockets: HashMap<u64, std::net::TcpStream>,
    groups: HashMap<Pid, Kind>,
}

/// What the leader of a process group leads besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process group only: a child with pipes.
    Group,
    /// A session too, with the jobs of an interactive shell as more groups: a child with a terminal.
    Session,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("counts", &*self.counts.borrow()).finish_non_exhaustive()
    }
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), counts: watch::Sender::default() })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Notes the socket; it is shut down when the guard or the server goes.
    pub(super) fn add_connection(
        self: &Arc<Self>,
        stream: TcpStream,
    ) -> io::Result<(TcpStream, ConnectionGuard)> {
        let stream = stream.into_std()?;
        let second = stream.try_clone()?;
        let id = {
            let mut state = self.state();
            if state.closed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            state.next += 1;
            let id = state.next;
            state.sockets.insert(id, second);
            id
        };
        self.counts.send_modify(|counts| {
            counts.connections += 1;
            counts.accepted += 1;
        });
        let guard = ConnectionGuard { registry: Arc::clone(self), id };
        Ok((TcpStream::from_std(stream)?, guard))
    }

    /// Notes a child that was just started as a leader; its group is killed when the guard or the
    /// server goes.
    fn add_process(self: &Arc<Self>, leader: Pid, kind: Kind) -> ProcessGroup {
        let closed = {
            let mut state = self.state();
            state.groups.insert(leader, kind);
            state.closed
        };
        self.counts.send_modify(|counts| counts.processes += 1);
        let group = ProcessGroup { registry: Arc::clone(self), leader, kind };
        if closed {
            group.kill();
        }
        group
    }

    /// The same, for a child as it was started.
    pub(crate) fn add_child(
        self: &Arc<Self>,
        child: &Child,
        kind: Kind,
    ) -> io::Result<ProcessGroup> {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(self.add_process(leader.ok_or(io::ErrorKind::NotFound)?, kind))
    }

    /// Shuts every socket down, kills every group, and takes no more of either.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for socket in state.sockets.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        for (leader, kind) in &state.groups {
            kill(*leader, *kind);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuts its connection down on drop.
pub(super) struct ConnectionGuard {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if let Some(socket) = self.registry.state().sockets.remove(&self.id) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.registry.counts.send_modify(|counts| counts.connections -= 1);
    }
}

/// Kills its process group on drop.
pub(crate) struct ProcessGroup {
    registry: Arc<Registry>,
    leader: Pid,
    kind: Kind,
}

impl ProcessGroup {
    /// Kills everything the leader leads.
    pub(crate) fn kill(&self) {
        kill(self.leader, self.kind);
    }

    /// Sends a signal to the leader's group.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The leader may have been waited for by now. Its number is not given to another process
        // while its group has members, and the kernel comes round to it only after all others.
        self.kill();
        self.registry.state().groups.remove(&self.leader);
        self.registry.counts.send_modify(|counts| counts.processes -= 1);
    }
}

fn kill(leader: Pid, kind: Kind) {
    let _ = kill_process_group(leader, Signal::KILL);
    if kind == Kind::Session {
        for member in members(leader) {
            let _ = kill_process(member, Signal::KILL);
        }
    }
}

/// The processes of a session, as far as the system lists them (Linux does; elsewhere the hang-up
/// of the terminal has to do).
fn members(session: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let member = |name: &str| {
        let process = name.parse().ok().and_then(Pid::from_raw)?;
        // rustix's getsid asserts a session other than 0, which threads of the kernel have.
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        (session_of(&stat)? == session.as_raw_nonzero().get()).then_some(process)
    };
    processes.filter_map(|entry| member(entry.ok()?.file_name().to_str()?)).collect()
}

/// The sixth field of `/proc/PID/stat`; the second may hold spaces and parentheses.
fn session_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_behind_any_name() {
        assert_eq!(session_of("7 (a b) c) S 1 5 6 34816 5 4194304"), Some(6));
        assert_eq!(session_of("2 (kthreadd) S 0 0 0 0 -1"), Some(0));
        assert_eq!(session_of(""), None);
    }
}
