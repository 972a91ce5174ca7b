//! The agent, and the gateway before it, as docs/protocol.md, 2 to 8, has them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::link::{Down, Stream};
use super::{Disconnect, Generation};
use crate::frame::{Frame, FrameType, Sequence, Version};

/// After so long without a frame of the client the agent ends a session.
const IDLE: Duration = Duration::from_secs(180);

/// What an agent is like.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) generation: Generation,
    /// Whether the session is a shell.
    pub(crate) is_shell: bool,
    /// Whether it speaks 1.02.
    pub(crate) resumable: bool,
    /// Whether Status frames come.
    pub(crate) statuses: bool,
    /// Whether WebSocket pings are answered.
    pub(crate) pongs: bool,
    /// Whether it acknowledges at once, by an empty Output, and answers a Sync by another (1.02). One that
    /// does not looks at no Sync for what it has missed.
    pub(crate) acknowledges: bool,
    /// Whether the gateway may lose and swap frames although the socket stays (1.02).
    pub(crate) loses: bool,
    /// What the target says first.
    pub(crate) greeting: &'static [u8],
    /// How long after the upgrade the agent joins, and how much later the target is dialled.
    pub(crate) joins: Duration,
    pub(crate) dials: Duration,
    /// The limit that is announced when it joins.
    pub(crate) limit: Option<u32>,
}

#[cfg(test)]
impl Agent {
    /// One of generation D, which is there at once, and whose target is.
    pub(crate) fn new(resumable: bool) -> Self {
        Self {
            generation: Generation::D,
            is_shell: false,
            resumable,
            statuses: true,
            pongs: true,
            acknowledges: false,
            loses: false,
            greeting: b"",
            joins: Duration::ZERO,
            dials: Duration::ZERO,
            limit: None,
        }
    }
}

/// The agent's connection to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Joining(Instant),
    Dialling(Instant),
    Connected,
    /// It has closed, and the agent has not told.
    Closed,
    /// It was dialled again.
    Second,
}

/// An agent that serves one session.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) agent: Agent,
    pub(super) target: Target,
    /// The last Input or Resize that came in order, and the bytes of them for the first connection.
    received: u32,
    pub(super) arrived: usize,
    /// The size of the window, as far as the terminal of a shell has it.
    pub(super) size: Option<Bytes>,
    /// Whether missing Input was requested.
    asked: bool,
    /// Outputs that are not acknowledged, and the number of the one before them.
    kept: VecDeque<Bytes>,
    acknowledged: u32,
    /// How many Outputs and bytes were sent, and how many bytes before a second connection.
    pub(super) outputs: u32,
    pub(super) answered: usize,
    pub(super) first_answered: Option<usize>,
    /// Whether it was an empty Input that brought about the second one.
    pub(super) is_second_by_keepalive: bool,
    /// What ended the session, as a Status.
    over: Option<&'static [u8]>,
    last_heard: Instant,
    /// What is to be sent.
    pub(super) out: VecDeque<Down>,
}

impl Peer {
    pub(super) fn new(now: Instant, agent: Agent) -> Self {
        let mut peer = Self {
            target: Target::Joining(now + agent.joins),
            agent,
            received: 0,
            arrived: 0,
            size: None,
            asked: false,
            kept: VecDeque::new(),
            acknowledged: 0,
            outputs: 0,
            answered: 0,
            first_answered: None,
            is_second_by_keepalive: false,
            over: None,
            last_heard: now,
            out: VecDeque::new(),
        };
        peer.status(b"\x01");
        peer
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// When something happens without a frame.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.target {
            _ if self.is_over() => None,
            Target::Joining(at) | Target::Dialling(at) => Some(at),
            _ => Some(self.last_heard + IDLE),
        }
    }

    /// What is due happens.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.next().is_some_and(|at| at <= now) {
            match self.target {
                Target::Joining(at) => {
                    self.target = Target::Dialling(at + self.agent.dials);
                    if let Some(limit) = self.agent.limit {
                        self.status(&[&[7][..], &limit.to_be_bytes()].concat());
                    }
                    self.status(b"\x03");
                }
                Target::Dialling(_) => {
                    self.target = Target::Connected;
                    self.last_heard = now;
                    self.answer(Bytes::from_static(self.agent.greeting));
                }
                _ => self.end(b"\x05IdleTimeout"),
            }
        }
    }

    /// The target sends.
    pub(super) fn answer(&mut self, payload: Bytes) {
        if matches!(self.target, Target::Connected | Target::Second) && !self.is_over() {
            self.output(payload);
        }
    }

    fn output(&mut self, payload: Bytes) {
        self.outputs += 1;
        self.answered += payload.len();
        if self.agent.resumable {
            self.kept.push_back(payload.clone());
        }
        let number = self.outputs - u32::from(!self.agent.resumable);
        self.frame(FrameType::OUTPUT, self.received, number, payload);
    }

    /// The target closes. Only an agent of D, or of 1.02, tells.
    pub(super) fn close_target(&mut self) {
        if self.target != Target::Connected || self.is_over() {
            return;
        }
        self.target = Target::Closed;
        if self.agent.is_shell {
            self.end(b"\x05Exit");
        } else if self.agent.resumable || self.agent.generation == Generation::D {
            self.end(b"\x05ReadFromTargetPortFailed: EOF");
        }
    }

    /// The session ends, for whatever reason.
    pub(super) fn end(&mut self, status: &'static [u8]) {
        if !self.is_over() {
            self.over = Some(status);
            self.tell_end();
        }
    }

    pub(super) fn tell_end(&mut self) {
        let Some(status) = self.over else { return };
        match self.agent.statuses {
            true => self.status(status),
            false => {
                let closed = Disconnect::Closed { code: Some(1000), text: String::new() };
                self.out.push_back(Down::Gone(closed));
            }
        }
    }

    /// Occasion to request again what is missing.
    pub(super) fn forget_request(&mut self) {
        self.asked = false;
    }

    pub(super) fn status(&mut self, payload: &[u8]) {
        if self.agent.statuses {
            self.frame(FrameType::STATUS, 0, 0, Bytes::copy_from_slice(payload));
        }
    }

    fn frame(&mut self, kind: FrameType, input: u32, output: u32, payload: Bytes) {
        let (version, sequence) = match self.agent.resumable {
            true => (Version::V1_02, Sequence::Pair { input, output }),
            false => (Version::V1_01, Sequence::Single(output.into())),
        };
        self.out.push_back(Down::Frame(Frame {
            kind,
            version,
            channel_id: Bytes::from_static(b"d-1"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload,
        }));
    }

    /// A frame of the client. `written` is what its local side has written.
    pub(super) fn handle_frame(&mut self, now: Instant, frame: &Frame, written: &Stream) {
        self.last_heard = now;
        let input = match frame.sequence {
            // Before it has heard of 1.02 the client speaks 1.01.
            Sequence::Single(number) => u32::try_from(number).expect("a number"),
            Sequence::Pair { input, output } => {
                while self.acknowledged < output {
                    self.kept.pop_front().expect("it acknowledges what was sent");
                    self.acknowledged += 1;
                }
                input
            }
        };
        if self.is_over() && frame.kind != FrameType::SYNC {
            return;
        }
        self.dial_again(frame);
        match frame.kind {
            FrameType::INPUT | FrameType::RESIZE if input == self.received + 1 => {
                self.received = input;
                self.asked = false;
                self.take(&frame.payload, written, frame.kind);
                if self.agent.resumable && self.agent.acknowledges {
                    self.output(Bytes::new());
                }
            }
            FrameType::INPUT | FrameType::RESIZE => {
                assert!(self.agent.resumable, "{input} behind {} in 1.01", self.received);
                if input > self.received {
                    self.request_missing();
                }
            }
            FrameType::SYNC => {
                assert!(self.agent.resumable, "a Sync in 1.01");
                let again: Vec<_> = self.kept.iter().cloned().collect();
                for (number, payload) in (self.acknowledged + 1..).zip(again) {
                    self.frame(FrameType::OUTPUT, self.received, number, payload);
                }
                if input > self.received && (self.agent.acknowledges || self.agent.loses) {
                    self.request_missing();
                } else if self.agent.acknowledges {
                    self.frame(FrameType::SYNC, self.received, self.outputs, Bytes::new());
                }
                self.tell_end();
            }
            FrameType::CLOSE => {
                if self.agent.resumable
                    || matches!(self.agent.generation, Generation::C | Generation::D)
                {
                    self.over = Some(b"\x05Exit");
                }
            }
            kind => panic!("a frame of type {kind:?}"),
        }
    }

    /// Bytes for the target.
    fn take(&mut self, payload: &Bytes, written: &Stream, kind: FrameType) {
        let has_terminal = self.target == Target::Connected
            || self.agent.resumable
            || self.agent.generation == Generation::D;
        if kind == FrameType::RESIZE && has_terminal {
            self.size = Some(payload.clone());
        }
        if kind != FrameType::INPUT || payload.is_empty() {
            return;
        }
        match self.target {
            Target::Joining(_) | Target::Dialling(_) => {
                // What comes before that is held, or lost without a word.
                let holds = self.agent.resumable || self.agent.generation.holds_early_input();
                let holds = holds && !self.agent.is_shell;
                let is_joined = matches!(self.target, Target::Dialling(_));
                assert!(holds && is_joined, "Input before its time: {:?}", self.target);
            }
            Target::Connected => {}
            Target::Closed | Target::Second => return,
        }
        let end = self.arrived + payload.len();
        assert_eq!(written.get(self.arrived..end), Some(&payload[..]), "not what was written");
        self.arrived = end;
    }

    /// Agents of A to C dial a target again that has closed.
    fn dial_again(&mut self, frame: &Frame) {
        let dials = match self.agent.generation {
            _ if self.agent.resumable || self.agent.is_shell => false,
            Generation::A | Generation::B => true,
            Generation::C => frame.kind == FrameType::INPUT,
            Generation::D => false,
        };
        if self.target == Target::Closed && dials {
            self.target = Target::Second;
            self.first_answered = Some(self.answered);
            self.is_second_by_keepalive =
                frame.kind == FrameType::INPUT && frame.payload.is_empty();
            self.answer(Bytes::from_static(self.agent.greeting));
        }
    }

    /// As the client does it: once, and again at the next occasion.
    fn request_missing(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            self.frame(FrameType::SYNC, self.received + 1, self.outputs, Bytes::new());
        }
    }
}
