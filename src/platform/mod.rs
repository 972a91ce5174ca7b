//! What differs between Unix and Windows, side by side: signals, the terminal, prompts, files that
//! are replaced, the folders of caches and logs.

pub(crate) mod cache;
#[cfg(windows)]
pub(crate) mod child;
pub(crate) mod console;
pub(crate) mod event_loop;
pub(crate) mod logging;
pub(crate) mod open_files;
pub(crate) mod pipe;
pub(crate) mod prompt;
pub(crate) mod replace;
pub(crate) mod signals;
pub(crate) mod stack;
pub(crate) mod terminal;
