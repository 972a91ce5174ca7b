//! The socket under a connection, with the switches that faults need: one that swallows what is written, one that lets
//! nothing be read either, one that swallows pongs only, and one that lets the connection end with a reset.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::written::{Next, Written};

/// So many connections whose packets vanish are kept from being closed.
const MAX_VANISHED: usize = 1_024;

/// The connections whose packets vanish: they stay up, with nobody behind them, for as long as the cloud does.
#[derive(Debug, Default)]
pub(crate) struct Vanished(Mutex<Vec<OwnedFd>>);

impl Vanished {
    fn keep(&self, tcp: &TcpStream) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a descriptor for it the client sees the end of it, which is all that can be done here.
        if kept.len() < MAX_VANISHED
            && let Ok(descriptor) = tcp.as_fd().try_clone_to_owned()
        {
            kept.push(descriptor);
        }
    }
}

/// What faults may switch on.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    muted: AtomicBool,
    vanished: AtomicBool,
    reset: AtomicBool,
    pongs_off: AtomicBool,
    hung_up: AtomicBool,
}

impl Switches {
    /// From now on nothing that is written gets out.
    pub(crate) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    /// From now on nothing is read either.
    pub(crate) fn vanish(&self) {
        self.vanished.store(true, Ordering::Relaxed);
        self.mute();
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Whether pongs get out from now on.
    pub(crate) fn pongs(&self, answered: bool) {
        self.pongs_off.store(!answered, Ordering::Relaxed);
    }

    /// The next flush ends what is written, and nothing is written after it.
    pub(crate) fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Relaxed);
    }

    /// Whether nothing that is written gets out.
    fn swallows(&self) -> bool {
        self.is_muted() || self.hung_up.load(Ordering::Relaxed)
    }

    /// The connection will end with a reset.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Io {
    stream: Stream,
    switches: Arc<Switches>,
    vanished: Arc<Vanished>,
    /// The WebSocket frames that are written, once it is one.
    frames: Option<Written>,
}

impl Io {
    pub(crate) fn plain(stream: TcpStream, vanished: Arc<Vanished>) -> Self {
        Self::new(Stream::Plain(stream), vanished)
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, vanished: Arc<Vanished>) -> Self {
        Self::new(Stream::Tls(Box::new(stream)), vanished)
    }

    fn new(stream: Stream, vanished: Arc<Vanished>) -> Self {
        Self { stream, switches: Arc::default(), vanished, frames: None }
    }

    /// What is written from now on are the frames of a WebSocket.
    pub(crate) fn begin_frames(&mut self) {
        self.frames = Some(Written::default());
    }

    pub(crate) fn switches(&self) -> Arc<Switches> {
        Arc::clone(&self.switches)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        };
        if self.switches.vanished.load(Ordering::Relaxed) {
            self.vanished.keep(tcp);
        } else if self.switches.reset.load(Ordering::Relaxed) {
            // Should it fail, the connection ends in the ordinary way, which is all that can be done here.
            let _ = tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.switches.vanished.load(Ordering::Relaxed) {
            return Poll::Pending; // for good
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switches.swallows() {
            return Poll::Ready(Ok(buf.len()));
        }
        let Self { stream, switches, frames, .. } = &mut *self;
        let pongs = !switches.pongs_off.load(Ordering::Relaxed);
        let mut frames = frames.as_mut();
        let next = frames.as_mut().map_or(Next::Write(buf.len()), |frames| frames.next(buf, pongs));
        let written = match next {
            Next::LeaveOut(count) => Poll::Ready(Ok(count)),
            Next::Write(count) => match stream {
                Stream::Plain(stream) => Pin::new(stream).poll_write(cx, &buf[..count]),
                Stream::Tls(stream) => Pin::new(stream).poll_write(cx, &buf[..count]),
            },
        };
        if let (Some(frames), Poll::Ready(Ok(count))) = (frames, &written) {
            frames.done(*count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switches.is_muted() {
            return Poll::Ready(Ok(()));
        }
        if self.switches.hung_up.load(Ordering::Relaxed) {
            return self.poll_shutdown(cx);
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switches.is_muted() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
