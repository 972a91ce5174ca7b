//! What ali-instance-cli prints on stdout, since scripts read it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::lines::Lines;
use super::event::{Event, Number};

/// Lines on stdout in the words of ali-instance-cli.
pub(super) struct VendorLines {
    lines: Lines,
    /// The first session.
    session: RefCell<Option<String>>,
    /// Where the open connections come from.
    peers: RefCell<BTreeMap<Number, String>>,
}

impl VendorLines {
    pub(super) fn to_stdout() -> Self {
        Self { lines: Lines::to_stdout(), session: RefCell::default(), peers: RefCell::default() }
    }

    /// A session was started.
    pub(super) fn started(&self, session: &str) {
        self.session.borrow_mut().get_or_insert_with(|| session.to_owned());
    }

    pub(super) fn emit(&self, event: &Event<'_>) {
        match event {
            Event::Listening { address, remote_host, remote_port, .. } => {
                let session = self.session.borrow().clone().unwrap_or_default();
                let local = address.rsplit_once(':').map_or(*address, |(_, port)| port);
                let remote = match remote_host {
                    Some(host) => format!("{host}:{remote_port}"),
                    None => remote_port.to_string(),
                };
                self.lines.push(format!(
                    "Port forwarding for SessionId: {session}, local port {local}, remote port {remote}"
                ));
                self.lines.push("Waiting for connections...".to_owned());
            }
            Event::Accepted { connection, peer, .. } => {
                self.peers.borrow_mut().insert(*connection, (*peer).to_owned());
                self.lines.push(format!("new connection from tcp {peer}"));
            }
            Event::Closed { connection, .. } => {
                if let Some(peer) = self.peers.borrow_mut().remove(connection) {
                    self.lines.push(format!("connection[tcp {peer}] closed"));
                }
            }
            Event::Opened { .. } | Event::Warning { .. } | Event::Error { .. } => {}
        }
    }

    pub(super) fn finish(&self) {
        self.lines.finish();
    }
}
