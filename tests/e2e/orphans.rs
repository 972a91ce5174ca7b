//! No `ecs-bridge` outlives its ssh by more than 2 s, wherever it is when ssh goes, and however ssh
//! does; and no session is left.

use std::process::ExitStatus;
use std::time::Duration;

use local_cloud::{
    Action, Agent, ApiFault, CommandFault, CommandKind, Fault, Instance, InvocationRecord, Pace,
    Point, Restart, SessionRecord, State,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lab::SOON;
use crate::terminal::{Stranger, Streams, Terminal};
use crate::world::{INSTANCE, PATIENCE, Server, World, run};

const START: &str = "StartTerminalSession";
const LOOK: &str = "DescribeInstanceStatus";
/// Longer than any wait of a test.
const LONG: Duration = Duration::from_secs(100);

/// How ssh goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// It is asked to.
    Asked,
    /// It cannot do anything about it.
    Killed,
    /// Its terminal goes.
    Terminal,
    /// Its terminal goes, and `ecs-bridge` is told so as well. Else it has a session of its own, and
    /// has only its pipes to notice by.
    TerminalOfBoth,
}

/// Where `ecs-bridge` is when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The API takes its time.
    Asking,
    /// The API had too much to do, and is to be asked again later.
    AskingAgain,
    /// Nobody takes the connection to the gateway.
    Dialling,
    /// The gateway has taken it, and says nothing.
    Upgrading,
    /// The agent does not join.
    Opening,
    /// The session did not open, and the instance is looked at.
    Looking,
    /// ssh is logged in and has nothing to say.
    Idle,
    /// A copy, either way.
    Uploading,
    Downloading,
    /// With an agent of 1.02 whose socket is gone: the gateway refuses, or says nothing.
    Refused,
    Resuming,
    /// The key plug-in is being installed, and no session opened.
    Installing,
    /// The key is being registered, and the server's banner waits.
    Registering,
}

const STAGES: [Stage; 13] = [
    Stage::Asking,
    Stage::AskingAgain,
    Stage::Dialling,
    Stage::Upgrading,
    Stage::Opening,
    Stage::Looking,
    Stage::Idle,
    Stage::Uploading,
    Stage::Downloading,
    Stage::Refused,
    Stage::Resuming,
    Stage::Installing,
    Stage::Registering,
];

/// A gateway whose connections are taken by nobody, not even by the system for it.
struct Unanswered {
    url: String,
    _sockets: (tokio::net::TcpListener, TcpStream),
}

impl Unanswered {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let addr = listener.local_addr().unwrap();
        // The one that the system takes; further ones have to wait for it to be accepted.
        let first = TcpStream::connect(addr).await.unwrap();
        Self {
            url: format!("ws://{addr}/session?sessionid=s-1&token=t"),
            _sockets: (listener, first),
        }
    }
}

impl Stage {
    fn instance(self) -> Instance {
        let agent = match self {
            Self::Refused | Self::Resuming => Agent::resumable(),
            _ => Agent::d(),
        };
        let instance =
            Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000));
        match self {
            Self::Upgrading => instance.fault(Fault::new(Point::Upgrade, Action::Silence)),
            Self::Opening => instance.fault(Fault::new(Point::BeforeOpened, Action::Hang)),
            Self::Looking => instance.agent_online(false).agent_timeout(Duration::ZERO),
            _ => instance,
        }
    }

    fn api(self, gateway: &Unanswered) -> Option<ApiFault> {
        Some(match self {
            Self::Asking => ApiFault::on(START).silent(),
            Self::AskingAgain => ApiFault::on(START)
                .error(503, "Throttling", "too many")
                .header("x-acs-retry-after", "10000"),
            Self::Dialling => {
                let answer = serde_json::json!({
                    "RequestId": "R-1", "SessionId": "s-1", "SecurityToken": "t",
                    "WebSocketUrl": gateway.url,
                });
                ApiFault::on(START).raw(200, "application/json", answer.to_string())
            }
            Self::Looking => ApiFault::on(LOOK).silent(),
            _ => return None,
        })
    }

    /// What ssh runs.
    fn command(self) -> (&'static [&'static str], Streams) {
        match self {
            Self::Uploading => (&["-T", INSTANCE, "cat >/dev/null"], Streams::Zeros),
            Self::Downloading => (&["-T", INSTANCE, "cat /dev/zero"], Streams::Discard),
            _ => (&["-tt", INSTANCE, "echo ready; exec sleep 100"], Streams::All),
        }
    }

    /// Waits until it is there.
    async fn reached(self, world: &World, terminal: &mut Terminal) {
        let cloud = &world.cloud;
        match self {
            Self::Asking => seen(world, |state| asked(state, START) == 1).await,
            Self::AskingAgain | Self::Dialling => {
                seen(world, |state| state.calls().any(|call| call.status != 0)).await;
            }
            Self::Upgrading => seen(world, |state| state.upgrades().count() == 1).await,
            Self::Opening => session(world, |session| session.live == 1).await,
            Self::Looking => seen(world, |state| asked(state, LOOK) == 1).await,
            Self::Idle => terminal.shows("ready").await,
            Self::Uploading => session(world, |session| session.input_bytes > 1_000_000).await,
            Self::Downloading => session(world, |session| session.output_bytes > 1_000_000).await,
            Self::Refused => {
                terminal.shows("ready").await;
                assert_eq!(cloud.faults().restart(Restart::new().down(LONG)), 1);
                seen(world, |state| state.upgrades().any(|upgrade| upgrade.status == 503)).await;
            }
            Self::Resuming => {
                terminal.shows("ready").await;
                cloud.faults().stream(INSTANCE, Fault::new(Point::Upgrade, Action::Silence));
                assert!(cloud.faults().inject(&cloud.sessions()[0].id, Action::Cut));
                seen(world, |state| state.upgrades().count() == 2).await;
            }
            Self::Installing => {
                let polled = |asked: &InvocationRecord| {
                    asked.kind == CommandKind::Install && asked.polls.len() > 1
                };
                cloud.wait_for_invocation(polled, PATIENCE).await.unwrap();
            }
            Self::Registering => {
                session(world, |session| session.output_bytes > 0).await;
                let polled = |asked: &InvocationRecord| {
                    asked.kind == CommandKind::SendKey && !asked.polls.is_empty()
                };
                cloud.wait_for_invocation(polled, PATIENCE).await.unwrap();
            }
        }
    }
}

async fn seen(world: &World, what: impl FnMut(&State) -> bool) {
    world.cloud.wait_for(what, PATIENCE).await.unwrap();
}

async fn session(world: &World, fits: impl Fn(&SessionRecord) -> bool) {
    seen(world, |state| state.sessions().any(&fits)).await;
}

fn asked(state: &State, action: &str) -> usize {
    state.calls().filter(|call| call.action == action).count()
}

/// The ssh of a world, on a terminal, with a ProxyCommand that tells its process.
fn ssh(world: &World, stage: Stage, death: Death) -> Command {
    let args = match stage {
        Stage::Installing | Stage::Registering => "--send-key id.pub",
        _ => "",
    };
    let own_session = if death == Death::TerminalOfBoth { "" } else { "setsid" };
    let proxy = format!(
        "ProxyCommand=sh -c 'echo $$ > pid; exec {own_session} {bridge} -vvv --log-file log proxy %h %p \
         {args}'",
        bridge = env!("CARGO_BIN_EXE_ecs-bridge")
    );
    let mut ssh = world.openssh("ssh");
    ssh.args(["-o", &proxy]).args(stage.command().0);
    ssh
}

async fn signal(child: &Child, signal: &str) {
    let pid = child.id().expect("it still runs").to_string();
    assert!(
        run(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid])).await.status.success()
    );
}

async fn dies(stage: Stage, death: Death) {
    let world = World::with(Server::InProcess, stage.instance()).await.unwrap();
    let gateway = Unanswered::new().await;
    if let Some(fault) = stage.api(&gateway) {
        world.cloud.faults().api(fault);
    }
    let slow = match stage {
        Stage::Installing => CommandKind::Install,
        _ => CommandKind::SendKey,
    };
    world.cloud.faults().command(INSTANCE, CommandFault::on(slow).takes(LONG));

    let mut terminal = Terminal::new();
    let mut ssh = terminal.start(&ssh(&world, stage, death), stage.command().1);
    stage.reached(&world, &mut terminal).await;
    let bridge = Stranger::of_file(&world.path("pid"));
    match death {
        Death::Asked => signal(&ssh, "TERM").await,
        Death::Killed => ssh.start_kill().unwrap(),
        Death::Terminal | Death::TerminalOfBoth => drop(terminal.close().await),
    }
    // A look may take 3 s.
    let soon = if stage == Stage::Looking { Duration::from_secs(2) } else { SOON };
    let gone = timeout(soon, bridge.ended()).await;
    assert!(gone.is_ok(), "{stage:?}, {death:?}: it is still there after 2 s");
    let status: ExitStatus = timeout(SOON, ssh.wait()).await.expect("ssh is gone, too").unwrap();
    assert!(!status.success());
    check(&world, stage).await;
}

/// Each session was ended, and nothing else was begun.
async fn check(world: &World, stage: Stage) {
    let calls = world.cloud.calls();
    let ends =
        |id: &str| calls.iter().any(|call| call.params.get("SessionId").is_some_and(|s| s == id));
    match stage {
        Stage::Asking | Stage::AskingAgain => {
            assert_eq!(calls.len(), 1, "{stage:?}");
        }
        Stage::Installing => assert!(world.cloud.sessions().is_empty(), "{stage:?}"),
        Stage::Dialling => assert!(ends("s-1"), "{stage:?}: the session is left"),
        _ => {
            let sessions = world.cloud.sessions();
            assert!(sessions.len() == 1 && sessions[0].ended_by_api, "{stage:?}: {sessions:#?}");
        }
    }
}

async fn in_every_stage(death: Death) {
    let mut cases = JoinSet::new();
    for stage in STAGES {
        cases.spawn(async move { (stage, tokio::spawn(dies(stage, death)).await.is_ok()) });
    }
    let ended = cases.join_all().await;
    let failed: Vec<_> = ended.iter().filter(|(_, is_fine)| !is_fine).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_an_ssh_that_is_asked_to_end() {
    in_every_stage(Death::Asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_an_ssh_that_is_killed() {
    in_every_stage(Death::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_an_ssh_whose_terminal_goes() {
    in_every_stage(Death::Terminal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_an_ssh_whose_terminal_is_that_of_both() {
    in_every_stage(Death::TerminalOfBoth).await;
}
