//! The link: one socket, which keeps the order, and delivers late, or nothing for a while.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};

use super::{Disconnect, Duration, Frame, FrameType, Instant};

/// What the client sends.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Frame(Frame),
    Ping(Bytes),
    Pong,
}

/// What the gateway sends.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Frame(Frame),
    Pong(Bytes),
    /// The socket ends.
    Gone(Disconnect),
}

impl Up {
    pub(super) fn is_sync(&self) -> bool {
        matches!(self, Self::Frame(frame) if frame.kind == FrameType::SYNC)
    }
}

impl Down {
    pub(super) fn is_sync(&self) -> bool {
        matches!(self, Self::Frame(frame) if frame.kind == FrameType::SYNC)
    }
}

/// One direction of the socket.
#[derive(Debug)]
pub(super) struct Way<T> {
    delay: Duration,
    stalled_until: Instant,
    /// What is on it, and when it arrives unless the way stalls.
    queue: VecDeque<(Instant, T)>,
}

impl<T: Clone> Way<T> {
    pub(super) fn new(now: Instant, delay: Duration) -> Self {
        Self { delay, stalled_until: now, queue: VecDeque::new() }
    }

    pub(super) fn send(&mut self, now: Instant, what: T) {
        self.queue.push_back((now + self.delay, what));
    }

    /// When the next message arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| self.stalled_until.max(*at))
    }

    pub(super) fn arrived(&mut self, now: Instant) -> Option<T> {
        self.next().filter(|at| *at <= now)?;
        self.queue.pop_front().map(|(_, what)| what)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing arrives until an instant.
    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    pub(super) fn heal(&mut self, now: Instant) {
        self.stalled_until = now;
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// The first is lost.
    pub(super) fn lose(&mut self) -> Option<T> {
        self.queue.pop_front().map(|(_, what)| what)
    }

    pub(super) fn double(&mut self) {
        self.queue.extend(self.queue.back().cloned());
    }

    /// The first two change places, if `may_swap` says so of both.
    pub(super) fn swap(&mut self, may_swap: impl Fn(&T) -> bool) {
        if let [Some((_, first)), Some((_, second))] = [0, 1].map(|index| self.queue.get(index))
            && may_swap(first)
            && may_swap(second)
        {
            let (first, second) = (first.clone(), second.clone());
            (self.queue[0].1, self.queue[1].1) = (second, first);
        }
    }
}

/// The bytes of one direction of the stream, less the first ones that nobody asks for again.
#[derive(Debug, Default)]
pub(super) struct Stream {
    start: usize,
    bytes: BytesMut,
}

impl Stream {
    /// How many bytes were ever written.
    pub(super) fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes of a range, if they were written.
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(range.start.checked_sub(self.start)?..range.end - self.start)
    }

    pub(super) fn forget_before(&mut self, position: usize) {
        self.bytes.advance(position - self.start);
        self.start = position;
    }
}

/// How many bytes [`pattern`] repeats after; a prime, so that no frame has its length.
const PERIOD: usize = 65_537;

/// The bytes of a stream from a position on: one that is out of place is seen. No eight of them come
/// again within a period, and the first eight not at all: a stream that says again how it began looks
/// like that of a target which was dialled again.
pub(super) fn pattern(at: usize, len: usize) -> Bytes {
    static BYTES: LazyLock<Bytes> =
        LazyLock::new(|| (0..2 * PERIOD).map(|index| mixed(index % PERIOD)).collect());
    let from = at % PERIOD;
    assert!(len <= PERIOD, "too long for one frame");
    let bytes = BYTES.slice(from..from + len);
    if at >= 8 {
        bytes
    } else {
        (at..at + len).zip(bytes).map(|(at, byte)| if at < 8 { !byte } else { byte }).collect()
    }
}

fn mixed(index: usize) -> u8 {
    let mixed = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 56) as u8
}
