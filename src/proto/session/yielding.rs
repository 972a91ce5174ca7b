//! A session that lingers gives its place to another one later while its target owes an answer.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::tests::{BANNER, MS, SECOND, Test};
use super::*;

/// One whose local side has ended after a question, with an answer to an earlier one or without.
fn asking(answered_before: bool, change: impl FnOnce(&mut Config)) -> Test {
    let mut test = Test::new(change);
    test.status(&[3]);
    if answered_before {
        test.output(BANNER);
        test.delivered();
    }
    test.pass(2 * SECOND);
    test.local(b"question");
    test.session.handle_local_eof(test.now);
    assert_eq!(test.session.may_yield_at(), None, "the question is still to be sent");
    test.sent();
    test
}

#[test]
fn a_session_that_owes_an_answer_yields_after_three_quiet_seconds() {
    for answered_before in [false, true] {
        let mut test = asking(answered_before, |_| {});
        assert_eq!(test.session.may_yield_at(), Some(test.now + 3 * SECOND));
        test.pass(3 * SECOND - MS);
        test.session.handle_yield(test.now);
        assert_eq!(test.session.end(), None, "it is too early");
        test.pass(MS);
        assert_eq!(test.session.end(), None, "nobody has asked for its place");
        test.session.handle_yield(test.now);
        assert_eq!(test.session.end(), Some(&End::Local));
        assert!(test.session.has_yielded());
    }
}

#[test]
fn an_answer_shortens_the_quiet_time_to_one_second() {
    let mut test = asking(false, |_| {});
    test.pass(2 * SECOND);
    test.output(b"answer");
    test.delivered();
    assert_eq!(test.session.may_yield_at(), Some(test.now + SECOND));
}

#[test]
fn a_session_yields_no_later_than_it_would_end_by_itself() {
    let mut test = asking(false, |config| config.linger = 2 * SECOND);
    assert_eq!(test.session.may_yield_at(), Some(test.now + 2 * SECOND));
    test.pass(2 * SECOND);
    assert_eq!(test.session.end(), Some(&End::Local));
    assert!(!test.session.has_yielded(), "nobody has asked for its place");
}
