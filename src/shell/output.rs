//! What a shell writes, on its way to stdout.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;

use crate::gateway::endpoint::LocalWrite;

/// What is known of the output so far.
#[derive(Debug, Default)]
pub(crate) struct OutputState {
    written: Cell<u64>,
    last: Cell<Option<u8>>,
    /// The task that waits for more of it.
    waiting: RefCell<Option<Waker>>,
}

impl OutputState {
    /// Whether the cursor is at the start of a line, as far as line ends tell.
    pub(crate) fn is_line_start(&self) -> bool {
        matches!(self.last.get(), None | Some(b'\n'))
    }

    /// How many bytes have come, but for the echo of Ctrl-D. The caller is woken with the next.
    pub(super) fn written(&self, cx: &Context<'_>) -> u64 {
        self.waiting.replace(Some(cx.waker().clone()));
        self.written.get()
    }

    fn note(&self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last.set(Some(*last));
            if is_echo_of_end(bytes) {
                return;
            }
            self.written.set(self.written.get() + bytes.len() as u64);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }
}

/// Whether it is nothing but what is shown for Ctrl-D, with colours, erasures and backspaces.
fn is_echo_of_end(bytes: &[u8]) -> bool {
    let (mut rest, mut is_shown) = (bytes, false);
    loop {
        rest = match rest {
            [] => return is_shown,
            [b'^', b'D', rest @ ..] => {
                is_shown = true;
                rest
            }
            [0x08, rest @ ..] => rest,
            // A control sequence ends with its first byte that is no parameter.
            [0x1b, b'[', rest @ ..] => match rest.iter().position(|b| (0x40..0x7f).contains(b)) {
                Some(end) => &rest[end + 1..],
                None => return false,
            },
            _ => return false,
        };
    }
}

/// The writing half of the local side.
#[derive(Debug)]
pub(crate) struct ShellOutput<W> {
    writer: W,
    state: Rc<OutputState>,
    text: Option<Text>,
}

/// What is made of bytes for a console that takes text alone.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character.
    begun: Vec<u8>,
    /// What the console has not taken.
    rest: BytesMut,
}

impl Text {
    /// Takes bytes; what is no character becomes U+FFFD.
    fn push(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.begun);
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.rest.extend_from_slice(chunk.valid().as_bytes());
            let invalid = chunk.invalid();
            let may_go_on = |error: std::str::Utf8Error| error.error_len().is_none();
            if chunks.peek().is_none() && std::str::from_utf8(invalid).is_err_and(may_go_on) {
                self.begun = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.rest.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
}

impl<W> ShellOutput<W> {
    pub(crate) fn new(writer: W, state: &Rc<OutputState>) -> Self {
        Self { writer, state: Rc::clone(state), text: None }
    }

    /// The same to a console that refuses what is not UTF-8, as that of Windows does.
    pub(crate) fn for_console(self, takes_text_alone: bool) -> Self {
        Self { text: takes_text_alone.then(Text::default), ..self }
    }
}

impl<W: LocalWrite> ShellOutput<W> {
    /// Writes the text that is left.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Text { rest, .. }) = &mut self.text
            && !rest.is_empty()
        {
            match ready!(Pin::new(&mut self.writer).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => rest.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: LocalWrite> AsyncWrite for ShellOutput<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_text(cx))?;
        if let Some(text) = &mut self.text {
            text.push(bytes);
            self.state.note(bytes);
            // What it does not take at once is written before anything else.
            if let Poll::Ready(Err(error)) = self.poll_text(cx) {
                return Poll::Ready(Err(error));
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.writer).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.state.note(bytes.get(..count).unwrap_or_default());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_text(cx))?;
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_text(cx))?;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_console_gets_characters_whatever_comes() {
        let bytes = b"caf\xc3\xa9 \xff\xe7\x8e ok \xf0\x9f\x98\x80\xc3";
        for size in 1..=bytes.len() {
            let (mut console, writer) = duplex(5);
            let mut output = ShellOutput::new(writer, &Rc::default()).for_console(true);
            let write = async {
                for piece in bytes.chunks(size) {
                    output.write_all(piece).await.unwrap();
                }
                output.flush().await.unwrap();
                drop(output);
            };
            let mut shown = String::new();
            let (read, ()) = tokio::join!(console.read_to_string(&mut shown), write);
            read.unwrap();
            assert_eq!(shown, "café \u{fffd}\u{fffd} ok \u{1f600}", "{size}");
        }
    }
}
