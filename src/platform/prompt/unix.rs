//! The terminal by its settings: nothing is echoed, and bytes come as they are typed. Ctrl-C and
//! Ctrl-Z still make signals.

use std::io::{self, IsTerminal as _, Stdin, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};
use secrecy::zeroize::Zeroizing;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::mpsc;

use super::answer::{Answer, NoTerminal, Stop};
use super::line::{Fed, Line};
use crate::platform::signals::{Signal, Signals};
use crate::platform::terminal::is_in_foreground;

/// How often a terminal is read that cannot be waited for.
const READ_EVERY: Duration = Duration::from_millis(50);

/// What comes in one go, at most.
const CHUNK: usize = 4096;

type Bytes = Zeroizing<Vec<u8>>;

#[derive(Debug)]
pub(super) struct Terminal {
    stdin: Stdin,
    reader: Reader,
    signals: Signals,
    suspend: Stream,
    resume: Stream,
    /// As it was found.
    before: Termios,
    /// Typed, and not read yet.
    typed: Bytes,
}

/// A thread that waits for input: a terminal has no other way that is the same on all systems.
#[derive(Debug)]
struct Reader {
    wanted: blocking::Sender<()>,
    read: mpsc::UnboundedReceiver<Bytes>,
    is_asked: bool,
    hold: Arc<Hold>,
}

/// Whether the terminal is this program's, with its settings. Nothing is read without this locked,
/// nor the settings changed: so input is of the time before or after, and known to be.
#[derive(Debug, Default)]
struct Hold {
    is_taken: Mutex<bool>,
    taken: Condvar,
}

/// What woke a wait.
enum Woken {
    Typed(Option<Bytes>),
    Asked(Signal),
    Suspended,
    Resumed,
}

impl Terminal {
    pub(super) fn new() -> Result<Self, NoTerminal> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(NoTerminal::Not("stdin"));
        }
        if !io::stderr().is_terminal() {
            return Err(NoTerminal::Not("stderr"));
        }
        let make = || {
            let raw = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
            let mut terminal = Self {
                before: tcgetattr(&stdin)?,
                stdin,
                reader: Reader::new()?,
                signals: Signals::new()?,
                suspend: signal(raw(rustix::process::Signal::TSTP))?,
                resume: signal(raw(rustix::process::Signal::CONT))?,
                typed: Zeroizing::default(),
            };
            terminal.take()?;
            Ok(terminal)
        };
        make().map_err(NoTerminal::Unusable)
    }

    /// Asks for a line.
    pub(super) async fn line(&mut self, question: &str, is_seen: bool) -> Result<Answer, Stop> {
        let mut line = Line::default();
        self.write(question)?;
        loop {
            let typed = std::mem::take(&mut self.typed);
            for (at, byte) in typed.iter().enumerate() {
                let stop = match line.push(*byte) {
                    Fed::Shown(text) if is_seen && !text.is_empty() => {
                        self.write(&text)?;
                        continue;
                    }
                    Fed::Shown(_) => continue,
                    Fed::Done => None,
                    Fed::Closed => Some(Stop::Closed),
                    Fed::TooLong => Some(Stop::TooLong),
                };
                self.typed.extend_from_slice(&typed[at + 1..]);
                self.write("\n")?;
                return stop.map_or_else(|| Ok(line.into_text()), Err);
            }
            let woken = self.woken(true).await;
            if self.handled(woken)? {
                if !is_seen {
                    // Nobody could know how far it had come.
                    line = Line::default();
                }
                let again = format!("{question}{}", line.text());
                self.write(&again)?;
            }
        }
    }

    /// Waits to be stopped.
    pub(super) async fn stopped(&mut self) -> Stop {
        loop {
            let woken = self.woken(false).await;
            if let Err(stop) = self.handled(woken) {
                return stop;
            }
        }
    }

    /// Writes to the terminal.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Stop> {
        let mut stderr = io::stderr().lock();
        // It is gone, and a signal says so too, or will.
        let written = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        written.map_err(|_| Stop::By(Signal::Hangup))
    }

    async fn woken(&mut self, wants_input: bool) -> Woken {
        let Self { reader, signals, suspend, resume, .. } = self;
        tokio::select! {
            biased;
            signal = signals.next() => Woken::Asked(match signal {
                Signal::Quit => Signal::Interrupt,
                signal => signal,
            }),
            _ = suspend.recv() => Woken::Suspended,
            _ = resume.recv() => Woken::Resumed,
            typed = reader.next(), if wants_input => Woken::Typed(typed),
        }
    }

    /// Whether the question has to be shown again.
    fn handled(&mut self, woken: Woken) -> Result<bool, Stop> {
        match woken {
            Woken::Typed(Some(typed)) => {
                self.typed = typed;
                Ok(false)
            }
            // The other end of the terminal has gone.
            Woken::Typed(None) => Err(Stop::By(Signal::Hangup)),
            Woken::Asked(signal) => {
                let _ = self.write("\n");
                Err(Stop::By(signal))
            }
            Woken::Suspended => {
                self.give_back();
                // The rest is done once it goes on.
                let _ = kill_process(getpid(), rustix::process::Signal::STOP);
                Ok(false)
            }
            Woken::Resumed => {
                // Somebody else may have the terminal: then there will be another signal.
                let is_foreground = is_in_foreground(&self.stdin);
                let is_taken = *self.reader.hold.lock();
                if is_taken || is_foreground == Some(false) {
                    return Ok(false);
                }
                self.take().map_err(|_| Stop::By(Signal::Hangup))?;
                Ok(true)
            }
        }
    }

    fn take(&mut self) -> io::Result<()> {
        let mut settings = self.before.clone();
        settings.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        // To read never waits.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mut is_taken = self.reader.hold.lock();
        tcsetattr(&self.stdin, OptionalActions::Now, &settings)?;
        *is_taken = true;
        self.reader.hold.taken.notify_all();
        Ok(())
    }

    fn give_back(&mut self) {
        let hold = Arc::clone(&self.reader.hold);
        let mut is_taken = hold.lock();
        if std::mem::take(&mut *is_taken) {
            // What was typed for this program is not for the shell to echo and to remember.
            let _ = tcflush(&self.stdin, QueueSelector::IFlush);
            let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
            self.reader.forget();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for input, and passes it on; `false` if there will be no more. Until there is some
    /// nothing is read: that would stop a process that is in the background, even while it is ending.
    fn pass_on(&self, stdin: &Stdin, to: &mpsc::UnboundedSender<Bytes>) -> bool {
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        loop {
            let mut waited = [PollFd::new(stdin, PollFlags::IN)];
            match poll(&mut waited, None) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => return false,
            }
            let found = waited[0].revents();
            let has_gone = found.intersects(PollFlags::HUP | PollFlags::ERR);
            let mut is_taken = self.lock();
            if !*is_taken && !has_gone {
                // It is somebody else's input.
                while !*is_taken {
                    is_taken = self.taken.wait(is_taken).unwrap_or_else(PoisonError::into_inner);
                }
                continue;
            }
            match rustix::io::read(stdin, &mut chunk[..]) {
                Ok(0) if has_gone => return false,
                // Of /dev/tty macOS says at once that it cannot be waited for.
                Ok(0) if found.contains(PollFlags::NVAL) => {
                    drop(is_taken);
                    thread::sleep(READ_EVERY);
                }
                Ok(0) | Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(count) => {
                    chunk.truncate(count);
                    return to.send(chunk).is_ok();
                }
                Err(_) => return false,
            }
        }
    }
}

impl Reader {
    fn new() -> io::Result<Self> {
        let (wanted, asked) = blocking::channel();
        let (sender, read) = mpsc::unbounded_channel();
        let hold = Arc::new(Hold::default());
        let of_thread = Arc::clone(&hold);
        // It reads what it is asked to, once each time, and ends with the process, at the latest.
        thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            let stdin = io::stdin();
            while asked.recv().is_ok() && of_thread.pass_on(&stdin, &sender) {}
        })?;
        Ok(Self { wanted, read, is_asked: false, hold })
    }

    /// What is typed next; `None` when there will be nothing more. Cancel-safe.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.is_asked {
            self.wanted.send(()).ok()?;
            self.is_asked = true;
        }
        let typed = self.read.recv().await?;
        self.is_asked = false;
        Some(typed)
    }

    /// What was read so far is discarded.
    fn forget(&mut self) {
        while self.read.try_recv().is_ok() {
            self.is_asked = false;
        }
    }
}
