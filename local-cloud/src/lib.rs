//! A stand-in for the far side of ecs-bridge.
