//! The path of this program that stays valid after an upgrade.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::app::{Message, Result};

/// What the system writes behind the name of a program's file that has been removed.
const DELETED: &str = " (deleted)";

/// The absolute path of this program: as it is found in PATH, for what stands there is often a link
/// that outlives the file of one version; or else as it was called; or as the system knows it.
pub(crate) fn own_path() -> Result<PathBuf> {
    let running = env::current_exe();
    let running = running.map_err(|error| Message(format!("where this program is: {error}")))?;
    let called = env::args_os().next();
    let path = env::var_os("PATH");
    find(&running, called.as_deref(), path.as_deref(), env::consts::EXE_SUFFIX)
        .ok_or_else(|| Message(format!("{} is not there any more", running.display())).into())
}

fn find(
    running: &Path,
    called: Option<&OsStr>,
    path: Option<&OsStr>,
    suffix: &str,
) -> Option<PathBuf> {
    let running = match running.exists() {
        true => running.to_owned(),
        // An upgrade has put another file in its place.
        false => PathBuf::from(running.to_str()?.strip_suffix(DELETED)?),
    };
    let real = running.canonicalize().ok()?;
    let called = called.map(|called| with_suffix(called.as_ref(), suffix));
    let called = called.as_deref();
    let name = called.and_then(Path::file_name).or_else(|| running.file_name())?;
    let folders = path.map(env::split_paths).into_iter().flatten();
    let in_path = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    let called = called.filter(|path| path.components().count() > 1);
    let called = called.and_then(|path| std::path::absolute(path).ok());
    let is_it = |path: &PathBuf| path.canonicalize().is_ok_and(|found| found == real);
    in_path.chain(called).find(is_it).or(Some(running))
}

/// A program's file as it was called, which on Windows may be without its extension.
fn with_suffix(called: &Path, suffix: &str) -> PathBuf {
    let mut whole = called.as_os_str().to_owned();
    if called.extension().is_none() && called.file_name().is_some() {
        whole.push(suffix);
    }
    whole.into()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_path_is_preferred_to_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        // What is temporary is behind a link on some systems.
        let dir = dir.path().canonicalize().unwrap();
        let at = |name: &str| dir.join(name);
        for folder in ["bin", "other", "opt"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("opt/ecs-bridge-0.1"), "").unwrap();
        fs::write(at("other/ecs-bridge"), "another program of that name").unwrap();
        symlink("../opt/ecs-bridge-0.1", at("bin/ecs-bridge")).unwrap();
        let path = env::join_paths([at("other"), PathBuf::from("."), at("bin")]).unwrap();
        let running = at("opt/ecs-bridge-0.1");
        let (link, own) = (at("bin/ecs-bridge"), running.clone());
        let find =
            |called: &str, path: &OsStr| find(&running, Some(called.as_ref()), Some(path), "");
        assert_eq!(find("ecs-bridge", &path), Some(link.clone()));
        assert_eq!(find(link.to_str().unwrap(), OsStr::new("")), Some(link));
        assert_eq!(find("ecs-bridge", OsStr::new("")), Some(own.clone()));
        assert_eq!(find("odd-name", &path), Some(own));
    }

    #[test]
    fn a_name_without_its_extension_is_found_in_path() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let file = dir.join("ecs-bridge.exe");
        fs::write(&file, "").unwrap();
        fs::create_dir(dir.join("links")).unwrap();
        let link = dir.join("links/ecs-bridge.exe");
        symlink(&file, &link).unwrap();
        let path = env::join_paths([dir.join("links")]).unwrap();
        for called in ["ecs-bridge", "ecs-bridge.exe"] {
            let found = find(&file, Some(called.as_ref()), Some(&path), ".exe");
            assert_eq!(found, Some(link.clone()), "{called}");
        }
        let called = dir.join("links/ecs-bridge");
        assert_eq!(find(&file, Some(called.as_os_str()), None, ".exe"), Some(link));
    }

    #[test]
    fn a_file_that_was_replaced_is_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        let running = dir.path().join("x (deleted)");
        assert_eq!(find(&running, None, None, ""), None);
        fs::write(&file, "").unwrap();
        assert_eq!(find(&running, None, None, ""), Some(file));
    }
}
