//! Plays a cell: the fault, the command, something to carry, and a look at what came of it.

use std::io::ErrorKind;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_cloud::{Instance, LocalCloud, Pace};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AGENTS, By, Cell, Load, Row, Scene, Speaks};
use crate::forward_driver::{Forward, Server, text};
use crate::lab::{Bridge, Lab};
use crate::terminal::by as by_way_of;
use crate::world::{INSTANCE, World, make_key, noise, run};

/// What the target says first: that it is there.
const HELLO: &[u8] = b"220 echo here\n";
/// The port where it listens.
const PORT: &str = "7";
/// Fast enough that a test need not wait for 20 MB, slow enough that the pace is felt: 8 MB/s.
const LIMIT: u64 = 64_000_000;
/// The end of what is carried, by which its end is known although something before it is missing.
const TAIL: usize = 64;
/// What a busy machine adds.
const MARGIN: Duration = Duration::from_secs(60);
/// So many cells of all tests are played at once: more would take the processor from each other, and a session
/// that is not ended by the API within 1.6 s is left to the service.
static CARRYING: Semaphore = Semaphore::const_new(12);
/// One of them that carries megabytes counts for so many.
const HEAVY: u32 = 3;
/// The same of those that wait for most of their time. They count among the others for as long as they start.
static WAITING: Semaphore = Semaphore::const_new(30);
/// One of them that carries megabytes, once its minute is over, counts for so many.
const HEAVY_WAITING: u32 = 2;
const START: Duration = Duration::from_secs(3);

/// Plays every cell of some rows, and says of each one that is not as promised which it is.
pub(super) async fn all(rows: Vec<Row>) {
    let mut running = JoinSet::new();
    for row in rows {
        let row = Arc::new(row);
        for by in [By::Proxy, By::Forward] {
            for (speaks, cell) in AGENTS.into_iter().zip(row.cells(by)) {
                if cell == Cell::NotPlayed {
                    continue;
                }
                let waits = row.within >= 30;
                let (weight, waiting_weight) = match (row.load.is_heavy(), waits) {
                    (true, true) => (HEAVY, HEAVY_WAITING),
                    (true, false) => (HEAVY, 1),
                    (false, _) => (1, 1),
                };
                let row = Arc::clone(&row);
                running.spawn(async move {
                    let name = format!("{}: {by:?}, {speaks:?}", row.fault);
                    let _waiting = match waits {
                        true => Some(WAITING.acquire_many(waiting_weight).await.unwrap()),
                        false => None,
                    };
                    let carrying = CARRYING.acquire_many(weight).await.unwrap();
                    let played = async move { play(&row, by, speaks, cell).await };
                    let mut played = tokio::spawn(played);
                    let started = if waits { START } else { Duration::MAX };
                    let played = match timeout(started, &mut played).await {
                        Ok(played) => played,
                        Err(_) => {
                            drop(carrying);
                            played.await
                        }
                    };
                    (name, played.unwrap_or_else(|panic| Err(panic.to_string())))
                });
            }
        }
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        if let (name, Err(how)) = done.unwrap() {
            failed.push(format!("{name}: {how}"));
        }
    }
    failed.sort();
    assert!(failed.is_empty(), "not as promised:\n{}", failed.join("\n"));
}

/// What came of it.
#[derive(Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    /// Of `proxy`; nothing where ssh hides it.
    code: Option<i32>,
    /// Whether a connection of `forward` was reset.
    reset: bool,
    said: String,
}

async fn play(row: &Row, by: By, speaks: Speaks, cell: Cell) -> Result<(), String> {
    let instance =
        Instance::new(INSTANCE).agent(speaks.agent().quick()).pace(Pace::announced(LIMIT));
    let scene = Scene {
        builder: LocalCloud::builder(),
        instance,
        env: Vec::new(),
        prepare: Vec::new(),
        during: None,
        is_full: false,
    };
    let scene = (row.change)(scene);
    let limit = Duration::from_secs(row.within) + MARGIN;
    let started = Instant::now();
    let played = async {
        match row.load {
            Load::Ssh => ssh(row, scene, by, cell).await,
            load => raw(row, scene, (by, speaks), cell, load).await,
        }
    };
    let played = timeout(limit, played).await;
    let how = played.map_err(|_| format!("not over within {limit:?}"))?;
    eprintln!("--- {}: {by:?}, {speaks:?}: {:?}", row.fault, started.elapsed());
    how
}

/// What the target answers to all that it was to get.
const DONE: &[u8] = b"I have got all of that";

/// Plays the target's part of a load.
async fn serve(mut stream: TcpStream, load: Load, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(HELLO).await?;
    match load {
        Load::Down { .. } => return stream.write_all(bytes).await,
        Load::Up { wait, .. } => {
            sleep(wait).await;
            let mut got = vec![0; bytes.len()];
            stream.read_exact(&mut got).await?;
            if got == bytes {
                stream.write_all(DONE).await?;
            }
        }
        Load::Echo(_) | Load::Ssh => {}
    }
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await.map(|_| ())
}

async fn raw(
    row: &Row,
    scene: Scene,
    (by, speaks): (By, Speaks),
    cell: Cell,
    load: Load,
) -> Result<(), String> {
    let (len, reader_waits) = match load {
        Load::Down { len, wait } => (len, wait),
        Load::Up { len, .. } | Load::Echo(len) => (len, Duration::ZERO),
        Load::Ssh => unreachable!("it is played elsewhere"),
    };
    let bytes = Arc::new(noise(len));
    // Only for its first connection.
    let first = Arc::new(Mutex::new(Some((load, Arc::clone(&bytes)))));
    let server = Server::start(move |stream: TcpStream| {
        let first = first.lock().unwrap().take();
        async move {
            let (load, bytes) = first.unwrap_or((Load::Echo(0), Arc::default()));
            serve(stream, load, &bytes).await
        }
    });
    let server = server.await;
    let instance = scene.instance.target(PORT.parse().unwrap(), server.addr);
    let lab = Lab::with(scene.builder, instance).await;
    for prepare in &scene.prepare {
        prepare(&lab);
    }
    let (bytes, answer) = match load {
        Load::Down { .. } => (&[][..], &bytes[..]),
        Load::Up { .. } => (&bytes[..], DONE),
        _ => (&bytes[..], &bytes[..]),
    };
    let expected = [HELLO, answer].concat();
    let common = |command: &mut Command| {
        // A cell that fails for a quota is not to wait for another outcome.
        command.args(["--linger", "0", "--wait", "0"]);
        if speaks == Speaks::A {
            // It drops what comes before it has dialled, and a busy machine may take its time for that: the
            // target's first words say when.
            command.args(["--ready-delay", "5"]);
        }
        command.envs(scene.env.iter().map(|(name, value)| (name, value)));
    };
    let carried = async {
        match by {
            By::Proxy => {
                let mut command = lab.bridge(["proxy", INSTANCE, PORT]);
                common(&mut command);
                if scene.is_full {
                    make_key(lab.dir.path(), "id").await;
                    command.args(["--user", "root", "--send-key", "id.pub"]);
                    command = by_way_of(&["sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"], &command);
                }
                Ok(proxy(&mut command, bytes, &expected, reader_waits).await)
            }
            By::Forward => {
                let listen = format!("0:localhost:{PORT}");
                let args = ["forward", "--json", "-i", INSTANCE, "-L", &listen, "--no-probe"];
                let mut command = lab.bridge(args);
                common(command.args(["--grace", "0"]));
                forward(&lab, &mut command, bytes, &expected, reader_waits, row).await
            }
        }
    };
    let during = async {
        if let Some(during) = scene.during {
            during(&lab).await;
        }
        std::future::pending().await
    };
    let got = tokio::select! {
        got = carried => got?,
        () = during => unreachable!("it only goes beside"),
    };
    judge(cell, by, &got, &expected)?;
    if row.unknown {
        // Whoever never heard its id can neither connect to it nor end it.
        lab.session(|session| session.connections == 0).await;
    } else {
        lab.all_ended().await;
    }
    Ok(())
}

async fn proxy(command: &mut Command, bytes: &[u8], expected: &[u8], waits: Duration) -> Got {
    let mut bridge = Bridge::start(command);
    let (mut stdin, mut stdout) = (bridge.stdin.take().unwrap(), bridge.stdout.take().unwrap());
    let (got, _) = carry(&mut stdout, &mut stdin, bytes, expected, waits).await;
    drop(stdin);
    let mut got = Got { bytes: got, ..Got::default() };
    // Whatever comes behind the end is not to be there.
    let _ = stdout.read_to_end(&mut got.bytes).await;
    let ended = bridge.end().await;
    got.code = ended.code;
    got.said = ended.stderr;
    got
}

async fn forward(
    lab: &Lab,
    command: &mut Command,
    bytes: &[u8],
    expected: &[u8],
    waits: Duration,
    row: &Row,
) -> Result<Got, String> {
    let mut forward = Forward::run(command);
    let mut got = Got::default();
    match TcpStream::connect(forward.address().await).await {
        Ok(mut stream) => {
            let (mut reader, mut writer) = stream.split();
            (got.bytes, got.reset) = carry(&mut reader, &mut writer, bytes, expected, waits).await;
        }
        // It was reset before it was here.
        Err(_) => got.reset = true,
    }
    forward.told(1, "closed").await;
    if let Some(error) = forward.so_far("error").first() {
        got.said = told(error);
    }
    if !row.stays {
        lab.cloud.faults().clear();
        lab.cloud.update_access_key("testid", |key| key.state = local_cloud::KeyState::Active);
        let mut stream = TcpStream::connect(forward.address().await).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let again = [HELLO, b"and now?"].concat();
        let (got, _) = carry(&mut reader, &mut writer, b"and now?", &again, Duration::ZERO).await;
        if got != again {
            return Err(format!("the next connection got {:?}", String::from_utf8_lossy(&got)));
        }
        drop(stream);
        forward.told(2, "closed").await;
    }
    if !row.unknown {
        // Once it is asked to stop, EndTerminalSession has a moment and no more.
        lab.all_ended().await;
    }
    let over = forward.stop("TERM").await;
    got.said.push_str(&over.ended.stderr);
    Ok(got)
}

fn told(error: &Value) -> String {
    format!("{} {}", text(error, "message"), error["why"])
}

/// Sends and receives at the same time, until all is there, or nothing more comes. Whether it ended
/// with an error of the connection.
async fn carry(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    expected: &[u8],
    waits: Duration,
) -> (Vec<u8>, bool) {
    let tail = &expected[expected.len().saturating_sub(TAIL)..];
    let mut got = Vec::with_capacity(expected.len());
    let read = async {
        sleep(waits).await;
        let mut buffer = vec![0; 65_536];
        while !got.ends_with(tail) {
            match reader.read(&mut buffer).await {
                Ok(0) => return false,
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(_) => return true,
            }
        }
        false
    };
    // Whoever is told of a reset first, the other one is not told of it.
    let was_reset = AtomicBool::new(false);
    let write = async {
        if let Err(error) = writer.write_all(bytes).await {
            was_reset.store(error.kind() == ErrorKind::ConnectionReset, Relaxed);
        }
        std::future::pending().await
    };
    let failed = tokio::select! {
        failed = read => failed,
        () = write => unreachable!("it is pending"),
    };
    (got, failed || was_reset.load(Relaxed))
}

async fn ssh(row: &Row, scene: Scene, by: By, cell: Cell) -> Result<(), String> {
    let server = crate::world::Server::InProcess;
    let world = World::in_cloud(server, scene.builder, scene.instance).await.unwrap();
    assert!(scene.prepare.is_empty(), "not for ssh");
    let run_ssh = async |port: Option<String>| {
        let mut ssh = world.openssh("ssh");
        if let Some(port) = port {
            ssh.args(["-o", "ProxyCommand=none", "-o", "HostName=127.0.0.1", "-p", &port]);
        }
        let output = run(ssh.args([INSTANCE, "echo", "hello"])).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Got { bytes: output.stdout, said, ..Got::default() }
    };
    let got = match by {
        By::Proxy => run_ssh(None).await,
        By::Forward => {
            let mut command = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
            command.args(["forward", "--json", "-i", INSTANCE, "--local-port", "0", "--no-probe"]);
            let mut forward = Forward::run(command.args(["--linger", "0", "--grace", "0"]));
            let mut got = run_ssh(Some(forward.port().await)).await;
            forward.told(1, "closed").await;
            if let Some(error) = forward.so_far("error").first() {
                got.said = told(error);
                got.reset = true;
            } else if cell == Cell::Whole {
                got.said.clear();
            }
            if !row.stays {
                world.cloud.faults().clear();
                let again = run_ssh(Some(forward.port().await)).await;
                if again.bytes != b"hello\n" {
                    return Err(format!("the next ssh: {}", again.said));
                }
                forward.told(2, "closed").await;
            }
            // Once it is asked to stop, EndTerminalSession has a moment and no more.
            world.check().await;
            forward.stop("TERM").await;
            got
        }
    };
    judge(cell, by, &got, b"hello\n")?;
    world.check().await;
    Ok(())
}

/// Whether it is as promised.
fn judge(cell: Cell, by: By, got: &Got, expected: &[u8]) -> Result<(), String> {
    let Got { bytes, code, reset, said } = got;
    let is_whole = bytes == expected;
    let is_part = expected.starts_with(bytes);
    let code_fits = |wanted| by == By::Forward || code.is_none_or(|code| code == wanted);
    let fits = match cell {
        Cell::Whole => is_whole && said.is_empty() && code_fits(0) && !reset,
        Cell::Told(words) => is_whole && said.contains(words) && code_fits(0) && !reset,
        Cell::Ends => is_part && said.is_empty() && code_fits(0) && !reset,
        Cell::Fails(wanted, words) => {
            is_part && said.contains(words) && code_fits(wanted) && (by == By::Proxy || *reset)
        }
        // A target that is slow to speak may have been too slow.
        Cell::Warned(words) => {
            !is_whole && said.contains(words) && code_fits(0) && *reset == bytes.is_empty()
        }
        Cell::Unseen => !is_whole && said.is_empty() && code_fits(0),
        Cell::NotPlayed => unreachable!("it was not played"),
    };
    let clean = !said.contains("panicked") && !said.contains("token=") && !said.contains("wss:");
    if fits && clean {
        return Ok(());
    }
    let of = match (is_whole, is_part) {
        (true, _) => "whole",
        (_, true) => "a part",
        _ => "something else",
    };
    let len = bytes.len();
    Err(format!("{len} bytes ({of}), code {code:?}, reset {reset}, wanted {cell:?}: {said}"))
}
