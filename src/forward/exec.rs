//! `--exec`: a program that runs with the forwards up.

use std::ffi::OsString;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

use crate::app::Result;
use crate::credentials::program_file;
use crate::explain::{ExitCode, UsageError};
use crate::platform::signals::Signal;

/// A program that runs with the forwards up.
pub(crate) struct Program(Child);

fn not_run(program: &str, error: &std::io::Error) -> UsageError {
    let fix = "check the name and the path of the program after --exec --";
    UsageError::new(format!("cannot run {program}: {error}"), fix)
}

impl Program {
    /// Starts the program, if there is one, with the forwards' addresses in its environment.
    pub(crate) fn start(command: &[OsString], addresses: &[String]) -> Result<Option<Self>> {
        let Some((program, args)) = command.split_first() else { return Ok(None) };
        let mut command = Command::new(program_file(program));
        command.args(args).kill_on_drop(true);
        for (index, address) in addresses.iter().enumerate() {
            let (host, port) = parts(address);
            // The first one has the plain names too.
            let suffixes = [Some(format!("_{}", index + 1)), (index == 0).then(String::new)];
            for suffix in suffixes.into_iter().flatten() {
                command.env(format!("ECS_BRIDGE_ADDR{suffix}"), address);
                command.env(format!("ECS_BRIDGE_HOST{suffix}"), &host);
                command.env(format!("ECS_BRIDGE_PORT{suffix}"), port);
            }
        }
        let program = program.display().to_string();
        let child = command.spawn().map_err(|error| not_run(&program, &error))?;
        Ok(Some(Self(child)))
    }

    /// Passes a signal on.
    pub(crate) fn signal(&self, signal: Signal) {
        platform::pass_on(&self.0, signal);
    }
}

/// Waits for the program's end, and gives the exit code for ours. Never returns if there is none.
pub(crate) async fn ended(program: &mut Option<Program>) -> Result<u8> {
    let Some(program) = program else { return std::future::pending().await };
    let status = program.0.wait().await.map_err(|error| not_run("the program", &error))?;
    Ok(code(status))
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| platform::signal_of(status).map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ExitCode::Failed as u8)
}

/// Host and port of an address; a path is its own host, and has no port.
fn parts(address: &str) -> (String, &str) {
    match address.rsplit_once(':') {
        Some((host, port)) if !address.contains('/') => {
            (host.trim_matches(['[', ']']).to_owned(), port)
        }
        _ => (address.to_owned(), ""),
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use rustix::process::{Pid, kill_process};
    use tokio::process::Child;
    use tracing::debug;

    use crate::platform::signals::Signal;
    use crate::platform::terminal::is_in_foreground;

    pub(crate) fn pass_on(child: &Child, signal: Signal) {
        if signal == Signal::Interrupt && terminal_signals_both() {
            debug!("the terminal has sent Ctrl-C to the program itself");
            return;
        }
        let signal = match signal {
            Signal::Hangup => rustix::process::Signal::HUP,
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Quit => rustix::process::Signal::QUIT,
            Signal::Terminate => rustix::process::Signal::TERM,
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this very moment.
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether Ctrl-C reaches the program without our help, wherever stdin comes from: a terminal
    /// signals its whole foreground process group.
    fn terminal_signals_both() -> bool {
        let Ok(terminal) = File::open("/dev/tty") else { return false };
        is_in_foreground(terminal) == Some(true)
    }

    pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
        status.signal()
    }
}

#[cfg(not(unix))]
mod platform {
    use std::process::ExitStatus;

    use tokio::process::Child;

    use crate::platform::signals::Signal;

    /// Programs of one console get its events without our help.
    pub(crate) fn pass_on(_: &Child, _: Signal) {}

    pub(crate) fn signal_of(_: ExitStatus) -> Option<i32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(parts("127.0.0.1:2222"), ("127.0.0.1".into(), "2222"));
        assert_eq!(parts("[::1]:2222"), ("::1".into(), "2222"));
        assert_eq!(parts("/tmp/a:b.sock"), ("/tmp/a:b.sock".into(), ""));
    }
}
