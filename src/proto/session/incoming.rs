//! What comes from the far side.

use std::time::Instant;

use bytes::Bytes;

use super::{Disconnect, End, Event, Failure, Greeting, RemoteEnd, Session};
use crate::proto::frame::{Frame, FrameType, Sequence, Version};
use crate::proto::status::Status;

/// What both sides of an SSH stream say first.
const SSH: &[u8] = b"SSH-";

impl Session {
    /// Takes one binary message of the WebSocket.
    pub fn handle_frame(&mut self, now: Instant, message: Bytes) {
        if self.end.is_some() {
            return;
        }
        let frame = match Frame::decode(message) {
            Ok(frame) => frame,
            Err(error) => return self.finish(End::Failed(Failure::Malformed(error)), true),
        };
        self.learn(&frame);
        match frame.kind {
            FrameType::OUTPUT => self.handle_output(now, frame),
            FrameType::STATUS => self.handle_status(now, &frame.payload),
            FrameType::CLOSE => self.finish(End::Remote(RemoteEnd::Close), false),
            FrameType::SYNC => self.handle_sync(&frame),
            kind => self.tell(Event::Skipped(format!("a frame of type {}", kind.0))),
        }
    }

    /// The far side has sent a message that cannot be a frame.
    pub fn handle_violation(&mut self, what: &str) {
        self.finish(End::Failed(Failure::NotAFrame(what.to_owned())), true);
    }

    /// The WebSocket is gone.
    pub fn handle_disconnect(&mut self, disconnect: Disconnect) {
        let begun = self.opened.is_some() || self.outputs > 0;
        let end = if disconnect.is_normal() && begun {
            End::Remote(RemoteEnd::WebSocket)
        } else {
            End::Failed(Failure::Disconnected(disconnect))
        };
        self.close_due = false;
        self.finish(end, false);
    }

    /// Takes over what a frame tells beside its payload.
    fn learn(&mut self, frame: &Frame) {
        if self.channel_id.is_empty() {
            self.channel_id = frame.channel_id.clone();
        }
        if frame.version > self.version {
            self.version = Version::V1_02;
            self.tell(Event::Version(frame.version));
        }
    }

    fn handle_output(&mut self, now: Instant, frame: Frame) {
        match frame.sequence {
            Sequence::Single(got) => {
                let expected = self.next_sequence.replace(got.wrapping_add(1)).unwrap_or(got);
                if expected != got && !std::mem::replace(&mut self.gap_told, true) {
                    self.tell(Event::Gap { expected, got });
                }
            }
            Sequence::Pair { output: got, .. } => {
                let expected = self.received.wrapping_add(1);
                // The distance tells a duplicate from a gap even where the counter wraps.
                match got.wrapping_sub(expected) {
                    0 => self.received = got,
                    ahead if ahead < u32::MAX / 2 => {
                        return self.finish(End::Failed(Failure::Lost { expected, got }), true);
                    }
                    _ => return self.tell(Event::Skipped(format!("Output {got}, a duplicate"))),
                }
            }
        }
        self.last_output = now;
        self.make_ready(now);
        self.outputs = self.outputs.saturating_add(1);
        self.look_for_ssh(&frame.payload);
        let Some(identification) = &mut self.identification else {
            return self.queue(frame.payload);
        };
        let passed = identification.pass(frame.payload);
        self.queue(Bytes::from_static(passed.released));
        self.queue(passed.payload);
        if passed.ended {
            self.finish(End::Remote(RemoteEnd::Redialled), true);
        }
    }

    /// A stream is SSH's if its first bytes, either way, are `SSH-`. Only then can a second
    /// identification line be its end.
    fn look_for_ssh(&mut self, payload: &[u8]) {
        let Some(undecided) = SSH.get(self.ssh_matched..) else { return };
        let same = undecided.iter().zip(payload).take_while(|(a, b)| a == b).count();
        if same == undecided.len() || self.greeting == Greeting::Ssh {
            self.ssh_matched = usize::MAX;
        } else if same == payload.len() {
            self.ssh_matched += same;
        } else {
            self.ssh_matched = usize::MAX;
            self.identification = None;
        }
    }

    fn handle_status(&mut self, now: Instant, payload: &[u8]) {
        match Status::parse(payload) {
            Status::Progress(progress) => {
                self.progress = true;
                self.tell(Event::Progress(progress));
            }
            Status::Opened => {
                if self.opened.is_none() {
                    self.opened = Some(now);
                    self.tell(Event::Opened);
                }
            }
            Status::Limit(limit) => {
                self.pace.set_limit(now, limit);
                self.tell(Event::Limit(limit));
            }
            Status::Ended(reason) if reason.is_normal() => {
                self.finish(End::Remote(RemoteEnd::Status(reason)), false);
            }
            Status::Ended(reason) => self.finish(End::Failed(Failure::Ended(reason)), false),
            Status::Aborted(text) => self.finish(End::Failed(Failure::Aborted(text)), false),
            Status::Frozen => self.finish(End::Failed(Failure::Frozen), false),
            Status::Unknown(state) => self.tell(Event::Skipped(format!("a status {state:?}"))),
        }
    }

    /// Without a memory of what was sent, only a Sync that asks for nothing can be answered.
    fn handle_sync(&mut self, frame: &Frame) {
        match frame.sequence {
            Sequence::Pair { input, .. } if input.wrapping_sub(1) != self.inputs_sent => {
                self.finish(End::Failed(Failure::LostInput(input)), true);
            }
            _ => self.tell(Event::Skipped("a Sync that asks for nothing".into())),
        }
    }
}
