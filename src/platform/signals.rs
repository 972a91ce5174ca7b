//! The signals that ask the process to end.

use std::io;

/// A signal that asks the process to end, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal, or ssh, has gone.
    Hangup = 1,
    /// The user pressed Ctrl-C.
    Interrupt = 2,
    /// The user pressed Ctrl-\, where no shell has the terminal.
    #[cfg_attr(windows, allow(dead_code, reason = "no event of a console is one"))]
    Quit = 3,
    /// A request to end, as `kill` sends it.
    Terminate = 15,
}

impl Signal {
    /// What the system calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that the signal has ended: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self as u8
    }
}

#[cfg(unix)]
mod platform {
    use super::{Signal, io};
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// Takes over the signals that ask the process to end, from when it is made. One that is not taken
    /// over keeps the disposition that the process was started with.
    #[derive(Debug)]
    pub(crate) struct Signals {
        hangup: Option<Stream>,
        interrupt: Option<Stream>,
        quit: Option<Stream>,
        terminate: Option<Stream>,
    }

    impl Signals {
        /// Starts to listen. An ignored SIGHUP stays ignored: the process is to outlive its terminal.
        /// The others are taken over all the same: a shell starts background commands of a
        /// script with SIGINT ignored, and the script stops them with it.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                hangup: unless_ignored(SignalKind::hangup(), ignored())?,
                interrupt: Some(signal(SignalKind::interrupt())?),
                quit: Some(signal(SignalKind::quit())?),
                terminate: Some(signal(SignalKind::terminate())?),
            })
        }

        /// The same, but each signal that is ignored stays ignored: sftp starts ssh, and with it the
        /// ProxyCommand, with SIGINT ignored, and needs both after Ctrl-C.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub(crate) fn inherited() -> io::Result<Self> {
            let ignored = ignored();
            Ok(Self {
                hangup: unless_ignored(SignalKind::hangup(), ignored)?,
                interrupt: unless_ignored(SignalKind::interrupt(), ignored)?,
                quit: unless_ignored(SignalKind::quit(), ignored)?,
                terminate: unless_ignored(SignalKind::terminate(), ignored)?,
            })
        }

        /// Waits for the next one. Cancel-safe.
        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                () = received(&mut self.hangup) => Signal::Hangup,
                () = received(&mut self.interrupt) => Signal::Interrupt,
                () = received(&mut self.quit) => Signal::Quit,
                () = received(&mut self.terminate) => Signal::Terminate,
            }
        }
    }

    async fn received(stream: &mut Option<Stream>) {
        match stream {
            Some(stream) => drop(stream.recv().await),
            None => std::future::pending().await,
        }
    }

    fn unless_ignored(kind: SignalKind, ignored: u64) -> io::Result<Option<Stream>> {
        let bit = 1_u64 << (kind.as_raw_value() - 1);
        (ignored & bit == 0).then(|| signal(kind)).transpose()
    }

    /// Makes a file that may not grow any further (`ulimit -f`) an error like that of a full disk, where
    /// it would be the process's end, and its sessions would stay. To be called in the event loop.
    pub(crate) fn outlive_file_limits() {
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        // What is not allowed leaves things as they are.
        let _ = signal(kind);
    }

    /// The signals that are ignored, since whoever started the process had them ignored: bit N-1 is
    /// that of signal N. Only Linux tells without unsafe code; elsewhere none is said to be.
    fn ignored() -> u64 {
        if !cfg!(target_os = "linux") {
            return 0;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
    }
}

#[cfg(windows)]
mod platform {
    use super::{Signal, io};
    use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

    /// Takes over the events that ask the process to end, from when it is made.
    #[derive(Debug)]
    pub(crate) struct Signals {
        close: CtrlClose,
        interrupt: CtrlC,
        terminate: CtrlBreak,
    }

    impl Signals {
        /// Starts to listen.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self { close: ctrl_close()?, interrupt: ctrl_c()?, terminate: ctrl_break()? })
        }

        /// The same.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub(crate) fn inherited() -> io::Result<Self> {
            Self::new()
        }

        /// Waits for the next one. Cancel-safe.
        pub(crate) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.close.recv() => Signal::Hangup,
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
            }
        }
    }

    /// Nothing is to be done here.
    pub(crate) fn outlive_file_limits() {}
}

pub(crate) use platform::{Signals, outlive_file_limits};
