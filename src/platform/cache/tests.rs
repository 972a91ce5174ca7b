use super::*;

fn topic() -> Topic {
    Topic::new("thing", &["ecs.example", "i-1", "root"])
}

const MINUTE: Duration = Duration::from_secs(60);

fn cache(folder: &Path) -> Cache {
    let folder = folder.to_owned().into_os_string();
    Cache::of_user(&|name| (name == "XDG_CACHE_HOME").then(|| folder.clone()), None)
}

fn got(cache: &Cache, topic: &Topic, at: SystemTime) -> Option<String> {
    cache.get(topic, MINUTE, at).map(|(value, _)| value)
}

#[test]
fn it_is_remembered_for_its_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, now) = (cache(dir.path()), SystemTime::now());
    assert_eq!(got(&cache, &topic(), now), None);
    cache.put(&topic(), &"word", now);
    let stored = cache.get::<String>(&topic(), MINUTE, now + MINUTE / 2).unwrap().1;
    let apart = |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_default();
    assert!(apart(stored, now).max(apart(now, stored)) < Duration::from_millis(1));
    assert_eq!(got(&cache, &topic(), now + MINUTE + Duration::from_secs(1)), None);
    assert_eq!(got(&cache, &topic(), now - MINUTE), None, "from the future");
    cache.forget(&topic());
    assert_eq!(got(&cache, &topic(), now), None);
}

#[test]
fn topics_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, now) = (cache(dir.path()), SystemTime::now());
    cache.put(&topic(), &"word", now);
    for other in [
        Topic::new("other", &["ecs.example", "i-1", "root"]),
        Topic::new("thing", &["ecs.other", "i-1", "root"]),
        Topic::new("thing", &["ecs.example", "i-1root"]),
        Topic::new("thing", &["ecs.example", "i-1", "root", ""]),
    ] {
        assert_eq!(got(&cache, &other, now), None, "{other:?}");
    }
    assert_eq!(cache.get::<u32>(&topic(), MINUTE, now), None, "of another shape");
}

#[test]
fn what_is_damaged_or_cannot_be_written_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, now) = (cache(dir.path()), SystemTime::now());
    kept.put(&topic(), &"word", now);
    let path = dir.path().join("ecs-bridge").join(topic().file_name);
    for text in ["", "{", "{\"stored\":-1,\"value\":\"x\"}", "{\"stored\":1e99,\"value\":\"x\"}"] {
        fs::write(&path, text).unwrap();
        assert_eq!(got(&kept, &topic(), now), None, "{text}");
    }
    for folder in ["/dev/null", "/proc/none"] {
        let cache = cache(Path::new(folder));
        cache.put(&topic(), &"word", now);
        assert_eq!(got(&cache, &topic(), now), None);
    }
    let nowhere = Cache::of_user(&|_| None, None);
    nowhere.put(&topic(), &"word", now);
    assert_eq!(got(&nowhere, &topic(), now), None);
}

#[test]
fn a_relative_folder_counts_for_nothing() {
    let env = |name: &str| (name == "XDG_CACHE_HOME").then(|| OsString::from("relative"));
    let cache = Cache::of_user(&env, Some(Path::new("/home/a")));
    assert_eq!(cache.folder.unwrap(), Path::new("/home/a/.cache/ecs-bridge"));
}

#[test]
fn old_entries_go() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, now) = (cache(dir.path()), SystemTime::now());
    cache.put(&topic(), &"word", now);
    let other = Topic::new("other", &[]);
    cache.put(&other, &"word", now + 3 * DAY);
    let names: Vec<_> = fs::read_dir(dir.path().join("ecs-bridge"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [other.file_name]);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it_or_put_something_there() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let dir = tempfile::tempdir().unwrap();
    let (cache, now) = (cache(dir.path()), SystemTime::now());
    cache.put(&topic(), &"word", now);
    let folder = dir.path().join("ecs-bridge");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.join(topic().file_name)).unwrap().mode() & 0o777, 0o600);
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o770)).unwrap();
    assert_eq!(got(&cache, &topic(), now), None);
    cache.put(&Topic::new("other", &[]), &"word", now);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn clear_deletes_all_entries_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, now) = (cache(dir.path()), SystemTime::now());
    assert_eq!(cache.clear().unwrap(), 0, "there is no folder");
    cache.put(&topic(), &"word", now);
    cache.put(&Topic::new("two-words", &[]), &"word", now);
    let folder = dir.path().join("ecs-bridge");
    fs::create_dir(folder.join("log")).unwrap();
    for name in [".tmpUnfinished", "notes-1.json", "log/2026-01-31.log"] {
        fs::write(folder.join(name), "text").unwrap();
    }
    assert_eq!(cache.clear().unwrap(), 2);
    assert_eq!(cache.clear().unwrap(), 0);
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["log", "notes-1.json"]);
    assert_eq!(fs::read_to_string(folder.join("log/2026-01-31.log")).unwrap(), "text");
    assert_eq!(Cache::none().clear().unwrap(), 0);
}
