//! Where a session leads.

use std::fmt;

/// Where a session leads, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The instance's id.
    pub instance: String,
    /// What else it is called.
    pub name: Option<String>,
    /// Another host as seen from the instance, if not the instance itself.
    pub remote_host: Option<String>,
    /// The port; a shell has none.
    pub port: Option<u16>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, &self.remote_host) {
            (None, _) => f.write_str("a shell on ")?,
            (Some(port), None) => write!(f, "port {port} of ")?,
            (Some(port), Some(host)) => write!(f, "{host}:{port} by way of ")?,
        }
        f.write_str(&self.instance_name())
    }
}

impl Target {
    /// The instance's name and id.
    pub(crate) fn instance_name(&self) -> String {
        match &self.name {
            None => self.instance.clone(),
            Some(name) => format!("{name} ({})", self.instance),
        }
    }
}
