//! A local side that comes later than its session: a channel can be opened ahead of its use.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::endpoint::{Endpoint, LocalWrite};

/// Half of a local side that may still have to come. Until then it gives nothing and takes nothing.
#[derive(Debug)]
pub(crate) enum DeferredIo<T> {
    /// It is on its way.
    Awaited(oneshot::Receiver<T>),
    /// It is there.
    Here(T),
    /// It will never come.
    Gone,
}

/// Hands the local side to an endpoint that waits for it.
#[derive(Debug)]
pub(crate) struct DeferredHandle<R, W> {
    reader: oneshot::Sender<R>,
    writer: oneshot::Sender<W>,
}

/// An endpoint whose local side comes later.
pub(crate) fn deferred<R, W>() -> (DeferredHandle<R, W>, Endpoint<DeferredIo<R>, DeferredIo<W>>) {
    let (reader, to_reader) = oneshot::channel();
    let (writer, to_writer) = oneshot::channel();
    let endpoint =
        Endpoint { reader: DeferredIo::Awaited(to_reader), writer: DeferredIo::Awaited(to_writer) };
    (DeferredHandle { reader, writer }, endpoint)
}

impl<R, W> DeferredHandle<R, W> {
    /// Hands both halves over, or gives them back when the endpoint is gone.
    ///
    /// # Errors
    /// The two halves.
    pub(crate) fn attach(self, reader: R, writer: W) -> Result<(), (R, W)> {
        if self.reader.is_closed() || self.writer.is_closed() {
            return Err((reader, writer));
        }
        // Both receivers are dropped together, by the one task that has the endpoint.
        let reader = self.reader.send(reader);
        let writer = self.writer.send(writer);
        match (reader, writer) {
            (Err(reader), Err(writer)) => Err((reader, writer)),
            _ => Ok(()),
        }
    }
}

impl<T> DeferredIo<T> {
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut T>> {
        if let Self::Awaited(receiver) = self {
            *self = match ready!(Pin::new(receiver).poll(cx)) {
                Ok(here) => Self::Here(here),
                Err(_) => Self::Gone,
            };
        }
        Poll::Ready(match self {
            Self::Here(here) => Some(here),
            _ => None,
        })
    }

    /// The half, if it ever came.
    pub(crate) fn into_inner(self) -> Option<T> {
        match self {
            Self::Awaited(mut receiver) => receiver.try_recv().ok(),
            Self::Here(here) => Some(here),
            Self::Gone => None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for DeferredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_here(cx)) {
            Some(here) => Pin::new(here).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for DeferredIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_here(cx)) {
            Some(here) => Pin::new(here).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Here(here) => Pin::new(here).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Here(here) => Pin::new(here).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<T: LocalWrite> LocalWrite for DeferredIo<T> {
    async fn closed(&mut self) {
        match std::future::poll_fn(|cx| self.poll_here(cx).map(|here| here.is_some())).await {
            true => {
                if let Self::Here(here) = self {
                    here.closed().await;
                }
            }
            // Nobody was ever there: that is for whoever made the endpoint to act on.
            false => std::future::pending().await,
        }
    }

    async fn left(&mut self) {
        match std::future::poll_fn(|cx| self.poll_here(cx).map(|here| here.is_some())).await {
            true => {
                if let Self::Here(here) = self {
                    here.left().await;
                }
            }
            false => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn it_waits_and_then_is_what_came() {
        let (attach, mut endpoint) = deferred();
        let mut buffer = [0; 8];
        let mut read = std::pin::pin!(endpoint.reader.read(&mut buffer));
        assert!(futures_util::poll!(read.as_mut()).is_pending());
        attach.attach(&b"abc"[..], Vec::new()).unwrap();
        assert_eq!(read.await.unwrap(), 3);
        endpoint.writer.write_all(b"xyz").await.unwrap();
        assert_eq!(endpoint.writer.into_inner().unwrap(), b"xyz");
    }

    #[tokio::test]
    async fn one_that_never_comes_is_at_its_end() {
        let (attach, mut endpoint) = deferred::<&[u8], Vec<u8>>();
        drop(attach);
        assert_eq!(endpoint.reader.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(endpoint.writer.write_all(b"xyz").await.is_err());
    }

    #[tokio::test]
    async fn one_that_came_is_there_though_nobody_has_looked() {
        let (attach, endpoint) = deferred();
        attach.attach(&b"abc"[..], Vec::<u8>::new()).unwrap();
        assert_eq!(endpoint.reader.into_inner(), Some(&b"abc"[..]));
        let (_attach, endpoint) = deferred::<&[u8], Vec<u8>>();
        assert_eq!(endpoint.reader.into_inner(), None);
    }

    #[tokio::test]
    async fn a_local_side_without_a_taker_is_given_back() {
        let (attach, endpoint) = deferred::<&[u8], Vec<u8>>();
        drop(endpoint);
        assert_eq!(attach.attach(b"abc", vec![1]), Err((&b"abc"[..], vec![1])));
    }
}
