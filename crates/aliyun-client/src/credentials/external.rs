//! A program of the user's own that prints credentials.
//!
//! It is run without a shell and without stdin. Where this process is in the foreground of a terminal, the
//! program is so too: it may ask there (`/dev/tty`), for a code of a second factor, say. Elsewhere it has a
//! process group of its own. It is ended when its time is over or nobody waits for it any more, on Unix with
//! what it has started. What it writes to stderr goes where this program's stderr goes, and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::Error;
use super::host::{Host, Restore};
use super::problem::ExternalProblem;
use super::shell::{program_file, shell_words};
use super::source::Source;

/// How long the program may take.
const WITHIN: Duration = Duration::from_secs(60);
/// How long its stdout may stay open once it has ended: what it has left behind may hold it.
const DRAIN: Duration = Duration::from_secs(1);
/// How long after the program this process may take to notice Ctrl-C itself.
const INTERRUPT: Duration = Duration::from_secs(1);
/// The most that it may print, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// Fields of the profile that runs the program, which hold for what it prints unless it prints them too.
pub(super) const INHERITED: [&str; 3] = ["region_id", "sts_region", "endpoint_type"];

/// A program, and what the profile that it prints is read with.
#[derive(Clone)]
pub(super) struct Program {
    /// The command line, which may hold a secret.
    pub(super) command: SecretString,
    /// The name of the profile that runs it.
    pub(super) name: String,
    /// Where `source_profile` is looked up: the profile's own file first.
    pub(super) files: Vec<PathBuf>,
    /// The variables that a profile is read with.
    pub(super) variables: Vec<(String, OsString)>,
    pub(super) home: Option<PathBuf>,
    /// The region that a flag or a variable names.
    pub(super) region: Option<String>,
    pub(super) inherited: Vec<(&'static str, String)>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        let parts = |of: &Self| {
            let Self { command, name, files, variables, home, region, inherited } = of.clone();
            let command = command.expose_secret().to_owned();
            (command, name, files, variables, home, region, inherited)
        };
        parts(self) == parts(other)
    }
}

impl Eq for Program {}

/// Splits a command into its words.
pub(super) fn words(command: &str) -> Result<Vec<String>, ExternalProblem> {
    let is_command = |words: &Vec<String>| words.first().is_some_and(|word| !word.is_empty());
    shell_words(command).filter(is_command).ok_or(ExternalProblem::NotACommand)
}

/// The program of a command, without its arguments.
pub(super) fn program(command: &SecretString) -> String {
    let words = words(command.expose_secret()).unwrap_or_default();
    words.into_iter().next().unwrap_or_default()
}

/// Runs the command and gives what it prints.
pub(super) async fn run(
    command: &SecretString,
    source: &Source,
    host: &dyn Host,
) -> Result<SecretString, Error> {
    let failed = |problem| {
        let problem = Box::new(problem);
        Error::External { origin: source.clone(), problem }
    };
    let words = words(command.expose_secret()).map_err(failed)?;
    let program = words.first().cloned().unwrap_or_default();
    match timeout(WITHIN, output(&words, host)).await {
        Ok(output) => output.map_err(failed),
        Err(_) => Err(failed(ExternalProblem::Timeout { program, within: WITHIN })),
    }
}

async fn output(words: &[String], host: &dyn Host) -> Result<SecretString, ExternalProblem> {
    let (program, args) = words.split_first().ok_or(ExternalProblem::NotACommand)?;
    let program = program.clone();
    let unstarted = |problem| ExternalProblem::Start { program: program.clone(), problem };
    let mut command = Command::new(program_file(program.as_ref()));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let foreground = host.foreground();
    #[cfg(unix)]
    if foreground.is_none() {
        command.process_group(0);
    }
    let child = command.spawn().map_err(unstarted)?;
    let mut group = Group { child, foreground };

    let mut printed = Vec::new();
    let Some(stdout) = group.child.stdout.take() else { return Err(ExternalProblem::NotACommand) };
    let mut stdout = stdout.take(MAX_OUTPUT + 1);
    let status = {
        // What cannot be read any more shows in what it has printed.
        let mut reading = std::pin::pin!(stdout.read_to_end(&mut printed));
        tokio::select! {
            biased;
            read = &mut reading => {
                if read.is_ok_and(|length| length as u64 > MAX_OUTPUT) {
                    return Err(ExternalProblem::TooMuch { program });
                }
                group.child.wait().await
            }
            status = group.child.wait() => {
                let _ = timeout(DRAIN, reading).await;
                status
            }
        }
    };
    let status = status.map_err(unstarted)?;
    if !status.success() {
        // Programs of one console are told of Ctrl-C together.
        if (cfg!(windows) || group.foreground.is_some()) && was_interrupted(status) {
            // Ctrl-C was for this process too, which ends by it.
            tokio::time::sleep(INTERRUPT).await;
        }
        return Err(ExternalProblem::Failed { program, status });
    }
    if printed.len() as u64 > MAX_OUTPUT {
        return Err(ExternalProblem::TooMuch { program });
    }
    match String::from_utf8(printed) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(ExternalProblem::Unusable { program, problem: "it is not text".to_owned() }),
    }
}

/// Whether Ctrl-C has ended a program, or what a shell has started for it.
fn was_interrupted(status: ExitStatus) -> bool {
    const INTERRUPT: i32 = 2;
    /// `STATUS_CONTROL_C_EXIT`
    const BY_CTRL_C: i32 = 0xc000_013a_u32.cast_signed();

    if cfg!(windows) && status.code() == Some(BY_CTRL_C) {
        return true;
    }
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    signal == Some(INTERRUPT) || status.code() == Some(128 + INTERRUPT)
}

/// A program and, on Unix, all that it has started, ended when this is dropped before it has ended. What a
/// program leaves behind that has ended stays: it does so on purpose.
struct Group {
    child: Child,
    /// The terminal that it shares with this process; without one it has a process group of its own.
    foreground: Option<Restore>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for it has no id any more.
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(id) = rustix::process::Pid::from_raw(id)
        {
            use rustix::process::{Signal, kill_process, kill_process_group};

            // They may have ended in this very moment.
            if self.foreground.is_none() {
                let _ = kill_process_group(id, Signal::KILL);
            } else {
                for started in started_by(id) {
                    let _ = kill_process(started, Signal::KILL);
                }
            }
        }
        let _ = self.child.start_kill();
        if let Some(restore) = &self.foreground {
            restore();
        }
    }
}

/// The processes that a process has started, and those that they have started. Only Linux tells.
#[cfg(unix)]
fn started_by(process: rustix::process::Pid) -> Vec<rustix::process::Pid> {
    let mut all = Vec::new();
    let mut next = vec![process];
    while let Some(process) = next.pop() {
        let id = process.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let child = child.parse().ok().and_then(rustix::process::Pid::from_raw);
            // One that starts others without end is not followed for ever.
            if let Some(child) = child.filter(|_| all.len() < 1000) {
                all.push(child);
                next.push(child);
            }
        }
    }
    all
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn source() -> Source {
        Source::Profile { name: "p".into(), file: "/f".into(), mode: "External".into() }
    }

    async fn problem(command: &str) -> ExternalProblem {
        match run(&command.to_owned().into(), &source(), &()).await.unwrap_err() {
            Error::External { problem, .. } => *problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        let split = words(r#"'my tool' --a "b c" d\ e """#).unwrap();
        assert_eq!(split, ["my tool", "--a", "b c", "d e", ""]);
        for none in ["", "  ", "'open", "\"\""] {
            assert!(matches!(words(none), Err(ExternalProblem::NotACommand)), "{none}");
        }
    }

    /// The clock stands still but for what is waited for: a minute is over at once.
    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_ended_after_a_minute() {
        let began = Instant::now();
        let failed = problem("sleep 300").await;
        assert!(matches!(failed, ExternalProblem::Timeout { .. }), "{failed}");
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test]
    async fn what_ends_badly_is_told() {
        let failed = problem("sh -c 'echo hush; exit 3'").await;
        assert!(failed.to_string().contains("exit status: 3"), "{failed}");
        assert!(!failed.to_string().contains("hush"), "{failed}");
        let failed = problem("/no/such/program --secret=hush").await;
        assert!(matches!(failed, ExternalProblem::Start { .. }));
        assert!(!failed.to_string().contains("hush"), "{failed}");
        assert!(matches!(problem("yes").await, ExternalProblem::TooMuch { .. }));
    }

    /// Its stdout is held by what it has left behind.
    #[tokio::test]
    async fn what_it_leaves_behind_is_not_waited_for() {
        let json = r#"{"access_key_id": "i", "access_key_secret": "s"}"#;
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("a script");
        std::fs::write(&script, format!("sleep 5 &\necho '{json}'\n")).unwrap();
        let command = format!("sh '{}'", script.display());
        let printed = run(&command.into(), &source(), &()).await.unwrap();
        assert_eq!(printed.expose_secret().trim(), json);
    }
}

#[cfg(windows)]
#[cfg(test)]
mod tests {
    use std::os::windows::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn ctrl_c_is_told_from_other_ends() {
        for (code, is_interrupt) in
            [(0xc000_013a, true), (130, true), (1, false), (0xc000_0005, false)]
        {
            assert_eq!(was_interrupted(ExitStatus::from_raw(code)), is_interrupt, "{code:x}");
        }
    }
}
