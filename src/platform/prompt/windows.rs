//! The console, through the `console` crate.

use std::io::{self, IsTerminal as _};

use console::{Key, Term};
use secrecy::zeroize::Zeroizing;
use winapi_util::HandleRef;
use winapi_util::console::mode;

use super::answer::{Answer, LONGEST, NoTerminal, Stop};
use crate::platform::signals::{Signal, Signals};

#[derive(Debug)]
pub(super) struct Terminal {
    console: Term,
    signals: Signals,
}

impl Terminal {
    pub(super) fn new() -> Result<Self, NoTerminal> {
        if !io::stdin().is_terminal() {
            return Err(NoTerminal::Not("stdin"));
        }
        if !io::stderr().is_terminal() {
            return Err(NoTerminal::Not("stderr"));
        }
        // `std` takes the pipes of mintty for a terminal. They have no modes.
        if mode(HandleRef::stdin()).is_err() || mode(HandleRef::stderr()).is_err() {
            return Err(NoTerminal::Mintty);
        }
        let signals = Signals::new().map_err(NoTerminal::Unusable)?;
        Ok(Self { console: Term::stderr(), signals })
    }

    pub(super) async fn line(&mut self, question: &str, is_seen: bool) -> Result<Answer, Stop> {
        self.write(question)?;
        let console = self.console.clone();
        let reading = tokio::task::spawn_blocking(move || match is_seen {
            true => console.read_line().map(Zeroizing::new),
            false => {
                let line = unseen(|| console.read_key());
                console.write_line("")?;
                line
            }
        });
        let read = tokio::select! {
            read = reading => read,
            signal = self.signals.next() => return Err(Stop::By(signal)),
        };
        match read {
            Ok(Ok(line)) if line.len() > LONGEST => Err(Stop::TooLong),
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                Err(Stop::By(Signal::Interrupt))
            }
            _ => Err(Stop::Closed),
        }
    }

    pub(super) async fn stopped(&mut self) -> Stop {
        Stop::By(self.signals.next().await)
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Stop> {
        self.console.write_str(text).map_err(|_| Stop::By(Signal::Hangup))
    }
}

/// A line that is not shown. The crate's own takes Backspace for nothing here.
fn unseen(mut next: impl FnMut() -> io::Result<Key>) -> io::Result<Answer> {
    let mut line = Zeroizing::new(String::new());
    loop {
        let key = match next() {
            // Half a character, as of an emoji: as little a part of a line as an arrow key.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            key => key?,
        };
        match key {
            Key::Enter => return Ok(line),
            Key::Backspace => drop(line.pop()),
            // Ctrl-D, and what ends a file on Windows.
            Key::Char('\x04' | '\x1a') if line.is_empty() => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Key::Char(c) if !c.is_control() => line.push(c),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[Key]) -> io::Result<Answer> {
        let mut keys = keys.iter().cloned();
        unseen(|| keys.next().ok_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }

    #[test]
    fn a_secret_is_corrected_by_backspace() {
        let keys = [Key::Char('a'), Key::Char('é'), Key::Backspace, Key::Char('c'), Key::Enter];
        assert_eq!(typed(&keys).unwrap().as_str(), "ac");
        assert_eq!(typed(&[Key::Backspace, Key::Enter]).unwrap().as_str(), "");
    }

    #[test]
    fn half_a_character_ends_no_secret() {
        let mut keys = vec![
            Ok(Key::Char('a')),
            Err(io::ErrorKind::InvalidData.into()),
            Ok(Key::Char('b')),
            Ok(Key::Enter),
        ]
        .into_iter();
        assert_eq!(unseen(|| keys.next().unwrap()).unwrap().as_str(), "ab");
    }

    #[test]
    fn its_end_without_an_answer_is_told() {
        for end in ['\x04', '\x1a'] {
            let kind = typed(&[Key::Char(end)]).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::UnexpectedEof);
        }
        let keys = [Key::Char('a'), Key::Char('\x04'), Key::Enter];
        assert_eq!(typed(&keys).unwrap().as_str(), "a");
    }
}
