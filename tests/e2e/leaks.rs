//! Every session that was started is ended, also when the process is told to stop while it is still
//! opening: the proxy, and each of those who open one in a forward.

use std::time::Duration;

use local_cloud::{
    Action, Agent, ApiFault, CallRecord, Fault, Instance, Pace, Point, Restart, State,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::forward_driver::{Forward, read, text};
use crate::lab::{Bridge, Lab, QUIET_PORT, SOON};
use crate::world::{INSTANCE, PATIENCE};

const START: &str = "StartTerminalSession";
const END: &str = "EndTerminalSession";
/// Longer than any wait of a test.
const LONG: Duration = Duration::from_secs(100);

/// How far a session is when it is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is there, but the answer that tells so is on its way for half a second.
    Late,
    /// It is there, and the answer that tells so was cut.
    Cut,
    /// The API had too much to do, and is to be asked again in half a second.
    Throttled,
    /// The gateway takes the connection and says nothing.
    Dialled,
    /// The gateway does not answer the upgrade.
    Upgrading,
    /// The agent does not join.
    Opening,
    /// It is open, its socket is gone, and another one is refused.
    Refused,
    /// The same, and the other one is not answered.
    Resuming,
}

/// Who opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Proxy,
    /// A forward that finds out whether the target can be reached.
    Probe,
    /// A connection to a forward.
    Connection,
    /// The same, while another one waits for its place.
    Crowd,
    /// A forward that keeps a channel ready.
    Warm,
}

/// What tells it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Signal(&'static str, i32),
    /// Whoever reads its stdout goes.
    Reader,
    /// The program at the other end of the connection goes.
    Client,
}

const SIGNALS: [Told; 3] =
    [Told::Signal("HUP", 129), Told::Signal("INT", 130), Told::Signal("TERM", 143)];

impl Stage {
    const OPENING: [Self; 6] =
        [Self::Late, Self::Cut, Self::Throttled, Self::Dialled, Self::Upgrading, Self::Opening];
    const OPEN: [Self; 2] = [Self::Refused, Self::Resuming];

    fn instance(self) -> Instance {
        let agent = if Self::OPEN.contains(&self) { Agent::resumable() } else { Agent::d() };
        let instance =
            Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(64_000_000));
        match self {
            Self::Upgrading => instance.fault(Fault::new(Point::Upgrade, Action::Silence)),
            Self::Opening => instance.fault(Fault::new(Point::BeforeOpened, Action::Hang)),
            _ => instance,
        }
    }

    fn api(self, gateway: &TcpListener) -> Option<ApiFault> {
        let start = ApiFault::on(START);
        Some(match self {
            Self::Late => start.late(Duration::from_millis(500)),
            Self::Cut => start.cut_midway().times(1),
            Self::Throttled => start
                .error(503, "Throttling", "too many")
                .header("x-acs-retry-after", "500")
                .times(1),
            Self::Dialled => {
                let address = gateway.local_addr().unwrap();
                let answer = serde_json::json!({
                    "RequestId": "R-1", "SessionId": "s-1", "SecurityToken": "t",
                    "WebSocketUrl": format!("ws://{address}/session?sessionid=s-1&token=t"),
                });
                start.raw(200, "application/json", answer.to_string())
            }
            _ => return None,
        })
    }

    /// Waits until a session is there.
    async fn reached(self, lab: &Lab, gateway: &TcpListener) {
        let seen = async |what: fn(&State) -> bool| {
            lab.cloud.wait_for(what, PATIENCE).await.unwrap();
        };
        match self {
            Self::Late | Self::Cut => seen(|state| state.sessions().count() > 0).await,
            Self::Throttled => seen(|state| state.calls().any(|call| call.status == 503)).await,
            Self::Dialled => {
                let (gateway, _) = timeout(PATIENCE, gateway.accept()).await.unwrap().unwrap();
                // It is open for as long as it may.
                tokio::spawn(async move {
                    let _gateway = gateway;
                    std::future::pending::<()>().await
                });
            }
            Self::Upgrading => seen(|state| state.upgrades().count() > 0).await,
            Self::Opening => seen(|state| state.sessions().any(|session| session.live == 1)).await,
            Self::Refused => {
                assert_eq!(lab.cloud.faults().restart(Restart::new().down(LONG)), 1);
                seen(|state| state.upgrades().any(|upgrade| upgrade.status == 503)).await;
            }
            Self::Resuming => {
                let silence = Fault::new(Point::Upgrade, Action::Silence);
                lab.cloud.faults().stream(INSTANCE, silence);
                assert!(lab.cloud.faults().inject(&lab.cloud.sessions()[0].id, Action::Cut));
                seen(|state| state.upgrades().count() > 1).await;
            }
        }
    }

    /// Each session was ended, and none was begun that nobody wanted.
    async fn is_clean(self, lab: &Lab) {
        lab.all_ended().await;
        let of_gateway =
            |call: &CallRecord| call.action == END && call.params["SessionId"] == "s-1";
        match self {
            // `forward` does not wait for the call before it says that the connection is closed.
            Self::Dialled => {
                let ends = |state: &State| state.calls().any(of_gateway);
                lab.cloud.wait_for(ends, PATIENCE).await.expect("it is ended");
            }
            _ => assert!(!lab.cloud.calls().iter().any(of_gateway)),
        }
        let sessions = lab.cloud.sessions().len();
        let expected = usize::from(!matches!(self, Self::Throttled | Self::Dialled));
        assert_eq!(sessions, expected, "{:#?}", lab.cloud.sessions());
    }
}

/// A running process, and what has to stay open at its ends.
enum Running {
    Proxy(Bridge, Option<TcpStream>),
    Forward(Forward, Vec<TcpStream>),
}

impl Who {
    async fn start(self, lab: &Lab, is_open: bool) -> Running {
        let spec = format!("0:localhost:{QUIET_PORT}");
        let forward =
            |args: &[&str]| Forward::start(lab, &[&["-L", &spec, "--grace", "0"], args].concat());
        match self {
            Self::Proxy => {
                let mut bridge = lab.start(&[]);
                let mut target = None;
                if is_open {
                    let target = target.insert(lab.accept().await);
                    target.write_all(b"hello").await.unwrap();
                    bridge.expect(b"hello").await;
                }
                Running::Proxy(bridge, target)
            }
            Self::Probe => Running::Forward(forward(&[]), Vec::new()),
            Self::Warm => Running::Forward(forward(&["--no-probe", "--warm", "1"]), Vec::new()),
            Self::Connection | Self::Crowd => {
                let most = if self == Self::Crowd { "1" } else { "20" };
                let mut forward = forward(&["--no-probe", "--max-connections", most]);
                let mut ends = vec![forward.connect().await];
                if is_open {
                    let mut target = lab.accept().await;
                    target.write_all(b"hello").await.unwrap();
                    assert_eq!(read(&mut ends[0], 5).await, b"hello");
                    ends.push(target);
                }
                if self == Self::Crowd {
                    forward.told(1, "accepted").await;
                    ends.push(forward.connect().await);
                    forward.bridge.logged("--max-connections allows").await;
                }
                Running::Forward(forward, ends)
            }
        }
    }
}

async fn case(who: Who, stage: Stage, told: Told) {
    let lab = Lab::new(stage.instance()).await;
    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if let Some(fault) = stage.api(&gateway) {
        lab.cloud.faults().api(fault);
    }
    let running = who.start(&lab, Stage::OPEN.contains(&stage)).await;
    stage.reached(&lab, &gateway).await;
    match (running, told) {
        (Running::Proxy(bridge, _target), Told::Signal(signal, code)) => {
            bridge.signal(signal).await;
            let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""));
        }
        (Running::Proxy(mut bridge, _target), Told::Reader) => {
            drop(bridge.stdout.take());
            let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        }
        (Running::Forward(forward, _ends), Told::Signal(signal, code)) => {
            assert_eq!(forward.stop(signal).await.code(), code);
        }
        (Running::Forward(mut forward, ends), Told::Client) => {
            for end in ends {
                socket2::SockRef::from(&end).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let closed = timeout(SOON, forward.told(1, "closed")).await.expect("it ends soon");
            assert!(["stopped", "local"].contains(&text(&closed, "reason")), "{closed}");
            stage.is_clean(&lab).await;
            forward.stop("TERM").await;
        }
        (_, told) => unreachable!("{who:?} is not told by {told:?}"),
    }
    stage.is_clean(&lab).await;
}

async fn in_each(stages: &[Stage], who: Who, told: &[Told]) {
    let mut cases = JoinSet::new();
    for (stage, told) in
        stages.iter().flat_map(|stage| told.iter().map(move |told| (*stage, *told)))
    {
        cases.spawn(async move {
            let is_fine = tokio::spawn(case(who, stage, told)).await.is_ok();
            (stage, told, is_fine)
        });
    }
    let ended = cases.join_all().await;
    let failed: Vec<_> = ended.iter().filter(|(.., is_fine)| !is_fine).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_leaves_no_session() {
    let told = [&SIGNALS[..], &[Told::Reader]].concat();
    in_each(&[&Stage::OPENING[..], &Stage::OPEN].concat(), Who::Proxy, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_leaves_no_session() {
    in_each(&Stage::OPENING, Who::Probe, &SIGNALS[1..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_no_session() {
    let told = [Told::Signal("TERM", 143), Told::Client];
    in_each(&Stage::OPENING, Who::Connection, &told).await;
    in_each(&Stage::OPEN, Who::Connection, &SIGNALS[2..]).await;
    in_each(&Stage::OPENING, Who::Crowd, &SIGNALS[1..2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_are_to_be_kept_ready_leave_no_session() {
    in_each(&Stage::OPENING, Who::Warm, &SIGNALS[1..]).await;
}

/// The API needs more than one try to end it, or almost a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_takes_its_time_is_an_end() {
    for fault in [
        ApiFault::on(END).delay(Duration::from_millis(900)),
        ApiFault::on(END).error(503, "Throttling", "too many").times(2),
        ApiFault::on(END).cut().times(1),
        ApiFault::on(END).cut_midway().times(1),
    ] {
        let lab = Lab::new(Stage::Late.instance()).await;
        lab.cloud.faults().api(fault.clone());
        let Running::Proxy(mut bridge, _target) = Who::Proxy.start(&lab, true).await else {
            unreachable!("it is a proxy");
        };
        drop((bridge.stdin.take(), bridge.stdout.take()));
        let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{fault:?}");
        lab.all_ended().await;
    }
}
