//! The disk is full, for the log, for what is remembered, for stderr and stdout: sessions go on, and
//! nothing half-written stays.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use local_cloud::{Agent, CommandKind, Instance, Pace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::{Bridge, Ended, Lab, QUIET_PORT, connected};
use crate::send_key::lab as lab_with_key;
use crate::send_key_memory::{count, tell_host_key};
use crate::terminal::by;
use crate::world::{INSTANCE, PATIENCE, daily_log, installed, noise, run};

const NO_SPACE: &str = "No space left on device";
/// What `sh -c` needs to run a program that can make no file longer than this many blocks.
const NO_LONGER_THAN: [&str; 2] = ["ulimit -f 0; exec \"$@\"", "ulimit -f 1; exec \"$@\""];

async fn lab() -> Lab {
    let agent = Agent::d().quick();
    Lab::new(Instance::new(INSTANCE).agent(agent).pace(Pace::announced(64_000_000))).await
}

fn full() -> OwnedFd {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Carries bytes both ways, and ends with the target.
async fn carries(lab: &Lab, mut bridge: Bridge) -> Ended {
    let bytes = noise(100_000);
    let mut target = timeout(PATIENCE, lab.accept_if_dialled()).await.expect("the agent dials");
    bridge.send(&bytes).await;
    let mut got = vec![0; bytes.len()];
    timeout(PATIENCE, target.read_exact(&mut got)).await.expect("it goes up").unwrap();
    assert!(got == bytes);
    target.write_all(&bytes).await.unwrap();
    drop(target);
    let ended = timeout(PATIENCE, bridge.end()).await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said(&bytes);
    lab.all_ended().await;
    ended
}

fn proxy(lab: &Lab, args: &[&str]) -> Command {
    lab.bridge([&["proxy", INSTANCE, QUIET_PORT, "--ready-delay", "0"], args].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_a_full_disk_is_told_once() {
    for args in [&[][..], &["-vvv"], &["-q"]] {
        let lab = lab().await;
        let log = ["--log-file", "/dev/full"];
        let ended = carries(&lab, Bridge::start(&mut proxy(&lab, &[args, &log].concat()))).await;
        if args == ["-q"] {
            assert_eq!(ended.stderr, "");
            continue;
        }
        let told = "ecs-bridge: warning: cannot write the log file /dev/full: No space left on \
                    device (os error 28); some log lines were not written (shown once)\n";
        assert_eq!(ended.stderr, told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_later_costs_the_rest_of_the_log() {
    let lab = lab().await;
    let log = lab.dir.path().join("log");
    let inner = proxy(&lab, &["-vvv", "--log-file", "log"]);
    let bridge = Bridge::start(&mut by(&["sh", "-c", NO_LONGER_THAN[1], "sh"], &inner));
    let ended = carries(&lab, bridge).await;
    assert_eq!(ended.stderr.matches("File too large").count(), 1, "{}", ended.stderr);
    let text = std::fs::read_to_string(log).unwrap();
    assert!((400..=1024).contains(&text.len()), "{text}");
    assert!(text.contains("StartTerminalSession"), "{text}");
}

/// The daily log is missing then, and that is told at the level of `-v` only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_for_the_daily_log_holds_nothing_up() {
    for (args, told) in [(&[][..], 0), (&["-v"], 1)] {
        let lab = lab().await;
        let inner = proxy(&lab, args);
        let bridge = Bridge::start(&mut by(&["sh", "-c", NO_LONGER_THAN[0], "sh"], &inner));
        let ended = carries(&lab, bridge).await;
        let count = ended.stderr.matches("the daily log is not complete").count();
        assert_eq!(count, told, "{}", ended.stderr);
        assert_eq!(daily_log(lab.dir.path()), "");
    }
}

/// The commands that write to stdout have nothing else to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_a_session_go_on_without_their_log() {
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    for args in [&["send-key", "-i", INSTANCE][..], &["known-hosts", INSTANCE]] {
        let mut command = lab.bridge(args);
        let ended = Bridge::start(command.args(["-vv", "--log-file", "/dev/full"])).end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(NO_SPACE).count(), 1, "{}", ended.stderr);
        assert!(!ended.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stderr_that_takes_nothing_holds_nothing_up() {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        OwnedFd::from(writer)
    };
    for stderr in [full(), gone()] {
        let lab = lab().await;
        let mut command = proxy(&lab, &["-vvv"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        let mut stdout = child.stdout.take().unwrap();
        timeout(PATIENCE, stdout.read_exact(&mut got)).await.expect("it comes").unwrap();
        assert_eq!(&got, b"hello");
        drop(target);
        let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0));
        lab.all_ended().await;
        // A failure that cannot be told has its exit code.
        let mut command = lab.bridge(["-vvv", "proxy", "i-nosuch"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full());
        assert_eq!(run(&mut command).await.status.code(), Some(6));
    }
}

/// Events that cannot be written are missing, which is told; connections are carried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stdout_that_is_full_costs_the_events_of_a_forward() {
    for quiet in [&[][..], &["-q"]] {
        let lab = lab().await;
        let socket = lab.dir.path().join("s");
        let spec = format!("{}:localhost:{QUIET_PORT}", socket.display());
        let args = ["forward", "--json", "-i", INSTANCE, "--no-probe", "--grace", "0", "-L", &spec];
        let mut command = lab.bridge([&args, quiet].concat());
        command.stdin(Stdio::null()).stdout(full());
        let mut bridge = Bridge::start_as_it_is(&mut command);
        for _ in 0..2 {
            let mut client = connected(&socket).await;
            lab.accept().await.write_all(b"hello").await.unwrap();
            let mut got = Vec::new();
            timeout(PATIENCE, client.read_to_end(&mut got)).await.expect("it comes").unwrap();
            assert_eq!(got, b"hello");
        }
        if quiet.is_empty() {
            bridge.logged("some events were not written").await;
        }
        bridge.signal("TERM").await;
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(143));
        assert_eq!(ended.stderr.matches(NO_SPACE).count(), usize::from(quiet.is_empty()));
        lab.all_ended().await;
    }
}

/// What was asked for is not there, and that is a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stdout_that_is_full_fails_who_was_asked_for_an_answer() {
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    for args in [&["send-key", "-i", INSTANCE, "--json"][..], &["known-hosts", INSTANCE]] {
        let mut command = lab.bridge(args);
        command.stdin(Stdio::null()).stdout(full());
        let ended = Bridge::start_as_it_is(&mut command).end().await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(report.what.contains(NO_SPACE) && !report.fix.is_empty(), "{report:?}");
    }
}

fn entries(lab: &Lab) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(lab.dir.path().join(".cache/ecs-bridge")) else {
        return Vec::new();
    };
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// Each command, and how often it has asked the instance to do what it could have remembered.
async fn remembered(lab: &Lab, how: &[&str]) -> (Vec<Ended>, usize) {
    let before = count(lab, CommandKind::Install) + count(lab, CommandKind::Script);
    let mut all = Vec::new();
    for args in [&["send-key", "-i", INSTANCE][..], &["known-hosts", INSTANCE]] {
        let inner = lab.bridge(args);
        let command = &mut match how {
            [] => inner,
            how => by(how, &inner),
        };
        let ended = Bridge::start(command).end().await;
        assert_eq!(ended.code, Some(0), "{how:?}: {}", ended.stderr);
        all.push(ended);
    }
    (all, count(lab, CommandKind::Install) + count(lab, CommandKind::Script) - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_remembered_is_asked_again_and_told() {
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    for _ in 0..2 {
        let how = ["sh", "-c", NO_LONGER_THAN[0], "sh"];
        let (ended, asked) = remembered(&lab, &how).await;
        assert_eq!(asked, 2, "both are asked for");
        for ended in ended {
            let told = ended.stderr.matches("cannot write the cache").count();
            assert!(told == 1 && ended.stderr.contains("File too large"), "{}", ended.stderr);
        }
        assert_eq!(entries(&lab), Vec::<PathBuf>::new(), "something half-written stays");
    }
    let (_, asked) = remembered(&lab, &[]).await;
    assert_eq!((asked, entries(&lab).len()), (2, 3), "there is room now");
    assert_eq!(remembered(&lab, &[]).await.1, 0);
}

/// As a crash or another program may leave it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_half_written_is_not_there_and_is_replaced() {
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    let damage: [fn(&Path); 3] = [
        |path| drop(File::create(path).unwrap()),
        |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        },
        |path| std::fs::write(path, [0; 300]).unwrap(),
    ];
    let (whole, _) = remembered(&lab, &[]).await;
    for damage in damage {
        entries(&lab).iter().for_each(|path| damage(path));
        let (ended, asked) = remembered(&lab, &[]).await;
        assert_eq!(asked, 2);
        assert_eq!(ended[1].stdout, whole[1].stdout, "the host keys");
        assert!(ended.iter().all(|ended| ended.stderr.is_empty()));
        assert_eq!(
            (remembered(&lab, &[]).await.1, entries(&lab).len()),
            (0, 3),
            "it is whole again"
        );
    }
}

/// A file system of its own for what is remembered: one that is full, and one that cannot be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_takes_nothing_is_gone_without() {
    if installed("unshare").is_none() {
        return;
    }
    let may =
        run(Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/tmp"])).await;
    if !may.status.success() {
        let why = String::from_utf8_lossy(&may.stderr);
        eprintln!("skipped: this user may not mount anything here: {why}");
        return;
    }
    let lab = lab_with_key(|instance| instance).await;
    tell_host_key(&lab, INSTANCE);
    std::fs::create_dir(lab.dir.path().join(".cache")).unwrap();
    let mount = |options: &str, fill: &str| {
        format!(
            "mount -t tmpfs -o {options} none .cache && {{ {fill} }} && \"$@\"; code=$?; \
             ls -A .cache/ecs-bridge >&2; exit $code"
        )
    };
    let fill =
        "mkdir -m 700 .cache/ecs-bridge; ! dd if=/dev/zero of=.cache/fill bs=4k 2>/dev/null;";
    for (script, said) in [
        (mount("size=16k", fill), NO_SPACE),
        (mount("size=16k,nr_inodes=3", fill), NO_SPACE),
        (mount("ro", "true;"), ""),
    ] {
        let (ended, asked) = remembered(&lab, &["unshare", "-rm", "sh", "-c", &script, "sh"]).await;
        assert_eq!(asked, 2, "{ended:?}");
        for ended in ended {
            let lines: Vec<_> =
                ended.stderr.lines().filter(|line| !line.starts_with("ls:")).collect();
            assert_eq!(lines.len(), usize::from(!said.is_empty()), "{}", ended.stderr);
            assert!(lines.iter().all(|line| line.contains(said)), "{}", ended.stderr);
        }
    }
}
