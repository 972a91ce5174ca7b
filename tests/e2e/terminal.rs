//! Terminals of the test's own, and processes that are nobody's children.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::world::PATIENCE;

/// A terminal, and what was written on it so far.
pub(crate) struct Terminal {
    slave: Option<OwnedFd>,
    keys: Sender,
    shown: watch::Receiver<String>,
    reading: JoinHandle<()>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        // Other tests start programs at the same time, and one that had this open would keep it.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
        let no_ctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(no_ctty).open(path);
        let slave = Some(OwnedFd::from(slave.unwrap()));
        fcntl_setfl(&master, fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK).unwrap();
        // It can be written to as a pipe is; that makes no difference to the event loop.
        let keys = Sender::from_owned_fd_unchecked(master.try_clone().unwrap()).unwrap();
        let mut master = waitable(master);
        let (sender, shown) = watch::channel(String::new());
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                match master.read(&mut buffer).await {
                    Ok(count) => sender.send_modify(|all| {
                        all.push_str(&String::from_utf8_lossy(&buffer[..count]))
                    }),
                    // Nobody has it open any more; it stays until it is closed.
                    Err(_) => std::future::pending().await,
                }
            }
        });
        Self { slave, keys, shown, reading }
    }

    /// Another end of it, as a program has it.
    pub(crate) fn end(&self) -> OwnedFd {
        self.slave.as_ref().expect("it is used before it is the only user's").try_clone().unwrap()
    }

    /// Starts a program that has it for its own, in a session of which it is the leader, with its
    /// stdin, stdout and stderr there unless the command has others.
    pub(crate) fn start(&mut self, command: &Command, streams: Streams) -> Child {
        let mut outer = by(&["setsid", "--ctty", "sh", "-c", streams.script(), "sh"], command);
        outer.stdin(Stdio::from(self.end()));
        outer.stdout(Stdio::from(self.end())).stderr(Stdio::from(self.end()));
        self.slave = None;
        outer.spawn().expect("util-linux's setsid is installed")
    }

    /// Types on it.
    pub(crate) async fn types(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).await.unwrap();
    }

    /// Waits until something stands on it.
    pub(crate) async fn shows(&mut self, text: &str) {
        let wait = self.shown.wait_for(|shown| shown.contains(text));
        let found = matches!(timeout(PATIENCE, wait).await, Ok(Ok(_)));
        assert!(found, "the terminal does not show {text:?}: {}", self.shown());
    }

    /// Whether it shows what is typed on it.
    pub(crate) fn echoes(&self) -> bool {
        let attributes = rustix::termios::tcgetattr(&self.keys).unwrap();
        attributes.local_modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// Its window has another size from now on.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keys, size).unwrap();
    }

    /// What stands on it.
    pub(crate) fn shown(&self) -> String {
        self.shown.borrow().clone()
    }

    /// It goes: the kernel tells those whose terminal it is (SIGHUP), and nobody else.
    pub(crate) async fn close(self) -> String {
        self.reading.abort();
        let _ = self.reading.await;
        self.shown.borrow().clone()
    }
}

/// The same command by way of other words: a program that runs the program of its arguments.
pub(crate) fn by(words: &[&str], command: &Command) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new(words[0]);
    outer.args(&words[1..]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    outer
}

/// What of a program is not on its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// Nothing.
    All,
    /// It reads zeros without end.
    Zeros,
    /// What it writes is thrown away.
    Discard,
}

impl Streams {
    fn script(self) -> &'static str {
        match self {
            Self::All => "exec \"$@\"",
            Self::Zeros => "exec \"$@\" </dev/zero",
            Self::Discard => "exec \"$@\" >/dev/null",
        }
    }
}

/// A process that is not this one's child.
pub(crate) struct Stranger(Receiver);

impl Stranger {
    /// The process that has written its id into a file.
    pub(crate) fn of_file(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self::new(text.trim().parse().unwrap())
    }

    pub(crate) fn new(pid: u32) -> Self {
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let fd = pidfd_open(raw, PidfdFlags::NONBLOCK).expect("it still runs");
        Self(waitable(fd))
    }

    /// Waits for its end, however it comes.
    pub(crate) async fn ended(&self) {
        // A pidfd can be read once its process has ended.
        self.0.readable().await.unwrap();
    }
}

/// What the event loop can wait for, although it is no pipe: that makes no difference to it.
fn waitable(fd: OwnedFd) -> Receiver {
    Receiver::from_owned_fd_unchecked(fd).unwrap()
}
