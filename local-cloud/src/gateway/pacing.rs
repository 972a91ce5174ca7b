//! The limit on what a client sends, and whether it is told of it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

use super::{frame::stream_status, pace::Limits};
use crate::instance::{DEFAULT_LIMIT, Pace};

/// A stream's limit.
#[derive(Debug)]
pub(crate) struct Pacing {
    enforced: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    announce: Option<u64>,
    opened: bool,
}

impl Pacing {
    pub(crate) fn new(pace: Pace) -> Self {
        let announce = pace.announced.then_some(pace.limit);
        let first = match pace.limit {
            0 => DEFAULT_LIMIT,
            _ if pace.announced => DEFAULT_LIMIT, // until the client has been told
            limit => limit,
        };
        let inner = Inner { limits: Limits::new(first), announce, opened: false };
        Self { enforced: pace.enforced, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit that may be held against the client now, if any is.
    pub(crate) fn limit(&self, now: Instant) -> Option<u64> {
        self.enforced.then(|| self.inner().limits.in_force(now))
    }

    /// Another limit. The client is to be told of it, now or when it is opened.
    pub(crate) fn change(&self, limit: u64) {
        self.inner().announce = Some(limit);
    }

    /// From now on the client is told.
    pub(crate) fn open(&self) {
        self.inner().opened = true;
    }

    /// The status that tells the client, if it is to be told now. It counts from when this is asked for.
    pub(crate) fn announcement(&self, now: Instant) -> Option<Bytes> {
        let mut inner = self.inner();
        let limit = inner.announce.filter(|_| inner.opened)?;
        if limit > 0 {
            inner.limits.change(now, limit);
        }
        Some(stream_status(u32::try_from(limit).unwrap_or(u32::MAX)))
    }
}
