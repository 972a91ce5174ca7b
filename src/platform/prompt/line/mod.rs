//! One line as it is typed, for a terminal that does not do this itself. Pure: bytes in, echo out.

use secrecy::zeroize::{Zeroize as _, Zeroizing};
use unicode_width::UnicodeWidthChar as _;

use super::answer::LONGEST;

/// A line that is not whole yet.
#[derive(Default)]
pub(super) struct Line {
    text: Zeroizing<String>,
    /// The first bytes of a character.
    begun: Vec<u8>,
    keys: Keys,
}

/// Where in what a key sends a byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keys {
    #[default]
    Text,
    Escape,
    /// What an arrow sends, say, up to its last byte.
    Sequence,
    /// One more byte.
    Last,
}

/// What a byte came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// What a terminal shows of it, if it may be seen.
    Shown(String),
    /// The line is whole.
    Done,
    /// There will be none.
    Closed,
    /// There is more of it than there may be.
    TooLong,
}

impl Line {
    /// Takes a byte.
    pub(super) fn push(&mut self, byte: u8) -> Fed {
        let nothing = Fed::Shown(String::new());
        match self.keys {
            Keys::Text => {}
            Keys::Escape => {
                self.keys = match byte {
                    b'[' => Keys::Sequence,
                    b'O' => Keys::Last,
                    _ => Keys::Text,
                };
                return nothing;
            }
            Keys::Sequence => {
                if (0x40..=0x7e).contains(&byte) {
                    self.keys = Keys::Text;
                }
                return nothing;
            }
            Keys::Last => {
                self.keys = Keys::Text;
                return nothing;
            }
        }
        match byte {
            b'\r' | b'\n' => Fed::Done,
            0x04 if self.text.is_empty() => Fed::Closed,
            0x08 | 0x7f => Fed::Shown(self.text.pop().map_or_else(String::new, rubout)),
            0x15 => Fed::Shown(self.pop_while(|_| true)),
            0x17 => {
                let blanks = self.pop_while(char::is_whitespace);
                Fed::Shown(blanks + &self.pop_while(|c| !c.is_whitespace()))
            }
            0x1b => {
                self.keys = Keys::Escape;
                nothing
            }
            0..0x20 => nothing,
            _ if self.text.len() >= LONGEST => Fed::TooLong,
            0x20..0x7f => {
                self.keep(char::from(byte));
                Fed::Shown(char::from(byte).to_string())
            }
            _ => self.push_part(byte),
        }
    }

    /// What there is of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What it has become.
    pub(super) fn into_text(mut self) -> Zeroizing<String> {
        std::mem::take(&mut self.text)
    }

    /// A byte of a character of several. What is no character is dropped.
    fn push_part(&mut self, byte: u8) -> Fed {
        let goes_on = (0x80..0xc0).contains(&byte);
        if !goes_on {
            self.begun.clear();
        }
        self.begun.push(byte);
        let Ok(text) = std::str::from_utf8(&self.begun) else {
            if self.begun.len() >= 4 {
                self.begun.clear();
            }
            return Fed::Shown(String::new());
        };
        let c = text.chars().next().filter(|c| !c.is_control());
        self.begun.clear();
        match c {
            Some(c) => {
                self.keep(c);
                Fed::Shown(c.to_string())
            }
            None => Fed::Shown(String::new()),
        }
    }

    /// Adds a character, and leaves no copy behind where the text has to move for it.
    fn keep(&mut self, c: char) {
        let room = self.text.capacity() - self.text.len();
        if room < c.len_utf8() {
            let mut moved =
                Zeroizing::new(String::with_capacity(256.max(self.text.capacity() * 2)));
            moved.push_str(&self.text);
            self.text.zeroize();
            self.text = moved;
        }
        self.text.push(c);
    }

    fn pop_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut shown = String::new();
        while self.text.chars().next_back().is_some_and(&fits) {
            shown.push_str(&self.text.pop().map_or_else(String::new, rubout));
        }
        shown
    }
}

/// What takes a character off the screen again.
fn rubout(c: char) -> String {
    "\u{8} \u{8}".repeat(c.width().unwrap_or_default())
}

#[cfg(test)]
mod tests;
