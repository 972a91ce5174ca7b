//! `ecs-bridge man`: the manual pages, as clap knows the commands.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use crate::app::{Done, Result, UsageError, print};
use crate::cli;
use crate::explain::ExitCode;

/// What all pages belong to.
const MANUAL: &str = "ecs-bridge manual";

/// Prints the main page, or writes all of them.
pub(crate) fn run(args: &cli::Man) -> Result<Done> {
    // `help` prints pages too, and has none of its own.
    let command = cli::command().mut_subcommand("help", |help| help.hide(true));
    let mut command = complete(command).disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => {
            let page = page(command).map_err(|error| not_written(Path::new("stdout"), &error))?;
            print(&page.trim_end())?;
        }
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|error| not_written(dir, &error))?;
            write_all(&command, dir)?;
        }
    }
    Ok(Done::Normally)
}

/// The command with the help of each option, whether `-h` prints it or not.
fn complete(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(complete)
}

fn write_all(command: &Command, dir: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    let written = page(command.clone()).and_then(|page| fs::write(&path, page));
    written.map_err(|error| not_written(&path, &error))?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write_all(command, dir))
}

fn page(command: Command) -> io::Result<String> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(edited(&String::from_utf8_lossy(&page), &name))
}

/// What clap writes, with a title that has no date in it, and with headings that man knows.
fn edited(page: &str, name: &str) -> String {
    let lines = page.lines().map(|line| match line {
        title if title.starts_with(".TH ") => {
            let version = env!("CARGO_PKG_VERSION");
            format!(".TH {} 1 \"\" \"ecs\\-bridge {version}\" \"{MANUAL}\"", name.to_uppercase())
        }
        "Exit codes:" => ".SH \"EXIT STATUS\"\n.nf".to_owned(),
        line => line.to_owned(),
    });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    text.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n")
        .replace("\n\n.SH", "\n.fi\n.SH")
        .replace(".br\n\n.br\n", ".sp\n")
}

fn not_written(path: &Path, error: &io::Error) -> UsageError {
    UsageError::new(
        format!("{} cannot be written: {error}", path.display()),
        "give --dir a folder that can be written to",
    )
    .exits(ExitCode::Failed)
}
