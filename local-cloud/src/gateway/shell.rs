//! The agent's other half: a shell on a terminal, for sessions without a port.

use std::{env, future::pending, io, os::fd::AsFd as _, os::fd::OwnedFd, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::mpsc,
    time::sleep,
};

use super::{
    agent::{Output, Received, join, next, note_dropped},
    channel::Channel,
    ending::{CLOSED, Ending},
    frame::MAX_SHELL_PAYLOAD,
    link::Link,
};
use crate::{
    Hangup,
    command::Os,
    ssh_server::registry::{Kind, ProcessGroup},
};

/// For how long a terminal is read after its program has ended, for something that holds it open.
const LINGER: Duration = Duration::from_millis(300);
/// From the text that tells of a failure to the end of the session.
const FAILURE_SHOWN: Duration = Duration::from_secs(1);

/// Why there is no shell: a reason of the protocol, and what else is said.
struct Failure(&'static str, String);

/// Lives until the shell or the client has ended the session.
pub(super) async fn run(
    output: &mut Output<'_>,
    received: &mut mpsc::Receiver<Received>,
) -> Ending {
    let link = output.link;
    let size = match opening(link, received).await {
        Ok(size) => size,
        Err(ending) => return ending,
    };
    let shell = match Shell::start(link, size) {
        Ok(shell) => shell,
        Err(failure) => return failed(output, failure).await,
    };
    let Shell { mut child, group, reader, writer, control, _home } = shell;
    tokio::select! {
        () = read(output, reader, &mut child, &group) => {}
        ending = feed(link, writer, &control, received) => return ending,
    }
    link.agent_may_go().await;
    let (reason, hangup) = match link.instance.agent.generation.has_late_shells() {
        true => ("Exit", link.instance.agent.hangup),
        false => ("Ok", Hangup::CloseFrame),
    };
    Ending::over(reason, hangup)
}

/// From the upgrade until there is to be a terminal. What the client types meanwhile is dropped; the size that it tells counts
/// with later agents.
async fn opening(
    link: &Link,
    received: &mut mpsc::Receiver<Received>,
) -> Result<Option<(u16, u16)>, Ending> {
    let mut size = None;
    let mut opening = pin!(async {
        join(link).await?;
        sleep(link.instance.shells.delay).await;
        link.agent_may_go().await;
        Ok(())
    });
    loop {
        tokio::select! {
            opened = &mut opening => return opened.map(|()| size),
            next = next(received) => match next {
                Received::Input(bytes) => note_dropped(link, &bytes),
                Received::Resize(rows, columns) => {
                    if link.instance.agent.generation.has_late_shells() {
                        size = Some((rows, columns));
                    }
                }
                Received::Close if link.obeys_close() => return Err(Ending::client_closed()),
                Received::Close | Received::Other => {}
            },
        }
    }
}

/// Tells the client that there is no shell: later agents by Output, before a status.
async fn failed(output: &mut Output<'_>, Failure(code, info): Failure) -> Ending {
    if output.link.instance.agent.generation.has_late_shells() {
        let text = Bytes::from(format!("The session has terminated. {code}: {info}\r\n"));
        let count = text.len();
        output.send(text, count).await;
        sleep(FAILURE_SHOWN).await;
    }
    Ending::status(CLOSED, code)
}

/// A program on a terminal of its own. Dropped, it is killed with all that it has started.
struct Shell {
    child: Child,
    group: ProcessGroup,
    reader: OwnedReadPty,
    writer: OwnedWritePty,
    control: OwnedFd,
    _home: TempDir,
}

impl Shell {
    fn start(link: &Link, size: Option<(u16, u16)>) -> Result<Self, Failure> {
        let asked = &link.shell;
        let user = asked.username.as_deref().unwrap_or("ecs-assist-user");
        if !link.instance.shells.users.iter().any(|known| known == user) {
            return Err(Failure("UserNotExists", format!("the user {user} does not exist")));
        }
        if link.instance.os == Os::Windows && asked.username.is_some() {
            let failure = Failure("PasswordNameNotFound", "there is no such secret".to_owned());
            return asked.password_name.as_ref().map_or(Err(failure), |_| {
                Err(Failure("WinptyLoadFailed", "this stand-in has no winpty".to_owned()))
            });
        }
        let words = match asked.command_line.as_deref() {
            None => vec!["bash".to_owned()],
            Some(line) => match shlex::split(line) {
                Some(words) if !words.is_empty() => words,
                _ => return Err(Failure("MalformedCommandLine", format!("cannot split {line:?}"))),
            },
        };
        Self::spawn(link, user, &words, size).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure("ShellCommandNotFound", words[0].clone()),
            io::ErrorKind::PermissionDenied => {
                Failure("ShellCommandPermissionDenied", words[0].clone())
            }
            _ => Failure("OpenPtyFailed", error.to_string()),
        })
    }

    fn spawn(
        link: &Link,
        user: &str,
        words: &[String],
        size: Option<(u16, u16)>,
    ) -> io::Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(home.path()).env_clear().kill_on_drop(true);
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("HOME", home.path()).env("USER", user).env("LOGNAME", user);
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
        let control = pty.as_fd().try_clone_to_owned()?;
        // The crate makes the child the leader of a new session on this terminal.
        let child =
            pty_process::Command::from(command).spawn(pts).map_err(|error| match error {
                pty_process::Error::Io(error) => error,
                error => io::Error::other(error),
            })?;
        let group = link.shared.processes.add_child(&child, Kind::Session)?;
        if let Some(size) = size {
            resize(link, &control, size);
        }
        link.note(|session| session.dials += 1);
        let (reader, writer) = pty.into_split();
        Ok(Self { child, group, reader, writer, control, _home: home })
    }
}

fn resize(link: &Link, control: &OwnedFd, (rows, columns): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    if tcsetwinsize(control, size).is_ok() {
        link.note(|session| session.window = Some((rows, columns)));
    }
}

/// What the client types, and the size of its window, until it closes. That the terminal takes no more is for the reading half
/// to find out.
async fn feed(
    link: &Link,
    mut writer: OwnedWritePty,
    control: &OwnedFd,
    received: &mut mpsc::Receiver<Received>,
) -> Ending {
    loop {
        let next = next(received).await;
        link.agent_may_go().await;
        match next {
            Received::Input(bytes) => {
                if writer.write_all(&bytes).await.is_err() {
                    pending::<()>().await;
                }
                let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                link.note(|session| session.forwarded_bytes += count);
            }
            Received::Resize(rows, columns) => resize(link, control, (rows, columns)),
            Received::Close if link.obeys_close() => return Ending::client_closed(),
            Received::Close | Received::Other => {}
        }
    }
}

/// What the program writes, until it has ended, whoever else has the terminal open.
async fn read(
    output: &mut Output<'_>,
    mut reader: OwnedReadPty,
    child: &mut Child,
    group: &ProcessGroup,
) {
    let link = output.link;
    sleep(link.instance.shells.delay).await;
    let (mut text, mut ended) = (BytesMut::new(), false);
    loop {
        output.inject().await;
        link.wait_until(Channel::has_room).await;
        let room = MAX_SHELL_PAYLOAD - text.len();
        let mut limited = (&mut reader).take(room.try_into().unwrap_or(u64::MAX));
        tokio::select! {
            // Linux says EIO when the last process has closed the terminal.
            read = limited.read_buf(&mut text) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            _ = child.wait(), if !ended => {
                ended = true;
                group.kill();
                continue;
            }
            () = sleep(LINGER), if ended => return,
        }
        link.may_go(|stalls| stalls.agent || stalls.target).await;
        let whole = whole_characters(&mut text);
        let count = whole.len();
        if count > 0 {
            output.send(whole, count).await;
        }
    }
}

/// Takes what is sent of a text: an unfinished character waits for the rest of it, and U+FFFD comes out as its first byte.
fn whole_characters(text: &mut BytesMut) -> Bytes {
    let length = |first: u8| match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let mut out = BytesMut::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let wanted = length(rest[0]);
        let follows = rest[1..].iter().take(wanted - 1).take_while(|b| *b & 0xc0 == 0x80).count();
        if follows + 1 < wanted && follows + 1 == rest.len() {
            break;
        }
        let character = if follows + 1 == wanted { &rest[..wanted] } else { &rest[..1] };
        out.extend_from_slice(if character == "\u{fffd}".as_bytes() {
            &character[..1]
        } else {
            character
        });
        at += character.len();
    }
    let _ = text.split_to(at);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_character_waits_and_the_replacement_character_is_cut() {
        for (text, sent, kept) in [
            (&b"plain"[..], &b"plain"[..], &b""[..]),
            ("\u{e9}\u{20ac}\u{1f600}".as_bytes(), "\u{e9}\u{20ac}\u{1f600}".as_bytes(), b""),
            (b"a\xe2\x82", b"a", b"\xe2\x82"),
            (b"a\xf0\x9f\x98", b"a", b"\xf0\x9f\x98"),
            (b"\xe2\x82x", b"\xe2\x82x", b""),
            (b"\xff\x80", b"\xff\x80", b""),
            (b"<\xef\xbf\xbd>", b"<\xef>", b""),
        ] {
            let mut left = BytesMut::from(text);
            assert_eq!((&whole_characters(&mut left)[..], &left[..]), (sent, kept), "{text:?}");
        }
    }
}
