//! Injecting faults into a stream.

use std::ops::Add;

use super::{
    link::{Link, Stalls, Urgent},
    outgoing::Outgoing,
    points::{Points, When},
};
use crate::fault::{Action, Fault, Point};

impl Link {
    /// The faults of one kind of point, with when they are injected.
    pub(crate) fn points<T>(&self, when: impl Fn(&Point) -> Option<When<T>>) -> Points<T>
    where
        T: Ord + Copy + Add<Output = T>,
    {
        let fits = |fault: &Fault| when(&fault.at).map(|at| (at, fault.action.clone()));
        Points::new(self.faults.iter().filter_map(fits))
    }

    /// The faults at a point, in the order they were given.
    pub(crate) async fn inject_at(&self, point: Point) {
        for fault in &self.faults {
            if fault.at == point {
                self.inject(&fault.action).await;
            }
        }
    }

    /// Injects a fault: behind all that is on its way to the client already.
    pub(crate) async fn inject(&self, action: &Action) {
        let out = &self.out;
        match action {
            Action::Refuse(_) => {}
            Action::Delay(delay) => out.send(Outgoing::Pause(*delay)).await,
            Action::Silence => out.send(Outgoing::Mute).await,
            Action::Vanish => out.send(Outgoing::Vanish).await,
            Action::Pongs(answered) => self.answer_pings(*answered),
            Action::Hang => self.stall(|stalls| stalls.agent = true),
            Action::StallClient => self.stall(|stalls| stalls.client = true),
            Action::StallClientFor(time) => {
                let until = tokio::time::Instant::now() + *time;
                self.stall(|stalls| stalls.client_until = Some(until));
            }
            Action::StallTarget => self.stall(|stalls| stalls.target = true),
            Action::Resume => self.stall(|stalls| *stalls = Stalls::default()),
            Action::AckAhead(_) | Action::AskFor(_) | Action::ForgetOutputs => {
                out.send(Outgoing::Channel(action.clone())).await;
            }
            Action::Status { state, text } => {
                out.status(*state, text).await;
                if matches!(state, 2 | 5 | 6) {
                    self.last(text.clone(), Outgoing::Close(1000)).await;
                }
            }
            Action::Frame { kind, payload } => out.frame(*kind, payload.clone().into()).await,
            Action::Send(malformed) => out.send(Outgoing::Malformed(*malformed)).await,
            Action::Cut | Action::Close(1006) => self.last("Cut".to_owned(), Outgoing::Cut).await,
            Action::Reset => self.last("Reset".to_owned(), Outgoing::Reset).await,
            Action::Close(code) => {
                self.last(format!("Close {code}"), Outgoing::Close(*code)).await;
            }
        }
        self.note(|session| session.faults_struck += 1);
    }

    /// The last thing that goes out on this socket. If it is the end of the stream, the agent does nothing more.
    async fn last(&self, reason: String, last: Outgoing) {
        if !self.resumable || matches!(last, Outgoing::Close(1000 | 1008)) {
            self.stall(|stalls| stalls.agent = true);
            self.note(|session| {
                session.end_reason.get_or_insert(reason);
            });
        }
        self.out.send(last).await;
    }

    /// Injects a fault at once: what befalls the socket waits for nothing that is on its way, and does nothing where there is no
    /// socket. Whether the socket is cut.
    pub(crate) async fn inject_now(&self, action: &Action) -> bool {
        let agents_own = matches!(
            action,
            Action::Hang
                | Action::StallClient
                | Action::StallClientFor(_)
                | Action::StallTarget
                | Action::Resume
                | Action::Pongs(_)
                | Action::AckAhead(_)
                | Action::ForgetOutputs
        );
        if !agents_own && !self.is_attached() {
            return false;
        }
        let urgent = match action {
            Action::Cut | Action::Close(1006) => Urgent::Cut("Cut"),
            Action::Reset => {
                self.switches().reset();
                Urgent::Cut("Reset")
            }
            Action::Close(code) if self.resumable => Urgent::Close(*code),
            Action::Vanish => {
                self.switches().vanish();
                self.note(|session| session.faults_struck += 1);
                return false;
            }
            Action::AckAhead(_) | Action::AskFor(_) | Action::ForgetOutputs => {
                self.inject_channel(action);
                self.note(|session| session.faults_struck += 1);
                return false;
            }
            other => {
                self.inject(other).await;
                return false;
            }
        };
        self.note(|session| session.faults_struck += 1);
        self.befall(urgent);
        true
    }

    /// A fault of the agent's numbers.
    pub(crate) fn inject_channel(&self, action: &Action) {
        self.change(|channel| match action {
            Action::AckAhead(by) => channel.acknowledge_ahead(*by),
            Action::AskFor(number) => channel.ask_for(*number),
            Action::ForgetOutputs => channel.forget_outputs(),
            _ => {}
        });
    }
}
