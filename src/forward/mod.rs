//! Local ports and sockets that lead to ports of an instance.

mod accept_error;
mod channel;
mod context;
mod exec;
mod forwarding;
mod lines;
mod listener;
mod pool;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod serve;
pub(crate) mod spec;
mod warm;
