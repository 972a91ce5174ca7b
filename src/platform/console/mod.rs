//! The terminal of an interactive session: its keys as they are typed, and the size of its window.

#[cfg(unix)]
mod unix;
mod window;
#[cfg(windows)]
mod windows;

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, Once, PoisonError};

use tokio::sync::watch;

pub(crate) use self::platform::Changes;
#[cfg(unix)]
use self::unix::{self as platform};
use self::window::Keys;
pub(crate) use self::window::WindowSize;
#[cfg(windows)]
use self::windows::{self as platform};

impl WindowSize {
    /// The size of the window that the process has, if it has one and its size is known.
    pub(crate) fn of_process() -> Self {
        let known = |size: &Self| size.columns > 0 && size.rows > 0;
        platform::window_size().filter(known).unwrap_or_default()
    }
}

/// How the terminal was found, as long as it is changed. A panic needs it from wherever it happens.
static FOUND: Mutex<Option<platform::Settings>> = Mutex::new(None);
static ON_PANIC: Once = Once::new();

/// The terminal on stdin and stdout, in raw mode until this is dropped, or the process panics.
#[derive(Debug)]
pub(crate) struct Console {
    keys: std::cell::Cell<Keys>,
}

impl Console {
    /// Whether stdin and stdout are a terminal.
    pub(crate) fn is_there() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Whether that terminal is a window of Git Bash (mintty): to a program of Windows it is a pipe, whose modes
    /// cannot be set.
    pub(crate) fn is_mintty() -> bool {
        platform::is_mintty()
    }

    /// Takes the terminal: keys are neither echoed nor changed, and Ctrl-C still ends the process. To be
    /// called in the event loop.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn take() -> io::Result<(Self, Changes)> {
        let changes = Changes::new()?;
        ON_PANIC.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                print(info);
            }));
        });
        let console = Self { keys: Keys::AllButInterrupt.into() };
        console.apply()?;
        Ok((console, changes))
    }

    /// Every key goes to whoever reads stdin from now on.
    pub(crate) fn pass_all_keys(&self) {
        self.keys.set(Keys::All);
        if let Err(error) = self.apply() {
            tracing::warn!("cannot set the terminal up: {error}");
        }
    }

    /// Gives the terminal back, and stops the process as Ctrl-Z does. [`Self::watch`] takes the terminal
    /// again once the process is continued: this thread may run on for a moment before it is stopped.
    #[cfg(unix)]
    pub(crate) fn suspend(&self) {
        restore();
        platform::stop_process();
    }

    /// Tells of each new size of the window. Never returns.
    pub(crate) async fn watch(
        &self,
        changes: &mut Changes,
        window: &watch::Sender<WindowSize>,
    ) -> Infallible {
        loop {
            match changes.next().await {
                platform::Change::Size => {}
                #[cfg(unix)]
                platform::Change::Suspended => self.suspend(),
                #[cfg(unix)]
                platform::Change::Continued => {
                    let _ = self.apply();
                }
            }
            let size = WindowSize::of_process();
            window.send_if_modified(|known| std::mem::replace(known, size) != size);
        }
    }

    fn apply(&self) -> io::Result<()> {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match found.take() {
            Some(before) => before,
            None => platform::Settings::get()?,
        };
        let applied = before.apply_raw(self.keys.get());
        *found = Some(before);
        applied
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back to how it was found, if it was changed.
fn restore() {
    // A panic may happen while this is locked: then the terminal is just being changed.
    let found = match FOUND.try_lock() {
        Ok(mut found) => found.take(),
        Err(std::sync::TryLockError::Poisoned(found)) => found.into_inner().take(),
        Err(std::sync::TryLockError::WouldBlock) => None,
    };
    if let Some(found) = found {
        found.restore();
    }
}
