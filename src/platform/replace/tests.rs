use super::*;

async fn write(path: &Path, mode: Mode, text: &str) -> Result<(), Error> {
    update(&Destination::of(path)?, mode, |_| Ok((Change::To(text.into()), ()))).await
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_and_its_folder_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a/b");
    let file = folder.join("c");
    write(&file, Mode::Kept, "x").await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    assert_eq!(entries(&folder), ["c"], "nothing else is left there");
    chmod(&file, 0o644);
    write(&file, Mode::Kept, "y").await.unwrap();
    assert_eq!(mode(&file), 0o644);
    write(&file, Mode::Private, "z").await.unwrap();
    assert_eq!(mode(&file), 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_and_stay() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real/file", at("one")).unwrap();
    symlink(at("one"), at("two")).unwrap();
    write(&at("two"), Mode::Private, "x").await.unwrap();
    assert_eq!(fs::read_to_string(at("real/file")).unwrap(), "x", "it led to nothing before");
    write(&at("two"), Mode::Private, "y").await.unwrap();
    assert_eq!(fs::read_to_string(at("real/file")).unwrap(), "y");
    assert_eq!(fs::read_link(at("one")).unwrap(), Path::new("real/file"));
    assert_eq!(fs::read_link(at("two")).unwrap(), at("one"));
    assert_eq!(entries(dir.path()), ["one", "real", "two"]);

    symlink("nowhere/file", at("lost")).unwrap();
    symlink("round", at("round")).unwrap();
    for name in ["lost", "round"] {
        let error = Destination::of(&at(name)).unwrap_err();
        assert!(matches!(error, Error::Link { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = write(dir.path(), Mode::Kept, "x").await.unwrap_err();
    assert!(matches!(error, Error::NotAFile { what: "a folder", .. }), "{error}");
    let file = dir.path().join("big");
    fs::write(&file, vec![b' '; MOST as usize + 1]).unwrap();
    let error = write(&file, Mode::Kept, "x").await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    fs::write(&file, vec![b' '; MOST as usize]).unwrap();
    write(&file, Mode::Kept, "x").await.unwrap();
    #[cfg(unix)]
    {
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let error = write(&pipe, Mode::Kept, "x").await.unwrap_err();
        assert!(matches!(error, Error::NotAFile { what: "no plain file", .. }), "{error}");
        chmod(&file, 0o400);
        let error = write(&file, Mode::Kept, "y").await.unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        assert!(matches!(Destination::of(&file).unwrap().probe(), Err(Error::ReadOnly { .. })));
    }
}

#[tokio::test]
async fn what_the_change_is_made_to_is_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, "1").unwrap();
    let place = Destination::of(&file).unwrap();
    let mut seen = Vec::new();
    // Another program, which knows no locks, writes while this one is thinking.
    let result: Result<(), Error> = update(&place, Mode::Kept, |old| {
        let old = String::from_utf8(old.unwrap().to_vec()).unwrap();
        if seen.len() < 3 {
            fs::write(&file, format!("{old}+")).unwrap();
        }
        seen.push(old.clone());
        Ok((Change::To(format!("{old}!").into()), ()))
    })
    .await;
    result.unwrap();
    assert_eq!(seen, ["1", "1+", "1++", "1+++"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "1+++!");
    assert_eq!(entries(dir.path()), ["f"]);

    let restless: Result<(), Error> = update(&place, Mode::Kept, |old| {
        fs::write(&file, [old.unwrap(), b"?"].concat()).unwrap();
        Ok((Change::Gone, ()))
    })
    .await;
    assert!(matches!(restless, Err(Error::Busy { .. })));
    assert!(file.exists());
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not/there");
    let failed: Result<(), Error> = update(&Destination::of(&file).unwrap(), Mode::Kept, |old| {
        assert_eq!(old, None);
        Err(Error::Busy { path: PathBuf::new() })
    })
    .await;
    failed.unwrap_err();
    let nothing: Result<(), Error> =
        update(&Destination::of(&file).unwrap(), Mode::Kept, |_| Ok((Change::None, ()))).await;
    nothing.unwrap();
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = Destination::of(&dir.path().join("new/file")).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..16u8 {
        let place = place.clone();
        writers.spawn(async move {
            let added: Result<(), Error> = update(&place, Mode::Private, |old| {
                let new = [old.unwrap_or_default(), &[number]].concat();
                Ok((Change::To(new), ()))
            })
            .await;
            added.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let mut all = place.read().unwrap().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..16).collect::<Vec<u8>>());
}

/// Has the file open for a while, with these rights of others.
#[cfg(windows)]
fn held(file: &Path, others: u32) -> std::thread::JoinHandle<()> {
    use std::os::windows::fs::OpenOptionsExt as _;

    let file = File::options().read(true).share_mode(others).open(file).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(file);
    })
}

#[cfg(windows)]
#[tokio::test]
async fn a_file_that_another_process_has_open_is_waited_for() {
    const NOTHING: u32 = 0;
    const READ_AND_WRITE: u32 = 3;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    let place = Destination::of(&file).unwrap();
    for others in [NOTHING, READ_AND_WRITE] {
        fs::write(&file, "x").unwrap();
        let holder = held(&file, others);
        assert!(fs::remove_file(&file).is_err(), "the system refuses it meanwhile");
        write(&file, Mode::Kept, "y").await.unwrap();
        holder.join().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "y");

        let holder = held(&file, others);
        update(&place, Mode::Kept, |_| Ok::<_, Error>((Change::Gone, ()))).await.unwrap();
        holder.join().unwrap();
        assert!(!file.exists());
    }
}
