//! One try of a call: sign, send, read the answer within its bounds.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue};
use reqwest::{Method, Url};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::Notify;

use super::answer::{self, AnswerError, Bad, Raw, Scrub};
use super::config::{Call, Config};
use super::error::{Failure, Problem};
use super::network::NetworkError;
use super::sign::{self, Key, Request, SignatureVersion, Stamp};
use crate::credentials::keys::Credentials;
use crate::text::innermost;
use crate::transport::{Terms, read};

/// The most that is read of an answer, in bytes.
pub const MAX_ANSWER: usize = 1 << 20;

/// Set once the head of an answer is there: its `RequestId`, if it has one.
pub(crate) type Head = Arc<OnceLock<Option<String>>>;

/// One try of a call.
pub(crate) struct Attempt<'a> {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Never used before.
    pub(crate) nonce: String,
    /// The credentials that sign it; `None` if it is not signed.
    pub(crate) credentials: Option<&'a Credentials>,
    /// Notified when the answer does not begin in time, or stops for as long.
    pub(crate) late: Arc<Notify>,
    /// What the answer has begun with.
    pub(crate) head: Head,
}

/// Sends a call once. Dropping the future ends everything.
pub(crate) async fn once(
    config: &Config,
    call: &Call,
    attempt: Attempt<'_>,
) -> Result<(Value, Option<String>), Failure> {
    let Attempt { number, nonce, credentials, late, head } = attempt;
    let secret = credentials.map(|credentials| credentials.access_key_secret().expose_secret());
    let token = credentials.and_then(Credentials::security_token).map(|t| t.expose_secret());
    let authority = config.endpoint.authority();
    let request = Request {
        host: &authority,
        action: call.action,
        version: call.version,
        params: &call.params,
    };
    let stamp = Stamp { time: SystemTime::now(), nonce: &nonce };
    let key = credentials.zip(secret).map(|(credentials, secret)| Key {
        id: credentials.access_key_id(),
        secret,
        token,
    });
    let (signed, form) = match (key, config.signature) {
        (Some(key), SignatureVersion::V3) => (sign::v3(request, key, stamp), None),
        (Some(key), SignatureVersion::V1) => (sign::v1(request, key, stamp), None),
        (None, _) => (sign::unsigned(request, stamp), Some(sign::canonical_query(&call.params))),
    };

    let url = format!("{}/?{}", config.endpoint, signed.query);
    let length = form.as_ref().map_or(0, String::len);
    let is_form = form.is_some();
    let url = Url::parse(&url)
        .map_err(|e| (Problem::Setup(format!("the call does not fit a URL: {e}")), None))?;
    if url.query() != Some(&signed.query) {
        return Err((Problem::Setup("the signed query does not fit a URL".to_owned()), None));
    }
    let mut sent = reqwest::Request::new(Method::POST, url);
    *sent.body_mut() = form.map(Into::into);
    let headers = sent.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Without this header any encoding would be allowed.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // A POST without a body may go without it; some servers answer 411 to that.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if is_form {
        let form = "application/x-www-form-urlencoded";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    }
    for (name, value) in &signed.headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| (Problem::Setup(format!("the header {name} cannot be sent")), None))?;
        value.set_sensitive(*name != HOST.as_str());
        headers.insert(*name, value);
    }

    let connect_within = config.connect_timeout;
    let answer_within = config.answer_timeout;
    let terms = Terms { what: "the API", connect_within, late: Some((answer_within, &*late)) };
    let response = config.http.send(sent, terms).await.map_err(|error| {
        let problem = NetworkError::of(error, &config.endpoint, connect_within);
        (Problem::Network(problem), None)
    })?;

    let parameter = call.secret.and_then(|name| call.params.get(name)).map(String::as_str);
    let secrets = [secret, token, parameter, Some(signed.signature.as_str())];
    let scrub = Scrub::new(secrets.into_iter().flatten());
    let mut raw = Raw::head(response.status(), response.headers(), SystemTime::now());
    raw.request_id = raw.request_id.map(|id| scrub.text(&id));
    // Each try has its own.
    let _ = head.set(raw.request_id.clone());
    let fail = |problem, raw: &Raw| (problem, raw.request_id.clone());
    let stopped = || {
        config.http.drop_kept();
        late.notify_one();
    };
    raw.body = match read(response, MAX_ANSWER, Some((answer_within, &stopped))).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            let problem = format!("the answer is larger than {MAX_ANSWER} bytes");
            return Err(fail(Problem::Answer(AnswerError::Invalid(problem)), &raw));
        }
        Err(error) => {
            let (endpoint, detail) = (config.endpoint.to_string(), innermost(&error));
            return Err(fail(Problem::Network(NetworkError::Cut { endpoint, detail }), &raw));
        }
    };

    let (result, request_id) = answer::read(&raw, &scrub);
    tracing::debug!(
        action = call.action,
        number,
        status = raw.status,
        request_id = request_id.as_deref().unwrap_or("none"),
        "answered"
    );
    match result {
        Ok(value) => Ok((value, request_id)),
        Err(Bad::Refused(refusal)) => Err((Problem::Refused(refusal), request_id)),
        Err(Bad::Answer(problem)) => Err((Problem::Answer(problem), request_id)),
    }
}
