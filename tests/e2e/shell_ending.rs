//! How a `session` on a terminal ends: the terminal is as it was, and one line says why.

use std::process::Stdio;

use local_cloud::{Action, Agent};
use tokio::time::timeout;

use crate::lab::{Bridge, Lab};
use crate::shell::{Shell, instance};
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE, command, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_restores_the_terminal() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let mut shell = Shell::start(instance(Agent::d()), &[]).await;
        shell.prompt().await;
        shell.signal(signal).await;
        let shown = shell.ends(code).await;
        let line = format!("ecs-bridge: the session has ended: SIG{signal}\r");
        assert!(shown.contains(&line), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_a_session_that_is_not_open_yet() {
    let away = instance(Agent::d())
        .fault(local_cloud::Fault::new(local_cloud::Point::Opened, Action::Hang));
    let mut shell = Shell::start(away, &[]).await;
    shell.terminal.shows("Waiting for the shell on").await;
    shell.terminal.types(b"\x03").await;
    shell.ends(130).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_restores_the_terminal() {
    let panics = |command: &mut tokio::process::Command| {
        command.env("ECS_BRIDGE_TEST_PANIC", "1");
    };
    let mut shell = Shell::start_with(instance(Agent::d()), &[], panics).await;
    shell.terminal.shows("as the test asks").await;
    // A debug build unwinds, and then waits for its thread that reads keys.
    shell.terminal.types(b"\r").await;
    shell.is_restored(101).await;
}

/// As in a release: nothing unwinds, and the hook of panics is all that restores it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_that_aborts_restores_the_terminal() {
    let panics = |command: &mut tokio::process::Command| {
        command.env("ECS_BRIDGE_TEST_PANIC", "abort");
    };
    let mut shell = Shell::start_with(instance(Agent::d()), &[], panics).await;
    shell.terminal.shows("as the test asks").await;
    shell.is_restored(134).await;
}

/// A gateway that goes: a session of 1.01 cannot be resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_gateway_restores_the_terminal_and_is_explained() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    let id = shell.lab.session(|session| session.live == 1).await.id;
    assert!(shell.lab.cloud.faults().inject(&id, Action::Cut));
    let shown = shell.ends(8).await;
    assert!(shown.contains("ecs-bridge: error: the connection to the gateway was lost"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_that_cannot_be_had_restores_the_terminal() {
    let shell = Shell::start(instance(Agent::d()), &["--user-name", "nobody-knows"]).await;
    let shown = shell.ends(6).await;
    assert!(shown.contains("the user of the shell does not exist"), "{shown}");
}

/// Who closes the window takes the terminal away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_terminal() {
    let lab = Lab::new(instance(Agent::d())).await;
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&lab.bridge(["session", INSTANCE]), Streams::All);
    terminal.types(b"echo u''p\r").await;
    terminal.shows("up\r\n").await;
    terminal.close().await;
    timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_ended_from_elsewhere_is_no_success() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    let id = shell.lab.session(|session| session.live == 1).await.id;
    assert!(shell.lab.cloud.faults().inject(&id, Action::status(6, "Notified: by the API")));
    let shown = shell.ends(8).await;
    assert_eq!(shown.matches("the session was ended from elsewhere").count(), 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_s_limit_is_told_in_a_line() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    let id = shell.lab.session(|session| session.live == 1).await.id;
    assert!(shell.lab.cloud.faults().inject(&id, Action::status(5, "SessionTimeout")));
    let shown = shell.ends(8).await;
    let line = "ecs-bridge: the session has ended: the session limit of 3 h is reached\r";
    assert!(shown.contains(line), "{shown}");
}

/// On a terminal it is warned of before; a script is not told. The shortest time that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_session_is_ended_after_a_warning() {
    let minute = ["--idle-timeout", "60"];
    let on_terminal = async {
        let mut shell = Shell::start(instance(Agent::d()), &minute).await;
        shell.prompt().await;
        shell.terminal.shows("is idle: the session ends in 1").await;
        shell.ends(8).await
    };
    let from_pipe = async {
        let lab = Lab::new(instance(Agent::d())).await;
        let mut bridge =
            Bridge::start(&mut lab.bridge(["session", INSTANCE].iter().chain(&minute)));
        // Its input does not end, and it reads nothing.
        let stdin = bridge.stdin.take();
        timeout(2 * PATIENCE, bridge.child.wait()).await.expect("it ends").unwrap();
        let ended = bridge.end().await;
        drop(stdin);
        lab.all_ended().await;
        ended
    };
    let (shown, ended) = tokio::join!(on_terminal, from_pipe);
    let line = "ecs-bridge: the session has ended: idle for 60 s (--idle-timeout)";
    assert!(shown.contains(&format!("\r\n{line}\r")), "{shown}");
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(ended.stderr.contains(line) && !ended.stderr.contains("is idle"), "{}", ended.stderr);
}

/// It stops as a program does on Ctrl-Z, and goes on in raw mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_suspended_by_its_escape_and_continued() {
    let lab = Lab::new(instance(Agent::d())).await;
    let mut terminal = Terminal::new();
    let script = "set -m; \"$@\"; echo stopped $?; stty -a; fg; echo ended $?";
    let command = by(&["bash", "-c", script, "bash"], &lab.bridge(["session", INSTANCE]));
    let mut child = terminal.start(&command, Streams::All);
    terminal.types(b"echo u''p\r").await;
    terminal.shows("up\r\n").await;
    terminal.types(b"~\x1a").await;
    terminal.shows("stopped 147\r\n").await;
    terminal.shows(" icanon ").await;
    terminal.types(b"echo ag''ain\r").await;
    terminal.shows("again\r\n").await;
    terminal.types(b"exit\r").await;
    terminal.shows("ended 0\r\n").await;
    timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_on_one_side_alone_is_left_as_it_is() {
    // stdout is a pipe.
    let lab = Lab::new(instance(Agent::d())).await;
    let mut terminal = Terminal::new();
    let mut command = lab.bridge(["session", INSTANCE]);
    command.stdin(Stdio::from(terminal.end())).stdout(Stdio::piped());
    let mut bridge = Bridge::start_as_it_is(&mut command);
    bridge.logged("not 8-bit clean").await;
    assert!(terminal.echoes());
    terminal.types(b"echo o''ne\nexit\n").await;
    let ended = timeout(PATIENCE, bridge.end()).await.expect("it ends");
    let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.code == Some(0) && shown.contains("one\r\n"), "{ended:?}");
    // stdin is a pipe.
    let mut command = lab.bridge(["session", INSTANCE]);
    command.stdin(Stdio::piped()).stdout(Stdio::from(terminal.end()));
    let mut bridge = Bridge::start_as_it_is(&mut command);
    bridge.send(b"echo t''wo\n").await;
    drop(bridge.stdin.take());
    terminal.shows("two").await;
    assert!(terminal.echoes());
    assert_eq!(timeout(PATIENCE, bridge.end()).await.expect("it ends").code, Some(0));
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_in_tmux() {
    let Some(tmux) = crate::world::installed("tmux") else { return };
    let lab = Lab::new(instance(Agent::d())).await;
    let tmux = |args: &[&str]| {
        let mut command = command(&tmux, &lab.cloud, lab.dir.path());
        command.arg("-S").arg(lab.dir.path().join("tmux")).args(["-f", "/dev/null"]).args(args);
        command.env("TERM", "xterm-256color").env_remove("TMUX");
        command
    };
    let bridge = env!("CARGO_BIN_EXE_ecs-bridge");
    let line = format!("{bridge} session {INSTANCE}; echo en''ded $?; exec cat");
    let started = run(&mut tmux(&["new-session", "-d", "-x", "90", "-y", "30", &line])).await;
    assert!(started.status.success(), "{started:?}");
    lab.session(|session| session.window == Some((30, 90))).await;
    let screen = async |wanted: &str| {
        let shows = async {
            loop {
                let shown = run(&mut tmux(&["capture-pane", "-p"])).await;
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                if shown.contains(wanted) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, shows).await.unwrap_or_else(|_| panic!("tmux does not show {wanted}"));
    };
    run(&mut tmux(&["send-keys", "echo in-t''mux", "Enter"])).await;
    screen("in-tmux").await;
    run(&mut tmux(&["send-keys", "exit", "Enter"])).await;
    screen("ended 0").await;
    run(&mut tmux(&["kill-server"])).await;
    lab.all_ended().await;
}
