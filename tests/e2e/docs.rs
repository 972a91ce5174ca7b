//! Every command line of README and docs works. Each page has a world of its own, and its lines run in turn, as
//! a reader types them. That each one is a command line which the program takes is tested in `src/cli/tests`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use local_cloud::{Agent, Builder as LocalCloudBuilder, Instance, LocalCloud, Pace};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::forward_driver::Server as Echo;
use crate::lab::Bridge;
use crate::world::{INSTANCE, PATIENCE, Server, World, installed, own_address, program};

const BRIDGE: &str = env!("CARGO_BIN_EXE_ecs-bridge");

/// Lines that are not run, by what they begin with, and why. That the program takes them is tested all the same.
const NOT_RUN: [(&str, &str); 7] = [
    ("cargo run --example sandbox", ".ci/run runs it"),
    ("cargo test --workspace", ".ci/run runs it, and it runs this test"),
    ("cargo install", "it compiles the release; .ci/run compiles the program"),
    ("ecs-bridge configure  ", "it asks on a terminal: tests/e2e/configure.rs"),
    ("ecs-bridge configure --mode", "it asks on a terminal: tests/e2e/configure_modes.rs"),
    ("ecs-bridge log --follow", "it ends with Ctrl-C: tests/e2e/log.rs"),
    ("ecs-bridge --proxy socks5h", "it needs a proxy on port 1080: tests/e2e/proxies.rs"),
];

/// What stands in PATH before the machine's programs.
struct Programs(TempDir);

impl Programs {
    /// OpenSSH that looks for its files in the test's folder, and programs that a machine may not have.
    fn new(world: &World) -> Self {
        let dir = TempDir::new().unwrap();
        let put = |name: &str, text: &str| {
            program(&dir.path().join(name), &format!("#!/usr/bin/env bash\n{text}\n"));
        };
        let home = world.dir.path().display();
        let path = |name| installed(name).expect("OpenSSH is installed").display().to_string();
        let options = format!(
            "-F {home}/.ssh/config -o UserKnownHostsFile={home}/.ssh/known_hosts \
             -o StrictHostKeyChecking=accept-new -o BatchMode=yes -o IdentityFile={home}/id -o LogLevel=ERROR"
        );
        put("ssh", &format!("exec {} {options} \"$@\"", path("ssh")));
        put("scp", &format!("exec {} -S {}/ssh \"$@\"", path("scp"), dir.path().display()));
        put("ecs-bridge", &format!("exec {BRIDGE} \"$@\""));
        // It connects to where the forward listens.
        put("psql", "exec 3<>\"/dev/tcp/$ECS_BRIDGE_HOST/$ECS_BRIDGE_PORT\"");
        put("ssh-add", &format!("cat {home}/id.pub"));
        for reader in ["man", "jq"] {
            put(reader, "cat >/dev/null");
        }
        Self(dir)
    }
}

/// A cloud with the instances that the pages name, and a home with the files that they name.
struct Reader {
    world: World,
    programs: Programs,
    _echo: Echo,
    _sshd: TempDir,
}

impl Reader {
    async fn new() -> Self {
        let (echo, sshd) = (Echo::echo().await, TempDir::new().unwrap());
        let instance = |id: &str, name: &str| {
            let instance = Instance::new(id).name(name).agent(Agent::d().quick());
            let ports = [80, 3306, 3389, 5432, 6379];
            let instance = instance.pace(Pace::announced(64_000_000)).shell(sshd.path());
            ports.into_iter().fold(instance, |all, port| all.target(port, echo.addr))
        };
        let builder = ["cn-hangzhou", "cn-beijing", "ap-southeast-1"]
            .into_iter()
            .fold(LocalCloud::builder(), LocalCloudBuilder::region);
        let web = instance(INSTANCE, "web-1").tag("env", "prod");
        let web = web.remote("cache.internal", 6379, echo.addr);
        let web = web.remote("db.internal", 5432, echo.addr);
        let world = World::in_cloud(Server::InProcess, builder, web).await;
        let world = world.expect("the server in this process is always there");
        world.cloud.update_instance(INSTANCE, |web| {
            web.targets.insert((Some("10.0.0.7".to_owned()), 22), world.addr);
        });
        world.cloud.add_instance(instance("i-bp1example0002", "win-1"));
        let beijing = [("i-2zeexample0001", "web-1"), ("i-2zeexample0002", "db-1")];
        for (id, name) in beijing {
            let instance = instance(id, name).region("cn-beijing");
            world.cloud.add_instance(instance.target(22, world.addr));
        }
        // The instance's host key, as its sshd names it.
        let known = fs::read_to_string(world.path("known_hosts")).unwrap();
        let host_key = sshd.path().join("host");
        fs::write(host_key.with_extension("pub"), known.split_once(' ').unwrap().1).unwrap();
        let tells = format!("#!/bin/sh\necho hostkey {}\n", host_key.display());
        program(&sshd.path().join("sshd"), &tells);
        let reader = Self { programs: Programs::new(&world), world, _echo: echo, _sshd: sshd };
        reader.fill_home();
        reader
    }

    fn fill_home(&self) {
        let home = self.world.dir.path();
        for folder in [".ssh", ".aliyun", ".zfunc", ".config/fish/completions", "folder"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        for (from, to) in
            [("id", "id_ed25519"), ("id.pub", "id_ed25519.pub"), ("id.pub", "work.pub")]
        {
            fs::copy(home.join(from), home.join(".ssh").join(to)).unwrap();
        }
        fs::write(home.join("file.tar"), "a file\n").unwrap();
        fs::write(home.join("setup.sh"), "exit\n").unwrap();
        fs::write(home.join("folder/file"), "a file\n").unwrap();
        let value = |end: &str| {
            let (_, value) =
                self.world.cloud.env().into_iter().find(|(name, _)| name.ends_with(end)).unwrap();
            value
        };
        let profile = |name: &str| {
            serde_json::json!({"name": name, "mode": "AK", "region_id": "cn-hangzhou",
                "access_key_id": value("ACCESS_KEY_ID"), "access_key_secret": value("ACCESS_KEY_SECRET")})
        };
        let profiles = [profile("default"), profile("work"), profile("ci")];
        let file = serde_json::json!({"current": "default", "profiles": profiles});
        fs::write(home.join(".aliyun/config.json"), file.to_string()).unwrap();
    }

    /// A shell that runs this.
    fn shell(&self, script: &str) -> Command {
        let mut command = self.world.command("sh");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.programs.0.path().to_owned()].into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
        // Nothing waits for what does not come.
        command.env("PATH", path).env("ECS_BRIDGE_LINGER", "1").env("SECRET", "testsecret");
        command.args(["-ec", script]);
        command
    }

    /// Runs a line to its end, or a forward until it listens; says how it went wrong.
    async fn follow(&self, exports: &str, line: &str) -> Result<(), String> {
        let home = self.world.dir.path().display();
        let line = line.replace("/tmp/", &format!("{home}/"));
        // Others on this machine may listen on the ports that the pages name.
        let bind = format!("ecs-bridge forward --bind {} ", own_address().ip());
        let line = line.replace("ecs-bridge forward ", &bind);
        if line.starts_with("ecs-bridge forward ") && !line.contains(" -- ") {
            let script = format!("{exports}exec {line}");
            let mut forward = Bridge::start(&mut self.shell(&script));
            forward.logged("Forwarding ").await;
            forward.signal("INT").await;
            let ended = forward.end().await;
            return match ended.code {
                Some(130) => Ok(()),
                code => Err(format!("{code:?}: {}", ended.stderr)),
            };
        }
        let mut shell = self.shell(&format!("{exports}{line}"));
        let Ok(output) = timeout(PATIENCE, shell.output()).await else {
            return Err("it does not end".to_owned());
        };
        let output = output.unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }
}

/// The commands in the blocks of a page for the shell: the `export` lines before each in its block, and itself.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for block in page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"))
    {
        let (mut exports, mut command) = (String::new(), String::new());
        for line in block.lines() {
            command.push_str(line.trim());
            if command.ends_with('\\') {
                command.push('\n');
                continue;
            }
            let whole = std::mem::take(&mut command);
            if whole.starts_with("export ") {
                exports.push_str(&format!("{whole}\n"));
            } else if !whole.is_empty() && !whole.starts_with('#') {
                found.push((exports.clone(), whole));
            }
        }
    }
    found
}

/// README and the pages of docs.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    [root.join("README.md")].into_iter().chain(pages).collect()
}

/// Follows a page; says what went wrong, and which lines were not run.
async fn follow(name: String, page: String) -> (Vec<String>, BTreeSet<&'static str>) {
    let (mut wrong, mut left_out) = (Vec::new(), BTreeSet::new());
    let reader = Reader::new().await;
    // Most pages begin where the first one ends; and there is a failure in the log.
    reader.follow("", "ecs-bridge ssh-config --write").await.unwrap();
    reader.follow("", "ecs-bridge proxy nosuch").await.unwrap_err();
    for (exports, line) in commands(&page) {
        let not_run = NOT_RUN.iter().find(|(begins, _)| format!("{line}  ").starts_with(begins));
        if let Some((begins, _)) = not_run {
            left_out.insert(*begins);
            continue;
        }
        if line.starts_with("rsync") && installed("rsync").is_none() {
            continue;
        }
        if let Err(how) = reader.follow(&exports, &line).await {
            wrong.push(format!("{name}: {line}\n  {how}"));
        }
    }
    (wrong, left_out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_line_of_the_docs_works() {
    let mut following = JoinSet::new();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !commands(&page).is_empty() {
            following.spawn(follow(name, page));
        }
    }
    let (mut wrong, mut left_out) = (Vec::new(), BTreeSet::new());
    while let Some(followed) = following.join_next().await {
        let (of_page, not_run) = followed.unwrap();
        wrong.extend(of_page);
        left_out.extend(not_run);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<_> = NOT_RUN.iter().map(|(begins, _)| *begins).collect();
    assert_eq!(left_out, listed, "each exception is needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_line_that_does_not_work_is_found() {
    let page = "```sh\nexport X=1\n\
                ecs-bridge list --nosuch\n\
                ecs-bridge list 'nosuch*'\n\
                ssh root@nosuch.ecs\n\
                ecs-bridge list\n\
                ecs-bridge forward web-1 5432 -- sh -c 'exit $X'\n```";
    let (wrong, _) = follow("page".to_owned(), page.to_owned()).await;
    let lines: Vec<_> = wrong.iter().filter_map(|wrong| wrong.lines().next()).collect();
    let expected = ["ecs-bridge list --nosuch", "ecs-bridge list 'nosuch*'", "ssh root@nosuch.ecs"];
    let expected = expected.into_iter().chain(["ecs-bridge forward web-1 5432 -- sh -c 'exit $X'"]);
    assert_eq!(
        lines,
        expected.map(|line| format!("page: {line}")).collect::<Vec<_>>(),
        "{wrong:?}"
    );
}
