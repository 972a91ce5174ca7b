//! `proxy` in a process that ssh does not kill.

use std::env;
use std::fs::File;
use std::io::{IsTerminal as _, stdin};
use std::os::windows::process::CommandExt as _;
use std::process::Command;

use super::signals::Signals;
use crate::explain::ExitCode;

/// Set for the process that was started to do the work.
const MARKER: &str = "ECS_BRIDGE_CHILD";
/// `CREATE_NO_WINDOW`: the console that the process gets has none.
const NO_WINDOW: u32 = 0x0800_0000;

/// Runs the command line of this process in a child of it, and gives the child's exit code. `None` where this
/// process is to run it: it is that child, somebody is at its stdin, or no child can be started.
///
/// Microsoft's ssh ends its ProxyCommand by TerminateProcess, whenever it ends and microseconds after it has
/// closed the pipes. Nothing can be done in such a process any more: its session would count for the quota until
/// the service ends it. TerminateProcess does not reach what the process has started: the child reads the pipe's
/// end of file, and ends its session.
pub(crate) fn run() -> Option<u8> {
    if env::var_os(MARKER).is_some() || stdin().is_terminal() {
        return None;
    }
    // Ctrl-C and a closed window are told to both: the child ends by it, and its exit code is waited for.
    let _signals = Signals::new().ok()?;
    let mut command = Command::new(env::current_exe().ok()?);
    // What a Command does not set is inherited: stdin, stdout and stderr.
    command.args(env::args_os().skip(1)).env(MARKER, "1");
    // Where there is no console to be shared, as below some editors, the child would open a window.
    if File::options().read(true).write(true).open("CONOUT$").is_err() {
        command.creation_flags(NO_WINDOW);
    }
    let mut child = command.spawn().ok()?;
    let code = child.wait().ok().and_then(|status| status.code());
    Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ExitCode::Failed as u8))
}
