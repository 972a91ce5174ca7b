//! This machine's own disk.

use super::Cell::{NotPlayed, Told};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "the disk full, for the log",
            |mut scene| {
                scene.env.push(("ECS_BRIDGE_LOG_FILE", "/dev/full".to_owned()));
                scene
            },
            [Told("some log lines were not written"); 3],
        ),
        Row::new(
            "the disk full, for the cache of `--send-key`",
            |mut scene| {
                scene.is_full = true;
                scene
            },
            [Told("cannot write the cache"); 3],
        )
        // It remembers nothing.
        .forward([NotPlayed; 3]),
    ]
}
