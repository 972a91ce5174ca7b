//! What the gateway sends: a bounded queue, and the future that empties it into the WebSocket which is there at the time.
//!
//! Outputs are numbered here, so that the queue's order is the stream's. Where a stream resumes, faults in the queue wait
//! until the client has been sent all that came before them; whatever else there is goes on.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{pending, poll_fn},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    channel::Channel,
    ending::Ending,
    frame::{Counters, Frame, kind},
    link::Link,
    outgoing::{Outgoing, malformed, status},
};
use crate::frame_fault::Way;

/// How the writer ended.
#[derive(Debug)]
pub(crate) enum Wrote {
    /// The socket is to be dropped as it stands.
    Cut,
    /// A close frame with this code was sent.
    Close(u16),
    /// The client was told that it is over.
    Over(Ending),
    /// The sending side of the connection was closed, behind all that was queued.
    HungUp,
    /// The WebSocket takes no more.
    Gone,
}

/// A message that nothing stands before.
#[derive(Debug)]
struct Ready {
    message: Message,
    delay: Duration,
    /// The length of the payload, if it is an Output.
    output: Option<usize>,
}

/// Sends what is queued, and what the client asks for again. Each of its futures may be dropped at any point, and the next
/// one goes on there.
pub(crate) struct Writer<'a> {
    link: &'a Link,
    queue: mpsc::Receiver<Outgoing>,
    /// What was taken from the queue, and cannot be done yet.
    held: Option<Outgoing>,
    ready: VecDeque<Ready>,
    paused_until: Option<Instant>,
    /// How it ends, and whether the client was told on this socket.
    over: Option<(Ending, bool)>,
    /// The stream ends: nothing waits for the client any more.
    hurries: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(link: &'a Link, queue: mpsc::Receiver<Outgoing>) -> Self {
        let ready = VecDeque::new();
        Self { link, queue, held: None, ready, paused_until: None, over: None, hurries: false }
    }

    /// Another socket is there: what was about to be sent on the old one is lost.
    pub(crate) fn attached(&mut self, again: bool) {
        self.ready.clear();
        self.paused_until = None;
        if let Some((_, told)) = &mut self.over {
            *told = false;
        }
        if again && self.link.instance.agent.resumption.reannounces {
            for state in self.link.reached() {
                self.put_frame(kind::STATUS, Bytes::copy_from_slice(&[state]));
            }
            if let Some(limit) = self.link.pacing.announcement(std::time::Instant::now()) {
                self.put_frame(kind::STATUS, limit);
            }
        }
    }

    /// Why the stream ends as soon as the client has all of it.
    pub(crate) fn over(&self) -> Option<&Ending> {
        self.over.as_ref().map(|(ending, _)| ending)
    }

    /// From now on nothing waits for the client.
    pub(crate) fn expedite(&mut self) {
        self.hurries = true;
    }

    /// Sends until something ends it.
    pub(crate) async fn run<S>(&mut self, sink: &mut S) -> Wrote
    where
        S: Sink<Message, Error = WsError> + Unpin,
    {
        loop {
            if let Some(wrote) = self.flush(sink).await {
                return wrote;
            }
            if self.put_due() {
                continue;
            }
            if let Some(ending) = self.tell_over() {
                let wrote = self.flush(sink).await;
                return wrote.unwrap_or(Wrote::Over(ending));
            }
            let free = self.held.as_ref().is_some_and(|held| self.may_go(held));
            let outgoing = match self.held.take_if(|_| free) {
                Some(outgoing) => outgoing,
                None => match self.next().await {
                    Some(outgoing) => outgoing,
                    None => continue,
                },
            };
            if !self.may_go(&outgoing) {
                self.held = Some(outgoing);
            } else if matches!(outgoing, Outgoing::HangUp) {
                self.link.switches().hang_up();
                // The flush ends it; where it cannot, the connection is broken already.
                let _ = sink.flush().await;
                return Wrote::HungUp;
            } else if let Some(wrote) = self.act(outgoing) {
                return wrote;
            }
        }
    }

    /// While there is no socket: the agent goes on as though there were one, until a fault is next.
    pub(crate) async fn run_detached(&mut self) -> Infallible {
        loop {
            let outgoing = match self.held.take() {
                Some(held) => held,
                None => match self.queue.recv().await {
                    Some(outgoing) => outgoing,
                    None => pending().await,
                },
            };
            match outgoing {
                Outgoing::Output(payload) => _ = self.number(&payload, false),
                Outgoing::Channel(action) => self.link.inject_channel(&action),
                Outgoing::Over(ending) => self.over = Some((ending, false)),
                Outgoing::Progress(_) | Outgoing::Ping | Outgoing::Pause(_) => {}
                held => {
                    self.held = Some(held);
                    pending().await
                }
            }
        }
    }

    /// A close with this code, behind what is half sent and what was to be said before it. Outputs can be asked for again.
    pub(crate) async fn close<S>(&mut self, sink: &mut S, code: u16)
    where
        S: Sink<Message, Error = WsError> + Unpin,
    {
        self.ready.clear();
        self.paused_until = None;
        while let Some(outgoing) = self.held.take().or_else(|| self.queue.try_recv().ok()) {
            match outgoing {
                Outgoing::Output(payload) => _ = self.number(&payload, false),
                Outgoing::Frame { kind, payload } => self.put_frame(kind, payload),
                Outgoing::Progress(payload) => self.put_frame(kind::STATUS, payload),
                held => {
                    self.held = Some(held);
                    break;
                }
            }
        }
        self.put_close(code);
        // If it cannot be sent, the client sees the end of the connection.
        let _ = self.flush(sink).await;
    }

    /// Sends what nothing stands before. It ends the writer if that was a close, or cannot be sent.
    async fn flush<S>(&mut self, sink: &mut S) -> Option<Wrote>
    where
        S: Sink<Message, Error = WsError> + Unpin,
    {
        loop {
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            match self.ready.front_mut() {
                None => break,
                Some(first) if !first.delay.is_zero() => {
                    self.paused_until = Some(Instant::now() + first.delay);
                    first.delay = Duration::ZERO;
                    continue;
                }
                Some(_) => {}
            }
            if poll_fn(|cx| sink.poll_ready_unpin(cx)).await.is_err() {
                return Some(Wrote::Gone);
            }
            let Some(Ready { message, output, .. }) = self.ready.pop_front() else { break };
            let close = match &message {
                Message::Close(frame) => Some(frame.as_ref().map_or(1005, |f| f.code.into())),
                _ => None,
            };
            if sink.start_send_unpin(message).is_err() {
                return Some(Wrote::Gone);
            }
            if let Some(length) = output {
                self.sent(length);
            }
            if let Some(code) = close {
                return Some(if sink.flush().await.is_ok() {
                    Wrote::Close(code)
                } else {
                    Wrote::Gone
                });
            }
            if sink.flush().await.is_err() {
                return Some(Wrote::Gone);
            }
            self.link.note_sent();
        }
        // What was handed over before this future took the place of another.
        if sink.flush().await.is_err() { Some(Wrote::Gone) } else { None }
    }

    fn sent(&self, length: usize) {
        self.link.note(|session| {
            session.output_frames += 1;
            session.output_bytes += u64::try_from(length).unwrap_or(u64::MAX);
        });
    }

    /// What the client asked for, and what the agent asks for. Whether there was anything.
    fn put_due(&mut self) -> bool {
        if !self.link.look(Channel::is_due) {
            return false;
        }
        if let Some(counters) = self.link.change(Channel::take_ask) {
            if let Counters::V102 { input, output } = counters {
                self.link.note(|session| session.sync(false, input, output));
            }
            self.put(kind::SYNC, counters, Bytes::new());
            return true;
        }
        let Some(again) = self.link.change(Channel::next_again) else {
            return false;
        };
        self.link.note(|session| session.resent_outputs += u64::from(again.repeated));
        if let Some((_, told)) = &mut self.over {
            *told = false;
        }
        self.put(kind::OUTPUT, again.counters, again.payload);
        true
    }

    /// The last status, if it is time for it.
    fn tell_over(&mut self) -> Option<Ending> {
        let synced = self.link.is_synced();
        let (ending, told) = self.over.as_mut().filter(|(_, told)| synced && !told)?;
        *told = true;
        let ending = ending.clone();
        if let Some((state, text)) = &ending.status {
            self.put_frame(kind::STATUS, status(*state, text));
        }
        Some(ending)
    }

    /// The next of the queue; or nothing, if there is something else to do.
    async fn next(&mut self) -> Option<Outgoing> {
        let (link, blocked) = (self.link, self.held.is_some());
        let may_go_on = || blocked && link.is_synced();
        let swap = link.swap_deadline(Way::ToClient).map(Instant::from_std);
        tokio::select! {
            biased;
            () = link.wait_until(|channel| channel.is_due() || may_go_on()) => None,
            () = sleep_until(swap.unwrap_or_else(Instant::now)), if swap.is_some() => {
                let message = link.overdue(Way::ToClient).map(Message::Binary)?;
                self.ready.push_back(Ready { message, delay: Duration::ZERO, output: None });
                None
            }
            outgoing = self.queue.recv(), if !blocked => match outgoing {
                Some(outgoing) => Some(outgoing),
                None => pending().await, // the link holds the other end
            },
        }
    }

    /// Faults wait until the client has said where it stands.
    fn may_go(&self, outgoing: &Outgoing) -> bool {
        self.hurries
            || self.link.is_synced()
            || matches!(
                outgoing,
                Outgoing::Output(_)
                    | Outgoing::Progress(_)
                    | Outgoing::Ping
                    | Outgoing::Channel(_)
                    | Outgoing::Over(_)
            )
    }

    fn act(&mut self, outgoing: Outgoing) -> Option<Wrote> {
        match outgoing {
            Outgoing::Output(payload) => {
                let early = self.link.instance.agent.resumption.early_outputs;
                let send = early || self.link.is_synced();
                let counters = self.number(&payload, send);
                if send {
                    self.put(kind::OUTPUT, counters, payload);
                }
            }
            Outgoing::Frame { kind, payload } => self.put_frame(kind, payload),
            Outgoing::Progress(payload) => self.put_frame(kind::STATUS, payload),
            Outgoing::Malformed(what) => {
                let message = malformed(what, self.frame(kind::OUTPUT, Bytes::new()));
                self.put_message(message);
            }
            Outgoing::Ping => self.put_message(Message::Ping(Bytes::from_static(b"gateway"))),
            Outgoing::Pause(pause) => self.paused_until = Some(Instant::now() + pause),
            Outgoing::Mute => self.link.switches().mute(),
            Outgoing::Vanish => self.link.switches().vanish(),
            Outgoing::Channel(action) => self.link.inject_channel(&action),
            Outgoing::Over(ending) => self.over = Some((ending, false)),
            Outgoing::Reset => {
                self.link.switches().reset();
                return Some(Wrote::Cut);
            }
            Outgoing::Cut | Outgoing::HangUp => return Some(Wrote::Cut),
            Outgoing::Close(code) => self.put_close(code),
        }
        None
    }

    /// Numbers an Output, and takes note of it.
    fn number(&self, payload: &Bytes, sent: bool) -> Counters {
        let link = self.link;
        let counters = link.change(|channel| channel.number(payload, sent));
        if link.resumable {
            let (last, kept) = link.look(|channel| (channel.last_output(), channel.kept_bytes()));
            link.note(|session| {
                session.last_output = last;
                session.peak_kept_bytes = session.peak_kept_bytes.max(kept);
            });
        }
        counters
    }

    fn put_message(&mut self, message: Message) {
        self.ready.push_back(Ready { message, delay: Duration::ZERO, output: None });
    }

    fn put_close(&mut self, code: u16) {
        // 1005 stands for a close frame without a code.
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.put_message(Message::Close((code != 1005).then_some(frame)));
    }

    /// A frame that is no Output of the stream's.
    fn put_frame(&mut self, kind: u32, payload: Bytes) {
        let counters = self.frame(kind, Bytes::new()).counters;
        self.put(kind, counters, payload);
    }

    fn put(&mut self, kind: u32, counters: Counters, payload: Bytes) {
        let output = (kind == kind::OUTPUT).then_some(payload.len());
        let message = Frame { counters, payload, ..self.frame(kind, Bytes::new()) }.encode();
        match self.link.corrupt(Way::ToClient, kind, &message) {
            None => {
                let message = Message::Binary(message);
                self.ready.push_back(Ready { message, delay: Duration::ZERO, output });
            }
            Some(passed) => self.ready.extend(passed.into_iter().map(|passed| {
                let message = Message::Binary(passed.message);
                Ready { message, delay: passed.delay, output }
            })),
        }
    }

    /// A frame as the gateway makes it. An Output of this one uses no number up.
    fn frame(&self, kind: u32, payload: Bytes) -> Frame {
        let (channel, counters) = self.link.look(|channel| {
            let unused = kind == kind::OUTPUT;
            let counters = if unused { channel.unused() } else { channel.counters(kind) };
            (channel.id.clone(), counters)
        });
        let instance = match counters {
            Counters::V101 { .. } => String::new(),
            Counters::V102 { .. } => self.link.instance.id.clone(),
        };
        Frame { kind, channel, instance, created_ms: now_ms(), counters, payload }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
