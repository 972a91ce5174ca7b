//! What a Status frame says (PROTOCOL.md, 3).

use std::fmt;

/// The payload of a Status frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Progress: Initial, Opening or Closing.
    Progress(Progress),
    /// The stream could not be established; the text says why.
    Aborted(String),
    /// The agent has joined. The target port is not dialled yet (PROTOCOL.md, 5).
    Opened,
    /// The stream is over: Closed or Exited.
    Ended(Reason),
    /// The send-rate limit in bits per second. A limit of 0 is not announced but ignored.
    Limit(u64),
    /// The gateway restarts.
    Frozen,
    /// A state that is not known, or a limit without a usable number. To be ignored.
    Unknown(Option<u8>),
}

/// The states that only tell that something goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// 0.
    Initial,
    /// 1.
    Opening,
    /// 4.
    Closing,
}

impl Status {
    /// Reads the payload of a Status frame. Never fails: what is not known is `Unknown`.
    pub fn parse(payload: &[u8]) -> Self {
        let Some((&state, rest)) = payload.split_first() else {
            return Self::Unknown(None);
        };
        match state {
            0 => Self::Progress(Progress::Initial),
            1 => Self::Progress(Progress::Opening),
            2 => Self::Aborted(readable(rest)),
            3 => Self::Opened,
            4 => Self::Progress(Progress::Closing),
            5 | 6 => Self::Ended(Reason::parse(rest)),
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

/// Why the far side says that a stream is over: the text as it came, less control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The reason of a text, which may be empty.
    pub fn parse(text: &[u8]) -> Self {
        Self(readable(text))
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The word that the text begins with, such as `FlowExceedLimit`; details may follow it.
    pub fn word(&self) -> &str {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Whether it is how a stream ends when nothing went wrong: the target closed. `Ok` is newer
    /// agents' own word for that.
    pub fn is_normal(&self) -> bool {
        self.0.is_empty() || matches!(self.word(), "Exit" | "Ok") || self.is_of_target()
    }

    /// Whether it says itself that the target has closed.
    pub fn is_of_target(&self) -> bool {
        self.word() == "ReadFromTargetPortFailed"
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "no reason given" } else { &self.0 })
    }
}

/// Text from the far side, fit for a message: at most 500 characters, none of them a control.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
    text.trim().to_owned()
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
        assert_eq!(Status::parse(b"\x05Exit"), Status::Ended(Reason("Exit".into())));
        assert_eq!(Status::parse(&[6]), Status::Ended(Reason(String::new())));
    }

    #[test]
    fn reasons_know_a_normal_end_and_lose_control_characters() {
        for text in ["", "Exit", "Ok: The session ended normally", "ReadFromTargetPortFailed: EOF"]
        {
            assert!(Reason::parse(text.as_bytes()).is_normal(), "{text}");
        }
        for text in ["FlowExceedLimit", "Okay", "ExitX", "Notified", "something new"] {
            assert!(!Reason::parse(text.as_bytes()).is_normal(), "{text}");
        }
        let reason = Reason::parse(b"Open\x1b[31mTarget\xff: detail\r\n");
        assert_eq!(reason.text(), "Open[31mTarget\u{fffd}: detail");
        assert_eq!(reason.word(), "Open");
        assert!(Reason::parse(&[b'x'; 9000]).text().len() == 500);
    }
}
