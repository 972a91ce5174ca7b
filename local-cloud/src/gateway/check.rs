//! What a client must keep to. What it does against it is noted, and the stream goes on.

use std::time::Duration;

use super::{
    ending::CLOSED,
    frame::{Counters, Frame, kind},
};

/// What is known when a frame is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Whether the agent speaks 1.02.
    pub(crate) resumable: bool,
    /// The stream's id.
    pub(crate) channel: &'a str,
    /// The highest Output that was sent.
    pub(crate) sent: u32,
    /// The last Input or Resize that the agent has acknowledged: what is before it need not be sent again.
    pub(crate) received: u32,
    /// The client can have read by now which version it is.
    pub(crate) version_known: bool,
}

/// What a client has done so far, on all sockets of a stream.
#[derive(Debug, Default)]
pub(crate) struct Check {
    last_plain: Option<i64>,
    /// Inputs and Resizes of 1.01.
    plain: u32,
    /// The highest number of an Input or Resize that the client is known to have sent.
    newest: Option<u32>,
    /// The last one on this socket.
    last: Option<u32>,
    acknowledged: u32,
    /// Nothing has come on a socket that took the stream up again.
    sync_is_next: bool,
}

/// Whether a client that was told `since` so long ago should have read it.
pub(crate) fn version_known(since: Option<Duration>, grace: Duration) -> bool {
    since.is_some_and(|since| since >= grace)
}

impl Check {
    /// Another socket is there.
    pub(crate) fn attached(&mut self, again: bool) {
        self.last = None;
        self.sync_is_next = again;
    }

    /// What is wrong with a frame.
    pub(crate) fn frame(&mut self, frame: &Frame, facts: Facts<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let sync = facts.resumable && frame.kind == kind::SYNC;
        // Agents know one status of the client's: Closed.
        let closed = frame.kind == kind::STATUS && frame.payload.first() == Some(&CLOSED);
        if !sync && !closed && !matches!(frame.kind, kind::INPUT | kind::RESIZE | kind::CLOSE) {
            wrong.push(format!("a client's frame of type {}", frame.kind));
        }
        match (frame.kind, frame.payload.len()) {
            (kind::RESIZE, length) if length != 4 => {
                wrong.push(format!("a Resize of {length} bytes"));
            }
            (kind::CLOSE, _) if frame.payload[..] != *b"1" => {
                wrong.push("a Close carries `1`".to_owned());
            }
            (kind::SYNC, length) if length > 0 => wrong.push(format!("a Sync of {length} bytes")),
            _ => {}
        }
        if std::mem::take(&mut self.sync_is_next) && !matches!(frame.kind, kind::SYNC | kind::CLOSE)
        {
            wrong.push(format!("a frame of type {} before the Sync", frame.kind));
        }
        match frame.counters {
            Counters::V101 { sequence } => self.plain(frame, sequence, facts, &mut wrong),
            Counters::V102 { input, output } if facts.resumable => {
                if frame.channel != facts.channel || !frame.instance.is_empty() {
                    let (channel, instance) = (&frame.channel, &frame.instance);
                    let ids = format!("{channel:?} and {instance:?}");
                    wrong.push(format!("ids {ids}, the channel is {:?}", facts.channel));
                }
                self.acknowledgement(output, facts.sent, &mut wrong);
                self.number(frame.kind, input, facts.received, &mut wrong);
            }
            Counters::V102 { .. } => {
                wrong.extend(ids_of_plain(frame));
                wrong.push("1.02 to an agent of 1.01".to_owned());
            }
        }
        wrong
    }

    fn plain(&mut self, frame: &Frame, sequence: i64, facts: Facts<'_>, wrong: &mut Vec<String>) {
        wrong.extend(ids_of_plain(frame));
        let fits = match self.last_plain {
            None => sequence == 0 || sequence == 1,
            Some(last) => last.checked_add(1) == Some(sequence),
        };
        if !fits {
            wrong.push(format!("sequence {sequence} after {:?}", self.last_plain));
        }
        self.last_plain = Some(sequence);
        if facts.resumable && (self.newest.is_some() || facts.version_known) {
            wrong.push("1.01 to an agent of 1.02".to_owned());
        }
        self.plain += u32::from(matches!(frame.kind, kind::INPUT | kind::RESIZE));
    }

    fn acknowledgement(&mut self, output: u32, sent: u32, wrong: &mut Vec<String>) {
        if output > sent {
            wrong.push(format!("acknowledges Output {output}, the last sent is {sent}"));
        } else if output < self.acknowledged {
            wrong.push(format!("acknowledges Output {output} after {}", self.acknowledged));
        }
        self.acknowledged = self.acknowledged.max(output.min(sent));
    }

    /// Inputs and Resizes go up one by one on a socket, or back to be sent again, less what is acknowledged. A Sync
    /// names the last that was sent.
    fn number(&mut self, frame: u32, input: u32, received: u32, wrong: &mut Vec<String>) {
        match frame {
            kind::INPUT | kind::RESIZE => {
                // The first one goes on behind those of 1.01, or begins anew.
                let before = self.last.or(self.newest).unwrap_or(self.plain);
                let begins = self.newest.is_none() && input == 1;
                let jumps = input > before.max(received).saturating_add(1)
                    || (self.newest.is_none() && !begins && input <= before);
                if jumps || input == 0 {
                    wrong.push(format!("Input or Resize {input} after {before}"));
                }
                self.last = Some(input);
                self.newest = self.newest.max(Some(input));
            }
            kind::SYNC => {
                if self.newest.is_some_and(|newest| input < newest) {
                    let newest = self.newest.unwrap_or_default();
                    wrong.push(format!("a Sync with {input}, the last Input is {newest}"));
                }
                self.newest = self.newest.max(Some(input));
            }
            _ => {}
        }
    }
}

fn ids_of_plain(frame: &Frame) -> Option<String> {
    let empty = frame.channel.is_empty() && frame.instance.is_empty();
    (!empty).then(|| "ids are empty in 1.01".to_owned())
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
