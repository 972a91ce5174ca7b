//! What fuzzers drive: one function for each target of `fuzz/`, which takes any bytes and panics
//! where something does not hold that always has to. Those of the stream are in `session_manager_proto::fuzzing`.
//!
//! The functions stand beside what they try, in files called `fuzzed`. The inputs of `fuzz/seeds`
//! are where fuzzers begin; each one is tried by an ordinary `cargo test` too.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use session_manager_proto::session::Failure;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use aliyun_client::credentials::fuzzed;
use aliyun_client::openapi::fuzzed::{Found, SECRETS, answer};
use aliyun_client::openapi::sign::encode;

use crate::cloud::{Error, Invocation, InvocationError, InvocationResult, InvocationStatus};
use crate::credentials::host::Program;
use crate::explain::source::{add_token, renewal};
use crate::explain::{Explain, Report};
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
    let options = ["--profile", "--config"];
    fuzzed::config(input, options, &Program, &|resolved| match resolved {
        Ok(resolved) => {
            let source = resolved.credential_source.source();
            format!("{} {}", renewal(source), add_token(source))
        }
        Err(error) => {
            assert_reported(error);
            Report::new(error).to_string()
        }
    });
}

/// Answers of the API, and what is made of them: [`crate::cloud`].
pub fn answers(input: &[u8]) {
    match answer(input) {
        Found::Nothing => {}
        Found::Failed(error) => {
            assert_reported(&error);
            assert_secret(&error);
        }
        Found::Session(session) => {
            let shown = format!("{session:?}");
            let id = format!("{} {:?}", session.session_id, session.request_id);
            assert!(id.contains("hush") || !shown.contains("hush"), "a secret is shown: {shown}");
            match address(session.websocket_url.expose_secret()) {
                Ok((url, _)) => drop(url.into_client_request()),
                Err(error) => {
                    assert!(matches!(error, DialError::Url(_)), "{error:?}");
                    let request_id = session.request_id;
                    assert_reported(&NotDialled { error, request_id, url_is_given: false });
                }
            }
        }
        Found::Result(result, wanted) => {
            assert_result(&result, &wanted);
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

/// The longest message that is acceptable, in characters.
const READABLE: usize = 2_500;

/// A message for a user: it can be read, and says what to do.
fn assert_reported(error: &dyn Explain) {
    let report = Report::new(error).to_string();
    assert!(!report.contains(|c: char| c.is_control() && c != '\n'), "{report:?}");
    assert!(report.chars().count() < READABLE, "{} bytes are too much to read", report.len());
    assert!(report.contains("\n  fix: "), "nothing to do: {report}");
}

/// A message with text of an answer, which may repeat its request.
fn assert_secret(error: &Error) {
    let (report, debug) = (Report::new(error).to_string(), format!("{error:?}"));
    for secret in SECRETS {
        let (once, twice) = (encode(secret), encode(&encode(secret)));
        for form in [secret, &once, &twice] {
            assert!(!report.contains(form) && !debug.contains(form), "a secret is shown: {report}");
        }
    }
}

/// What is told of a command that has failed, or does not end.
fn assert_result(result: &InvocationResult, wanted: &Invocation) {
    let (what, request_id) = ("it failed".to_owned(), wanted.request_id.clone());
    let error = match &result.status {
        InvocationStatus::Success => return,
        InvocationStatus::Failed(_) => {
            InvocationError::Ended { what, result: Box::new(result.clone()), request_id }
        }
        status => {
            let (seen, within) = (Some(status.clone()), Duration::from_secs(60));
            InvocationError::Late { what, seen, within, request_id }
        }
    };
    assert_reported(&error);
}

fn not_opened(finding: Finding) -> impl Explain {
    SessionFailure {
        failure: Failure::NotOpened { waited: Duration::from_secs(15), progress: true },
        target: Target {
            instance: "i-1".to_owned(),
            name: None,
            remote_host: None,
            port: Some(22),
        },
        finding: Some(finding),
        request_id: None,
        url_is_given: false,
        not_arrived: 0,
        slept: None,
        input_ended: false,
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
