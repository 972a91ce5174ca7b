//! The console by its modes; its size is looked at now and then.

use std::io;
use std::time::Duration;

use tokio::time::{Interval, interval};
use winapi_util::HandleRef;
use winapi_util::console::{mode, screen_buffer_info, set_mode};

use super::window::{Keys, WindowSize};

/// How often the size is looked at: the console tells of a change only among its input.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);

const PROCESSED_INPUT: u32 = 0x1;
const LINE_INPUT: u32 = 0x2;
const ECHO_INPUT: u32 = 0x4;
const VIRTUAL_TERMINAL_INPUT: u32 = 0x200;
const PROCESSED_OUTPUT: u32 = 0x1;
const VIRTUAL_TERMINAL_PROCESSING: u32 = 0x4;
const DISABLE_NEWLINE_AUTO_RETURN: u32 = 0x8;

/// The modes of the console, as they were found.
#[derive(Debug)]
pub(super) struct Settings {
    input: u32,
    output: u32,
}

impl Settings {
    pub(super) fn get() -> io::Result<Self> {
        Ok(Self { input: mode(HandleRef::stdin())?, output: mode(HandleRef::stdout())? })
    }

    pub(super) fn apply_raw(&self, keys: Keys) -> io::Result<()> {
        let cooked = PROCESSED_INPUT | LINE_INPUT | ECHO_INPUT;
        let interrupt = if keys == Keys::AllButInterrupt { PROCESSED_INPUT } else { 0 };
        set_mode(HandleRef::stdin(), self.input & !cooked | interrupt | VIRTUAL_TERMINAL_INPUT)?;
        let output = self.output | PROCESSED_OUTPUT | VIRTUAL_TERMINAL_PROCESSING;
        set_mode(HandleRef::stdout(), output | DISABLE_NEWLINE_AUTO_RETURN)
    }

    pub(super) fn restore(&self) {
        // The console may have gone.
        let _ = set_mode(HandleRef::stdin(), self.input);
        let _ = set_mode(HandleRef::stdout(), self.output);
    }
}

/// `std` takes the pipes of mintty for a terminal. They have no modes.
pub(super) fn is_mintty() -> bool {
    Settings::get().is_err()
}

pub(super) fn window_size() -> Option<WindowSize> {
    let window = screen_buffer_info(HandleRef::stdout()).ok()?.window_rect();
    let length = |from: i16, to: i16| u16::try_from(i32::from(to) - i32::from(from) + 1).ok();
    let (columns, rows) = (length(window.left, window.right)?, length(window.top, window.bottom)?);
    Some(WindowSize { columns, rows })
}

/// What happens to a console.
pub(super) enum Change {
    Size,
}

/// When the size is looked at.
#[derive(Debug)]
pub(crate) struct Changes(Interval);

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(interval(LOOKED_AT_EVERY)))
    }

    pub(super) async fn next(&mut self) -> Change {
        self.0.tick().await;
        Change::Size
    }
}
