//! The terminal that the process belongs to (its controlling terminal), and whether a stream leads to one.

/// What may lead to a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Whether a stream shows colours. On Windows they are switched on for the console.
pub(crate) fn shows_colours(stream: Stream) -> bool {
    #[cfg(windows)]
    return match stream {
        Stream::Stdout => console::Term::stdout(),
        Stream::Stderr => console::Term::stderr(),
    }
    .features()
    .colors_supported();
    #[cfg(not(windows))]
    match stream {
        Stream::Stdout => std::io::IsTerminal::is_terminal(&std::io::stdout()),
        Stream::Stderr => std::io::IsTerminal::is_terminal(&std::io::stderr()),
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io::{stdin, stdout};
    use std::os::fd::AsFd;

    use rustix::fs::{FileType, fstat};
    use rustix::process::{getpgrp, setsid};
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
    use tracing::debug;

    /// Whether the process is in the foreground of a terminal; `None` if that cannot be told.
    pub(crate) fn is_in_foreground(terminal: impl AsFd) -> Option<bool> {
        Some(tcgetpgrp(terminal).ok()? == getpgrp())
    }

    /// Leaves the terminal and the process group of whoever started the process if stdin and stdout are both
    /// pipes or sockets, as ssh gives them: Ctrl-C and a closed window are for ssh then, and not for its
    /// ProxyCommand, which other terminals may need (ControlMaster). A script that reads or writes a file
    /// or a terminal is ended by Ctrl-C with all that it runs.
    pub(crate) fn leave() {
        if !is_pipe(stdin()) || !is_pipe(stdout()) {
            return;
        }
        match setsid() {
            Ok(_) => debug!("in a session of its own"),
            // The leader of a process group may not; it has its group to itself.
            Err(error) => debug!("in the session of whoever started it: {error}"),
        }
    }

    fn is_pipe(file: impl AsFd) -> bool {
        let kind = fstat(file).map(|stat| FileType::from_raw_mode(stat.st_mode));
        matches!(kind, Ok(FileType::Fifo | FileType::Socket))
    }

    /// The terminal in whose foreground the process is.
    pub(crate) struct Foreground {
        terminal: File,
        attributes: Termios,
    }

    impl Foreground {
        /// `None` where there is no terminal, or somebody else has it.
        pub(crate) fn get() -> Option<Self> {
            let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
            if !is_in_foreground(&terminal)? {
                return None;
            }
            let attributes = tcgetattr(&terminal).ok()?;
            Some(Self { terminal, attributes })
        }

        /// Puts the terminal back to how it was: whoever read a password from it may have been ended.
        pub(crate) fn restore(&self) {
            // Whoever is not in the foreground any more would be stopped (SIGTTOU).
            if is_in_foreground(&self.terminal) != Some(true) {
                return;
            }
            // It may have gone.
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.attributes);
        }
    }
}

#[cfg(windows)]
mod platform {
    /// There is no such terminal.
    pub(crate) struct Foreground(());

    impl Foreground {
        /// None.
        pub(crate) fn get() -> Option<Self> {
            None
        }

        /// Nothing is to be done here.
        pub(crate) fn restore(&self) {}
    }

    /// Nothing is to be done here: the console is that of ssh, and Ctrl-C is for all that share it.
    pub(crate) fn leave() {}
}

#[cfg(unix)]
pub(crate) use platform::is_in_foreground;
pub(crate) use platform::{Foreground, leave};
