//! The marked part of a configuration file: put in, replaced, taken out. The rest of the file is
//! whoever's it was, byte for byte.

use aliyun_client::text::without_mark;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

const BEGIN: &str = "# >>> ecs-bridge ssh-config ";
const END: &str = "# <<< ecs-bridge ssh-config <<<";
const ADVICE: &str =
    ">>> generated: edits are overwritten; remove with ecs-bridge ssh-config --uninstall";
/// In a file that there was not before.
const MADE: &str = "# made by ecs-bridge";
/// Before the name of the file that is included.
const FILE: &str = "# file ";
/// What editors of Windows begin a file with. Microsoft's ssh skips it there, and there only.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) before: &'a [u8],
    pub(crate) part: Option<Part>,
    pub(crate) after: &'a [u8],
}

/// The marked part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its lines, without those of the marks.
    pub(crate) lines: Vec<String>,
    /// Whether somebody has changed them.
    pub(crate) is_edited: bool,
    /// Whether the file was made for it.
    pub(crate) made_file: bool,
}

/// Why a file cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The marks do not fit together.
    #[error("the marks of ecs-bridge's part do not come in pairs")]
    Unpaired,
    /// PowerShell 5.1 writes it with `>`. A part in UTF-8 would make it neither one nor the other.
    #[error("it is UTF-16, not UTF-8")]
    Utf16,
}

/// Whether a line begins the part.
pub(crate) fn is_begin(line: &str) -> bool {
    line.trim_start_matches('\u{feff}').trim().starts_with(BEGIN)
}

/// Takes a file apart.
pub(crate) fn take_apart(text: &[u8]) -> Result<Parts<'_>, Error> {
    let (mark, rest) = byte_order_mark(text);
    let (mut at, mut begin, mut end) = (mark.len(), None, None);
    for line in rest.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        let trimmed = line.trim_ascii();
        if trimmed.starts_with(BEGIN.as_bytes()) {
            if begin.replace((at, next)).is_some() {
                return Err(Error::Unpaired);
            }
        } else if trimmed == END.as_bytes()
            && (begin.is_none() || end.replace((at, next)).is_some())
        {
            return Err(Error::Unpaired);
        }
        at = next;
    }
    let (begin, end) = match (begin, end) {
        (None, _) => return Ok(Parts { before: text, part: None, after: &[] }),
        (Some(_), None) => return Err(Error::Unpaired),
        (Some(begin), Some(end)) => (begin, end),
    };
    let body = String::from_utf8_lossy(&text[begin.1..end.0]);
    let lines: Vec<String> = body.lines().map(|line| line.trim_end().to_owned()).collect();
    let head = String::from_utf8_lossy(&text[begin.0..begin.1]);
    let told = head.trim().strip_prefix(BEGIN).and_then(|rest| rest.split(' ').next());
    let part = Part {
        is_edited: told != Some(&digest(&lines)),
        made_file: lines.iter().any(|line| line == MADE),
        lines,
    };
    Ok(Parts { before: &text[..begin.0], part: Some(part), after: &text[end.1..] })
}

impl Part {
    /// The file that it includes.
    pub(crate) fn file(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(FILE))
    }

    /// Lines of somebody else's that are not in a new part.
    pub(crate) fn lost(&self, new: &str) -> Vec<&str> {
        let is_new = |line: &str| new.lines().any(|other| other.trim_end() == line);
        let is_own = |line: &str| line.is_empty() || line == MADE || line.starts_with(FILE);
        let lines = self.lines.iter().map(String::as_str);
        match self.is_edited {
            true => lines.filter(|line| !is_own(line) && !is_new(line)).collect(),
            false => Vec::new(),
        }
    }
}

/// The line that tells which file is included.
pub(crate) fn file_line(path: &str) -> String {
    format!("{FILE}{path}")
}

/// A file with this part in it: where the part was, or else at the top. `None` for the text is no file.
pub(crate) fn put(text: Option<&[u8]>, body: &str) -> Result<Vec<u8>, Error> {
    without_mark(text.unwrap_or_default()).map_err(|_| Error::Utf16)?;
    let parts = take_apart(text.unwrap_or_default())?;
    let made_file = text.is_none() || parts.part.as_ref().is_some_and(|part| part.made_file);
    let made = made_file.then_some(MADE);
    let lines: Vec<String> = made.into_iter().chain(body.lines()).map(str::to_owned).collect();
    let mut part = format!("{BEGIN}{} {ADVICE}\n", digest(&lines));
    for line in &lines {
        part.push_str(line);
        part.push('\n');
    }
    part.push_str(END);
    part.push('\n');
    if ends_lines_with_cr(text.unwrap_or_default()) {
        part = part.replace('\n', "\r\n");
    }
    // Behind a Host line it would hold for that host only.
    let is_to_be_first = parts.part.is_none() || opens_block(parts.before);
    let part = part.as_bytes();
    let (mark, before) = byte_order_mark(parts.before);
    Ok(match is_to_be_first {
        true => [mark, part, before, parts.after].concat(),
        false => [parts.before, part, parts.after].concat(),
    })
}

/// A file without its part; `None` if it was made for it, and has nothing else.
pub(crate) fn take_out(text: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let parts = take_apart(text)?;
    let rest = [parts.before, parts.after].concat();
    let is_over = parts.part.is_some_and(|part| part.made_file) && rest.is_empty();
    Ok((!is_over).then_some(rest))
}

/// The mark of the byte order, empty if there is none, and what comes after it.
fn byte_order_mark(text: &[u8]) -> (&[u8], &[u8]) {
    let len = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    text.split_at(len)
}

fn opens_block(text: &[u8]) -> bool {
    byte_order_mark(text).1.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii_start().to_ascii_lowercase();
        let is = |word: &[u8]| {
            let rest = line.strip_prefix(word);
            rest.is_some_and(|rest| rest.first().is_some_and(|c| b" \t=\"".contains(c)))
        };
        is(b"host") || is(b"match")
    })
}

fn ends_lines_with_cr(text: &[u8]) -> bool {
    let first = text.split_inclusive(|byte| *byte == b'\n').next();
    first.is_some_and(|line| line.ends_with(b"\r\n"))
}

fn digest(lines: &[String]) -> String {
    HEXLOWER.encode(&Sha256::digest(lines.join("\n").as_bytes())[..6])
}

#[cfg(test)]
mod tests;
