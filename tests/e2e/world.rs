//! One world a test: a cloud, an instance with an SSH server, keys, and an ssh_config.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use local_cloud::ssh_server::SshServer;
use local_cloud::{Agent, Builder, Instance, LocalCloud, Pace};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// The instance of every world.
pub(crate) const INSTANCE: &str = "i-bp1example0001";
/// Another host that the instance can reach.
pub(crate) const INNER: &str = "inner.example.internal";
/// No program of a test may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Fast enough that a test need not wait for 5 MB, slow enough that the pace is felt: 8 MB/s.
const LIMIT: u64 = 64_000_000;

/// Which SSH server plays the instance's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    InProcess,
    OpenSsh,
}

/// A cloud, an instance, and what `ssh` needs to reach it.
pub(crate) struct World {
    pub(crate) cloud: LocalCloud,
    pub(crate) dir: TempDir,
    pub(crate) addr: SocketAddr,
    _server: Running,
}

#[allow(dead_code, reason = "owned so that it ends with the test")]
enum Running {
    InProcess(SshServer),
    OpenSsh(JoinSet<()>),
    Daemon(Child),
}

impl World {
    /// `None` if the server is not installed, and that is not a failure.
    pub(crate) async fn new(server: Server, agent: Agent) -> Option<Self> {
        Self::with(server, Instance::new(INSTANCE).agent(agent).pace(Pace::announced(LIMIT))).await
    }

    /// A world with an instance of the test's own; its ports 22 and 2200 and the host [`INNER`]
    /// lead to the SSH server.
    pub(crate) async fn with(server: Server, instance: Instance) -> Option<Self> {
        Self::in_cloud(server, LocalCloud::builder(), instance).await
    }

    /// The same with a cloud of the test's own, too.
    pub(crate) async fn in_cloud(
        server: Server,
        builder: Builder,
        instance: Instance,
    ) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        make_key(dir.path(), "id").await;
        let public = std::fs::read_to_string(dir.path().join("id.pub")).unwrap();
        let (running, addr, host_key) = match server {
            Server::InProcess => {
                let server = SshServer::builder()
                    .authorized_key(public)
                    .root_dir(dir.path())
                    .start()
                    .await
                    .unwrap();
                let (addr, key) = (server.addr(), server.host_key_openssh().to_owned());
                (Running::InProcess(server), addr, key)
            }
            Server::OpenSsh => {
                let sshd = installed("sshd")?;
                let (tasks, addr, key) = start_sshd(sshd, dir.path()).await;
                (Running::OpenSsh(tasks), addr, key)
            }
        };
        let instance = instance.target(22, addr).target(2200, addr).remote(INNER, 22, addr);
        let cloud = builder.instance(instance).start().await.unwrap();
        let world = Self { cloud, dir, addr, _server: running };
        world.write_config(&host_key).await;
        Some(world)
    }

    /// A world whose `sshd` lets in whom the cloud has registered, as the key plug-in makes it, and
    /// nobody else.
    pub(crate) async fn of_registered_keys(builder: Builder, instance: Instance) -> Option<Self> {
        let curl = installed("curl")?;
        let instance = instance.pace(Pace::announced(LIMIT));
        let world = Self::in_cloud(Server::OpenSsh, builder, instance).await?;
        let ask = format!("AuthorizedKeysFile none\n{}", ask_cloud(&world.cloud, &curl).await);
        write_sshd_config(world.dir.path(), &ask);
        Some(world)
    }

    /// A world whose `sshd` is one process for all connections, and lets nobody in before the key
    /// plug-in is installed, which configures and restarts it. Then it lets in whom the cloud has
    /// registered. `change` is for the instance's sshd.
    #[cfg(target_os = "linux")]
    pub(crate) async fn without_plugin(
        instance: Instance,
        change: impl FnOnce(local_cloud::Sshd) -> local_cloud::Sshd,
    ) -> Option<Self> {
        let (sshd, curl) = (installed("sshd")?, installed("curl")?);
        let dir = TempDir::new().unwrap();
        make_key(dir.path(), "id").await;
        make_key(dir.path(), "host").await;
        let (config, pid_file) = (dir.path().join("sshd_config"), dir.path().join("sshd.pid"));
        let addr = own_address();
        let listen = format!(
            "ListenAddress {addr}\nPidFile {}\nAuthorizedKeysFile none",
            pid_file.display()
        );
        write_sshd_config(dir.path(), &listen);
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&config).kill_on_drop(true).env_clear();
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let listens = async {
            while !pid_file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("sshd listens in time");

        let instance = instance.pace(Pace::announced(LIMIT)).target(22, addr);
        let cloud = LocalCloud::builder().instance(instance).start().await.unwrap();
        let lines = ask_cloud(&cloud, &curl).await;
        let sshd = change(local_cloud::Sshd::new(config, pid_file, lines));
        cloud.update_instance(INSTANCE, |instance| instance.commands.sshd = Some(sshd));
        let host_key = std::fs::read_to_string(dir.path().join("host.pub")).unwrap();
        let world = Self { cloud, dir, addr, _server: Running::Daemon(daemon) };
        world.write_config(&host_key).await;
        Some(world)
    }

    async fn write_config(&self, host_key: &str) {
        let user = user().await;
        let known_hosts = format!("instance {}\n", host_key.trim());
        std::fs::write(self.dir.path().join("known_hosts"), known_hosts).unwrap();
        let common = format!(
            "  User {user}\n  IdentityFile {dir}/id\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             HostKeyAlias instance\n  UserKnownHostsFile {dir}/known_hosts\n  \
             StrictHostKeyChecking yes\n  LogLevel ERROR\n  ControlPath {dir}/control\n",
            dir = self.dir.path().display(),
        );
        let bridge = env!("CARGO_BIN_EXE_ecs-bridge");
        let config = format!(
            "Host i-*\n  ProxyCommand {bridge} {log} proxy %h %p\n{common}\
             Host inner\n  ProxyCommand {bridge} {log} proxy {INSTANCE} %p --remote-host {INNER}\n{common}\
             Host plain\n  HostName {ip}\n  Port {port}\n{common}",
            log = format_args!("-vvv --log-file {}", self.path("log").display()),
            ip = self.addr.ip(),
            port = self.addr.port(),
        );
        std::fs::write(self.config(), config).unwrap();
    }

    /// The path of the ssh_config.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("ssh_config")
    }

    /// A path in the world's folder, which is also where the instance's commands run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program that finds `ecs-bridge`'s credentials and no others in its environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command(program, &self.cloud, self.dir.path())
    }

    /// `ssh`, `scp` or `sftp` with the world's configuration.
    pub(crate) fn openssh(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.arg("-F").arg(self.config());
        command
    }

    /// `ssh -F …` as one word, for programs that start ssh themselves.
    pub(crate) fn ssh_words(&self) -> String {
        format!("ssh -F {}", self.config().display())
    }

    /// Nothing that the cloud has seen was wrong, and every session has been ended.
    pub(crate) async fn check(&self) {
        let ended = self.cloud.wait_for(
            |state| state.sessions().all(|session| session.ended_by_api && session.live == 0),
            Duration::from_secs(10),
        );
        ended.await.expect("every session is ended");
        for session in self.cloud.sessions() {
            assert_eq!(session.violations, Vec::<String>::new());
            assert_ne!(session.end_reason.as_deref(), Some("FlowExceedLimit"));
            assert_eq!(session.dropped_bytes, 0, "an older agent dropped early input");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
            eprintln!("{:#?}", self.cloud.sessions());
        }
    }
}

/// Whether these tests were started by nohup: `ecs-bridge` would take it for its own wish.
static HANGUP_IS_IGNORED: LazyLock<bool> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0
});

/// A program that finds the credentials of a cloud in its environment and no others, in a folder of
/// its own, which is also its home.
pub(crate) fn command(program: impl AsRef<OsStr>, cloud: &LocalCloud, dir: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    if *HANGUP_IS_IGNORED {
        // A test may give it another PATH.
        command = Command::new(installed("env").expect("env is installed"));
        command.arg("--default-signal=HUP").arg(program.as_ref());
    }
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let settings = ["ALI", "BASH_ENV", "ECS_BRIDGE", "GIT_", "SSH_AUTH", "SSL_CERT", "XDG_"];
        let is_of_proxies = text.to_ascii_lowercase().ends_with("_proxy");
        if is_of_proxies || settings.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    // ssh starts its ProxyCommand by the user's shell, which reads whatever it is used to.
    command.envs(cloud.env()).env("HOME", dir).env("SHELL", "/bin/sh").env_remove("ENV");
    command.env("ECS_BRIDGE_STS_ENDPOINT", cloud.endpoint());
    command.env("ECS_BRIDGE_METADATA_URL", cloud.metadata_url());
    // The log that is always written.
    command.env("XDG_STATE_HOME", dir.join("state"));
    command.env("ECS_BRIDGE_OAUTH_URL", cloud.endpoint());
    command.current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// All that the daily log in a test's folder has.
pub(crate) fn daily_log(dir: &Path) -> String {
    let mut files: Vec<_> = log_files(dir).collect();
    files.sort();
    files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The files of the daily log, the last failure among them.
pub(crate) fn log_files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir.join("state/ecs-bridge/log"));
    entries.into_iter().flatten().map(|entry| entry.unwrap().path())
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Output {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    output.expect("the program ends in time").expect("the program starts")
}

/// Runs a program that has to succeed, and gives its stdout.
pub(crate) async fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command.stderr(Stdio::piped())).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}

/// The path of a program, or `None` if it is not installed and that is not a failure.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder: PathBuf| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Writes an executable file. `sh` does it: a program that another test starts at that moment would inherit the file from
/// this process, open for writing, and until it runs nobody could execute the file ("Text file busy").
pub(crate) fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut sh = sh.spawn().unwrap();
    sh.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(sh.wait().unwrap().success(), "{} is not written", path.display());
}

pub(crate) async fn make_key(dir: &Path, name: &str) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(dir.join(name));
    succeed(&mut keygen).await;
}

/// What `sshd` is started with; `authorized` says who is let in. Commands are run by the user's own
/// shell, and have the folder for a home: what that shell reads at its start could write to stderr. By
/// SHLVL, bash does not take itself for one that an sshd has started, which reads such files too.
pub(crate) fn write_sshd_config(dir: &Path, authorized: &str) {
    let text = format!(
        "{authorized}\nHostKey {dir}/host\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPermitUserRC no\nSetEnv HOME={dir} SHLVL=1\nPidFile none\nMaxSessions 20\nSubsystem sftp internal-sftp\n\
         AcceptEnv GIT_PROTOCOL\nLogLevel ERROR\nForceCommand cd {dir} && \
         if [ \"$SSH_ORIGINAL_COMMAND\" = internal-sftp ]; then exec {sftp}; \
         else eval \"$SSH_ORIGINAL_COMMAND\"; fi\n",
        dir = dir.display(),
        sftp = sftp_server().display(),
    );
    std::fs::write(dir.join("sshd_config"), text).unwrap();
}

/// What makes an `sshd` ask a cloud for keys, as the key plug-in does.
async fn ask_cloud(cloud: &LocalCloud, curl: &Path) -> String {
    format!(
        "AuthorizedKeysCommandUser {user}\nAuthorizedKeysCommand {curl} -sf {url}&user=%u",
        user = user().await,
        curl = curl.display(),
        url = cloud.authorized_keys_url(INSTANCE),
    )
}

/// An address of this machine that nobody else uses: a server that restarts finds it free again.
#[cfg(target_os = "linux")]
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    ([127, high, low, NEXT.fetch_add(1, Ordering::Relaxed)], 22_022).into()
}

/// OpenSSH's server, one process a connection, on a port that was free.
pub(crate) async fn start_sshd(sshd: PathBuf, dir: &Path) -> (JoinSet<()>, SocketAddr, String) {
    make_key(dir, "host").await;
    let config = dir.join("sshd_config");
    write_sshd_config(dir, &format!("AuthorizedKeysFile {}/id.pub", dir.display()));
    // Where sshd is root it wants this folder, which only its service makes.
    let _ = std::fs::create_dir_all("/run/sshd");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sshd, config) = (Arc::new(sshd), Arc::new(config));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let socket = socket.into_std().unwrap();
            socket.set_nonblocking(false).unwrap();
            let (stdin, stdout) =
                (OwnedFd::from(socket.try_clone().unwrap()), OwnedFd::from(socket));
            let mut command = Command::new(&*sshd);
            command.args(["-i", "-e", "-f"]).arg(&*config).kill_on_drop(true);
            command.env_clear().stdin(stdin).stdout(stdout).stderr(Stdio::inherit());
            connections.spawn(async move { command.status().await });
        }
    });
    (tasks, addr, std::fs::read_to_string(dir.join("host.pub")).unwrap())
}

/// Who runs the tests, and is logged in as.
pub(crate) async fn user() -> String {
    let user = succeed(Command::new("id").arg("-un")).await;
    String::from_utf8(user).unwrap().trim().to_owned()
}

/// Where distributions put it.
fn sftp_server() -> PathBuf {
    let folders = ["/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec"];
    let found = folders.iter().map(|folder| Path::new(folder).join("sftp-server"));
    found.into_iter().find(|path| path.is_file()).expect("sshd comes with an sftp-server")
}

/// `len` bytes that do not repeat and are the same every time. They are made a word at a time: 64 MB
/// take half a second even unoptimized, in which nothing else of a test goes on.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Makes a test of each function for every SSH server and every agent.
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        everywhere!(@ in_process_older_agent, InProcess, a, $($test),+);
        everywhere!(@ in_process_newer_agent, InProcess, d, $($test),+);
        everywhere!(@ openssh_older_agent, OpenSsh, a, $($test),+);
        everywhere!(@ openssh_newer_agent, OpenSsh, d, $($test),+);
    };
    (@ $module:ident, $server:ident, $agent:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let server = $crate::world::Server::$server;
                    let agent = local_cloud::Agent::$agent().quick();
                    if let Some(world) = $crate::world::World::new(server, agent).await {
                        super::$test(&world).await;
                        world.check().await;
                    }
                }
            )+
        }
    };
}
