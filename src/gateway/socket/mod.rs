//! A local connection as the local side of a session.

use std::io;
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::time::timeout;

use super::endpoint::LocalWrite;
#[cfg(unix)]
use super::endpoint::hung_up;
use super::local::QUIET;
use crate::net::keep_alive;

/// How long a connection that has been told of the end is read on, so that it is not reset before
/// it has read its last bytes.
const LINGER: Duration = Duration::from_secs(1);

/// The half of a connection that gives bytes.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    /// Of a TCP connection.
    Tcp(tcp::OwnedReadHalf),
    /// Of a connection to a unix socket.
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
}

impl ReadHalf {
    /// Whether its client has sent anything that was not read. Cancel-safe.
    pub(crate) async fn has_input(&mut self) -> bool {
        let peek = async {
            match self {
                Self::Tcp(io) => io.peek(&mut [0]).await,
                #[cfg(unix)]
                Self::Unix(io) => peek(io.as_ref()).await,
            }
        };
        matches!(timeout(QUIET, peek).await, Ok(Ok(1..)))
    }
}

/// Waits until a byte can be read, or the end of file, and leaves it there.
#[cfg(unix)]
async fn peek(stream: &UnixStream) -> io::Result<usize> {
    let peek = || socket2::SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    stream.async_io(Interest::READABLE, peek).await
}

/// The half of a connection that takes bytes.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    /// Of a TCP connection.
    Tcp(TcpWriteHalf),
    /// Of a connection to a unix socket.
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
}

/// The half of a TCP connection that takes bytes. Dropped, it sends no end of file.
#[derive(Debug)]
pub(crate) struct TcpWriteHalf(Option<tcp::OwnedWriteHalf>);

impl TcpWriteHalf {
    fn get(&mut self) -> io::Result<&mut tcp::OwnedWriteHalf> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for TcpWriteHalf {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take() {
            // Dropped as it is, it would send an end of file, and the program would see only that.
            writer.forget();
        }
    }
}

/// The halves of a TCP connection, on which small writes do not wait. However it comes to its end
/// except by [`close`], the end of this process included, it is reset.
pub(crate) fn tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    // It only makes it quicker.
    let _ = stream.set_nodelay(true);
    // A client on another machine may vanish (`--bind`).
    let _ = keep_alive(&stream);
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let (reader, writer) = stream.into_split();
    (ReadHalf::Tcp(reader), WriteHalf::Tcp(TcpWriteHalf(Some(writer))))
}

/// The halves of a connection to a unix socket.
#[cfg(unix)]
pub(crate) fn unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (reader, writer) = stream.into_split();
    (ReadHalf::Unix(reader), WriteHalf::Unix(writer))
}

/// Ends a connection with a reset, so that its program does not take what it got for all. A unix
/// socket knows no reset: it is closed.
pub(crate) fn reset(reader: ReadHalf, writer: WriteHalf) {
    drop((reader, writer));
}

/// Closes a connection that was told of the end. What still comes is read before, for a second at
/// most: a connection that is closed with bytes unread is reset, and may lose what it has not read
/// itself.
pub(crate) async fn close(mut reader: ReadHalf, mut writer: WriteHalf) {
    if let WriteHalf::Tcp(writer) = &mut writer
        && let Ok(writer) = writer.get()
    {
        // Where it fails the connection has gone already.
        let _ = socket2::SockRef::from(writer.as_ref()).set_linger(None);
    }
    let mut buffer = [0; 4096];
    let read_on = async { while matches!(reader.read(&mut buffer).await, Ok(1..)) {} };
    let _ = timeout(LINGER, read_on).await;
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl WriteHalf {
    fn writer(&mut self) -> io::Result<Pin<&mut (dyn AsyncWrite + Unpin)>> {
        Ok(match self {
            Self::Tcp(io) => Pin::new(io.get()?),
            #[cfg(unix)]
            Self::Unix(io) => Pin::new(io),
        })
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer()?.poll_shutdown(cx)
    }
}

impl LocalWrite for WriteHalf {
    /// A reset, or both directions shut down. An end of file alone does not count: its program may
    /// still read.
    async fn closed(&mut self) {
        let closed = match self {
            Self::Tcp(io) => match io.get() {
                Ok(io) => was_reset(io.as_ref()).await,
                Err(error) => Err(error),
            },
            #[cfg(unix)]
            Self::Unix(io) => hung_up(|what| io.as_ref().ready(what)).await.map(drop),
        };
        if closed.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn left(&mut self) {
        let first = match self {
            Self::Tcp(io) => match io.get() {
                Ok(io) => io.as_ref().peek(&mut [0]).await,
                Err(error) => Err(error),
            },
            #[cfg(unix)]
            Self::Unix(io) => peek(io.as_ref()).await,
        };
        if matches!(first, Ok(1..)) {
            self.closed().await;
        }
    }
}

/// Waits until a connection was reset.
#[cfg(unix)]
async fn was_reset(stream: &TcpStream) -> io::Result<()> {
    stream.ready(Interest::ERROR).await.map(drop)
}

/// The same where the event loop does not tell of a reset: nothing is sent, now and then, and the system's
/// answer to that is looked at.
#[cfg(not(unix))]
async fn was_reset(stream: &TcpStream) -> io::Result<()> {
    /// How soon a reset is noticed.
    const WITHIN: Duration = Duration::from_millis(500);
    let mut ticks = tokio::time::interval(WITHIN);
    loop {
        ticks.tick().await;
        match socket2::SockRef::from(stream).send(&[]) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
