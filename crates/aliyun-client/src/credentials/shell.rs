//! Words as a shell has them, and the programs that they name.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What a program's file may end in on Windows, in this order.
const EXTENSIONS: [&str; 3] = [".exe", ".cmd", ".bat"];

/// The words of a command line, as a shell splits it; `None` where a quote is not closed.
pub fn shell_words(command: &str) -> Option<Vec<String>> {
    // Where it separates folders, a backslash quotes nothing.
    match cfg!(windows) {
        true => shlex::split(&plain_backslashes(command)),
        false => shlex::split(command),
    }
}

/// A command line in which a shell takes each backslash as it stands. It does so by itself between `'`.
fn plain_backslashes(command: &str) -> String {
    let (mut plain, mut quote) = (String::with_capacity(command.len()), None);
    for c in command.chars() {
        match (c, quote) {
            ('\\', Some('\'')) => {}
            ('\\', _) => plain.push(c),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        plain.push(c);
    }
    plain
}

/// The program that a name stands for. Windows itself finds `.exe` files alone by a name without an extension; many
/// programs are `.cmd` or `.bat` files there. Elsewhere it is the name.
pub fn program_file(name: &OsStr) -> OsString {
    let path = env::var_os("PATH").filter(|_| cfg!(windows));
    let found = path.and_then(|path| file_of(name, &path));
    found.map_or_else(|| name.to_owned(), PathBuf::into_os_string)
}

fn file_of(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let given = Path::new(name);
    given.file_name().filter(|_| given.extension().is_none())?;
    let with = |extension| {
        let mut name = name.to_owned();
        name.push(extension);
        name
    };
    let in_folder = |folder: PathBuf| {
        let mut files = EXTENSIONS.iter().map(|extension| folder.join(with(extension)));
        files.find(|file| file.is_file())
    };
    if given.components().count() > 1 {
        return in_folder(PathBuf::new());
    }
    env::split_paths(path).filter(|folder| folder.is_absolute()).find_map(in_folder)
}

/// A name as it has to be typed into a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_stand_for_themselves_on_windows() {
        let words = |command| shlex::split(&plain_backslashes(command));
        for (command, split) in [
            (r"C:\a\x.exe --to D:\b", Some(vec![r"C:\a\x.exe", "--to", r"D:\b"])),
            (r#""C:\a b\x.exe" y"#, Some(vec![r"C:\a b\x.exe", "y"])),
            (r"'C:\a b\x.exe' y\z", Some(vec![r"C:\a b\x.exe", r"y\z"])),
            (r"'\\server\x' '\'\", Some(vec![r"\\server\x", r"\\"])),
            (r#""it's C:\a" '"\'"#, Some(vec![r"it's C:\a", r#""\"#])),
            (r"'C:\a", None),
        ] {
            let split = split.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(words(command), split, "{command}");
        }
    }

    #[test]
    fn a_name_is_that_of_an_exe_a_cmd_or_a_bat_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["one", "two"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        for file in ["one/npm", "one/npm.cmd", "one/b.bat", "two/npm.exe", "two/b.exe", "two/x.cmd"]
        {
            std::fs::write(at(file), "").unwrap();
        }
        let path = env::join_paths([PathBuf::from("."), at("one"), at("two")]).unwrap();
        let found = |name: &str| file_of(OsStr::new(name), &path);
        assert_eq!(found("npm"), Some(at("one/npm.cmd")));
        assert_eq!(found("b"), Some(at("one/b.bat")));
        assert_eq!(found("x"), Some(at("two/x.cmd")));
        for none in ["npm.cmd", "none", "", "."] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(found(at("two/x").to_str().unwrap()), Some(at("two/x.cmd")));
        assert_eq!(found(at("none/x").to_str().unwrap()), None);
        #[cfg(unix)]
        assert_eq!(program_file(OsStr::new("npm")), "npm");
    }

    #[test]
    fn names_are_quoted_for_the_shell() {
        assert_eq!(shell_word("dev-1"), "dev-1");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
