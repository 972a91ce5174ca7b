//! Permits for connected sessions, of which there are `--max-connections`.

use std::rc::Rc;

use tokio::sync::{Notify, OwnedSemaphorePermit};

/// A permit for one connected session. Dropping it tells those who wait for one.
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    freed: Rc<Notify>,
}

impl Permit {
    /// A permit whose end is told to those who wait for `freed`.
    pub(crate) fn new(permit: OwnedSemaphorePermit, freed: &Rc<Notify>) -> Self {
        Self { permit: Some(permit), freed: Rc::clone(freed) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permit = None;
        self.freed.notify_waiters();
    }
}
