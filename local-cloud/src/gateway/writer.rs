//! What the gateway sends: a bounded queue, and the one future that empties it into the WebSocket.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    frame::{Counters, Frame, kind},
    io::Switches,
};
use crate::fault::Malformed;

/// So much may wait to be sent; then who sends more has to wait.
const QUEUE: usize = 8;

/// Something to send, or to do once all before it is sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame { kind: u32, payload: Bytes },
    Malformed(Malformed),
    Ping,
    Pause(Duration),
    Mute,
    Cut,
    Reset,
    Close(u16),
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
        let payload: Vec<u8> = std::iter::once(state).chain(text.bytes()).collect();
        self.frame(kind::STATUS, payload.into()).await;
    }
}

/// How the writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// The socket is to be dropped as it stands.
    Cut,
    /// A close frame with this code was sent.
    Close(u16),
    /// The WebSocket takes no more.
    Gone,
}

/// Sends what is queued, until something ends it. `sent` is told of each Output's length once it is on its way.
pub(crate) async fn write<S>(
    mut sink: S,
    mut queue: mpsc::Receiver<Outgoing>,
    channel: String,
    switches: Arc<Switches>,
    sent: impl Fn(usize),
) -> Wrote
where
    S: Sink<Message, Error = WsError> + Unpin,
{
    let mut frames = Numbering { channel, next: 0 };
    while let Some(outgoing) = queue.recv().await {
        let mut output = None;
        let message = match outgoing {
            Outgoing::Frame { kind, payload } => {
                output = (kind == kind::OUTPUT).then_some(payload.len());
                Message::Binary(frames.next(kind, payload).encode())
            }
            Outgoing::Malformed(malformed) => frames.malformed(malformed),
            Outgoing::Ping => Message::Ping(Bytes::from_static(b"gateway")),
            Outgoing::Pause(pause) => {
                tokio::time::sleep(pause).await;
                continue;
            }
            Outgoing::Mute => {
                switches.mute();
                continue;
            }
            Outgoing::Reset => {
                switches.reset();
                return Wrote::Cut;
            }
            Outgoing::Cut => return Wrote::Cut,
            Outgoing::Close(code) => {
                // 1005 stands for a close frame without a code.
                let frame = (code != 1005)
                    .then(|| CloseFrame { code: CloseCode::from(code), reason: "".into() });
                let sent = sink.send(Message::Close(frame)).await;
                return if sent.is_ok() { Wrote::Close(code) } else { Wrote::Gone };
            }
        };
        if sink.send(message).await.is_err() {
            return Wrote::Gone;
        }
        if let Some(length) = output {
            sent(length);
        }
    }
    Wrote::Gone
}

/// Numbers the Outputs. Statuses are the gateway's own and carry 0.
struct Numbering {
    channel: String,
    next: i64,
}

impl Numbering {
    fn next(&mut self, kind: u32, payload: Bytes) -> Frame {
        let mut sequence = 0;
        if kind == kind::OUTPUT {
            sequence = self.next;
            self.next += 1;
        }
        Frame {
            kind,
            channel: self.channel.clone(),
            instance: String::new(),
            created_ms: now_ms(),
            counters: Counters::V101 { sequence },
            payload,
        }
    }

    /// A malformed message uses no number up: what is lost with it was never part of the stream.
    fn malformed(&mut self, malformed: Malformed) -> Message {
        let (number, kind) = (self.next, kind::OUTPUT);
        let mut frame = self.next(kind, Bytes::from_static(b"malformed"));
        self.next = number;
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
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbering() -> Numbering {
        Numbering { channel: "d-1".into(), next: 0 }
    }

    #[test]
    fn outputs_count_and_statuses_do_not() {
        let mut frames = numbering();
        let sequence = |frame: Frame| frame.counters;
        let at = |sequence| Counters::V101 { sequence };
        assert_eq!(sequence(frames.next(kind::STATUS, Bytes::new())), at(0));
        assert_eq!(sequence(frames.next(kind::OUTPUT, Bytes::new())), at(0));
        assert_eq!(sequence(frames.next(kind::OUTPUT, Bytes::new())), at(1));
    }

    #[test]
    fn malformed_ones_are_what_they_say() {
        let mut frames = numbering();
        let mut refused = |malformed| match frames.malformed(malformed) {
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
        assert_eq!(frames.next, 0);
    }
}
