//! The keys of SSH servers.

pub mod host_key;
