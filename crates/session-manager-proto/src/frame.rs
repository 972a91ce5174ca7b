//! One frame of the stream: decode and encode (docs/protocol.md, 2).
//!
//! A frame travels as one binary WebSocket message. All numbers are little-endian:
//!
//! | bytes | 1.01 | 1.02 |
//! |---|---|---|
//! | 4 | type, u32 | same |
//! | 4 | version, ASCII | same |
//! | 1+n | channel id | same |
//! | 1+m | instance id | same |
//! | 8 | created, ms since the epoch, never 0 | same |
//! | 8 | sequence, i64 | input sequence u32, output sequence u32 |
//! | 4 | payload length u32 | payload length u16, encoding u8 = 0, reserved u8 = 0 |
//! | rest | payload | payload |

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The most payload bytes that one Input frame of a port session may carry (docs/protocol.md, 4).
pub const MAX_PAYLOAD: usize = 2048;

/// The bytes of a header whose two ids are empty.
const HEADER_LEN: usize = 30;

/// The type of a frame (docs/protocol.md, 2). Values that are not named here are kept as they came; 7 is the
/// KeyExchange of encrypted shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameType(pub u32);

impl FrameType {
    /// Bytes from the client to the instance.
    pub const INPUT: Self = Self(0);
    /// Bytes from the instance to the client.
    pub const OUTPUT: Self = Self(1);
    /// The size of the terminal: rows, then columns, each u16, little-endian.
    pub const RESIZE: Self = Self(2);
    /// The end of the stream, either way; its payload is the ASCII digit `1`.
    pub const CLOSE: Self = Self(3);
    /// Requests the stream.
    pub const OPEN: Self = Self(4);
    /// The gateway or the agent reports its state, see [`crate::status`].
    pub const STATUS: Self = Self(5);
    /// Asks for frames to be sent again, either way; its payload is empty (1.02; docs/protocol.md, 8).
    pub const SYNC: Self = Self(6);
}

/// The version of a frame: four ASCII bytes, `d.dd`, compared as they stand (docs/protocol.md, 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 4]);

impl Version {
    /// Without resumption; what every stream starts with.
    pub const V1_01: Self = Self(*b"1.01");
    /// With acknowledgement and resumption.
    pub const V1_02: Self = Self(*b"1.02");

    /// Whether frames of this version are laid out as 1.02 is.
    pub fn is_resumable(self) -> bool {
        self > Self::V1_01
    }

    fn parse(bytes: [u8; 4]) -> Result<Self, DecodeError> {
        match bytes {
            [a, b'.', c, d] if [a, c, d].iter().all(u8::is_ascii_digit) => Ok(Self(bytes)),
            _ => Err(DecodeError::Version(bytes)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a frame stands in its stream (docs/protocol.md, 2 and 8). Its layout follows from the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// 1.01: one number, counted by the sender for its own frames.
    Single(i64),
    /// 1.02: how far each direction has come. Both count from 1; 0 says that there was none, and after
    /// [`u32::MAX`] comes 0.
    Pair {
        /// Of Input and Resize: this frame's number, or the last one that the peer has received.
        input: u32,
        /// Of Output: this frame's number, or the last one that the peer has received.
        output: u32,
    },
}

/// One frame (docs/protocol.md, 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the frame is for.
    pub kind: FrameType,
    /// The version that decides its layout; it has to agree with `sequence`.
    pub version: Version,
    /// The channel, up to 255 bytes; empty from a 1.01 client.
    pub channel_id: Bytes,
    /// The instance, up to 255 bytes; empty from a client.
    pub instance_id: Bytes,
    /// When the frame was made, in milliseconds since 1970-01-01 UTC; never 0.
    pub created_ms: u64,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// What it carries: up to [`MAX_PAYLOAD`] bytes of a port's Input, and in 1.02 at most [`u16::MAX`].
    pub payload: Bytes,
}

/// Why a message is not a frame: always an error of the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than a header has.
    #[error("a frame of {0} bytes, shorter than a header")]
    Short(usize),
    /// The version is not four ASCII bytes `d.dd`.
    #[error("a frame whose version is not readable: {0:02x?}")]
    Version([u8; 4]),
    /// The created time is 0, which no sender may write.
    #[error("a frame without a creation time")]
    Created,
    /// The length field disagrees with the bytes that follow the header.
    #[error("a frame that announces {stated} payload bytes and carries {actual}")]
    Length {
        /// What the header says.
        stated: usize,
        /// What is there.
        actual: usize,
    },
    /// An encoding of the payload that is not known (1.02).
    #[error("a frame whose payload has the unknown encoding {0}")]
    Encoding(u8),
}

/// Why a frame cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// An id longer than its length byte can say.
    #[error("an id of {0} bytes, more than 255")]
    Id(usize),
    /// A payload longer than its length field can say.
    #[error("a payload of {0} bytes, more than the length field holds")]
    Payload(usize),
}

impl Frame {
    /// Reads one message. The payload shares the message's memory.
    ///
    /// # Errors
    /// [`DecodeError`] for every message that is not one whole frame. The length field of a frame
    /// of unknown type is not checked, since such frames are skipped.
    pub fn decode(mut message: Bytes) -> Result<Self, DecodeError> {
        let short = DecodeError::Short(message.len());
        if message.len() < HEADER_LEN {
            return Err(short);
        }
        let kind = FrameType(message.get_u32_le());
        let mut version = [0; 4];
        message.copy_to_slice(&mut version);
        let version = Version::parse(version)?;
        let channel_id = take_id(&mut message).ok_or_else(|| short.clone())?;
        let instance_id = take_id(&mut message).ok_or_else(|| short.clone())?;
        if message.len() < HEADER_LEN - 10 {
            return Err(short);
        }
        let created_ms = message.get_u64_le();
        if created_ms == 0 {
            return Err(DecodeError::Created);
        }
        let (sequence, stated) = if version.is_resumable() {
            let sequence =
                Sequence::Pair { input: message.get_u32_le(), output: message.get_u32_le() };
            let stated = usize::from(message.get_u16_le());
            let encoding = message.get_u8();
            let _reserved = message.get_u8();
            if encoding != 0 {
                return Err(DecodeError::Encoding(encoding));
            }
            (sequence, stated)
        } else {
            let sequence = Sequence::Single(message.get_i64_le());
            (sequence, usize::try_from(message.get_u32_le()).unwrap_or(usize::MAX))
        };
        if kind.0 <= FrameType::SYNC.0 && stated != message.len() {
            return Err(DecodeError::Length { stated, actual: message.len() });
        }
        Ok(Self { kind, version, channel_id, instance_id, created_ms, sequence, payload: message })
    }

    /// Writes the frame as one message.
    ///
    /// # Errors
    /// [`EncodeError`] where an id or the payload is longer than its length field can say.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let ids = self.channel_id.len() + self.instance_id.len();
        let mut out = BytesMut::with_capacity(HEADER_LEN + ids + self.payload.len());
        out.put_u32_le(self.kind.0);
        out.put_slice(&self.version.0);
        for id in [&self.channel_id, &self.instance_id] {
            out.put_u8(u8::try_from(id.len()).map_err(|_| EncodeError::Id(id.len()))?);
            out.put_slice(id);
        }
        out.put_u64_le(self.created_ms);
        let too_long = |_| EncodeError::Payload(self.payload.len());
        match self.sequence {
            Sequence::Single(sequence) => {
                out.put_i64_le(sequence);
                out.put_u32_le(u32::try_from(self.payload.len()).map_err(too_long)?);
            }
            Sequence::Pair { input, output } => {
                out.put_u32_le(input);
                out.put_u32_le(output);
                out.put_u16_le(u16::try_from(self.payload.len()).map_err(too_long)?);
                out.put_u16_le(0);
            }
        }
        out.put_slice(&self.payload);
        Ok(out.freeze())
    }
}

fn take_id(message: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(message.try_get_u8().ok()?);
    (message.len() >= len).then(|| message.split_to(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        frames: Vec<Vector>,
        malformed: Vec<Malformed>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        #[serde(rename = "type")]
        kind: u32,
        version: String,
        channel_id: String,
        instance_id: String,
        created_ms: u64,
        sequence: Option<i64>,
        input_seq: Option<u32>,
        output_seq: Option<u32>,
        payload_hex: String,
        frame_hex: String,
    }

    #[derive(Deserialize)]
    struct Malformed {
        name: String,
        frame_hex: String,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../tests/data/frames.json")).unwrap()
    }

    fn hex(text: &str) -> Bytes {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn every_golden_frame_is_read_and_written() {
        let frames = vectors().frames;
        assert!(frames.len() >= 17);
        for vector in frames {
            let sequence = match (vector.sequence, vector.input_seq, vector.output_seq) {
                (Some(sequence), None, None) => Sequence::Single(sequence),
                (None, Some(input), Some(output)) => Sequence::Pair { input, output },
                other => panic!("{}: {other:?}", vector.name),
            };
            let frame = Frame {
                kind: FrameType(vector.kind),
                version: Version(vector.version.as_bytes().try_into().unwrap()),
                channel_id: vector.channel_id.into(),
                instance_id: vector.instance_id.into(),
                created_ms: vector.created_ms,
                sequence,
                payload: hex(&vector.payload_hex),
            };
            let message = hex(&vector.frame_hex);
            assert_eq!(Frame::decode(message.clone()), Ok(frame.clone()), "{}", vector.name);
            assert_eq!(frame.encode(), Ok(message), "{}", vector.name);
        }
    }

    #[test]
    fn every_malformed_frame_is_refused() {
        let malformed = vectors().malformed;
        assert!(malformed.len() >= 6);
        for vector in malformed {
            let result = Frame::decode(hex(&vector.frame_hex));
            assert!(result.is_err(), "{}: {result:?}", vector.name);
        }
    }

    fn output(payload: &'static [u8]) -> Frame {
        Frame {
            kind: FrameType::OUTPUT,
            version: Version::V1_01,
            channel_id: Bytes::from_static(b"d-1"),
            instance_id: Bytes::new(),
            created_ms: 1,
            sequence: Sequence::Single(7),
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn a_length_that_disagrees_is_refused_unless_the_type_is_unknown() {
        let mut message = output(b"abc").encode().unwrap().to_vec();
        message.push(b'!');
        let error = DecodeError::Length { stated: 3, actual: 4 };
        assert_eq!(Frame::decode(message.clone().into()), Err(error));
        message[0] = 9;
        assert_eq!(Frame::decode(message.into()).unwrap().payload.as_ref(), b"abc!");
    }

    #[test]
    fn a_version_that_is_none_is_refused_and_a_newer_one_is_laid_out_as_1_02() {
        let mut message = output(b"").encode().unwrap().to_vec();
        message[4..8].copy_from_slice(b"1x01");
        assert_eq!(Frame::decode(message.clone().into()), Err(DecodeError::Version(*b"1x01")));
        message[4..8].copy_from_slice(b"1.10");
        let frame = Frame::decode(message.into()).unwrap();
        assert_eq!(frame.sequence, Sequence::Pair { input: 7, output: 0 });
    }

    #[test]
    fn an_encoding_that_is_not_known_is_refused() {
        let mut frame = output(b"abc");
        frame.version = Version::V1_02;
        frame.sequence = Sequence::Pair { input: 1, output: 2 };
        let mut message = frame.encode().unwrap().to_vec();
        let encoding = message.len() - 3 - 2;
        message[encoding] = 1;
        assert_eq!(Frame::decode(message.into()), Err(DecodeError::Encoding(1)));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut frame = output(b"");
        frame.channel_id = vec![b'x'; 256].into();
        assert_eq!(frame.encode(), Err(EncodeError::Id(256)));
        frame.channel_id = Bytes::new();
        frame.sequence = Sequence::Pair { input: 0, output: 0 };
        frame.payload = vec![0; 65_536].into();
        assert_eq!(frame.encode(), Err(EncodeError::Payload(65_536)));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(message in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Frame::decode(message.into());
        }

        #[test]
        fn what_was_decoded_encodes_to_the_same_bytes(
            kind in 0u32..7,
            resumable: bool,
            channel in proptest::collection::vec(any::<u8>(), 0..=255),
            instance in proptest::collection::vec(any::<u8>(), 0..=255),
            created in 1u64..,
            sequence: i64,
            payload in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let [a, b, c, d, e, f, g, h] = sequence.to_le_bytes();
            let pair = Sequence::Pair {
                input: u32::from_le_bytes([a, b, c, d]),
                output: u32::from_le_bytes([e, f, g, h]),
            };
            let frame = Frame {
                kind: FrameType(kind),
                version: if resumable { Version::V1_02 } else { Version::V1_01 },
                channel_id: channel.into(),
                instance_id: instance.into(),
                created_ms: created,
                sequence: if resumable { pair } else { Sequence::Single(sequence) },
                payload: payload.into(),
            };
            let message = frame.encode().unwrap();
            prop_assert_eq!(Frame::decode(message.clone()).unwrap(), frame);
        }
    }
}
