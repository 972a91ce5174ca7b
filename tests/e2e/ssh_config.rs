//! `ssh-config`: what it writes, and what OpenSSH makes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use local_cloud::{Agent, CommandKind, Instance, LocalCloud};
use tempfile::TempDir;
use tokio::process::Command;

use crate::lab::{Bridge, Ended};
use crate::world::{INSTANCE, World, installed, make_key, run, succeed, user, write_sshd_config};

pub(crate) const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");
/// What the user had written before.
const MINE: &[u8] = b"# mine\r\nHost *\r\n    User me\r\n\xff\n\tForwardAgent no";

/// A home, and nothing of anybody's in it.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        // A name that is not behind a link, as the paths that are written are not.
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path(".ssh/config")
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.path(".ssh/ecs-bridge.conf")
    }

    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("ECS_BRIDGE") || name.starts_with("ALI") || name == "SHELL" {
                command.env_remove(name);
            }
        }
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("HOME", self.0.path()).current_dir(self.0.path()).kill_on_drop(true);
        command
    }

    async fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Ended {
        Bridge::start(self.command(program).args(args)).end().await
    }

    /// It ends well, and gives what it said.
    async fn done(&self, args: &[&str]) -> String {
        let ended = self.run(BRIDGE, args).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// What `ssh` does with a host, an option a line.
    pub(crate) async fn options(&self, host: &str) -> Vec<String> {
        let mut ssh = Command::new("ssh");
        let out = succeed(ssh.arg("-F").arg(self.config()).args(["-G", host])).await;
        String::from_utf8_lossy(&out).lines().map(str::to_owned).collect()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn option<'a>(options: &'a [String], name: &str) -> Option<&'a str> {
    options.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

#[tokio::test]
async fn each_kind_of_host_has_its_options() {
    let home = Home::new();
    fs::create_dir(home.path(".ssh")).unwrap();
    make_key(&home.path(".ssh"), "id_ed25519").await;
    let write = ["--region", "cn-x", "ssh-config", "--write", "--send-key", "--control-master"];
    let said = home.done(&[&write[..], &["--host", "web-1.ecs"]].concat()).await;
    assert_eq!(said.lines().count(), 3, "{said}");
    let global = format!("{BRIDGE} --region cn-x");
    for (host, sends_key) in [
        ("i-bp1example0001", true),
        ("web-1.ecs", true),
        ("web-1.cn-beijing.ecs", true),
        ("mi-hz01example", false),
        ("mi-hz01example.ecs", false),
    ] {
        let options = home.options(host).await;
        let proxy = match sends_key {
            true => format!("{global} proxy --send-key --user '%r' '%h' %p"),
            false => format!("{global} proxy '%h' %p"),
        };
        assert_eq!(option(&options, "proxycommand"), Some(&*proxy), "{host}");
        let keys = sends_key.then(|| format!("{global} known-hosts %H"));
        assert_eq!(option(&options, "knownhostscommand"), keys.as_deref(), "{host}");
        let strict = if sends_key { "true" } else { "ask" };
        assert_eq!(option(&options, "stricthostkeychecking"), Some(strict), "{host}");
        for name in ["controlmaster auto", "controlpersist 600", "serveraliveinterval 30"] {
            assert!(options.iter().any(|line| line == name), "{host}: no {name}");
        }
    }
    for host in ["www.example.com", "ecs", "web-1", "xi-1"] {
        let options = home.options(host).await;
        assert!(!options.iter().any(|line| line.contains("ecs-bridge")), "{host}");
    }
    // What is printed is what is written.
    let printed =
        home.done(&write[..3].iter().copied().chain(["--send-key"]).collect::<Vec<_>>()).await;
    assert!(printed.contains(&format!("KnownHostsCommand {global} known-hosts %H\n")), "{printed}");
    assert!(!printed.contains(">>>"), "{printed}");
}

#[tokio::test]
async fn what_is_written_can_be_taken_out_again() {
    for before in [None, Some(&b""[..]), Some(b"\n"), Some(MINE), Some(b"Host x\n  User y\n")] {
        let home = Home::new();
        if let Some(before) = before {
            fs::create_dir(home.path(".ssh")).unwrap();
            fs::write(home.config(), before).unwrap();
            fs::set_permissions(home.config(), fs::Permissions::from_mode(0o640)).unwrap();
        }
        let said = home.done(&["ssh-config", "--write"]).await;
        assert_eq!(said.matches(" is written\n").count(), 2, "{said}");
        let (config, own) = (fs::read(home.config()).unwrap(), fs::read(home.own()).unwrap());
        let text = String::from_utf8_lossy(&config);
        assert!(text.contains(&format!("Include {}", home.own().display())), "{text}");
        assert!(config.ends_with(before.unwrap_or_default()));
        let end: &[u8] = if before == Some(MINE) { b"<<<\r\n# mine\r\n" } else { b"<<<\n" };
        assert!(config.windows(end.len()).any(|part| part == end), "{text}");
        assert_eq!(mode(&home.own()), 0o600);
        assert_eq!(mode(&home.config()), if before.is_some() { 0o640 } else { 0o600 });
        if before.is_none() {
            assert_eq!(mode(&home.path(".ssh")), 0o700);
        }

        let said = home.done(&["ssh-config", "--write"]).await;
        assert_eq!(said.matches(" is as it was\n").count(), 2, "{said}");
        assert_eq!(fs::read(home.config()).unwrap(), config);
        assert_eq!(fs::read(home.own()).unwrap(), own);

        home.done(&["--region", "cn-y", "ssh-config", "--write"]).await;
        assert_eq!(fs::read(home.config()).unwrap(), config, "it only includes");
        assert!(fs::read_to_string(home.own()).unwrap().contains("--region cn-y"));

        home.done(&["ssh-config", "--uninstall"]).await;
        assert!(!home.own().exists());
        assert_eq!(fs::read(home.config()).ok().as_deref(), before);
        if before.is_some() {
            assert_eq!(mode(&home.config()), 0o640);
        }
        let said = home.done(&["ssh-config", "--uninstall"]).await;
        assert_eq!(said.matches("has nothing of ecs-bridge's in it").count(), 2, "{said}");
    }
}

#[tokio::test]
async fn what_somebody_has_changed_is_told_and_the_rest_stays_his() {
    let home = Home::new();
    home.done(&["ssh-config", "--write"]).await;
    let own = fs::read_to_string(home.own()).unwrap();
    let mine = "Host mine\n    User me\n";
    let changed = own.replace("ServerAliveInterval 30", "ServerAliveInterval 5");
    fs::write(home.own(), format!("{changed}{mine}")).unwrap();
    let ended = home.run(BRIDGE, &["ssh-config", "--write"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("somebody has changed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ServerAliveInterval 5\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("ProxyCommand"), "only that: {}", ended.stderr);
    assert_eq!(fs::read_to_string(home.own()).unwrap(), format!("{own}{mine}"));

    fs::write(home.own(), format!("{changed}{mine}")).unwrap();
    let ended = home.run(BRIDGE, &["ssh-config", "--uninstall"]).await;
    assert!(ended.stderr.contains("ServerAliveInterval 5\n"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(home.own()).unwrap(), mine, "what is his is left");
    assert!(!home.config().exists());
}

#[tokio::test]
async fn a_part_that_stands_within_a_block_is_moved_out_of_it() {
    let home = Home::new();
    home.done(&["ssh-config", "--write"]).await;
    let part = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), format!("Host other\n    User me\n{part}")).unwrap();
    assert_eq!(option(&home.options(INSTANCE).await, "proxycommand"), None);
    home.done(&["ssh-config", "--write"]).await;
    assert!(option(&home.options(INSTANCE).await, "proxycommand").is_some());
    assert_eq!(option(&home.options("other").await, "user"), Some("me"));
    home.done(&["ssh-config", "--uninstall"]).await;
    assert_eq!(fs::read_to_string(home.config()).unwrap(), "Host other\n    User me\n");
}

/// ssh compares `Host` with what was typed, and what is written does not hold for such a name.
#[tokio::test]
async fn a_short_name_that_does_not_lead_to_what_is_written_is_told_with_the_line_that_mends_it() {
    let home = Home::new();
    fs::create_dir(home.path(".ssh")).unwrap();
    fs::write(home.config(), format!("Host web-1\n    HostName {INSTANCE}\n")).unwrap();
    let ended = home.run(BRIDGE, &["ssh-config", "--write"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(option(&home.options("web-1").await, "proxycommand"), None);
    assert!(ended.stderr.contains(&format!("web-1 stands for {INSTANCE}")), "{}", ended.stderr);
    let mut lines = ended.stderr.lines();
    let line = lines.find(|line| line.trim_start().starts_with("ProxyCommand ")).unwrap();
    let before = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), format!("{before}{line}\n")).unwrap();
    let expected = format!("{BRIDGE} proxy '%h' %p");
    assert_eq!(option(&home.options("web-1").await, "proxycommand"), Some(&*expected));
    home.done(&["ssh-config", "--write"]).await;
}

#[tokio::test]
async fn files_that_are_elsewhere() {
    let home = Home::new();
    fs::create_dir_all(home.path("dot files")).unwrap();
    fs::create_dir(home.path(".ssh")).unwrap();
    fs::write(home.path("dot files/config"), MINE).unwrap();
    symlink("../dot files/config", home.config()).unwrap();
    let one = home.path("dot files/one [x] $y%.conf");
    home.done(&["ssh-config", "--write", one.to_str().unwrap()]).await;
    assert!(fs::symlink_metadata(home.config()).unwrap().is_symlink());
    // The user's own line that is none keeps ssh from reading it.
    let text = fs::read(home.path("dot files/config")).unwrap();
    let good: Vec<u8> = text.into_iter().filter(|byte| *byte != 0xff).collect();
    fs::write(home.path("dot files/config"), &good).unwrap();
    assert!(option(&home.options(INSTANCE).await, "proxycommand").is_some());

    // Another file: nothing leads to the first one any more.
    home.done(&["ssh-config", "--write", "dot files/two"]).await;
    assert!(!one.exists() && home.path("dot files/two").exists());
    assert!(option(&home.options(INSTANCE).await, "proxycommand").is_some());
    home.done(&["ssh-config", "--uninstall"]).await;
    assert!(!home.path("dot files/two").exists());
    let mine: Vec<u8> = MINE.iter().copied().filter(|byte| *byte != 0xff).collect();
    assert_eq!(fs::read(home.path("dot files/config")).unwrap(), mine);
    assert_eq!(fs::read_link(home.config()).unwrap(), Path::new("../dot files/config"));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let home = Home::new();
    fs::create_dir(home.path(".ssh")).unwrap();
    fs::write(home.path("proxy"), "").unwrap();
    let marks = "# >>> ecs-bridge ssh-config 00 >>>\n";
    for (config, args, code, what) in [
        (
            "Host x\n",
            &["ssh-config", "--write", ".ssh/config"][..],
            2,
            "cannot be the file of its own",
        ),
        (
            "Host x\n",
            &["ssh-config", "--write", "--host", "web-1"],
            2,
            "\"web-1\" is not an instance id",
        ),
        (
            "Host x\n",
            &["ssh-config", "--write", "--host", "*.ecs"],
            2,
            "\"*.ecs\" is not an instance id",
        ),
        ("Host x\n", &["ssh-config", "--write", "--send-key", "no.pub"], 2, "no key file no.pub"),
        ("Host x\n", &["--profile", "a\nb", "ssh-config", "--write"], 2, "cannot be written into"),
        (marks, &["ssh-config", "--write", "other"], 3, "was left as it is: the marks"),
        (marks, &["ssh-config", "--uninstall"], 3, "was left as it is: the marks"),
    ] {
        fs::write(home.config(), config).unwrap();
        let ended = home.run(BRIDGE, args).await;
        let report = ended.report().unwrap_or_else(|problem| panic!("{args:?}: {problem}"));
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        assert!(report.what.contains(what) && !report.fix.is_empty(), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(home.config()).unwrap(), config);
        assert!(!home.path("other").exists() && !home.own().exists(), "{args:?}");
    }

    // Where all is there already, nobody has to write to it.
    let frozen = |is_frozen: bool| {
        let mode = if is_frozen { 0o400 } else { 0o600 };
        fs::set_permissions(home.config(), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::write(home.config(), "Host x\n").unwrap();
    frozen(true);
    let ended = home.run(BRIDGE, &["ssh-config", "--write"]).await;
    assert_eq!((ended.code, home.own().exists()), (Some(3), false), "{}", ended.stderr);
    frozen(false);
    home.done(&["ssh-config", "--write"]).await;
    frozen(true);
    home.done(&["ssh-config", "--write", "--control-master"]).await;
    assert!(fs::read_to_string(home.own()).unwrap().contains("ControlMaster"));

    let ended = home.run(BRIDGE, &["--proxy", "http://u:hush@p:1", "ssh-config"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("--proxy is not written down"), "{}", ended.stderr);
    assert!(!String::from_utf8(ended.stdout).unwrap().contains("hush"));
}

/// A program that writes down what it was called with, and then does what the real one would: it
/// leads to an `sshd`, or tells its key.
fn stand_in(home: &Home, program: &Path, sshd: &Path) {
    let dir = home.0.path().display();
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" -- >> {dir}/log\nfor last; do :; done\n\
         case \" $* \" in\n*' known-hosts '*) printf '%s ' \"$last\"; cat {dir}/host.pub ;;\n\
         *) exec {sshd} -i -e -f {dir}/sshd_config ;;\nesac\n",
        sshd = sshd.display(),
    );
    fs::remove_file(program).unwrap();
    crate::world::program(program, &text);
}

/// The binary in a folder of any name.
pub(crate) fn bridge_in(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let program = folder.join("ecs-bridge");
    if fs::hard_link(BRIDGE, &program).is_err() {
        // Not by this process, as in `world::program`.
        let copied = std::process::Command::new("cp").arg(BRIDGE).arg(&program).status();
        assert!(copied.unwrap().success());
    }
    program
}

async fn odd_names_with(shell: &str) {
    let Some(sshd) = installed("sshd") else { return };
    let Some(shell) = installed(shell) else { return };
    let _ = fs::create_dir_all("/run/sshd");
    let user = user().await;
    for name in [
        "we ird \"$dir%",
        "it's",
        r"back\slash\",
        r#"'"\'"#,
        "${HOME}",
        "$(touch gone)`touch gone`",
        "a;b&c|d(e)<f>!{g}[h]*?~#=^",
        "%h%%p",
        "ü 中文",
        " \t ",
    ] {
        // A tab cannot be written.
        let (home, is_writable) = (Home::new(), !name.contains('\t'));
        for key in ["id", "host"] {
            make_key(home.0.path(), key).await;
        }
        write_sshd_config(
            home.0.path(),
            &format!("AuthorizedKeysFile {}", home.path("id.pub").display()),
        );
        fs::create_dir(home.path(".ssh")).unwrap();
        let mine = format!(
            "Host *\n  User {user}\n  IdentityFile {dir}/id\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             UserKnownHostsFile {dir}/none\n  GlobalKnownHostsFile {dir}/none\n  LogLevel ERROR\n",
            dir = home.0.path().display()
        );
        fs::write(home.config(), mine).unwrap();
        let program = bridge_in(&home.path(name));
        let args = ["--profile", name, "ssh-config", "--write", "--send-key"];
        let ended = home.run(&program, &args).await;
        if !is_writable {
            assert_eq!(ended.code, Some(2), "{name}: {}", ended.stderr);
            continue;
        }
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);

        stand_in(&home, &program, &sshd);
        let mut ssh = home.command("ssh");
        ssh.arg("-F").arg(home.config()).args([INSTANCE, "echo", "in"]).env("SHELL", &shell);
        let output = run(&mut ssh).await;
        let log = fs::read_to_string(home.path("log")).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"in\n", "{name}: {stderr}\n{log}");
        let program = program.to_str().unwrap();
        let calls: Vec<Vec<&str>> =
            log.split_terminator("\n--\n").map(|call| call.split('\n').collect()).collect();
        assert_eq!(
            calls[0],
            [program, "--profile", name, "proxy", "--send-key", "--user", &user, INSTANCE, "22"]
        );
        assert!(calls.len() > 1, "{log}");
        for call in &calls[1..] {
            assert_eq!(call, &[program, "--profile", name, "known-hosts", INSTANCE]);
        }
        assert!(!home.path("gone").exists(), "{name} was run");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_with_sh() {
    odd_names_with("sh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_with_bash() {
    odd_names_with("bash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_gets_to_an_instance_with_what_was_written() {
    let Some(sshd) = installed("sshd") else { return };
    let programs = tempfile::tempdir().unwrap();
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).shell(programs.path());
    let Some(world) = World::of_registered_keys(LocalCloud::builder(), instance).await else {
        return;
    };
    // The instance finds an sshd with the keys of the one that ssh will meet.
    fs::copy(world.path("sshd_config"), world.path("control_sshd_config")).unwrap();
    let config = world.path("control_sshd_config").display().to_string();
    let script = format!("#!/bin/sh\nexec {} -f {config} \"$@\"\n", sshd.display());
    crate::world::program(&programs.path().join("sshd"), &script);

    fs::create_dir(world.path(".ssh")).unwrap();
    let mine = format!(
        "Host *\n  User {user}\n  IdentityFile {id}\n  IdentitiesOnly yes\n  BatchMode yes\n  \
         UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n",
        user = user().await,
        id = world.path("id").display(),
    );
    fs::write(world.path(".ssh/config"), &mine).unwrap();
    let program = bridge_in(&world.path("we ird \"$dir%"));
    let mut write = world.command(&program);
    write.args(["--region", "cn-hangzhou", "ssh-config", "--write", "--send-key"]);
    succeed(write.arg(world.path("id.pub"))).await;
    for run in 0..2 {
        let mut ssh = world.command("ssh");
        ssh.arg("-F").arg(world.path(".ssh/config")).args([INSTANCE, "echo", "in"]);
        assert_eq!(succeed(&mut ssh).await, b"in\n", "run {run}");
    }
    let count = |kind| world.cloud.invocations().iter().filter(|asked| asked.kind == kind).count();
    assert_eq!(count(CommandKind::SendKey), 1, "the second login is soon after the first");
    assert_eq!(count(CommandKind::Script), 1, "host keys were asked for, and are remembered");

    succeed(world.command(&program).args(["ssh-config", "--uninstall"])).await;
    assert_eq!(fs::read_to_string(world.path(".ssh/config")).unwrap(), mine);
    world.check().await;
}
