//! The console, through the `console` crate.

use std::io::{self, IsTerminal as _};

use console::Term;

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
        let signals = Signals::new().map_err(NoTerminal::Unusable)?;
        Ok(Self { console: Term::stderr(), signals })
    }

    pub(super) async fn line(&mut self, question: &str, is_seen: bool) -> Result<Answer, Stop> {
        self.write(question)?;
        let console = self.console.clone();
        let reading = tokio::task::spawn_blocking(move || match is_seen {
            true => console.read_line(),
            false => console.read_secure_line(),
        });
        let read = tokio::select! {
            read = reading => read,
            signal = self.signals.next() => return Err(Stop::By(signal)),
        };
        match read {
            Ok(Ok(line)) if line.len() > LONGEST => Err(Stop::TooLong),
            Ok(Ok(line)) => Ok(Answer::new(line)),
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
