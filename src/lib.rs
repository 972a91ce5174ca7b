//! ecs-bridge
pub mod explain;
