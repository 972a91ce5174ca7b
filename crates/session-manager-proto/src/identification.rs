//! SSH's identification line, which comes once in a stream.
//!
//! An older agent does not report that the target has closed: the next Input makes it dial again, and
//! a second `SSH-2.0-…` line arrives in mid-stream (docs/protocol.md, 7). That line is the end of the
//! stream. After the key exchange an SSH stream is as good as random, so the eight bytes do not
//! occur in it by chance (2⁻⁶⁴ a position).

use bytes::Bytes;

const LINE: &[u8] = b"SSH-2.0-";

/// From so many matching bytes at the end of a payload on, they are kept back until the next one
/// decides. Fewer could hold back the end of a server's output by chance; so many do not occur by
/// chance (2⁻³² a payload).
const KEEP: usize = 4;

/// Looks for the second identification line of a stream.
#[derive(Debug, Default)]
pub(crate) struct Identification {
    /// How many bytes of [`LINE`] the stream ends with.
    matched: usize,
    /// How many of these, the last ones, have not been passed on.
    kept: usize,
    /// Whether the first line was seen.
    seen: bool,
}

/// What of a payload belongs to the first connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Bytes kept back from earlier payloads, to be delivered first.
    pub(crate) released: &'static [u8],
    /// What of the payload is to be delivered.
    pub(crate) payload: Bytes,
    /// Whether the second line has begun: nothing may be delivered any more.
    pub(crate) ended: bool,
}

impl Identification {
    /// Passes a payload on, as far as it belongs to the first connection.
    pub(crate) fn pass(&mut self, payload: Bytes) -> Passed {
        let kept = &LINE[self.matched - self.kept..self.matched];
        for (index, &byte) in payload.iter().enumerate() {
            // The only prefixes of the line that end in its beginning are `S` and `SS`.
            self.matched = match self.matched {
                matched if byte == LINE[matched] => matched + 1,
                2 if byte == LINE[0] => 2,
                _ => usize::from(byte == LINE[0]),
            };
            if self.matched == LINE.len() {
                self.matched = 0;
                if std::mem::replace(&mut self.seen, true) {
                    let (released, inside) = split(kept, index + 1, LINE.len());
                    self.kept = 0;
                    return Passed { released, payload: payload.slice(..inside), ended: true };
                }
            }
        }
        let keep = if self.seen && self.matched >= KEEP { self.matched } else { 0 };
        let (released, inside) = split(kept, payload.len(), keep);
        self.kept = kept.len() - released.len() + payload.len() - inside;
        Passed { released, payload: payload.slice(..inside), ended: false }
    }

    /// What is still kept back when the stream has ended otherwise.
    pub(crate) fn rest(&mut self) -> &'static [u8] {
        let kept = &LINE[self.matched - self.kept..self.matched];
        self.kept = 0;
        kept
    }
}

/// Splits kept bytes followed by `len` more before the last `tail` of them all: the kept bytes that
/// stand before that point, and how many of the others do.
fn split(kept: &'static [u8], len: usize, tail: usize) -> (&'static [u8], usize) {
    let before = (kept.len() + len).saturating_sub(tail);
    (&kept[..before.min(kept.len())], before.saturating_sub(kept.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut identification = Identification::default();
        let mut out = Vec::new();
        for chunk in chunks {
            let passed = identification.pass(Bytes::copy_from_slice(chunk));
            out.extend_from_slice(passed.released);
            out.extend_from_slice(&passed.payload);
            if passed.ended {
                return (out, true);
            }
        }
        out.extend_from_slice(identification.rest());
        (out, false)
    }

    #[test]
    fn the_first_line_passes_and_the_second_ends() {
        assert_eq!(run(&[b"SSH-2.0-a\r\n", b"key"]), (b"SSH-2.0-a\r\nkey".to_vec(), false));
        assert_eq!(run(&[b"SSH-2.0-a\r\n", b"SSH-2.0-a\r\n"]), (b"SSH-2.0-a\r\n".to_vec(), true));
        assert_eq!(run(&[b"hello\r\nSSH-2.0-a\r\n"]), (b"hello\r\nSSH-2.0-a\r\n".to_vec(), false));
        assert_eq!(run(&[b"SSH-2.0-a\r\nxSSH-2.0-a"]), (b"SSH-2.0-a\r\nx".to_vec(), true));
        assert_eq!(run(&[b"SSH-2.0-a\r\n", b"SSSH-2.0-a"]), (b"SSH-2.0-a\r\nS".to_vec(), true));
        assert_eq!(run(&[b"SSH-2.0-a\r\n", b"SSSSH-2.0-"]), (b"SSH-2.0-a\r\nSS".to_vec(), true));
    }

    #[test]
    fn a_line_in_pieces_is_found() {
        let first: &[u8] = b"SSH-2.0-a\r\n";
        for cut in 1..8 {
            let (head, tail) = b"SSH-2.0-b\r\n".split_at(cut);
            // What is too short to be kept back has gone out before the rest came.
            let out = [first, if cut < KEEP { head } else { b"" }].concat();
            assert_eq!(run(&[first, head, tail]), (out, true), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = b"SSH-2.0-b".chunks(1).collect();
        let chunks: Vec<&[u8]> = std::iter::once(first).chain(bytes).collect();
        assert_eq!(run(&chunks), ([first, b"SSH"].concat(), true));
    }

    #[test]
    fn a_few_bytes_that_look_like_a_line_are_not_held_up() {
        let mut identification = Identification::default();
        identification.pass(Bytes::from_static(b"SSH-2.0-a\r\n"));
        for payload in [b"S".as_slice(), b"SS", b"xSSH", b"SSH"] {
            let payload = Bytes::from_static(payload);
            assert_eq!(identification.pass(payload.clone()).payload, payload);
        }
    }

    proptest! {
        #[test]
        fn a_stream_is_cut_at_its_second_line_and_not_changed_before(
            pieces in proptest::collection::vec("[SH.0-]{0,3}|SSH-2.0-|SSH-|SSH-2", 0..12),
            cuts in proptest::collection::vec(1usize..6, 1..8),
        ) {
            let text = pieces.concat().into_bytes();
            let lines: Vec<_> = text.windows(LINE.len()).enumerate()
                .filter(|(_, window)| *window == LINE).map(|(at, _)| at).collect();
            let (mut chunks, mut rest, mut cuts) = (Vec::new(), &text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                chunks.push(chunk);
                rest = tail;
            }
            let (out, ended) = run(&chunks);
            prop_assert_eq!(ended, lines.len() > 1);
            // Fewer than `KEEP` bytes of the second line may have gone out before it was one.
            let end = lines.get(1).copied().unwrap_or(text.len());
            prop_assert!(text.starts_with(&out));
            prop_assert!(out.len() >= end && out.len() < end + KEEP);
        }
    }
}
