//! The `ecs-bridge` command: see the library for the map of the source.

use std::process::ExitCode;

fn main() -> ExitCode {
    ecs_bridge::run().into()
}
