//! Entry points of the fuzzers: each function takes any bytes and panics where something does not hold
//! that always has to.
//!
//! Compiled for tests, and with `--cfg fuzzing`. The inputs of the workspace's `fuzz/seeds` are where
//! fuzzers begin; an ordinary `cargo test` tries each of them too.

use bytes::Bytes;

use crate::frame::{EncodeError, Frame, FrameType, Sequence};
use crate::status::{Reason, Status};

/// Plays a script of everything that can happen to a [`Session`](crate::session::Session), in any order.
/// Returns what the local side was given, piece by piece.
pub fn session(script: &[u8]) -> Vec<Bytes> {
    crate::session::model::session(script)
}

/// Any bytes as one message: what is taken for a frame is what the message says, and is written
/// again as it was read.
pub fn frame(message: &[u8]) {
    let whole = Bytes::copy_from_slice(message);
    let frame = match Frame::decode(whole.clone()) {
        Ok(frame) => frame,
        Err(error) => return assert_plain(&error.to_string()),
    };
    let memory = whole.as_ptr_range();
    for part in [&frame.channel_id, &frame.instance_id, &frame.payload] {
        let part = part.as_ptr_range();
        assert!(memory.start <= part.start && part.end <= memory.end, "memory of its own");
    }
    let header = 30 + frame.channel_id.len() + frame.instance_id.len();
    assert_eq!(header + frame.payload.len(), message.len());
    assert_ne!(frame.created_ms, 0);
    let is_pair = matches!(frame.sequence, Sequence::Pair { .. });
    assert_eq!(is_pair, frame.version.is_resumable());

    let is_known = frame.kind.0 <= FrameType::SYNC.0;
    match frame.encode() {
        Ok(again) => {
            // What the decoder does not look at: a reserved byte, and the length of what is skipped.
            let mut expected = message.to_vec();
            if is_pair {
                expected[header - 1] = 0;
            }
            if !is_known {
                let length = if is_pair { header - 4..header - 2 } else { header - 4..header };
                expected[length.clone()].copy_from_slice(&again[length]);
            }
            assert_eq!(again, expected);
            assert_eq!(Frame::decode(again), Ok(frame.clone()));
        }
        Err(EncodeError::Payload(len)) => {
            assert!(is_pair && !is_known && len > usize::from(u16::MAX));
        }
        Err(EncodeError::Id(len)) => panic!("an id of {len} bytes was read"),
    }

    match Status::parse(&frame.payload) {
        Status::Aborted(text) => assert_plain(&text),
        Status::Ended(reason) => assert_reason(&reason),
        Status::Limit(limit) => assert!((1..=u64::from(u32::MAX)).contains(&limit)),
        _ => {}
    }
}

fn assert_reason(reason: &Reason) {
    assert_plain(&reason.to_string());
    assert!(reason.text().starts_with(reason.word()));
}

/// Text that can be shown as it is.
fn assert_plain(text: &str) {
    assert!(text.chars().count() <= 500 && !text.contains(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn replay(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "{}", path.display());
            seeds += 1;
        }
        assert!(seeds > 10, "only {seeds} in {}", folder.display());
    }

    #[test]
    fn every_seed_of_each_target_is_tried() {
        replay("frame", frame);
        replay("session", |script| drop(session(script)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn whatever_happens_to_a_session(script in proptest::collection::vec(any::<u8>(), 0..500)) {
            session(&script);
        }
    }
}
