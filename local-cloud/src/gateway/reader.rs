//! What the client sends: taken apart strictly, counted, paced, and handed to the agent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, error::ProtocolError};

use super::{
    frame::{Counters, Frame, MAX_PAYLOAD, MAX_SHELL_PAYLOAD, kind},
    link::{CLOSED, Ending, Link, Points},
    pace::{Meter, exceeds},
};
use crate::fault::Point;

/// Times of creation further apart than this (a year) are taken for this far.
const MAX_SPAN_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// Reads the client until one of both sides has had enough.
pub(crate) async fn read<S>(link: &Link, messages: &mut S, input: mpsc::Sender<Bytes>) -> Ending
where
    S: Stream<Item = Result<Message, WsError>> + Unpin,
{
    let faults = link.points(|at| match at {
        Point::InputBytes(bytes) => Some(*bytes),
        _ => None,
    });
    let mut reader = Reader {
        link,
        input,
        faults,
        arrived: Meter::default(),
        created: Meter::default(),
        start: Instant::now(),
        first_created_ms: None,
        waited: Duration::ZERO,
        bytes: 0,
        last_sequence: None,
    };
    let mut last_frame = tokio::time::Instant::now();
    loop {
        let deadline = last_frame + link.instance.idle_timeout;
        let Ok(message) = tokio::time::timeout_at(deadline, messages.next()).await else {
            return Ending::status(CLOSED, "IdleTimeout");
        };
        link.may_go(|stalls| stalls.client).await;
        let ending = match message {
            Some(Ok(_)) if link.switches.is_muted() => None,
            Some(Ok(Message::Binary(message))) => {
                let ending = reader.frame(&message).await;
                last_frame = tokio::time::Instant::now();
                ending
            }
            Some(Ok(Message::Text(_))) => {
                link.note(|session| session.violation("a text message".to_owned()));
                Some(Ending::status(CLOSED, "ProcessDataError"))
            }
            Some(Ok(Message::Ping(_))) => {
                link.note(|session| session.pings += 1);
                None
            }
            Some(Ok(Message::Pong(_))) => {
                link.note(|session| session.pongs += 1);
                None
            }
            Some(Ok(Message::Close(_))) => {
                link.note(|session| session.close_handshake = true);
                Some(Ending::client_gone())
            }
            Some(Ok(Message::Frame(_))) => None,
            Some(Err(error)) => {
                reader.broken(&error);
                Some(Ending::client_gone())
            }
            None => Some(Ending::client_gone()),
        };
        if let Some(ending) = ending {
            return ending;
        }
    }
}

struct Reader<'a> {
    link: &'a Link,
    input: mpsc::Sender<Bytes>,
    faults: Points<u64>,
    /// Payload by the time it was read.
    arrived: Meter,
    /// Payload by the time its frame was created.
    created: Meter,
    start: Instant,
    first_created_ms: Option<u64>,
    /// How long the agent kept us from reading, since the last frame.
    waited: Duration,
    bytes: u64,
    last_sequence: Option<i64>,
}

impl Reader<'_> {
    fn violation(&self, what: String) {
        self.link.note(|session| session.violation(what));
    }

    /// A WebSocket that breaks is no violation, one that is misused is.
    fn broken(&self, error: &WsError) {
        match error {
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Io(_) => {}
            other => self.violation(format!("WebSocket: {other}")),
        }
    }

    async fn frame(&mut self, message: &Bytes) -> Option<Ending> {
        let frame = match Frame::decode(message) {
            Ok(frame) => frame,
            Err(error) => {
                self.violation(format!("a malformed frame: {error}"));
                return Some(Ending::status(CLOSED, "ProcessDataError"));
            }
        };
        self.check(&frame);
        match frame.kind {
            kind::INPUT => return self.take_input(frame.created_ms, frame.payload).await,
            kind::RESIZE => self.link.note(|session| session.resize_frames += 1),
            kind::SYNC => self.link.note(|session| session.sync_frames += 1),
            kind::CLOSE => {
                self.link.note(|session| session.close_frames += 1);
                return Some(Ending::client_closed());
            }
            _ => {}
        }
        None
    }

    /// What a client of 1.01 must keep to. It is noted; the stream goes on.
    fn check(&mut self, frame: &Frame) {
        if !matches!(frame.kind, kind::INPUT | kind::RESIZE | kind::CLOSE) {
            self.violation(format!("a client's frame of type {}", frame.kind));
        }
        if !frame.channel.is_empty() || !frame.instance.is_empty() {
            self.violation("ids are empty in 1.01".to_owned());
        }
        match (frame.kind, frame.payload.len()) {
            (kind::RESIZE, length) if length != 4 => {
                self.violation(format!("a Resize of {length} bytes"));
            }
            (kind::CLOSE, _) if frame.payload[..] != *b"1" => {
                self.violation("a Close carries `1`".to_owned());
            }
            _ => {}
        }
        match frame.counters {
            Counters::V101 { sequence } => {
                let fits = match self.last_sequence {
                    None => sequence == 0 || sequence == 1,
                    Some(last) => last.checked_add(1) == Some(sequence),
                };
                if !fits {
                    let last = self.last_sequence;
                    self.violation(format!("sequence {sequence} after {last:?}"));
                }
                self.last_sequence = Some(sequence);
            }
            Counters::V102 { .. } => self.violation("1.02 to an agent of 1.01".to_owned()),
        }
    }

    async fn take_input(&mut self, created_ms: u64, payload: Bytes) -> Option<Ending> {
        let length = payload.len();
        let most = if self.link.port.is_some() { MAX_PAYLOAD } else { MAX_SHELL_PAYLOAD };
        if length > most {
            self.violation(format!("a payload of {length} bytes, {most} are allowed"));
        }
        let now = Instant::now();
        let waited = std::mem::take(&mut self.waited);
        let rate = self.arrived.arrived(now, length, waited);
        let created = self.created_at(created_ms);
        let created_rate = self.created.arrived(created, length, Duration::ZERO);
        let count = u64::try_from(length).unwrap_or(u64::MAX);
        self.link.note(|session| {
            session.input_frames += 1;
            session.input_bytes += count;
            if length > 0 {
                session.spoke.get_or_insert(now);
            }
            session.empty_inputs += u64::from(length == 0);
            session.full_inputs += u64::from(length == MAX_PAYLOAD);
            session.peak_bytes_per_second = session.peak_bytes_per_second.max(rate);
            session.peak_made_per_second = session.peak_made_per_second.max(created_rate);
        });
        let pace = &self.link.instance.pace;
        let over = |rate, limit| exceeds(rate, limit, pace.tolerance_percent);
        if let Some(limit) = self.link.limit(now)
            && over(rate, limit)
            && (pace.strict || over(created_rate, limit))
        {
            return Some(Ending::status(CLOSED, "FlowExceedLimit"));
        }
        // The agent's end of this is dropped only when the whole connection is.
        let _ = self.input.send(payload).await;
        self.waited = now.elapsed();
        self.bytes += count;
        while let Some(action) = self.faults.due(self.bytes) {
            if let Some(ending) = self.link.strike_now(&action).await {
                return Some(ending);
            }
        }
        None
    }

    /// A time of creation on this machine's clock, of which only the differences count.
    fn created_at(&mut self, created_ms: u64) -> Instant {
        let first = *self.first_created_ms.get_or_insert(created_ms);
        let since = created_ms.saturating_sub(first).min(MAX_SPAN_MS);
        self.start + Duration::from_millis(since)
    }
}
