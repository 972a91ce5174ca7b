//! The numbers of a stream. In 1.01 there is one for the frames of a direction, and that is all. In 1.02 an agent counts
//! Outputs, keeps them until they are acknowledged and sends them again; and counts Inputs, drops those that it has, and asks
//! for those that it misses. No clock and no socket in here.
//!
//! Where an agent of 1.02 is sent frames of 1.01, as long as the client has not read that it is one, they are taken in the order
//! they come. The client's first number may then be 1, or go on behind them; they are acknowledged only if it does.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::frame::{Counters, kind};
use crate::resumption::{Resumption, SyncAnswer, SyncNames};

/// What is missing is asked for again so often.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What an Input or Resize is to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one that it waits for.
    Next,
    /// One that it has already.
    Duplicate,
    /// One before it is missing.
    Gap,
}

/// What was to be sent again is not kept any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// A stream's numbers.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Goes into every frame to the client.
    pub(crate) id: String,
    /// None in 1.01.
    settings: Option<Resumption>,
    /// The number of the next Output of 1.01.
    plain: i64,
    outputs: Outputs,
    inputs: Inputs,
}

#[derive(Debug, Default)]
struct Outputs {
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// The number of the newest.
    numbered: u32,
    /// The highest that was put on a socket.
    sent: u32,
    acknowledged: u32,
    /// The next one to be sent again.
    again: Option<u32>,
}

/// An Output that the client has not acknowledged.
#[derive(Debug)]
struct Kept {
    number: u32,
    payload: Bytes,
    /// A socket was given it.
    sent: bool,
}

#[derive(Debug, Default)]
struct Inputs {
    /// The last one of which all before it have come.
    received: u32,
    /// So many came in 1.01, before the first one with a number.
    unnumbered: u32,
    /// The highest that is known to have been sent.
    heard: u32,
    /// A Sync is to be sent, which names this.
    ask: Option<u32>,
    /// What was asked for last, and when.
    asked: Option<(u32, Instant)>,
    ahead: u32,
}

/// An Output that the client has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) counters: Counters,
    pub(crate) payload: Bytes,
    /// A socket was given it before.
    pub(crate) repeated: bool,
}

impl Channel {
    pub(crate) fn new(id: String, settings: Option<Resumption>) -> Self {
        let (outputs, inputs) = (Outputs::default(), Inputs::default());
        Self { id, settings, plain: 0, outputs, inputs }
    }

    /// Another socket is there: nothing is under way any more.
    pub(crate) fn attached(&mut self) {
        self.outputs.again = None;
        self.inputs.ask = None;
        self.inputs.asked = None;
    }

    /// Whether the target may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.settings.as_ref().is_none_or(|settings| self.outputs.kept_bytes < settings.keeps)
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.outputs.kept_bytes
    }

    pub(crate) fn last_output(&self) -> u32 {
        self.outputs.numbered
    }

    /// The highest Output that the client can have seen.
    pub(crate) fn sent(&self) -> u32 {
        self.outputs.sent
    }

    /// Numbers a new Output, and keeps it. `sent`: a socket is given it now.
    pub(crate) fn number(&mut self, payload: &Bytes, sent: bool) -> Counters {
        if self.settings.is_none() {
            self.plain += 1;
            return Counters::V101 { sequence: self.plain - 1 };
        }
        let outputs = &mut self.outputs;
        outputs.numbered += 1;
        let output = outputs.numbered;
        outputs.kept.push_back(Kept { number: output, payload: payload.clone(), sent });
        outputs.kept_bytes += payload.len();
        if sent {
            outputs.sent = output;
        }
        Counters::V102 { input: self.acknowledgement(), output }
    }

    /// The next Output to be sent again.
    pub(crate) fn next_again(&mut self) -> Option<Again> {
        let outputs = &mut self.outputs;
        // What has been acknowledged in the meantime is passed over.
        let oldest = outputs.kept.front()?.number;
        let number = outputs.again?.max(oldest);
        let index = usize::try_from(number - oldest).unwrap_or(usize::MAX);
        let Some(kept) = outputs.kept.get_mut(index) else {
            outputs.again = None;
            return None;
        };
        let repeated = std::mem::replace(&mut kept.sent, true);
        let payload = kept.payload.clone();
        outputs.again = Some(number + 1);
        outputs.sent = outputs.sent.max(number);
        let counters = Counters::V102 { input: self.acknowledgement(), output: number };
        Some(Again { counters, payload, repeated })
    }

    /// Whether anything is to be sent again, or to be asked for.
    pub(crate) fn is_due(&self) -> bool {
        let outputs = &self.outputs;
        let again = outputs.again.is_some_and(|again| again <= outputs.numbered);
        (again && !outputs.kept.is_empty()) || self.inputs.ask.is_some()
    }

    /// The client has all Outputs up to this one.
    pub(crate) fn acknowledge(&mut self, output: u32) {
        let outputs = &mut self.outputs;
        outputs.acknowledged = outputs.acknowledged.max(output.min(outputs.numbered));
        let covered = outputs.acknowledged;
        while outputs.kept.front().is_some_and(|kept| kept.number <= covered) {
            let gone = outputs.kept.pop_front();
            outputs.kept_bytes -= gone.map_or(0, |kept| kept.payload.len());
        }
    }

    /// The client wants all Outputs behind this one, and has sent Inputs up to that.
    pub(crate) fn sync(&mut self, output: u32, input: u32, now: Instant) -> Result<(), Lost> {
        let outputs = &mut self.outputs;
        if output < outputs.numbered {
            let wanted = output + 1;
            if outputs.kept.front().is_none_or(|oldest| oldest.number > wanted) {
                return Err(Lost);
            }
            outputs.again = Some(wanted);
        }
        self.inputs.heard = self.inputs.heard.max(input);
        match self.settings.as_ref().map(|settings| settings.sync_answer) {
            Some(SyncAnswer::Always) => self.inputs.ask = Some(self.wanted()),
            Some(SyncAnswer::IfMissing) => self.ask(now),
            Some(SyncAnswer::Never) | None => {}
        }
        Ok(())
    }

    /// What an Input or Resize with this number is.
    pub(crate) fn arrival(&self, number: u32) -> Arrival {
        let Inputs { received, unnumbered, .. } = self.inputs;
        let goes_on = received == 0 && unnumbered > 0 && number == unnumbered + 1;
        if goes_on || number == received + 1 {
            Arrival::Next
        } else if number <= received {
            Arrival::Duplicate
        } else {
            Arrival::Gap
        }
    }

    /// The agent has taken the next one.
    pub(crate) fn take(&mut self, number: u32) {
        self.inputs.received = number;
        self.inputs.heard = self.inputs.heard.max(number);
    }

    /// The agent has taken one of 1.01.
    pub(crate) fn take_unnumbered(&mut self) {
        self.inputs.unnumbered += 1;
    }

    /// One came that is further than what was waited for.
    pub(crate) fn gap(&mut self, number: u32, now: Instant) {
        self.inputs.heard = self.inputs.heard.max(number);
        self.ask(now);
    }

    /// Whether the sequences of 1.01 are numbers.
    pub(crate) fn is_strict(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.strict)
    }

    /// One came that the agent has already.
    pub(crate) fn duplicate(&mut self, now: Instant) {
        if self.is_strict() {
            self.ask_from_next(now);
        }
    }

    /// Asks for what is missing, if that has not been done just now.
    pub(crate) fn ask(&mut self, now: Instant) {
        if self.inputs.heard > self.inputs.received {
            self.ask_from_next(now);
        }
    }

    /// Asks for what comes next, if that has not been done just now.
    fn ask_from_next(&mut self, now: Instant) {
        let wanted = self.inputs.received + 1;
        let just_now = self.inputs.asked.is_some_and(|(asked, at)| {
            asked == wanted && now.saturating_duration_since(at) < ASK_AGAIN
        });
        if !just_now {
            self.inputs.asked = Some((wanted, now));
            self.inputs.ask = Some(self.wanted());
        }
    }

    /// Asks again by the clock, unless this agent never does.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        let settings = self.settings.as_ref();
        if settings.is_some_and(|settings| settings.sync_answer != SyncAnswer::Never) {
            self.ask(now);
        }
    }

    /// What a Sync names.
    fn wanted(&self) -> u32 {
        let last = self.settings.as_ref().map(|settings| settings.sync_names)
            == Some(SyncNames::LastReceived);
        self.inputs.received + u32::from(!last)
    }

    /// A Sync names this one, whatever has come.
    pub(crate) fn ask_for(&mut self, number: u32) {
        self.inputs.ask = Some(number);
    }

    /// The Sync to be sent, if there is one.
    pub(crate) fn take_ask(&mut self) -> Option<Counters> {
        let input = self.inputs.ask.take()?;
        Some(Counters::V102 { input, output: self.outputs.sent })
    }

    /// The counters of a frame that is neither Output nor Sync.
    pub(crate) fn counters(&self, frame: u32) -> Counters {
        match &self.settings {
            None => Counters::V101 { sequence: 0 },
            Some(settings) if settings.bare_statuses && frame == kind::STATUS => {
                Counters::V102 { input: 0, output: 0 }
            }
            Some(_) => Counters::V102 { input: self.acknowledgement(), output: self.outputs.sent },
        }
    }

    /// The number of the next Output of 1.01; in 1.02 that of the last, which the client has.
    pub(crate) fn unused(&self) -> Counters {
        match self.settings {
            None => Counters::V101 { sequence: self.plain },
            Some(_) => self.counters(kind::OUTPUT),
        }
    }

    /// The last Input or Resize that the agent says it has.
    pub(crate) fn acknowledgement(&self) -> u32 {
        self.inputs.received.saturating_add(self.inputs.ahead)
    }

    pub(crate) fn acknowledge_ahead(&mut self, by: u32) {
        self.inputs.ahead = by;
    }

    pub(crate) fn forget_outputs(&mut self) {
        self.outputs.kept.clear();
        self.outputs.kept_bytes = 0;
        self.outputs.again = None;
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
