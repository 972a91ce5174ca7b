//! Text from elsewhere, made safe for a terminal, and errors as text.

use std::error::Error as StdError;
use std::io;

use serde_json::{Map, Value};

/// Text from elsewhere, safe for a terminal: control characters (escape sequences among them)
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

/// The first line that is not empty, safe for a terminal: at most so many characters of it.
pub fn first_line(text: &str, most: usize) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(printable(line).chars().take(most).collect())
}

/// Bytes without the mark that editors of Windows write before UTF-8.
///
/// # Errors
/// When they are UTF-16.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        true => Err("it is UTF-16, not UTF-8".to_owned()),
        false => Ok(bytes),
    }
}

/// A field of JSON: of this name, or else of one that differs in case.
pub(crate) fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let alike = || fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    fields.get(name).or_else(|| alike().map(|(_, value)| value))
}

/// A text or a number of JSON as text, without blanks around it; `None` if it is empty or something
/// else.
pub fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
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
