//! What may go wrong with commands.

use std::time::Duration;

use super::{CommandKind, Ending};
use crate::fault::use_up;

/// Something that goes wrong with a command on an instance.
///
/// Each invocation meets the first fault of its instance that fits. What it has to say of its duration, of its statuses and of
/// its end goes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFault {
    pub(crate) kind: Option<CommandKind>,
    pub(crate) times: Option<u32>,
    pub(crate) takes: Option<Duration>,
    pub(crate) mask: Option<Mask>,
    pub(crate) ends: Option<Ending>,
}

/// A status that is shown instead of the true one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) status: String,
    /// How many more times; `None` is for ever.
    pub(crate) asks: Option<u32>,
}

impl CommandFault {
    fn new(kind: Option<CommandKind>) -> Self {
        Self { kind, times: None, takes: None, mask: None, ends: None }
    }

    /// Strikes commands of this kind.
    #[must_use]
    pub fn on(kind: CommandKind) -> Self {
        Self::new(Some(kind))
    }

    /// Strikes every command.
    #[must_use]
    pub fn on_any() -> Self {
        Self::new(None)
    }

    /// Strikes so many commands, and then no more.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// It takes so long, instead of the instance's own time.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.takes = Some(time);
        self
    }

    /// Ends so, in time, and leaves no trace on the instance: with [`Ending::success`] it is a lie.
    #[must_use]
    pub fn ends(mut self, ending: Ending) -> Self {
        self.ends = Some(ending);
        self
    }

    /// Never gets anywhere: this status (`Pending`, or one that nobody knows) for ever. It does nothing on the instance.
    #[must_use]
    pub fn stays(mut self, status: impl Into<String>) -> Self {
        self.mask = Some(Mask { status: status.into(), asks: None });
        self
    }

    /// This status (`Scheduled`, `Stopping`, or one that nobody knows) for the first so many asks that are answered with one at
    /// all, and then the truth.
    #[must_use]
    pub fn shows(mut self, status: impl Into<String>, asks: u32) -> Self {
        self.mask = Some(Mask { status: status.into(), asks: Some(asks) }).filter(|_| asks > 0);
        self
    }
}

impl Mask {
    /// Counts one ask; whether there is anything left to show.
    pub(crate) fn use_up(&mut self) -> bool {
        use_up(&mut self.asks)
    }

    pub(crate) fn is_for_ever(&self) -> bool {
        self.asks.is_none()
    }
}

/// Takes one use of the first fault that fits, and forgets those that are used up.
pub(crate) fn take(faults: &mut Vec<CommandFault>, kind: CommandKind) -> Option<CommandFault> {
    faults.retain(|fault| fault.times != Some(0));
    let fits = |fault: &CommandFault| fault.kind.is_none_or(|wanted| wanted == kind);
    let index = faults.iter().position(fits)?;
    let fault = faults[index].clone();
    if !use_up(&mut faults[index].times) {
        faults.remove(index);
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_fits_strikes_as_often_as_it_may() {
        let mut faults = vec![
            CommandFault::on(CommandKind::SendKey).stays("Pending").times(1),
            CommandFault::on_any().stays("Dreaming").times(2),
            CommandFault::on_any().times(0),
        ];
        let mut taken =
            |kind| take(&mut faults, kind).and_then(|fault| fault.mask).map(|m| m.status);
        assert_eq!(taken(CommandKind::Install).as_deref(), Some("Dreaming"));
        assert_eq!(taken(CommandKind::SendKey).as_deref(), Some("Pending"));
        assert_eq!(taken(CommandKind::SendKey).as_deref(), Some("Dreaming"));
        assert_eq!(taken(CommandKind::SendKey), None);
        assert!(faults.is_empty());
    }

    #[test]
    fn a_status_for_no_ask_is_none() {
        assert_eq!(CommandFault::on_any().shows("Dreaming", 0).mask, None);
    }
}
