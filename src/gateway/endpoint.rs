//! The local side of a session.

use std::future::Future;
use std::io;

use tokio::io::AsyncWrite;

/// The half that local bytes are delivered to.
pub(crate) trait LocalWrite: AsyncWrite + Unpin {
    /// Waits until the reader of this half has gone, as far as the platform can tell without
    /// writing. Cancel-safe.
    fn closed(&mut self) -> impl Future<Output = ()>;

    /// The same for a half whose other direction has not been read: waits, too, for an end of file
    /// that comes before any byte, where the two directions are of one connection. Cancel-safe.
    fn left(&mut self) -> impl Future<Output = ()> {
        self.closed()
    }

    /// Waits until bytes may be delivered, or the reader of this half has gone. Cancel-safe.
    fn may_write(&mut self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// The process's own stdin and stdout.
///
/// # Errors
/// When a descriptor is closed, or cannot be handed to the event loop.
pub(crate) fn stdio() -> io::Result<(Stdin, Stdout)> {
    Ok((stdin()?, stdout()?))
}

#[cfg(not(unix))]
use self::other::stdin;
#[cfg(not(unix))]
pub(crate) use self::other::{Stdin, Stdout, stdout};
#[cfg(unix)]
pub(super) use self::unix::hung_up;
#[cfg(unix)]
use self::unix::stdin;
#[cfg(unix)]
pub(crate) use self::unix::{Stdin, Stdout, stdout};

#[cfg(unix)]
mod unix {
    //! Pipes and sockets are read and written without blocking, so that a reader that goes away is
    //! noticed at once; terminals and files, which the event loop cannot wait for, by a thread.

    use std::fs::File;
    use std::io::{self, IsTerminal as _};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::fs::FileTypeExt;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use futures_util::FutureExt;
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::io::Errno;
    use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
    use tokio::net::UnixStream;
    use tokio::net::unix::pipe;

    use super::LocalWrite;

    /// How soon a socket is seen to be shut down in both directions, and a terminal to be gone.
    const HUNG_UP_WITHIN: Duration = Duration::from_millis(500);
    /// Whether a pipe whose reader has gone has an error. kqueue reports an end alone.
    const HAS_ERRORS_OF_PIPES: bool = cfg!(any(target_os = "linux", target_os = "android"));

    /// Bytes from the local side. Pipes and sockets block again once it is dropped, as whoever
    /// shares them expects.
    #[derive(Debug)]
    pub(crate) struct Stdin {
        kind: Kind<pipe::Receiver, tokio::io::Stdin>,
        is_terminal: bool,
        _blocking: Blocking,
    }

    /// Bytes to the local side. Pipes and sockets block again once it is dropped.
    #[derive(Debug)]
    pub(crate) struct Stdout {
        kind: Kind<pipe::Sender, tokio::io::Stdout>,
        is_terminal: bool,
        _blocking: Blocking,
    }

    #[derive(Debug)]
    enum Kind<P, T> {
        Pipe(P),
        Socket(UnixStream),
        Thread(T),
    }

    /// Makes a descriptor block again when dropped, if it did before: the flag belongs to the open
    /// file, which other processes may share.
    #[derive(Debug)]
    struct Blocking(Option<OwnedFd>);

    impl Blocking {
        fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
            let blocks = !fcntl_getfl(fd)?.contains(OFlags::NONBLOCK);
            Ok(Self(if blocks { Some(fd.try_clone_to_owned()?) } else { None }))
        }
    }

    impl Drop for Blocking {
        fn drop(&mut self) {
            if let Some(fd) = &self.0
                && let Ok(flags) = fcntl_getfl(fd)
                && flags.contains(OFlags::NONBLOCK)
            {
                let _ = fcntl_setfl(fd, flags - OFlags::NONBLOCK);
            }
        }
    }

    impl<P, T> Kind<P, T> {
        fn open(
            fd: BorrowedFd<'_>,
            pipe: impl FnOnce(File) -> io::Result<P>,
            thread: impl FnOnce() -> T,
        ) -> io::Result<Self> {
            let file = File::from(fd.try_clone_to_owned()?);
            let kind = file.metadata()?.file_type();
            if kind.is_fifo() {
                return pipe(file).map(Self::Pipe);
            }
            if kind.is_socket() {
                let socket = std::os::unix::net::UnixStream::from(OwnedFd::from(file));
                socket.set_nonblocking(true)?;
                return UnixStream::from_std(socket).map(Self::Socket);
            }
            Ok(Self::Thread(thread()))
        }
    }

    pub(super) fn stdin() -> io::Result<Stdin> {
        let stdin = io::stdin();
        let _blocking = Blocking::of(stdin.as_fd())?;
        let kind = Kind::open(stdin.as_fd(), pipe::Receiver::from_file, tokio::io::stdin)?;
        Ok(Stdin { kind, is_terminal: stdin.is_terminal(), _blocking })
    }

    /// The process's own stdout.
    ///
    /// # Errors
    /// When the descriptor is closed, or cannot be handed to the event loop.
    pub(crate) fn stdout() -> io::Result<Stdout> {
        let stdout = io::stdout();
        let _blocking = Blocking::of(stdout.as_fd())?;
        let kind = Kind::open(stdout.as_fd(), pipe::Sender::from_file, tokio::io::stdout)?;
        Ok(Stdout { kind, is_terminal: stdout.is_terminal(), _blocking })
    }

    impl AsyncRead for Stdin {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let read = match &mut self.kind {
                Kind::Pipe(io) => Pin::new(io).poll_read(cx, buf),
                Kind::Socket(io) => Pin::new(io).poll_read(cx, buf),
                Kind::Thread(io) => Pin::new(io).poll_read(cx, buf),
            };
            read.map_err(|error| gone_if(self.is_terminal, error))
        }
    }

    /// An error of a terminal that has gone, which the system calls one of its hardware.
    fn gone_if(is_terminal: bool, error: io::Error) -> io::Error {
        match Errno::from_io_error(&error) {
            Some(Errno::IO) if is_terminal => io::ErrorKind::BrokenPipe.into(),
            _ => error,
        }
    }

    impl Stdout {
        fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
            match &mut self.kind {
                Kind::Pipe(io) => Pin::new(io),
                Kind::Socket(io) => Pin::new(io),
                Kind::Thread(io) => Pin::new(io),
            }
        }
    }

    impl AsyncWrite for Stdout {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = self.writer().poll_write(cx, bytes);
            written.map_err(|error| gone_if(self.is_terminal, error))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.writer().poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.writer().poll_shutdown(cx)
        }
    }

    /// Waits until a socket is shut down in both directions, or the reader of a pipe has gone. The event
    /// loop reports that along with readiness to be written, which is nothing to wait for: so it is asked
    /// now and then. `ready` waits for readiness.
    pub(in crate::gateway) async fn hung_up(
        ready: impl AsyncFn(Interest) -> io::Result<Ready>,
    ) -> io::Result<Ready> {
        let mut ticks = tokio::time::interval(HUNG_UP_WITHIN);
        loop {
            tokio::select! {
                error = ready(Interest::ERROR) => return error,
                _ = ticks.tick() => {
                    if let Some(Ok(ready)) = ready(Interest::WRITABLE).now_or_never()
                        && ready.is_write_closed()
                    {
                        return Ok(ready);
                    }
                }
            }
        }
    }

    /// Waits until stdout is no terminal any more. A signal announces only the loss of the process's own
    /// terminal.
    async fn terminal_gone() -> io::Result<Ready> {
        let mut ticks = tokio::time::interval(HUNG_UP_WITHIN);
        while io::stdout().is_terminal() {
            ticks.tick().await;
        }
        Ok(Ready::ERROR)
    }

    impl LocalWrite for Stdout {
        async fn closed(&mut self) {
            let closed = match &self.kind {
                Kind::Pipe(io) if HAS_ERRORS_OF_PIPES => io.ready(Interest::ERROR).await,
                Kind::Pipe(io) => hung_up(|what| io.ready(what)).await,
                Kind::Socket(io) => hung_up(|what| io.ready(what)).await,
                Kind::Thread(_) if self.is_terminal => terminal_gone().await,
                Kind::Thread(_) => std::future::pending().await,
            };
            // An error of the event loop says nothing about the reader: the next write will.
            if closed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use tokio::time::timeout;

        use super::*;

        #[tokio::test]
        async fn a_pipe_whose_reader_has_gone_is_noticed_without_a_write() {
            for is_full in [false, true] {
                let (reader, writer) = io::pipe().unwrap();
                let pipe = pipe::Sender::from_file(File::from(OwnedFd::from(writer))).unwrap();
                while is_full && pipe.try_write(&[0; 4096]).is_ok() {}
                let kind = Kind::Pipe(pipe);
                let mut stdout = Stdout { kind, is_terminal: false, _blocking: Blocking(None) };
                let early = timeout(2 * HUNG_UP_WITHIN, stdout.closed()).await;
                assert!(early.is_err(), "full: {is_full}");
                drop(reader);
                timeout(10 * HUNG_UP_WITHIN, stdout.closed()).await.expect("it is noticed");
                let Kind::Pipe(pipe) = stdout.kind else { unreachable!() };
                let asked = hung_up(|what| pipe.ready(what));
                timeout(10 * HUNG_UP_WITHIN, asked).await.expect("and where it is asked").unwrap();
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    //! Where pipes cannot be waited for, a thread reads and writes them.

    use std::io;

    pub(crate) use tokio::io::{Stdin, Stdout};

    use super::LocalWrite;

    pub(super) fn stdin() -> io::Result<Stdin> {
        Ok(tokio::io::stdin())
    }

    /// The process's own stdout.
    pub(crate) fn stdout() -> io::Result<Stdout> {
        Ok(tokio::io::stdout())
    }

    impl LocalWrite for Stdout {
        /// Never: only a write shows it, and a reader may take a write of no bytes for the end.
        async fn closed(&mut self) {
            std::future::pending().await
        }
    }
}
