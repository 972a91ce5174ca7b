//! Agents: the generations there are, and how each behaves.

use std::time::Duration;

use crate::{command::Os, resumption::Resumption};

/// The generation of an agent, which decides how it treats early Input, a target that closes, and a Close.
///
/// | | [`A`](Self::A) | [`B`](Self::B) | [`C`](Self::C) | [`D`](Self::D), [`Resumable`](Self::Resumable) |
/// |---|---|---|---|---|
/// | Input before the target is dialled | dropped | held | held | held |
/// | the target closes | says nothing | says nothing | says nothing | ends the session |
/// | dials it again on | any frame | any frame | Input, an empty one too | never |
/// | that fails | says nothing, dials on the next frame | the same | ends the session | – |
/// | Close, or Status 5 from the client | ignored | ignored | ends the session | ends the session |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Generation {
    /// Versions up to 3.630, by the last two of their four numbers.
    A,
    /// Version 3.631.
    B,
    /// Versions 3.632 to 4.1064.
    C,
    /// Versions from 4.1065 on.
    D,
    /// Speaks 1.02, and behaves as [`Self::D`] otherwise: numbers, acknowledges, and resumes a stream on another WebSocket.
    Resumable,
}

impl Generation {
    const ONLY_B: [u32; 2] = [3, 631];
    const FIRST_D: [u32; 2] = [4, 1065];

    fn of_build(build: [u32; 2]) -> Self {
        if build >= Self::FIRST_D {
            Self::D
        } else if build > Self::ONLY_B {
            Self::C
        } else if build == Self::ONLY_B {
            Self::B
        } else {
            Self::A
        }
    }

    /// The build that an agent of this generation reports unless it was made from another one.
    fn build(self) -> [u32; 2] {
        match self {
            Self::A => [3, 578],
            Self::B => Self::ONLY_B,
            Self::C => [3, 857],
            Self::D => Self::FIRST_D,
            Self::Resumable => [4, 1070],
        }
    }

    /// Whether Input that comes before the target is dialled waits for it.
    pub(crate) fn holds_input(self) -> bool {
        self != Self::A
    }

    /// Whether the session ends when the target closes.
    pub(crate) fn ends_with_target(self) -> bool {
        matches!(self, Self::D | Self::Resumable)
    }

    /// Whether Input alone makes it dial a target again that has closed; frames of every type do otherwise.
    pub(crate) fn redials_on_input_only(self) -> bool {
        self == Self::C
    }

    /// Whether a target that cannot be dialled again ends the session.
    pub(crate) fn ends_with_redial(self) -> bool {
        !matches!(self, Self::A | Self::B)
    }

    /// Whether a Resize that comes before there is a terminal counts, and a failure is told as Output, a second before the end.
    pub(crate) fn has_late_shells(self) -> bool {
        !matches!(self, Self::A | Self::B)
    }

    /// Whether Close, and Status 5 from the client, end the session.
    pub(crate) fn ends_on_close(self) -> bool {
        !matches!(self, Self::A | Self::B)
    }

    /// What a session says that ends because its target could not be dialled.
    pub(crate) fn open_failed(self) -> &'static str {
        if self == Self::A { "Open_port_failed" } else { "OpenTargetPortFailed" }
    }

    /// How long a target may take to answer.
    fn dial_timeout(self) -> Duration {
        // Linux gives up a connection after 127 s, which is what A waits for.
        Duration::from_secs(if self == Self::A { 127 } else { 10 })
    }
}

/// The last two numbers of `a.b.c.d`, which alone can be compared: the first two name the platform.
pub(crate) fn build_of(version: &str) -> Option<[u32; 2]> {
    let numbers: Result<Vec<u32>, _> = version.trim().split('.').map(str::parse).collect();
    match numbers.ok()?.as_slice() {
        &[_, _, major, build] => Some([major, build]),
        _ => None,
    }
}

/// What an agent does when the target cannot be dialled for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DialFailure {
    /// Status 5 with `OpenTargetPortFailed` (A: `Open_port_failed`), and the session ends.
    #[default]
    Status,
    /// Nothing at all; the next frame that redials makes it try again.
    Silent,
}

/// How the connection ends behind the Status 5 of a target that has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// With a WebSocket close, code 1000.
    CloseFrame,
    /// Without: the TCP connection just ends, behind all that was sent.
    NoCloseFrame,
}

/// An instance's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agent {
    /// How it behaves.
    pub generation: Generation,
    /// The version that it was made from; none is the usual one of its generation.
    pub version: Option<String>,
    /// From the upgrade until it joins the gateway.
    pub join_delay: Duration,
    /// From joining until it dials the target.
    pub dial_delay: Duration,
    /// How long a target may take to answer.
    pub dial_timeout: Duration,
    /// For how long all but A hold early Input before they end the session.
    pub hold: Duration,
    /// What it does when the target cannot be dialled for the first time.
    pub dial_failure: DialFailure,
    /// How the connection ends when the target has closed, for those that end the session then.
    pub hangup: Hangup,
    /// How it resumes a stream, if it does.
    pub resumption: Resumption,
}

impl Agent {
    fn new(generation: Generation) -> Self {
        Self {
            generation,
            version: None,
            join_delay: Duration::from_millis(200),
            dial_delay: Duration::from_secs(1),
            dial_timeout: generation.dial_timeout(),
            hold: Duration::from_secs(10),
            dial_failure: DialFailure::Status,
            hangup: match generation {
                Generation::D => Hangup::NoCloseFrame,
                _ => Hangup::CloseFrame,
            },
            resumption: Resumption::default(),
        }
    }

    /// An agent of generation A, version 3.578, with the delays of the real one.
    #[must_use]
    pub fn a() -> Self {
        Self::new(Generation::A)
    }

    /// An agent of generation B, version 3.631, with the delays of the real one.
    #[must_use]
    pub fn b() -> Self {
        Self::new(Generation::B)
    }

    /// An agent of generation C, version 3.857, with the delays of the real one.
    #[must_use]
    pub fn c() -> Self {
        Self::new(Generation::C)
    }

    /// An agent of generation D, version 4.1065, with the delays of the real one.
    #[must_use]
    pub fn d() -> Self {
        Self::new(Generation::D)
    }

    /// An agent that speaks 1.02, version 4.1070, with the delays of D.
    #[must_use]
    pub fn resumable() -> Self {
        Self::new(Generation::Resumable)
    }

    /// The agent of a version, such as `2.2.3.857`, which its instance reports as it stands. One that cannot be read is of
    /// generation A.
    #[must_use]
    pub fn of_build(version: &str) -> Self {
        let generation = build_of(version).map_or(Generation::A, Generation::of_build);
        Self { version: Some(version.to_owned()), ..Self::new(generation) }
    }

    /// What it says its version is.
    pub(crate) fn version_on(&self, os: Os) -> String {
        let platform = match os {
            Os::Linux => "2.2",
            Os::Windows => "2.1",
        };
        let [major, build] = self.generation.build();
        self.version.clone().unwrap_or_else(|| format!("{platform}.{major}.{build}"))
    }

    /// From the upgrade until it joins the gateway (200 ms).
    #[must_use]
    pub fn join_delay(mut self, delay: Duration) -> Self {
        self.join_delay = delay;
        self
    }

    /// From joining until it dials the target (1 s).
    #[must_use]
    pub fn dial_delay(mut self, delay: Duration) -> Self {
        self.dial_delay = delay;
        self
    }

    /// How long a target may take to answer (10 s; A: 127 s, as the system does).
    #[must_use]
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Both delays as short as makes sense in a test.
    #[must_use]
    pub fn quick(self) -> Self {
        self.join_delay(Duration::from_millis(5)).dial_delay(Duration::from_millis(5))
    }

    /// For how long all but A hold early Input (10 s).
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// What it does when the target cannot be dialled for the first time ([`DialFailure::Status`]).
    #[must_use]
    pub fn dial_failure(mut self, dial_failure: DialFailure) -> Self {
        self.dial_failure = dial_failure;
        self
    }

    /// How the connection ends when the target has closed (D: [`Hangup::NoCloseFrame`], resumable:
    /// [`Hangup::CloseFrame`]; the others end no session then).
    #[must_use]
    pub fn hangup(mut self, hangup: Hangup) -> Self {
        self.hangup = hangup;
        self
    }

    /// How a resumable one resumes a stream.
    #[must_use]
    pub fn resumption(mut self, resumption: Resumption) -> Self {
        self.resumption = resumption;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_its_generation_by_its_last_two_numbers() {
        for (version, generation) in [
            ("2.2.3.256", Generation::A),
            ("2.2.3.630", Generation::A),
            ("2.1.3.631", Generation::B),
            ("2.4.3.632", Generation::C),
            ("2.2.3.857", Generation::C),
            ("2.2.4.1064", Generation::C),
            ("2.2.4.1065", Generation::D),
            ("2.3.5.1", Generation::D),
            ("2.2.3", Generation::A),
            ("soon", Generation::A),
        ] {
            assert_eq!(Agent::of_build(version).generation, generation, "{version}");
        }
    }

    #[test]
    fn each_agent_is_of_the_generation_of_its_own_version() {
        for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d()] {
            let version = agent.version_on(Os::Linux);
            assert_eq!(Agent::of_build(&version).generation, agent.generation, "{version}");
        }
        assert_eq!(Agent::resumable().version_on(Os::Windows), "2.1.4.1070");
        assert_eq!(Agent::of_build("2.4.3.700").version_on(Os::Windows), "2.4.3.700");
    }
}
