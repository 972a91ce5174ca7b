//! Completion scripts and manual pages, as shells and man read them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{PATIENCE, installed, run, succeed};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");

/// Names that are remembered, in the order in which they complete.
const NAMES: [&str; 8] = [
    "a'b\"c",
    "my $(touch x) `id`",
    "my name",
    "tag:env=prod",
    "tag:env=test",
    "web-1",
    "web-2.cn-beijing",
    "数据库",
];

/// A home folder in which names are remembered, and scripts for shells.
struct Shells {
    dir: TempDir,
}

impl Shells {
    async fn new(names: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join(".cache/ecs-bridge");
        std::fs::create_dir_all(&folder).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let entry = serde_json::json!({"stored": now.as_secs_f64() - 60.0, "value": names});
        std::fs::write(folder.join("list-1.json"), entry.to_string()).unwrap();
        let shells = Self { dir };
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = succeed(&mut shells.command(BRIDGE, &["completions", shell])).await;
            std::fs::write(shells.script(shell), script).unwrap();
        }
        shells
    }

    fn script(&self, shell: &str) -> PathBuf {
        self.dir.path().join(format!("script.{shell}"))
    }

    /// A program that finds the names, and the binary, and not much else.
    fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        let here = Path::new(BRIDGE).parent().unwrap().display().to_string();
        command.env_clear().env("PATH", format!("{here}:/usr/bin:/bin")).env("TERM", "dumb");
        command.env("HOME", self.dir.path()).env("LC_ALL", "C.UTF-8").args(args);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What bash would complete the last of these words to.
    async fn bash(&self, words: &[&str]) -> Vec<String> {
        let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
            compopt() { :; }; \
            _ecs__bridge_with_targets \"$1\" \"${@: -1}\" \"${@: -2:1}\"; \
            ((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\" || :";
        let path = self.script("bash").display().to_string();
        let args = [&["-uc", script, "bash", &path], words].concat();
        lines(&succeed(&mut self.command("/bin/bash", &args)).await)
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_script_is_one_of_its_shell() {
    let shells = Shells::new(&NAMES).await;
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let Some(program) = installed(shell) else { continue };
        let script = shells.script(shell).display().to_string();
        let output = run(&mut shells.command(program, &[option, &script])).await;
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = std::fs::read_to_string(shells.script(shell)).unwrap();
        assert!(text.contains("complete-targets"), "{shell}");
    }
    let output = run(&mut shells.command(BRIDGE, &["completions", "csh"])).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bash_completes_targets_where_they_stand() {
    let shells = Shells::new(&NAMES).await;
    let of = async |words: &[&str]| shells.bash(&[&["ecs-bridge"], words].concat()).await;
    let web = ["web-1", "web-2.cn-beijing"];
    for words in [
        &["proxy", "we"][..],
        &["--region", "cn-beijing", "proxy", "we"],
        &["-v", "proxy", "--no-cache", "--keepalive", "5", "we"],
        &["proxy", "--send-key", "--user", "root", "we"],
        &["known-hosts", "we"],
        &["list", "db", "we"],
        &["forward", "we"],
        &["forward", "-L", "80", "we"],
        &["forward", "-i", "we"],
        &["forward", "-L", "80", "--instance", "we"],
        &["forward", "--instance", "=", "we"],
        &["send-key", "-i", "we"],
    ] {
        assert_eq!(of(words).await, web, "{words:?}");
    }
    for words in [
        &["proxy", "web-1", "we"][..],
        &["proxy", "--user", "we"],
        &["forward", "web-1", "we"],
        &["forward", "-L", "we"],
        &["--profile", "proxy", "we"],
        &["we"],
        &["completions", "we"],
    ] {
        let found = of(words).await;
        assert!(!found.iter().any(|word| word == "web-1"), "{words:?}: {found:?}");
    }
    assert!(of(&["proxy", "--"]).await.contains(&"--remote-host".to_owned()));
    assert!(of(&["pro"]).await.contains(&"proxy".to_owned()));
    assert!(!of(&["comp"]).await.contains(&"complete-targets".to_owned()));
    // What is written comes back as a shell has to have it.
    assert_eq!(of(&["proxy", "my"]).await, [r"my\ \$\(touch\ x\)\ \`id\`", r"my\ name"]);
    assert_eq!(of(&["proxy", r"my\ n"]).await, [r"my\ name"]);
    assert_eq!(of(&["proxy", "\"my n"]).await, ["my name"]);
    assert_eq!(of(&["proxy", "'my $"]).await, ["my $(touch x) `id`"]);
    assert_eq!(of(&["proxy", "\"my $"]).await, [r"my \$(touch x) \`id\`"]);
    assert_eq!(of(&["proxy", "数"]).await, ["数据库"]);
    // bash takes words apart at these, and replaces the last part only.
    assert_eq!(of(&["proxy", "tag", ":", "e"]).await, ["env=prod", "env=test"]);
    assert_eq!(of(&["proxy", "tag", ":", "env", "=", "p"]).await, ["prod"]);
    assert_eq!(of(&["proxy", "tag", ":"]).await, ["env=prod", "env=test"]);
}

/// What is typed in a bash on a terminal, with a tab at its end, becomes these words.
async fn typed_in_bash(shells: &Shells, typed: &str) -> Vec<String> {
    let (mut pty, pts) = pty_process::open().unwrap();
    pty.resize(pty_process::Size::new(50, 500)).unwrap();
    let script = shells.script("bash");
    let mut bash = pty_process::Command::new("/bin/bash")
        .args(["--noprofile", "--norc", "-i"])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", Path::new(BRIDGE).parent().unwrap().display()))
        .env("HOME", shells.dir.path())
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb")
        .env("PS1", "ready> ")
        .env("HISTFILE", "/dev/null")
        .current_dir(shells.dir.path())
        .kill_on_drop(true)
        .spawn(pts)
        .unwrap();
    let mut seen = String::new();
    wait_for(&mut pty, &mut seen, "ready> ").await;
    // Its words are printed in place of being run, once they are completed.
    let line = format!("source {}; bind 'set bell-style none'\n", script.display());
    pty.write_all(line.as_bytes()).await.unwrap();
    wait_for(&mut pty, &mut seen, "\nready> ").await;
    seen.clear();
    pty.write_all(format!("{typed}\t\u{1}printf '<<%s>>\\n' \n").as_bytes()).await.unwrap();
    wait_for(&mut pty, &mut seen, "\nready> ").await;
    drop(pty);
    let _ = bash.kill().await;
    let words = seen.lines().filter_map(|line| line.strip_prefix("<<")?.strip_suffix(">>"));
    words.map(str::to_owned).collect()
}

async fn wait_for(pty: &mut pty_process::Pty, seen: &mut String, text: &str) {
    let mut bytes = vec![0; 4096];
    let mut all = seen.clone().into_bytes();
    let reading = async {
        while !seen.contains(text) {
            let count = pty.read(&mut bytes).await.expect("bash goes on");
            all.extend(&bytes[..count]);
            *seen = String::from_utf8_lossy(&all).replace('\r', "");
        }
    };
    if timeout(PATIENCE, reading).await.is_err() {
        panic!("no {text:?} in {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_in_bash_completes_a_name() {
    let shells = Shells::new(&NAMES).await;
    for (typed, target) in [
        ("ecs-bridge proxy web-1", "web-1"),
        ("ecs-bridge proxy we", "web-"),
        ("ecs-bridge known-hosts web-2", "web-2.cn-beijing"),
        ("ecs-bridge send-key -i my\\ n", "my name"),
        ("ecs-bridge list \"my n", "my name"),
        ("ecs-bridge list 'my $", "my $(touch x) `id`"),
        ("ecs-bridge proxy my\\ \\$", "my $(touch x) `id`"),
        ("ecs-bridge proxy a\\'", "a'b\"c"),
        ("ecs-bridge proxy tag:env=p", "tag:env=prod"),
        ("ecs-bridge forward --instance=web-2", "--instance=web-2.cn-beijing"),
        ("ecs-bridge proxy 数", "数据库"),
    ] {
        let words = typed_in_bash(&shells, typed).await;
        assert_eq!(words.last().map(String::as_str), Some(target), "{typed}: {words:?}");
    }
    assert!(!shells.dir.path().join("x").exists(), "a name was run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fish_completes_targets_where_they_stand() {
    let Some(fish) = installed("fish") else { return };
    let shells = Shells::new(&NAMES).await;
    let script = shells.script("fish").display().to_string();
    for (line, wanted) in [
        ("ecs-bridge proxy we", &["web-1", "web-2.cn-beijing"][..]),
        ("ecs-bridge --region x proxy --no-cache we", &["web-1", "web-2.cn-beijing"]),
        ("ecs-bridge list db we", &["web-1", "web-2.cn-beijing"]),
        ("ecs-bridge forward -i we", &["web-1", "web-2.cn-beijing"]),
        ("ecs-bridge send-key --instance=web-1", &["--instance=web-1"]),
        ("ecs-bridge proxy my\\ n", &["my name"]),
        ("ecs-bridge known-hosts 数", &["数据库"]),
        ("ecs-bridge proxy tag:env=p", &["tag:env=prod"]),
        ("ecs-bridge proxy web-1 web", &[]),
        ("ecs-bridge proxy --user web", &[]),
        ("ecs-bridge forward we", &["web-1", "web-2.cn-beijing"]),
        ("ecs-bridge forward web-1 web", &[]),
        ("ecs-bridge comp", &["completions"]),
    ] {
        let run = "source $argv[1]; complete -C $argv[2]";
        let out =
            succeed(&mut shells.command(&fish, &["--no-config", "-c", run, &script, line])).await;
        let out = lines(&out);
        let found: Vec<_> = out.iter().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(found, wanted, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zsh_is_given_the_names_as_they_are() {
    let Some(zsh) = installed("zsh") else { return };
    let shells = Shells::new(&NAMES).await;
    // The completion system needs a terminal; the function does not.
    let run = "compdef() { :; }; source $1; _message() { print none; }; \
               _wanted() { print -rl -- \"${found[@]}\"; }; PREFIX=$2; _ecs-bridge_targets";
    let script = shells.script("zsh").display().to_string();
    for (prefix, wanted) in [
        ("we", &["web-1", "web-2.cn-beijing"][..]),
        ("my\\ n", &["my name"]),
        ("", &NAMES),
        ("nosuch", &["none"]),
    ] {
        let args = ["-f", "-c", run, "zsh", &script, prefix];
        assert_eq!(lines(&succeed(&mut shells.command(&zsh, &args)).await), wanted, "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_pages_are_read_without_a_complaint() {
    let shells = Shells::new(&[]).await;
    let folder = shells.dir.path().join("man/man1");
    let dir = folder.display().to_string();
    let written = run(&mut shells.command(BRIDGE, &["man", "--dir", &dir])).await;
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    let mut pages: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: Vec<_> =
        pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["ecs-bridge.1", "ecs-bridge-proxy.1", "ecs-bridge-list.1", "ecs-bridge-man.1"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("targets") || name.contains("help")));
    // Also the options that -h leaves out.
    let proxy = std::fs::read_to_string(folder.join("ecs-bridge-proxy.1")).unwrap();
    assert!(proxy.contains("Do not read or write the cache"), "{proxy}");
    let main = succeed(&mut shells.command(BRIDGE, &["man"])).await;
    assert_eq!(main, std::fs::read(folder.join("ecs-bridge.1")).unwrap());

    if let Some(groff) = installed("groff") {
        for page in &pages {
            let page = page.to_str().unwrap();
            let args = ["-man", "-ww", "-k", "-Tutf8", page];
            let output = run(&mut shells.command(&groff, &args)).await;
            assert!(output.status.success(), "{page}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        }
    }
    if let Some(mandoc) = installed("mandoc") {
        for page in &pages {
            let page = page.to_str().unwrap();
            let output = run(&mut shells.command(&mandoc, &["-Tlint", "-Wwarning", page])).await;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            // A page that is made by the program has no date.
            let complaints: Vec<_> = said.lines().filter(|l| !l.contains("missing date")).collect();
            assert!(complaints.is_empty(), "{complaints:#?}");
        }
    }
    let nowhere = run(&mut shells.command(BRIDGE, &["man", "--dir", "/dev/null/man"])).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("fix: give --dir a folder"));
}
