//! The child process of a session: started, carried, reported.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use pty_process::{OwnedReadPty, OwnedWritePty};
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelReadHalf, ChannelWriteHalf, Pty, Sig};
use rustix::process::Signal;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr,
    tcsetwinsize,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::forward::{CHUNK, Fed, discard, feed};
use super::registry::{Kind, ProcessGroup, Registry};

/// Extended data of this type is standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// How long a terminal is read on after its session was killed, for something that left the
/// session and holds the terminal open.
const LINGER: Duration = Duration::from_millis(300);

/// What the client said of its terminal.
pub(super) struct PtyRequest {
    pub(super) term: String,
    pub(super) size: Winsize,
    pub(super) modes: Vec<(Pty, u32)>,
}

impl PtyRequest {
    /// The size of a terminal that is none.
    pub(super) fn no_size() -> Winsize {
        Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// A started child.
pub(super) struct Process {
    child: Child,
    group: Arc<ProcessGroup>,
    pipes: Pipes,
}

enum Pipes {
    Plain { stdin: ChildStdin, stdout: ChildStdout, stderr: ChildStderr },
    Terminal { reader: OwnedReadPty, writer: OwnedWritePty, control: OwnedFd },
}

/// Starts the command on pipes, or on a terminal of its own.
pub(super) fn spawn(
    mut command: Command,
    pty: Option<&PtyRequest>,
    registry: &Arc<Registry>,
) -> io::Result<Process> {
    if let Some(pty) = pty {
        return spawn_on_terminal(command, pty, registry);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    let mut child = command.spawn()?;
    let group = guard(&child, Kind::Group, registry)?;
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let stdin = child.stdin.take().ok_or_else(gone)?;
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let stderr = child.stderr.take().ok_or_else(gone)?;
    Ok(Process { child, group, pipes: Pipes::Plain { stdin, stdout, stderr } })
}

fn spawn_on_terminal(
    mut command: Command,
    request: &PtyRequest,
    registry: &Arc<Registry>,
) -> io::Result<Process> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    tcsetwinsize(&pty, request.size)?;
    set_modes(&pts, &request.modes)?;
    let control = pty.as_fd().try_clone_to_owned()?;
    let name = rustix::termios::ttyname(&pts, Vec::new())?;
    command.env("SSH_TTY", name.to_string_lossy().as_ref()).env("TERM", &request.term);
    // The crate makes the child the leader of a new session on this terminal.
    let child = pty_process::Command::from(command).spawn(pts).map_err(io::Error::other)?;
    let group = guard(&child, Kind::Session, registry)?;
    let (reader, writer) = pty.into_split();
    Ok(Process { child, group, pipes: Pipes::Terminal { reader, writer, control } })
}

fn guard(child: &Child, kind: Kind, registry: &Arc<Registry>) -> io::Result<Arc<ProcessGroup>> {
    registry.add_child(child, kind).map(Arc::new)
}

/// The modes that a client changes in practice; a new terminal has the usual ones already.
fn set_modes(pts: impl AsFd, modes: &[(Pty, u32)]) -> io::Result<()> {
    let mut termios = tcgetattr(&pts)?;
    for (mode, value) in modes {
        let on = *value != 0;
        match mode {
            Pty::ISTRIP => termios.input_modes.set(InputModes::ISTRIP, on),
            Pty::INLCR => termios.input_modes.set(InputModes::INLCR, on),
            Pty::IGNCR => termios.input_modes.set(InputModes::IGNCR, on),
            Pty::ICRNL => termios.input_modes.set(InputModes::ICRNL, on),
            Pty::IXON => termios.input_modes.set(InputModes::IXON, on),
            Pty::IXOFF => termios.input_modes.set(InputModes::IXOFF, on),
            #[cfg(target_os = "linux")]
            Pty::IUTF8 => termios.input_modes.set(InputModes::IUTF8, on),
            Pty::ISIG => termios.local_modes.set(LocalModes::ISIG, on),
            Pty::ICANON => termios.local_modes.set(LocalModes::ICANON, on),
            Pty::ECHO => termios.local_modes.set(LocalModes::ECHO, on),
            Pty::ECHOE => termios.local_modes.set(LocalModes::ECHOE, on),
            Pty::ECHOK => termios.local_modes.set(LocalModes::ECHOK, on),
            Pty::OPOST => termios.output_modes.set(OutputModes::OPOST, on),
            Pty::ONLCR => termios.output_modes.set(OutputModes::ONLCR, on),
            _ => {}
        }
    }
    Ok(tcsetattr(&pts, OptionalActions::Now, &termios)?)
}

impl Process {
    /// For signals; it does not keep the child alive.
    pub(super) fn group(&self) -> Weak<ProcessGroup> {
        Arc::downgrade(&self.group)
    }

    /// Carries the session to its end. Dropped on the way, it kills the child.
    pub(super) async fn run(
        self,
        channel: Channel<Msg>,
        handle: Handle,
        sizes: watch::Receiver<Winsize>,
    ) {
        let Self { child, group, pipes } = self;
        let (mut incoming, outgoing) = channel.split();
        let carried = async {
            match pipes {
                Pipes::Plain { stdin, stdout, stderr } => {
                    let input = consume(&mut incoming, stdin);
                    let output = plain(child, stdout, stderr, &outgoing);
                    unless_closed(output, input).await
                }
                Pipes::Terminal { reader, writer, control } => {
                    let input = consume(&mut incoming, writer);
                    let output = terminal(child, reader, control, sizes, &outgoing, &group);
                    unless_closed(output, input).await
                }
            }
        };
        if let Some(status) = carried.await {
            // The rest of the group goes before the client hears of the end.
            drop(group);
            let _ = report(status, &outgoing, &handle).await;
        }
    }
}

/// The outcome of the output, or nothing when the client closed the channel before.
async fn unless_closed(
    output: impl Future<Output = Option<ExitStatus>>,
    input: impl Future<Output = ()>,
) -> Option<ExitStatus> {
    tokio::select! {
        status = output => status,
        () = input => None,
    }
}

/// Feeds the child; returns only when the client closed the channel or is gone.
async fn consume(incoming: &mut ChannelReadHalf, target: impl tokio::io::AsyncWrite + Unpin) {
    if feed(incoming, target).await != Fed::Closed {
        discard(incoming).await;
    }
}

async fn plain(
    mut child: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    outgoing: &ChannelWriteHalf<Msg>,
) -> Option<ExitStatus> {
    let (out, err) =
        tokio::join!(drain(stdout, None, outgoing), drain(stderr, Some(STDERR), outgoing));
    out.and(err).ok()?;
    child.wait().await.ok()
}

/// Sends what the child writes, as fast as the channel's window lets it.
async fn drain(
    mut source: impl AsyncRead + Unpin,
    extended: Option<u32>,
    outgoing: &ChannelWriteHalf<Msg>,
) -> Result<(), russh::Error> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match source.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let data = buffer.split().freeze();
        match extended {
            None => outgoing.data_bytes(data).await?,
            Some(kind) => outgoing.extended_data_bytes(kind, data).await?,
        }
    }
}

/// A session on a terminal ends with its leader, whoever else has the terminal open.
async fn terminal(
    mut child: Child,
    mut reader: OwnedReadPty,
    control: OwnedFd,
    mut sizes: watch::Receiver<Winsize>,
    outgoing: &ChannelWriteHalf<Msg>,
    group: &ProcessGroup,
) -> Option<ExitStatus> {
    let mut buffer = BytesMut::new();
    let mut status = None;
    loop {
        buffer.reserve(CHUNK);
        tokio::select! {
            // Linux says EIO when the last process has closed the terminal.
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => outgoing.data_bytes(buffer.split().freeze()).await.ok()?,
            },
            waited = child.wait(), if status.is_none() => {
                status = Some(waited.ok()?);
                group.kill();
            }
            Ok(()) = sizes.changed() => {
                let size = *sizes.borrow_and_update();
                let _ = tcsetwinsize(&control, size);
            }
            () = tokio::time::sleep(LINGER), if status.is_some() => break,
        }
    }
    match status {
        Some(status) => Some(status),
        None => child.wait().await.ok(),
    }
}

/// Tells the client how the child ended, and ends and closes the channel, in this order: a client
/// whose own input has ended may answer the end of file with its close at once, as the master of
/// OpenSSH's multiplexing does, and russh answers that close itself and lets no status through
/// after it. The client would take that for a broken connection.
async fn report(
    status: ExitStatus,
    outgoing: &ChannelWriteHalf<Msg>,
    handle: &Handle,
) -> Result<(), russh::Error> {
    match (status.code(), status.signal()) {
        (None, Some(number)) => {
            let (core, none) = (status.core_dumped(), String::new);
            let sent =
                handle.exit_signal_request(outgoing.id(), name(number), core, none(), none());
            sent.await.map_err(|()| russh::Error::SendError)?;
        }
        (code, _) => outgoing.exit_status(code.unwrap_or(255).cast_unsigned()).await?,
    }
    outgoing.eof().await?;
    outgoing.close().await
}

fn name(signal: i32) -> Sig {
    match Signal::from_named_raw(signal) {
        Some(Signal::ABORT) => Sig::ABRT,
        Some(Signal::ALARM) => Sig::ALRM,
        Some(Signal::FPE) => Sig::FPE,
        Some(Signal::HUP) => Sig::HUP,
        Some(Signal::ILL) => Sig::ILL,
        Some(Signal::INT) => Sig::INT,
        Some(Signal::KILL) => Sig::KILL,
        Some(Signal::PIPE) => Sig::PIPE,
        Some(Signal::QUIT) => Sig::QUIT,
        Some(Signal::SEGV) => Sig::SEGV,
        Some(Signal::TERM) => Sig::TERM,
        Some(Signal::USR1) => Sig::USR1,
        _ => Sig::Custom(format!("SIG{signal}@local-cloud")),
    }
}
