//! A script that is really executed, for the tests that put programs in its way.

use std::{
    env, io, iter,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    fs,
    io::AsyncReadExt as _,
    net::unix::pipe,
    process::{Child, Command},
    time::{Instant, sleep_until},
};

use super::Ending;
use crate::ssh_server::registry::{Kind, ProcessGroup, Registry};

/// So much of what a script writes is kept.
const MAX_OUTPUT: usize = 24 * 1_024;
/// Where programs are looked for behind the test's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For how long output is read on after the script has ended, for something that left its process group and holds
/// the pipe open.
const LINGER: Duration = Duration::from_millis(300);

/// Executes a script, for so long at most.
pub(super) async fn run(
    script: &[u8],
    programs: &Path,
    limit: Duration,
    processes: &Arc<Registry>,
) -> Ending {
    let executed = async {
        let mut running = Running::start(script, programs, processes).await?;
        running.carry(limit).await
    };
    executed.await.unwrap_or_else(|error: io::Error| {
        let info = format!("the command execution got an exception: {error}");
        Ending::new("Error").error("ExecutionException", info)
    })
}

/// Dropped, it kills all that it has started.
struct Running {
    child: Child,
    group: ProcessGroup,
    /// Both standard output and standard error, in the order they were written.
    output: pipe::Receiver,
    _folder: TempDir,
}

impl Running {
    async fn start(script: &[u8], programs: &Path, processes: &Arc<Registry>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (file, home) = (folder.path().join("script.sh"), folder.path().join("home"));
        fs::write(&file, script).await?;
        fs::create_dir(&home).await?;
        let path = iter::once(programs.to_owned()).chain(env::split_paths(SYSTEM_PATH));
        let path = env::join_paths(path).map_err(io::Error::other)?;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.arg(&file).current_dir(&home).env_clear();
        command.env("PATH", path).env("HOME", &home).env("TMPDIR", &home);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = processes.add_child(&child, Kind::Group)?;
        // The ends that the command holds are closed with it: what is read ends with the last process.
        drop(command);
        let output = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok(Self { child, group, output, _folder: folder })
    }

    async fn carry(&mut self, limit: Duration) -> io::Result<Ending> {
        let (mut output, mut chunk) = (Output::default(), [0; 4_096]);
        let (mut ended, mut timed_out, mut open) = (None, false, true);
        let mut until = Instant::now() + limit;
        while open || ended.is_none() {
            tokio::select! {
                read = self.output.read(&mut chunk), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(count) => output.take(&chunk[..count]),
                },
                waited = self.child.wait(), if ended.is_none() => {
                    ended = Some(waited?);
                    // As a service manager would: what stays on has left the group.
                    self.group.kill();
                    until = Instant::now() + LINGER;
                }
                () = sleep_until(until), if ended.is_none() => {
                    timed_out = true;
                    self.group.kill();
                    ended = Some(self.child.wait().await?);
                    until = Instant::now() + LINGER;
                }
                () = sleep_until(until), if ended.is_some() => break,
            }
        }
        let ending = match ended.map(exit_code) {
            _ if timed_out => Ending::execution_timeout(),
            Some(0) => Ending::success(),
            code => Ending::failed(code.unwrap_or(-1)),
        };
        Ok(Ending { output: output.kept, dropped: output.dropped, ..ending })
    }
}

/// As a shell says it: 128 and the signal's number if one ended it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The beginning of what was written, and how much there was more.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
    dropped: usize,
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(MAX_OUTPUT - self.kept.len());
        self.kept.extend_from_slice(&bytes[..fits]);
        self.dropped += bytes.len() - fits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn sh(script: &str, limit: Duration) -> Ending {
        run(script.as_bytes(), Path::new("/nonexistent"), limit, &Registry::new()).await
    }

    #[tokio::test]
    async fn exit_codes_signals_and_both_streams() {
        assert_eq!(sh("exit 0", SOON).await, Ending::success());
        let ending = sh("echo out; echo err >&2; exit 7", SOON).await;
        assert_eq!(ending, Ending::failed(7).output("out\nerr\n"));
        assert_eq!(sh("kill -KILL $$", SOON).await, Ending::failed(137));
    }

    #[tokio::test]
    async fn nothing_comes_in_and_the_environment_is_clean() {
        let ending = sh("cat; env | cut -d= -f1 | sort | tr '\\n' ' '", SOON).await;
        let names = String::from_utf8(ending.output).unwrap();
        let mut names: Vec<&str> = names.split_whitespace().collect();
        names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_")); // the shell's own
        assert_eq!(names, ["HOME", "PATH", "TMPDIR"]);
    }

    #[tokio::test]
    async fn the_folder_is_fresh_and_goes() {
        let ending = sh("touch a; ls; pwd; test \"$HOME\" = \"$PWD\"", SOON).await;
        assert_eq!(ending.status, "Success");
        let output = String::from_utf8(ending.output).unwrap();
        let folder = output.strip_prefix("a\n").unwrap().trim_end();
        assert!(!Path::new(folder).exists(), "{folder}");
    }

    #[tokio::test]
    async fn the_beginning_of_long_output_is_kept() {
        let ending = sh("head -c 30000 /dev/zero | tr '\\0' x", SOON).await;
        assert_eq!((ending.output.len(), ending.dropped), (24_576, 30_000 - 24_576));
        assert_eq!(ending.status, "Success");
    }

    #[tokio::test]
    async fn a_script_that_takes_too_long_is_killed_with_its_children() {
        let script = "echo begun; sleep 1000 & echo $!; wait";
        let ending = sh(script, Duration::from_secs(1)).await;
        assert_eq!((ending.status.as_str(), ending.exit_code), ("Timeout", None));
        let output = String::from_utf8(ending.output).unwrap();
        let child = output.strip_prefix("begun\n").unwrap().trim_end();
        gone(child).await;
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_goes_with_it() {
        let begun = Instant::now();
        let ending = sh("sleep 1000 & echo $!", SOON).await;
        assert_eq!(ending.status, "Success");
        assert!(begun.elapsed() < SOON);
        gone(String::from_utf8(ending.output).unwrap().trim_end()).await;
    }

    /// Waits until a process has ended; somebody else has to collect it.
    async fn gone(pid: &str) {
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
        };
        let until = Instant::now() + SOON;
        while !ended() {
            assert!(Instant::now() < until, "{pid} is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
