//! What always has to hold of a session, whatever has happened to it.

use super::super::inbound::DELIVER_PIECES;
use super::super::opening::NO_STATUS_GRACE;
use super::super::*;
use super::{Run, SECOND};
use crate::frame::MAX_PAYLOAD;
use crate::replay::{REPLAY_CAP, REPLAY_FRAMES};

impl Run<'_> {
    /// What is delivered is what has come, in order and once.
    pub(super) fn deliver(&mut self, most: usize) {
        for _ in 0..most {
            let Some(bytes) = self.session.poll_deliver() else { break };
            assert!(!self.gone, "delivered to nobody");
            let end = self.delivered + bytes.len();
            assert_eq!(self.answered.get(self.delivered..end), Some(&bytes[..]), "not what came");
            self.delivered = end;
            self.pieces.push(bytes);
        }
        // The beginning of what may be a second identification line is kept back.
        let kept = self.answered.len() - self.delivered;
        let is_all = self.session.inbound.is_empty() && !self.gone;
        assert!(self.session.phase.is_ended() || !is_all || kept < 8, "{kept} bytes are held up");
    }

    /// What is sent is what was written, in frames of the right shape, while there is a socket.
    pub(super) fn transmit(&mut self, most: usize) {
        self.events();
        for count in 0..most {
            assert!(count < REPLAY_FRAMES + LOCAL_CAP, "it never stops sending");
            let ended = self.session.phase.is_ended();
            let may_send = ended || self.session.is_connected();
            let Some(message) = self.session.poll_transmit(self.now) else { return };
            assert!(may_send && !self.closed, "sent to nobody");
            let frame = Frame::decode(message).expect("a frame");
            assert!(frame.created_ms >= self.config.unix_ms && frame.instance_id.is_empty());
            let sequence = if self.resumable {
                assert_eq!(frame.channel_id, self.channel_id);
                let Sequence::Pair { input, output } = frame.sequence else { panic!("{frame:?}") };
                assert_eq!(output, self.received, "a wrong acknowledgement");
                usize::try_from(input).unwrap_or(usize::MAX)
            } else {
                assert!(frame.channel_id.is_empty());
                let Sequence::Single(sequence) = frame.sequence else { panic!("{frame:?}") };
                let is_close = frame.kind == FrameType::CLOSE;
                usize::try_from(sequence - i64::from(is_close)).unwrap_or(usize::MAX)
            };
            self.last_frame = self.now;
            match frame.kind {
                FrameType::INPUT => {
                    assert!(!ended && self.ready, "Input before its time, or after");
                    self.input(sequence, &frame.payload);
                }
                FrameType::RESIZE => {
                    assert!(!ended && self.ready && frame.payload.len() == 4);
                    self.input(sequence, b"");
                }
                FrameType::SYNC => {
                    assert!(!ended && self.resumable && frame.payload.is_empty());
                    assert_eq!(sequence, self.inputs.len());
                }
                FrameType::CLOSE => {
                    assert_eq!((sequence, &frame.payload[..]), (self.inputs.len(), &b"1"[..]));
                    assert!(self.session.phase.is_ended());
                    self.closed = true;
                }
                kind => panic!("a frame of type {kind:?}"),
            }
            self.events();
        }
    }

    /// Input is sent in order, and again only as it was.
    fn input(&mut self, sequence: usize, payload: &[u8]) {
        assert!(payload.len() <= MAX_PAYLOAD);
        let again = sequence <= self.inputs.len();
        if again {
            let was = &self.inputs[sequence.checked_sub(1).expect("numbers begin at 1")];
            assert_eq!(&self.written[was.clone()], payload, "not what it was");
        } else {
            assert_eq!(sequence, self.inputs.len() + 1, "a number is left out");
            let end = self.arrived + payload.len();
            assert_eq!(self.written.get(self.arrived..end), Some(payload), "not what was written");
            assert!(
                self.resumable || !self.local_eof || !payload.is_empty(),
                "an agent may redial"
            );
            self.inputs.push(self.arrived..end);
            self.arrived = end;
        }
        if !payload.is_empty() {
            self.sent.push((self.now, payload.len(), again));
            self.check_pace();
        }
    }

    /// No second since the limit last changed has carried more than the limit; but a frame that is
    /// sent again cannot be made shorter.
    fn check_pace(&self) {
        let second_ago = self.now.checked_sub(SECOND).unwrap_or(self.now);
        let since = self.limit_since.max(second_ago);
        let window = self.sent.iter().rev().take_while(|(at, ..)| *at > since);
        let (mut bytes, mut frames) = (0, 0);
        window.for_each(|(_, len, _)| (bytes, frames) = (bytes + len, frames + 1));
        let is_whole = frames == 1 && self.sent.last().is_some_and(|(.., again)| *again);
        let allowed = usize::try_from(self.limit / 8).unwrap_or(usize::MAX).max(1);
        assert!(is_whole || bytes <= allowed, "{bytes} bytes at {} bit/s", self.limit);
    }

    /// Each is told once, and nothing after the end.
    pub(super) fn events(&mut self) {
        assert!(self.session.events.len() <= 65);
        while let Some(event) = self.session.poll_event() {
            assert!(!self.end_told, "{event:?} after the end");
            match event {
                Event::Ready => {
                    let holds = self.agent.is_some_and(Generation::holds_early_input);
                    let delay = if holds { Duration::ZERO } else { self.config.ready_delay };
                    let told = self.opened.map(|at| at + delay);
                    let unacked_output_bytes =
                        self.start + self.config.ready_delay + NO_STATUS_GRACE;
                    let told = told.or((!self.progress).then_some(unacked_output_bytes));
                    let is_time = told.is_some_and(|told| told <= self.now);
                    assert!(!self.ready && (self.session.has_output() || is_time), "too soon");
                    self.ready = true;
                }
                Event::Ended(end) => {
                    assert_eq!(Some(&end), self.session.end());
                    self.end_told = true;
                }
                _ => {}
            }
        }
    }

    /// What is waited for once there is nothing to do at once.
    pub(super) fn assert_due(&self, due: Option<Instant>) {
        let session = &self.session;
        if session.phase.is_ended() {
            return;
        }
        let nobody_waits = self.local_eof || !session.is_connected();
        assert!(!nobody_waits || due.is_some(), "it hangs: {session:?}");
        let is_heeded = match self.config.keepalive {
            Keepalive::Always(after) => Some(after),
            Keepalive::ByAgent(after) => {
                let redials = matches!(self.agent, Some(Generation::A | Generation::B));
                (!redials || session.is_ssh()).then_some(after)
            }
            Keepalive::Never => None,
        };
        if let Some(keepalive) = is_heeded
            && self.ready
            && !nobody_waits
            && !session.outbound.is_keepalive_due()
            // Nobody would take it once the peer has ended the stream.
            && session.phase.pending_end().is_none()
        {
            let silent = self.last_frame + keepalive;
            assert!(due.is_some_and(|due| due <= silent), "no keepalive: {session:?}");
        }
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        self.events();
        let session = &self.session;
        assert!(session.outbound.queued() <= LOCAL_CAP && session.local_room() <= LOCAL_CAP);
        assert!(session.outbound.replay().bytes() <= REPLAY_CAP);
        let (pieces, bytes) = session.inbound.queued();
        assert!(bytes < DELIVER_CAP + (1 << 16) + 8);
        assert!(pieces < DELIVER_PIECES + 3);
        if self.end.is_some() {
            assert_eq!(session.end(), self.end.as_ref(), "another end");
        }
        if session.phase.is_ended() {
            assert!(self.end_told && session.local_room() == 0 && !session.wants_remote());
            assert_eq!((session.poll_timeout(true), session.poll_timeout(false)), (None, None));
            self.end = session.end().cloned();
        }
    }
}
