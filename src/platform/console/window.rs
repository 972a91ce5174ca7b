//! What a console has whatever the platform: the size of its window, and the keys that it passes on.

/// The size of a window, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSize {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

impl Default for WindowSize {
    /// That of a terminal of which no size is known.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// Which keys go to whoever reads stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// All but Ctrl-C, which asks this process to end.
    AllButInterrupt,
    All,
}
