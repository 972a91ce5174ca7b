//! A line that moves while a session opens.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often it moves.
const TICK: Duration = Duration::from_millis(120);

/// A spinner with words on stderr, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// `is_shown` says whether there is one.
    pub(crate) fn new(is_shown: bool, text: &str) -> Self {
        if !is_shown {
            return Self(None);
        }
        // The bar draws nothing where stderr is no terminal.
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// What is waited for now.
    pub(crate) fn set(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// Writes something else while it is away.
    pub(crate) fn suspended(&self, write: impl FnOnce()) {
        match self.0.as_ref().filter(|bar| !bar.is_finished()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}
