//! What a shell writes, on its way to stdout.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;

use crate::gateway::endpoint::LocalWrite;

/// What is known of the output so far.
#[derive(Debug, Default)]
pub(crate) struct OutputState {
    written: Cell<u64>,
    last: Cell<Option<u8>>,
    /// Who waits for more of it.
    waiting: RefCell<Option<Waker>>,
}

impl OutputState {
    /// Whether the cursor is at the start of a line, as far as line ends tell.
    pub(crate) fn is_line_start(&self) -> bool {
        matches!(self.last.get(), None | Some(b'\n'))
    }

    /// How many bytes have come. Whoever asks is woken with the next.
    pub(super) fn written(&self, cx: &Context<'_>) -> u64 {
        self.waiting.replace(Some(cx.waker().clone()));
        self.written.get()
    }

    fn note(&self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last.set(Some(*last));
            self.written.set(self.written.get() + bytes.len() as u64);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }
}

/// The writing half of the local side.
#[derive(Debug)]
pub(crate) struct ShellOutput<W> {
    writer: W,
    state: Rc<OutputState>,
}

impl<W> ShellOutput<W> {
    pub(crate) fn new(writer: W, state: &Rc<OutputState>) -> Self {
        Self { writer, state: Rc::clone(state) }
    }
}

impl<W: LocalWrite> AsyncWrite for ShellOutput<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.writer).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.state.note(bytes.get(..count).unwrap_or_default());
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

impl<W: LocalWrite> LocalWrite for ShellOutput<W> {
    async fn closed(&mut self) {
        self.writer.closed().await;
    }

    async fn left(&mut self) {
        self.writer.left().await;
    }

    async fn may_write(&mut self) {
        self.writer.may_write().await;
    }
}
