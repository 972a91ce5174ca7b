//! One frame of the session stream, written and read: the stand-in's own code, which shares nothing with the client's.
//!
//! Both layouts, 1.01 and 1.02, are 30 bytes and two ids before the payload, little-endian throughout. The
//! eight bytes of counters and the four of length are what differs.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Most payload a frame of a port session may carry.
pub(crate) const MAX_PAYLOAD: usize = 2_048;
/// Most payload a frame of a shell session may carry.
pub(crate) const MAX_SHELL_PAYLOAD: usize = 1_024;

/// The frame types that have a name; others are numbers.
pub(crate) mod kind {
    pub(crate) const INPUT: u32 = 0;
    pub(crate) const OUTPUT: u32 = 1;
    pub(crate) const RESIZE: u32 = 2;
    pub(crate) const CLOSE: u32 = 3;
    pub(crate) const STATUS: u32 = 5;
    pub(crate) const SYNC: u32 = 6;
}

/// The layout, and with it the counters it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counters {
    /// 1.01: one for the frames of a direction.
    V101 { sequence: i64 },
    /// 1.02: one for each direction, in every frame.
    V102 { input: u32, output: u32 },
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u32,
    pub(crate) channel: String,
    pub(crate) instance: String,
    pub(crate) created_ms: u64,
    pub(crate) counters: Counters,
    pub(crate) payload: Bytes,
}

/// Why bytes are no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The bytes end inside the header.
    #[error("the message ends inside the frame's header, before its {0}")]
    Short(&'static str),
    /// A version that is neither 1.01 nor 1.02.
    #[error("unknown version {0:?}")]
    Version(String),
    /// An id that is not text.
    #[error("the {0} id is not UTF-8")]
    Id(&'static str),
    /// No time of creation.
    #[error("the time of creation is 0")]
    Created,
    /// The length field and the message disagree.
    #[error("the length field says {said}, the payload has {found} bytes")]
    Length { said: usize, found: usize },
    /// 1.02: the encoding and reserved bytes must be 0.
    #[error("encoding {0} and reserved byte {1} must be 0")]
    Reserved(u8, u8),
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], FrameError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(FrameError::Short(what))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FrameError> {
        self.take(N, what)?.try_into().map_err(|_| FrameError::Short(what))
    }

    fn id(&mut self, what: &'static str) -> Result<String, FrameError> {
        let [length] = self.array(what)?;
        let bytes = self.take(usize::from(length), what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| FrameError::Id(what))
    }
}

impl Frame {
    /// Reads one message.
    pub(crate) fn decode(message: &Bytes) -> Result<Self, FrameError> {
        let mut reader = Reader { rest: message };
        let kind = u32::from_le_bytes(reader.array("type")?);
        let version: [u8; 4] = reader.array("version")?;
        let channel = reader.id("channel")?;
        let instance = reader.id("instance")?;
        let created_ms = u64::from_le_bytes(reader.array("time of creation")?);
        let (counters, said) = match &version {
            b"1.01" => {
                let sequence = i64::from_le_bytes(reader.array("sequence")?);
                let length = u32::from_le_bytes(reader.array("length")?);
                (Counters::V101 { sequence }, usize::try_from(length).unwrap_or(usize::MAX))
            }
            b"1.02" => {
                let input = u32::from_le_bytes(reader.array("input sequence")?);
                let output = u32::from_le_bytes(reader.array("output sequence")?);
                let length = u16::from_le_bytes(reader.array("length")?);
                let [encoding, reserved] = reader.array("encoding")?;
                if (encoding, reserved) != (0, 0) {
                    return Err(FrameError::Reserved(encoding, reserved));
                }
                (Counters::V102 { input, output }, usize::from(length))
            }
            other => return Err(FrameError::Version(String::from_utf8_lossy(other).into_owned())),
        };
        if created_ms == 0 {
            return Err(FrameError::Created);
        }
        let found = reader.rest.len();
        if said != found {
            return Err(FrameError::Length { said, found });
        }
        let payload = message.slice(message.len() - found..);
        Ok(Self { kind, channel, instance, created_ms, counters, payload })
    }

    /// Writes one message. Ids over 255 bytes are cut: the gateway makes its own, which are short.
    pub(crate) fn encode(&self) -> Bytes {
        let size = 30 + self.channel.len() + self.instance.len() + self.payload.len();
        let mut out = BytesMut::with_capacity(size);
        out.put_u32_le(self.kind);
        out.put_slice(match self.counters {
            Counters::V101 { .. } => b"1.01",
            Counters::V102 { .. } => b"1.02",
        });
        for id in [&self.channel, &self.instance] {
            let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
            out.put_u8(length);
            out.put_slice(&id.as_bytes()[..usize::from(length)]);
        }
        out.put_u64_le(self.created_ms);
        match self.counters {
            Counters::V101 { sequence } => {
                out.put_i64_le(sequence);
                out.put_u32_le(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
            }
            Counters::V102 { input, output } => {
                out.put_u32_le(input);
                out.put_u32_le(output);
                out.put_u16_le(u16::try_from(self.payload.len()).unwrap_or(u16::MAX));
                out.put_u16_le(0);
            }
        }
        out.put_slice(&self.payload);
        out.freeze()
    }
}

/// The payload of a Stream status: the state, then the limit big-endian in as few bytes as it needs.
pub(crate) fn stream_status(bits_per_second: u32) -> Bytes {
    let bytes = bits_per_second.to_be_bytes();
    let skip = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
    let mut out = BytesMut::with_capacity(5);
    out.put_u8(7);
    out.put_slice(&bytes[skip..]);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/frames.json")).unwrap()
    }

    fn bytes(hex: &Value) -> Bytes {
        let digits = hex.as_str().unwrap().as_bytes();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn frame(vector: &Value) -> Frame {
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let number = |name: &str| u32::try_from(vector[name].as_u64().unwrap()).unwrap();
        Frame {
            kind: number("type"),
            channel: text("channel_id"),
            instance: text("instance_id"),
            created_ms: vector["created_ms"].as_u64().unwrap(),
            counters: match vector["version"].as_str().unwrap() {
                "1.01" => Counters::V101 { sequence: vector["sequence"].as_i64().unwrap() },
                _ => Counters::V102 { input: number("input_seq"), output: number("output_seq") },
            },
            payload: bytes(&vector["payload_hex"]),
        }
    }

    #[test]
    fn every_vector_both_ways() {
        let all = vectors();
        let vectors = all["frames"].as_array().unwrap();
        assert!(vectors.len() >= 18);
        for vector in vectors {
            let wire = bytes(&vector["frame_hex"]);
            let frame = frame(vector);
            assert_eq!(Frame::decode(&wire).as_ref(), Ok(&frame), "{}", vector["name"]);
            assert_eq!(frame.encode(), wire, "{}", vector["name"]);
        }
    }

    #[test]
    fn every_malformed_vector_is_refused() {
        for vector in vectors()["malformed"].as_array().unwrap() {
            assert!(Frame::decode(&bytes(&vector["frame_hex"])).is_err(), "{}", vector["name"]);
        }
    }

    #[test]
    fn no_prefix_of_a_frame_is_a_frame() {
        for vector in vectors()["frames"].as_array().unwrap() {
            let wire = bytes(&vector["frame_hex"]);
            for end in 0..wire.len() {
                assert!(
                    Frame::decode(&wire.slice(..end)).is_err(),
                    "{} cut at {end}",
                    vector["name"]
                );
            }
        }
    }

    #[test]
    fn strict_about_length_version_and_reserved_bytes() {
        let vector = &vectors()["frames"][0];
        let mut longer = bytes(&vector["frame_hex"]).to_vec();
        longer.push(0);
        assert_eq!(Frame::decode(&longer.into()), Err(FrameError::Length { said: 5, found: 6 }));
        let mut newer = bytes(&vector["frame_hex"]).to_vec();
        newer[7] = b'9';
        assert_eq!(Frame::decode(&newer.into()), Err(FrameError::Version("1.09".into())));
        let new = Frame {
            kind: kind::SYNC,
            channel: "d-1".into(),
            instance: String::new(),
            created_ms: 1,
            counters: Counters::V102 { input: 1, output: 2 },
            payload: Bytes::new(),
        };
        let mut wire = new.encode().to_vec();
        let last = wire.len() - 1;
        wire[last] = 1;
        assert_eq!(Frame::decode(&wire.into()), Err(FrameError::Reserved(0, 1)));
    }

    #[test]
    fn a_limit_takes_as_few_bytes_as_it_needs() {
        assert_eq!(stream_status(0)[..], [7, 0]);
        assert_eq!(stream_status(8_000)[..], [7, 0x1f, 0x40]);
        assert_eq!(stream_status(1_638_400)[..], [7, 0x19, 0, 0]);
        assert_eq!(stream_status(u32::MAX)[..], [7, 255, 255, 255, 255]);
    }
}
