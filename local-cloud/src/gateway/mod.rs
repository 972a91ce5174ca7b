//! The gateway: takes the WebSocket of a session, and puts an agent behind it.
//!
//! A `stream` is one task: `reader` and `writer` on the socket that is there, the `agent` with its target, and `control` for what
//! comes from outside or by the clock. All share a `link`; the rules of the numbers are in `channel`, what clients must keep to
//! is in `check`, what befalls frames in `corrupt`, and those three know neither sockets nor the clock. `upgrade` lets sockets
//! in, and leads those that take a stream up again to its task.

mod agent;
mod channel;
mod check;
mod control;
mod corrupt;
mod ending;
mod frame;
mod inject;
mod io;
mod link;
mod outgoing;
mod pace;
mod pacing;
mod points;
mod reader;
mod shell;
mod stream;
mod upgrade;
mod writer;
mod written;

pub(crate) use io::{Io, Vanished};
pub(crate) use stream::Socket;
pub(crate) use upgrade::{Admission, upgrade};
