//! The binary alone against the stand-in cloud: no ssh, and the test itself plays the target.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use local_cloud::{Builder, Instance, LocalCloud, SessionRecord};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::world::{INSTANCE, PATIENCE, command, run};

/// A port whose remote side does not speak first.
pub(crate) const QUIET_PORT: &str = "6379";
/// What an ssh client says first.
pub(crate) const BANNER: &[u8] = b"SSH-2.0-test\r\n";
/// The 2 s within which everything is to be over once it has to end, and what a busy machine adds.
pub(crate) const SOON: Duration = Duration::from_secs(3);
/// Nothing moved for so long: whoever should read has stopped.
pub(crate) const STILL: Duration = Duration::from_secs(1);
/// More bytes than all the buffers of pipes and sockets between two programs hold.
pub(crate) const PLENTY: usize = 64 << 20;

/// A cloud with one instance, whose ports 22 and [`QUIET_PORT`] lead to the test.
pub(crate) struct Lab {
    pub(crate) cloud: LocalCloud,
    pub(crate) dir: TempDir,
    /// What stands first in PATH: an `ssh` that comes through the binary, and has a key.
    pub(crate) programs: TempDir,
    listener: TcpListener,
}

/// What it says for `ssh -G` is in `~/ssh-G` where there is such a file.
const SSH: &str = r#"#!/bin/sh
if test "$1" = -V; then
    echo "${SSH_VERSION:-OpenSSH_9.9p1}, OpenSSL 3.0.19" >&2
elif test -f "$HOME/ssh-G"; then
    . "$HOME/ssh-G"
else
    for host; do :; done
    case "$host" in i-*|mi-*|*.ecs) echo "proxycommand @BRIDGE@ proxy '$host' 22" ;; esac
    echo "identityfile $0"
fi
"#;

impl Lab {
    /// A lab with an instance of the test's own.
    pub(crate) async fn new(instance: Instance) -> Self {
        Self::with(LocalCloud::builder(), instance).await
    }

    /// A lab with a cloud of the test's own, too.
    pub(crate) async fn with(builder: Builder, instance: Instance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let instance = instance.target(22, addr).target(QUIET_PORT.parse().unwrap(), addr);
        let cloud = builder.instance(instance).start().await.unwrap();
        let (dir, programs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let ssh = SSH.replace("@BRIDGE@", env!("CARGO_BIN_EXE_ecs-bridge"));
        crate::world::program(&programs.path().join("ssh"), &ssh);
        Self { cloud, dir, programs, listener }
    }

    /// The binary under test, with the cloud's credentials in its environment.
    pub(crate) fn bridge<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_ecs-bridge"), &self.cloud, self.dir.path());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.programs.path().to_owned()].into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
        command.args(args).env("PATH", path);
        command
    }

    /// Starts `ecs-bridge proxy` to the instance with pipes that the test holds.
    pub(crate) fn start(&self, args: &[&str]) -> Bridge {
        Bridge::start(&mut self.bridge(["proxy", INSTANCE].iter().chain(args)))
    }

    /// The agent's next connection to the target.
    pub(crate) async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.accept_if_dialled()).await.expect("the agent dials")
    }

    /// The same, but there may never be one.
    pub(crate) async fn accept_if_dialled(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Waits for something to be true of a session.
    pub(crate) async fn session(&self, fits: impl FnMut(&SessionRecord) -> bool) -> SessionRecord {
        self.cloud.wait_for_session(fits, PATIENCE).await.unwrap()
    }

    /// How many calls of an action the API has had so far.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.cloud.calls().iter().filter(|call| call.action == action).count()
    }

    /// Waits until each session was ended by the API, and checks what they did until then.
    pub(crate) async fn all_ended(&self) {
        let ended = |session: &SessionRecord| session.ended_by_api && session.live == 0;
        let all = self.cloud.wait_for(|state| state.sessions().all(ended), SOON);
        all.await.expect("every session is ended by the API");
        for session in self.cloud.sessions() {
            assert_eq!(session.violations, Vec::<String>::new());
        }
    }
}

/// A running `ecs-bridge`.
pub(crate) struct Bridge {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    log: watch::Receiver<String>,
    reading_log: JoinHandle<()>,
    started: Instant,
}

impl Bridge {
    /// Starts it, with pipes where the command has nothing else in their place.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::start_as_it_is(command)
    }

    /// The same with the command's own stdin and stdout.
    pub(crate) fn start_as_it_is(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = watch::channel(String::new());
        let reading_log = tokio::spawn(async move {
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
                sender.send_modify(|log| log.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
        });
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Self { child, stdin, stdout, log, reading_log, started }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// Writes to its stdin.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        timeout(PATIENCE, stdin.write_all(bytes)).await.expect("stdin is read").unwrap();
    }

    /// Reads from its stdout, and finds it to be this.
    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        let stdout = self.stdout.as_mut().expect("stdout is open");
        let mut got = vec![0; bytes.len()];
        let read = timeout(PATIENCE, stdout.read_exact(&mut got)).await;
        read.expect("it comes in time").expect("it comes whole");
        assert!(got == bytes, "something else came: {:?}", String::from_utf8_lossy(&got));
    }

    /// Waits for a line on its stderr that contains this.
    pub(crate) async fn logged(&mut self, text: &str) {
        self.logged_often(text, 1).await;
    }

    /// The same for so many of them.
    pub(crate) async fn logged_often(&mut self, text: &str, times: usize) {
        let often = |log: &String| log.matches(text).count() >= times;
        let found = timeout(PATIENCE, self.log.wait_for(often)).await;
        found.expect("it is logged in time").expect("it is logged before the end");
    }

    /// Its stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Sends it a signal: `HUP`, `INT`, `TERM`.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = run(Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid])).await;
        assert!(sent.status.success());
    }

    /// A number of `/proc/PID/status`, in KiB: `VmRSS`, `VmHWM`, `RssFile`.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    /// The processor time that it has used so far.
    #[cfg(target_os = "linux")]
    pub(crate) fn busy(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name: state is the first, utime and stime the 12th and 13th, in hundredths.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Waits for its end, while its stdin stays as it is.
    pub(crate) async fn end(mut self) -> Ended {
        let mut out = Vec::new();
        let end = async {
            if let Some(mut stdout) = self.stdout.take() {
                stdout.read_to_end(&mut out).await.unwrap();
            }
            let status = self.child.wait().await.unwrap();
            (status.code(), self.started.elapsed())
        };
        let (code, took) = timeout(PATIENCE, end).await.expect("it ends in time");
        timeout(PATIENCE, self.reading_log).await.expect("nobody else has its stderr").unwrap();
        Ended { code, stdout: out, stderr: self.log.borrow().clone(), took }
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// It ended with 0, and had nothing to say.
    pub(crate) fn well(&self, stdout: &[u8]) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert_eq!(self.stderr, "");
        self.said(stdout);
    }

    /// Its stdout was this and nothing else.
    pub(crate) fn said(&self, stdout: &[u8]) {
        let got = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(200)]);
        let lens = (self.stdout.len(), stdout.len());
        assert!(self.stdout == stdout, "stdout: {} bytes for {}: {got:?}…", lens.0, lens.1);
    }

    /// Takes the one report on stderr apart. Anything else on stderr is a failure.
    pub(crate) fn report(&self) -> Result<Report, String> {
        let mut report = Report::default();
        let mut current = &mut report.what;
        let (first, rest) = self.stderr.split_once('\n').ok_or("stderr has no line")?;
        *current = first.strip_prefix("ecs-bridge: error: ").ok_or("no report")?.to_owned();
        for line in rest.lines() {
            if let Some(text) = line.strip_prefix("  why: ") {
                current = &mut report.why;
                text.clone_into(current);
            } else if let Some(text) = line.strip_prefix("  fix: ") {
                current = &mut report.fix;
                text.clone_into(current);
            } else if let Some(text) = line.strip_prefix("  RequestId: ") {
                current = &mut report.request_id;
                text.clone_into(current);
            } else if let Some(text) = line.strip_prefix("       ") {
                current.push('\n');
                current.push_str(text);
            } else {
                return Err(format!("a line that is of no report: {line}"));
            }
        }
        Ok(report)
    }
}

/// The parts of a report, empty where it has none.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    pub(crate) request_id: String,
}

/// An address that refuses connections, and that nobody else is given as long as this is held.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = bound.local_addr().unwrap();
    (bound, addr)
}

/// A connection to a socket that is listened on some time, of which nothing tells.
pub(crate) async fn connected(socket: &Path) -> UnixStream {
    let connected = async {
        loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("it listens")
}

/// Writes until it is not taken any more, and says how much was.
pub(crate) async fn fill(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        let end = bytes.len().min(taken + 65_536);
        match timeout(STILL, writer.write(&bytes[taken..end])).await {
            Ok(count) => taken += count.unwrap(),
            Err(_) => break,
        }
    }
    taken
}
