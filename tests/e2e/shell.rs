//! `ecs-bridge session` on a terminal: keys, the window, escapes and what is pasted.

use std::path::PathBuf;
use std::time::Duration;

use local_cloud::{Action, Agent, Fault, Instance, Pace, Point, SessionRecord, Shells};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::lab::Lab;
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE, run};

/// Runs the binary on a terminal that stays, with the settings of before and after in files.
/// Ctrl-C that makes a signal is for the binary alone.
const SCRIPT: &str = "trap : INT; stty -g > before; sh -c 'echo $$ > pid; exec \"$@\"' sh \"$@\"; \
                      echo \"ended: $?\"; stty -g > after; echo finished";

/// An instance whose shells are there at once.
pub(crate) fn instance(agent: Agent) -> Instance {
    let shells = Shells::default().delay(Duration::from_millis(5));
    let instance = Instance::new(INSTANCE).agent(agent.quick());
    instance.pace(Pace::announced(64_000_000)).shells(shells)
}

/// A session on a terminal.
pub(crate) struct Shell {
    pub(crate) lab: Lab,
    pub(crate) terminal: Terminal,
    child: Child,
}

impl Shell {
    pub(crate) async fn start(instance: Instance, args: &[&str]) -> Self {
        Self::start_with(instance, args, |_| {}).await
    }

    pub(crate) async fn start_with(
        instance: Instance,
        args: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let lab = Lab::new(instance).await;
        let mut command = lab.bridge(["session", INSTANCE].iter().chain(args));
        change(&mut command);
        let mut terminal = Terminal::new();
        terminal.resize(101, 33);
        let child = terminal.start(&by(&["sh", "-c", SCRIPT, "sh"], &command), Streams::All);
        Self { lab, terminal, child }
    }

    /// Types a command, and waits until it has written this. Its echo has two quotes in it.
    pub(crate) async fn does(&mut self, command: &str, shows: &str) {
        assert!(!command.contains(shows));
        self.terminal.types(format!("{command}\r").as_bytes()).await;
        self.terminal.shows(shows).await;
    }

    /// Waits for the prompt.
    pub(crate) async fn prompt(&mut self) {
        self.does("echo u''p", "up\r\n").await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.dir.path().join(name)
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.file("pid")).unwrap();
        let mut kill = Command::new("sh");
        let sent = run(kill.args(["-c", "kill -s $0 $1", signal, pid.trim()])).await;
        assert!(sent.status.success());
    }

    /// It ends with this code, and leaves the terminal as it was. What the terminal shows.
    pub(crate) async fn ends(mut self, code: i32) -> String {
        self.is_restored(code).await;
        self.lab.all_ended().await;
        self.terminal.shown()
    }

    /// The same, whatever becomes of its session.
    pub(crate) async fn is_restored(&mut self, code: i32) {
        self.terminal.shows(&format!("ended: {code}\r\n")).await;
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        let [before, after] =
            ["before", "after"].map(|name| std::fs::read_to_string(self.file(name)).unwrap());
        assert!(!before.is_empty());
        assert_eq!(before, after, "the terminal is not as it was");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_is_used_on_a_terminal() {
    for agent in [Agent::a(), Agent::d()] {
        let mut shell = Shell::start(instance(agent), &[]).await;
        shell.terminal.shows("Waiting for the shell on").await;
        shell.prompt().await;
        shell.does("stty size; echo d''one", "33 101\r\ndone\r\n").await;
        shell.terminal.resize(120, 40);
        shell.lab.session(|session| session.window == Some((40, 120))).await;
        shell.does("stty size; echo d''one", "40 120\r\ndone\r\n").await;
        shell.does("echo gr\u{fc}\u{df}''e \u{1f600}", "gr\u{fc}\u{df}e \u{1f600}\r\n").await;
        // Control keys reach the remote side.
        shell.does("sh -c 'echo as\"\"leep; exec sleep 1000'", "asleep\r\n").await;
        shell.terminal.types(b"\x03").await;
        shell.does("echo interr''upted", "interrupted\r\n").await;
        shell.does("ulimit -c 0; sh -c 'echo do\"\"zing; exec sleep 1000'", "dozing\r\n").await;
        shell.terminal.types(b"\x1c").await;
        shell.terminal.shows("Quit").await;
        shell.does("sh -c 'echo wa\"\"iting; exec sleep 1000'", "waiting\r\n").await;
        shell.terminal.types(b"\x1a").await;
        shell.terminal.shows("Stopped").await;
        shell.terminal.types(b"exit\rexit\r").await;
        let shown = shell.ends(0).await;
        let line = format!("\r\necs-bridge: the shell on {INSTANCE} has ended\r");
        assert!(shown.contains(&line), "{shown}");
    }
}

/// By an agent that drops what comes before it has a terminal, and by one that holds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_typed_ahead_are_not_lost() {
    for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d(), Agent::resumable()] {
        let instance = instance(agent).fault(Fault::new(Point::Opened, Action::Hang));
        let mut shell = Shell::start(instance, &[]).await;
        shell.terminal.shows("Starting a session").await;
        shell.terminal.types(b"echo ear''ly\r").await;
        let session = shell.lab.session(|session| session.faults_struck == 1).await;
        assert!(shell.lab.cloud.faults().inject(&session.id, Action::Resume));
        shell.terminal.shows("early\r\n").await;
        shell.terminal.types(b"exit\r").await;
        shell.ends(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escapes_are_those_of_ssh() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    shell.terminal.types(b"~?").await;
    shell.terminal.shows("~.   end the session\r\n").await;
    shell.does("echo '<'~~.'>'", "<~~.>\r\n").await;
    shell.terminal.types(b"~~").await;
    shell.does(" >/dev/null 2>&1; echo '['$?']'", "[126]\r\n").await;
    shell.terminal.types(b"~.").await;
    let shown = shell.ends(0).await;
    assert!(shown.contains("\r\necs-bridge: the session has ended: left by ~.\r"), "{shown}");

    // One without escapes sends them on.
    let mut shell = Shell::start(instance(Agent::d()), &["--escape-char", "none"]).await;
    shell.prompt().await;
    shell.terminal.types(b"~.").await;
    shell.does("; echo st''ill", "still\r\n").await;
    shell.terminal.types(b"exit\r").await;
    shell.ends(0).await;
}

/// As a terminal pastes it, with lines that would be escapes if they were typed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paste_of_a_megabyte_arrives_whole() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    let mut pasted = b"\x1b[200~".to_vec();
    while pasted.len() < 1 << 20 {
        pasted.extend_from_slice(format!("~.\r{} \u{e9} \x03\x1a\x04\r", pasted.len()).as_bytes());
    }
    pasted.extend_from_slice(b"\x1b[201~");
    let path = shell.lab.dir.path().join("pasted").display().to_string();
    let command = format!(
        "stty raw -echo; echo rea''dy; head -c {} > {path}; stty sane; echo al''l",
        pasted.len()
    );
    shell.does(&command, "ready").await;
    shell.terminal.types(&pasted).await;
    shell.terminal.shows("all\r\n").await;
    assert!(std::fs::read(path).unwrap() == pasted, "something else was pasted");
    shell.terminal.types(b"exit\r").await;
    shell.ends(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_of_1_02_survives_that_its_socket_is_cut() {
    let mut shell = Shell::start(instance(Agent::resumable()), &[]).await;
    shell.prompt().await;
    let id = shell.lab.session(|session| session.live == 1).await.id;
    shell.terminal.types(b"echo be''").await;
    assert!(shell.lab.cloud.faults().inject(&id, Action::Cut));
    shell.terminal.resize(90, 25);
    shell.does("fore", "before\r\n").await;
    shell.does("stty size; echo d''one", "25 90\r\ndone\r\n").await;
    let resumed = |session: &SessionRecord| session.window == Some((25, 90));
    shell.lab.session(resumed).await;
    shell.terminal.types(b"exit\r").await;
    shell.ends(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vim_draws_its_screen_and_draws_it_anew() {
    let mut shell = Shell::start(instance(Agent::d()), &[]).await;
    shell.prompt().await;
    let vim = "vim -u NONE -c 'set nocompatible laststatus=2 statusline=%{&lines}x%{&columns}e'";
    // What is typed while it ends is lost: the shell is to say itself that it has ended.
    shell.does(&format!("{vim}; echo a''fter"), "33x101e").await;
    shell.terminal.resize(90, 20);
    shell.terminal.shows("20x90e").await;
    shell.terminal.types(b":q!\r").await;
    shell.terminal.shows("after\r\n").await;
    shell.terminal.types(b"exit\r").await;
    shell.ends(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_without_a_size_and_without_term_is_one_of_80_by_24() {
    let lab = Lab::new(instance(Agent::d())).await;
    let mut command = lab.bridge(["session", INSTANCE]);
    command.env_remove("TERM");
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&command, Streams::All);
    lab.session(|session| session.window == Some((24, 80))).await;
    terminal.types(b"exit\r").await;
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0), "{}", terminal.shown());
    lab.all_ended().await;
}
