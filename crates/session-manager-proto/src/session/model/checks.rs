//! What always has to hold of a session, whatever has happened to it.

use super::super::inbound::DELIVER_PIECES;
use super::super::opening::NO_STATUS_GRACE;
use super::*;
use crate::frame::MAX_PAYLOAD;
use crate::replay::{REPLAY_CAP, REPLAY_FRAMES};

impl Model {
    /// What is delivered is what has come, in order and once.
    pub(super) fn deliver(&mut self, most: usize) {
        for _ in 0..most {
            let Some(bytes) = self.session.poll_deliver() else { break };
            assert!(!self.gone, "delivered to nobody");
            let end = self.delivered + bytes.len();
            assert_eq!(self.answered.get(self.delivered..end), Some(&bytes[..]), "not what came");
            self.check_connection(self.delivered..end);
            self.delivered = end;
            match self.peer {
                Some(_) => self.answered.forget_before(end),
                None => self.pieces.push(bytes),
            }
        }
        // The beginning of what may be a second identification line is kept back.
        let kept = self.answered.end() - self.delivered;
        let is_all = self.session.stream.inbound.is_empty() && !self.gone;
        assert!(self.session.phase.is_ended() || !is_all || kept < 8, "{kept} bytes are held up");
    }

    /// What is sent is what was written, in frames of the right shape, while there is a socket.
    /// Returns the last frame of at most so many.
    pub(super) fn transmit(&mut self, most: usize) -> Option<Frame> {
        self.events();
        let mut last = None;
        for count in 0..most {
            assert!(count < REPLAY_FRAMES + LOCAL_CAP, "it never stops sending");
            let ended = self.session.phase.is_ended();
            let may_send = ended || self.session.is_connected();
            let is_downloading = self.session.stream.inbound.is_downloading();
            let Some(message) = self.session.poll_transmit(self.now) else { break };
            assert!(may_send && !self.closed, "sent to nobody");
            let frame = Frame::decode(message).expect("a frame");
            assert!(frame.created_ms >= self.config().unix_ms && frame.instance_id.is_empty());
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
                    let may_redial = match self.local_eof {
                        true => self.redials_at_eof(),
                        false => self.redials_unasked() && !is_downloading,
                    };
                    assert!(!may_redial || !frame.payload.is_empty(), "an agent may redial");
                    self.keepalive = frame.payload.is_empty().then_some(self.now);
                    self.input(sequence, &frame.payload);
                }
                FrameType::RESIZE => {
                    let is_time = self.ready || self.config().is_shell();
                    assert!(!ended && is_time && frame.payload.len() == 4);
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
            last = Some(frame);
        }
        last
    }

    /// Nothing of a second connection is delivered where it can be told: in a stream of SSH, and where
    /// a keepalive has brought the greeting.
    fn check_connection(&self, delivered: Range<usize>) {
        let Some(peer) = &self.peer else { return };
        let Some(first) = peer.first_answered else { return };
        let is_at_once = self.keepalive.is_some_and(|at| self.now <= at + 3 * SECOND);
        let is_greeting = peer.agent.greeting.len() >= 8 && self.is_greeted;
        let is_greeting = is_greeting && peer.is_second_by_keepalive && delivered.start <= first;
        let is_told = self.session.is_ssh() || (is_greeting && is_at_once);
        assert!(!is_told || delivered.end <= first, "bytes of a second connection");
    }

    /// Whether the agent is known to dial a target again for an empty Input, and is not to get one.
    fn redials_unasked(&self) -> bool {
        let redials = self.agent.is_some_and(Generation::redials);
        let is_forced = matches!(self.config().keepalive, Keepalive::Always(_));
        let is_harmless = self.resumable || self.session.is_ssh() || self.config().is_shell();
        redials && !is_forced && !is_harmless
    }

    /// The same after the local end of file, where what is not known may do so.
    fn redials_at_eof(&self) -> bool {
        let redials = self.agent.is_none_or(Generation::redials);
        // An agent of 1.01 may be behind a gateway of 1.02.
        redials && !self.session.stream.framing.has_acks() && !self.config().is_shell()
    }

    /// Input is sent in order, and again only as it was.
    fn input(&mut self, sequence: usize, payload: &[u8]) {
        assert!(payload.len() <= MAX_PAYLOAD);
        let again = sequence <= self.inputs.len();
        if again {
            let was = &self.inputs[sequence.checked_sub(1).expect("numbers begin at 1")];
            assert_eq!(self.written.get(was.clone()), Some(payload), "not what it was");
        } else {
            assert_eq!(sequence, self.inputs.len() + 1, "a number is left out");
            let end = self.sent + payload.len();
            assert_eq!(self.written.get(self.sent..end), Some(payload), "not what was written");
            self.inputs.push(self.sent..end);
            self.sent = end;
        }
        if !payload.is_empty() {
            self.check_pace(payload.len(), again);
        }
    }

    /// No second since the limit last changed has carried more than the limit; but a frame that is
    /// sent again cannot be made shorter.
    fn check_pace(&mut self, len: usize, again: bool) {
        let second_ago = self.now.checked_sub(SECOND).unwrap_or(self.now);
        let since = self.limit_since.max(second_ago);
        while let Some((_, old, _)) = self.second.front().filter(|(at, ..)| *at <= since) {
            self.second_bytes -= old;
            self.second.pop_front();
        }
        if self.now > since {
            self.second.push_back((self.now, len, again));
            self.second_bytes += len;
        }
        let is_whole = self.second.len() == 1 && again;
        let allowed = usize::try_from(self.limit / 8).unwrap_or(usize::MAX).max(1);
        assert!(
            is_whole || self.second_bytes <= allowed,
            "{} bytes at {} bit/s",
            self.second_bytes,
            self.limit
        );
    }

    /// Each is told once, and nothing after the end.
    pub(super) fn events(&mut self) {
        assert!(self.session.stream.events.0.len() <= 65);
        while let Some(event) = self.session.poll_event() {
            assert!(!self.end_told, "{event:?} after the end");
            match event {
                Event::Ready => {
                    let holds = self.agent.is_some_and(Generation::holds_early_input);
                    let holds = holds && !self.config().is_shell();
                    let delay = if holds { Duration::ZERO } else { self.config().ready_delay };
                    let told = self.opened.map(|at| at + delay);
                    let unacked_output_bytes =
                        self.start + self.config().ready_delay + NO_STATUS_GRACE;
                    let told = told.or((!self.progress).then_some(unacked_output_bytes));
                    let is_time = told.is_some_and(|told| told <= self.now);
                    assert!(
                        !self.ready && (self.session.stream.inbound.has_joined() || is_time),
                        "too soon"
                    );
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
        let has_resize = self.agent == Some(Generation::C);
        let is_heeded = match self.config().keepalive {
            _ if self.local_eof && self.redials_at_eof() && !has_resize => None,
            _ if self.local_eof && session.stream.flow.blocked().is_some() => None,
            Keepalive::Always(after) => Some(after),
            Keepalive::ByAgent(after) => {
                let redials = matches!(self.agent, Some(Generation::A | Generation::B));
                let is_harmless = session.is_ssh() || self.config().is_shell();
                (!redials || is_harmless).then_some(after)
            }
            Keepalive::Never => None,
        };
        if let Some(keepalive) = is_heeded
            && self.ready
            && session.is_connected()
            && !session.stream.outbound.is_keepalive_due()
            // Nobody would take it once the peer has ended the stream.
            && session.phase.pending_end().is_none()
        {
            let silent = self.last_frame + keepalive;
            assert!(due.is_some_and(|due| due <= silent), "no keepalive: {session:?}");
        }
    }

    fn config(&self) -> &Config {
        &self.setup.config
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        self.events();
        if let (None, Some(end)) = (&self.end, self.session.end().cloned()) {
            self.check_end(&end);
        }
        let session = &self.session;
        assert!(session.stream.outbound.queued() <= LOCAL_CAP && session.local_room() <= LOCAL_CAP);
        assert!(session.stream.outbound.replay().bytes() <= REPLAY_CAP);
        let (pieces, bytes) = session.stream.inbound.queued();
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

    /// An end has a cause, and a clean one has lost nothing.
    fn check_end(&self, end: &End) {
        if let End::Remote(RemoteEnd::Status(_) | RemoteEnd::Close | RemoteEnd::WebSocket) = end {
            assert_eq!(self.highest, self.received, "Outputs are known to be missing");
        }
        let Some(peer) = &self.peer else { return };
        assert!(self.is_justified(peer, end), "no cause: {end:?}, {:?}", peer.agent);
        let is_cut_short = self.is_shut_down || self.has_yielded;
        match end {
            End::Local if !is_cut_short => {
                let session = &self.session;
                let is_sent =
                    session.stream.outbound.queued() == 0 && self.sent == self.written.end();
                assert!(is_sent, "it was not even sent");
                let has_target = peer.first_answered.is_none() && peer.target != Target::Closed;
                // Nobody takes it, and what tells that may be lost.
                let has_target = has_target && !(peer.is_over() && self.lost[1]);
                match session.arrived() {
                    Arrived::Yes if has_target && !self.lost[0] => {
                        assert_eq!(peer.arrived, self.written.end(), "it has not arrived");
                    }
                    Arrived::Yes => {}
                    Arrived::Unknown => assert!(!session.stream.flow.probes.were_ever_answered()),
                    Arrived::NotYet => panic!("it has not arrived: {session:?}"),
                }
            }
            // What was lost last shows nowhere, unless it was lost with its socket.
            End::Remote(RemoteEnd::Status(_) | RemoteEnd::Close | RemoteEnd::WebSocket)
                if !self.lost[1] && !self.is_unanswered() =>
            {
                assert_eq!(self.answered.end(), peer.answered, "output was lost");
            }
            End::Remote(RemoteEnd::Idle) if !self.was_disturbed => {
                assert_eq!(self.answered.end(), peer.answered, "output was lost");
            }
            _ => {}
        }
    }

    /// Whether what was lost with a socket may not have come over another: the answer to the Sync on a new
    /// socket is waited for, but not for long, and the Sync may be lost.
    fn is_unanswered(&self) -> bool {
        let is_late = self.stalled_until.is_some_and(|until| self.now <= until + 6 * SECOND);
        self.was_cut && (is_late || self.is_sync_lost)
    }

    /// Whether something has happened that an end can come from.
    fn is_justified(&self, peer: &Peer, end: &End) -> bool {
        let was_redialled = peer.first_answered.is_some();
        let can_resume = self.resumable && !self.is_shut_down;
        match end {
            End::Local => self.local_eof,
            End::Remote(RemoteEnd::Redialled) | End::Failed(Failure::Redialled) => was_redialled,
            End::Remote(RemoteEnd::Idle) => self.redials_unasked(),
            End::Remote(_) | End::Failed(Failure::Ended(_)) => peer.is_over(),
            End::Failed(Failure::Frozen) => self.was_disturbed && !can_resume,
            // A gateway that closes normally may do so before it has sent again what was lost.
            End::Failed(Failure::Disconnected(Disconnect::Closed { code: Some(1000), .. })) => {
                peer.is_over() && (self.was_disturbed || !self.session.stream.has_begun())
            }
            End::Failed(Failure::Disconnected(_)) => self.was_disturbed && !can_resume,
            End::Failed(Failure::NotResumed { .. }) => self.was_disturbed,
            // Not what has come, and not what may still come.
            End::Failed(Failure::Lost { .. }) => {
                (peer.is_over() || self.was_disturbed) && self.received < peer.outputs
            }
            End::Failed(Failure::NotArrived { bytes }) => self.local_eof && *bytes > 0,
            // The first Output, or the Opened, may be what was lost.
            End::Failed(Failure::NotOpened { .. }) => {
                (self.was_disturbed || self.lost[1]) && self.opened.is_none()
            }
            // What was to be sent again is kept, but not without end.
            End::Failed(Failure::LostInput(_)) => {
                let kept = self.session.stream.outbound.replay().bytes();
                self.was_disturbed && kept + MAX_PAYLOAD > REPLAY_CAP
            }
            End::Failed(_) => false,
        }
    }

    /// Whether the terminal of a shell has the size of the window.
    fn has_size(&self, peer: &Peer) -> bool {
        let size = self.size.map(u16::to_le_bytes).concat();
        !self.config().is_shell() || peer.size.as_deref() == Some(&size[..])
    }

    /// Whether each side has got all that the other has written.
    pub(super) fn is_quiet(&self) -> bool {
        let Some(peer) = &self.peer else { return true };
        let has_target = !matches!(peer.target, Target::Closed | Target::Second);
        // The beginning of what may be a second identification line is kept back.
        let kept = if self.session.is_ssh() { 7 } else { 0 };
        (!has_target || (peer.arrived == self.written.end() && self.has_size(peer)))
            && peer.answered.saturating_sub(self.delivered) <= kept
    }
}
