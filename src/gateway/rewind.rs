//! Local bytes that can be read once more: a session may take them and come to nothing.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// Remembers what is read until it is settled that it has been used. A session takes no more than it
/// may hold before it is open, so that this is bounded.
#[derive(Debug)]
pub(crate) struct Rewind<'a, R> {
    reader: R,
    is_settled: &'a Cell<bool>,
    kept: BytesMut,
    /// What of it is to be read again.
    again: BytesMut,
    /// Whether anything was read, an end of file included.
    was_read: bool,
}

impl<'a, R: AsyncRead + Unpin> Rewind<'a, R> {
    /// Remembers until `is_settled`.
    pub(crate) fn new(reader: R, is_settled: &'a Cell<bool>) -> Self {
        Self { reader, is_settled, kept: BytesMut::new(), again: BytesMut::new(), was_read: false }
    }

    /// Whether anything was read, an end of file included.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read
    }

    /// What was read is read once more.
    pub(crate) fn rewind(&mut self) {
        self.again = self.kept.clone();
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Rewind<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.again.is_empty() {
            let count = this.again.len().min(buf.remaining());
            buf.put_slice(this.again.get(..count).unwrap_or_default());
            this.again.advance(count);
            return Poll::Ready(Ok(()));
        }
        if this.is_settled.get() {
            this.kept = BytesMut::new();
            return Pin::new(&mut this.reader).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.reader).poll_read(cx, buf))?;
        this.was_read = true;
        this.kept.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_before_it_was_settled_is_read_again() {
        let settled = Cell::new(false);
        let mut reader = Rewind::new(&b"abcdefgh"[..], &settled);
        let mut two = [0; 2];
        reader.read_exact(&mut two).await.unwrap();
        reader.read_exact(&mut two).await.unwrap();
        reader.rewind();
        reader.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ab");
        // Again, in the middle of reading again.
        reader.rewind();
        let mut six = [0; 6];
        reader.read_exact(&mut six).await.unwrap();
        assert_eq!(&six, b"abcdef");
        settled.set(true);
        reader.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"gh");
        reader.rewind();
        assert_eq!(reader.read(&mut two).await.unwrap(), 0, "it is kept no longer");
    }
}
