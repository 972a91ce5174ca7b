//! The gateway: takes the WebSocket of a session, and puts an agent behind it.

mod agent;
mod frame;
mod io;
mod link;
mod pace;
mod reader;
mod stream;
mod upgrade;
mod writer;

pub(crate) use io::Io;
pub(crate) use upgrade::{Admission, upgrade};
