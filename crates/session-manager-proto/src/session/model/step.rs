//! What a case of the model consists of: how it begins, and what happens.

use super::peer::Agent;
use super::*;

/// How a case begins.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// The agent; without one every frame of the peer is a step.
    pub(crate) agent: Option<Agent>,
    /// How long a message is on its way.
    pub(crate) delay: Duration,
    /// How many messages the socket holds.
    pub(crate) socket: usize,
}

impl Setup {
    /// A session with an agent, over a way without delay.
    pub(crate) fn new(agent: Agent) -> Self {
        let server_first = !agent.greeting.is_empty();
        let config = match agent.is_shell {
            true => Config::shell(1_700_000_000_000, false),
            false => Config { server_first, ..Config::new(1_700_000_000_000) },
        };
        Self { config, agent: Some(agent), delay: Duration::ZERO, socket: usize::MAX }
    }
}

/// What the local side writes, or the target.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// So many bytes, none of which can be taken for another.
    Pattern(usize),
    Raw(Bytes),
}

impl Data {
    pub(super) fn bytes(&self, position: usize) -> Bytes {
        match self {
            Self::Pattern(len) => pattern(position, *len),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

/// What the local side does while time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Nothing,
    /// It writes as much as there is room for.
    Copies,
    /// It writes so many bytes at once, every so often.
    Types(usize, Duration),
}

/// A direction of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    Up,
    Down,
    Both,
}

impl Ways {
    pub(super) fn has_up(self) -> bool {
        self != Self::Down
    }

    pub(super) fn has_down(self) -> bool {
        self != Self::Up
    }
}

/// How the gateway takes another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    Accepts,
    Refuses,
    RefusesForGood,
}

/// What becomes of the first message of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Lost,
    Doubled,
    Swapped,
}

/// How far a frame is from the numbers that it should have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) input: i64,
    pub(crate) output: i64,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Local(Data),
    LocalEof,
    LocalGone(Duration),
    Shutdown(Duration),
    Yield,
    Source(Source),
    /// Whether the local side takes what is for it.
    Reads(bool),
    /// It takes so many pieces.
    Deliver(usize),
    /// The session learns which agent it has.
    Agent(Generation),

    /// Time passes, and the driver does its work.
    Tick(Duration),
    /// Time passes at once, as for a machine that is busy or asleep, or with a socket that takes nothing.
    Jump(Duration),
    Slept,

    /// So many messages arrive.
    Arrive(Ways, usize),
    Stall(Ways, Duration),
    Mishap(Ways, Mishap),
    Disconnect(Disconnect),
    Gateway(Gateway),

    /// The target sends.
    Answer(usize),
    TargetCloses,
    /// The gateway tells, and the session has ended if that says so.
    Status(Vec<u8>),
    Exit,
    Pongs(bool),

    /// A frame of the peer, with a choice of its version.
    Frame(u8, FrameType, Offsets, Data),
    Message(Bytes),
    Violation,
    Transmit(usize),
    /// The driver does all that can be done at once.
    Turn,
    NextDeadline,
    Redial,
    Redialled(Gateway),
    Ping(bool),
    Blocked(bool),
    Unblocked,
}

impl Step {
    /// A step of a case with an agent, from any numbers.
    pub(crate) fn of(kind: u8, argument: u16) -> Self {
        let count = usize::from(argument);
        let ms = |most: u32| MS * (1 + u32::from(argument) % most);
        let ways = [Ways::Up, Ways::Down, Ways::Both][count % 3];
        match kind % 64 {
            0..=8 => Self::Local(Data::Pattern(1 + count % 40_000)),
            9..=16 => Self::Answer(count % 5_000),
            17..=22 => Self::Arrive(Ways::Up, 1 + count % 60),
            23..=28 => Self::Arrive(Ways::Down, 1 + count % 60),
            29..=32 => Self::Deliver(1 + count % 40),
            33..=40 => Self::Tick(ms(1_500)),
            41..=42 => Self::Tick(MS * (400 + 2 * u32::from(argument))),
            43 => Self::Jump(ms(60_000)),
            44 => Self::Stall(ways, ms(1_000)),
            45 => Self::Stall(ways, ms(60_000) * 3 / 2),
            46..=48 => Self::Disconnect(Disconnect::Broken("cut".into())),
            49 => Self::Status(vec![8]),
            50 if count % 8 == 7 => Self::Gateway(Gateway::RefusesForGood),
            50 => Self::Gateway([Gateway::Accepts, Gateway::Refuses][count % 2]),
            51 => Self::Pongs(count % 2 == 0),
            52 => {
                let limit = 8_000_u32 << (argument % 7);
                Self::Status([&[7][..], &limit.to_be_bytes()].concat())
            }
            53 => Self::Reads(count % 2 == 0),
            54 => Self::Mishap(ways, Mishap::Doubled),
            // The model tells the true one.
            55 => Self::Agent(Generation::D),
            56 => Self::Mishap(ways, [Mishap::Lost, Mishap::Swapped][count / 3 % 2]),
            57 => Self::Source(match count % 4 {
                0 => Source::Copies,
                1 => Source::Nothing,
                _ => Source::Types(1 + count % 1_000, ms(400) + 50 * MS),
            }),
            58 => Self::Slept,
            59 | 60 => Self::LocalEof,
            61 => Self::TargetCloses,
            62 => Self::Exit,
            _ => match count % 4 {
                0 => Self::LocalGone(ms(2_000)),
                1 => Self::Shutdown(ms(2_000)),
                2 => Self::Yield,
                _ => Self::Disconnect(Disconnect::Closed { code: Some(1012), text: String::new() }),
            },
        }
    }

    /// Whether the stream may end by it.
    #[cfg(test)]
    pub(crate) fn may_end(kind: u8) -> bool {
        matches!(kind % 64, 41..=45 | 50 | 51 | 58..)
    }
}

impl From<[u8; 6]> for Setup {
    /// A case with an agent, from any numbers.
    fn from([kind, flags, times, delay, socket, random]: [u8; 6]) -> Self {
        let all = [Generation::A, Generation::B, Generation::C, Generation::D];
        let (resumable, is_shell) = (kind & 4 != 0, flags & 128 != 0);
        let agent = Agent {
            generation: all[if resumable { 3 } else { usize::from(kind % 4) }],
            is_shell,
            resumable,
            statuses: flags & 3 != 0,
            pongs: flags & 12 != 0,
            acknowledges: flags & 16 != 0,
            loses: resumable && flags & 96 == 96,
            greeting: match is_shell {
                true => b"$ ",
                false => [&b""[..], b"", b"220 mail.example ESMTP\r\n", b"SSH-2.0-x\r\n"]
                    [usize::from(kind >> 3) % 4],
            },
            joins: [Duration::ZERO, Duration::ZERO, 100 * MS, SECOND][usize::from(times) % 4],
            dials: [Duration::ZERO, Duration::ZERO, SECOND, 1400 * MS][usize::from(times >> 2) % 4],
            limit: [Some(524_288), None][usize::from(times >> 4) % 2],
        };
        let mut setup = Self::new(agent);
        setup.config.random = u64::from(random).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        setup.config.keepalive = match kind >> 5 {
            0 => Keepalive::Never,
            1 => Keepalive::Always(5 * SECOND),
            _ => Keepalive::ByAgent(50 * SECOND),
        };
        setup.delay = u32::from(delay.saturating_sub(128)) * 3 * MS;
        setup.socket = 1 + usize::from(socket);
        setup
    }
}
