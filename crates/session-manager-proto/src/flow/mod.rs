//! How fast Input may be sent, how much of it may be in flight, and what has arrived (docs/protocol.md, 4).

pub(crate) mod pace;
pub(crate) mod probes;
pub(crate) mod window;
