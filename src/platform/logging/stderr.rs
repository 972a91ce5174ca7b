//! Messages for the user.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A stderr that has not taken a message after so long is taken to be read by nobody.
const HELD_UP: Duration = Duration::from_millis(100);
/// How long the end of the process waits for a stderr that takes nothing.
const FINISH_WITHIN: Duration = Duration::from_secs(1);
/// The most that waits to be written, in bytes.
const MOST_WAITING: usize = 256 << 10;
/// The most that is written at once, in bytes.
const CHUNK: usize = 4096;

/// Writes a message for the user to stderr.
pub(crate) fn eprint(message: &dyn std::fmt::Display) {
    // Nobody is left to be told if this fails.
    let _ = Stderr.write_all(format!("{message}\n").as_bytes());
}

/// Lets a thread write to stderr from now on, so that streams and signals do not wait for whoever does
/// not read it. Where it cannot be started, stderr is written to as before.
pub(super) fn write_in_background() {
    let mut state = WRITER.state();
    if matches!(state.mode, Mode::Direct) {
        state.mode = Mode::Unstarted;
    }
}

/// Whether messages wait for a stderr that nobody reads.
#[cfg(unix)]
pub(crate) fn is_held_up() -> bool {
    matches!(WRITER.state().mode, Mode::HeldUp)
}

/// Waits until all messages are written, as long as any of them is taken within a second.
pub(crate) fn finish() {
    let mut state = WRITER.state();
    while state.unwritten > 0 {
        let unwritten = state.unwritten;
        let wait = WRITER
            .changed
            .wait_timeout_while(state, FINISH_WITHIN, |state| state.unwritten >= unwritten);
        let (now, result) = wait.unwrap_or_else(PoisonError::into_inner);
        if result.timed_out() {
            return;
        }
        state = now;
    }
}

/// Stderr, where lines end so that they also look right on a terminal that ssh has in raw mode.
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !io::stderr().is_terminal() {
            WRITER.write(bytes)?;
            return Ok(bytes.len());
        }
        let mut text = Vec::with_capacity(bytes.len() + 2);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.split_last() {
                Some((b'\n', line)) => {
                    text.extend_from_slice(line);
                    text.extend_from_slice(b"\r\n");
                }
                _ => text.extend_from_slice(line),
            }
        }
        WRITER.write(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Stderr has no buffer of its own.
        Ok(())
    }
}

static WRITER: Writer = Writer {
    state: Mutex::new(State {
        mode: Mode::Direct,
        waiting: VecDeque::new(),
        unwritten: 0,
        dropped: 0,
    }),
    changed: Condvar::new(),
};

/// Who writes to stderr.
struct Writer {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    waiting: VecDeque<u8>,
    /// The bytes that wait, and those that are being written.
    unwritten: usize,
    /// Messages that there was no room for.
    dropped: usize,
}

enum Mode {
    /// Whoever has a message writes it.
    Direct,
    /// The thread starts with the first message: most runs have none.
    Unstarted,
    /// The thread writes each message before the next one comes.
    Flowing,
    /// Messages wait, and nobody waits for them.
    HeldUp,
}

impl Writer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a message. It is on stderr when this returns, unless stderr is held up: so nothing is lost at
    /// any end of the process, a panic included, and what child processes write keeps its place.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if matches!(state.mode, Mode::Unstarted) {
            let started = thread::Builder::new().name("stderr".to_owned()).spawn(|| WRITER.run());
            state.mode = if started.is_ok() { Mode::Flowing } else { Mode::Direct };
        }
        if matches!(state.mode, Mode::Direct) {
            drop(state);
            return io::stderr().lock().write_all(bytes);
        }
        if state.unwritten + bytes.len() > MOST_WAITING && state.unwritten > 0 {
            state.dropped += 1;
            return Ok(());
        }
        state.add(bytes);
        self.changed.notify_all();
        if matches!(state.mode, Mode::Flowing) {
            let wait = self.changed.wait_timeout_while(state, HELD_UP, |state| state.unwritten > 0);
            let (mut state, result) = wait.unwrap_or_else(PoisonError::into_inner);
            if result.timed_out() {
                state.mode = Mode::HeldUp;
            }
        }
        Ok(())
    }

    /// Writes what waits. Never returns.
    fn run(&self) {
        loop {
            let wait = self.changed.wait_while(self.state(), |state| state.waiting.is_empty());
            let mut state = wait.unwrap_or_else(PoisonError::into_inner);
            let count = state.waiting.len().min(CHUNK);
            let chunk: Vec<u8> = state.waiting.drain(..count).collect();
            drop(state);
            // Nobody is left to be told if this fails.
            let _ = io::stderr().lock().write_all(&chunk);
            let mut state = self.state();
            state.unwritten -= count;
            if state.unwritten == 0 {
                match std::mem::take(&mut state.dropped) {
                    0 => state.mode = Mode::Flowing,
                    dropped => state.add(
                        format!(
                            "ecs-bridge: nobody read stderr: {dropped} messages were dropped\n"
                        )
                        .as_bytes(),
                    ),
                }
            }
            self.changed.notify_all();
        }
    }
}

impl State {
    fn add(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        self.unwritten += bytes.len();
    }
}
