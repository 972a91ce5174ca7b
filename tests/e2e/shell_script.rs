//! `ecs-bridge session` without a terminal: a script in, its output out; and what cannot be had.

use local_cloud::{Action, Agent, Fault, InstanceStatus, Pace, Point};
use tokio::time::timeout;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Ended, Lab};
use crate::shell::instance;
use crate::terminal::{Streams, Terminal, by};
use crate::world::{INSTANCE, PATIENCE};

async fn script(lab: &Lab, args: &[&str], script: &[u8]) -> Ended {
    let mut bridge = Bridge::start(&mut lab.bridge(["session", INSTANCE].iter().chain(args)));
    bridge.send(script).await;
    drop(bridge.stdin.take());
    timeout(PATIENCE, bridge.end()).await.expect("it ends")
}

fn text(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.matches("not 8-bit clean").count(), 1, "{}", ended.stderr);
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// Whole lines, a last line without its end, programs during which the end of input comes, and nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_to_its_end() {
    for agent in [Agent::a(), Agent::d()] {
        let lab = Lab::new(instance(agent)).await;
        for (lines, outputs) in [
            (&b"echo o''ne\necho t''wo\n"[..], &["one\r\n", "two\r\n"][..]),
            (b"echo o''ne\necho la''st", &["one\r\n", "last\r\n"]),
            (b"sleep 1\necho a''fter\nsleep 0.3\n", &["after\r\n"]),
            (b"cat > f\nin the file\n", &[]),
            (b"", &[]),
        ] {
            let ended = script(&lab, &[], lines).await;
            let text = text(&ended);
            for output in outputs {
                assert!(text.contains(output), "{text:?} has no {output:?}");
            }
            let end = format!("ecs-bridge: the shell on {INSTANCE} has ended\n");
            assert!(ended.stderr.contains(&end), "{}", ended.stderr);
        }
        lab.all_ended().await;
    }
}

/// Ctrl-D is a character to a program on a raw terminal, and its echo keeps no session open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_end_at_ctrl_d_is_ended_as_idle() {
    let lab = Lab::new(instance(Agent::d())).await;
    let program = "sh -c 'stty -icanon -icrnl; exec cat -v'";
    let args = ["session", INSTANCE, "--idle-timeout", "60", "--command", program];
    let mut bridge = Bridge::start(&mut lab.bridge(args));
    bridge.send(b"x\n").await;
    drop(bridge.stdin.take());
    timeout(2 * PATIENCE, bridge.child.wait()).await.expect("it ends").unwrap();
    let ended = bridge.end().await;
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let line = "ecs-bridge: the session has ended: idle for 60 s (--idle-timeout)";
    assert!(ended.code == Some(8) && ended.stderr.contains(line), "{ended:?}");
    // Two, each shown by the terminal and by the program.
    assert!((2..=4).contains(&stdout.matches("^D").count()), "{stdout:?}");
    lab.all_ended().await;
}

/// The rest of it is lost with the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_is_cut_is_no_success() {
    let cut = Fault::new(Point::InputBytes(5_000), Action::Close(1000)).times(1);
    let instance = instance(Agent::d()).pace(Pace::announced(100_000)).fault(cut);
    let lab = Lab::new(instance).await;
    let ended = script(&lab, &[], &b"true\n".repeat(10_000)).await;
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(ended.stderr.contains("of stdin were not sent"), "{}", ended.stderr);
    assert!(ended.stderr.contains("fix: look at what was done"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_without_a_shell() {
    let lab = Lab::new(instance(Agent::d())).await;
    let ended = script(&lab, &["--command", "printf '<%s>' a 'b c' '*' '|'"], b"").await;
    assert!(text(&ended).contains("<a><b c><*><|>"), "{ended:?}");
    assert!(ended.stderr.contains("does not report its exit code"), "{}", ended.stderr);
    // Its exit code is not told, and one that says nothing reads what is sent.
    let ended = script(&lab, &["--command", "false"], b"").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let path = lab.dir.path().join("copy");
    let tee = format!("tee {}", path.display());
    assert_eq!(script(&lab, &["--command", &tee], b"a\n\xc3\xa9\n").await.code, Some(0));
    assert_eq!(std::fs::read(path).unwrap(), b"a\n\xc3\xa9\n");
    let ended = script(&lab, &["--user-name", "root", "--quiet"], b"echo I am $USER\n").await;
    assert!(String::from_utf8_lossy(&ended.stdout).contains("I am root"), "{ended:?}");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    lab.all_ended().await;
}

fn session(name: &'static str, args: &[&str]) -> Case {
    let case = Case::new(name).saying_nothing();
    case.command(&["session", INSTANCE]).args(args).within(5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_explained() {
    let long = "x".repeat(513);
    let mut cases = vec![
        session("a long command", &["--command", &long]).fails(
            2,
            "--command has 513 characters, and the service takes 512",
            "",
            "put the command into a script",
        ),
        session("a password", &["--password", "shush"]).fails(
            2,
            "--password is not supported",
            "",
            "--password-name NAME",
        ),
        session("the instance is stopped", &[])
            .instance(|instance| instance.status(InstanceStatus::Stopped))
            .fails(
                6,
                "the instance does not run, it is stopped: a shell on",
                "",
                "start the instance",
            )
            .request_id()
            .within(15),
        session("the agent is offline", &[])
            .instance(|instance| instance.agent_online(false))
            .fails(6, "is not online", "did not open within 15 s", "systemctl restart")
            .request_id()
            .within(15),
        session("Session Manager is off", &[])
            .cloud(|builder| builder.session_manager_enabled(false))
            .fails(6, "Session Manager", "", "")
            .request_id(),
    ];
    for agent in [Agent::a, Agent::d] {
        let of = |case: Case| case.instance(move |_| instance(agent())).request_id();
        cases.extend([
            of(session("an unknown user", &["--user-name", "nobody-knows"])).fails(
                6,
                "the user of the shell does not exist or cannot be used: a shell on",
                "UserNotExists",
                "--user-name",
            ),
            of(session("no such command", &["--command", "no-such-program"])).fails(
                6,
                "the shell or the command cannot be run",
                "ShellCommandNotFound",
                "--command",
            ),
        ]);
    }
    run_all(cases).await;
}

/// Without a terminal for both, nothing turns on the one that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_on_a_terminal_has_no_spinner() {
    let lab = Lab::new(instance(Agent::d())).await;
    std::fs::write(lab.dir.path().join("script"), "echo sum-$((40+2))\nexit\n").unwrap();
    let mut terminal = Terminal::new();
    let from_file = by(&["sh", "-c", "\"$@\" < script", "sh"], &lab.bridge(["session", INSTANCE]));
    let mut child = terminal.start(&from_file, Streams::All);
    terminal.shows("sum-42").await;
    timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    let shown = terminal.shown();
    for words in ["Starting a session", "Connecting to the gateway", "Waiting for the shell"] {
        assert!(!shown.contains(words), "{shown}");
    }
    lab.all_ended().await;
}
