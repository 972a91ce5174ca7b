//! Whether a stream is SSH's, and the second identification line that ends one (PROTOCOL.md, 7).

use bytes::Bytes;

use crate::identification::{Identification, Passed};

/// What both sides of an SSH stream send first.
const SSH: &[u8] = b"SSH-";

/// What the local side has sent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeting {
    #[default]
    Nothing,
    Ssh,
    Other,
}

impl Greeting {
    /// What first bytes that are `bytes` say.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let is_ssh = bytes.iter().zip(SSH).all(|(a, b)| a == b);
        if is_ssh { Self::Ssh } else { Self::Other }
    }
}

/// What the target's first bytes say of the stream.
#[derive(Debug)]
pub(super) enum SshDetector {
    /// So many of its first bytes are those of SSH.
    Undecided(usize, Identification),
    /// The stream is SSH's.
    Ssh(Identification),
    /// It is not.
    Other,
}

impl Default for SshDetector {
    fn default() -> Self {
        Self::Undecided(0, Identification::default())
    }
}

impl SshDetector {
    pub(super) fn is_ssh(&self) -> bool {
        matches!(self, Self::Ssh(_))
    }

    /// The next output of the target. A stream is SSH's if its first bytes, either way, are `SSH-`.
    /// Only then can a second identification line be its end.
    pub(super) fn detect(&mut self, payload: &[u8], greeting: Greeting) {
        let Self::Undecided(matched, identification) = self else { return };
        let undecided = SSH.get(*matched..).unwrap_or_default();
        let same = undecided.iter().zip(payload).take_while(|(a, b)| a == b).count();
        if same == undecided.len() || greeting == Greeting::Ssh {
            *self = Self::Ssh(std::mem::take(identification));
        } else if same == payload.len() {
            *matched += same;
        } else {
            *self = Self::Other;
        }
    }

    /// Passes output on, as far as it belongs to the first connection.
    pub(super) fn pass(&mut self, payload: Bytes) -> Passed {
        match self {
            Self::Undecided(_, identification) | Self::Ssh(identification) => {
                identification.pass(payload)
            }
            Self::Other => Passed { released: b"", payload, ended: false },
        }
    }

    /// What is still kept back when the stream has ended otherwise.
    pub(super) fn rest(&mut self) -> &'static [u8] {
        match self {
            Self::Undecided(_, identification) | Self::Ssh(identification) => identification.rest(),
            Self::Other => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(payloads: &[&[u8]], greeting: Greeting) -> Option<bool> {
        let mut detector = SshDetector::default();
        payloads.iter().for_each(|payload| detector.detect(payload, greeting));
        match detector {
            SshDetector::Undecided(..) => None,
            SshDetector::Ssh(_) => Some(true),
            SshDetector::Other => Some(false),
        }
    }

    #[test]
    fn the_first_bytes_of_either_side_decide() {
        assert_eq!(detected(&[b"SSH-2.0-x"], Greeting::Nothing), Some(true));
        assert_eq!(detected(&[b"S", b"", b"SH", b"-2"], Greeting::Other), Some(true));
        assert_eq!(detected(&[b"SS"], Greeting::Other), None);
        assert_eq!(detected(&[b"SS", b"X"], Greeting::Nothing), Some(false));
        assert_eq!(detected(&[b"a notice\r\n"], Greeting::Ssh), Some(true));
        assert_eq!(detected(&[b"HTTP", b"SSH-"], Greeting::Nothing), Some(false));
        assert_eq!(Greeting::of(b"SSH-2.0-client"), Greeting::Ssh);
        assert_eq!(Greeting::of(b"SS"), Greeting::Ssh);
        assert_eq!(Greeting::of(b"PING"), Greeting::Other);
    }
}
