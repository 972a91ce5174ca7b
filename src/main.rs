//! The `ecs-bridge` command: see the library for the map of the source.

use std::process::ExitCode;

use ecs_bridge::cli::Cli;

fn main() -> ExitCode {
    ecs_bridge::commands::run(&Cli::from_process()).into()
}
