//! The stream of Alibaba Cloud ECS Session Manager as a state machine: no socket, no clock, no runtime.
//!
//! [`session::Session`] decides whether a byte arrives, arrives once and arrives in order. The time is an
//! argument of every call, and the caller moves the bytes and waits, so a test can try every order of
//! events.
//!
//! "docs/protocol.md" in these docs is the description of the stream, in the repository of the crate. Its
//! chapters: 1 opening, 2 frame, 3 Status frames, 4 pace, 5 generations of the agent, 6 staying open, 7
//! ending, 8 version 1.02: sequence, acknowledgement, resumption, 9 shells.
//!
//! **Units**: sizes are bytes, and count payload alone unless a name says otherwise; rates are bits per second,
//! as on the wire; times are [`std::time::Duration`] and [`std::time::Instant`], times of day milliseconds since
//! 1970-01-01 UTC.
//!
//! - [`session`]: one stream from the WebSocket's upgrade to its end.
//! - [`frame`]: one frame, decoded and encoded.
//! - [`status`]: the content of a Status frame, and the reasons of an end.
//! - [`generation`]: how the agents of an instance differ, by their version.
//!
//! Not public are `flow` (how fast Input may be sent, how much of it may be in flight, what has arrived) and
//! `replay` (what was sent and is not yet acknowledged).
//!
//! # Example
//!
//! The example plays both sides: the local side sends a request, the gateway opens the stream and the
//! target answers.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::Bytes;
//! use session_manager_proto::frame::{Frame, FrameType, Sequence, Version};
//! use session_manager_proto::session::{Config, End, Session};
//!
//! fn from_gateway(kind: FrameType, sequence: i64, payload: &'static [u8]) -> Bytes {
//!     let frame = Frame {
//!         kind,
//!         version: Version::V1_01,
//!         channel_id: Bytes::from_static(b"channel"),
//!         instance_id: Bytes::from_static(b"i-1"),
//!         created_ms: 1_700_000_000_000,
//!         sequence: Sequence::Single(sequence),
//!         payload: Bytes::from_static(payload),
//!     };
//!     frame.encode().expect("the ids and the payload are short")
//! }
//!
//! let mut now = Instant::now();
//! let mut session = Session::new(now, Config::new(1_700_000_000_000));
//!
//! // Local bytes wait until the target can receive them.
//! session.handle_local(now, b"PING\r\n");
//! assert_eq!(session.poll_transmit(now), None);
//!
//! // The agent has joined (a Status frame with state 3). It dials the target within 1.5 s.
//! session.handle_frame(now, from_gateway(FrameType::STATUS, 0, &[3]));
//! now += Duration::from_millis(1500);
//! session.handle_timeout(now);
//! let sent = Frame::decode(session.poll_transmit(now).unwrap()).unwrap();
//! assert_eq!((sent.kind, &sent.payload[..]), (FrameType::INPUT, &b"PING\r\n"[..]));
//!
//! // The target answers, and then closes its connection.
//! session.handle_frame(now, from_gateway(FrameType::OUTPUT, 0, b"PONG\r\n"));
//! assert_eq!(session.poll_deliver().as_deref(), Some(&b"PONG\r\n"[..]));
//! session.handle_frame(now, from_gateway(FrameType::STATUS, 0, b"\x05ReadFromTargetPortFailed: EOF"));
//! assert!(matches!(session.end(), Some(End::Remote(_))));
//! assert!(session.is_finished());
//! ```

mod flow;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod generation;
mod identification;
mod reason;
mod redial;
mod replay;
pub mod session;
pub mod status;
mod timer;
