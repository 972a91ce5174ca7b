use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::time::Duration;

use tempfile::TempDir;

use super::super::folder::MOST;
use super::*;

fn folder(dir: &TempDir) -> Folder {
    Folder::of_user(&|_| None, Some(dir.path())).unwrap()
}

fn name(day: &str, part: u32) -> Name {
    Name { day: day.to_owned(), part }
}

fn at(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).unwrap()
}

fn write(folder: &Folder, name: &Name, length: u64) {
    folder.make().unwrap();
    File::create(folder.file(name)).unwrap().set_len(length).unwrap();
}

fn log(folder: &Folder) -> DailyLog {
    DailyLog::new(Some(folder.clone()), "proxy i-1".to_owned())
}

#[test]
fn names_are_in_the_order_of_time_and_others_are_left_alone() {
    for (text, expected) in [
        ("2026-11-28.log", Some(name("2026-11-28", 0))),
        ("2026-11-28.12.log", Some(name("2026-11-28", 12))),
        ("2026-11-28.0.log", None),
        ("2026-11-2x.log", None),
        ("notes.log", None),
        ("last-failure.json", None),
    ] {
        assert_eq!(Name::parse(text), expected, "{text}");
    }
    assert!(name("2026-11-28", 9) < name("2026-11-28", 10));
    assert!(name("2026-11-28", 10) < name("2026-11-29", 0));
}

#[test]
fn the_folder_is_of_the_state_home_if_that_is_absolute() {
    let of = |state: &str| {
        let env = |name: &str| (name == "XDG_STATE_HOME").then(|| OsString::from(state));
        Folder::of_user(&env, Some(Path::new("/home/me")))
    };
    let given = if cfg!(windows) { r"C:\s" } else { "/s" };
    assert_eq!(of(given).unwrap().path(), Path::new(given).join("ecs-bridge").join("log"));
    assert_eq!(of("relative"), Folder::of_user(&|_| None, Some(Path::new("/home/me"))));
    assert_eq!(Folder::of_user(&|_| None, None), None);
}

#[test]
fn a_line_is_one_line_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, now) = (folder(&dir), at("2026-11-28T01:02:03.004Z"));
    let log = log(&folder);
    log.line_at(now, "ERROR", "it broke\n  why: a\u{1b}[31m reason\r\n  fix: none\n");
    log.line_at(now, "INFO", &"ä".repeat(MAX_LINE));
    let text = fs::read_to_string(folder.file(&name("2026-11-28", 0))).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let pid = std::process::id();
    let head = format!("2026-11-28T01:02:03.004Z ERROR [{pid} proxy i-1] ");
    assert_eq!(first, head + "it broke; why: a [31m reason; fix: none");
    assert!(second.len() <= MAX_LINE && second.ends_with("…\n"), "{}", second.len());
    assert!(log.problem().is_none());
}

#[test]
fn each_day_has_a_file_and_a_week_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    for day in ["2026-11-20", "2026-11-21", "2026-11-27"] {
        write(&folder, &name(day, 0), 10);
    }
    fs::write(folder.path().join("notes.txt"), "the user's own").unwrap();
    let log = log(&folder);
    log.line_at(at("2026-11-28T23:59:59.999Z"), "INFO", "before midnight");
    let days =
        |folder: &Folder| folder.files().into_iter().map(|name| name.day).collect::<Vec<_>>();
    assert_eq!(days(&folder), ["2026-11-21", "2026-11-27", "2026-11-28"]);
    log.line_at(at("2026-11-29T00:00:00Z"), "INFO", "after midnight");
    assert_eq!(days(&folder), ["2026-11-27", "2026-11-28", "2026-11-29"]);
    let text = fs::read_to_string(folder.file(&name("2026-11-29", 0))).unwrap();
    assert!(text.contains("after") && !text.contains("before"), "{text}");
    assert!(folder.path().join("notes.txt").exists());
}

#[test]
fn a_large_day_goes_on_in_another_file_and_all_together_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, now) = (folder(&dir), at("2026-11-28T00:00:00Z"));
    write(&folder, &name("2026-11-27", 0), PART);
    for part in 0..4 {
        write(&folder, &name("2026-11-28", part), PART);
    }
    let log = log(&folder);
    log.line_at(now, "INFO", "the fifth file of the day");
    let expected: Vec<_> = (1..5).map(|part| name("2026-11-28", part)).collect();
    assert_eq!(folder.files(), expected);
    // Another process has filled the file that is open here.
    write(&folder, &name("2026-11-28", 4), PART);
    log.line_at(now, "INFO", "the sixth");
    let expected: Vec<_> = (2..6).map(|part| name("2026-11-28", part)).collect();
    assert_eq!(folder.files(), expected);
    let lengths = folder.files().into_iter().map(|name| fs::metadata(folder.file(&name)).unwrap());
    assert!(lengths.map(|found| found.len()).sum::<u64>() + PART <= MOST);
}

#[test]
fn many_lines_stay_within_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, now) = (folder(&dir), at("2026-11-28T00:00:00Z"));
    let logs = [log(&folder), log(&folder)];
    let text = "x".repeat(8_000);
    for _ in 0..1_000 {
        for log in &logs {
            log.line_at(now, "INFO", &text);
        }
    }
    let mut total = 0;
    for name in folder.files() {
        let mut text = String::new();
        File::open(folder.file(&name)).unwrap().read_to_string(&mut text).unwrap();
        total += text.len() as u64;
        assert!(text.ends_with("x\n") && text.lines().all(|line| line.starts_with("2026-")));
    }
    assert!((MOST / 2..=MOST).contains(&total), "{total}");
}

#[cfg(unix)]
#[test]
fn all_is_the_users_alone_and_links_are_not_followed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let dir = tempfile::tempdir().unwrap();
    let (folder, now) = (folder(&dir), at("2026-11-28T00:00:00Z"));
    fs::create_dir_all(folder.path()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let log = log(&folder);
    log.line_at(now, "INFO", "text");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.file(&name("2026-11-28", 0))), 0o600);

    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    symlink(&elsewhere, folder.file(&name("2026-11-29", 0))).unwrap();
    log.line_at(at("2026-11-29T00:00:00Z"), "INFO", "text");
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "");
    assert!(log.problem().unwrap().starts_with("cannot write to "));
}

#[test]
fn without_a_folder_nothing_is_written_and_nothing_fails() {
    let log = DailyLog::new(None, "list".to_owned());
    log.line("INFO", "text");
    assert_eq!(log.problem().unwrap(), "there is no home folder");
}

#[test]
fn a_failure_is_read_as_it_was_kept() {
    #[derive(Debug, thiserror::Error)]
    #[error("it broke")]
    struct Broke;

    impl crate::explain::Explain for Broke {
        fn why(&self) -> Option<String> {
            Some("a reason".to_owned())
        }
        fn request_id(&self) -> Option<&str> {
            Some("R-1")
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let (folder, now) = (folder(&dir), at("2026-11-28T01:02:03.004Z"));
    assert_eq!(LastFailure::read(&folder), None);
    let report = crate::explain::Report::new(&Broke);
    let failure = LastFailure::new(&report, "ecs-bridge list".to_owned(), now);
    log(&folder).keep_failure(&failure);
    let read = LastFailure::read(&folder).unwrap();
    assert_eq!(read, failure);
    assert_eq!(read.report(), report.to_string());
    let later = now + Duration::from_secs(125);
    assert_eq!(read.title(later), "2026-11-28T01:02:03Z (2 min ago): ecs-bridge list");
    assert_eq!(read.age(now - Duration::from_secs(1)), None);
    fs::write(folder.path().join("last-failure.json"), "{\"time\": \"20").unwrap();
    assert_eq!(LastFailure::read(&folder), None);
}
