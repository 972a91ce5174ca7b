//! The terminal by its settings, and its changes by signals.

use std::io;

use rustix::process::{getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::window::{Keys, WindowSize};
use crate::platform::terminal::is_in_foreground;

/// The value that switches a special key off (`_POSIX_VDISABLE`).
const DISABLED: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

/// The settings of the terminal on stdin, as they were found.
#[derive(Debug)]
pub(super) struct Settings(Termios);

impl Settings {
    pub(super) fn get() -> io::Result<Self> {
        Ok(Self(tcgetattr(io::stdin())?))
    }

    pub(super) fn apply_raw(&self, keys: Keys) -> io::Result<()> {
        let mut raw = self.0.clone();
        raw.make_raw();
        if keys == Keys::AllButInterrupt {
            raw.local_modes |= LocalModes::ISIG;
            raw.special_codes[SpecialCodeIndex::VQUIT] = DISABLED;
            raw.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        }
        set(&raw)
    }

    pub(super) fn restore(&self) {
        // The terminal may have gone.
        let _ = set(&self.0);
    }
}

/// Whoever is not in the foreground would be stopped (SIGTTOU), and the terminal is not its to change.
fn set(settings: &Termios) -> io::Result<()> {
    let stdin = io::stdin();
    if is_in_foreground(&stdin) == Some(false) {
        return Ok(());
    }
    // What was typed ahead stays. To wait for the output could take for ever.
    Ok(tcsetattr(&stdin, OptionalActions::Now, settings)?)
}

/// Such windows are terminals here.
pub(super) fn is_mintty() -> bool {
    false
}

pub(super) fn window_size() -> Option<WindowSize> {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin()), tcgetwinsize(io::stderr())];
    let size = sizes.into_iter().find_map(Result::ok)?;
    Some(WindowSize { columns: size.ws_col, rows: size.ws_row })
}

/// Stops this process until it is continued.
pub(super) fn stop_process() {
    let _ = kill_process(getpid(), rustix::process::Signal::STOP);
}

/// What happens to a terminal.
pub(super) enum Change {
    Size,
    /// This process is to stop.
    Suspended,
    /// This process was stopped, and goes on.
    Continued,
}

/// The signals that tell of changes.
#[derive(Debug)]
pub(crate) struct Changes {
    size: Stream,
    suspended: Stream,
    continued: Stream,
}

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let raw = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            size: signal(SignalKind::window_change())?,
            suspended: signal(raw(rustix::process::Signal::TSTP))?,
            continued: signal(raw(rustix::process::Signal::CONT))?,
        })
    }

    pub(super) async fn next(&mut self) -> Change {
        tokio::select! {
            _ = self.size.recv() => Change::Size,
            _ = self.suspended.recv() => Change::Suspended,
            _ = self.continued.recv() => Change::Continued,
        }
    }
}
