//! `doctor`: what it shows people and programs.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::Validator;
use local_cloud::{Agent, Builder, Instance, InstanceStatus, LocalCloud, Pace};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::lab::{Bridge, Ended, Lab};
use crate::targets::remembered;
use crate::world::{INSTANCE, program};

/// What a busy machine adds to a time-out.
const MARGIN: Duration = Duration::from_secs(8);
/// What nothing that is shown may hold.
const SECRETS: [&str; 4] = ["testsecret", "token=", "wss://", "ws://"];
/// The first ones, which need no TARGET. One more is behind that of the instance.
const WITHOUT_TARGET: usize = 10;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../../doctor.schema.json");
    jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap()
});

type Change<T> = Box<dyn FnOnce(T) -> T + Send>;
type Step = Box<dyn FnOnce(&Lab) + Send>;

/// A set-up in which one thing is wrong.
pub(crate) struct SetUp {
    pub(crate) name: &'static str,
    /// Which check has to fail, with which code, and what it has to say.
    pub(crate) id: &'static str,
    pub(crate) code: i32,
    pub(crate) what: &'static str,
    fix: &'static str,
    cloud: Change<Builder>,
    instance: Change<Instance>,
    prepare: Vec<Step>,
    args: Vec<String>,
    env: Vec<(&'static str, Option<String>)>,
    target: &'static str,
    says: &'static str,
    within: Duration,
    held: Option<TcpSocket>,
}

impl SetUp {
    /// A set-up in which nothing is wrong yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            id: "",
            code: 0,
            what: "",
            fix: "",
            cloud: Box::new(|cloud| cloud),
            instance: Box::new(|instance| instance),
            prepare: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            target: INSTANCE,
            says: "SSH-2.0-test\r\n",
            within: Duration::ZERO,
            held: None,
        }
    }

    /// The cloud is another one.
    pub(crate) fn cloud(
        mut self,
        change: impl FnOnce(Builder) -> Builder + Send + 'static,
    ) -> Self {
        self.cloud = Box::new(change);
        self
    }

    /// The instance is another one.
    pub(crate) fn instance(
        mut self,
        change: impl FnOnce(Instance) -> Instance + Send + 'static,
    ) -> Self {
        self.instance = Box::new(change);
        self
    }

    /// Something is done before it runs.
    pub(crate) fn prepare(mut self, prepare: impl FnOnce(&Lab) + Send + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// A file is there, in what is the home folder.
    pub(crate) fn file(self, name: &'static str, content: &'static str) -> Self {
        self.prepare(move |lab| {
            let path = lab.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            let owner_only = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, owner_only).unwrap();
        })
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// A variable is set.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, Some(value.into())));
        self
    }

    /// There are no keys in the environment.
    pub(crate) fn without_keys(mut self) -> Self {
        for name in ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"] {
            self.env.push((name, None));
        }
        self
    }

    /// Another TARGET.
    pub(crate) fn target(mut self, target: &'static str) -> Self {
        self.target = target;
        self
    }

    /// What the port says first.
    pub(crate) fn says(mut self, words: &'static str) -> Self {
        self.says = words;
        self
    }

    /// How long it has to wait.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.within = Duration::from_secs(seconds);
        self
    }

    /// An address that is kept from others.
    pub(crate) fn holding(mut self, socket: TcpSocket) -> Self {
        self.held = Some(socket);
        self
    }

    /// What has to be found.
    pub(crate) fn fails(
        mut self,
        id: &'static str,
        code: i32,
        what: &'static str,
        fix: &'static str,
    ) -> Self {
        (self.id, self.code, self.what, self.fix) = (id, code, what, fix);
        self
    }

    async fn run(mut self) {
        let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
        let instance = (self.instance)(instance);
        let lab = Lab::with((self.cloud)(LocalCloud::builder()), instance).await;
        for prepare in self.prepare.drain(..) {
            prepare(&lab);
        }
        let args = [&["doctor".to_owned(), self.target.to_owned()], &*self.args].concat();
        let mut runs = Vec::new();
        for more in [None, Some("--json")] {
            let mut command = lab.bridge(args.iter().map(String::as_str).chain(more));
            for (name, value) in &self.env {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let ended = answered(&lab, self.says, Bridge::start(&mut command)).await;
            eprintln!("--- {}\n{}{}", self.name, shown(&ended), ended.stderr);
            assert!(ended.took < self.within + MARGIN, "it took {:?}", ended.took);
            assert_eq!(ended.stderr, "");
            assert_eq!(ended.code, Some(self.code), "the exit code");
            for secret in SECRETS {
                assert!(!shown(&ended).contains(secret), "it shows '{secret}'");
            }
            runs.push(ended);
        }
        lab.all_ended().await;

        let document = document(&runs[1]);
        let checks = document["checks"].as_array().unwrap();
        let failed: Vec<_> = checks.iter().filter(|check| check["status"] == "failed").collect();
        let [failed] = &*failed else { panic!("{} have failed", failed.len()) };
        let part = |name: &str| failed[name].as_str().unwrap_or_default();
        assert_eq!(part("id"), self.id);
        assert!(part("found").contains(self.what), "no '{}': {}", self.what, part("found"));
        assert!(part("fix").contains(self.fix), "no '{}': {}", self.fix, part("fix"));
        assert_eq!(document["exit_code"], self.code);
        for check in checks {
            let because = &check["because"];
            assert!(because.is_null() || because == self.id, "{check}");
        }

        let shown = shown(&runs[0]);
        let bad: Vec<_> = shown.lines().filter(|line| line.starts_with('✗')).collect();
        assert!(matches!(&*bad, [line] if line.contains(self.what)), "{bad:?}");
        let first = self.fix.split('\n').next().unwrap();
        assert!(shown.contains("\n    fix: ") && shown.contains(first), "{shown}");
    }
}

/// Runs all of them side by side, and says of each one that fails which it is.
pub(crate) async fn run_all(set_ups: Vec<SetUp>) {
    let mut running = JoinSet::new();
    for set_up in set_ups {
        let name = set_up.name;
        running.spawn(async move { (name, tokio::spawn(set_up.run()).await.is_ok()) });
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        let (name, is_fine) = done.unwrap();
        if !is_fine {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Waits for its end, while each connection to the port is answered so.
pub(crate) async fn answered(lab: &Lab, says: &str, bridge: Bridge) -> Ended {
    let target = async {
        let mut connections = Vec::new();
        loop {
            let mut connection = lab.accept_if_dialled().await;
            let _ = connection.write_all(says.as_bytes()).await;
            connections.push(connection);
        }
    };
    tokio::select! {
        ended = bridge.end() => ended,
        () = target => unreachable!("it accepts for ever"),
    }
}

pub(crate) fn shown(ended: &Ended) -> String {
    String::from_utf8(ended.stdout.clone()).unwrap()
}

pub(crate) fn document(ended: &Ended) -> Value {
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    if let Err(error) = SCHEMA.validate(&document) {
        panic!("not as the schema has it: {error}: {document}");
    }
    document
}

pub(crate) async fn well() -> Lab {
    let instance = Instance::new(INSTANCE).name("web-1").agent(Agent::d().quick());
    Lab::new(instance.pace(Pace::off())).await
}

fn statuses(document: &Value) -> Vec<(&str, &str)> {
    let checks = document["checks"].as_array().unwrap();
    let pair = |check| (text(check, "id"), text(check, "status"));
    checks.iter().map(pair).collect()
}

pub(crate) fn text<'a>(check: &'a Value, name: &str) -> &'a str {
    check[name].as_str().unwrap_or_default()
}

pub(crate) fn one<'a>(document: &'a Value, id: &str) -> &'a Value {
    document["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_is_well_every_check_says_so() {
    let lab = well().await;
    for agent in [Agent::d(), Agent::a(), Agent::resumable()] {
        lab.cloud.update_instance(INSTANCE, |instance| instance.agent = agent.quick());
        let bridge = Bridge::start(&mut lab.bridge(["doctor", "web-1", "--json"]));
        let ended = answered(&lab, "hello\r\nSSH-2.0-test\r\n", bridge).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", shown(&ended));
        let document = document(&ended);
        assert_eq!((&document["ok"], &document["target"]), (&true.into(), &"web-1".into()));
        for (id, status) in statuses(&document) {
            let is_needless = ["tls", "key_plugin", "known_hosts_command"].contains(&id);
            assert_eq!(status, if is_needless { "skipped" } else { "passed" }, "{id}");
        }
        assert!(text(one(&document, "instance"), "found").contains("web-1 (i-bp1example0001)"));
        assert_eq!(text(one(&document, "port"), "found"), "it says SSH-2.0-test");
        assert!(text(one(&document, "credentials"), "found").contains("ACCESS_KEY_ID"));
    }
    lab.all_ended().await;
    assert_eq!(lab.cloud.sessions().len(), 3);
    assert!(lab.cloud.violations().is_empty(), "{:?}", lab.cloud.violations());
}

/// A warning is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_connects_silently_again_is_warned_of() {
    let lab = well().await;
    for (agent, is_warned_of) in [(Agent::a(), true), (Agent::c(), true), (Agent::d(), false)] {
        lab.cloud.update_instance(INSTANCE, |instance| instance.agent = agent.quick());
        let bridge = Bridge::start(&mut lab.bridge(["doctor", "web-1", "--json"]));
        let ended = answered(&lab, "SSH-2.0-test\r\n", bridge).await;
        assert_eq!(ended.code, Some(0), "{}", shown(&ended));
        let document = document(&ended);
        let found = text(one(&document, "agent_version"), "found");
        assert_eq!(found.contains("connects silently again"), is_warned_of, "{found}");
        assert_eq!(found.contains("update the agent"), is_warned_of, "{found}");
    }
}

/// What it reads counts for the next sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_s_version_that_is_read_is_cached() {
    let lab = well().await;
    for (version, option, cached) in [
        ("2.2.4.1065", "--no-cache", None),
        ("2.2.4.1065", "-q", Some("2.2.4.1065")),
        ("2.2.3.578", "-q", Some("2.2.3.578")),
        ("2.2.4.1065", "--no-cache", Some("2.2.3.578")),
        ("unknown", "-q", None),
    ] {
        let change = |instance: &mut Instance| instance.agent_version = Some(version.to_owned());
        lab.cloud.update_instance(INSTANCE, change);
        let bridge = Bridge::start(&mut lab.bridge(["doctor", "web-1", "--json", option]));
        answered(&lab, "SSH-2.0-test\r\n", bridge).await;
        let entries = remembered(&lab, "agent-");
        let entries = entries.iter().map(|path| std::fs::read(path).unwrap());
        let entries = entries.map(|entry| serde_json::from_slice::<Value>(&entry).unwrap());
        let versions: Vec<_> = entries.map(|entry| text(&entry, "value").to_owned()).collect();
        assert_eq!(versions, Vec::from_iter(cached), "{version} {option}");
    }
}

/// What the instance's sshd tells of its configuration, and what is made of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_that_sshd_asks_for_keys_is_looked_at_if_that_is_asked_for() {
    let lab = well().await;
    let sshd = lab.dir.path().join("bin/sshd");
    std::fs::create_dir(sshd.parent().unwrap()).unwrap();
    lab.cloud.update_instance(INSTANCE, |instance| {
        instance.commands.shell = Some(sshd.parent().unwrap().to_owned());
    });
    let bridge = Bridge::start(&mut lab.bridge(["doctor", "web-1", "--json"]));
    assert_eq!(answered(&lab, "SSH-2.0-test\r\n", bridge).await.code, Some(0));
    assert!(lab.cloud.invocations().is_empty(), "nobody asked for it");
    for (told, status, says) in [
        ("/opt/aliyun/keys %u", "passed", "sshd asks the key plug-in: /opt/aliyun/keys %u"),
        ("/opt/sso/keys %u", "failed", "sshd asks another program for keys: /opt/sso/keys %u"),
    ] {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = -T ] || exit 1\necho port 22\n\
             echo authorizedkeyscommand {told}\necho authorizedkeyscommanduser root\n"
        );
        program(&sshd, &script);
        let bridge = Bridge::start(&mut lab.bridge(["doctor", "web-1", "--send-key", "--json"]));
        let ended = answered(&lab, "SSH-2.0-test\r\n", bridge).await;
        let document = document(&ended);
        let check = one(&document, "key_plugin");
        assert_eq!(text(check, "status"), status, "{check}");
        assert!(text(check, "found").starts_with(says), "{check}");
        assert_eq!(ended.code, Some(if status == "failed" { 6 } else { 0 }));
    }
    assert_eq!(lab.cloud.invocations().len(), 2);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_a_line_a_check_and_no_colours_unless_on_a_terminal() {
    let lab = well().await;
    let bridge = Bridge::start(&mut lab.bridge(["doctor", INSTANCE]));
    let ended = answered(&lab, "SSH-2.0-test\r\n", bridge).await;
    let shown = shown(&ended);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 26, "{shown}");
    assert!(lines[0].starts_with("✓ configuration       region cn-hangzhou ("), "{shown}");
    assert_eq!(lines[18], "✓ port                it says SSH-2.0-test");
    assert_eq!(lines[25], "22 checks passed, 3 skipped");
    assert!(!shown.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_target_nothing_of_an_instance_is_looked_at() {
    let lab = well().await;
    let ended = Bridge::start(&mut lab.bridge(["doctor", "--json"])).end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", shown(&ended));
    let document = document(&ended);
    assert!(document["target"].is_null());
    let statuses = statuses(&document);
    for (at, (id, status)) in statuses.iter().enumerate() {
        let is_of_ssh = ["ssh", "ssh_config", "proxy_shell", "ssh_key"].contains(id);
        let is_passed =
            (at < WITHOUT_TARGET && *id != "tls") || *id == "session_manager" || is_of_ssh;
        assert_eq!(*status, if is_passed { "passed" } else { "skipped" }, "{id}");
    }
    assert!(lab.cloud.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_manager_is_looked_at_where_the_instance_is() {
    let builder = LocalCloud::builder().region("cn-hangzhou").region("cn-beijing");
    let there = Instance::new("i-bp1there0001").name("far-1").region("cn-beijing");
    let lab = Lab::with(builder.instance(there), Instance::new(INSTANCE)).await;
    for args in [&["far-1.cn-beijing"][..], &["far-1", "--regions", "cn-beijing"]] {
        let ended = Bridge::start(lab.bridge(["doctor", "--json"]).args(args)).end().await;
        let document = document(&ended);
        let found = text(one(&document, "session_manager"), "found");
        assert_eq!(found, "it is switched on in cn-beijing", "{document}");
    }
}

/// The service knows it by its agent only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_managed_instance_is_looked_at_as_far_as_it_is_known() {
    let instance = Instance::new("mi-hz01example").name("far").agent(Agent::d().quick());
    let lab = Lab::new(instance.pace(Pace::off())).await;
    for target in ["mi-hz01example", "far"] {
        let bridge = Bridge::start(&mut lab.bridge(["doctor", target, "--json"]));
        let ended = answered(&lab, "SSH-2.0-test\r\n", bridge).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", shown(&ended));
        let document = document(&ended);
        assert_eq!(text(one(&document, "running"), "status"), "skipped");
        assert_eq!(text(one(&document, "agent_online"), "status"), "passed");
        assert_eq!(text(one(&document, "port"), "found"), "it says SSH-2.0-test");
    }
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_waits_to_be_spoken_to_is_well() {
    let lab = well().await;
    let bridge = Bridge::start(&mut lab.bridge(["doctor", INSTANCE, "6379", "--json"]));
    let ended = answered(&lab, "", bridge).await;
    assert_eq!(ended.code, Some(0), "{}", shown(&ended));
    let document = document(&ended);
    let found = text(one(&document, "port"), "found");
    assert_eq!(found, "it accepts connections, and sends nothing until the client does");
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_things_are_wrong_with_has_them_all_named() {
    let lab = well().await;
    lab.cloud.update_settings(|settings| settings.session_manager_enabled = false);
    lab.cloud.update_instance(INSTANCE, |instance| {
        instance.status = InstanceStatus::Stopped;
        instance.agent_version = Some("2.2.3.100".to_owned());
    });
    let ended = Bridge::start(&mut lab.bridge(["doctor", INSTANCE, "--json"])).end().await;
    assert_eq!(ended.code, Some(6));
    let document = document(&ended);
    let failed = statuses(&document).into_iter().filter(|(_, status)| *status == "failed");
    let failed: Vec<_> = failed.map(|(id, _)| id).collect();
    assert_eq!(failed, ["session_manager", "running", "agent_version"]);
    assert_eq!(text(one(&document, "session"), "because"), "session_manager");
    assert_eq!(text(one(&document, "agent_online"), "because"), "running");
    assert!(lab.cloud.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_and_the_session_too() {
    let lab = well().await;
    let bridge = Bridge::start(&mut lab.bridge(["doctor", INSTANCE]));
    let _silent = lab.accept().await;
    bridge.signal("INT").await;
    let ended = bridge.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(130), ""));
    lab.all_ended().await;
}
