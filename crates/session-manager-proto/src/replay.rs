//! What was sent and is not yet acknowledged (docs/protocol.md, 8), to be sent again if it has to be.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::FrameType;

/// The most payload bytes that are kept. OpenSSH lets a channel's window of 2 MiB go unanswered.
pub(crate) const REPLAY_CAP: usize = 4 * 1024 * 1024;
/// The most frames that are kept, since small ones cost more than their bytes.
pub(crate) const REPLAY_FRAMES: usize = 16 * 1024;

/// Frames of one direction, oldest first and without gaps in their sequence.
///
/// A peer may acknowledge late, or never: the oldest frames are dropped at the bounds. That costs
/// nothing unless the peer requests them later.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    kept: VecDeque<(FrameType, Bytes)>,
    bytes: usize,
    /// The sequence of the last frame that was sent; 0 before the first.
    last: u32,
    /// Whatever is up to this sequence has arrived.
    acknowledged: u32,
    /// Whether the peer has ever acknowledged anything.
    peer_acknowledges: bool,
}

/// An acknowledgement that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverSent;

/// The requested frame is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten;

impl Replay {
    /// Keeps an Input or a Resize that is sent for the first time, and gives its sequence: the first
    /// one has 1.
    pub(crate) fn push(&mut self, kind: FrameType, payload: Bytes) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.bytes += payload.len();
        self.kept.push_back((kind, payload));
        while self.bytes > REPLAY_CAP || self.kept.len() > REPLAY_FRAMES {
            self.pop();
        }
        self.last
    }

    /// The sequence of the last frame that was sent; 0 before the first.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// The peer has received everything up to a sequence. Whether that is news: one that is behind its
    /// last acknowledgement has no effect.
    ///
    /// # Errors
    /// When no such frame was ever sent.
    pub(crate) fn acknowledge(&mut self, up_to: u32) -> Result<bool, NeverSent> {
        let outstanding = self.last.wrapping_sub(self.acknowledged);
        match up_to.wrapping_sub(self.acknowledged) {
            new if new <= outstanding => {
                self.acknowledged = up_to;
                self.peer_acknowledges |= new > 0;
                let left = usize::try_from(outstanding - new).unwrap_or(usize::MAX);
                while self.kept.len() > left {
                    self.pop();
                }
                Ok(new > 0)
            }
            // The counter wraps: the greater half of all distances is behind.
            behind if behind > u32::MAX / 2 => Ok(false),
            _ => Err(NeverSent),
        }
    }

    /// The frame to send again after the peer has requested all from a sequence on. The last sequence
    /// that it has acknowledged is accepted as well: a peer may report its position in either way.
    ///
    /// # Errors
    /// When the requested frame is not kept any more.
    pub(crate) fn resume_at(&self, from: u32) -> Result<u32, Forgotten> {
        let next = self.acknowledged.wrapping_add(1);
        let from = if from == self.acknowledged { next } else { from };
        let oldest = self.last.wrapping_add(1).wrapping_sub(self.kept_frames());
        // At a distance from the end: the requested frame has to be kept, or be the next one.
        let (asked, kept) = (self.distance(from), self.distance(oldest));
        if asked <= kept { Ok(from) } else { Err(Forgotten) }
    }

    /// A frame that is kept.
    pub(crate) fn get(&self, sequence: u32) -> Option<&(FrameType, Bytes)> {
        let back = usize::try_from(self.last.wrapping_sub(sequence)).ok()?;
        let index = self.kept.len().checked_sub(back.checked_add(1)?)?;
        self.kept.get(index)
    }

    /// The sequence of the oldest frame that is kept.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (!self.kept.is_empty()).then(|| self.last.wrapping_add(1).wrapping_sub(self.kept_frames()))
    }

    /// Drops all frames: the peer will not request them.
    pub(crate) fn forget(&mut self) {
        self.acknowledged = self.last;
        self.kept.clear();
        self.bytes = 0;
    }

    /// Whether the peer has ever acknowledged anything.
    pub(crate) fn peer_acknowledges(&self) -> bool {
        self.peer_acknowledges
    }

    /// Whether all that was sent has arrived.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.last == self.acknowledged
    }

    /// How many payload bytes are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn kept_frames(&self) -> u32 {
        u32::try_from(self.kept.len()).unwrap_or(u32::MAX)
    }

    /// How many frames there are from a sequence to the end.
    fn distance(&self, from: u32) -> u32 {
        self.last.wrapping_add(1).wrapping_sub(from)
    }

    fn pop(&mut self) {
        if let Some((_, payload)) = self.kept.pop_front() {
            self.bytes -= payload.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(frames: u32) -> Replay {
        let mut replay = Replay::default();
        for frame in 1..=frames {
            let payload = Bytes::from(vec![u8::try_from(frame).unwrap(); 3]);
            assert_eq!(replay.push(FrameType::INPUT, payload), frame);
        }
        replay
    }

    #[test]
    fn what_is_acknowledged_is_forgotten_and_the_rest_is_there() {
        let mut replay = replay(5);
        assert_eq!(replay.acknowledge(3), Ok(true));
        assert_eq!(replay.bytes(), 6);
        assert_eq!((replay.get(3), replay.get(6)), (None, None));
        assert_eq!(replay.get(4).unwrap().1[..], [4; 3]);
        assert_eq!(replay.get(5).unwrap().1[..], [5; 3]);
        assert_eq!(replay.acknowledge(1), Ok(false), "it came late");
        assert_eq!(replay.acknowledge(6), Err(NeverSent));
        assert_eq!(replay.bytes(), 6);
        assert_eq!(replay.acknowledge(5), Ok(true));
        assert!(replay.is_empty() && replay.bytes() == 0);
    }

    #[test]
    fn a_peer_may_ask_for_what_it_has_not_acknowledged() {
        let mut replay = replay(5);
        assert_eq!(replay.resume_at(1), Ok(1));
        assert_eq!(replay.resume_at(0), Ok(1), "it has received none");
        replay.acknowledge(2).unwrap();
        assert_eq!(replay.resume_at(2), Ok(3), "the last one that it has");
        assert_eq!(replay.resume_at(3), Ok(3));
        assert_eq!(replay.resume_at(5), Ok(5));
        assert_eq!(replay.resume_at(6), Ok(6), "nothing is missing");
        assert_eq!(replay.resume_at(1), Err(Forgotten));
        assert_eq!(replay.resume_at(7), Err(Forgotten));
        assert_eq!(Replay::default().resume_at(1), Ok(1));
        assert_eq!(Replay::default().resume_at(0), Ok(1));
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let mut replay = Replay::default();
        let payload = Bytes::from(vec![0; 2048]);
        for _ in 0..5000 {
            replay.push(FrameType::INPUT, payload.clone());
        }
        assert!(replay.bytes() <= REPLAY_CAP);
        assert_eq!(replay.resume_at(1), Err(Forgotten));
        assert_eq!(replay.resume_at(5000 - 2047), Ok(5000 - 2047));
        assert_eq!(replay.acknowledge(5000), Ok(true));
        let mut small = Replay::default();
        for _ in 0..REPLAY_FRAMES + 10 {
            small.push(FrameType::RESIZE, Bytes::new());
        }
        assert_eq!(small.kept.len(), REPLAY_FRAMES);
        assert_eq!(small.resume_at(10), Err(Forgotten));
        assert_eq!(small.resume_at(11), Ok(11));
    }

    #[test]
    fn the_counter_may_wrap() {
        let mut replay =
            Replay { last: u32::MAX - 2, acknowledged: u32::MAX - 2, ..Replay::default() };
        let sequences: Vec<_> =
            (0..5).map(|n| replay.push(FrameType::INPUT, Bytes::from(vec![n]))).collect();
        assert_eq!(sequences, [u32::MAX - 1, u32::MAX, 0, 1, 2]);
        assert_eq!(replay.acknowledge(u32::MAX), Ok(true));
        assert_eq!(replay.resume_at(0), Ok(0));
        assert_eq!(replay.get(1).unwrap().1[..], [3]);
        assert_eq!(replay.acknowledge(1), Ok(true));
        assert_eq!(replay.acknowledge(u32::MAX), Ok(false), "behind");
        assert_eq!(replay.acknowledge(3), Err(NeverSent));
        assert_eq!(replay.get(2).unwrap().1[..], [4]);
    }
}
