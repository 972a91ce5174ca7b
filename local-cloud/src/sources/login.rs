//! The services that people sign in to with a browser: CloudSSO, and OAuth with refresh tokens that work once.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{Issued, Lifetime, SourcePart};
use crate::{
    api::{Reading, parse},
    world::{World, random_hex},
};

/// The clients that the OAuth service knows.
const CLIENTS: [&str; 2] = ["4038181954557748008", "4103531455503354461"];

/// Who has signed in, and for how long.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Logins {
    /// Access tokens that are good for keys.
    pub access_tokens: BTreeSet<String>,
    /// The OAuth refresh token that works next. It works once.
    pub refresh_token: Option<String>,
    /// How long the keys hold.
    pub lifetime: Lifetime,
    /// The seconds that an OAuth access token is told to hold.
    pub token_seconds: u32,
}

impl Logins {
    /// Nobody has signed in.
    #[must_use]
    pub fn new() -> Self {
        Self { token_seconds: 3_600, ..Self::default() }
    }

    /// This access token is good for keys.
    #[must_use]
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.access_tokens.insert(token.into());
        self
    }

    /// This OAuth refresh token works once.
    #[must_use]
    pub fn refresh_token(mut self, token: impl Into<String>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// How long the keys hold (an hour).
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }
}

/// The status, the body, and the AccessKeyId that was handed out.
pub(super) type Answered = (u16, Value, Option<String>);

fn refused(status: u16, error: &str) -> Answered {
    (status, json!({ "error": error }), None)
}

/// What one of the services answers.
pub(super) fn answer(
    world: &mut World,
    part: SourcePart,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answered {
    if method != Method::POST {
        return refused(405, "method_not_allowed");
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if part == SourcePart::OAuthToken {
        return token(world, header("content-type"), body);
    }
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !bearer.is_some_and(|token| world.logins.access_tokens.contains(token)) {
        return refused(401, "invalid_token");
    }
    if part == SourcePart::CloudSso {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let has = |name: &str| asked[name].as_str().is_some_and(|text| !text.is_empty());
        if header("content-type") != Some("application/json")
            || !has("AccountId")
            || !has("AccessConfigurationId")
        {
            return refused(400, "InvalidParameter");
        }
    }
    let lifetime = world.logins.lifetime;
    let Issued { id, secret, token, expiration } = world.issue(lifetime, &[]);
    let body = match part {
        SourcePart::CloudSso => json!({"CloudCredential": {
            "AccessKeyId": id, "AccessKeySecret": secret, "SecurityToken": token, "Expiration": expiration,
        }}),
        _ => json!({
            "accessKeyId": id, "accessKeySecret": secret, "securityToken": token, "expiration": expiration,
        }),
    };
    (200, body, Some(id))
}

/// A refresh token for an access token and the next refresh token.
fn token(world: &mut World, kind: Option<&str>, body: &Bytes) -> Answered {
    if kind != Some("application/x-www-form-urlencoded") {
        return refused(400, "invalid_request");
    }
    let fields = parse(&String::from_utf8_lossy(body), Reading::Form).unwrap_or_default();
    let field = |name: &str| fields.get(name).map(String::as_str);
    if field("grant_type") != Some("refresh_token") {
        return refused(400, "unsupported_grant_type");
    }
    if !field("client_id").is_some_and(|id| CLIENTS.contains(&id)) {
        return refused(401, "invalid_client");
    }
    if field("refresh_token").is_none()
        || field("refresh_token") != world.logins.refresh_token.as_deref()
    {
        return refused(400, "invalid_grant");
    }
    let (access, refresh) =
        (format!("access/+{}", random_hex(16)), format!("refresh/+{}", random_hex(16)));
    world.logins.access_tokens.insert(access.clone());
    world.logins.refresh_token = Some(refresh.clone());
    let seconds = world.logins.token_seconds;
    (
        200,
        json!({"access_token": access, "refresh_token": refresh, "expires_in": seconds, "token_type": "Bearer"}),
        None,
    )
}
