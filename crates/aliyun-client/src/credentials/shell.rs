//! Words as a shell has them.

/// The words of a command line, as a shell splits it; `None` where a quote is not closed.
pub fn shell_words(command: &str) -> Option<Vec<String>> {
    // Where it separates folders, a backslash quotes nothing.
    match cfg!(windows) {
        true => shlex::split(&command.replace('\\', r"\\")),
        false => shlex::split(command),
    }
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
    fn names_are_quoted_for_the_shell() {
        assert_eq!(shell_word("dev-1"), "dev-1");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
