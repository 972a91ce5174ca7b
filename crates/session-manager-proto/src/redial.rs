//! A target that was dialled again in the middle of a stream (docs/protocol.md, 5).
//!
//! An agent of generations A to C does not report that the target has closed, and a keepalive can make it
//! dial again. A server that speaks first then greets again: the same first bytes, in one Output or in
//! pieces, soon after a keepalive, with nothing from the client between them. One that has only answered
//! so far does not greet, and may still have to answer.

use std::time::{Duration, Instant};

/// How long after a keepalive the greeting of a new connection can come.
const WITHIN: Duration = Duration::from_secs(3);
/// How many first bytes are compared. Fewer occur by chance.
const PREFIX: usize = 8;

/// Looks for the greeting of a second connection.
#[derive(Debug, Default)]
pub(super) struct RedialWatch {
    /// The first bytes of the stream.
    greeting: Vec<u8>,
    /// How many of them the last Outputs have repeated, from the beginning of one.
    repeated: usize,
    /// Whether all of them have come again: then the comparison proves nothing.
    repeats: bool,
    /// Until when a greeting can be the answer to a keepalive.
    until: Option<Instant>,
    /// Whether the client has spoken first, so that the first bytes may be an answer.
    is_client_first: bool,
    /// Whether nothing has come since the client has last spoken.
    is_unanswered: bool,
}

impl RedialWatch {
    /// A keepalive is sent that makes an agent dial a closed target again.
    pub(super) fn handle_keepalive(&mut self, now: Instant) {
        let may_be_answer = self.is_client_first && self.is_unanswered;
        self.until = (!may_be_answer).then_some(now + WITHIN);
        self.repeated = 0;
    }

    /// Bytes of the client are sent: what comes from now on may be the answer to them.
    pub(super) fn handle_input(&mut self) {
        (self.until, self.repeated) = (None, 0);
        self.is_client_first |= self.greeting.is_empty();
        self.is_unanswered = true;
    }

    /// An Output has come. Whether it is the greeting of a second connection.
    pub(super) fn is_second_greeting(&mut self, now: Instant, payload: &[u8]) -> bool {
        self.is_unanswered &= payload.is_empty();
        if self.greeting.len() < PREFIX {
            let missing = PREFIX - self.greeting.len();
            self.greeting.extend(payload.iter().take(missing));
            return false;
        }
        if !self.repeats_greeting(payload) {
            return false;
        }
        let is_new = !std::mem::replace(&mut self.repeats, true);
        is_new && self.until.is_some_and(|until| now <= until)
    }

    /// Whether all of the first bytes have come again with this Output, in one or in pieces.
    fn repeats_greeting(&mut self, payload: &[u8]) -> bool {
        let begun = std::mem::take(&mut self.repeated);
        // What does not go on with them may begin them anew.
        for begun in [begun, 0] {
            let missing = &self.greeting[begun..];
            if payload.starts_with(missing) {
                return true;
            }
            if missing.starts_with(payload) {
                self.repeated = begun + payload.len();
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn greeted(now: Instant) -> RedialWatch {
        let mut watch = RedialWatch::default();
        assert!(!watch.is_second_greeting(now, b"220 mail"));
        assert!(!watch.is_second_greeting(now, b".example ESMTP\r\n"));
        watch
    }

    #[test]
    fn a_greeting_behind_a_keepalive_is_that_of_a_second_connection() {
        let now = Instant::now();
        let mut watch = greeted(now);
        watch.handle_keepalive(now);
        assert!(watch.is_second_greeting(now + 3 * SECOND, b"220 mail.example ESMTP\r\n"));
    }

    #[test]
    fn the_first_bytes_may_come_in_pieces() {
        let now = Instant::now();
        let mut watch = RedialWatch::default();
        for piece in [&b"22"[..], b"", b"0 ma", b"il.example"] {
            assert!(!watch.is_second_greeting(now, piece));
        }
        watch.handle_keepalive(now);
        assert!(!watch.is_second_greeting(now, b"220 m"), "too short to tell");
        assert!(watch.is_second_greeting(now, b"220 mail.example"));
    }

    #[test]
    fn a_second_greeting_may_come_in_pieces() {
        let now = Instant::now();
        let mut watch = greeted(now);
        watch.handle_keepalive(now);
        for piece in [&b"220 "[..], b"", b"m"] {
            assert!(!watch.is_second_greeting(now + SECOND, piece));
        }
        assert!(watch.is_second_greeting(now + SECOND, b"ail.example ESMTP\r\n"));
        // Not where it goes on otherwise, nor with what came before the keepalive, or before Input.
        let mut watch = greeted(now);
        watch.handle_keepalive(now);
        for piece in [&b"220 "[..], b"220 ", b"made", b"220 "] {
            assert!(!watch.is_second_greeting(now + SECOND, piece));
        }
        watch.handle_keepalive(now + SECOND);
        assert!(!watch.is_second_greeting(now + SECOND, b"mail"));
        assert!(!watch.is_second_greeting(now + SECOND, b"220 "));
        watch.handle_input();
        watch.handle_keepalive(now + SECOND);
        assert!(!watch.is_second_greeting(now + SECOND, b"mail"));
        // One that repeats itself in pieces is left alone, too.
        let mut watch = greeted(now);
        for piece in [&b"220 "[..], b"mail", b"220 "] {
            assert!(!watch.is_second_greeting(now, piece));
        }
        watch.handle_keepalive(now);
        for piece in [&b"220 "[..], b"mail"] {
            assert!(!watch.is_second_greeting(now, piece));
        }
    }

    #[test]
    fn what_comes_late_or_after_input_or_begins_otherwise_is_not() {
        let now = Instant::now();
        let mut watch = greeted(now);
        watch.handle_keepalive(now);
        assert!(!watch.is_second_greeting(now + SECOND, b"250 mail"));
        assert!(!watch.is_second_greeting(now + 4 * SECOND, b"220 mail"));
        let mut watch = greeted(now);
        watch.handle_keepalive(now);
        watch.handle_input();
        assert!(!watch.is_second_greeting(now + SECOND, b"220 mail"), "it may be the answer");
        let mut watch = greeted(now);
        assert!(!watch.is_second_greeting(now + SECOND, b"220 mail"), "there was no keepalive");
    }

    #[test]
    fn a_server_that_repeats_itself_is_left_alone() {
        let now = Instant::now();
        let mut watch = greeted(now);
        assert!(!watch.is_second_greeting(now + SECOND, b"220 mail"));
        watch.handle_keepalive(now + 2 * SECOND);
        assert!(!watch.is_second_greeting(now + 3 * SECOND, b"220 mail"));
    }
}
