//! The limits of open files, of this process and of the system.

/// What ran out when a file or a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenFiles {
    /// This process has reached its limit.
    OfProcess,
    /// The system has reached its own.
    OfSystem,
}

impl OpenFiles {
    /// Whether a text with the words of the operating system says that a limit is reached.
    pub(crate) fn of_words(text: &str) -> Option<Self> {
        Self::of_code(|code| text.contains(&format!("(os error {code})")))
    }

    /// The same for an error of the operating system.
    pub(crate) fn of_io(error: &std::io::Error) -> Option<Self> {
        Self::of_code(|code| error.raw_os_error() == Some(code))
    }

    /// The same for an error, if there is one, and its causes.
    pub(crate) fn of_source(
        mut source: Option<&(dyn std::error::Error + 'static)>,
    ) -> Option<Self> {
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref().and_then(Self::of_io) {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    /// Checks that so many files can be opened now. Some libraries do not say that a limit is what they
    /// have failed for, or panic.
    ///
    /// # Errors
    /// What the operating system says where a limit of open files is reached; nothing else.
    pub(crate) fn check_room(files: usize) -> std::io::Result<()> {
        let opened = (0..files).map(|_| std::fs::File::open("/")).collect::<Result<Vec<_>, _>>();
        match opened {
            Err(error) if Self::of_io(&error).is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn of_code(is: impl Fn(i32) -> bool) -> Option<Self> {
        let any = |codes: &[i32]| codes.iter().any(|code| is(*code));
        match () {
            // Files and sockets have codes of their own there.
            () if cfg!(windows) => any(&[4, 10_024]).then_some(Self::OfProcess),
            () if any(&[24]) => Some(Self::OfProcess),
            () if any(&[23]) => Some(Self::OfSystem),
            () => None,
        }
    }
}
