//! A local side that takes nothing until it is told to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::sync::watch;

use super::endpoint::LocalWrite;

/// Lets bytes through to a [`Gated`] half. One that is dropped unopened stays shut.
#[derive(Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A gate that is shut, around the half that it guards.
    pub fn new<W>(writer: W) -> (Self, Gated<W>) {
        let (sender, open) = watch::channel(false);
        (Self(sender), Gated { writer, open })
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

/// A half that bytes are delivered to once its gate is open. Until then the session keeps them, as
/// it does for a reader that takes its time.
#[derive(Debug)]
pub struct Gated<W> {
    writer: W,
    open: watch::Receiver<bool>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Gated<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
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
