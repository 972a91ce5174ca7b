//! How a client calls, and what.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::sign::{Params, SignatureVersion};
use crate::credentials::provide::ProvideCredentials;
use crate::endpoint::{Endpoint, Region};
use crate::transport::Transport;

/// How a [`Client`](super::client::Client) calls.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// The region, sent with every call.
    pub region: Region,
    /// What signs the calls.
    pub credentials: Arc<dyn ProvideCredentials>,
    /// Which signature is made; V3 unless changed.
    pub signature: SignatureVersion,
    /// What sends them.
    pub http: Arc<dyn Transport>,
    /// The time for a connection, name look-up and TLS handshake included: 5 s.
    pub connect_timeout: Duration,
    /// The time for the answer of one try to begin, once there is a connection, and for each of its
    /// parts to follow: 5 s. After that the next try is made, over a new connection; an answer to the
    /// first still counts.
    pub answer_timeout: Duration,
    /// The time for a whole call, all tries and pauses included: 15 s. The credentials for it are
    /// there before it begins.
    pub call_timeout: Duration,
    /// The pause before the second try, doubled before each that follows, less a random part of up
    /// to one half: 200 ms.
    pub backoff: Duration,
    /// How often a call is tried, from 1: 4.
    pub max_tries: u32,
    /// An instance that messages call by its name as well.
    pub named: Option<Named>,
}

impl Config {
    /// The usual settings.
    pub fn new(
        endpoint: Endpoint,
        region: Region,
        credentials: Arc<dyn ProvideCredentials>,
        http: Arc<dyn Transport>,
    ) -> Self {
        Self {
            endpoint,
            region,
            credentials,
            signature: SignatureVersion::default(),
            http,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(15),
            backoff: Duration::from_millis(200),
            max_tries: 4,
            named: None,
        }
    }

    pub(crate) fn label(&self, id: &str) -> String {
        match &self.named {
            Some(named) if named.id == id && named.name != id => format!("{} ({id})", named.name),
            _ => id.to_owned(),
        }
    }
}

/// The name of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
}

/// One call of the API, the same in all its tries.
pub(crate) struct Call {
    pub(crate) action: &'static str,
    pub(crate) version: &'static str,
    pub(crate) params: Params,
    /// Whether it is idempotent.
    pub(crate) idempotent: bool,
    /// Whether it is signed; one that is not has its parameters in a form.
    pub(crate) is_signed: bool,
    /// Whether it ends what the calls before it have begun: credentials are not renewed in time for others.
    pub(crate) is_last: bool,
    /// The parameter that is a secret, if one is.
    pub(crate) secret: Option<&'static str>,
    /// What it is about, for messages: an instance's or a session's id.
    pub(crate) subject: Option<String>,
}

impl Call {
    /// Gives a parameter a value, if there is one.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Option<String>>) {
        self.params.extend(value.into().map(|value| (name.to_owned(), value)));
    }
}

/// The fields of an answer, and its `RequestId`.
pub(crate) type Answer = (Value, Option<String>);
