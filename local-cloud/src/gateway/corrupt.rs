//! What frame faults do to the messages of one direction. No clock in here: the time is an argument.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    fault::use_up,
    frame_fault::{Corruption, FrameFault, Way, Which},
};

/// How long one that was to be swapped waits for the next.
const SWAP_WAIT: Duration = Duration::from_secs(5);

/// A message to be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) message: Bytes,
    /// What is waited for before.
    pub(crate) delay: Duration,
}

/// The faults of one direction of a stream.
#[derive(Debug)]
pub(crate) struct Corruptor {
    way: Way,
    faults: Vec<Counted>,
    /// One that waits for the next of its type, with when that is over.
    held: Option<(u32, Bytes, Instant)>,
}

#[derive(Debug)]
struct Counted {
    fault: FrameFault,
    seen: u64,
    dice: u64,
}

impl Counted {
    /// Counts a frame; whether the fault applies to it.
    fn applies(&mut self, kind: u32) -> bool {
        if self.fault.kind != kind || self.fault.times == Some(0) {
            return false;
        }
        self.seen += 1;
        let applies = match self.fault.which {
            Which::Nth(nth) => self.seen == nth,
            Which::Every(step) => self.seen.is_multiple_of(step.max(1)),
            Which::Share { per_mille, .. } => roll(&mut self.dice) % 1_000 < u64::from(per_mille),
        };
        if applies {
            use_up(&mut self.fault.times);
        }
        applies
    }
}

/// SplitMix64: the same on each machine.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Corruptor {
    pub(crate) fn new(way: Way, faults: &[FrameFault]) -> Self {
        let mut corruptor = Self { way, faults: Vec::new(), held: None };
        faults.iter().cloned().for_each(|fault| corruptor.add(fault));
        corruptor
    }

    /// One more, if it is of this direction.
    pub(crate) fn add(&mut self, fault: FrameFault) {
        if fault.way == self.way {
            let dice = match fault.which {
                Which::Share { seed, .. } => seed,
                Which::Nth(_) | Which::Every(_) => 0,
            };
            self.faults.push(Counted { fault, seen: 0, dice });
        }
    }

    /// Whether nothing can happen to a frame, as is nearly always so.
    pub(crate) fn is_idle(&self) -> bool {
        self.faults.is_empty() && self.held.is_none()
    }

    /// Another socket: what waited is lost with the old one.
    pub(crate) fn attached(&mut self) {
        self.held = None;
    }

    /// When the one that waits is to be passed on at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.as_ref().map(|(_, _, until)| *until)
    }

    /// The one that waits, if none came that it could be swapped with.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Bytes> {
        if self.deadline()? > now {
            return None;
        }
        self.held.take().map(|(_, message, _)| message)
    }

    /// What becomes of a message: nothing, itself, or more; and whether anything was done to it.
    pub(crate) fn pass(&mut self, kind: u32, message: Bytes, now: Instant) -> (Vec<Passed>, bool) {
        let mut hit = Vec::new();
        for counted in &mut self.faults {
            if counted.applies(kind) {
                hit.push(counted.fault.corrupt.clone());
            }
        }
        let before = self.held.take_if(|(held, _, _)| *held == kind);
        let mut out = vec![Passed { message, delay: Duration::ZERO }];
        for corrupt in &hit {
            self.apply(corrupt, kind, &mut out, now);
        }
        if let Some((_, message, _)) = before {
            out.push(Passed { message, delay: Duration::ZERO });
        }
        (out, !hit.is_empty())
    }

    fn apply(&mut self, corrupt: &Corruption, kind: u32, out: &mut Vec<Passed>, now: Instant) {
        let Some(first) = out.first_mut() else { return };
        match corrupt {
            Corruption::Duplicate => {
                let message = first.message.clone();
                out.push(Passed { message, delay: Duration::ZERO });
            }
            Corruption::Lose => out.clear(),
            Corruption::Swap => {
                let message = first.message.clone();
                if self.held.is_none() {
                    self.held = Some((kind, message, now + SWAP_WAIT));
                    out.clear();
                }
            }
            Corruption::Truncate(length) => first.message.truncate(*length),
            Corruption::Flip(at) => {
                let mut bytes = first.message.to_vec();
                if let Some(length) = std::num::NonZero::new(bytes.len()) {
                    bytes[*at % length] ^= 0xff;
                }
                first.message = bytes.into();
            }
            Corruption::WrongLength(more) => first.message = wrong_length(&first.message, *more),
            Corruption::Delay(delay) => first.delay += *delay,
        }
    }
}

/// The field's lower bytes are in one place in both layouts: behind the ids, the time and eight bytes of counters.
fn wrong_length(message: &Bytes, more: u8) -> Bytes {
    let mut bytes = message.to_vec();
    let id = |at: usize| message.get(at).map(|length| at + 1 + usize::from(*length));
    if let Some(field) = id(8).and_then(id).map(|after| after + 16)
        && let Some(length) = bytes.get_mut(field..field + 2)
    {
        let said = u16::from_le_bytes([length[0], length[1]]);
        length.copy_from_slice(&said.wrapping_add(u16::from(more)).to_le_bytes());
    }
    bytes.into()
}

#[cfg(test)]
#[path = "corrupt_tests.rs"]
mod tests;
