//! Keeping a session open without making an agent dial a target again that has closed (PROTOCOL.md, 5
//! and 6).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{End, Failure, Greeting, RemoteEnd, Session};
use crate::frame::FrameType;
use crate::generation::Generation;

/// How this side breaks its silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Not at all.
    Never,
    /// After so long without a frame of ours, as far as that is harmless with the agent that there is.
    ByAgent(Duration),
    /// After so long without a frame of ours, whatever the agent makes of it.
    Always(Duration),
}

/// An agent ends a session after 180 s without a frame from the client. From this silence on an end is
/// taken to be that one.
const AGENT_IDLE_FROM: Duration = Duration::from_secs(170);
/// After this silence the agent is not waited for.
const AGENT_IDLE_BY: Duration = Duration::from_secs(185);
/// A target that has spoken within this time was not idle.
const NOT_IDLE: Duration = Duration::from_secs(60);
/// A target that sends so much, and has sent within this time, has not closed: a download goes on.
const DOWNLOAD: (usize, Duration) = (64 * 1024, Duration::from_secs(2));
/// The size of a terminal that nobody has (rows, then columns): an agent of a port session takes note of
/// the frame and of nothing else.
const SIZE: [u16; 2] = [24, 80];

impl Session {
    /// The generation of the instance's agent is known from now on.
    pub fn handle_agent(&mut self, now: Instant, generation: Generation) {
        self.agent = Some(generation);
        // What was waited for may have been due a while ago.
        self.handle_timeout(now);
    }

    /// Whether the generation of the agent changes anything, as far as that is known yet: it does not
    /// for a stream of SSH.
    pub fn wants_agent(&self) -> bool {
        let has_begun = self.opened.is_some() || self.outputs > 0;
        let says_other = self.greeting == Greeting::Other;
        self.agent.is_none() && !self.is_ssh() && (has_begun || says_other)
    }

    /// Whether the stream is known to be SSH's: a second identification line is its end.
    pub fn is_ssh(&self) -> bool {
        let is_seen = self.ssh_matched == usize::MAX && self.identification.is_some();
        is_seen || self.greeting == Greeting::Ssh
    }

    /// When the next keepalive is due.
    pub(super) fn keepalive_at(&self) -> Option<Instant> {
        let (Keepalive::ByAgent(after) | Keepalive::Always(after)) = self.config.keepalive else {
            return None;
        };
        // Once the local side is gone an agent could take one for a reason to dial again.
        let is_due = self.ready.is_some() && self.local_eof.is_none() && !self.keepalive_due;
        (is_due && self.may_send_keepalive()).then(|| self.last_sent + after)
    }

    /// Whether a keepalive may be sent. Where none may, the agent ends a session that is silent.
    fn may_send_keepalive(&self) -> bool {
        let redials_on_any = matches!(self.agent, Some(Generation::A | Generation::B));
        let is_asked_for = matches!(self.config.keepalive, Keepalive::Always(_));
        !redials_on_any || is_asked_for || self.is_ssh() || self.is_downloading()
    }

    fn is_downloading(&self) -> bool {
        self.output_bytes >= DOWNLOAD.0
    }

    /// The frame that keeps the session open.
    pub(super) fn transmit_keepalive(&mut self, now: Instant) -> Option<Bytes> {
        // A Resize keeps C awake and makes it dial nothing; A and B redial on any frame.
        if self.agent == Some(Generation::C) {
            let size = SIZE.map(u16::to_le_bytes).concat();
            return self.transmit_new(now, FrameType::RESIZE, size.into());
        }
        if self.agent.is_none_or(Generation::redials) {
            self.redial.handle_keepalive(now);
        }
        self.transmit_new(now, FrameType::INPUT, Bytes::new())
    }

    /// A keepalive would be due. Where a download was the reason for one, it has to be under way still.
    pub(super) fn note_keepalive_due(&mut self, now: Instant) {
        let quiet = now.saturating_duration_since(self.last_output);
        if self.is_downloading() && quiet > DOWNLOAD.1 {
            self.output_bytes = 0;
        }
        self.keepalive_due = self.may_send_keepalive();
    }

    /// Whether an end that comes now is that of a session which was idle and could not be kept open.
    pub(super) fn is_agent_idle_end(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        self.is_left_to_agent()
            && since(self.last_sent) >= AGENT_IDLE_FROM
            && since(self.last_output) >= NOT_IDLE
    }

    fn is_left_to_agent(&self) -> bool {
        let is_asked_for = matches!(self.config.keepalive, Keepalive::ByAgent(_));
        is_asked_for
            && self.ready.is_some()
            && self.local_eof.is_none()
            && !self.may_send_keepalive()
    }

    /// When the agent has ended the session, should it not say so.
    pub(super) fn agent_idle_at(&self) -> Option<Instant> {
        let quiet = (self.last_sent + AGENT_IDLE_BY).max(self.last_output + NOT_IDLE);
        self.is_left_to_agent().then_some(quiet)
    }

    /// Whether the agent ends the session at a Close. A and B ignore it, and dial a target again that
    /// has closed.
    pub(super) fn agent_handles_close(&self, end: &End) -> bool {
        let redials =
            *end == End::Remote(RemoteEnd::Redialled) || *end == End::Failed(Failure::Redialled);
        match self.agent {
            Some(Generation::A | Generation::B) => false,
            Some(Generation::C | Generation::D) => true,
            None => !redials,
        }
    }

    pub(super) fn end_idle(&mut self) {
        self.finish(End::Remote(RemoteEnd::Idle), true);
    }
}
