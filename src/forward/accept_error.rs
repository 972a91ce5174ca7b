//! Why a connection cannot be accepted, and what a listener does then.

use std::io;

use crate::platform::open_files::OpenFiles;

/// The cause of a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// The client has left before its connection was accepted, or its network failed. The next one
    /// can be accepted at once.
    ClientGone,
    /// A limit of open files is reached.
    OpenFiles(OpenFiles),
    /// The system has no memory for another socket.
    NoMemory,
    /// Anything else.
    Other,
}

impl AcceptError {
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;

        if let Some(files) = OpenFiles::of_io(error) {
            return Self::OpenFiles(files);
        }
        match error.kind() {
            Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown => Self::ClientGone,
            Kind::OutOfMemory => Self::NoMemory,
            // Linux gives the errors of a new connection's network to accept.
            _ if error.raw_os_error().is_some_and(|code| OF_CLIENT.contains(&code)) => {
                Self::ClientGone
            }
            _ if error.raw_os_error() == Some(NO_BUFFERS) => Self::NoMemory,
            _ => Self::Other,
        }
    }

    /// What the user is told, once for each cause. `None` where it is no fault of this machine.
    pub(crate) fn warning(self, address: &str, error: &io::Error) -> Option<String> {
        let advice = match self {
            Self::ClientGone => return None,
            Self::OpenFiles(OpenFiles::OfProcess) if cfg!(windows) => {
                "it waits until one of the others ends; use fewer connections at once"
            }
            Self::OpenFiles(OpenFiles::OfProcess) => {
                "it waits until one of the others ends; `ulimit -n` raises a limit of open files"
            }
            Self::OpenFiles(OpenFiles::OfSystem) => {
                "all programs together have as many files open as the system allows; end some, or \
                 raise that limit (fs.file-max on Linux)"
            }
            Self::NoMemory => {
                "the system has no memory for another connection; it is tried again, and end \
                 programs that need much memory if this lasts"
            }
            Self::Other => "it is tried again; if this lasts, start the forward again",
        };
        Some(format!("cannot take a connection on {address}: {error}: {advice} (shown once)"))
    }
}

#[cfg(unix)]
mod codes {
    use rustix::io::Errno;

    pub(crate) const OF_CLIENT: &[i32] = &[
        Errno::PROTO.raw_os_error(),
        Errno::NOPROTOOPT.raw_os_error(),
        Errno::HOSTDOWN.raw_os_error(),
        Errno::OPNOTSUPP.raw_os_error(),
        #[cfg(target_os = "linux")]
        Errno::NONET.raw_os_error(),
    ];
    pub(crate) const NO_BUFFERS: i32 = Errno::NOBUFS.raw_os_error();
}

#[cfg(not(unix))]
mod codes {
    /// WSAENOPROTOOPT, WSAEHOSTDOWN.
    pub(crate) const OF_CLIENT: &[i32] = &[10_042, 10_064];
    /// WSAENOBUFS.
    pub(crate) const NO_BUFFERS: i32 = 10_055;
}

use codes::{NO_BUFFERS, OF_CLIENT};

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_limit_of_a_process_is_named_for_nothing_else() {
        for (errno, part) in [
            (Errno::MFILE, Some("`ulimit -n` raises")),
            (Errno::NFILE, Some("fs.file-max")),
            (Errno::NOBUFS, Some("no memory")),
            (Errno::NOMEM, Some("no memory")),
            (Errno::PERM, Some("it is tried again")),
            (Errno::CONNABORTED, None),
            (Errno::CONNRESET, None),
            (Errno::PROTO, None),
            (Errno::HOSTDOWN, None),
            (Errno::NETUNREACH, None),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            let warning = AcceptError::of(&error).warning("127.0.0.1:1", &error);
            assert_eq!(warning.is_some(), part.is_some(), "{errno:?}: {warning:?}");
            let text = warning.unwrap_or_default();
            assert!(text.contains(part.unwrap_or_default()), "{errno:?}: {text}");
            assert_eq!(text.contains("ulimit"), errno == Errno::MFILE, "{errno:?}: {text}");
        }
    }
}
