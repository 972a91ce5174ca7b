//! What a shell is sent: the keys of a terminal, or a script with its end of file.

use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::escape::{Action, Escapes};
use super::output::OutputState;
use crate::gateway::local::give;

/// The most that is read at once.
const READ: usize = 4096;
/// The key that ends a terminal's input (Ctrl-D): it counts only at the start of a line.
const END: u8 = 0x04;
/// The key for which Windows reads an end of file (Ctrl-Z).
const CTRL_Z: u8 = 0x1a;
/// How soon the second half of a character comes that the console gives in two.
const SECOND_HALF: Duration = Duration::from_millis(50);
/// How long the output is quiet before the end of input is sent again; each time it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Carries out an escape; the text is the list of escapes.
type Act = Box<dyn Fn(Action, &str)>;

/// The reading half of the local side.
pub(crate) struct ShellInput<R> {
    reader: R,
    source: Source,
    /// What was read and is not passed on.
    rest: BytesMut,
}

enum Source {
    Terminal {
        escapes: Escapes,
        act: Act,
        /// Whether the user has left.
        has_left: bool,
        /// Whether an empty read is no end, but Ctrl-Z.
        has_ctrl_z: bool,
        /// An empty read that may be Ctrl-Z, until this time: std reads nothing, too, where the console has the
        /// first half (UTF-16) of a character outside the Basic Multilingual Plane.
        ctrl_z: Option<Pin<Box<Sleep>>>,
    },
    Script {
        /// The last byte of it.
        last: u8,
        output: Rc<OutputState>,
    },
    /// The script has been sent.
    Ended(EndOfInput),
}

/// The end of input, which is sent again after output. One that comes while the shell runs a program is
/// read by that program or lost, and the prompt that follows shows that another one is needed. Its echo shows
/// a program for which it is a character like any other.
struct EndOfInput {
    output: Rc<OutputState>,
    seen: u64,
    is_due: bool,
    pause: Duration,
    quiet: Pin<Box<Sleep>>,
}

impl<R> fmt::Debug for ShellInput<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellInput").finish_non_exhaustive()
    }
}

impl<R> ShellInput<R> {
    /// The keys of a terminal. `act` carries out escapes, and gets the text of their list.
    pub(crate) fn keys(reader: R, escapes: Escapes, act: impl Fn(Action, &str) + 'static) -> Self {
        let act = Box::new(act);
        let (has_left, has_ctrl_z, ctrl_z) = (false, cfg!(windows), None);
        let source = Source::Terminal { escapes, act, has_left, has_ctrl_z, ctrl_z };
        Self { reader, source, rest: BytesMut::new() }
    }

    /// A script. A shell reads it as if it were typed: a last line without its end is ended, since the
    /// end of input counts only at the start of a line.
    pub(crate) fn script(reader: R, output: &Rc<OutputState>) -> Self {
        let source = Source::Script { last: b'\n', output: Rc::clone(output) };
        Self { reader, source, rest: BytesMut::new() }
    }
}

impl EndOfInput {
    fn new(output: Rc<OutputState>) -> Self {
        let (pause, quiet) = (FIRST_PAUSE, Box::pin(sleep(FIRST_PAUSE)));
        // What is written from now on may show that it is needed again, and what was before too.
        Self { output, seen: 0, is_due: false, pause, quiet }
    }

    /// Waits until it is to be sent again.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.output.written(cx);
        if written != self.seen {
            (self.seen, self.is_due) = (written, true);
            self.quiet.as_mut().reset(Instant::now() + self.pause);
        }
        if !self.is_due {
            return Poll::Pending;
        }
        ready!(self.quiet.as_mut().poll(cx));
        self.is_due = false;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Poll::Ready(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ShellInput<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            if let Source::Ended(end) = &mut this.source {
                ready!(end.poll_due(cx));
                this.rest.put_u8(END);
                break;
            }
            if let Source::Terminal { has_left: true, .. } = &this.source {
                return Poll::Pending;
            }
            let mut chunk = [0; READ];
            let mut chunk = ReadBuf::new(&mut chunk);
            match (Pin::new(&mut this.reader).poll_read(cx, &mut chunk), &mut this.source) {
                (Poll::Ready(read), _) => read?,
                (Poll::Pending, Source::Terminal { ctrl_z: pending @ Some(_), .. }) => {
                    if let Some(until) = pending {
                        ready!(until.as_mut().poll(cx));
                    }
                    *pending = None;
                    this.rest.put_u8(CTRL_Z);
                    break;
                }
                (Poll::Pending, _) => return Poll::Pending,
            }
            let read = chunk.filled();
            if let Source::Terminal { ctrl_z, .. } = &mut this.source
                && ctrl_z.take().is_some()
                && !matches!(read.first(), Some(0xf0..=0xf4))
            {
                this.rest.put_u8(CTRL_Z);
            }
            match &mut this.source {
                // The console takes Ctrl-Z alone for an end of file.
                Source::Terminal { has_ctrl_z: true, ctrl_z, .. } if read.is_empty() => {
                    *ctrl_z = Some(Box::pin(sleep(SECOND_HALF)));
                }
                // The terminal has gone.
                Source::Terminal { .. } if read.is_empty() => return Poll::Ready(Ok(())),
                Source::Terminal { escapes, act, has_left, .. } => {
                    let (help, left) = (escapes.help(), std::cell::Cell::new(false));
                    escapes.filter(read, &mut this.rest, &|action| {
                        left.set(action == Action::Leave);
                        act(action, &help);
                    });
                    *has_left = left.get();
                }
                Source::Script { last, output } => match read.last() {
                    Some(_) => {
                        for byte in read {
                            // Both would be a line's end, as typed, and an empty line would follow each.
                            if (*last, *byte) != (b'\r', b'\n') {
                                this.rest.put_u8(*byte);
                            }
                            *last = *byte;
                        }
                    }
                    None => {
                        if !matches!(*last, b'\n' | b'\r') {
                            this.rest.put_u8(b'\n');
                        }
                        this.rest.put_u8(END);
                        let end = EndOfInput::new(Rc::clone(output));
                        this.source = Source::Ended(end);
                    }
                },
                Source::Ended(_) => {}
            }
        }
        give(&mut this.rest, buf);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::shell::ShellOutput;

    /// Everything until nothing more comes.
    async fn all(input: &mut ShellInput<&[u8]>) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        while let Some(read) = futures_util::FutureExt::now_or_never(input.read(&mut buffer)) {
            all.extend_from_slice(&buffer[..read.unwrap()]);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_has_its_last_line_ended_and_then_the_end_of_input() {
        for (script, sent) in [
            (&b""[..], &b"\x04"[..]),
            (b"ls\n", b"ls\n\x04"),
            (b"ls\necho \xc3\xa9", b"ls\necho \xc3\xa9\n\x04"),
            (b"ls\r\n\r\npwd\r\n", b"ls\r\rpwd\r\x04"),
            (b"ls\r", b"ls\r\x04"),
        ] {
            let mut input = ShellInput::script(script, &Rc::default());
            assert_eq!(all(&mut input).await, sent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_end_of_windows_is_one_though_it_comes_in_two_pieces() {
        let mut input = ShellInput::script(b"a\r".chain(&b"\nb\n"[..]), &Rc::default());
        let mut sent = [0; 5];
        input.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"a\rb\n\x04");
    }

    /// A shell that runs a program loses the first; one without output waits in vain, and is left alone.
    #[tokio::test(start_paused = true)]
    async fn the_end_of_input_is_sent_again_after_output() {
        let (_far, writer) = duplex(64);
        let state = Rc::default();
        let mut input = ShellInput::script(&b"sleep 9\n"[..], &state);
        let mut output = ShellOutput::new(writer, &state);
        assert_eq!(all(&mut input).await, b"sleep 9\n\x04");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(all(&mut input).await, b"", "nothing has come");
        for pause in [500, 1000, 2000] {
            output.write_all(b"$ ").await.unwrap();
            assert_eq!(all(&mut input).await, b"", "more may come");
            let begun = Instant::now();
            assert_eq!(input.read_u8().await.unwrap(), END);
            assert_eq!(begun.elapsed(), Duration::from_millis(pause));
            assert_eq!(all(&mut input).await, b"");
        }
    }

    /// A program that takes Ctrl-D for a character does not end at another one either.
    #[tokio::test(start_paused = true)]
    async fn an_end_of_input_that_is_only_echoed_is_not_sent_again() {
        let (_far, writer) = duplex(256);
        let state = Rc::default();
        let mut input = ShellInput::script(&b"x\n"[..], &state);
        let mut output = ShellOutput::new(writer, &state);
        output.write_all(b"x\r\n").await.unwrap();
        assert_eq!(all(&mut input).await, b"x\n\x04");
        assert_eq!(input.read_u8().await.unwrap(), END);
        for echo in ["^D", "^D^D", "^D\x08\x08", "\x1b[93m^D\x1b[0m\x1b[0K\x1b[?25h"] {
            output.write_all(echo.as_bytes()).await.unwrap();
            assert_eq!(all(&mut input).await, b"", "more may come");
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(all(&mut input).await, b"", "{echo:?}");
        }
        for more in ["^D\r\n$ ", "\x1b[?2004h$ ", "\x1b[?2004h", "^C", "^"] {
            output.write_all(more.as_bytes()).await.unwrap();
            assert_eq!(all(&mut input).await, b"", "more may come");
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(all(&mut input).await, [END], "{more:?}");
        }
    }

    /// What is read, what is sent of it, and after how many milliseconds.
    type Case<'a> = (&'a [&'static [u8]], &'a [u8], u128);

    /// A console of Windows: an empty part is an empty read.
    struct Parts(Vec<&'static [u8]>);

    impl AsyncRead for Parts {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            buf.put_slice(self.0.remove(0));
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_read_of_a_console_is_ctrl_z_or_half_a_character() {
        let emoji = "😀b".as_bytes();
        let cases: [Case<'_>; 5] = [
            (&[b""], b"\x1a", 50),
            (&[b"a", b"", emoji], "a😀b".as_bytes(), 0),
            (&[b"", b"b"], b"\x1ab", 0),
            (&[b"", "é".as_bytes()], "\x1aé".as_bytes(), 0),
            (&[b"", b"", emoji, b""], "\x1a😀b\x1a".as_bytes(), 50),
        ];
        for (parts, sent, after) in cases {
            let mut input = ShellInput::keys(Parts(parts.to_vec()), Escapes::new(None), |_, _| {});
            if let Source::Terminal { has_ctrl_z, .. } = &mut input.source {
                *has_ctrl_z = true;
            }
            let begun = Instant::now();
            let mut all = vec![0; sent.len()];
            input.read_exact(&mut all).await.unwrap();
            assert_eq!((&all[..], begun.elapsed().as_millis()), (sent, after));
            let more = tokio::time::timeout(Duration::from_secs(1), input.read_u8()).await;
            assert!(more.is_err(), "{more:?} after {sent:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_once_the_user_has_left() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&done);
        let act = move |action, help: &str| {
            assert!(help.contains("~."));
            told.borrow_mut().push(action);
        };
        let mut input = ShellInput::keys(&b"ab\r~?c\r~.d"[..], Escapes::new(Some(b'~')), act);
        assert_eq!(all(&mut input).await, b"ab\rc\r");
        assert_eq!(*done.borrow(), [Action::Help, Action::Leave]);
    }
}
