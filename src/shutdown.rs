//! The signals that ask the process to end.

use std::io;

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The terminal, or ssh, has gone.
    Hangup,
    /// The user pressed Ctrl-C.
    Interrupt,
    /// Somebody asked politely.
    Terminate,
}

impl Signal {
    /// The exit code of a process that the signal has ended: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

#[cfg(unix)]
mod platform {
    use super::{Signal, io};
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// Takes over the signals that ask the process to end, from when it is made.
    #[derive(Debug)]
    pub struct Signals {
        /// Nothing where the process is to outlive its terminal.
        hangup: Option<Stream>,
        interrupt: Stream,
        terminate: Stream,
    }

    impl Signals {
        /// Starts to listen.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub fn new() -> io::Result<Self> {
            let outlives = hangup_is_ignored();
            Ok(Self {
                hangup: (!outlives).then(|| signal(SignalKind::hangup())).transpose()?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        /// Waits for the next one. Cancel-safe.
        pub async fn next(&mut self) -> Signal {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = hangup => Signal::Hangup,
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
            }
        }
    }

    /// Makes a file that may not grow any further (`ulimit -f`) an error like that of a full disk, where
    /// it would be the process's end, and its sessions would stay. To be called in the event loop.
    pub fn outlive_file_limits() {
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        // What is not allowed leaves things as they are.
        let _ = signal(kind);
    }

    /// Whether whoever started the process has had SIGHUP ignored, as nohup does: an ssh that was
    /// started so stays when its terminal goes, and needs us. Only Linux tells.
    fn hangup_is_ignored() -> bool {
        const OF_HANGUP: u64 = 1;

        if !cfg!(target_os = "linux") {
            return false;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        ignored.is_some_and(|bits| bits & OF_HANGUP != 0)
    }
}

#[cfg(windows)]
mod platform {
    use super::{Signal, io};
    use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

    /// Takes over the events that ask the process to end, from when it is made.
    #[derive(Debug)]
    pub struct Signals {
        close: CtrlClose,
        interrupt: CtrlC,
        terminate: CtrlBreak,
    }

    impl Signals {
        /// Starts to listen.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub fn new() -> io::Result<Self> {
            Ok(Self { close: ctrl_close()?, interrupt: ctrl_c()?, terminate: ctrl_break()? })
        }

        /// Waits for the next one. Cancel-safe.
        pub async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.close.recv() => Signal::Hangup,
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
            }
        }
    }

    /// Nothing is to be done here.
    pub fn outlive_file_limits() {}
}

pub use platform::{Signals, outlive_file_limits};
