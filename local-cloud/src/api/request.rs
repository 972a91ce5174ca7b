//! A call as it came over the wire, taken apart no further than its parameters.

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};

use super::{
    encoding::{Params, Reading, parse},
    error::ApiError,
    sign::V3_ALGORITHM,
};

/// Which signature a call claims to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    V1,
    V3,
    /// None: some calls of STS need none.
    Unsigned,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) scheme: Scheme,
    /// Parameters of the query alone.
    pub(crate) query: Params,
    /// Parameters of the query and the form together.
    pub(crate) params: Params,
}

impl Request {
    /// Reads the parameters. The second value says what was wrong with them; what could be read is there, so that the
    /// call can be recorded.
    pub(crate) fn new(
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (Self, Option<ApiError>) {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
        let v3 = authorization.is_some_and(|value| value.starts_with(V3_ALGORITHM));
        let reading = if v3 { Reading::Canonical } else { Reading::Form };
        let mut wrong = None;
        let mut read = |raw: &str, reading| {
            parse(raw, reading).unwrap_or_else(|error| {
                wrong = Some(ApiError::new(400, "InvalidParameter", error.to_string()));
                parse(raw, Reading::Form).unwrap_or_default()
            })
        };
        let query = read(uri.query().unwrap_or_default(), reading);
        let mut params = query.clone();
        if is_form(&headers) {
            let form = read(&String::from_utf8_lossy(&body), Reading::Form);
            // The vendor's Python SDK sends RegionId in both, which is fine as long as they agree.
            let differs = |(name, value): &(&String, &String)| {
                query.get(*name).is_some_and(|other| other != *value)
            };
            let twice = form.iter().find(differs).map(|(name, _)| name.clone());
            params.extend(form);
            if let Some(name) = twice {
                let message =
                    format!("the parameter {name} is another one in the query than in the form");
                wrong = Some(ApiError::new(400, "InvalidParameter", message));
            }
        }
        let scheme = match (v3, params.contains_key("Signature")) {
            (true, _) => Scheme::V3,
            (false, true) => Scheme::V1,
            (false, false) => Scheme::Unsigned,
        };
        let path = uri.path().to_owned();
        (Self { method, path, headers, body, scheme, query, params }, wrong)
    }

    /// A header's text; nothing if it is not there, or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What is to be done: a header in V3, a parameter in V1.
    pub(crate) fn action(&self) -> &str {
        self.named("x-acs-action", "Action")
    }

    /// The version of the API.
    pub(crate) fn version(&self) -> &str {
        self.named("x-acs-version", "Version")
    }

    fn named(&self, header: &str, parameter: &str) -> &str {
        match self.scheme {
            Scheme::V3 => self.header(header),
            _ => self.params.get(parameter).map(String::as_str),
        }
        .unwrap_or_default()
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}
