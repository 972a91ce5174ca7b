//! Tests of the session as a whole.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

mod agents;
mod arriving;
mod harness;
mod model;
mod orders;
mod pace;
mod resuming;
mod shells;
mod stream;
mod tail;
mod yielding;

use self::harness::{BANNER, MS, SECOND, Test, closed, cut, kinds, pair, payloads};
use super::inbound::DELIVER_PIECES;
use super::*;
use crate::flow::pace::DEFAULT_LIMIT;
use crate::frame::Version;
use crate::status::Reason;

impl Session {
    /// A ping, due or not.
    fn ping(&mut self, now: Instant) -> Bytes {
        self.stream.flow.ping(now, self.stream.outbound.last_new_input())
    }
}
