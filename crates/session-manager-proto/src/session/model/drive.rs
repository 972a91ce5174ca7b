//! How time passes: what the driver does, what arrives, and how a case is brought to its end.

use super::*;

impl Model {
    // ---- Without an agent: the steps say what happens, and what does not.

    pub(super) fn redial(&mut self) {
        let may_redial = !self.session.is_connected() && !self.redialling;
        if let Some(channel) = self.session.poll_reconnect(self.now) {
            assert!(may_redial && self.resumable, "a socket too many");
            assert_eq!(channel, self.channel_id);
            self.redialling = true;
        }
    }

    pub(super) fn redialled(&mut self, gateway: Gateway) {
        // Nobody waits for a socket once the session has ended.
        if !std::mem::take(&mut self.redialling) || self.session.end().is_some() {
            return;
        }
        let mut refuse = |how: &str, is_final| {
            self.session.handle_not_reconnected(self.now, how.into(), is_final);
        };
        match gateway {
            Gateway::Refuses => refuse("HTTP 503", false),
            Gateway::RefusesForGood => refuse("HTTP 403", true),
            Gateway::Accepts => {
                self.session.handle_reconnected(self.now);
                self.was_cut = true;
                self.ping = None;
                self.last_frame = self.now;
                self.peer.iter_mut().for_each(Peer::forget_request);
            }
        }
    }

    /// Time passes while the socket takes nothing.
    pub(super) fn jump(&mut self, time: Duration) {
        self.now += time;
        if !time.is_zero() {
            self.was_disturbed = true;
            self.stalled_until = self.stalled_until.max(Some(self.now));
        }
        self.redial();
        self.session.handle_timeout(self.now);
        self.events();
        let due = self.session.poll_timeout(false);
        assert!(due.is_none_or(|due| due > self.now), "overdue: {:?}", self.overdue());
    }

    /// The timers that should have expired.
    fn overdue(&self) -> Vec<Timer> {
        let is_overdue = |timer: &Timer| {
            let due = self.session.deadline(*timer);
            due.is_some_and(|due| due <= self.now)
        };
        Timer::ALL.into_iter().filter(is_overdue).collect()
    }

    /// What is done until there is something to wait for.
    pub(super) fn turn(&mut self) {
        for _ in 0..3 {
            self.jump(Duration::ZERO);
            self.transmit(usize::MAX);
            let due = self.session.poll_timeout(true);
            self.assert_due(due);
            // That the last byte has gone may itself be what was waited for.
            if due.is_none_or(|due| due > self.now) {
                return;
            }
        }
        panic!("a deadline in the past: {:?}", self.session);
    }

    /// Waits for the next deadline.
    pub(super) fn next(&mut self) {
        self.turn();
        if let Some(due) = self.session.poll_timeout(true) {
            self.now = due;
            self.turn();
        }
    }

    // ---- With an agent.

    pub(super) fn answer(&mut self, bytes: usize) {
        if let Some(peer) = &mut self.peer {
            peer.answer(pattern(peer.answered, bytes));
        }
    }

    pub(super) fn stall(&mut self, ways: Ways, time: Duration) {
        self.was_disturbed = true;
        self.stalled_until = self.stalled_until.max(Some(self.now + time));
        if ways.has_up() {
            self.up.stall(self.now + time);
        }
        if ways.has_down() {
            self.down.stall(self.now + time);
        }
    }

    /// What becomes of a message although the socket stays; only a gateway of 1.02 can repair that.
    pub(super) fn mishap(&mut self, ways: Ways, mishap: Mishap) {
        let Some(agent) = self.peer.as_ref().map(|peer| &peer.agent) else { return };
        match mishap {
            _ if !agent.resumable => {}
            Mishap::Doubled if ways.has_up() => self.up.double(),
            Mishap::Doubled => self.down.double(),
            _ if !agent.loses => {}
            Mishap::Lost | Mishap::Swapped => {
                self.lost[usize::from(!ways.has_up())] = true;
                match (ways.has_up(), mishap) {
                    (true, Mishap::Lost) => {
                        self.is_sync_lost |= self.up.lose().is_some_and(|lost| lost.is_sync());
                    }
                    (true, _) => self.up.swap(|_| true),
                    (false, Mishap::Lost) => _ = self.down.lose(),
                    // A Sync tells what the agent has at that moment. Behind a newer acknowledgement it
                    // says that the agent has lost Input, and that is the end of the stream (docs/protocol.md, 8).
                    (false, _) => self.down.swap(|message| !message.is_sync()),
                }
            }
        }
    }

    /// Messages arrive that are due, at most so many. Whether the session has got any.
    pub(super) fn arrive(&mut self, ways: Ways, most: usize) -> bool {
        let mut any = false;
        for _ in 0..if ways.has_up() { most } else { 0 } {
            let Some(message) = self.up.arrived(self.now) else { break };
            self.arrive_at_peer(message);
        }
        for _ in 0..if ways.has_down() { most } else { 0 } {
            if !self.session.is_connected() || !self.session.wants_remote() {
                break;
            }
            let Some(message) = self.down.arrived(self.now) else { break };
            match message {
                Down::Frame(frame) => self.message(frame.encode().expect("a frame")),
                Down::Pong(payload) => self.session.handle_pong(self.now, &payload),
                Down::Gone(why) => self.session.handle_disconnect(self.now, why),
            }
            any = true;
        }
        any
    }

    fn arrive_at_peer(&mut self, message: Up) {
        let Some(peer) = &mut self.peer else { return };
        if self.blocked.is_some() {
            // The socket takes something again, and what it held arrives all at once.
            self.session.handle_socket_unblocked(self.now);
            self.blocked = Some(self.now);
        }
        match message {
            Up::Frame(frame) => {
                self.log.push((self.now, frame.payload.len()));
                peer.handle_frame(self.now, &frame, &self.written);
                if !peer.agent.resumable {
                    self.written.forget_before(peer.arrived.min(self.sent));
                }
            }
            Up::Ping(payload) => {
                self.pings += 1;
                if peer.agent.pongs {
                    peer.out.push_back(Down::Pong(payload));
                }
            }
            Up::Pong => {}
        }
        self.hand_over();
    }

    /// What the agent has to say is on its way if there is a socket, and is lost if not.
    fn hand_over(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        for message in peer.out.drain(..) {
            if self.session.is_connected() {
                self.down.send(self.now, message);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.up.len() < self.setup.socket
    }

    /// What the driver does before it waits, and the agent of its own accord. Returns until when it waits.
    pub(super) fn drive(&mut self) -> Option<Instant> {
        self.peer.iter_mut().for_each(|peer| peer.handle_timeout(self.now));
        for _ in 0..4 {
            self.hand_over();
            self.redial();
            self.redialled(self.gateway);
            self.session.handle_timeout(self.now);
            if !self.session.is_connected() {
                self.up.clear();
                self.down.clear();
                self.blocked = None;
            }
            while self.write_source() | self.fill_socket() {}
            if self.reads {
                self.deliver(usize::MAX);
            }
            self.events();
            let due = self.session.poll_timeout(self.has_room());
            let ping = self.session.poll_ping_timeout(self.now).filter(|_| self.has_room());
            if due.into_iter().chain(ping).all(|due| due > self.now) {
                self.assert_due(due);
                return due.into_iter().chain(ping).min();
            }
        }
        panic!("a deadline in the past: {:?}, {:?}", self.overdue(), self.session);
    }

    fn write_source(&mut self) -> bool {
        let before = self.written.end();
        match self.source {
            Source::Nothing => {}
            Source::Copies => self.write(&pattern(before, self.session.local_room())),
            Source::Types(bytes, pause) if self.types_at <= self.now => {
                self.types_at = self.now + pause;
                self.write(&pattern(before, bytes));
            }
            Source::Types(..) => {}
        }
        self.written.end() > before
    }

    fn fill_socket(&mut self) -> bool {
        let mut any = false;
        loop {
            if !self.has_room() {
                self.blocked.get_or_insert(self.now);
                break;
            }
            self.blocked = None;
            let message = if let Some(ping) = self.session.poll_ping(self.now) {
                Up::Ping(ping)
            } else if self.session.poll_pong(self.now) {
                Up::Pong
            } else if let Some(frame) = self.transmit(1) {
                Up::Frame(frame)
            } else {
                break;
            };
            self.up.send(self.now, message);
            any = true;
        }
        match self.blocked {
            Some(since) => self.session.handle_socket_blocked(since),
            None => self.session.handle_socket_drained(self.now),
        }
        any
    }

    /// Time passes, deadline by deadline, and everything moves that can.
    pub(crate) fn tick(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        loop {
            let before = self.now;
            let due = self.drive();
            self.check();
            loop {
                let reads = self.session.is_connected() && self.session.wants_remote();
                let types = matches!(self.source, Source::Types(..));
                let types =
                    types.then_some(self.types_at).filter(|_| self.session.local_room() > 0);
                let peer = self.peer.as_ref().and_then(Peer::next);
                let down = self.down.next().filter(|_| reads);
                let next = [due, types, peer, down].into_iter().flatten().min();
                let Some(at) =
                    next.into_iter().chain(self.up.next()).min().filter(|at| *at <= until)
                else {
                    self.now = until;
                    return;
                };
                self.now = self.now.max(at);
                let any = self.arrive(Ways::Both, usize::MAX);
                // What has only gone up concerns the driver if it has waited for room.
                if any || self.blocked.is_some() || next.is_some_and(|next| next <= self.now) {
                    break;
                }
            }
            turns = if self.now == before { turns + 1 } else { 0 };
            assert!(turns < 5_000, "it spins: {:?}", self.session);
        }
    }

    /// The local side has said all and the peer says nothing more: that is an end, sooner or
    /// later, and everything that came is delivered.
    pub(crate) fn settle(&mut self) {
        match self.peer.is_some() {
            true => self.settle_with_agent(),
            false => self.settle_alone(),
        }
        self.check();
        self.deliver(usize::MAX);
        assert!(self.session.is_finished());
        assert_eq!(self.session.poll_timeout(true), None);
        assert_eq!(self.session.poll_reconnect(self.now + 100 * SECOND), None);
        let redialled = [End::Remote(RemoteEnd::Redialled), End::Failed(Failure::Redialled)];
        if !self.gone && !redialled.iter().any(|end| self.session.end() == Some(end)) {
            assert_eq!(self.delivered, self.answered.end(), "not all that came was delivered");
        }
    }

    fn settle_alone(&mut self) {
        self.deliver(usize::MAX);
        let limit = [&[7], &80_000_000_u32.to_be_bytes()[..]].concat();
        let offsets = Offsets { input: 0, output: 0 };
        self.frame(0, FrameType::STATUS, offsets, limit.into());
        self.session.handle_socket_drained(self.now);
        self.handle_local_eof();
        for _ in 0..20_000 {
            if self.session.phase.is_ended() {
                break;
            }
            self.deliver(usize::MAX);
            self.next();
            self.redialled(Gateway::Refuses);
            self.check();
        }
        assert!(self.session.phase.is_ended(), "no end: {:?}", self.session);
        self.check();
        self.turn();
    }

    /// Nothing more is lost or refused, and everything moves: both sides get all of it, or the session
    /// ends with an error. Then the local side ends.
    fn settle_with_agent(&mut self) {
        self.up.heal(self.now);
        self.down.heal(self.now);
        self.stalled_until = self.stalled_until.map(|until| until.min(self.now));
        (self.gateway, self.reads, self.source) = (Gateway::Accepts, true, Source::Nothing);
        let limit = [&[7], &80_000_000_u32.to_be_bytes()[..]].concat();
        self.peer.iter_mut().for_each(|peer| peer.status(&limit));
        for _ in 0..60 {
            if self.session.end().is_some() || self.is_quiet() {
                break;
            }
            // More output, a keepalive and a request show what was lost last.
            if let Some(peer) = self.peer.as_mut().filter(|peer| peer.agent.resumable) {
                peer.answer(pattern(peer.answered, 1));
                peer.tell_end();
                peer.forget_request();
            }
            self.tick(10 * SECOND);
        }
        if self.session.end().is_none() {
            assert!(self.is_quiet(), "it stands still: {:?}, {:?}", self.peer, self.session);
        }
        self.handle_local_eof();
        for _ in 0..60 {
            if self.session.is_finished() {
                break;
            }
            self.tick(10 * SECOND);
        }
        assert!(self.session.end().is_some(), "no end: {:?}", self.session);
    }
}
