//! Sessions on a pseudo-terminal.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, finish};

/// What the shell shows when it waits for a line, once it is told to.
const PROMPT: &str = "ready> ";

#[tokio::test]
async fn a_command_on_a_terminal() {
    let lab = Lab::new().await;
    let script = "tty; echo $SSH_TTY; echo $TERM; stty -a | tr ';' '\\n' | grep -c icanon; exit 9";
    let mut ssh = lab.ssh(["-tt", "127.0.0.1", script]);
    let output = finish({
        ssh.env("TERM", "xterm-test");
        ssh
    })
    .await;
    assert_eq!(output.status.code(), Some(9));
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("/dev/") && lines[0] == lines[1], "{text}");
    assert_eq!(lines[2..], ["xterm-test", "1"]);
}

#[tokio::test]
async fn an_interactive_shell_that_follows_the_window() {
    let lab = Lab::with(|builder| builder.shell("/bin/sh")).await;
    let (mut pty, pts) = pty_process::open().unwrap();
    pty.resize(pty_process::Size::new(31, 97)).unwrap();
    let mut ssh = pty_process::Command::new("ssh").args(lab.ssh(["127.0.0.1"]).as_std().get_args());
    ssh = ssh.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
    let mut child = ssh.spawn(pts).unwrap();
    let mut seen = String::new();

    // Nothing is typed before the shell asks for it: settings of the terminal that change meanwhile may throw it away.
    while !seen.ends_with("# ") && !seen.ends_with("$ ") {
        read(&mut pty, &mut seen).await;
    }
    type_in(&mut pty, "PS1='rea''dy> '\n").await;
    until(&mut pty, &mut seen, PROMPT).await;
    type_in(&mut pty, "stty size; echo FIRST''END\n").await;
    assert!(until(&mut pty, &mut seen, "FIRSTEND").await.contains("31 97"));
    until(&mut pty, &mut seen, PROMPT).await;
    pty.resize(pty_process::Size::new(42, 123)).unwrap();
    // The shell is told by a signal, some time.
    type_in(&mut pty, "until stty size | grep -q '42 123'; do :; done; echo SECOND''END\n").await;
    until(&mut pty, &mut seen, "SECONDEND").await;
    until(&mut pty, &mut seen, PROMPT).await;
    // ^C reaches the command, not the shell; which is sure to be the command's turn only when the
    // command itself says so.
    type_in(&mut pty, "sh -c 'echo NOW\"\"SLEEPING; exec sleep 1000'\n").await;
    until(&mut pty, &mut seen, "NOWSLEEPING").await;
    // It throws away what is typed right behind it, up to the shell's next prompt.
    type_in(&mut pty, "\x03").await;
    until(&mut pty, &mut seen, PROMPT).await;
    type_in(&mut pty, "echo THIRD''END; sleep 1000 & exit 8\n").await;
    until(&mut pty, &mut seen, "THIRDEND").await;
    let status = timeout(PATIENCE, child.wait()).await.expect("the client hangs").unwrap();
    assert_eq!(status.code(), Some(8));
    timeout(PATIENCE, lab.server.wait_for_processes(0)).await.expect("a process stayed");
}

async fn type_in(pty: &mut pty_process::Pty, text: &str) {
    pty.write_all(text.as_bytes()).await.unwrap();
}

/// Reads the terminal until it says this; gives all that it said since the last time.
async fn until(pty: &mut pty_process::Pty, seen: &mut String, what: &str) -> String {
    loop {
        if let Some(at) = seen.find(what) {
            let rest = seen.split_off(at + what.len());
            return std::mem::replace(seen, rest);
        }
        read(pty, seen).await;
    }
}

async fn read(pty: &mut pty_process::Pty, seen: &mut String) {
    let mut buffer = [0; 4096];
    let reading = timeout(PATIENCE, pty.read(&mut buffer)).await;
    let read = reading.unwrap_or_else(|_| panic!("nothing follows {seen:?}")).unwrap();
    seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
}
