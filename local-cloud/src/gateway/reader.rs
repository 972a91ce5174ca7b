//! What the client sends: taken apart strictly, judged, paced, and handed to the agent.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{sleep, sleep_until, timeout_at},
};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, error::ProtocolError};

use super::{
    agent::Received,
    channel::{Arrival, Channel},
    check::{Check, Facts, version_known},
    ending::{CLOSED, Ending},
    frame::{Counters, Frame, MAX_PAYLOAD, MAX_SHELL_PAYLOAD, kind},
    link::{Link, Urgent},
    pace::{Meter, exceeds},
    points::{Points, When},
    stream::drain,
};
use crate::{fault::Point, frame_fault::Way};

/// Times of creation further apart than this (a year) are taken for this far.
const MAX_SPAN_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// How long a client's WebSocket close waits for the agent to obey the Close frame before it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Reads the client, on whatever socket the stream is.
pub(crate) struct Reader<'a> {
    link: &'a Link,
    agent: mpsc::Sender<Received>,
    faults: Points<u64>,
    check: Check,
    /// Payload by the time it was read.
    arrived: Meter,
    /// Payload by the time its frame was created.
    created: Meter,
    start: Instant,
    first_created_ms: Option<u64>,
    /// How long the agent kept us from reading, since the last frame.
    waited: Duration,
    /// Input that the agent took.
    bytes: u64,
    last_frame: tokio::time::Instant,
    /// When the client last broke its silence.
    last_heard: tokio::time::Instant,
    /// The agent is handed a Close, which it obeys.
    is_closing: bool,
    /// The client's end of the socket is closed, with this code; for so long the agent may still obey its Close.
    gone: Option<(Option<u16>, tokio::time::Instant)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(link: &'a Link, agent: mpsc::Sender<Received>) -> Self {
        let faults = link.points(|at| match at {
            Point::InputBytes(bytes) => Some(When::once(*bytes)),
            Point::EveryInputBytes(bytes) => Some(When::every(*bytes)),
            _ => None,
        });
        Self {
            link,
            agent,
            faults,
            check: Check::default(),
            arrived: Meter::default(),
            created: Meter::default(),
            start: Instant::now(),
            first_created_ms: None,
            waited: Duration::ZERO,
            bytes: 0,
            last_frame: tokio::time::Instant::now(),
            last_heard: tokio::time::Instant::now(),
            is_closing: false,
            gone: None,
        }
    }

    /// Another socket is there.
    pub(crate) fn attached(&mut self, again: bool) {
        self.check.attached(again);
        self.last_frame = tokio::time::Instant::now();
        self.last_heard = self.last_frame;
        self.gone = None;
    }

    /// Reads until one of both sides has had enough. It may be dropped at any point: an Input is counted once the agent has it.
    pub(crate) async fn read<S>(&mut self, messages: &mut S) -> Ending
    where
        S: Stream<Item = Result<Message, WsError>> + Unpin,
    {
        loop {
            if let Some((code, until)) = self.gone {
                // Answers the close, and lets the agent come to the Close frame that stands before it.
                let closed = async {
                    drain(self.link, messages).await;
                    pending::<()>().await;
                };
                let _ = timeout_at(until, closed).await;
                return Ending::client_gone(code);
            }
            let idle = self.last_frame + self.link.instance.idle_timeout;
            let swap = self.link.swap_deadline(Way::ToAgent).map(tokio::time::Instant::from_std);
            let silent = self.link.instance.silent_close;
            let silent_at = silent.map(|silent| self.last_heard + silent.after);
            let wake = swap.unwrap_or(idle).min(idle).min(silent_at.unwrap_or(idle));
            // What piled up meanwhile was not sent all at once.
            self.waited += self.link.client_may_be_read().await;
            let ending = tokio::select! {
                biased;
                () = self.link.client_stalls() => None,
                message = messages.next() => self.message(message).await,
                () = sleep_until(wake) => self.time_is_up(idle, silent_at).await,
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// Whatever of this is due.
    async fn time_is_up(
        &mut self,
        idle: tokio::time::Instant,
        silent_at: Option<tokio::time::Instant>,
    ) -> Option<Ending> {
        let now = tokio::time::Instant::now();
        if let Some(message) = self.link.overdue(Way::ToAgent) {
            return self.accept(&message).await;
        }
        if now >= idle {
            return Some(Ending::status(CLOSED, "IdleTimeout"));
        }
        if silent_at.is_some_and(|at| now >= at) {
            self.last_heard = now; // once
            self.link.befall(match self.link.instance.silent_close.map(|silent| silent.code) {
                Some(1006) | None => Urgent::Cut("Silent"),
                Some(code) => Urgent::Close(code),
            });
        }
        None
    }

    /// The client has broken its silence, by a frame or by something smaller.
    fn heard(&mut self, is_frame: bool) {
        if is_frame || self.link.instance.silent_close.is_some_and(|silent| silent.pings_count) {
            self.last_heard = tokio::time::Instant::now();
        }
    }

    /// The client's end of the socket is closed.
    fn closed(&mut self, code: Option<u16>) -> Option<Ending> {
        if !self.is_closing {
            return Some(Ending::client_gone(code));
        }
        self.gone = Some((code, tokio::time::Instant::now() + CLOSE_PATIENCE));
        None
    }

    async fn message(&mut self, message: Option<Result<Message, WsError>>) -> Option<Ending> {
        let link = self.link;
        match message {
            Some(Ok(_)) if link.switches().is_muted() => None,
            Some(Ok(Message::Binary(message))) => {
                self.heard(true);
                let ending = self.frame(&message).await;
                self.last_frame = tokio::time::Instant::now();
                self.last_heard = self.last_frame;
                ending
            }
            Some(Ok(Message::Text(_))) => {
                link.note(|session| session.violation("a text message".to_owned()));
                Some(Ending::status(CLOSED, "ProcessDataError"))
            }
            Some(Ok(Message::Ping(_))) => {
                self.heard(false);
                let mut pings = 0;
                link.note(|session| {
                    session.ping();
                    pings = session.pings;
                });
                link.inject_at(Point::Pings(pings)).await;
                None
            }
            Some(Ok(Message::Pong(_))) => {
                self.heard(false);
                link.note(|session| session.pongs += 1);
                None
            }
            Some(Ok(Message::Close(frame))) => {
                link.note(|session| session.close_handshake = true);
                if !link.instance.answers_close {
                    link.switches().vanish();
                }
                self.closed(frame.map(|frame| frame.code.into()))
            }
            Some(Ok(Message::Frame(_))) => None,
            Some(Err(error)) => {
                self.broken(&error);
                self.closed(None)
            }
            None => self.closed(None),
        }
    }

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
        self.judge(&frame);
        match (frame.kind, frame.counters) {
            (kind::INPUT, _) => {
                let ending = self.count_input(frame.created_ms, frame.payload.len());
                if ending.is_some() {
                    return ending;
                }
            }
            (kind::RESIZE, _) => self.link.note(|session| session.resize_frames += 1),
            (kind::CLOSE, _) => self.link.note(|session| session.close_frames += 1),
            (kind::SYNC, Counters::V102 { input, output }) => self.link.note(|session| {
                session.sync_frames += 1;
                session.sync(true, input, output);
            }),
            (kind::SYNC, _) => self.link.note(|session| session.sync_frames += 1),
            _ => {}
        }
        let Some(passed) = self.link.corrupt(Way::ToAgent, frame.kind, message) else {
            return self.take(frame).await;
        };
        for passed in passed {
            if !passed.delay.is_zero() {
                sleep(passed.delay).await;
            }
            let ending = self.accept(&passed.message).await;
            if ending.is_some() {
                return ending;
            }
        }
        None
    }

    /// A message that something has happened to on its way: nothing that may be wrong with it is the client's doing.
    async fn accept(&mut self, message: &Bytes) -> Option<Ending> {
        match Frame::decode(message) {
            Ok(frame) => self.take(frame).await,
            Err(_) => Some(Ending::status(CLOSED, "ProcessDataError")),
        }
    }

    fn judge(&mut self, frame: &Frame) {
        let link = self.link;
        let grace = link.instance.agent.resumption.version_grace;
        let (channel, sent, received) =
            link.look(|channel| (channel.id.clone(), channel.sent(), channel.acknowledgement()));
        let wrong = self.check.frame(
            frame,
            Facts {
                resumable: link.resumable,
                channel: &channel,
                sent,
                received,
                version_known: version_known(link.first_sent_at().map(|at| at.elapsed()), grace),
            },
        );
        for what in wrong {
            self.violation(what);
        }
    }

    /// The agent's turn.
    async fn take(&mut self, frame: Frame) -> Option<Ending> {
        let link = self.link;
        let (kind, numbered) = (frame.kind, Link::is_numbered(frame.kind));
        match frame.counters {
            Counters::V102 { input, output } if link.resumable => {
                let acknowledged = output.min(link.look(Channel::last_output));
                link.change(|channel| channel.acknowledge(output));
                link.note(|session| {
                    session.acknowledged_outputs = session.acknowledged_outputs.max(acknowledged);
                });
                if numbered {
                    return self.take_numbered(frame, input).await;
                }
                if kind == kind::SYNC {
                    if link.change(|channel| channel.sync(output, input, Instant::now())).is_err() {
                        return Some(Ending::status(CLOSED, "ProcessDataError"));
                    }
                    link.synced();
                    return None;
                }
                self.hand_over(&frame).await;
            }
            Counters::V101 { sequence } if numbered && link.look(Channel::is_strict) => {
                let number = u32::try_from(sequence.max(0)).unwrap_or(u32::MAX);
                return self.take_numbered(frame, number).await;
            }
            _ if numbered => {
                let cut = self.deliver(frame, |link| {
                    if link.resumable {
                        link.change(Channel::take_unnumbered);
                    }
                });
                if cut.await {
                    return pending().await; // until the cut is seen
                }
            }
            _ => self.hand_over(&frame).await,
        }
        None
    }

    /// Hands the agent something that is no Input. Where it is done, what comes goes nowhere.
    async fn hand_over(&mut self, frame: &Frame) {
        let closed = frame.kind == kind::STATUS && frame.payload.first() == Some(&CLOSED);
        let received = if frame.kind == kind::CLOSE || closed {
            self.is_closing |= self.link.obeys_close();
            Received::Close
        } else {
            Received::Other
        };
        let now = Instant::now();
        if let Ok(permit) = self.agent.reserve().await {
            permit.send(received);
        }
        self.waited += now.elapsed();
    }

    async fn take_numbered(&mut self, frame: Frame, number: u32) -> Option<Ending> {
        let link = self.link;
        match link.look(|channel| channel.arrival(number)) {
            Arrival::Duplicate => {
                link.change(|channel| channel.duplicate(Instant::now()));
                link.note(|session| session.duplicate_inputs += 1);
            }
            Arrival::Gap => {
                link.change(|channel| channel.gap(number, Instant::now()));
                link.note(|session| session.input_gaps += 1);
            }
            Arrival::Next => {
                let taken = |link: &Link| {
                    link.change(|channel| channel.take(number));
                    link.note(|session| session.received_inputs = number);
                };
                if self.deliver(frame, taken).await {
                    return pending().await; // until the cut is seen
                }
            }
        }
        None
    }

    /// Hands an Input to the agent, and counts it in the same moment. Whether a fault has cut the socket.
    async fn deliver(&mut self, frame: Frame, taken: impl FnOnce(&Link)) -> bool {
        let now = Instant::now();
        // Where the agent is done, the rest of what comes goes nowhere.
        let permit = self.agent.reserve().await;
        taken(self.link);
        let received = if frame.kind == kind::INPUT {
            self.bytes += u64::try_from(frame.payload.len()).unwrap_or(u64::MAX);
            Received::Input(frame.payload)
        } else {
            Received::resize(&frame)
        };
        if let Ok(permit) = permit {
            permit.send(received);
        }
        self.waited += now.elapsed();
        let mut cut = false;
        while let Some(action) = self.faults.due(self.bytes) {
            cut |= self.link.inject_now(&action).await;
            if cut {
                break;
            }
        }
        cut
    }

    /// Counts an Input, and looks at how fast they come.
    fn count_input(&mut self, created_ms: u64, length: usize) -> Option<Ending> {
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
        let limit = self.link.pacing.limit(now)?;
        let too_fast = over(rate, limit) && (pace.strict || over(created_rate, limit));
        too_fast.then(|| Ending::status(CLOSED, "FlowExceedLimit"))
    }

    /// A time of creation on this machine's clock, of which only the differences count.
    fn created_at(&mut self, created_ms: u64) -> Instant {
        let first = *self.first_created_ms.get_or_insert(created_ms);
        let since = created_ms.saturating_sub(first).min(MAX_SPAN_MS);
        self.start + Duration::from_millis(since)
    }
}
