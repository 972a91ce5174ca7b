//! Somebody else's text, and errors as text.

use std::error::Error as StdError;
use std::io;

/// Text from elsewhere, fit for a terminal: control characters (escape sequences among them)
/// become spaces, and line breaks are kept with an indent.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push_str("\n       "),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The first line that is not empty, fit for a terminal: at most so many characters of it.
pub fn first_line(text: &str, most: usize) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(printable(line).chars().take(most).collect())
}

/// An error and all its causes, outermost first.
///
/// What an [`io::Error`] wraps is among them: its own `source()` leaves that out.
pub fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |link| {
        let link: &'a (dyn StdError + 'static) = *link;
        let wrapped = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => link.source(),
        }
    })
}

/// The last error of a chain, which is the one that the system gave.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map_or_else(|| "no reason is known".to_owned(), ToString::to_string)
}
