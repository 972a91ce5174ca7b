//! The `ecs-bridge` command.
fn main() {}
