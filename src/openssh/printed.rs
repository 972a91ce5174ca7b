//! Programs that are run for what they print.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// The program, as PATH has it.
pub(super) const SSH: &str = "ssh";
/// The most that is read of what a program prints, in bytes, for stdout and stderr each.
const MOST: u64 = 1 << 18;

/// What a program printed.
pub(crate) struct Printed {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program without stdin, and reads what it prints.
///
/// # Errors
/// When it cannot be started; [`io::ErrorKind::TimedOut`] when it does not end in time.
pub(crate) async fn printed(command: &mut Command, within: Duration) -> io::Result<Printed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (stdout, stderr) = tokio::try_join!(text(stdout), text(stderr))?;
        Ok(Printed { status: child.wait().await?, stdout, stderr })
    };
    timeout(within, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn text(from: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MOST).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
