//! Absolute paths as ssh has them on Windows: Microsoft's with a drive, Git's with a folder for each drive. Neither
//! runs a `KnownHostsCommand` whose path is not absolute to it.

/// The path of a program for an ssh that knows folders for drives: `C:\a\b.exe` is `/c/a/b.exe`, and
/// `\\server\a\b.exe` is `//server/a/b.exe`.
pub(crate) fn to_git(path: &str) -> String {
    match path.split_once(':') {
        Some((drive, rest)) if is_drive(drive) && rest.starts_with(['/', '\\']) => {
            format!("/{}{}", drive.to_ascii_lowercase(), rest.replace('\\', "/"))
        }
        _ if path.starts_with(r"\\") => path.replace('\\', "/"),
        _ => path.to_owned(),
    }
}

/// The path that Windows has for an absolute one; `None` if it is not absolute to this ssh.
pub(crate) fn of_ssh(path: &str, is_microsofts: bool) -> Option<String> {
    if is_microsofts {
        let has_drive = path
            .split_once(':')
            .is_some_and(|(drive, rest)| is_drive(drive) && rest.starts_with(['/', '\\']));
        return (has_drive || path.starts_with(r"\\")).then(|| path.to_owned());
    }
    let rest = path.strip_prefix('/')?;
    Some(match rest.split_once('/') {
        Some((drive, rest)) if is_drive(drive) => format!("{drive}:/{rest}"),
        _ => path.to_owned(),
    })
}

fn is_drive(word: &str) -> bool {
    word.len() == 1 && word.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_has_a_folder_for_each_drive() {
        for (path, git) in [
            (r"C:\Program Files\x.exe", "/c/Program Files/x.exe"),
            ("D:/bin/x.exe", "/d/bin/x.exe"),
            (r"\\server\a b\x.exe", "//server/a b/x.exe"),
            ("/c/x.exe", "/c/x.exe"),
        ] {
            assert_eq!(to_git(path), git);
        }
    }

    #[test]
    fn each_ssh_has_absolute_paths_of_its_own() {
        for (path, microsofts, gits) in [
            (r"C:\a b\x.exe", Some(r"C:\a b\x.exe"), None),
            ("C:/a/x.exe", Some("C:/a/x.exe"), None),
            ("/c/a/x.exe", None, Some("c:/a/x.exe")),
            ("/usr/bin/x", None, Some("/usr/bin/x")),
            ("//server/a/x.exe", None, Some("//server/a/x.exe")),
            (r"\\server\x.exe", Some(r"\\server\x.exe"), None),
            ("x.exe", None, None),
            ("", None, None),
        ] {
            assert_eq!(of_ssh(path, true).as_deref(), microsofts, "{path}");
            assert_eq!(of_ssh(path, false).as_deref(), gits, "{path}");
        }
    }
}
