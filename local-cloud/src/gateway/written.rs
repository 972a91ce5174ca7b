//! The WebSocket frames that a gateway writes, so that single ones can be left out: the WebSocket below answers each ping,
//! and has no switch for it.

/// The opcode of a pong.
const PONG: u8 = 0xa;

/// Follows the frames in the bytes that are written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// How much of the current frame is still to be written.
    left: usize,
    left_out: bool,
}

/// The first bytes of what is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// So many go out.
    Write(usize),
    /// So many do not.
    LeaveOut(usize),
}

impl Written {
    /// What to do with the beginning of the bytes that are to be written. A frame is there as a whole when its first byte is.
    pub(crate) fn next(&mut self, bytes: &[u8], pongs: bool) -> Next {
        if self.left == 0 {
            // Without a whole header it is no frame, and all of it goes out.
            self.left = frame_length(bytes).unwrap_or(bytes.len());
            self.left_out = !pongs && bytes.first().is_some_and(|byte| byte & 0xf == PONG);
        }
        let count = self.left.min(bytes.len());
        if self.left_out { Next::LeaveOut(count) } else { Next::Write(count) }
    }

    /// So many of them are done with.
    pub(crate) fn done(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
    }
}

/// The length of the frame that begins here, header and all. A server masks nothing.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let long = |range: std::ops::Range<usize>| {
        let bytes = bytes.get(range)?;
        Some(bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte)))
    };
    match bytes.get(1)? & 0x7f {
        126 => Some(4 + long(2..4)?),
        127 => Some(10 + long(2..10)?),
        short => Some(2 + usize::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gets out of these bytes, when so many are taken at a time.
    fn written(mut bytes: &[u8], pongs: bool, at_a_time: usize) -> Vec<u8> {
        let (mut written, mut out) = (Written::default(), Vec::new());
        while !bytes.is_empty() {
            let count = match written.next(bytes, pongs) {
                Next::Write(count) => {
                    let count = count.min(at_a_time);
                    out.extend_from_slice(&bytes[..count]);
                    count
                }
                Next::LeaveOut(count) => count,
            };
            written.done(count);
            bytes = &bytes[count..];
        }
        out
    }

    #[test]
    fn pongs_are_left_out_and_all_else_gets_out() {
        let pong = [0x8a, 3, b'x', 0x8a, b'y'];
        let short = [0x82, 2, 0x8a, 0x00];
        let middle = [&[0x82, 126, 1, 0][..], &[0x8a; 256]].concat();
        let long = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[0x8a; 65_536]].concat();
        let all = [&pong[..], &short, &pong, &middle, &pong, &pong, &long, &pong].concat();
        let rest = [&short[..], &middle, &long].concat();
        for at_a_time in [1, 3, 1_000, usize::MAX] {
            assert!(written(&all, false, at_a_time) == rest, "{at_a_time}");
            assert!(written(&all, true, at_a_time) == all, "{at_a_time}");
        }
    }
}
