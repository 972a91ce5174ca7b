//! What comes from the peer.

use std::time::Instant;

use bytes::Bytes;

use super::{Disconnect, End, Event, Failure, Greeting, RemoteEnd, Session};
use crate::frame::{Frame, FrameType, Sequence, Version};
use crate::status::Status;

/// What both sides of an SSH stream say first.
const SSH: &[u8] = b"SSH-";

impl Session {
    /// Takes one binary message of the WebSocket.
    pub fn handle_frame(&mut self, now: Instant, message: Bytes) {
        if self.end.is_some() || !self.is_connected() {
            return;
        }
        let frame = match Frame::decode(message) {
            Ok(frame) => frame,
            Err(error) => return self.finish(End::Failed(Failure::Malformed(error)), true),
        };
        self.learn(&frame);
        self.handle_activity(now);
        match frame.kind {
            FrameType::OUTPUT => self.handle_output(now, frame),
            FrameType::STATUS => self.handle_status(now, &frame),
            FrameType::CLOSE => self.handle_end(now, RemoteEnd::Close),
            FrameType::SYNC => match frame.sequence {
                Sequence::Pair { input, .. } => self.handle_sync(input),
                Sequence::Single(_) => self.emit(Event::Skipped("a Sync of version 1.01".into())),
            },
            kind => self.emit(Event::Skipped(format!("a frame of type {}", kind.0))),
        }
    }

    /// The peer has sent a message that cannot be a frame.
    pub fn handle_violation(&mut self, what: &str) {
        self.finish(End::Failed(Failure::NotAFrame(what.to_owned())), true);
    }

    /// Takes over what a frame tells beside its payload.
    fn learn(&mut self, frame: &Frame) {
        if self.channel_id.is_empty() {
            self.channel_id = frame.channel_id.clone();
        }
        if frame.version > self.version {
            self.version = Version::V1_02;
            self.emit(Event::Version(frame.version));
        }
    }

    fn handle_output(&mut self, now: Instant, frame: Frame) {
        match frame.sequence {
            Sequence::Single(got) => {
                let expected = self.next_sequence.replace(got.wrapping_add(1)).unwrap_or(got);
                if expected != got && !std::mem::replace(&mut self.gap_reported, true) {
                    self.emit(Event::Gap { expected, got });
                }
            }
            Sequence::Pair { input, output: got } => {
                self.handle_acknowledged(now, input);
                if self.end.is_some() {
                    return;
                }
                let expected = self.received.wrapping_add(1);
                // The distance tells a duplicate from a gap even where the counter wraps.
                match got.wrapping_sub(expected) {
                    0 => {
                        self.received = got;
                        self.handle_next_output(now);
                        self.count_unacked_output(frame.payload.len());
                    }
                    ahead if ahead < u32::MAX / 2 => return self.handle_missing(now, got),
                    _ => return self.emit(Event::Skipped(format!("Output {got}, a duplicate"))),
                }
            }
        }
        self.last_output = now;
        self.make_reached(now);
        self.outputs = self.outputs.saturating_add(1);
        self.output_bytes = self.output_bytes.saturating_add(frame.payload.len());
        self.detect_ssh(&frame.payload);
        let greets = self.redial.is_second_greeting(now, &frame.payload);
        if greets && !self.is_ssh() {
            return self.finish(End::Failed(Failure::Redialled), true);
        }
        self.output_after_eof |= self.local_eof.is_some() && !frame.payload.is_empty();
        self.drop_unneeded_replay();
        match &mut self.identification {
            None => self.queue(frame.payload),
            Some(identification) => {
                let passed = identification.pass(frame.payload);
                self.queue(Bytes::from_static(passed.released));
                self.queue(passed.payload);
                if passed.ended {
                    self.finish(End::Remote(RemoteEnd::Redialled), true);
                }
            }
        }
        self.finish_if_complete();
    }

    /// A stream is SSH's if its first bytes, either way, are `SSH-`. Only then can a second
    /// identification line be its end.
    fn detect_ssh(&mut self, payload: &[u8]) {
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

    fn handle_status(&mut self, now: Instant, frame: &Frame) {
        let status = Status::parse(&frame.payload);
        match status {
            Status::Progress(progress) => {
                self.progress = true;
                self.emit(Event::Progress(progress));
            }
            Status::Opened => {
                if self.opened.is_none() {
                    self.opened = Some(now);
                    self.emit(Event::Opened);
                }
            }
            Status::Limit(limit) => {
                self.pace.set_limit(now, limit);
                self.emit(Event::Limit(limit));
            }
            Status::Ended(_) if self.is_agent_idle_end(now) => {
                self.finish(End::Remote(RemoteEnd::Idle), false);
            }
            Status::Ended(reason) if reason.is_normal() => {
                self.handle_end(now, RemoteEnd::Status(reason));
            }
            Status::Ended(reason) => self.finish(End::Failed(Failure::Ended(reason)), false),
            Status::Aborted(text) => self.finish(End::Failed(Failure::Aborted(text)), false),
            Status::Frozen => self.handle_disconnect(now, Disconnect::Frozen),
            Status::Unknown(state) => self.emit(Event::Skipped(format!("a status {state:?}"))),
        }
    }
}
