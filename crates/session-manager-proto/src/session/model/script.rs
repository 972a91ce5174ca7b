//! Cases from any bytes, as a fuzzer has them: each byte a step, its arguments behind it.

use bytes::Buf;

use super::*;

/// With this first byte the case has an agent that follows docs/protocol.md.
const WITH_AGENT: u8 = 0xff;

/// What is left of a script.
pub(super) struct Script<'a> {
    bytes: &'a [u8],
    has_agent: bool,
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, has_agent: bytes.first() == Some(&WITH_AGENT) }
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes.try_get_u8().ok()
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = tail;
        head
    }

    /// So many bytes, as the byte before them says.
    fn raw(&mut self) -> Option<Bytes> {
        let len = usize::from(self.byte()?);
        Some(Bytes::copy_from_slice(self.take(len)))
    }

    /// A time in so many of a unit.
    fn time(&mut self, unit: Duration) -> Option<Duration> {
        Some(u32::from(self.byte()?) * unit)
    }

    pub(super) fn setup(&mut self) -> Setup {
        let mut choose = || self.bytes.try_get_u8().unwrap_or(0);
        if self.has_agent {
            choose();
            return [choose(), choose(), choose(), choose(), choose(), choose()].into();
        }
        let (flags, times) = (choose(), choose());
        let seconds =
            |options: [u64; 4], choice: u8| Duration::from_secs(options[usize::from(choice % 4)]);
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        // As the command line allows them.
        let config = Config {
            unix_ms: if flags & 2 == 0 { 1_700_000_000_000 } else { u64::MAX },
            kind: SessionKind::Port,
            server_first: flags & 1 != 0,
            ready_delay: [1500 * MS, Duration::ZERO, 100 * MS, 10 * SECOND]
                [usize::from(flags >> 2 & 3)],
            keepalive: match (some(seconds([50, 0, 1, 86_400], times)), times & 64) {
                (None, _) => Keepalive::Never,
                (Some(after), 0) => Keepalive::Always(after),
                (Some(after), _) => Keepalive::ByAgent(after),
            },
            idle_timeout: some(seconds([0, 1, 60, 31_536_000], times >> 2)),
            idle_warning: None,
            linger: seconds([10, 0, 1, 3_600], times >> 4),
            random: u64::from(flags >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        Setup { config, agent: None, delay: Duration::ZERO, socket: usize::MAX }
    }

    /// The next thing that happens; `None` at the end of the script.
    pub(super) fn step(&mut self) -> Option<Step> {
        let step = self.byte()?;
        if self.has_agent {
            return Some(Step::of(step, self.bytes.try_get_u16().ok()?));
        }
        // The upper bits choose a version, for steps that bring a frame.
        let version = step >> 5;
        let frame = |kind, input: i64, output: i64, data| {
            Step::Frame(version, kind, Offsets { input, output }, data)
        };
        let none = || Data::Raw(Bytes::new());
        Some(match step & 31 {
            0 => frame(FrameType::OUTPUT, 0, 0, Data::Pattern(usize::from(self.byte()?) * 16)),
            1 => frame(FrameType::OUTPUT, 0, 0, Data::Raw(self.raw()?)),
            2 => {
                let [input, output] =
                    [self.bytes.try_get_i8().ok()?, self.bytes.try_get_i8().ok()?];
                let data = Data::Raw(pattern(0, usize::from(self.byte()?)));
                frame(FrameType::OUTPUT, input.into(), output.into(), data)
            }
            3 => {
                let [input, output] =
                    [self.bytes.try_get_i32().ok()?, self.bytes.try_get_i32().ok()?];
                let data = Data::Raw(Bytes::from_static(b"far off"));
                frame(FrameType::OUTPUT, input.into(), output.into(), data)
            }
            4 => {
                let len = usize::from(self.byte()? % 24);
                let payload = Bytes::copy_from_slice(self.take(len));
                frame(FrameType::STATUS, 0, 0, Data::Raw(payload))
            }
            5 => {
                let limit = self.bytes.try_get_u32().ok()?;
                let payload = [&[7], &limit.to_be_bytes()[..]].concat();
                frame(FrameType::STATUS, 0, 0, Data::Raw(payload.into()))
            }
            6 => frame(FrameType::SYNC, self.bytes.try_get_i8().ok()?.into(), 0, none()),
            7 => frame(FrameType::SYNC, self.bytes.try_get_i32().ok()?.into(), 0, none()),
            8 => {
                let kind = FrameType(u32::from(self.byte()?));
                frame(kind, 0, 0, Data::Raw(Bytes::from_static(b"1")))
            }
            9 => Step::Message(self.raw()?),
            10 => Step::Violation,
            11 => {
                let code = Some(self.bytes.try_get_u16().ok()?).filter(|code| *code > 0);
                let text = if code == Some(1000) { "" } else { "text" }.to_owned();
                Step::Disconnect(Disconnect::Closed { code, text })
            }
            12 => Step::Disconnect(Disconnect::Broken("cut".into())),
            13 => frame(FrameType::STATUS, 0, 0, Data::Raw(Bytes::from_static(&[8]))),
            14 => Step::Local(Data::Pattern(usize::from(self.byte()?) * 128)),
            15 => Step::Local(Data::Raw(self.raw()?)),
            16 => Step::LocalEof,
            17 => Step::LocalGone(self.time(10 * MS)?),
            18 => Step::Shutdown(self.time(10 * MS)?),
            19 => Step::Unblocked,
            20 => Step::Jump(u32::from(self.bytes.try_get_u16().ok()?) * MS),
            21 => Step::Jump(self.time(10 * SECOND)?),
            22 => Step::NextDeadline,
            23 => Step::Transmit(self.byte()?.into()),
            24 => Step::Deliver(self.byte()?.into()),
            25 => Step::Redial,
            26 => Step::Redialled(match self.byte()? % 4 {
                0 => Gateway::Refuses,
                1 => Gateway::RefusesForGood,
                _ => Gateway::Accepts,
            }),
            27 => {
                let len = self.bytes.try_get_u16().ok()?;
                frame(FrameType::OUTPUT, 0, 0, Data::Pattern(len.into()))
            }
            28 => Step::Turn,
            29 => {
                let all = [Generation::A, Generation::B, Generation::C, Generation::D];
                Step::Agent(all[usize::from(self.byte()? % 4)])
            }
            30 => Step::Ping(self.byte()? & 1 == 0),
            _ => Step::Blocked(self.byte()? & 1 == 0),
        })
    }
}

/// Plays a script, and then lets the session come to its end.
/// Returns what was delivered, piece by piece.
pub(crate) fn session(script: &[u8]) -> Vec<Bytes> {
    let mut script = Script::new(script);
    let mut model = Model::new(script.setup());
    while let Some(step) = script.step() {
        model.apply(&step);
    }
    model.settle();
    model.into_pieces()
}
