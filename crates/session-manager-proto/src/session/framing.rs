//! What the frames of a session carry beside their payload (docs/protocol.md, 2).

use std::time::Instant;

use bytes::Bytes;

use crate::frame::{Frame, FrameType, Sequence, Version};

/// The version and the channel of a session, learnt from the peer's frames.
#[derive(Debug)]
pub(super) struct Framing {
    started: Instant,
    unix_ms: u64,
    version: Version,
    channel_id: Bytes,
    /// Whether the Outputs are of 1.01, whatever the gateway's own frames are: the agent numbers nothing,
    /// acknowledges nothing, and delivers what is sent again twice.
    has_old_outputs: bool,
}

impl Framing {
    /// Frames that are created from `unix_ms` on, in milliseconds since the epoch.
    pub(super) fn new(now: Instant, unix_ms: u64) -> Self {
        Self {
            started: now,
            unix_ms,
            version: Version::V1_01,
            channel_id: Bytes::new(),
            has_old_outputs: false,
        }
    }

    /// Takes over the version and the channel of a frame of the peer. Whether that changes the version.
    pub(super) fn learn(&mut self, frame: &Frame) -> bool {
        if self.channel_id.is_empty() {
            self.channel_id = frame.channel_id.clone();
        }
        if frame.kind == FrameType::OUTPUT {
            self.has_old_outputs = !frame.version.is_resumable();
        }
        let is_newer = frame.version > self.version;
        if is_newer {
            self.version = Version::V1_02;
        }
        is_newer
    }

    /// Whether the peer acknowledges frames: gateway and agent speak 1.02.
    pub(super) fn has_acks(&self) -> bool {
        self.version.is_resumable() && !self.has_old_outputs
    }

    /// Whether another socket could go on with the stream.
    pub(super) fn is_resumable(&self) -> bool {
        self.has_acks() && !self.channel_id.is_empty()
    }

    pub(super) fn channel_id(&self) -> Bytes {
        self.channel_id.clone()
    }

    /// A frame as a message, with its own number or that of the last Input, and that of the last Output.
    pub(super) fn encode(
        &self,
        now: Instant,
        (kind, input, payload): (FrameType, u32, Bytes),
        output: u32,
    ) -> Option<Bytes> {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        let (channel_id, sequence) = if self.version.is_resumable() {
            (self.channel_id.clone(), Sequence::Pair { input, output })
        } else {
            // The two layouts agree: a peer that goes on in 1.02 sees no gap (docs/protocol.md, 2). In 1.01
            // every frame has a number of its own, the Close too.
            let is_numbered = matches!(kind, FrameType::INPUT | FrameType::RESIZE);
            let sequence = i64::from(input) + i64::from(!is_numbered);
            (Bytes::new(), Sequence::Single(sequence))
        };
        let frame = Frame {
            kind,
            version: self.version,
            channel_id,
            instance_id: Bytes::new(),
            created_ms: self.unix_ms.saturating_add(elapsed.try_into().unwrap_or(0)),
            sequence,
            payload,
        };
        // Ids come from a decoded frame and payloads are at most 2,048 bytes: it always fits.
        frame.encode().ok()
    }
}
