//! A local side that takes nothing until its gate is opened, and whose bytes can be looked at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::sync::watch;

use super::endpoint::LocalWrite;

/// Lets bytes through to a [`Gated`] half. One that is dropped unopened stays shut.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// A gate that is shut, around the half that it guards.
    pub(crate) fn new<W>(writer: W) -> (Self, Gated<W>) {
        let (sender, open) = watch::channel(false);
        (Self(sender), Gated { writer, open, look: None, looked_at: 0 })
    }

    /// Opens it for good.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }
}

/// What is shown the bytes that are delivered.
type Tap = Box<dyn FnMut(&[u8])>;

/// A half that bytes are delivered to once its gate is open. Until then the session keeps them, as
/// it does for a reader that takes its time.
pub(crate) struct Gated<W> {
    writer: W,
    open: watch::Receiver<bool>,
    look: Option<Tap>,
    /// How many bytes of the next write were looked at already.
    looked_at: usize,
}

impl<W> Gated<W> {
    /// Shows each byte to `look`, once and before it is delivered.
    #[must_use]
    pub(crate) fn shown_to(mut self, look: impl FnMut(&[u8]) + 'static) -> Self {
        self.look = Some(Box::new(look));
        self
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Gated<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(look) = &mut this.look
            && let Some(new) = bytes.get(this.looked_at..)
            && !new.is_empty()
        {
            look(new);
            this.looked_at = bytes.len();
        }
        let written = Pin::new(&mut this.writer).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            this.looked_at = this.looked_at.saturating_sub(written);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl<W: LocalWrite> LocalWrite for Gated<W> {
    async fn closed(&mut self) {
        self.writer.closed().await;
    }

    async fn may_write(&mut self) {
        if *self.open.borrow() {
            return;
        }
        let opened = async {
            if self.open.wait_for(|open| *open).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = opened => {}
            // Writing finds out the rest.
            () = self.writer.closed() => {}
        }
    }
}
