//! The gateway: takes the WebSocket of a session, and puts an agent behind it.

mod agent;
mod channel;
mod check;
mod ending;
mod frame;
mod io;
mod link;
mod mangle;
mod obey;
mod outgoing;
mod pace;
mod pacing;
mod points;
mod reader;
mod stream;
mod strike;
mod upgrade;
mod writer;

pub(crate) use io::{Io, Vanished};
pub(crate) use stream::Socket;
pub(crate) use upgrade::{Admission, upgrade};
