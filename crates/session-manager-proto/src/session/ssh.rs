//! Whether a stream is SSH's, and the second identification line that ends one (docs/protocol.md, 7).

use bytes::Bytes;

use crate::identification::{Identification, Passed};

/// What both sides of an SSH stream send first.
const SSH: &[u8] = b"SSH-";

/// What the local side has sent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeting {
    #[default]
    Nothing,
    /// So many first bytes, which are those of `SSH-` as far as they go.
    Begun(usize),
    Ssh,
    Other,
}

impl Greeting {
    /// The same once `bytes` have followed.
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        let matched = match self {
            Self::Nothing => 0,
            Self::Begun(matched) => matched,
            Self::Ssh | Self::Other => return self,
        };
        let expected = SSH.get(matched..).unwrap_or_default();
        if !bytes.iter().zip(expected).all(|(a, b)| a == b) {
            Self::Other
        } else if bytes.len() >= expected.len() {
            Self::Ssh
        } else if bytes.is_empty() {
            self
        } else {
            Self::Begun(matched + bytes.len())
        }
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
    }

    #[test]
    fn the_local_side_may_begin_with_less_than_a_word() {
        let after = |reads: &[&[u8]]| {
            reads.iter().fold(Greeting::Nothing, |greeting, bytes| greeting.and(bytes))
        };
        assert_eq!(after(&[b""]), Greeting::Nothing);
        assert_eq!(after(&[b"SSH-2.0-client"]), Greeting::Ssh);
        assert_eq!(after(&[b"S", b"SH", b"-2", b"x"]), Greeting::Ssh);
        assert_eq!(after(&[b"S", b"S", b""]), Greeting::Begun(2));
        assert_eq!(after(&[b"S", b"TAT\r\n", b"SSH-"]), Greeting::Other);
        assert_eq!(after(&[b"PING"]), Greeting::Other);
    }
}
