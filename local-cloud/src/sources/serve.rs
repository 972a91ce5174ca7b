//! The answers of the metadata service and of the credentials URI.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::{HeaderMap, Method, Response, StatusCode, header::HeaderValue, http::request::Parts};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Issued, MetadataTokens, SourcePart, SourceRecord,
    fault::{SourceEffect, SourceFault},
    login, take_source,
};
use crate::{
    api::{Body, Cut, full, half},
    world::{Shared, World},
};

/// Where the credentials URI is.
pub(crate) const URI_PATH: &str = "/credentials";
const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
/// The longest a token may be good for.
const MAX_TTL: u32 = 21_600;

/// An answer before it is one.
struct Answer {
    status: u16,
    content_type: String,
    location: Option<String>,
    body: String,
    access_key_id: Option<String>,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        let content_type = "text/plain".to_owned();
        Self { status, content_type, location: None, body: body.into(), access_key_id: None }
    }

    fn keys(issued: &Issued) -> Self {
        let body = json!({
            "AccessKeyId": issued.id,
            "AccessKeySecret": issued.secret,
            "SecurityToken": issued.token,
            "Expiration": issued.expiration,
            "LastUpdated": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "Code": "Success",
        });
        let answer = Self::text(200, body.to_string());
        let content_type = "application/json".to_owned();
        Self { content_type, access_key_id: Some(issued.id.clone()), ..answer }
    }
}

/// What a path asks for, if it is of a source.
pub(crate) fn concerns(path: &str) -> Option<SourcePart> {
    match path {
        URI_PATH => Some(SourcePart::Uri),
        TOKEN_PATH => Some(SourcePart::MetadataToken),
        ROLE_PATH => Some(SourcePart::MetadataRole),
        "/cloud-credentials" => Some(SourcePart::CloudSso),
        "/v1/token" => Some(SourcePart::OAuthToken),
        "/v1/exchange" => Some(SourcePart::OAuthExchange),
        path if path.starts_with(ROLE_PATH) => Some(SourcePart::MetadataKeys),
        _ => None,
    }
}

/// Answers a question.
pub(crate) async fn answer(
    shared: &Shared,
    part: SourcePart,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response<Body>, Cut> {
    let path = parts.uri.path();
    let fault = take_source(&mut shared.world().source_faults, part);
    let record = SourceRecord {
        part,
        method: parts.method.to_string(),
        path: path.to_owned(),
        status: 0,
        access_key_id: None,
        at: SystemTime::now(),
    };
    let number = shared.note(|state| state.add_source(record)).unwrap_or_default();
    let delay = fault.as_ref().and_then(|fault| fault.delay).unwrap_or_default();
    let effect = fault.map_or(SourceEffect::None, |fault: SourceFault| fault.effect);
    let is_cut = effect == SourceEffect::CutMidway;
    let answer = match effect {
        SourceEffect::Silent => std::future::pending().await,
        SourceEffect::Cut => {
            sleep(delay).await;
            return Err(Cut);
        }
        SourceEffect::Raw { status, content_type, body } => {
            Answer { content_type, ..Answer::text(status, body) }
        }
        SourceEffect::Redirect { status, location } => {
            Answer { location: Some(location), ..Answer::text(status, "") }
        }
        SourceEffect::None | SourceEffect::CutMidway => {
            let mut world = shared.world();
            let name = path.strip_prefix(ROLE_PATH).unwrap_or_default();
            match part {
                SourcePart::CloudSso | SourcePart::OAuthToken | SourcePart::OAuthExchange => {
                    let (status, body, access_key_id) =
                        login::answer(&mut world, part, &parts.method, &parts.headers, body);
                    let content_type = "application/json".to_owned();
                    let answer = Answer::text(status, body.to_string());
                    Answer { content_type, access_key_id, ..answer }
                }
                _ => usual(&mut world, part, &parts.method, &parts.headers, name),
            }
        }
    };
    // What was asked for is done by then, whether anybody is there to hear of it or not.
    sleep(delay).await;
    shared.note(|state| {
        state.source_answered(number, |record| {
            record.status = answer.status;
            record.access_key_id.clone_from(&answer.access_key_id);
        });
    });
    Ok(response(answer, is_cut))
}

/// What is answered when nothing goes wrong.
fn usual(
    world: &mut World,
    part: SourcePart,
    method: &Method,
    headers: &HeaderMap,
    name: &str,
) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if part == SourcePart::Uri {
        if method != Method::GET {
            return Answer::text(405, "only GET\n");
        }
        let lifetime = world.uri_lifetime;
        return Answer::keys(&world.issue(lifetime, &[]));
    }
    if part == SourcePart::MetadataToken {
        if world.metadata.tokens == MetadataTokens::Unknown {
            return Answer::text(404, "404 - Not Found\n");
        }
        if method != Method::PUT {
            return Answer::text(405, "only PUT\n");
        }
        let ttl = header("x-aliyun-ecs-metadata-token-ttl-seconds");
        let is_fine = |ttl: u32| (1..=MAX_TTL).contains(&ttl);
        if !ttl.and_then(|ttl| ttl.parse().ok()).is_some_and(is_fine) {
            return Answer::text(400, "a ttl from 1 to 21600 has to be in the header\n");
        }
        return Answer::text(200, world.metadata.give_token());
    }
    if method != Method::GET {
        return Answer::text(405, "only GET\n");
    }
    if !world.metadata.takes(header("x-aliyun-ecs-metadata-token")) {
        return Answer::text(403, "a token has to be in the header\n");
    }
    match world.metadata.role.clone() {
        Some(role) if part == SourcePart::MetadataRole => Answer::text(200, format!("{role}\n")),
        Some(role) if role == name => {
            let lifetime = world.metadata.lifetime;
            Answer::keys(&world.issue(lifetime, &[]))
        }
        _ => Answer::text(404, "404 - Not Found\n"),
    }
}

fn response(answer: Answer, is_cut: bool) -> Response<Body> {
    let bytes = Bytes::from(answer.body);
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(if is_cut { half(&bytes) } else { full(bytes) });
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-length", length);
    if let Ok(kind) = HeaderValue::from_str(&answer.content_type) {
        headers.insert("content-type", kind);
    }
    if let Some(location) = answer.location.and_then(|l| HeaderValue::from_str(&l).ok()) {
        headers.insert("location", location);
    }
    response
}
