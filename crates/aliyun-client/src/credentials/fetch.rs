//! One HTTP request and its answer, for sources that are not the service's API: within a time, and
//! within a size. No redirect is followed here.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderName, Method, Uri};
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use crate::cause::Cause;
use crate::endpoint::{Endpoint, is_loopback};
use crate::text::innermost;
use crate::transport::{SendError, Terms, Transport, read};

/// The most that is read of an answer, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;

/// The time for a connection, where the whole has more: so there is some left to ask a proxy that is
/// silent why.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// Where to ask. Shown by scheme, host and port alone: the rest may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    server: Endpoint,
    /// Path and query.
    target: String,
}

impl Address {
    /// Reads `http://` or `https://`, a host, perhaps a port, and perhaps a path.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.trim().parse().map_err(|_| "it is not a URL")?;
        let (tls, usual) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            Some(_) => return Err("its scheme is neither http nor https"),
            None => return Err("it does not begin with http:// or https://"),
        };
        let of_uri = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if of_uri.contains('@') {
            return Err("a user name has no place in it");
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.trim_matches(['[', ']']).is_empty() {
            return Err("it has no host");
        }
        let port = match of_uri.rsplit_once(':') {
            Some((_, digits)) if !digits.ends_with(']') => {
                digits.parse().ok().filter(|port| *port != 0).ok_or("its port is not one")?
            }
            _ => usual,
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self {
            server: Endpoint { tls, host, port: Some(port).filter(|port| *port != usual) },
            target,
        })
    }

    /// The same place with a path behind what it has.
    pub(super) fn join(&self, path: &str) -> Self {
        let target = format!("{}{path}", self.target.trim_end_matches('/'));
        Self { target, ..self.clone() }
    }

    /// Its scheme, host and port alone.
    pub(super) fn origin(self) -> Self {
        Self { target: "/".to_owned(), ..self }
    }

    /// Where a `Location` header leads from here.
    pub(super) fn follow(&self, location: &str) -> Result<Self, &'static str> {
        if location.starts_with('/') && !location.starts_with("//") {
            let uri: Uri = location.parse().map_err(|_| "it is not a URL")?;
            let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
            return Ok(Self { target, ..self.clone() });
        }
        Self::parse(location)
    }

    /// Whether both are of one server.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.server == other.server
    }

    /// Whether what is sent there in the clear stays on this machine or next to it: the metadata
    /// service has an address of its own kind.
    pub(super) fn is_link_local(&self) -> bool {
        is_loopback(self.host()) || self.host() == "100.100.100.200"
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.server.uses_tls()
    }

    /// Its name or address, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        self.server.host()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

/// A `Content-Type`, and what has it.
pub(super) type Body = (&'static str, Bytes);

/// What is asked.
pub(super) struct Request<'a> {
    /// What the other side is to the user: "the metadata service".
    pub(super) what: &'static str,
    pub(super) method: Method,
    pub(super) address: &'a Address,
    pub(super) header: Option<(&'static str, &'a str)>,
    pub(super) body: Option<Body>,
    /// The time for all of it.
    pub(super) within: Duration,
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No connection.
    #[error("it cannot be reached: {0}")]
    Connect(String),
    /// A proxy is in the way.
    #[error("it cannot be reached: {0}")]
    Proxy(Cause),
    /// TLS failed.
    #[error("no secure connection: {0}")]
    Tls(Cause),
    /// It took too long.
    #[error("it did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It closed the connection before the end of its answer, or speaks something else.
    #[error("it broke off, or does not speak HTTP: {0}")]
    Broken(String),
    /// The answer has no end in sight.
    #[error("its answer is larger than {} KiB", .0 >> 10)]
    TooLarge(usize),
    /// The request cannot be made.
    #[error("it cannot be asked: {0}")]
    Request(String),
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Proxy { cause, .. } => Self::Proxy(cause),
            SendError::Tls(fault) => Self::Tls(fault),
            SendError::Closed(detail) => Self::Broken(detail),
            other => Self::Connect(other.to_string()),
        }
    }
}

/// Asks once.
pub(super) async fn fetch(http: &dyn Transport, ask: Request<'_>) -> Result<Response, Problem> {
    let deadline = Instant::now() + ask.within;
    let late = || Problem::Timeout(ask.within);
    match timeout_at(deadline, exchange(http, &ask)).await {
        // The connection has the same time, and its own words for it.
        Ok(Err(Problem::Connect(_))) if deadline <= Instant::now() => Err(late()),
        Ok(got) => got,
        Err(_) => Err(late()),
    }
}

async fn exchange(http: &dyn Transport, ask: &Request<'_>) -> Result<Response, Problem> {
    let url = format!("{}{}", ask.address, ask.address.target);
    let url = Url::parse(&url).map_err(|error| Problem::Request(error.to_string()))?;
    let mut sent = reqwest::Request::new(ask.method.clone(), url);
    let headers = sent.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some((name, value)) = ask.header {
        let mut value =
            HeaderValue::from_str(value).map_err(|e| Problem::Request(e.to_string()))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some((kind, bytes)) = &ask.body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        *sent.body_mut() = Some(bytes.clone().into());
    }

    let connect_within = ask.within.min(CONNECT_WITHIN);
    let terms = Terms { what: ask.what, connect_within, late: None };
    let response = http.send(sent, terms).await?;
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = read(response, MAX_BODY, None).await;
    let body = body.map_err(|error| Problem::Broken(innermost(&error)))?;
    Ok(Response { status, location, body: body.ok_or(Problem::TooLarge(MAX_BODY))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_paths() {
        for (text, shown, target) in [
            ("http://127.0.0.1:8080/hush?token=hush", "http://127.0.0.1:8080", "/hush?token=hush"),
            ("HTTPS://A.example:443", "https://a.example", "/"),
            (" http://[::1]:9/x ", "http://[::1]:9", "/x"),
            ("http://[fe80::1]/x", "http://[fe80::1]", "/x"),
            ("http://100.100.100.200", "http://100.100.100.200", "/"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.target.as_str()), (shown, target));
            assert!(!format!("{address:?}").contains("hush"));
        }
        for text in ["", "host/x", "ftp://h/", "http://u:p@h/", "http:///x", "http://h:0/", "a b"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_lead_from_where_they_are() {
        let here = Address::parse("http://h:8/a/b").unwrap();
        let there = here.follow("/c?d").unwrap();
        assert!(there.is_beside(&here) && there.target == "/c?d");
        assert!(here.follow("http://h:8/c").unwrap().is_beside(&here));
        for elsewhere in ["http://h/c", "https://h:8/c", "http://other:8/c"] {
            assert!(!here.follow(elsewhere).unwrap().is_beside(&here), "{elsewhere}");
        }
        assert!(here.follow("//other/c").is_err());
        assert_eq!(here.join("/x").target, "/a/b/x");
    }
}
