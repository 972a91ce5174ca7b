//! The four generations of the port agent (docs/protocol.md, 5), told apart by their version.

use std::fmt;

/// A version of the Cloud Assistant agent, `a.b.c.d`. `a.b` is the platform, so only the last two
/// numbers are compared (docs/protocol.md, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentVersion {
    major: u32,
    build: u32,
}

impl AgentVersion {
    /// The version with these last two numbers.
    pub const fn new(major: u32, build: u32) -> Self {
        Self { major, build }
    }

    /// Reads `CloudAssistantVersion`. `None` if it is not four numbers with dots between them.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Result<Vec<u32>, _> = text.trim().split('.').map(str::parse).collect();
        match numbers.ok()?.as_slice() {
            &[_, _, major, build] => Some(Self { major, build }),
            _ => None,
        }
    }
}

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.build)
    }
}

/// How an agent treats early Input, and a target that closes (docs/protocol.md, 5). The numbers are the last two of
/// [`AgentVersion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Up to 3.578, and up to 3.630 for all that is known: drops Input before the target is dialled, and dials a
    /// target that has closed again on any frame.
    A,
    /// 3.631: holds early Input; dials again as A does.
    B,
    /// From 3.632 to 4.1064: holds early Input; dials again on Input, an empty one too.
    C,
    /// From 4.1065: holds early Input, and ends the session when the target closes.
    D,
}

impl Generation {
    /// The one version that is known to be of B.
    const ONLY_B: AgentVersion = AgentVersion::new(3, 631);
    /// The first version of D.
    pub const FIRST_D: AgentVersion = AgentVersion::new(4, 1065);

    /// The generation of a version. All between B and the first of D count as C, whose only published build
    /// has no number.
    pub fn of(version: AgentVersion) -> Self {
        if version >= Self::FIRST_D {
            Self::D
        } else if version > Self::ONLY_B {
            Self::C
        } else if version == Self::ONLY_B {
            Self::B
        } else {
            Self::A
        }
    }

    /// Whether Input that comes before the target is dialled waits for it.
    pub fn holds_early_input(self) -> bool {
        self != Self::A
    }

    /// Whether a target that has closed may be dialled again, without a report.
    pub fn redials(self) -> bool {
        self != Self::D
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Generation> {
        AgentVersion::parse(text).map(Generation::of)
    }

    #[test]
    fn generations_are_told_apart_by_the_last_two_numbers() {
        for (text, generation) in [
            ("2.2.3.256", Generation::A),
            ("2.2.3.578", Generation::A),
            ("2.2.3.630", Generation::A),
            ("2.1.3.631", Generation::B),
            ("2.2.3.631", Generation::B),
            ("2.4.3.632", Generation::C),
            ("2.2.3.857", Generation::C),
            ("2.2.4.1064", Generation::C),
            ("2.2.4.1065", Generation::D),
            ("2.1.4.1065", Generation::D),
            ("2.3.5.1", Generation::D),
            (" 3.0.4.2000 ", Generation::D),
        ] {
            assert_eq!(of(text), Some(generation), "{text}");
        }
    }

    #[test]
    fn what_is_not_four_numbers_is_no_version() {
        for text in
            ["", "2.2.3", "2.2.3.x", "2.2.3.4.5", "v2.2.3.4", "2.2.3.99999999999", "2,2,3,4"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn the_platform_does_not_count() {
        let version = |text| AgentVersion::parse(text).unwrap();
        assert_eq!(version("2.1.3.631"), version("2.4.3.631"));
        assert!(version("2.4.3.578") < version("2.1.3.631"));
        assert!(version("2.4.3.9999") < version("2.1.4.1"));
    }
}
