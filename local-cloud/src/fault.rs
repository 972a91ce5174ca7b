//! What may go wrong, on command: one vocabulary for the stream, one for the API.
//!
//! Statuses in any order are put together from these: Opened before Opening is `Action::status(3, "")` at
//! [`Point::Connected`], Opened twice the same at [`Point::Opened`], and behind Output at [`Point::OutputBytes`]. Limits of any
//! size come with [`crate::LocalCloud::set_limit`], and all the time with [`crate::LocalCloud::wobble_limit`].

use std::time::Duration;

/// Something that goes wrong with a stream, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it is injected.
    pub at: Point,
    /// What happens.
    pub action: Action,
    /// How many more times it does; `None` is each time.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault that is injected on each connection.
    #[must_use]
    pub fn new(at: Point, action: Action) -> Self {
        Self { at, action, times: None }
    }

    /// Strikes so many connections, and then no more.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// A point in a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// Instead of the answer to the HTTP upgrade, of those that take a stream up again as well.
    Upgrade,
    /// Before the first status of a stream.
    Connected,
    /// When the agent has joined, before the client hears of it.
    BeforeOpened,
    /// Right after Opened.
    Opened,
    /// So long after Opened.
    AfterOpened(Duration),
    /// When exactly so many bytes of the target's have been sent to the client.
    OutputBytes(u64),
    /// When so many bytes of Input payload have come, with the frame that brings the last of them.
    InputBytes(u64),
    /// Each time that exactly so many bytes more of the target's have been sent to the client. On a stream that resumes bytes
    /// that are sent again do not count, and it is injected once the client has been sent all that came before.
    EveryOutputBytes(u64),
    /// Each time that so many bytes more of Input payload have come. What a resumable agent drops does not count.
    EveryInputBytes(u64),
    /// When so many WebSocket pings of the client's have come on all sockets of a stream. A client that sends the second one
    /// only once the first is answered knows by then that its pings are answered.
    Pings(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The upgrade is answered with this HTTP status. Nothing at any other point.
    Refuse(u16),
    /// What follows comes so much later.
    Delay(Duration),
    /// The TCP connection stays up, but nothing gets out of the gateway any more, pongs included, and what
    /// comes in is thrown away. At [`Point::Upgrade`]: it is never answered.
    Silence,
    /// Packets vanish in both directions, and the TCP connection stays for as long as the cloud does: nothing is read any
    /// more, nothing gets out, and no ping is answered. At [`Point::Upgrade`] as [`Action::Silence`].
    Vanish,
    /// The agent does nothing more: at [`Point::BeforeOpened`] the session never opens.
    Hang,
    /// A status. Aborted, Closed and Exited (2, 5, 6) are followed by a WebSocket close with 1000.
    Status {
        /// The first byte of the payload.
        state: u8,
        /// What follows it.
        text: String,
    },
    /// A frame like any other, of any type, after which the stream goes on.
    Frame {
        /// Its type.
        kind: u32,
        /// What it carries.
        payload: Vec<u8>,
    },
    /// A message that is no proper frame, after which the stream goes on.
    Send(Malformed),
    /// The TCP connection ends without a WebSocket close. Where the agent resumes, its stream waits for another one; so it does
    /// with [`Action::Reset`], and with [`Action::Close`] but for the codes 1000 and 1008.
    Cut,
    /// The TCP connection is reset.
    Reset,
    /// A WebSocket close with this code, and no status before it. 1005 is a close frame without a code, 1006 none
    /// at all, as [`Action::Cut`].
    Close(u16),
    /// The gateway stops reading what the client sends, and with it answering its pings.
    StallClient,
    /// The same for so long, and then it goes on.
    StallClientFor(Duration),
    /// The agent stops reading what the target sends.
    StallTarget,
    /// Whether the gateway answers WebSocket pings from now on ([`crate::Instance::pongs`]).
    Pongs(bool),
    /// Takes [`Action::Hang`], [`Action::StallClient`], [`Action::StallClientFor`] and [`Action::StallTarget`] back.
    Resume,
    /// From now on a resumable agent acknowledges so many Inputs more than it has; 0 takes it back.
    AckAhead(u32),
    /// A resumable agent asks (Sync) for all Inputs from this one on, whether it has them or not.
    AskFor(u32),
    /// A resumable agent loses the Outputs that it kept. A client that asks for one of them is told Status 5,
    /// `ProcessDataError`, and the session ends.
    ForgetOutputs,
}

impl Action {
    /// A status with a text.
    pub fn status(state: u8, text: impl Into<String>) -> Self {
        Self::Status { state, text: text.into() }
    }
}

/// A message that is no proper frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Ends inside the header.
    Short,
    /// As long as a frame, but noise.
    Garbled,
    /// A text message.
    Text,
    /// A well-formed frame with a payload of so many bytes.
    Huge(usize),
    /// The length field disagrees with the payload.
    WrongLength,
    /// A time of creation of 0.
    CreatedZero,
    /// A well-formed frame of a type nobody knows (99): no error, to be skipped.
    UnknownType,
}

/// Something that goes wrong with an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFault {
    pub(crate) action: Option<String>,
    /// So many calls more are let through.
    pub(crate) after: u32,
    pub(crate) times: Option<u32>,
    pub(crate) delay: Option<Duration>,
    pub(crate) late: Option<Duration>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) lower_case: bool,
    pub(crate) effect: ApiEffect,
}

/// The part of a fault that replaces the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiEffect {
    /// The call is answered as ever.
    None,
    Error {
        status: u16,
        code: String,
        message: String,
    },
    Raw {
        status: u16,
        content_type: String,
        body: String,
    },
    Silent,
    DeadConnections,
    Cut,
    CutMidway,
    StallMidway,
}

impl ApiFault {
    fn new(action: Option<String>) -> Self {
        Self {
            action,
            after: 0,
            times: None,
            delay: None,
            late: None,
            headers: Vec::new(),
            lower_case: false,
            effect: ApiEffect::None,
        }
    }

    /// Strikes calls of this action.
    pub fn on(action: impl Into<String>) -> Self {
        Self::new(Some(action.into()))
    }

    /// Strikes every call.
    #[must_use]
    pub fn on_any() -> Self {
        Self::new(None)
    }

    /// Strikes so many calls, and then no more.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets so many calls through before. With [`ApiFault::silent`] the API goes black from the next one on.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    /// The call is carried out at once, and its answer comes so much later.
    #[must_use]
    pub fn late(mut self, delay: Duration) -> Self {
        self.late = Some(delay);
        self
    }

    /// The call is carried out, and answered, so much later.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The answer has this header as well.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The answer's keys begin in lower case, as with some services.
    #[must_use]
    pub fn lower_case(mut self) -> Self {
        self.lower_case = true;
        self
    }

    /// An error, before anything of the call is looked at.
    #[must_use]
    pub fn error(
        mut self,
        status: u16,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.effect = ApiEffect::Error { status, code: code.into(), message: message.into() };
        self
    }

    /// Any answer, such as a proxy's page of HTML.
    #[must_use]
    pub fn raw(
        mut self,
        status: u16,
        content_type: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        let (content_type, body) = (content_type.into(), body.into());
        self.effect = ApiEffect::Raw { status, content_type, body };
        self
    }

    /// Taken, and never answered.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.effect = ApiEffect::Silent;
        self
    }

    /// All connections to the API that are there, the call's own included, are dead from now on, as after a sleep: what is sent
    /// on them is read, and nothing comes. Those that are made later work. Once, unless [`ApiFault::times`] says otherwise
    /// afterwards.
    #[must_use]
    pub fn dead_connections(mut self) -> Self {
        self.effect = ApiEffect::DeadConnections;
        self.times = Some(1);
        self
    }

    /// The connection ends before the first byte of the answer. The call is not carried out.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.effect = ApiEffect::Cut;
        self
    }

    /// The call is carried out, and the connection ends in the middle of the answer.
    #[must_use]
    pub fn cut_midway(mut self) -> Self {
        self.effect = ApiEffect::CutMidway;
        self
    }

    /// The call is carried out, and the answer stops in its middle: the connection stays, and nothing more comes.
    #[must_use]
    pub fn stall_midway(mut self) -> Self {
        self.effect = ApiEffect::StallMidway;
        self
    }
}

/// Takes one use of the first fault that fits, and forgets those that are used up.
pub(crate) fn take_api(faults: &mut Vec<ApiFault>, action: &str) -> Option<ApiFault> {
    let applies = |fault: &mut ApiFault| {
        if fault.action.as_deref().is_some_and(|wanted| wanted != action) {
            return false;
        }
        let is_let_through = fault.after > 0;
        fault.after = fault.after.saturating_sub(1);
        !is_let_through
    };
    let index = faults.iter_mut().position(applies)?;
    let fault = faults[index].clone();
    if !use_up(&mut faults[index].times) {
        faults.remove(index);
    }
    Some(fault)
}

/// Takes one use of each fault that a connection will meet in the stage it is about to enter: the upgrade, or
/// the stream behind it.
pub(crate) fn take_stream(faults: &mut Vec<Fault>, upgrade: bool) -> Vec<Fault> {
    let mut taken = Vec::new();
    faults.retain_mut(|fault| {
        if (fault.at == Point::Upgrade) != upgrade {
            return true;
        }
        if fault.times != Some(0) {
            taken.push(fault.clone());
        }
        use_up(&mut fault.times)
    });
    taken
}

/// Counts one use; whether any are left.
pub(crate) fn use_up(times: &mut Option<u32>) -> bool {
    match times {
        None => true,
        Some(left) => {
            *left = left.saturating_sub(1);
            *left > 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_for_two_calls_applies_two_calls_of_its_action() {
        let mut faults = vec![ApiFault::on("A").error(500, "X", "x").times(2)];
        assert!(take_api(&mut faults, "B").is_none());
        assert!(take_api(&mut faults, "A").is_some());
        assert!(take_api(&mut faults, "A").is_some());
        assert!(take_api(&mut faults, "A").is_none());
        assert!(faults.is_empty());
    }

    #[test]
    fn one_for_good_stays() {
        let mut faults = vec![ApiFault::on_any().silent()];
        assert!((0..5).all(|_| take_api(&mut faults, "A").is_some()));
    }

    #[test]
    fn one_may_let_calls_through_before() {
        let mut faults = vec![
            ApiFault::on("A").silent().after(2),
            ApiFault::on_any().error(500, "X", "x").after(1),
        ];
        let effect = |faults: &mut Vec<_>, action| take_api(faults, action).map(|f| f.effect);
        assert_eq!(effect(&mut faults, "A"), None);
        assert!(matches!(effect(&mut faults, "A"), Some(ApiEffect::Error { .. })));
        assert_eq!(effect(&mut faults, "A"), Some(ApiEffect::Silent));
        assert!(matches!(effect(&mut faults, "B"), Some(ApiEffect::Error { .. })));
    }

    #[test]
    fn a_connection_takes_one_use_of_each() {
        let mut faults = vec![
            Fault::new(Point::Opened, Action::Cut).times(1),
            Fault::new(Point::InputBytes(1), Action::Cut),
            Fault::new(Point::Upgrade, Action::Refuse(429)).times(1),
        ];
        assert_eq!(take_stream(&mut faults, false).len(), 2);
        assert_eq!(take_stream(&mut faults, false).len(), 1);
        assert_eq!(take_stream(&mut faults, true).len(), 1);
        assert_eq!(take_stream(&mut faults, true).len(), 0);
    }
}
