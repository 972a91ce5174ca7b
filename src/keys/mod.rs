//! SSH keys: public keys as users and instances give them, temporary ones that are registered with
//! an instance, and the host keys that servers show.

pub(crate) mod command;
pub(crate) mod host_key;
pub(crate) mod known_hosts;
pub(crate) mod public_key;
pub(crate) mod registration;
