//! Words as they have to be written for OpenSSH, which reads each of its commands in another way.
//!
//! - A line is first taken apart at blanks, with `'`, `"` and a backslash before these, itself or a
//!   blank; quotes that do not close make it an error, whatever the keyword.
//! - `ProxyCommand` is then the rest of the line as it stands. `%` begins a token, and the user's shell
//!   runs what comes of it.
//! - `KnownHostsCommand` is run without a shell. Its words are taken apart as above; `%` and `${` are
//!   looked for in each but the first.
//! - `Include` is a pattern of files; newer versions look for `%` and `${` in it, too.

/// Whether a word can be written at all: there is no way to write a line break.
pub(crate) fn is_writable(word: &str) -> bool {
    !word.chars().any(char::is_control)
}

/// Whose rules hold for commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Unix,
    /// Commands are run without a shell, but by Git's ssh, and each program takes its own command line apart:
    /// `"` around a word, a backslash before a quote, and two for each backslash that stands before a quote.
    Windows,
}

/// Where the configuration is written is where it is read.
const HERE: System = if cfg!(windows) { System::Windows } else { System::Unix };

/// A word of a `ProxyCommand`.
pub(crate) fn proxy_word(word: &str) -> String {
    proxy_word_on(HERE, word)
}

fn proxy_word_on(system: System, word: &str) -> String {
    shell_word(system, word).replace('%', "%%")
}

/// A `ProxyCommand`'s token that others choose: a name may have characters that a shell acts on.
pub(crate) fn proxy_token(token: &str) -> String {
    match HERE {
        System::Unix => format!("'{token}'"),
        System::Windows => token.to_owned(),
    }
}

/// A `KnownHostsCommand` of these words; tokens come behind them.
pub(crate) fn known_hosts_command(words: &[&str], tokens: &str) -> String {
    known_hosts_command_on(HERE, words, tokens)
}

fn known_hosts_command_on(system: System, words: &[&str], tokens: &str) -> String {
    let is_expanded = |word: &&str| word.contains("${");
    let first = words.first().copied().unwrap_or_default();
    let needs_shell = first.contains(['%', '$']) || words.iter().any(is_expanded);
    let mut words: Vec<String> = if needs_shell && system == System::Unix {
        // The first word is taken as it stands; what it is to be is written into another one.
        let inner: Vec<_> = words.iter().map(|word| shell_word(system, word)).collect();
        let script = format!("exec {} \"$@\"", inner.join(" "));
        ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    } else {
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    for word in words.iter_mut().skip(1) {
        *word = word.replace('%', "%%");
    }
    let words: Vec<_> = words.iter().map(|word| config_word(word)).collect();
    format!("{} {tokens}", words.join(" "))
}

/// The file of an `Include`. Characters that mean something else there, or do in some versions, are
/// found by a pattern.
pub(crate) fn include_word(path: &str, config: &str) -> String {
    include_word_on(HERE, path, config)
}

/// On Windows one beside `config` is named without its folder, which is ssh's own: Git's ssh takes a path
/// that begins with a drive for a relative one. A file elsewhere is one for Microsoft's alone.
fn include_word_on(system: System, path: &str, config: &str) -> String {
    let path = match system {
        System::Unix => path.to_owned(),
        System::Windows => {
            let (path, config) = (path.replace('\\', "/"), config.replace('\\', "/"));
            match (path.rsplit_once('/'), config.rsplit_once('/')) {
                (Some((folder, name)), Some((ssh, _))) if folder == ssh => name.to_owned(),
                _ => path,
            }
        }
    };
    let odd = |c: char| "%$*?[]{}\\\"'#~".contains(c);
    let pattern: String = path.chars().map(|c| if odd(c) { '?' } else { c }).collect();
    config_word(&pattern)
}

/// The file of an `IdentityFile`, where `%` begins a token.
pub(crate) fn identity_word(path: &str) -> String {
    config_word(&path.replace('%', "%%"))
}

/// Whether a word of a command is written with quotes or backslashes, which some shells do not read.
pub(crate) fn needs_quotes(word: &str) -> bool {
    shell_word(HERE, word) != word
}

/// A word as the configuration's lines are taken apart.
fn config_word(word: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !"\"'\\#=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word as what runs the command takes it.
fn shell_word(system: System, word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+%".contains(c) || !c.is_ascii();
    match system {
        System::Unix => unix_shell_word(word, is_plain),
        System::Windows if !word.is_empty() && word.chars().all(&is_plain) => word.to_owned(),
        // Git's ssh gives the command to a shell, which takes a backslash outside quotes away.
        System::Windows
            if word.get(1..).is_some_and(|rest| rest.starts_with(":\\"))
                && word.chars().all(|c| is_plain(c) || c == '\\') =>
        {
            word.replace('\\', "/")
        }
        // It takes two backslashes for one, in quotes as well.
        System::Windows if word.starts_with(r"\\") => shell_word(system, &word.replace('\\', "/")),
        System::Windows => windows_word(word),
    }
}

/// A word as the user's shell takes it, whichever that is: what is not plain has a backslash before
/// it. Quotes would do for a shell, but not for OpenSSH, where a backslash before one hides its end.
fn unix_shell_word(word: &str, is_plain: impl Fn(char) -> bool) -> String {
    if word.is_empty() {
        return "''".to_owned();
    }
    let mut quoted = String::with_capacity(word.len());
    for c in word.chars() {
        if !is_plain(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// A word in quotes, as a program of Windows takes its command line apart. OpenSSH finds the quotes' end
/// where that program does.
fn windows_word(word: &str) -> String {
    let (mut quoted, mut backslashes) = ("\"".to_owned(), 0);
    for c in word.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                quoted.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        quoted.push(c);
    }
    quoted.push_str(&"\\".repeat(backslashes));
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::System::{Unix, Windows};
    use super::*;

    #[test]
    fn plain_words_stay_plain() {
        let path = "/usr/local/bin/ecs-bridge";
        assert_eq!(proxy_word_on(Unix, path), path);
        assert_eq!(
            include_word_on(Unix, "/home/me/.ssh/ecs-bridge.conf", "/home/me/.ssh/config"),
            "/home/me/.ssh/ecs-bridge.conf"
        );
        assert_eq!(
            known_hosts_command_on(Unix, &[path, "known-hosts"], "%H"),
            format!("{path} known-hosts %H")
        );
        assert_eq!(proxy_word_on(Unix, "中文"), "中文");
    }

    #[test]
    fn odd_ones_are_quoted_as_each_command_wants_it() {
        assert_eq!(proxy_word_on(Unix, r#"/we ird "$dir%/x"#), r#"/we\ ird\ \"\$dir%%/x"#);
        assert_eq!(proxy_word_on(Unix, r"a\b'c"), r"a\\b\'c");
        assert_eq!(proxy_word_on(Unix, ""), "''");
        assert_eq!(known_hosts_command_on(Unix, &["/a b/x", "y"], "%H"), r#""/a b/x" y %H"#);
        assert_eq!(
            known_hosts_command_on(Unix, &[r#"/a"b\c"#, "50%"], "%H"),
            r#""/a\"b\\c" 50%% %H"#
        );
        assert_eq!(
            known_hosts_command_on(Unix, &["/a%b", "-p", "x y"], "%H"),
            r#"/bin/sh -c "exec /a%%b -p x\\ y \"$@\"" sh %H"#
        );
        let text = known_hosts_command_on(Unix, &["/a", "-p", "${HOME}"], "%H");
        assert!(text.starts_with("/bin/sh -c ") && !text.contains("${"), "{text}");
        assert_eq!(identity_word("/a b/50%"), r#""/a b/50%%""#);
        assert_eq!(include_word_on(Unix, r#"/a b/$x%/[*]"y"#, "/c"), "\"/a b/?x?/????y\"");
    }

    #[test]
    fn windows_has_quotes_and_leaves_backslashes_alone() {
        let word = |word| proxy_word_on(Windows, word);
        assert_eq!(word(r"C:\Users\Ann\bin\ecs-bridge.exe"), "C:/Users/Ann/bin/ecs-bridge.exe");
        assert_eq!(word(r"C:\Users\Zoë王\x.exe"), "C:/Users/Zoë王/x.exe");
        assert_eq!(word(r"a\b"), r#""a\b""#);
        assert_eq!(
            word(r"C:\Program Files\ecs-bridge\ecs-bridge.exe"),
            r#""C:\Program Files\ecs-bridge\ecs-bridge.exe""#
        );
        assert_eq!(word(r"\\server\share\x.exe"), "//server/share/x.exe");
        assert_eq!(word(r"\\server\my share\x.exe"), r#""//server/my share/x.exe""#);
        assert_eq!(word(r"C:\50%\x.exe"), "C:/50%%/x.exe");
        assert_eq!(word(r"C:\my folder\"), r#""C:\my folder\\""#);
        assert_eq!(word(r#"a"b\"c"#), r#""a\"b\\\"c""#);
        assert_eq!(word(""), r#""""#);
        let include = |path| include_word_on(Windows, path, r"C:\Users\Ann Müller\.ssh\config");
        assert_eq!(include(r"C:\Users\Ann Müller\.ssh\ecs-bridge.conf"), "ecs-bridge.conf");
        assert_eq!(include(r"C:\Users\Ann\.ssh\x.conf"), "C:/Users/Ann/.ssh/x.conf");
        assert_eq!(include(r"D:\my files\x.conf"), r#""D:/my files/x.conf""#);
        assert_eq!(
            known_hosts_command_on(Windows, &[r"C:\Program Files\x.exe", "known-hosts"], "%H"),
            r#""C:\\Program Files\\x.exe" known-hosts %H"#
        );
    }

    /// `argv_split` of OpenSSH's misc.c, as far as it tells whether quotes close.
    fn closes(line: &str) -> bool {
        let (mut quote, mut chars) = (None, line.chars().peekable());
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) if matches!(chars.peek(), Some('\'' | '"' | '\\')) => drop(chars.next()),
                ('\\', None) if chars.peek() == Some(&' ') => drop(chars.next()),
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                _ => {}
            }
        }
        quote.is_none()
    }

    proptest::proptest! {
        #[test]
        fn quotes_always_close(word in "[ -~]{0,12}", path in "/[ -~]{0,12}") {
            proptest::prop_assert!(closes(&proxy_word_on(Unix, &word)), "{}", proxy_word_on(Unix, &word));
            let command = known_hosts_command_on(Unix, &[&path, &word], "%H");
            proptest::prop_assert!(closes(&command), "{command}");
            proptest::prop_assert!(!command.contains("${"), "{command}");
            proptest::prop_assert!(closes(&include_word_on(Unix, &path, "/c")));
        }

        #[test]
        fn quotes_always_close_on_windows(word in r#"[ "\\a']{0,12}"#) {
            let quoted = proxy_word_on(Windows, &word);
            let plain = quoted == word;
            proptest::prop_assert!(plain || closes(&quoted), "{}", quoted);
            proptest::prop_assert!(closes(&known_hosts_command_on(Windows, &["C:\\x", &word], "%H")));
        }

        #[cfg(unix)]
        #[test]
        fn a_shell_reads_back_what_was_written(word in "[ -~äß中]{1,12}") {
            let text = proxy_word_on(Unix, &word).replace("%%", "%");
            let script = format!("printf %s {text}");
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            proptest::prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
    }
}
