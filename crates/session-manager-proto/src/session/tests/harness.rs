//! A session, and the peer as a test plays it.

use super::*;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";

/// A session, and the peer as the test plays it.
pub(super) struct Test {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) session: Session,
    /// What the peer speaks.
    pub(super) version: Version,
    pub(super) channel: &'static str,
    pub(super) outputs: u32,
}

pub(super) fn pair(input: u32, output: u32) -> Sequence {
    Sequence::Pair { input, output }
}

pub(super) fn cut() -> Disconnect {
    Disconnect::Broken("reset".into())
}

/// A close frame; 1005 is one without a code.
pub(super) fn closed(code: u16) -> Disconnect {
    Disconnect::Closed { code: (code != 1005).then_some(code), text: String::new() }
}

impl Test {
    /// A session with a peer that speaks 1.01.
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let now = Instant::now();
        let mut config = Config::new(1_700_000_000_000);
        change(&mut config);
        let session = Session::new(now, config);
        Self { start: now, now, session, version: Version::V1_01, channel: "d-1", outputs: 0 }
    }

    /// A session with a peer that speaks a version.
    pub(super) fn speaking(version: Version) -> Self {
        Self { version, ..Self::new(|_| {}) }
    }

    /// One that is open, in 1.02: the first Output has come.
    pub(super) fn open() -> Self {
        let mut test = Self::speaking(Version::V1_02);
        test.status(&[3]);
        test.output_at(0, 1, b"hello");
        assert_eq!(test.delivered(), b"hello");
        test
    }

    /// A frame of the version that its sequence says.
    pub(super) fn frame(&mut self, kind: FrameType, sequence: Sequence, payload: &[u8]) {
        let version = match sequence {
            Sequence::Single(_) => Version::V1_01,
            Sequence::Pair { .. } => Version::V1_02,
        };
        let frame = Frame {
            kind,
            version,
            channel_id: Bytes::from_static(self.channel.as_bytes()),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence,
            payload: Bytes::copy_from_slice(payload),
        };
        self.session.handle_frame(self.now, frame.encode().unwrap());
    }

    /// A frame of the peer's version, with a number.
    pub(super) fn numbered(&mut self, kind: FrameType, number: u32, payload: &[u8]) {
        let sequence = match self.version.is_resumable() {
            true => pair(0, number),
            false => Sequence::Single(number.into()),
        };
        self.frame(kind, sequence, payload);
    }

    pub(super) fn status(&mut self, payload: &[u8]) {
        self.numbered(FrameType::STATUS, 0, payload);
    }

    /// The next Output. In 1.01 the first one has 0, in 1.02 it has 1.
    pub(super) fn output(&mut self, payload: &[u8]) {
        let number = self.outputs + u32::from(self.version.is_resumable());
        self.outputs += 1;
        self.numbered(FrameType::OUTPUT, number, payload);
    }

    /// An Output of 1.02 with what it acknowledges and its number.
    pub(super) fn output_at(&mut self, acknowledged: u32, number: u32, payload: &[u8]) {
        self.frame(FrameType::OUTPUT, pair(acknowledged, number), payload);
    }

    pub(super) fn local(&mut self, bytes: &[u8]) {
        self.session.handle_local(self.now, bytes);
    }

    /// Local bytes, a frame each.
    pub(super) fn inputs(&mut self, count: u32) -> Vec<Frame> {
        let mut sent = Vec::new();
        for _ in 0..count {
            self.local(b"x");
            sent.extend(self.sent());
        }
        assert_eq!(sent.len(), usize::try_from(count).unwrap());
        sent
    }

    /// What the session sends now. In 1.02 each frame has the channel that was learnt.
    pub(super) fn sent(&mut self) -> Vec<Frame> {
        let now = self.now;
        std::iter::from_fn(|| self.session.poll_transmit(now))
            .map(|message| Frame::decode(message).unwrap())
            .inspect(|frame| {
                let channel = if frame.version.is_resumable() { "d-1" } else { "" };
                assert_eq!(frame.channel_id, channel);
            })
            .collect()
    }

    /// The same, less the payloads.
    pub(super) fn sent_kinds(&mut self) -> Vec<(FrameType, Sequence)> {
        self.sent().into_iter().map(|frame| (frame.kind, frame.sequence)).collect()
    }

    pub(super) fn delivered(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.session.poll_deliver()).flatten().collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(super) fn failure(&self) -> &Failure {
        match self.session.end() {
            Some(End::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets time pass, deadline by deadline, and gives what was sent.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Frame> {
        let until = self.now + time;
        let mut sent = self.sent();
        while let Some(at) = self.session.poll_timeout(true).filter(|at| *at <= until) {
            assert!(at >= self.now, "a deadline in the past");
            self.now = at;
            self.session.handle_timeout(at);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    /// Lets time pass while nothing is sent and no socket is made.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.session.poll_timeout(true).filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            if self.session.poll_timeout(true) == Some(at) {
                break; // somebody else's turn: a socket is to be made, or a frame to be sent
            }
        }
        self.now = until;
        self.session.handle_timeout(until);
    }

    /// Lets time pass, and gives the Input that was sent; other sockets are refused, or made.
    pub(super) fn pass_with(&mut self, time: Duration, sockets: bool) -> Vec<u8> {
        let until = self.now + time;
        let mut sent = Vec::new();
        loop {
            self.session.handle_timeout(self.now);
            while let Some(message) = self.session.poll_transmit(self.now) {
                let frame = Frame::decode(message).unwrap();
                if frame.kind == FrameType::INPUT {
                    sent.extend_from_slice(&frame.payload);
                }
            }
            if self.session.poll_reconnect(self.now).is_some() {
                match sockets {
                    true => self.session.handle_reconnected(self.now),
                    false => self.session.handle_not_reconnected(self.now, "no".into(), false),
                }
                continue;
            }
            match self.session.poll_timeout(true).filter(|at| *at <= until) {
                Some(at) => assert!(at > self.now, "a deadline in the past: {:?}", self.session),
                None => break,
            }
            self.now = self.session.poll_timeout(true).unwrap();
        }
        self.now = until;
        sent
    }

    /// Lets time pass until all that the local side has written is sent.
    pub(super) fn drain(&mut self) {
        while self.session.stream.outbound.queued() > 0 {
            self.wait(SECOND / 5);
            self.sent();
        }
    }

    /// The socket breaks, and there is another one as soon as it is asked for.
    pub(super) fn reconnect(&mut self) {
        self.session.handle_disconnect(self.now, cut());
        self.reconnects_after();
        self.session.handle_reconnected(self.now);
    }

    /// Lets time pass until another socket is asked for.
    pub(super) fn reconnects_after(&mut self) -> Duration {
        let at = self.session.poll_timeout(true).unwrap();
        let passed = at - self.now;
        assert_eq!(self.session.poll_reconnect(self.now), None, "too soon");
        self.now = at;
        self.session.handle_timeout(at);
        assert_eq!(self.session.poll_reconnect(at).unwrap(), "d-1");
        assert_eq!(self.session.poll_reconnect(at), None, "one at a time");
        passed
    }
}

pub(super) fn payloads(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.payload.to_vec()).collect()
}

pub(super) fn kinds(frames: &[Frame]) -> Vec<FrameType> {
    frames.iter().map(|frame| frame.kind).collect()
}
