//! The state machine of one stream (PROTOCOL.md, 3 to 7).
//!
//! ```text
//!             any Output, or Opened and a while             local EOF
//!  opening ────────────────────────────────────▶ open ────────────────▶ draining
//!     │ hold local bytes                          │ splice                 │ deliver until quiet
//!     ▼                                           ▼                        ▼
//!   ended ◀───────────────────────────────────── ended ◀──── Close ──── closing
//! ```
//!
//! The caller feeds it with `handle_*`, and after each call asks for what there is to do with
//! `poll_*` until that gives nothing. Memory is bounded: [`Session::local_room`] and
//! [`Session::wants_remote`] tell when to stop reading, which is how backpressure goes both ways.

#[cfg(test)]
mod agents;
mod arrival;
#[cfg(test)]
mod arrival_model;
#[cfg(test)]
mod arriving;
mod deadlines;
mod end;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod incoming;
mod keepalive;
mod link;
mod missing;
#[cfg(test)]
mod model;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod outage_model;
#[cfg(test)]
mod resuming;
#[cfg(test)]
mod resuming_model;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yielding;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use self::arrival::Arrived;
use self::arrival::Unacked;
pub use self::end::{Disconnect, End, Failure, Party, RemoteEnd};
pub use self::event::Event;
pub use self::keepalive::Keepalive;
use self::link::{Link, Trial};
use self::missing::{Last, Missing};
use super::frame::{Frame, FrameType, Sequence, Version};
use super::generation::Generation;
use super::identification::Identification;
use super::pace::{DEFAULT_LIMIT, Pace};
use super::pings::Pings;
use super::redial::RedialWatch;
use super::replay::Replay;

/// The most bytes from the local side that wait to be sent.
pub const LOCAL_CAP: usize = 32 * 1024;
/// From this many bytes on that wait to be delivered, nothing more is wanted from the far side.
/// One message more may be on its way.
pub const DELIVER_CAP: usize = 64 * 1024;
/// The same as a number of pieces, since small ones cost more than their bytes.
const DELIVER_PIECES: usize = 256;

/// What a session is to do. [`Config::new`] gives PROTOCOL.md's values.
#[derive(Clone, Debug)]
pub struct Config {
    /// The time of day at the upgrade, in milliseconds since the epoch; never 0.
    pub unix_ms: u64,
    /// Whether the target is known to speak first, so that local bytes can wait for it. What is
    /// sent tells too: an SSH client's first bytes are `SSH-`, and then its server speaks first.
    pub server_first: bool,
    /// How long after Opened the target is taken to be dialled, if it has not spoken, by an agent that
    /// drops earlier Input or whose generation is not known.
    pub ready_delay: Duration,
    /// How a session without local bytes is kept open.
    pub keepalive: Keepalive,
    /// After how much time without payload in either direction the session is ended.
    pub idle_timeout: Option<Duration>,
    /// How long the far side may be quiet after the local end of file before it is taken to be done.
    pub linger: Duration,
    /// Randomness, so that clients do not all come back to a gateway at once.
    pub random: u64,
}

impl Config {
    /// The defaults, with the time of day at the upgrade in milliseconds since the epoch.
    pub fn new(unix_ms: u64) -> Self {
        Self {
            unix_ms: unix_ms.max(1),
            server_first: false,
            ready_delay: Duration::from_millis(1500),
            keepalive: Keepalive::ByAgent(Duration::from_secs(50)),
            idle_timeout: None,
            linger: Duration::from_secs(10),
            random: 0,
        }
    }
}

/// What the local side has said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Nothing,
    Ssh,
    Other,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    config: Config,
    started: Instant,
    /// Since when the far side has had the time to open.
    opening: Instant,
    version: Version,
    channel_id: Bytes,
    /// The generation of the agent, once it is known.
    agent: Option<Generation>,
    pace: Pace,
    pings: Pings,
    link: Link,
    trial: Option<Trial>,
    random: u64,

    // Local to far.
    local: BytesMut,
    greeting: Greeting,
    eof: Option<Instant>,
    ready: Option<Instant>,
    /// Whether the target is taken to be listening.
    reached: bool,
    last_sent: Instant,
    last_input: Instant,
    keepalive_due: bool,
    /// Since when the socket has taken nothing although there is something for it.
    blocked: Option<Instant>,
    /// How many payload bytes it has taken, and when it took the last of them.
    taken: (u64, Instant),
    unacked: Option<Unacked>,
    no_answer_told: bool,
    replay: Replay,
    /// The Input that was sent last, unless it was sent again.
    newest: Option<u32>,
    /// The next frame that is to be sent again.
    resend: Option<u32>,
    /// Until when that waits for the far side to tell what it has.
    told_by: Option<Instant>,
    sync_due: bool,

    // Far to local.
    deliver: VecDeque<Bytes>,
    deliver_bytes: usize,
    discard: bool,
    /// `None` once the stream is known not to be SSH's.
    identification: Option<Identification>,
    /// How many of the first bytes are those of SSH; past them once that is decided.
    ssh_matched: usize,
    outputs: u64,
    /// Bytes of Output since the last frame of this side.
    output_bytes: usize,
    output_after_eof: bool,
    redial: RedialWatch,
    last_output: Instant,
    next_sequence: Option<i64>,
    gap_told: bool,
    received: u32,
    missing: Option<Missing>,
    /// Bytes of Output that the far side was not told of.
    untold: usize,
    progress: bool,
    opened: Option<Instant>,

    // The end.
    last: Option<Last>,
    flush_by: Option<Instant>,
    close_due: bool,
    end: Option<End>,
    /// Whether it ended for another session that needed its place.
    yielded: bool,
    events: VecDeque<Event>,
}

impl Session {
    /// A session whose WebSocket was upgraded at `now`.
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            random: config.random,
            config,
            started: now,
            opening: now,
            version: Version::V1_01,
            channel_id: Bytes::new(),
            agent: None,
            pace: Pace::new(now, DEFAULT_LIMIT),
            pings: Pings::new(now),
            link: Link::Up,
            trial: None,
            local: BytesMut::new(),
            greeting: Greeting::Nothing,
            eof: None,
            ready: None,
            reached: false,
            last_sent: now,
            last_input: now,
            keepalive_due: false,
            blocked: None,
            taken: (0, now),
            unacked: None,
            no_answer_told: false,
            replay: Replay::default(),
            newest: None,
            resend: None,
            told_by: None,
            sync_due: false,
            deliver: VecDeque::new(),
            deliver_bytes: 0,
            discard: false,
            identification: Some(Identification::default()),
            ssh_matched: 0,
            outputs: 0,
            output_bytes: 0,
            output_after_eof: false,
            redial: RedialWatch::default(),
            last_output: now,
            next_sequence: None,
            gap_told: false,
            received: 0,
            missing: None,
            last: None,
            untold: 0,
            progress: false,
            opened: None,
            flush_by: None,
            close_due: false,
            end: None,
            yielded: false,
            events: VecDeque::new(),
        }
    }

    /// How many bytes may be read from the local side now; 0 says leave it alone.
    pub fn local_room(&self) -> usize {
        let ended = self.end.is_some() || self.last.is_some();
        let open = !ended && self.eof.is_none() && self.flush_by.is_none();
        if open { LOCAL_CAP.saturating_sub(self.local.len()) } else { 0 }
    }

    /// Whether to read on from the far side. Once the session has ended there is no need to.
    pub fn wants_remote(&self) -> bool {
        let room = self.deliver_bytes < DELIVER_CAP && self.deliver.len() < DELIVER_PIECES;
        self.end.is_none() && room
    }

    /// Whether everything is done: ended, the Close frame taken, all bytes delivered.
    pub fn is_finished(&self) -> bool {
        self.end.is_some() && !self.close_due && self.deliver.is_empty()
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether anything came from the target.
    pub fn has_output(&self) -> bool {
        self.outputs > 0
    }

    /// Whether anything came from the target after the local end of file.
    pub fn has_output_after_eof(&self) -> bool {
        self.output_after_eof
    }

    /// Takes bytes from the local side, as many as [`Self::local_room`] allows.
    pub fn handle_local(&mut self, now: Instant, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.local_room() || self.end.is_some());
        if self.end.is_some() || bytes.is_empty() {
            return;
        }
        if self.greeting == Greeting::Nothing {
            let ssh = bytes.iter().zip(b"SSH-").all(|(a, b)| a == b);
            self.greeting = if ssh { Greeting::Ssh } else { Greeting::Other };
        }
        self.last_input = now;
        self.local.extend_from_slice(bytes);
    }

    /// The local side has sent all. What it sent goes out, and what comes in is still delivered.
    pub fn handle_local_eof(&mut self, now: Instant) {
        self.eof.get_or_insert(now);
        self.keepalive_due = false;
    }

    /// The local side takes no more bytes: what waits for it is dropped, and the session is closed
    /// once what it sent has gone out, but within `grace`.
    pub fn handle_local_gone(&mut self, now: Instant, grace: Duration) {
        self.discard = true;
        self.deliver.clear();
        self.deliver_bytes = 0;
        self.note_reading();
        self.handle_shutdown(now, grace);
    }

    /// The session is to be closed once what the local side sent has gone out, within `grace`.
    pub fn handle_shutdown(&mut self, now: Instant, grace: Duration) {
        if self.flush_by.is_none() {
            self.handle_local_eof(now);
            self.flush_by = Some(now + grace);
        }
        if self.ready.is_none() {
            self.local.clear();
        }
        if !self.is_connected() {
            // Nothing can go out, and nobody waits for it to.
            self.finish(End::Local, false);
        }
    }

    /// The socket has taken nothing for a while, and takes something again: what it holds reaches
    /// the far side all at once, as if it were sent now.
    pub fn handle_unblocked(&mut self, now: Instant) {
        self.pace.handle_unblocked(now);
    }

    /// Since when the socket has taken nothing, if there is something that it has not taken.
    pub fn handle_socket(&mut self, now: Instant, blocked: Option<Instant>) {
        let position = self.pace.position();
        if blocked.is_none() && position > self.taken.0 {
            self.taken = (position, now);
        }
        self.blocked = blocked;
    }

    /// The next message for the WebSocket.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if self.end.is_none() && !self.is_connected() {
            return None;
        }
        if self.end.is_none()
            && let Some(message) = self.transmit_again(now)
        {
            return Some(message);
        }
        let is_over = self.end.is_some() || self.last.is_some();
        if !is_over && self.ready.is_some() && self.resend.is_none() {
            let payload = match self.local.len() {
                0 => 0,
                queued => self.pace.allowance(now, queued),
            };
            if payload > 0 {
                let payload = self.local.split_to(payload).freeze();
                self.pace.spend(now, payload.len());
                self.last_input = now;
                self.redial.handle_input();
                return self.transmit_new(now, FrameType::INPUT, payload);
            }
            if std::mem::take(&mut self.keepalive_due)
                && let Some(message) = self.transmit_keepalive(now)
            {
                return Some(message);
            }
        }
        if self.flush_by.is_some() && self.local.is_empty() && self.resend.is_none() {
            self.finish(End::Local, true);
        }
        if std::mem::take(&mut self.close_due) {
            let payload = Bytes::from_static(b"1");
            return self.transmit(now, FrameType::CLOSE, self.replay.last(), payload);
        }
        None
    }

    /// The next bytes for the local side.
    pub fn poll_deliver(&mut self) -> Option<Bytes> {
        let bytes = self.deliver.pop_front()?;
        self.deliver_bytes -= bytes.len();
        self.note_reading();
        Some(bytes)
    }

    /// What has happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn make_ready(&mut self, now: Instant) {
        if self.ready.is_none() {
            self.ready = Some(now);
            self.tell(Event::Ready);
        }
    }

    fn make_reached(&mut self, now: Instant) {
        self.make_ready(now);
        if !std::mem::replace(&mut self.reached, true) {
            self.tell(Event::Reached);
        }
    }

    fn queue(&mut self, bytes: Bytes) {
        if !self.discard && !bytes.is_empty() {
            self.deliver_bytes += bytes.len();
            self.deliver.push_back(bytes);
            self.note_reading();
        }
    }

    /// An Input or a Resize that is sent for the first time.
    fn transmit_new(&mut self, now: Instant, kind: FrameType, payload: Bytes) -> Option<Bytes> {
        let has_payload = kind == FrameType::INPUT && !payload.is_empty();
        let sequence = self.replay.push(kind, payload.clone());
        self.newest = Some(sequence);
        if has_payload {
            self.note_unacked(now, sequence);
        }
        self.forget_unasked();
        self.transmit(now, kind, sequence, payload)
    }

    fn transmit(
        &mut self,
        now: Instant,
        kind: FrameType,
        input: u32,
        payload: Bytes,
    ) -> Option<Bytes> {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let (channel_id, sequence) = if self.version.is_resumable() {
            let sequence = Sequence::Pair { input, output: self.received };
            (self.channel_id.clone(), sequence)
        } else {
            // The two layouts agree: a far side that goes on in 1.02 sees no gap (PROTOCOL.md, 2). In 1.01
            // every frame has a number of its own, the Close too.
            let is_numbered = matches!(kind, FrameType::INPUT | FrameType::RESIZE);
            let sequence = i64::from(input) + i64::from(!is_numbered);
            (Bytes::new(), Sequence::Single(sequence))
        };
        self.last_sent = now;
        self.keepalive_due = false;
        self.untold = 0;
        self.output_bytes = 0;
        let frame = Frame {
            kind,
            version: self.version,
            channel_id,
            instance_id: Bytes::new(),
            created_ms: self.config.unix_ms.saturating_add(elapsed.try_into().unwrap_or(0)),
            sequence,
            payload,
        };
        // Ids come from a decoded frame and payloads are at most 2,048 bytes: it always fits.
        frame.encode().ok()
    }

    /// Ends the session, once. `tell` says whether the far side still has to hear of it.
    fn finish(&mut self, end: End, tell: bool) {
        if self.end.is_some() {
            return;
        }
        if let Some(identification) = &mut self.identification {
            let rest = identification.rest();
            self.queue(Bytes::from_static(rest));
        }
        self.close_due = tell && self.is_connected() && self.heeds_close(&end);
        self.end = Some(end.clone());
        self.tell(Event::Ended(end));
    }

    /// Events are bounded by being dropped if nobody asks for them.
    fn tell(&mut self, event: Event) {
        if self.events.len() < 64 || matches!(event, Event::Ended(_)) {
            self.events.push_back(event);
        }
    }
}
