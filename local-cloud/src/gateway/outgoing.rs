//! The queue of what a stream sends, and the messages that are no proper frames.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{
    ending::Ending,
    frame::{Frame, kind},
};
use crate::fault::{Action, Malformed};

/// So much may wait to be sent; then who sends more has to wait.
const QUEUE: usize = 8;

/// Something to send, or to do once all before it is sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Output(Bytes),
    Frame {
        kind: u32,
        payload: Bytes,
    },
    /// A status that another socket is told anyway.
    Progress(Bytes),
    Malformed(Malformed),
    Ping,
    Pause(Duration),
    Mute,
    Vanish,
    /// A fault of the agent's numbers.
    Channel(Action),
    Cut,
    Reset,
    /// What is written ends, without a WebSocket close.
    HangUp,
    Close(u16),
    /// The agent has nothing more: a last status, once the client has all that came before.
    Over(Ending),
}

/// The end of the queue that is filled.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Outgoing>);

impl Outbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Waits for room. Once the writer is gone the connection ends anyway, and what is sent is lost.
    pub(crate) async fn send(&self, outgoing: Outgoing) {
        let _ = self.0.send(outgoing).await;
    }

    pub(crate) async fn frame(&self, kind: u32, payload: Bytes) {
        self.send(Outgoing::Frame { kind, payload }).await;
    }

    pub(crate) async fn status(&self, state: u8, text: &str) {
        self.frame(kind::STATUS, status(state, text)).await;
    }
}

/// The payload of a status with a text.
pub(crate) fn status(state: u8, text: &str) -> Bytes {
    std::iter::once(state).chain(text.bytes()).collect()
}

/// What is lost with a malformed message was never part of the stream.
pub(crate) fn malformed(malformed: Malformed, mut frame: Frame) -> Message {
    frame.payload = Bytes::from_static(b"malformed");
    match malformed {
        Malformed::Text => return Message::text("{\"error\":\"not a frame\"}"),
        Malformed::Short => return Message::Binary(frame.encode().slice(..17)),
        Malformed::Garbled => {
            let noise = frame.encode().iter().map(|byte| byte ^ 0xa5).collect::<Bytes>();
            return Message::Binary(noise);
        }
        Malformed::WrongLength => {
            let mut wire = frame.encode().to_vec();
            wire.truncate(wire.len() - 2);
            return Message::Binary(wire.into());
        }
        Malformed::Huge(size) => frame.payload = vec![b'x'; size].into(),
        Malformed::CreatedZero => frame.created_ms = 0,
        Malformed::UnknownType => frame.kind = 99,
    }
    Message::Binary(frame.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::frame::Counters;

    #[test]
    fn malformed_ones_are_what_they_say() {
        let frame = Frame {
            kind: kind::OUTPUT,
            channel: "d-1".into(),
            instance: String::new(),
            created_ms: 1,
            counters: Counters::V101 { sequence: 0 },
            payload: Bytes::new(),
        };
        let refused = |what| match malformed(what, frame.clone()) {
            Message::Binary(bytes) => Frame::decode(&bytes).is_err(),
            other => other.is_text(),
        };
        assert!(refused(Malformed::Short));
        assert!(refused(Malformed::Garbled));
        assert!(refused(Malformed::Text));
        assert!(refused(Malformed::WrongLength));
        assert!(refused(Malformed::CreatedZero));
        assert!(!refused(Malformed::Huge(10_000_000)));
        assert!(!refused(Malformed::UnknownType));
    }
}
