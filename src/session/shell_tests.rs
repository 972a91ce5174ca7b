//! A shell through the hours of a clock that the test moves: the plan of a command line, the driver, the
//! keys and the output as `session` has them, and a gateway that the test plays.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use futures_util::FutureExt as _;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::event::{Notice, SessionEvent};
use super::plan::{Plan, Shell};
use super::target::Target;
use crate::cli::{Cli, Command};
use crate::gateway::connection::{GatewayConnection, Reconnect};
use crate::gateway::driver::Driver;
use crate::gateway::local::LocalSide;
use crate::gateway::redactor::Redactor;
use crate::platform::console::WindowSize;
use crate::shell::{Escapes, OutputState, ShellInput, ShellOutput};
use session_manager_proto::frame::{Frame, FrameType, Sequence, Version};
use session_manager_proto::session::{End, Failure, Session};
use session_manager_proto::status::ReasonKind;

/// Longer than any of these sessions.
const PATIENCE: Duration = Duration::from_secs(5 * 3600);
const HOUR: u64 = 3600;
/// How long before its end an idle session is warned of.
const WARNING: Duration = Duration::from_secs(15);

type Gateway = SplitSink<WebSocketStream<DuplexStream>, Message>;

/// What came of a session, in seconds since its prompt.
#[derive(Debug)]
struct Seen {
    warned: Vec<(u64, Duration)>,
    ended: u64,
    end: End,
    /// Frames of empty Input.
    keepalives: usize,
}

fn frame(kind: FrameType, sequence: i64, payload: &[u8]) -> Message {
    let frame = Frame {
        kind,
        version: Version::V1_01,
        channel_id: Bytes::from_static(b"d-1"),
        instance_id: Bytes::new(),
        created_ms: 1,
        sequence: Sequence::Single(sequence),
        payload: Bytes::copy_from_slice(payload),
    };
    Message::Binary(frame.encode().unwrap())
}

fn never<'a>(_: Bytes) -> Reconnect<'a> {
    unreachable!("it is of version 1.01")
}

/// The plan of `ecs-bridge session i-1` with these options.
fn plan(options: &[&str]) -> Plan {
    let line = ["ecs-bridge", "session", "i-1"].iter().chain(options);
    let Command::Session(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
    let target = Target { instance: "i-1".to_owned(), name: None, remote_host: None, port: None };
    let (_, window) = watch::channel(WindowSize::default());
    let shell = Shell { user_name: None, command_line: None, password_name: None, window };
    Plan::shell(target, &args, shell)
}

/// Runs a shell on a terminal until it ends. `play` has its keys and its gateway, once there is a prompt.
async fn shell<F>(options: &[&str], play: impl FnOnce(DuplexStream, Gateway) -> F) -> Seen
where
    F: Future<Output = (DuplexStream, Gateway)>,
{
    let (near, far) = duplex(64 * 1024);
    let near = crate::gateway::upgrade::GatewayIo::new(Box::new(near));
    let (socket, gateway) = tokio::join!(
        WebSocketStream::from_raw_socket(near, Role::Client, None),
        WebSocketStream::from_raw_socket(far, Role::Server, None)
    );
    let (mut gateway, mut frames) = gateway.split();
    let (keys, stdin) = duplex(1024);
    let (stdout, _screen) = duplex(1024);
    let output = Rc::new(OutputState::default());
    let input = ShellInput::keys(stdin, Escapes::new(Some(b'~')), |_, _| {});
    let mut local = LocalSide::new(input, ShellOutput::new(stdout, &output));
    let plan = plan(options);
    let begin = Instant::now();
    let warned = RefCell::new(Vec::new());
    let on_event = |event: SessionEvent<'_>| {
        if let SessionEvent::Notice(Notice::IdleSoon(left)) = event {
            warned.borrow_mut().push((begin.elapsed().as_secs(), left));
        }
    };
    let connection = GatewayConnection {
        reconnect: &never,
        redactor: Redactor::default(),
        agent: None,
        agent_is_queried: false,
        slot_requested: &|| std::future::pending().boxed_local(),
        window: plan.window(),
    };
    let session = Session::new(begin.into_std(), plan.config());
    let run = async {
        let stop = std::future::pending();
        let outcome =
            Driver::new(socket, connection, session, &on_event).run(&mut local, stop).await;
        (outcome.end, begin.elapsed().as_secs())
    };
    let read = async {
        let mut keepalives = 0;
        while let Some(Ok(message)) = frames.next().await {
            let Message::Binary(bytes) = message else { continue };
            let frame = Frame::decode(bytes).unwrap();
            keepalives += usize::from(frame.kind == FrameType::INPUT && frame.payload.is_empty());
        }
        keepalives
    };
    let play = async {
        gateway.send(frame(FrameType::STATUS, 0, &[3])).await.unwrap();
        gateway.send(frame(FrameType::OUTPUT, 0, b"$ ")).await.unwrap();
        play(keys, gateway).await
    };
    let all = async { tokio::join!(run, read, play) };
    let ((end, ended), keepalives, _) = timeout(PATIENCE, all).await.expect("it ends");
    Seen { warned: warned.take(), ended, end, keepalives }
}

fn idle(seconds: u64) -> End {
    End::Failed(Failure::Idle(Duration::from_secs(seconds)))
}

#[tokio::test(start_paused = true)]
async fn a_quiet_shell_is_warned_of_after_165_s_and_ended_after_180() {
    for (options, after) in [
        (&[][..], 180),
        (&["--idle-timeout", "60"], 60),
        (&["--idle-timeout", "7200", "--keepalive", "0"], 7200),
    ] {
        let seen = shell(options, |keys, gateway| async { (keys, gateway) }).await;
        assert_eq!(seen.warned, [(after - 15, WARNING)], "{options:?}");
        assert_eq!((seen.ended, &seen.end), (after, &idle(after)), "{options:?}");
        let keepalives = if options.len() > 2 { 0 } else { after as usize / 50 };
        assert_eq!(seen.keepalives, keepalives, "keepalives are no use of it: {options:?}");
    }
}

/// Behind the warning, and before it: the time begins anew.
#[tokio::test(start_paused = true)]
async fn a_key_and_output_keep_a_shell() {
    for is_key in [true, false] {
        let seen = shell(&[], |mut keys, mut gateway| async move {
            for (sequence, pause) in (1..).zip([170, 170, 100]) {
                sleep(Duration::from_secs(pause)).await;
                match is_key {
                    true => keys.write_all(b"x").await.unwrap(),
                    false => {
                        gateway.send(frame(FrameType::OUTPUT, sequence, b"x")).await.unwrap();
                    }
                }
            }
            (keys, gateway)
        });
        let seen = seen.await;
        let warned = [165, 335, 605].map(|at| (at, WARNING));
        assert_eq!((seen.warned, seen.ended, seen.end), (warned.to_vec(), 620, idle(180)));
    }
}

/// The agent ends every session after three hours, a shell that may be idle for ever too.
#[tokio::test(start_paused = true)]
async fn a_shell_that_may_be_idle_is_kept_until_the_service_s_limit() {
    let seen = shell(&["--idle-timeout", "0"], |keys, mut gateway| async {
        sleep(Duration::from_secs(3 * HOUR)).await;
        gateway.send(frame(FrameType::STATUS, 0, b"\x05SessionTimeout")).await.unwrap();
        (keys, gateway)
    });
    let seen = seen.await;
    assert_eq!((seen.warned.as_slice(), seen.ended), (&[][..], 3 * HOUR));
    let End::Failed(Failure::Ended(reason)) = seen.end else { panic!("{seen:?}") };
    assert_eq!(reason.kind(), ReasonKind::SessionTimeout);
    // The agent ends a session 180 s after the last frame of this side.
    assert!((215..=216).contains(&seen.keepalives), "{}", seen.keepalives);
}
