//! What fuzzers drive: one function for each target of `fuzz/`, which takes any bytes and panics
//! where something does not hold that always has to. Those of the stream are in `session_manager_proto::fuzzing`.
//!
//! The functions stand beside what they try, in files called `fuzzed`. The inputs of `fuzz/seeds`
//! are where fuzzers begin; each one is tried by an ordinary `cargo test` too.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use session_manager_proto::session::Failure;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::cloud::fuzzed::{Found, answer, assert_reported};
use crate::explain::Explain;
use crate::gateway::dial::{DialError, address};
use crate::keys::host_key::{HostKeyWatch, is_plain_key};
use crate::keys::public_key::PublicKey;
use crate::session::failure::{Finding, NotDialled, SessionFailure};
use crate::session::target::Target;

/// The bytes that an SSH server sends, in pieces: what is found is a host key. [`crate::keys::host_key`].
pub fn host_key(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    let mut watch = HostKeyWatch::default();
    for piece in pieces {
        assert!(watch.look(piece.as_ref()).is_none_or(|key| is_plain_key(&key)));
    }
}

/// Profile files, and what chooses among the profiles: [`crate::credentials`].
pub fn config(input: &[u8]) {
    crate::credentials::fuzzed::config(input);
}

/// Answers of the API, and what is made of them: [`crate::cloud`].
pub fn answers(input: &[u8]) {
    match answer(input) {
        Found::Nothing => {}
        Found::Session(session) => {
            let shown = format!("{session:?}");
            let id = format!("{} {:?}", session.session_id, session.request_id);
            assert!(id.contains("hush") || !shown.contains("hush"), "a secret is shown: {shown}");
            match address(session.websocket_url.expose_secret()) {
                Ok((url, _)) => drop(url.into_client_request()),
                Err(error) => {
                    assert!(matches!(error, DialError::Url(_)), "{error:?}");
                    let request_id = session.request_id;
                    assert_reported(&NotDialled { error, request_id });
                }
            }
        }
        Found::Result(result) => {
            for key in PublicKey::host_keys(&result.output) {
                let line = format!("{} {}", key.algorithm(), key.base64());
                assert_eq!(line, key.line());
                assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
                assert_eq!(PublicKey::host_keys(&line)[0].fingerprint(), key.fingerprint());
            }
        }
        Found::Words(words) => {
            for word in words {
                for finding in [
                    Finding::NotRunning { state: word.clone() },
                    Finding::AgentTooOld { version: word.clone() },
                ] {
                    assert_reported(&not_opened(finding));
                }
            }
        }
    }
}

fn not_opened(finding: Finding) -> impl Explain {
    SessionFailure {
        failure: Failure::NotOpened { waited: Duration::from_secs(15), progress: true },
        target: Target { instance: "i-1".to_owned(), name: None, remote_host: None, port: 22 },
        finding: Some(finding),
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn replay(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "{}", path.display());
            seeds += 1;
        }
        assert!(seeds > 10, "only {seeds} in {}", folder.display());
    }

    #[test]
    fn every_seed_of_each_target_is_tried() {
        replay("config", config);
        replay("answers", answers);
    }
}
