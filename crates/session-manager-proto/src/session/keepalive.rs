//! Keeping a session open without making an agent dial a target again that has closed (PROTOCOL.md, 5
//! and 6).

use std::time::{Duration, Instant};

use super::config::Keepalive;
use super::end::{End, Failure, RemoteEnd};
use super::flow::FlowControl;
use super::inbound::Inbound;
use super::outbound::Outbound;
use crate::generation::Generation;

/// An agent ends a session after 180 s without a frame from the client. From this silence on an end is
/// taken to be that one.
pub(super) const AGENT_IDLE_FROM: Duration = Duration::from_secs(170);
/// After this silence the agent is not waited for.
const AGENT_IDLE_BY: Duration = Duration::from_secs(185);
/// A target that has spoken within this time was not idle.
const NOT_IDLE: Duration = Duration::from_secs(60);
/// The size of a terminal that nobody has (rows, then columns): an agent of a port session takes note of
/// the frame and of nothing else.
const SIZE: [u16; 2] = [24, 80];

/// Whether the peer's agent may get keepalives, and what becomes of a session without them.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepalivePolicy {
    pub(super) keepalive: Keepalive,
    pub(super) agent: Option<Generation>,
    /// Whether the stream is SSH's: a second identification line is its end.
    pub(super) is_ssh: bool,
    /// Whether the session is a shell, which no agent starts again.
    pub(super) is_shell: bool,
}

impl KeepalivePolicy {
    /// When the next keepalive is due.
    pub(super) fn due_at(self, outbound: &Outbound, inbound: &Inbound) -> Option<Instant> {
        let (Keepalive::ByAgent(after) | Keepalive::Always(after)) = self.keepalive else {
            return None;
        };
        outbound.keepalive_at(after).filter(|_| self.may_send(inbound))
    }

    /// Whether a keepalive may be sent. Where none may, the agent ends a session that is silent.
    pub(super) fn may_send(self, inbound: &Inbound) -> bool {
        let redials_on_any = matches!(self.agent, Some(Generation::A | Generation::B));
        let is_forced = matches!(self.keepalive, Keepalive::Always(_));
        let is_harmless = !redials_on_any || self.is_ssh || self.is_shell;
        is_harmless || is_forced || inbound.is_downloading()
    }

    /// The payload of the Resize that keeps the session open, if the agent is one that redials on an
    /// empty Input and not on a Resize.
    pub(super) fn resize(self) -> Option<Vec<u8>> {
        let is_wanted = self.agent == Some(Generation::C) && !self.is_shell;
        is_wanted.then(|| SIZE.map(u16::to_le_bytes).concat())
    }

    /// Whether an empty Input makes the agent dial a target again that has closed.
    pub(super) fn redials(self) -> bool {
        !self.is_shell && self.agent.is_none_or(Generation::redials)
    }

    fn is_left_to_agent(self, outbound: &Outbound, inbound: &Inbound) -> bool {
        let is_by_agent = matches!(self.keepalive, Keepalive::ByAgent(_));
        is_by_agent && outbound.is_open() && !outbound.is_closed() && !self.may_send(inbound)
    }

    /// Whether an end that comes now is that of a session which was idle and could not be kept open.
    pub(super) fn is_idle_end(self, now: Instant, outbound: &Outbound, inbound: &Inbound) -> bool {
        let since = |at| now.saturating_duration_since(at);
        self.is_left_to_agent(outbound, inbound)
            && since(outbound.last_sent()) >= AGENT_IDLE_FROM
            && since(inbound.last_output()) >= NOT_IDLE
    }

    /// When the agent has ended the session, should it not say so, as long as the peer is read.
    pub(super) fn agent_idle_at(
        self,
        outbound: &Outbound,
        inbound: &Inbound,
        flow: &FlowControl,
    ) -> Option<Instant> {
        let quiet = outbound.last_sent() + AGENT_IDLE_BY;
        let quiet = quiet.max(inbound.last_output().max(flow.unread()) + NOT_IDLE);
        self.is_left_to_agent(outbound, inbound).then_some(quiet)
    }

    /// Whether the agent ends the session at a Close. A and B ignore it, and dial a target again that
    /// has closed.
    pub(super) fn handles_close(self, end: &End) -> bool {
        let redials =
            *end == End::Remote(RemoteEnd::Redialled) || *end == End::Failed(Failure::Redialled);
        match self.agent {
            Some(Generation::A | Generation::B) => false,
            Some(Generation::C | Generation::D) => true,
            None => !redials,
        }
    }
}
