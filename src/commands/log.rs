//! `ecs-bridge log`: the daily log and the last failure, for people.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::app::{Done, Result, UsageError, print};
use crate::cli;
use crate::credentials::HOME_VARIABLE;
use crate::explain::ExitCode;
use crate::platform::cache::DAY;
use crate::platform::logging::{Folder, LastFailure, Name, day};
use crate::platform::open_files::OpenFiles;
use crate::platform::pipe;

/// How many lines `--follow` begins with.
const LINES: usize = 10;
/// How often `--follow` looks for further lines. Each system announces them in another way.
const INTERVAL: Duration = Duration::from_millis(250);
/// How much of a file is copied at once, in bytes.
const CHUNK: u64 = 1 << 16;

/// Runs the command.
pub(crate) async fn run(args: &cli::Log) -> Result<Done> {
    let folder = Folder::of_process().ok_or_else(|| {
        let what = "there is no folder for the log: no home folder is known".to_owned();
        nothing(what, &format!("set {HOME_VARIABLE}"))
    })?;
    if args.path {
        print(&folder.path().display())?;
        return Ok(Done::Normally);
    }
    // A file that cannot be opened is not one that is missing.
    OpenFiles::check_room(2).map_err(|error| unreadable(folder.path(), &error))?;
    if args.last {
        let failure = LastFailure::read(&folder).ok_or_else(|| {
            let what = format!("no failure is recorded in {}", folder.path().display());
            nothing(what, "if something fails with --no-log or ECS_BRIDGE_LOG=off: run it without")
        })?;
        print(&format_args!("{}\n{}", failure.title(SystemTime::now()), failure.report()))?;
    } else if args.follow {
        checked(follow(&folder).await)?;
    } else {
        show(&folder)?;
    }
    Ok(Done::Normally)
}

fn nothing(what: String, remedy: &str) -> UsageError {
    UsageError::new(what, remedy).exits(ExitCode::Failed)
}

/// Prints today's and yesterday's, or all of the newest day if that is older.
fn show(folder: &Folder) -> Result<()> {
    let files = folder.files();
    let Some(newest) = files.last() else {
        let what = format!("there is no log in {}", folder.path().display());
        return Err(nothing(what, "run a command without --no-log and ECS_BRIDGE_LOG=off").into());
    };
    let yesterday = SystemTime::now().checked_sub(DAY).map(day).unwrap_or_default();
    let oldest = yesterday.min(newest.day.clone());
    for name in files.iter().filter(|name| name.day >= oldest) {
        let path = folder.file(name);
        match File::open(&path) {
            Ok(mut file) => {
                checked(copy(&mut file, u64::MAX).map(|_| ()))?;
            }
            // Another process has just deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path, &error).into()),
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> UsageError {
    let what = format!("the log {} cannot be read: {error}", path.display());
    nothing(what, "check who owns the file and its folder")
}

/// Copies what there is of a file to stdout, `most` bytes of it at most. Gives how much it was.
fn copy(file: &mut File, most: u64) -> io::Result<u64> {
    let mut stdout = io::stdout().lock();
    let copied = io::copy(&mut file.take(most), &mut stdout)?;
    stdout.flush()?;
    Ok(copied)
}

/// A closed stdout is no failure.
fn checked(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if !pipe::is_closed(&error) => Err(nothing(
            format!("cannot print the log: {error}"),
            "check what stdout is connected to, and whether there is room",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Prints the last lines, and further ones for ever, in the files of further days too.
async fn follow(folder: &Folder) -> io::Result<()> {
    let mut at: Option<(Name, File)> = None;
    if let Some(name) = folder.files().pop()
        && let Ok(file) = File::open(folder.file(&name))
    {
        at = Some((name, last_lines(file)?));
    }
    loop {
        if let Some((_, file)) = &mut at {
            while copy(file, CHUNK)? > 0 {
                tokio::task::yield_now().await;
            }
        }
        // What another process adds to the file before this one is printed no more.
        let newer = |name: &Name| at.as_ref().is_none_or(|(current, _)| name > current);
        match folder.files().into_iter().find(newer) {
            Some(name) => {
                if let Some((_, file)) = &mut at {
                    while copy(file, CHUNK)? > 0 {}
                }
                match File::open(folder.file(&name)) {
                    Ok(file) => at = Some((name, file)),
                    Err(_) => tokio::time::sleep(INTERVAL).await,
                }
            }
            None => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Prints the last lines of a file that are whole. The file goes on behind them.
fn last_lines(file: File) -> io::Result<File> {
    let mut reader = BufReader::new(file);
    let mut lines = VecDeque::new();
    let mut end = 0;
    loop {
        let mut line = Vec::new();
        let length = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            break;
        }
        end += length as u64;
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    let mut stdout = io::stdout().lock();
    for line in lines {
        stdout.write_all(&line)?;
    }
    stdout.flush()?;
    let mut file = reader.into_inner();
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}
