//! What the gateway knows of a session and must not make us show.

use std::fmt;

use bytes::Bytes;

use crate::proto::frame::{Frame, FrameType};
use crate::scrub::Scrub;

/// The states whose text is shown (PROTOCOL.md, 3): Aborted, Closed, Exited.
const WITH_TEXT: [u8; 3] = [2, 5, 6];

/// The secrets of a session: who has them has it.
#[derive(Clone, Default)]
pub struct Redactor(Scrub);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Redactor {
    /// Those of a session with this address and this token.
    pub fn of(url: &str, token: &str) -> Self {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let values = query.split('&').filter_map(|parameter| Some(parameter.split_once('=')?.1));
        Self(Scrub::new([url, query, token].into_iter().chain(values)))
    }

    /// A text of the gateway, less what it repeats of them.
    pub fn in_text(&self, text: &str) -> String {
        self.0.clean(text)
    }

    /// A frame, the same with the text of a Status.
    pub fn in_frame(&self, message: Bytes) -> Bytes {
        if !message.starts_with(&FrameType::STATUS.0.to_le_bytes()) {
            return message;
        }
        // What is no frame is told with a text of our own.
        let Ok(mut frame) = Frame::decode(message.clone()) else { return message };
        let Some((state, text)) = frame.payload.split_first() else { return message };
        let text = String::from_utf8_lossy(text);
        let shown = self.in_text(&text);
        if !WITH_TEXT.contains(state) || shown == text {
            return message;
        }
        frame.payload = [&[*state], shown.as_bytes()].concat().into();
        frame.encode().unwrap_or(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::{Sequence, Version};

    const URL: &str = "wss://h/session?sessionid=s-0001&token=t%2Bk";

    #[test]
    fn a_refusal_does_not_show_what_it_refuses() {
        let text = "GET /session?sessionId=s-0001&token=t%2Bk with token-0001 is forbidden, no";
        let shown = Redactor::of(URL, "token-0001").in_text(text);
        assert_eq!(shown, "GET /session?sessionId=…&token=… with … is forbidden, no");
        assert_eq!(Redactor::of(URL, "").in_text("no"), "no");
    }

    #[test]
    fn only_the_text_of_a_status_is_looked_at() {
        let redactor = Redactor::of(URL, "token-0001");
        let frame = |kind, payload: &[u8]| Frame {
            kind,
            version: Version::V1_02,
            channel_id: Bytes::from_static(b"token-0001"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence: Sequence::Pair { input: 1, output: 2 },
            payload: Bytes::copy_from_slice(payload),
        };
        let passed = |kind, payload: &[u8]| {
            let message = redactor.in_frame(frame(kind, payload).encode().unwrap());
            Frame::decode(message).unwrap()
        };
        for state in WITH_TEXT {
            let text = [&[state], &b"Notified: token-0001 of s-0001"[..]].concat();
            let shown = [&[state], "Notified: … of …".as_bytes()].concat();
            assert_eq!(passed(FrameType::STATUS, &text), frame(FrameType::STATUS, &shown));
        }
        for (kind, payload) in [
            (FrameType::OUTPUT, &b"\x05token-0001"[..]),
            (FrameType::STATUS, b"\x07token-0001"),
            (FrameType::STATUS, b"\x05\xff\xfe"),
            (FrameType::STATUS, b""),
        ] {
            assert_eq!(passed(kind, payload), frame(kind, payload));
        }
        assert_eq!(redactor.in_frame(Bytes::from_static(b"\x05\0\0\0x")), b"\x05\0\0\0x"[..]);
    }
}
