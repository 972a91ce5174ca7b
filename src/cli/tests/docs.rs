//! Every command line of `ecs-bridge` in README and docs is one that the program takes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::vendor::{self, Words};

/// The pages, and the example that users copy.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("ssh_config.example")];
    for folder in [root.to_owned(), root.join("docs")] {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    // What changed is told as it was then.
    pages.retain(|path| !path.ends_with("CHANGELOG.md"));
    pages
}

/// The command lines in a page: those of blocks, and those between backquotes.
fn command_lines(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<&str> = None;
    let joined = page.replace("\\\n", " ");
    let mut prose = String::new();
    for line in joined.lines().chain([""]) {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
            continue;
        }
        match block {
            // The usage of a command, with its placeholders.
            Some("text") => {}
            Some("sh" | "console") => found.extend(of_shell(line)),
            Some(_) => found.extend(quoted(line, '"').chain(directive(line))),
            // What stands between backquotes may go on in the next line.
            None if line.is_empty() => found.extend(quoted(&std::mem::take(&mut prose), '`')),
            None => {
                found.extend(directive(line));
                prose.push_str(line);
                prose.push(' ');
            }
        }
    }
    found
}

/// The commands of a line of the shell.
fn of_shell(line: &str) -> Vec<String> {
    let line = line.split(" # ").next().unwrap_or_default();
    let words = shlex::split(line).unwrap_or_default();
    let mut found = Vec::new();
    let simple = words.split(|word| ["&&", "|", ";", "<", ">", ">>"].contains(&word.as_str()));
    for words in simple {
        if words.first().is_some_and(|word| ["ecs-bridge", VENDOR].contains(&word.as_str())) {
            found.push(shlex::try_join(words.iter().map(String::as_str)).unwrap());
        }
        let proxies = words.iter().filter_map(|word| word.strip_prefix("ProxyCommand="));
        found.extend(proxies.map(str::to_owned));
    }
    found
}

/// ali-instance-cli, whose command lines are taken, too.
const VENDOR: &str = "ali-instance-cli";

/// What stands between a pair of marks, where it begins with the program.
fn quoted(text: &str, mark: char) -> impl Iterator<Item = String> {
    text.split(mark).skip(1).step_by(2).flat_map(of_shell)
}

/// The command of a line of ssh's configuration.
fn directive(line: &str) -> Option<String> {
    let line = line.trim_start_matches(['#', ' ']);
    let (key, command) = line.split_once(' ')?;
    let program = command.split(' ').next()?;
    let is_ours = program == "ecs-bridge" || program.ends_with("/ecs-bridge");
    (is_ours && ["ProxyCommand", "KnownHostsCommand"].contains(&key)).then(|| command.to_owned())
}

const MISSING: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Why a command line is not one that the program takes. Examples with an ellipsis are not whole.
fn refused(line: &str) -> Option<String> {
    if line.contains('…') {
        return None;
    }
    let line =
        line.replace("%p", "22").replace("%h", "i-bp1example0001").replace("%H", "web-1.ecs");
    let words = shlex::split(&line)?;
    if words.first()? == VENDOR {
        let args: Vec<_> = words.iter().map(OsString::from).collect();
        return match vendor::read(&args) {
            Words::Wrong(error) => Some(format!("{line}\n{error}")),
            Words::Vendor(translated) => {
                let words = translated.words.iter().map(|word| shlex::try_quote(word).unwrap());
                let words = words.collect::<Vec<_>>().join(" ");
                refused(&format!("ecs-bridge {words}"))
            }
            Words::Own | Words::Print(_) => None,
        };
    }
    // The name of a command, as sentences use it.
    let names = words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    let lacks = [ErrorKind::MissingRequiredArgument, MISSING];
    let parsed = Cli::try_parse_from(&words).and_then(|mut cli| cli.settle().map(|()| cli));
    let error = parsed.err()?;
    let is_name = names && words.len() <= 2 && lacks.contains(&error.kind());
    (error.use_stderr() && !is_name).then(|| format!("{line}\n{error}"))
}

#[test]
fn every_command_line_of_the_docs_is_taken() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in pages() {
        let lines = command_lines(&fs::read_to_string(&path).unwrap());
        count += lines.len();
        let refused = lines.iter().filter_map(|line| refused(line));
        wrong.extend(refused.map(|error| format!("{}: {error}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} command lines were found");
}

#[test]
fn a_wrong_option_is_found_wherever_it_stands() {
    for page in [
        "```sh\necs-bridge proxy --nosuch i-a\n```",
        "```sh\nprintf x | ecs-bridge send-key i-a \\\n    --nosuch x\n```",
        "```sh\nssh -o ProxyCommand='ecs-bridge --nosuch proxy %h %p' i-a\n```",
        "```\nMatch host i-*\n    ProxyCommand ecs-bridge proxy --nosuch %h %p\n```",
        "```python\nrun(\"ecs-bridge proxy --nosuch i-a\")\n```",
        "Run `ecs-bridge list --nosuch` first.",
        "#   KnownHostsCommand /usr/local/bin/ecs-bridge known-hosts --nosuch %H",
    ] {
        let lines = command_lines(page);
        assert_eq!(lines.len(), 1, "{page}: {lines:?}");
        assert!(refused(&lines[0]).is_some(), "{page}");
        assert_eq!(
            refused(&lines[0].replace("--nosuch x", "").replace("--nosuch", "")),
            None,
            "{page}"
        );
    }
}

/// README in its three languages, and the blocks of each without comments.
fn readmes() -> [(&'static str, String); 3] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["README.md", "README.zh-CN.md", "README.ja.md"]
        .map(|name| (name, fs::read_to_string(root.join(name)).unwrap()))
}

fn blocks(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    // The picture has words of its own in each language.
    let blocks = blocks.filter(|block| !block.contains('┌'));
    let bare = |line: &str| line.split(" # ").next().unwrap_or_default().trim_end().to_owned();
    blocks.map(|block| block.lines().map(bare).collect::<Vec<_>>().join("\n")).collect()
}

/// The targets of a page's links.
fn links(page: &str) -> Vec<&str> {
    let ends = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ends.filter(|link| !link.contains("://")).collect()
}

#[test]
fn the_readme_is_short_and_says_the_same_in_each_language() {
    let [(_, english), others @ ..] = readmes();
    assert!(english.lines().count() <= 200 && english.len() <= 12 << 10, "README.md is too long");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let files = |page: &str| {
        let links = links(page).into_iter().filter(|link| !link.starts_with('#'));
        sorted(links.filter(|link| !link.starts_with("README")).map(str::to_owned).collect())
    };
    for (name, page) in others {
        assert_eq!(blocks(&page), blocks(&english), "the blocks of {name}");
        let lines = |page: &str| sorted(command_lines(page));
        assert_eq!(lines(&page), lines(&english), "the command lines of {name}");
        assert_eq!(files(&page), files(&english), "the links of {name}");
        let sections = |page: &str| page.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(sections(&page), sections(&english), "the sections of {name}");
        let rows = |page: &str| page.lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(rows(&page), rows(&english), "the rows of the tables of {name}");
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|&c| c.is_alphanumeric() || "-_ ".contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for link in links(&page) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            let text = fs::read_to_string(&target).unwrap_or_default();
            let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
            let found = headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == heading);
            if !target.exists() || !(heading.is_empty() || found) {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
