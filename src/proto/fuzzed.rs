//! The frame decoder, fed by a fuzzer.

use bytes::Bytes;

use super::frame::{EncodeError, Frame, FrameType, Sequence};
use super::status::{Reason, Status};

/// Any bytes as one message: what is taken for a frame is what the message says, and is written
/// again as it was read.
pub(crate) fn frame(message: &[u8]) {
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
