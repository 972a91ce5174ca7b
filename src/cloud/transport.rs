//! One try of a call: sign, send, read the answer within its bounds.

use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::answer::{self, AnswerError, Bad, Raw, Refusal, Scrub};
use super::client::{Call, Config};
use super::network::{NetworkError, Resolver};
use super::sign::{self, Key, Request, SignatureVersion, Stamp};
use crate::tls::{self, Tls};

/// The most that is read of an answer, in bytes.
pub(super) const MAX_ANSWER: usize = 1 << 20;

/// Why one try failed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The API says no.
    Refused(Refusal),
    /// What came is not the API's answer.
    Answer(AnswerError),
    /// Nothing came.
    Network(NetworkError),
    /// TLS cannot be set up: nothing was sent.
    Tls(tls::Error),
    /// The call makes no sense: nothing was sent.
    Input(String),
    /// Something in this program or machine: nothing was sent.
    Setup(String),
}

/// A problem, and the `RequestId` of the answer if there was one.
pub(super) type Failure = (Problem, Option<String>);

/// The HTTP client for an endpoint.
pub(super) fn build(config: &Config) -> Result<reqwest::Client, Problem> {
    let tls = if config.endpoint.uses_tls() {
        (*config.tls.client_config().map_err(Problem::Tls)?).clone()
    } else {
        Tls::unused().map_err(Problem::Tls)?
    };
    let resolver = Resolver {
        timeout: config.connect_timeout.mul_f32(0.9),
        loopback_only: !config.endpoint.uses_tls(),
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver)
        .no_proxy()
        // A redirect would carry the signature to another host.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .user_agent(crate::USER_AGENT)
        .build()
        .map_err(|e| Problem::Setup(format!("the HTTP client cannot be made: {e}")))
}

/// Sends a call once: its try of the given number. Dropping the future ends everything.
pub(super) async fn once(
    http: &reqwest::Client,
    config: &Config,
    call: &Call,
    number: u32,
    nonce: &str,
) -> Result<(Value, Option<String>), Failure> {
    let credentials = &config.credentials;
    let secret = credentials.access_key_secret().expose_secret();
    let token = credentials.security_token().map(|token| token.expose_secret());
    let authority = config.endpoint.authority();
    let request = Request {
        host: &authority,
        action: call.action,
        version: call.version,
        params: &call.params,
    };
    let key = Key { id: credentials.access_key_id(), secret, token };
    let stamp = Stamp { time: SystemTime::now(), nonce };
    let signed = match config.signature {
        SignatureVersion::V3 => sign::v3(request, key, stamp),
        SignatureVersion::V1 => sign::v1(request, key, stamp),
    };

    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // The HTTP library leaves it out of a POST without a body; some servers answer 411 to that.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    for (name, value) in &signed.headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| (Problem::Setup(format!("the header {name} cannot be sent")), None))?;
        value.set_sensitive(*name != HOST.as_str());
        headers.insert(*name, value);
    }
    let mut url = reqwest::Url::parse(&config.endpoint.to_string())
        .map_err(|e| (Problem::Setup(format!("the endpoint is no URL: {e}")), None))?;
    url.set_query(Some(&signed.query));
    if url.query() != Some(&signed.query) {
        return Err((Problem::Setup("the signed query does not fit a URL".to_owned()), None));
    }

    let endpoint = config.endpoint.to_string();
    let mut response = http.post(url).headers(headers).send().await.map_err(|e| {
        let problem = NetworkError::before_answer(&e, &endpoint, config.connect_timeout);
        (Problem::Network(problem), None)
    })?;

    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let mut raw = Raw {
        status: response.status().as_u16(),
        date: header("date"),
        retry_after: header("x-acs-retry-after")
            .and_then(|millis| millis.parse().ok())
            .map(Duration::from_millis),
        request_id: header("x-acs-request-id"),
        body: Vec::new(),
        received: SystemTime::now(),
    };
    let fail = |problem, raw: &Raw| (problem, raw.request_id.clone());
    let too_large = || Problem::Answer(AnswerError::TooLarge { limit: MAX_ANSWER });
    if response.content_length().is_some_and(|length| length > MAX_ANSWER as u64) {
        return Err(fail(too_large(), &raw));
    }
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if raw.body.len() + bytes.len() > MAX_ANSWER => {
                return Err(fail(too_large(), &raw));
            }
            Ok(Some(bytes)) => raw.body.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(e) => {
                return Err(fail(Problem::Network(NetworkError::in_answer(&e, &endpoint)), &raw));
            }
        }
    }

    let scrub =
        Scrub::new([Some(secret), token, Some(signed.signature.as_str())].into_iter().flatten());
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
