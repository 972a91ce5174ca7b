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
        hangup: Stream,
        interrupt: Stream,
        terminate: Stream,
    }

    impl Signals {
        /// Starts to listen.
        ///
        /// # Errors
        /// When the system does not allow it.
        pub fn new() -> io::Result<Self> {
            Ok(Self {
                hangup: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        /// Waits for the next one. Cancel-safe.
        pub async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.hangup.recv() => Signal::Hangup,
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
            }
        }
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
}

pub use platform::Signals;
