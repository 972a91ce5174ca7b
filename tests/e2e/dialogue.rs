//! The binary at a terminal, with the test in the user's place.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::process::{Pid, Signal, WaitIdOptions, kill_process, waitid};
use rustix::termios::{LocalModes, tcgetattr, ttyname};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::world::PATIENCE;

/// A program that runs on a terminal of its own.
pub(crate) struct Dialogue {
    child: Child,
    reader: OwnedReadPty,
    writer: OwnedWritePty,
    control: OwnedFd,
    /// The terminal keeps its settings as long as somebody has it open.
    open: Option<File>,
    screen: String,
    /// How much of it was looked at.
    seen: usize,
}

impl Dialogue {
    pub(crate) fn start(command: Command) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        let control = pty.as_fd().try_clone_to_owned().unwrap();
        let name = ttyname(&pts, Vec::new()).unwrap().into_string().unwrap();
        let child = pty_process::Command::from(command).spawn(pts).unwrap();
        let (reader, writer) = pty.into_split();
        // The child is the one whose terminal it is by now, so it does not become the test's.
        let open = Some(File::options().read(true).write(true).open(name).unwrap());
        Self { child, reader, writer, control, open, screen: String::new(), seen: 0 }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it still runs").try_into().unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for a text on the screen behind what was waited for before.
    pub(crate) async fn expect(&mut self, text: &str) {
        let found = timeout(PATIENCE, async {
            while !self.screen[self.seen..].contains(text) {
                assert!(self.read().await, "the screen ends without {text:?}:\n{}", self.screen);
            }
        });
        let found = found.await;
        assert!(found.is_ok(), "no {text:?} on the screen:\n{}", self.screen);
        let at = self.screen[self.seen..].find(text).unwrap();
        self.seen += at + text.len();
    }

    /// Types.
    pub(crate) async fn type_in(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).await.unwrap();
    }

    /// Answers a question.
    pub(crate) async fn answer(&mut self, question: &str, text: &str) {
        self.expect(question).await;
        self.type_in(&format!("{text}\r")).await;
    }

    /// Whether the terminal itself shows what is typed, as a shell needs it.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.control).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits until it is stopped.
    pub(crate) async fn stopped(&self) {
        let pid = self.pid();
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let waiting = tokio::task::spawn_blocking(move || {
            waitid(rustix::process::WaitId::Pid(pid), options).map(drop).unwrap();
        });
        timeout(PATIENCE, waiting).await.expect("it stops").unwrap();
    }

    /// The terminal goes away.
    pub(crate) async fn hang_up(self) -> Option<i32> {
        let Self { mut child, reader, writer, control, open, .. } = self;
        drop((reader, writer, control, open));
        timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap().code()
    }

    /// Waits for its end: the exit code, and all that was on the screen. The terminal has to be as it
    /// was before.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let end = timeout(PATIENCE, async {
            loop {
                // What it writes has to be read, or it would wait for that.
                let mut chunk = [0; 4096];
                tokio::select! {
                    status = self.child.wait() => return status.unwrap().code(),
                    read = self.reader.read(&mut chunk) => {
                        let count = read.unwrap();
                        self.screen.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
                    }
                }
            }
        });
        let code = end.await.unwrap_or_else(|_| panic!("it does not end:\n{}", self.screen));
        assert!(self.echoes(), "the terminal is not as it was");
        drop(self.open.take());
        while self.read().await {}
        eprintln!("--- {code:?}\n{}", self.screen);
        (code, self.screen)
    }

    /// Reads what there is; `false` at the end.
    async fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.reader.read(&mut chunk).await {
            Ok(count) if count > 0 => {
                self.screen.push_str(&String::from_utf8_lossy(&chunk[..count]));
                true
            }
            // So Linux says that nobody has it open any more.
            _ => false,
        }
    }
}
