//! A local side that sends nothing, and keeps the first bytes of the remote side.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::gateway::endpoint::LocalWrite;
use crate::session::event::SessionEvent;

/// The most bytes that are kept.
const ENOUGH: usize = 4 * 1024;

/// The reading half, which never has a byte.
pub(crate) struct SilentReader;

/// The writing half, which keeps the first bytes.
#[derive(Clone, Default)]
pub(crate) struct BannerCapture(Rc<Captured>);

#[derive(Default)]
struct Captured {
    bytes: RefCell<Vec<u8>>,
    more: Notify,
    is_ready: Cell<bool>,
    ready: Notify,
}

impl AsyncRead for SilentReader {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl BannerCapture {
    /// The bytes received so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.bytes.borrow().clone()
    }

    /// Whether the target was taken to be listening.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.is_ready.get() || !self.0.bytes.borrow().is_empty()
    }

    /// Waits until the target is taken to be listening.
    pub(crate) async fn ready(&self) {
        while !self.is_ready() {
            self.0.ready.notified().await;
        }
    }

    /// Records that the target was reached.
    pub(super) fn on_event(&self, event: SessionEvent<'_>) {
        if matches!(event, SessionEvent::Reached) {
            self.0.is_ready.set(true);
            self.0.ready.notify_waiters();
        }
    }

    /// Waits until the received bytes satisfy `fits`.
    pub(crate) async fn wait_until(&self, fits: impl Fn(&[u8]) -> bool) {
        while !fits(&self.0.bytes.borrow()) {
            self.0.more.notified().await;
        }
    }
}

impl AsyncWrite for BannerCapture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut kept = self.0.bytes.borrow_mut();
        let room = ENOUGH.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.0.more.notify_waiters();
        self.0.ready.notify_waiters();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl LocalWrite for BannerCapture {
    async fn closed(&mut self) {
        std::future::pending().await
    }
}
