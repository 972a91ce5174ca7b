//! Where log lines and error messages go: stderr or the file of `--log-file`, and the log that is
//! always written, see `daily`.

mod daily;
mod failure;
mod file;
mod folder;
mod redact;
mod stderr;

pub(crate) use self::folder::{Folder, Name, day};
pub(crate) use failure::LastFailure;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use self::daily::{DailyLayer, DailyLog};
use self::file::{LogFile, unwritten};
use self::stderr::write_in_background;
use crate::cli::{Cli, Command};
use crate::explain::{Explain, Report, UsageError};
use crate::platform::terminal::{Stream, shows_colours};

pub(crate) use self::redact::wrong_usage;
#[cfg(unix)]
pub(crate) use self::stderr::is_held_up;
pub(crate) use self::stderr::{Stderr, eprint, finish};

/// The daily log of this process, if one is written.
static DAILY: OnceLock<DailyLog> = OnceLock::new();
/// The command of this process, as the log and `last-failure.json` show it.
static COMMAND: OnceLock<String> = OnceLock::new();

/// Starts logging for a command. Only this crate's own events are logged: other crates' would show
/// requests with their signatures, and addresses with their tokens.
///
/// # Errors
/// When the file of `--log-file` cannot be opened to be appended to.
pub(crate) fn init(cli: &Cli) -> Result<(), UsageError> {
    let global = &cli.global;
    let (file, quiet) = (global.log_file.as_deref(), global.quiet);
    // Others have nothing to carry while they wait for a reader, such as a pager.
    if matches!(cli.command, Command::Proxy(_) | Command::Forward(_)) {
        write_in_background();
    }
    if !is_off(global.no_log) && is_logged(&cli.command) {
        start_daily(redact::label(&cli.command), redact::command_line(cli));
    }
    let level = match global.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let level = match file {
        Some(_) => level.max(LevelFilter::INFO),
        None if quiet => LevelFilter::OFF,
        None => level,
    };
    let only_ours = |level| {
        let program = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
        program.with_target("aliyun_client", level)
    };
    let daily = DAILY.get().map(|log| DailyLayer(log).with_filter(only_ours(LevelFilter::INFO)));
    let registry = tracing_subscriber::registry().with(daily);
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let lines = match file {
        Some(path) => {
            let file = open(path).map_err(|source| unwritten(path, &source))?;
            let file = LogFile::new(file, path, quiet);
            lines.with_ansi(false).with_writer(Mutex::new(file)).boxed()
        }
        None => lines
            .without_time()
            .with_ansi(shows_colours(Stream::Stderr))
            .with_writer(|| Stderr)
            .boxed(),
    };
    let registry = registry.with(lines.with_filter(only_ours(level)));
    // A second call, as tests may make, changes nothing.
    let _ = tracing::subscriber::set_global_default(registry);
    Ok(())
}

/// Whether the daily log is switched off: by `--no-log`, or by ECS_BRIDGE_LOG.
pub(crate) fn is_off(no_log: bool) -> bool {
    let is_off = |value: OsString| {
        let value = value.to_string_lossy().trim().to_ascii_lowercase();
        ["off", "0", "no", "false"].contains(&value.as_str())
    };
    no_log || std::env::var_os("ECS_BRIDGE_LOG").is_some_and(is_off)
}

/// Whether the runs of a command are logged. Those that only print are not.
fn is_logged(command: &Command) -> bool {
    !matches!(
        command,
        Command::Policy(_)
            | Command::Log(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Version(_)
            | Command::Help(_)
            | Command::CompleteTargets(_)
    )
}

/// Opens the daily log and writes down which command begins.
fn start_daily(label: String, command: String) {
    let log = DAILY.get_or_init(|| DailyLog::new(Folder::of_process(), label));
    let version = env!("CARGO_PKG_VERSION");
    log.line("INFO", &format!("begin: {command} (version {version})"));
    let _ = COMMAND.set(command);
}

/// Writes a failure to the daily log, and keeps it for `ecs-bridge log --last`.
pub(crate) fn failed(report: &Report) {
    let Some(log) = DAILY.get() else { return };
    log.line("ERROR", &report.to_string());
    let command = COMMAND.get().cloned().unwrap_or_default();
    log.keep_failure(&LastFailure::new(report, command, SystemTime::now()));
}

/// Writes to the daily log what is printed by other means than an event: what was done (`INFO`), or a
/// warning (`WARN`).
pub(crate) fn record(level: &str, text: &str) {
    if let Some(log) = DAILY.get() {
        log.line(level, text);
    }
}

/// Writes the end of the command to the daily log. At the level of `-v`, a log that could not be
/// written is told.
pub(crate) fn ended(exit_code: u8) {
    let Some(log) = DAILY.get() else { return };
    log.line("INFO", &format!("end: exit code {exit_code}"));
    if let Some(problem) = log.problem() {
        tracing::info!("the daily log is not complete: {problem} (--no-log switches it off)");
    }
}

/// Records a command line that is not understood, before the command begins. What was typed is not
/// written down: it may hold a secret.
pub(crate) fn usage_failed(error: &dyn Explain) {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let before = words.iter().take_while(|word| *word != "--");
    if is_off(before.into_iter().any(|word| word == "--no-log")) {
        return;
    }
    let command = redact::subcommand(&words);
    let Ok(runtime) = crate::platform::event_loop::start() else { return };
    runtime.block_on(async {
        crate::platform::signals::outlive_file_limits();
        start_daily(command.clone(), format!("ecs-bridge {command}").trim_end().to_owned());
        let report = Report::new(error);
        failed(&report);
        ended(report.exit_code as u8);
    });
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
