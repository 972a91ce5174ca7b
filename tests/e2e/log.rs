//! The log that is always written, and `ecs-bridge log`.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use local_cloud::{Agent, Instance, InstanceStatus};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use crate::lab::{Bridge, Ended, Lab};
use crate::world::{INSTANCE, PATIENCE, Server, World, daily_log, log_files, run};

async fn lab() -> Lab {
    let stopped = Instance::new(INSTANCE).agent(Agent::d().quick()).status(InstanceStatus::Stopped);
    Lab::new(stopped).await
}

async fn ended(lab: &Lab, args: &[&str]) -> Ended {
    Bridge::start(&mut lab.bridge(args)).end().await
}

fn text(ended: &Ended) -> String {
    String::from_utf8(ended.stdout.clone()).unwrap()
}

/// Under ControlPersist ssh gives what its ProxyCommand writes to stderr to /dev/null.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_failure_under_control_persist_is_kept() {
    let stopped = Instance::new(INSTANCE).agent(Agent::d().quick()).status(InstanceStatus::Stopped);
    let world = World::with(Server::InProcess, stopped).await.unwrap();
    let mut ssh = world.openssh("ssh");
    ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=30", INSTANCE, "true"]);
    let output = run(ssh.stderr(std::process::Stdio::piped())).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{stderr}");
    assert!(!stderr.contains("ecs-bridge"), "ssh shows the reason: {stderr}");

    let mut log = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
    let output = run(log.args(["log", "--last"]).stderr(std::process::Stdio::piped())).await;
    let last = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{last}");
    let lines: Vec<_> = last.lines().collect();
    assert!(lines[0].contains(" s ago): ecs-bridge -vvv --log-file "), "{last}");
    assert!(lines[0].ends_with(&format!("proxy {INSTANCE} 22")), "{last}");
    assert!(lines[1].starts_with("ecs-bridge: error: "), "{last}");
    assert!(last.contains("Stopped") || last.contains("stopped"), "{last}");
    assert!(last.contains("\n  fix: ") && last.contains("\n  RequestId: "), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_failure_is_what_was_told() {
    let lab = lab().await;
    let none = ended(&lab, &["log", "--last"]).await;
    assert_eq!((none.code, text(&none).as_str()), (Some(1), ""));
    assert!(
        none.stderr.starts_with("ecs-bridge: error: no failure is recorded"),
        "{}",
        none.stderr
    );
    let failed = ended(&lab, &["proxy", INSTANCE]).await;
    let last = text(&ended(&lab, &["log", "--last"]).await);
    let (title, report) = last.split_once('\n').unwrap();
    assert!(title.ends_with(&format!("ago): ecs-bridge proxy {INSTANCE}")), "{title}");
    assert_eq!(report, failed.stderr);
    // A command that goes well, and one that only prints, change nothing.
    ended(&lab, &["list"]).await;
    assert_eq!(ended(&lab, &["log", "--path"]).await.code, Some(0));
    let again = text(&ended(&lab, &["log", "--last"]).await);
    assert!(again.ends_with(report), "{again}");

    let log = text(&ended(&lab, &["log"]).await);
    assert_eq!(log, daily_log_lines(lab.dir.path()));
    let code = failed.code.unwrap();
    for part in [
        format!("proxy {INSTANCE}] begin: ecs-bridge proxy {INSTANCE} (version "),
        format!("proxy {INSTANCE}] end: exit code {code}\n"),
        " list] begin: ecs-bridge list (version ".to_owned(),
        " list] end: exit code 0\n".to_owned(),
    ] {
        assert!(log.contains(&part), "{part}: {log}");
    }
    assert!(!log.contains(" log] "), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_is_an_event_too_is_logged_once() {
    let lab = lab().await;
    let args = ["forward", INSTANCE, "22", "--local-port", "0", "--json"];
    let failed = ended(&lab, &args).await;
    assert!(text(&failed).contains(r#""event":"error""#), "{}", failed.stderr);
    let log = daily_log_lines(lab.dir.path());
    assert_eq!(log.matches(" ERROR [").count(), 1, "{log}");
    let last = text(&ended(&lab, &["log", "--last"]).await);
    assert!(last.ends_with(&failed.stderr), "{last}");
}

/// The log without last-failure.json.
fn daily_log_lines(dir: &Path) -> String {
    let log = daily_log(dir);
    log.lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_line_that_is_wrong_is_a_failure_without_what_was_typed() {
    let lab = lab().await;
    let wrong = ended(&lab, &["proxy", INSTANCE, "22", "--hush=shush-1", "shush-2"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    let last = text(&ended(&lab, &["log", "--last"]).await);
    assert!(last.contains("the command line of ecs-bridge proxy is wrong"), "{last}");
    assert!(last.contains("(--hush)"), "{last}");
    let set = ["configure", "set", "--mode", "AK", "--access-key-secret", "shush-3", "--profile"];
    ended(&lab, &set).await;
    ended(&lab, &[&set[..], &["x", "--access-key-id", "LTAI5x"]].concat()).await;
    let log = daily_log(lab.dir.path());
    assert!(log.contains("begin: ecs-bridge configure set (version"), "{log}");
    assert!(!log.contains("shush"), "{log}");
    // Help is no failure.
    ended(&lab, &["proxy", "--help"]).await;
    ended(&lab, &["--version"]).await;
    assert_eq!(daily_log(lab.dir.path()), log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_write_at_once_write_whole_lines() {
    const PROCESSES: usize = 12;

    let lab = lab().await;
    let runs = (0..PROCESSES).map(|_| ended(&lab, &["proxy", INSTANCE]));
    let codes = futures_util::future::join_all(runs).await;
    assert!(codes.iter().all(|ended| ended.code == codes[0].code && ended.code != Some(0)));
    let log = daily_log_lines(lab.dir.path());
    let of = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    for part in [" begin: ecs-bridge proxy ", " end: exit code ", " ERROR ["] {
        assert_eq!(of(part), PROCESSES, "{part}: {log}");
    }
    for line in log.lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert_eq!(line.matches(&format!(" proxy {INSTANCE}] ")).count(), 1, "{line}");
        assert!(["INFO", "WARN", "ERROR"].iter().any(|level| rest.starts_with(level)), "{line}");
    }
    // The failure that was written last is whole.
    assert_eq!(ended(&lab, &["log", "--last"]).await.code, Some(0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let lab = lab().await;
    let mut command = lab.bridge(["proxy", INSTANCE]);
    Bridge::start(&mut command).end().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files: Vec<_> = log_files(lab.dir.path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
    assert_eq!(mode(files[0].parent().unwrap()), 0o700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_is_written_where_it_is_switched_off() {
    let lab = lab().await;
    for (args, env) in [
        (&["--no-log", "proxy", INSTANCE][..], ""),
        (&["proxy", INSTANCE], "off"),
        (&["proxy", INSTANCE, "--wrong"], "OFF"),
        (&["--no-log", "proxy", INSTANCE, "--wrong"], ""),
    ] {
        let mut command = lab.bridge(args);
        let ended = Bridge::start(command.env("ECS_BRIDGE_LOG", env)).end().await;
        assert_ne!(ended.code, Some(0));
    }
    assert!(!lab.dir.path().join("state").exists());
    let none = ended(&lab, &["log"]).await;
    assert_eq!((none.code, text(&none).as_str()), (Some(1), ""));
    assert!(none.stderr.contains("there is no log in "), "{}", none.stderr);
}

/// A place where no folder can be made, for root neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_made_is_told_only_where_more_is_asked_for() {
    let lab = lab().await;
    let blocked = lab.dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    let stderr = async |args: &[&str]| {
        let mut command = lab.bridge(args);
        Bridge::start(command.env("XDG_STATE_HOME", &blocked)).end().await.stderr
    };
    let plain = stderr(&["list"]).await;
    assert_eq!(plain, "");
    let more = stderr(&["list", "-v"]).await;
    assert_eq!(
        more.matches("the daily log is not complete: cannot write to ").count(),
        1,
        "{more}"
    );
}

/// A file system that is mounted read-only, in a mount namespace of its own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_system_is_not_in_the_way() {
    use crate::terminal::by;
    use crate::world::installed;

    let lab = lab().await;
    let state = lab.dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let script = "mount -t tmpfs -o ro tmpfs \"$XDG_STATE_HOME\" && exec \"$@\"";
    let words = ["unshare", "-Urm", "sh", "-c", script, "sh"];
    let probe = by(&[&words[..], &["true"]].concat(), &lab.bridge([] as [&str; 0]));
    let can = installed("unshare").is_some() && installed("mount").is_some();
    if !can || !run(&mut { probe }).await.status.success() {
        eprintln!("skipped: no mounts of its own can be had here");
        return;
    }
    for (args, told) in [
        (&["list"][..], 0),
        (&["list", "-v"], 1),
        (&["proxy", "nowhere"], 0),
        (&["proxy", "nowhere", "-v"], 1),
        (&["proxy", INSTANCE, "--wrong"], 0),
    ] {
        let without = ended(&lab, &[&["--no-log"], args].concat()).await;
        let read_only = Bridge::start(&mut by(&words, &lab.bridge(args))).end().await;
        assert_eq!(read_only.code, without.code, "{args:?}: {}", read_only.stderr);
        assert_eq!(read_only.stdout, without.stdout, "{args:?}");
        let lines = read_only.stderr.matches("the daily log is not complete: ").count();
        assert_eq!(lines, told, "{args:?}: {}", read_only.stderr);
        if told == 1 {
            assert!(read_only.stderr.contains("os error 30"), "{}", read_only.stderr);
        }
    }
    assert_eq!(log_files(lab.dir.path()).count(), 0);
}

/// As under sudo with the HOME of the user, who could not write to root's files later.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_makes_no_folder_in_the_home_of_another_user() {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let lab = lab().await;
    let home = lab.dir.path().join("home");
    fs::create_dir(&home).unwrap();
    if fs::metadata(&home).unwrap().uid() != 0 {
        eprintln!("skipped: this is not root");
        return;
    }
    chown(&home, Some(12_345), Some(12_345)).unwrap();
    let run = async |args: &[&str]| {
        let mut command = lab.bridge(args);
        command.env("HOME", &home).env_remove("XDG_STATE_HOME").env_remove("XDG_CACHE_HOME");
        Bridge::start(&mut command).end().await
    };
    // What a name leads to would be remembered, and the failure logged.
    assert_eq!(
        run(&["proxy", "web-1"]).await.code,
        run(&["--no-log", "proxy", "web-1"]).await.code
    );
    assert_eq!(run(&["list"]).await.stderr, "");
    let more = run(&["list", "-v"]).await.stderr;
    for what in ["cannot write the cache ", "the daily log is not complete: "] {
        let lines = more.lines().filter(|line| line.contains(what));
        let why = lines.map(|line| line.contains("root makes no folder there"));
        assert_eq!(why.collect::<Vec<_>>(), [true], "{more}");
    }
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    // One that is root's own is used.
    chown(&home, Some(0), Some(0)).unwrap();
    run(&["list"]).await;
    assert_ne!(fs::read_dir(&home).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_before_midnight_is_printed_after_it() {
    let day = |days: u64| {
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned()
    };
    let lab = lab().await;
    let folder = lab.dir.path().join("state/ecs-bridge/log");
    fs::create_dir_all(&folder).unwrap();
    let write = |day: &str, part: &str, text: &str| {
        fs::write(folder.join(format!("{day}{part}.log")), format!("{text}\n")).unwrap();
    };
    write("2026-01-01", "", "old");
    write("2026-01-02", "", "newest");
    write("2026-01-02", ".1", "its second part");
    assert_eq!(text(&ended(&lab, &["log", "--no-log"]).await), "newest\nits second part\n");
    let today = day(0);
    write(&day(1), ".1", "yesterday");
    write(&today, "", "today");
    let printed = text(&ended(&lab, &["log", "--no-log"]).await);
    // Midnight may come in between.
    assert!(printed == "yesterday\ntoday\n" || today != day(0), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_goes_on_in_the_next_days_file() {
    let lab = lab().await;
    let folder = lab.dir.path().join("state/ecs-bridge/log");
    fs::create_dir_all(&folder).unwrap();
    let lines: String = (1..=12).map(|number| format!("line {number}\n")).collect();
    fs::write(folder.join("2026-01-01.log"), lines).unwrap();
    let mut bridge = Bridge::start(&mut lab.bridge(["log", "--follow"]));
    let mut stdout = BufReader::new(bridge.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(PATIENCE, stdout.next_line()).await.expect("a line comes in time");
        line.unwrap().unwrap()
    };
    for number in 3..=12 {
        assert_eq!(next().await, format!("line {number}"));
    }
    let add = |file: &str, text: &str| {
        use std::io::Write as _;

        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(folder.join(file)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    add("2026-01-01.log", "added\n");
    assert_eq!(next().await, "added");
    add("2026-01-01.log", "before midnight\n");
    add("2026-01-02.log", "after midnight\n");
    add("2026-01-02.1.log", "in its second part\n");
    for line in ["before midnight", "after midnight", "in its second part"] {
        assert_eq!(next().await, line);
    }
    bridge.child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_begins_with_the_last_failure_of_a_day() {
    let lab = lab().await;
    let document = async || {
        let text = text(&ended(&lab, &["doctor", "--json"]).await);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert!(document().await["last_failure"].is_null());
    let failed = ended(&lab, &["proxy", INSTANCE]).await;
    let told = document().await;
    let told = &told["last_failure"];
    assert_eq!(told["command"], format!("ecs-bridge proxy {INSTANCE}"));
    let what = told["what"].as_str().unwrap();
    assert!(failed.stderr.starts_with(&format!("ecs-bridge: error: {what}\n")), "{what}");
    let lines = text(&ended(&lab, &["doctor"]).await);
    assert!(lines.starts_with("! last failure "), "{lines}");
    assert!(lines.contains(&format!("\n    what: {what}\n")), "{lines}");
    let off = text(&ended(&lab, &["--no-log", "doctor"]).await);
    assert!(!off.contains("last failure"), "{off}");

    let kept = lab.dir.path().join("state/ecs-bridge/log/last-failure.json");
    let mut old: serde_json::Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    old["time"] = "2026-01-01T00:00:00.000Z".into();
    fs::write(&kept, old.to_string()).unwrap();
    assert!(document().await["last_failure"].is_null());
}
