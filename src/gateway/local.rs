//! The local side of a session: it may come after the session, and what was read of it can be read once
//! more, for a session may take bytes and come to nothing.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::endpoint::LocalWrite;
use crate::platform::pipe;

/// The most bytes of a protocol's last message, such as QUIT, or close_notify of TLS. It is not needed
/// where the remote side has ended the session.
pub(crate) const GOODBYE: usize = 256;
/// The most that is read ahead of a session, in bytes: ssh sends its identification and its key exchange.
const AHEAD: usize = 4096;
/// For how long nothing comes from a local side that has sent all, unless it says so by its end of file:
/// what was sent before is there already.
pub(crate) const QUIET: Duration = Duration::from_millis(50);
/// How long the rest of a local side is read at most, to count it.
const COUNTED_WITHIN: Duration = Duration::from_millis(200);

/// The local side of a session.
#[derive(Debug)]
pub(crate) struct LocalSide<R, W> {
    state: State<R, W>,
    /// Whether what was read has been used.
    is_settled: Rc<Cell<bool>>,
    /// Whether an end of file shows that ssh has gone.
    reads_ahead: bool,
    delivering: Delivering,
}

/// Resolves when nothing more is wanted of a local side than that what it has sent arrives.
pub(crate) type Delivering = Shared<LocalBoxFuture<'static, ()>>;

#[derive(Debug)]
enum State<R, W> {
    /// It may come.
    Awaited(oneshot::Receiver<(R, W)>),
    Here(Rewind<R>, W),
    /// It will never come.
    Gone,
}

impl<R: AsyncRead + Unpin, W: LocalWrite> LocalSide<R, W> {
    /// A local side that is there.
    pub(crate) fn new(reader: R, writer: W) -> Self {
        let is_settled = Rc::default();
        let reader = Rewind::new(reader, Rc::clone(&is_settled));
        Self::of(State::Here(reader, writer), is_settled)
    }

    fn of(state: State<R, W>, is_settled: Rc<Cell<bool>>) -> Self {
        let delivering = std::future::pending().boxed_local().shared();
        Self { state, is_settled, reads_ahead: false, delivering }
    }

    /// The same, where the platform cannot tell that whoever reads has gone: [`Self::closed`] reads ahead then,
    /// and takes the end of file of ssh for it, which never closes only one direction.
    pub(crate) fn reading_ahead(self, reads_ahead: bool) -> Self {
        Self { reads_ahead, ..self }
    }

    /// A local side that comes later.
    pub(crate) fn awaited(receiver: oneshot::Receiver<(R, W)>) -> Self {
        Self::of(State::Awaited(receiver), Rc::default())
    }

    /// The same, of which at some time nothing more is wanted than that what it has sent arrives: one that
    /// has sent nothing counts as gone then.
    pub(crate) fn delivering_from(self, at: impl Future<Output = ()> + 'static) -> Self {
        Self { delivering: at.boxed_local().shared(), ..self }
    }

    /// Waits for that time.
    pub(crate) fn delivering(&self) -> Delivering {
        self.delivering.clone()
    }

    /// Whether it is there.
    pub(crate) fn is_here(&mut self) -> bool {
        if let State::Awaited(receiver) = &mut self.state
            && let Ok(halves) = receiver.try_recv()
        {
            self.attach(halves);
        }
        matches!(self.state, State::Here(..))
    }

    fn attach(&mut self, (reader, writer): (R, W)) {
        self.state = State::Here(Rewind::new(reader, Rc::clone(&self.is_settled)), writer);
    }

    /// Waits until it is there, for ever if it never comes. Cancel-safe.
    pub(crate) async fn arrived(&mut self) -> (&mut Rewind<R>, &mut W) {
        if let State::Awaited(receiver) = &mut self.state {
            match receiver.await {
                Ok(halves) => self.attach(halves),
                Err(_) => self.state = State::Gone,
            }
        }
        match self.halves() {
            Some(halves) => halves,
            None => std::future::pending().await,
        }
    }

    /// Both halves, if they are there.
    pub(crate) fn halves(&mut self) -> Option<(&mut Rewind<R>, &mut W)> {
        match &mut self.state {
            State::Here(reader, writer) => Some((reader, writer)),
            State::Awaited(_) | State::Gone => None,
        }
    }

    /// Both halves for what is left to be done. If they are not there they come no more.
    pub(crate) fn last_halves(&mut self) -> Option<(&mut Rewind<R>, &mut W)> {
        if !self.is_here() {
            self.state = State::Gone;
        }
        self.halves()
    }

    /// How many bytes more, or above, come `within` that time from a local side whose session the remote side
    /// has ended; none, if they are no more than `ignored`.
    pub(crate) async fn read_more(&mut self, within: Duration, ignored: usize) -> u64 {
        let Some((reader, _)) = self.last_halves() else { return 0 };
        let (mut buffer, mut count) = ([0; 512], 0);
        let read_on = async {
            while count <= ignored
                && let Ok(read @ 1..) = reader.read(&mut buffer).await
            {
                count += read;
            }
        };
        // What was read until then counts.
        let _ = timeout(within, read_on).await;
        if count > ignored { count as u64 } else { 0 }
    }

    /// How many bytes it has sent that were not read, if it has come to its end of file.
    pub(crate) async fn rest(&mut self) -> Option<u64> {
        let (reader, _) = self.last_halves()?;
        let mut bytes = 0;
        let read_on = async {
            let mut buffer = [0; AHEAD];
            while let Ok(Ok(read)) = timeout(QUIET, reader.read(&mut buffer)).await {
                if read == 0 {
                    return true;
                }
                bytes += read as u64;
            }
            false
        };
        let is_ended = timeout(COUNTED_WITHIN, read_on).await.unwrap_or(false);
        is_ended.then_some(bytes)
    }

    /// Waits until its reader has gone, as far as the platform can tell. Cancel-safe.
    pub(crate) async fn closed(&mut self) {
        self.gone(false).await;
    }

    /// The same; one that was not read waits, too, for an end of file that comes before any byte, see
    /// [`LocalWrite::left`]. Cancel-safe.
    pub(crate) async fn left(&mut self) {
        self.gone(true).await;
    }

    async fn gone(&mut self, may_leave: bool) {
        let (reads_ahead, delivering) = (self.reads_ahead, self.delivering());
        let (reader, writer) = self.arrived().await;
        let may_leave = may_leave && !reader.was_read;
        let gone = async {
            match may_leave {
                true => writer.left().await,
                false => writer.closed().await,
            }
        };
        tokio::select! {
            () = closed_or_gone(gone, reader, reads_ahead) => return,
            () = delivering => {}
        }
        if reader.has_input().await {
            closed_or_gone(writer.closed(), reader, reads_ahead).await;
        }
    }

    /// Whether what was read has been used: it is kept no longer then.
    pub(crate) fn is_settled(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.is_settled)
    }

    /// What was read is read once more.
    pub(crate) fn rewind(&mut self) {
        if let Some((reader, _)) = self.halves() {
            reader.rewind();
        }
    }

    /// Both halves, if they ever came.
    pub(crate) fn into_halves(mut self) -> Option<(R, W)> {
        self.is_here();
        match self.state {
            State::Here(reader, writer) => Some((reader.reader, writer)),
            State::Awaited(_) | State::Gone => None,
        }
    }
}

/// Waits until a writer is closed, or, where it is read ahead, until ssh has gone.
async fn closed_or_gone<R: AsyncRead + Unpin>(
    closed: impl Future<Output = ()>,
    reader: &mut Rewind<R>,
    reads_ahead: bool,
) {
    tokio::select! {
        () = closed => {}
        () = reader.ssh_gone(), if reads_ahead => {}
    }
}

/// Remembers what is read until it is settled that it has been used. A session takes no more than it
/// may hold before it is open, so that this is bounded.
#[derive(Debug)]
pub(crate) struct Rewind<R> {
    reader: R,
    is_settled: Rc<Cell<bool>>,
    kept: BytesMut,
    /// What of it is to be read again.
    again: BytesMut,
    /// Whether anything was read, an end of file included.
    was_read: bool,
    /// Whether an end of file was read.
    has_ended: bool,
}

impl<R: AsyncRead + Unpin> Rewind<R> {
    fn new(reader: R, is_settled: Rc<Cell<bool>>) -> Self {
        let (kept, again) = (BytesMut::new(), BytesMut::new());
        Self { reader, is_settled, kept, again, was_read: false, has_ended: false }
    }

    /// Reads ahead, and waits for an end of file behind what ssh sends first. What is read can still be read.
    /// Never returns for anybody else, nor once what was read has been used. Cancel-safe.
    async fn ssh_gone(&mut self) {
        while !self.has_ended && !self.is_settled.get() && self.kept.len() < AHEAD {
            let mut buffer = [0; AHEAD];
            let room = buffer.get_mut(self.kept.len()..).unwrap_or_default();
            match self.reader.read(room).await {
                Ok(read) => self.keep(room.get(..read).unwrap_or_default()),
                Err(error) if pipe::is_closed(&error) => self.keep(&[]),
                // Reading finds out.
                Err(_) => break,
            }
        }
        if !(self.has_ended && self.kept.starts_with(b"SSH-")) {
            std::future::pending().await
        }
    }

    /// Whether anything was sent that no session has used. What is read for that can still be read.
    /// Cancel-safe.
    async fn has_input(&mut self) -> bool {
        if self.kept.is_empty() && !self.has_ended {
            let mut buffer = [0; AHEAD];
            if let Ok(Ok(read)) = timeout(QUIET, self.reader.read(&mut buffer)).await {
                self.keep(buffer.get(..read).unwrap_or_default());
            }
        }
        !self.kept.is_empty()
    }

    /// Keeps what was read ahead, to be read again. Nothing is an end of file.
    fn keep(&mut self, read: &[u8]) {
        self.kept.extend_from_slice(read);
        self.again.extend_from_slice(read);
        (self.was_read, self.has_ended) = (true, read.is_empty());
    }

    fn rewind(&mut self) {
        self.again = self.kept.clone();
    }
}

/// Moves as much of what was kept into a buffer as there is room for.
pub(crate) fn give(kept: &mut BytesMut, to: &mut ReadBuf<'_>) {
    let count = kept.len().min(to.remaining());
    to.put_slice(&kept.split_to(count));
}

impl<R: AsyncRead + Unpin> AsyncRead for Rewind<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.again.is_empty() {
            give(&mut this.again, buf);
            return Poll::Ready(Ok(()));
        }
        if this.has_ended {
            return Poll::Ready(Ok(()));
        }
        let (before, is_empty) = (buf.filled().len(), buf.remaining() == 0);
        ready!(Pin::new(&mut this.reader).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        (this.was_read, this.has_ended) = (true, read.is_empty() && !is_empty);
        match this.is_settled.get() {
            true => this.kept = BytesMut::new(),
            false => this.kept.extend_from_slice(read),
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_before_it_was_settled_is_read_again() {
        let settled = Rc::new(Cell::new(false));
        let mut reader = Rewind::new(&b"abcdefgh"[..], Rc::clone(&settled));
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

    type Halves = (&'static [u8], DuplexStream);

    #[tokio::test]
    async fn it_is_waited_for_and_then_is_what_came() {
        let (attach, receiver) = oneshot::channel::<Halves>();
        let mut local = LocalSide::awaited(receiver);
        assert!(local.halves().is_none() && !local.is_here());
        assert!(futures_util::poll!(std::pin::pin!(local.arrived())).is_pending());
        let (mut far, writer) = duplex(64);
        attach.send((b"abc", writer)).unwrap();
        let mut buffer = [0; 3];
        let (reader, writer) = local.arrived().await;
        reader.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"abc");
        writer.write_all(b"xyz").await.unwrap();
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"xyz");
        assert!(local.into_halves().is_some());
    }

    /// Whether somebody who sends this, and closes that direction alone, has gone.
    async fn has_gone(sent: &[u8], reads_ahead: bool, is_left: bool) -> bool {
        let (_far, writer) = duplex(64);
        let mut local = LocalSide::new(sent, writer).reading_ahead(reads_ahead);
        // What is asked once more says the same.
        for _ in 0..2 {
            let _ = match is_left {
                true => timeout(Duration::from_secs(1), local.left()).await,
                false => timeout(Duration::from_secs(1), local.closed()).await,
            };
        }
        let gone = timeout(Duration::from_secs(1), local.closed()).await.is_ok();
        for _ in 0..2 {
            let mut all = Vec::new();
            local.halves().unwrap().0.read_to_end(&mut all).await.unwrap();
            assert!(all == sent, "nothing is lost: {} of {}", all.len(), sent.len());
            local.rewind();
        }
        gone
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_file_of_ssh_alone_shows_that_it_has_gone() {
        let long = [&b"SSH-2.0-x\r\n"[..], &[7; AHEAD]].concat();
        for (sent, gone) in [
            (&b"SSH-2.0-OpenSSH_9.5\r\n"[..], true),
            (&long[..AHEAD - 1], true),
            // It has more to send, and is not looked at any further.
            (&long[..], false),
            (b"echo x", false),
            (b"SSH", false),
            (b"", false),
        ] {
            assert_eq!(has_gone(sent, true, false).await, gone, "{} bytes", sent.len());
            assert_eq!(has_gone(sent, true, true).await, gone, "{} bytes", sent.len());
            assert!(!has_gone(sent, false, false).await, "the platform tells otherwise");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_ahead_while_it_is_waited_for_comes_in_turn() {
        let (mut far, reader) = duplex(64);
        let mut local = LocalSide::new(reader, duplex(64).0).reading_ahead(true);
        for word in [&b"SSH-"[..], b"2.0"] {
            far.write_all(word).await.unwrap();
            assert!(timeout(Duration::from_secs(1), local.closed()).await.is_err());
        }
        let mut buffer = [0; 9];
        let (reader, _) = local.halves().unwrap();
        reader.read_exact(&mut buffer[..7]).await.unwrap();
        far.write_all(b"-x").await.unwrap();
        reader.read_exact(&mut buffer[7..]).await.unwrap();
        assert_eq!(&buffer, b"SSH-2.0-x");
        drop(far);
        timeout(Duration::from_secs(1), local.closed()).await.expect("it has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_goodbye_is_no_more_to_be_sent() {
        for (bytes, counted) in [(0, 0), (31, 0), (GOODBYE, 0), (GOODBYE + 1, 257), (5_000, 512)] {
            let (mut far, reader) = duplex(8_192);
            let mut local = LocalSide::new(reader, duplex(64).0);
            far.write_all(&vec![7; bytes]).await.unwrap();
            let more = local.read_more(Duration::from_secs(1), GOODBYE).await;
            assert_eq!(more, counted, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_in_small_pieces_is_no_goodbye() {
        let (mut far, reader) = duplex(8_192);
        let mut local = LocalSide::new(reader, duplex(64).0);
        let lines = async {
            loop {
                far.write_all(&[7; 100]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let more = tokio::select! {
            more = local.read_more(Duration::from_millis(400), GOODBYE) => more,
            () = lines => unreachable!("it goes on"),
        };
        assert_eq!(more, 300);
        assert_eq!(local.read_more(Duration::ZERO, 0).await, 0, "the time is over at once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_a_session_is_a_reason_to_go_on() {
        for (sent, is_closed, goes_on) in [
            (&b"x"[..], true, true),
            (b"x", false, true),
            (b"", true, false),
            // It may send something later, which nobody wants.
            (b"", false, false),
        ] {
            for leaves in [false, true] {
                let ((mut far, reader), (_far, writer)) = (duplex(64), duplex(64));
                far.write_all(sent).await.unwrap();
                let _open = (!is_closed).then_some(far);
                let (delivers, at) = oneshot::channel::<()>();
                let at = async { at.await.unwrap() };
                let mut local = LocalSide::new(reader, writer).delivering_from(at);
                assert!(timeout(Duration::from_secs(1), local.closed()).await.is_err());
                delivers.send(()).unwrap();
                let gone = async {
                    match leaves {
                        true => local.left().await,
                        false => local.closed().await,
                    }
                };
                let stays = timeout(Duration::from_secs(1), gone).await.is_err();
                assert_eq!(stays, goes_on, "{sent:?}, closed: {is_closed}");
                // Nothing of it is lost.
                let rest = is_closed.then_some(sent.len() as u64);
                assert_eq!(local.rest().await, rest, "{sent:?}, closed: {is_closed}");
                local.rewind();
                assert_eq!(local.rest().await, rest, "{sent:?}, closed: {is_closed}");
            }
        }
    }

    #[tokio::test]
    async fn one_that_never_comes_has_no_halves() {
        let (attach, receiver) = oneshot::channel::<Halves>();
        let mut local = LocalSide::awaited(receiver);
        drop(attach);
        assert!(futures_util::poll!(std::pin::pin!(local.arrived())).is_pending());
        assert!(local.last_halves().is_none() && local.into_halves().is_none());
    }

    #[tokio::test]
    async fn one_that_came_is_there_though_nobody_has_looked() {
        let (attach, receiver) = oneshot::channel::<Halves>();
        attach.send((b"abc", duplex(64).0)).unwrap();
        assert_eq!(LocalSide::awaited(receiver).into_halves().unwrap().0, b"abc");
    }

    #[tokio::test]
    async fn a_local_side_without_a_taker_is_given_back() {
        let (attach, receiver) = oneshot::channel::<Halves>();
        let mut local = LocalSide::awaited(receiver);
        assert!(local.last_halves().is_none());
        assert_eq!(attach.send((b"abc", duplex(64).0)).unwrap_err().0, b"abc");
    }
}
