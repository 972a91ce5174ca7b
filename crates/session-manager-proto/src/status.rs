//! What a Status frame says (docs/protocol.md, 3).

use crate::reason::readable;
pub use crate::reason::{Reason, ReasonKind};

/// The payload of a Status frame: a byte with the state, and what belongs to it (docs/protocol.md, 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// States 0, 1 and 4, progress: Initial, Opening or Closing.
    Progress(Progress),
    /// State 2: the stream could not be established. The text says why, without control characters.
    Aborted(String),
    /// State 3: the agent has joined. The target port is not dialled yet (docs/protocol.md, 5).
    Opened,
    /// States 5 and 6: the stream is over, Closed or Exited.
    Ended(Reason),
    /// State 7: the send-rate limit in bits per second, from 1 to [`u32::MAX`] (docs/protocol.md, 4). A limit of 0
    /// is [`Status::Unknown`].
    Limit(u64),
    /// State 8: the gateway restarts. A stream of 1.02 goes on over another WebSocket (docs/protocol.md, 8).
    Frozen,
    /// A state that is not known, if there is one, or a limit without a usable number. To be ignored.
    Unknown(Option<u8>),
}

/// The states that only tell that something goes on (docs/protocol.md, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// State 0.
    Initial,
    /// State 1.
    Opening,
    /// State 4.
    Closing,
}

impl Status {
    /// Reads the payload of a Status frame. Never fails: what is not known is `Unknown`.
    pub fn parse(payload: &[u8]) -> Self {
        Self::parse_with(payload, str::to_owned)
    }

    /// The same, with the text of the status passed through `redact` before it is cut to length.
    pub fn parse_with(payload: &[u8], redact: impl FnOnce(&str) -> String) -> Self {
        let Some((&state, rest)) = payload.split_first() else {
            return Self::Unknown(None);
        };
        match state {
            0 => Self::Progress(Progress::Initial),
            1 => Self::Progress(Progress::Opening),
            2 => Self::Aborted(readable(rest, redact)),
            3 => Self::Opened,
            4 => Self::Progress(Progress::Closing),
            5 | 6 => Self::Ended(Reason::parse_with(rest, redact)),
            7 if (1..=4).contains(&rest.len()) => {
                match rest.iter().fold(0, |limit, byte| limit << 8 | u64::from(*byte)) {
                    0 => Self::Unknown(Some(state)),
                    limit => Self::Limit(limit),
                }
            }
            8 => Self::Frozen,
            _ => Self::Unknown(Some(state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_in_one_to_four_big_endian_bytes() {
        assert_eq!(Status::parse(&[7, 0x19]), Status::Limit(25));
        assert_eq!(Status::parse(&[7, 0x03, 0x20]), Status::Limit(800));
        assert_eq!(Status::parse(&[7, 0x19, 0, 0]), Status::Limit(1_638_400));
        assert_eq!(Status::parse(&[7, 0, 0x19, 0, 0]), Status::Limit(1_638_400));
        assert_eq!(Status::parse(&[7, 255, 255, 255, 255]), Status::Limit(u64::from(u32::MAX)));
    }

    #[test]
    fn a_limit_of_nothing_is_no_limit() {
        for payload in [&[7][..], &[7, 0], &[7, 0, 0, 0, 0], &[7, 1, 2, 3, 4, 5]] {
            assert_eq!(Status::parse(payload), Status::Unknown(Some(7)), "{payload:?}");
        }
    }

    #[test]
    fn states_are_told_apart() {
        assert_eq!(Status::parse(&[]), Status::Unknown(None));
        assert_eq!(Status::parse(&[0]), Status::Progress(Progress::Initial));
        assert_eq!(Status::parse(&[1]), Status::Progress(Progress::Opening));
        assert_eq!(Status::parse(b"\x02no agent\n"), Status::Aborted("no agent".into()));
        assert_eq!(Status::parse(&[3]), Status::Opened);
        assert_eq!(Status::parse(&[4]), Status::Progress(Progress::Closing));
        assert_eq!(Status::parse(b"\x08restart"), Status::Frozen);
        assert_eq!(Status::parse(&[9]), Status::Unknown(Some(9)));
        assert_eq!(Status::parse(b"\x05Exit"), Status::Ended(Reason::parse(b"Exit")));
        assert_eq!(Status::parse(&[6]), Status::Ended(Reason::parse(b"")));
    }

    #[test]
    fn texts_are_redacted_before_they_are_cut_and_after_control_characters_are_gone() {
        let redact = |text: &str| text.replace("token", "…");
        for state in [2, 5, 6] {
            let shown =
                match Status::parse_with(&[&[state], &b"\r\nExit: to\x1bken"[..]].concat(), redact)
                {
                    Status::Aborted(text) => text,
                    Status::Ended(reason) => reason.text().to_owned(),
                    other => panic!("{other:?}"),
                };
            assert_eq!(shown, "Exit: …");
        }
        let long = [&b"\x02"[..], &[b'x'; 497], b"token"].concat();
        let Status::Aborted(text) = Status::parse_with(&long, redact) else { panic!() };
        assert_eq!(text, "x".repeat(497) + "…");
    }
}
