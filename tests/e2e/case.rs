//! One row of a table of failures: what is wrong, and what the user is told.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use local_cloud::{Agent, Builder, Instance, LocalCloud, Pace};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lab::{BANNER, Bridge, Lab};
use crate::world::INSTANCE;

/// What a busy machine adds to a time-out.
const MARGIN: Duration = Duration::from_secs(5);
/// What no message may hold, beside what the case itself names: keys, and addresses of sessions.
const SECRETS: [&str; 4] = ["testsecret", "token=", "wss://", "ws://"];

type Change<T> = Box<dyn FnOnce(T) -> T + Send>;
type Step = Box<dyn FnOnce(&Lab) + Send>;

/// A run of `ecs-bridge proxy` that fails.
pub(crate) struct Case {
    name: &'static str,
    cloud: Change<Builder>,
    instance: Change<Instance>,
    prepare: Vec<Step>,
    args: Vec<String>,
    env: Vec<(&'static str, Option<String>)>,
    code: i32,
    what: &'static str,
    why: &'static str,
    fix: &'static str,
    has_request_id: bool,
    within: Duration,
    banner: &'static [u8],
    stdout: Vec<u8>,
    calls: Option<(&'static str, usize)>,
}

impl Case {
    /// A case in which nothing is wrong yet: an instance with an agent that is quick, and a target
    /// that takes connections and says nothing.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            cloud: Box::new(|builder| builder),
            instance: Box::new(|instance| instance),
            prepare: Vec::new(),
            args: vec!["proxy".into(), INSTANCE.into()],
            env: Vec::new(),
            code: -1,
            what: "",
            why: "",
            fix: "",
            has_request_id: false,
            within: Duration::ZERO,
            banner: BANNER,
            stdout: Vec::new(),
            calls: None,
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

    /// A file is there, whose path is what `DIR/name` stands for in arguments and variables.
    pub(crate) fn file(self, name: &'static str, content: impl Into<String>) -> Self {
        let content = content.into();
        self.prepare(move |lab| {
            let path = lab.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        })
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Other arguments altogether.
    pub(crate) fn command(mut self, args: &[&str]) -> Self {
        self.args.clear();
        self.args(args)
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

    /// There is no endpoint in the environment.
    pub(crate) fn without_endpoint(mut self) -> Self {
        self.env.push(("ALIBABA_CLOUD_ENDPOINT", None));
        self
    }

    /// With what it has to end, and what the lines of its message have to contain. A line of which
    /// nothing is said here may be missing.
    pub(crate) fn fails(
        mut self,
        code: i32,
        what: &'static str,
        why: &'static str,
        fix: &'static str,
    ) -> Self {
        (self.code, self.what, self.why, self.fix) = (code, what, why, fix);
        self
    }

    /// The message has a RequestId, for the API has given one.
    pub(crate) fn request_id(mut self) -> Self {
        self.has_request_id = true;
        self
    }

    /// Its time-out.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.within = Duration::from_secs(seconds);
        self
    }

    /// Nothing is sent to the target, so that nothing is on its way when the connection is cut:
    /// unread, it would make a reset of it, which may overtake what was sent before.
    pub(crate) fn saying_nothing(mut self) -> Self {
        self.banner = b"";
        self
    }

    /// What the target has sent before it went wrong, and no more, is on stdout.
    pub(crate) fn stdout(mut self, bytes: Vec<u8>) -> Self {
        self.stdout = bytes;
        self
    }

    /// So many calls of an action were made.
    pub(crate) fn calls(mut self, action: &'static str, count: usize) -> Self {
        self.calls = Some((action, count));
        self
    }

    async fn run(self) {
        let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
        let instance = (self.instance)(instance);
        let lab = Lab::with((self.cloud)(LocalCloud::builder()), instance).await;
        for prepare in self.prepare {
            prepare(&lab);
        }
        let dir = lab.dir.path().display().to_string();
        let in_dir = |text: &String| text.replace("DIR", &dir);
        let mut command = lab.bridge(self.args.iter().map(in_dir));
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, in_dir(value)),
                None => command.env_remove(name),
            };
        }
        let mut bridge = Bridge::start(&mut command);
        // As ssh does; a bridge that has already failed does not read it.
        let _ = bridge.stdin.as_mut().unwrap().write_all(self.banner).await;
        let target = async {
            let mut connections = Vec::new();
            loop {
                let mut connection = lab.accept_if_dialled().await;
                let _ = connection.write_all(&self.stdout).await;
                connections.push(connection);
            }
        };
        let limit = self.within + MARGIN;
        let end = async {
            tokio::select! {
                end = timeout(limit, bridge.end()) => end,
                () = target => unreachable!("it accepts for ever"),
            }
        };
        let ended = end.await.unwrap_or_else(|_| panic!("it has not ended within {limit:?}"));
        eprintln!("--- {} ({:?}, {:?})\n{}", self.name, ended.code, ended.took, ended.stderr);

        ended.said(&self.stdout);
        let report = ended.report().unwrap_or_else(|problem| panic!("{problem}"));
        let lines = [
            ("what", &report.what, self.what),
            ("why", &report.why, self.why),
            ("fix", &report.fix, self.fix),
        ];
        for (name, line, part) in lines {
            assert!(line.contains(part), "{name} has no '{part}': {line}");
        }
        assert!(!report.fix.is_empty(), "nothing to do about it");
        assert_eq!(!report.request_id.is_empty(), self.has_request_id, "RequestId");
        assert_eq!(ended.code, Some(self.code), "the exit code");
        for secret in SECRETS {
            assert!(!ended.stderr.contains(secret), "it shows '{secret}'");
        }
        if let Some((action, count)) = self.calls {
            let calls = lab.cloud.calls();
            assert_eq!(calls.iter().filter(|call| call.action == action).count(), count);
        }
        lab.all_ended().await;
    }
}

/// Runs all of them side by side, and says of each one that fails which it is.
pub(crate) async fn run_all(cases: Vec<Case>) {
    let mut running = JoinSet::new();
    for case in cases {
        let name = case.name;
        running.spawn(async move { (name, tokio::spawn(case.run()).await.is_ok()) });
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
