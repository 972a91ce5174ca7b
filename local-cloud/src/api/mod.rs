//! The OpenAPI: a call is read, perhaps given a fault, authenticated, carried out and answered.
//!
//! An action is a function in one of the files beside this one; adding a file of them is adding its `ACTIONS`
//! to [`find`].

mod assistant;
mod auth;
mod command;
mod compute_nest;
mod encoding;
mod error;
mod fleet;
mod idempotency;
mod instances;
mod private_key;
mod public_key;
mod request;
mod results;
mod sign;
mod sts;
mod terminal;

use std::{
    collections::BTreeMap,
    io,
    str::FromStr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Frame,
    header::{HeaderName, HeaderValue},
    http::request::Parts,
};
use serde_json::{Value, json};

use crate::{
    account::AccessKey,
    fault::{self, ApiEffect, ApiFault},
    instance::Instance,
    record::CallRecord,
    world::{Shared, World, random_hex},
};
pub(crate) use encoding::{Params, Reading, encode, parse};
use error::ApiError;
pub(crate) use idempotency::{Answered, Asked};
use request::{Request, Scheme};
pub(crate) use terminal::start_for as start_session;

/// The body of an answer. Its error cuts the connection.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The connection ends before an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut before the answer, as a fault asked")]
pub(crate) struct Cut;

/// An action of the API.
pub(crate) struct Action {
    name: &'static str,
    version: &'static str,
    is_signed: bool,
    run: fn(&mut Call<'_>) -> Result<Value, ApiError>,
}

impl Action {
    /// One of ECS.
    const fn ecs(name: &'static str, run: fn(&mut Call<'_>) -> Result<Value, ApiError>) -> Self {
        Self { name, version: "2014-05-26", is_signed: true, run }
    }

    /// One of STS.
    const fn sts(name: &'static str, run: fn(&mut Call<'_>) -> Result<Value, ApiError>) -> Self {
        Self { name, version: "2015-04-01", is_signed: true, run }
    }

    /// One of STS that nobody signs.
    const fn unsigned_sts(
        name: &'static str,
        run: fn(&mut Call<'_>) -> Result<Value, ApiError>,
    ) -> Self {
        Self { is_signed: false, ..Self::sts(name, run) }
    }
}

fn find(name: &str) -> Option<&'static Action> {
    let all = [
        terminal::ACTIONS,
        instances::ACTIONS,
        fleet::ACTIONS,
        assistant::ACTIONS,
        command::ACTIONS,
        compute_nest::ACTIONS,
        sts::ACTIONS,
    ];
    all.into_iter().flatten().find(|action| action.name == name)
}

/// A call that is authenticated, with what it may change.
pub(crate) struct Call<'a> {
    shared: &'a Shared,
    world: &'a mut World,
    key: &'a AccessKey,
    params: &'a Params,
}

impl Call<'_> {
    fn optional(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn require(&self, name: &str) -> Result<&str, ApiError> {
        let plain = name.split('.').next().unwrap_or(name);
        self.optional(name).ok_or_else(|| ApiError::missing(plain))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ApiError::invalid(name, "not a number in range"))
    }

    /// `Name.1`, `Name.2`, …
    fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|index| self.optional(&format!("{name}.{index}"))).collect()
    }

    /// The region that every call has to name.
    fn region(&self) -> Result<String, ApiError> {
        let region = self.require("RegionId")?;
        if self.world.regions.iter().any(|known| known == region) {
            return Ok(region.to_owned());
        }
        let message = format!("The specified RegionId {region} does not exist.");
        Err(ApiError::new(404, "InvalidRegionId.NotFound", message))
    }

    /// The instances of a region that `InstanceId.N` names, or all of them if it names none.
    fn instances(&self, region: &str) -> Vec<&Instance> {
        let wanted = self.list("InstanceId");
        let here = self.world.instances.values().filter(|instance| instance.region == region);
        here.filter(|i| wanted.is_empty() || wanted.contains(&i.id.as_str())).collect()
    }
}

/// What a call comes to.
struct Outcome {
    status: u16,
    code: Option<String>,
    body: Value,
}

/// Answers a call.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    parts: Parts,
    body: Bytes,
    accepted: Instant,
) -> Result<Response<Body>, Cut> {
    let (request, wrong) = Request::new(parts.method, &parts.uri, parts.headers, body);
    let request_id = request_id();
    shared.note(|state| state.add_call(record(&request, &request_id)));
    if shared.world().is_dead(accepted) {
        return std::future::pending().await; // and uses no fault up
    }
    let fault = fault::take_api(&mut shared.world().api_faults, request.action());

    if let Some(delay) = fault.as_ref().and_then(|fault| fault.delay) {
        tokio::time::sleep(delay).await;
    }
    let effect = fault.as_ref().map_or(ApiEffect::None, |fault| fault.effect.clone());
    let answered = |status: u16, code: Option<String>| {
        shared.note(|state| {
            state.answered(&request_id, |call| {
                call.status = status;
                call.code = code;
            });
        });
    };
    let outcome = match effect {
        ApiEffect::Silent => std::future::pending().await,
        ApiEffect::DeadConnections => {
            shared.world().connections_die();
            std::future::pending().await
        }
        ApiEffect::Cut => return Err(Cut),
        ApiEffect::Raw { status, content_type, body } => {
            answered(status, None);
            let mut response = response(shared, status, full(body.into()), fault.as_ref());
            if let Ok(value) = HeaderValue::from_str(&content_type) {
                response.headers_mut().insert("content-type", value);
            }
            return Ok(response);
        }
        ApiEffect::Error { status, code, message } => {
            failed(&ApiError::new(status, code, message), &request, &request_id)
        }
        ApiEffect::None | ApiEffect::CutMidway | ApiEffect::StallMidway => {
            match carry_out(shared, &request, wrong) {
                Ok(mut body) => {
                    body["RequestId"] = json!(request_id);
                    Outcome { status: 200, code: None, body }
                }
                Err(error) => failed(&error, &request, &request_id),
            }
        }
    };
    if let Some(late) = fault.as_ref().and_then(|fault| fault.late) {
        tokio::time::sleep(late).await;
    }
    answered(outcome.status, outcome.code);
    let lower = fault.as_ref().is_some_and(|fault| fault.lower_case);
    let body = if lower { lower_keys(outcome.body) } else { outcome.body };
    let text = Bytes::from(body.to_string());
    let body = match fault.as_ref().map(|fault| &fault.effect) {
        Some(ApiEffect::CutMidway) => half(&text),
        Some(ApiEffect::StallMidway) => stalling(&text),
        _ => full(text.clone()),
    };
    let mut response = response(shared, outcome.status, body, fault.as_ref());
    response.headers_mut().insert("content-length", HeaderValue::from(text.len()));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Authenticates the call and runs its action.
fn carry_out(
    shared: &Shared,
    request: &Request,
    wrong: Option<ApiError>,
) -> Result<Value, ApiError> {
    if let Some(error) = wrong {
        return Err(error);
    }
    let mut world = shared.world();
    let world = &mut *world;
    let now = world.settings.now();
    let name = request.action();
    let action = find(name);
    let key = match action {
        Some(action) if !action.is_signed => AccessKey::new("", ""),
        _ => auth::authenticate(world, request, now)?,
    };
    let action = action.ok_or_else(|| {
        let message = format!("Specified api is not found: {name}.");
        ApiError::new(404, "InvalidAction.NotFound", message)
    })?;
    if request.version() != action.version {
        let message = format!("Specified version is not {}.", action.version);
        return Err(ApiError::new(400, "InvalidVersion", message));
    }
    if key.denied.contains(name) && sts::ACTIONS.iter().any(|action| action.name == name) {
        return Err(sts::no_permission());
    }
    // The service is known to say nothing of it there, unless it is only asked whether it would.
    let in_silence = name == "DescribeInstances"
        && world.settings.empty_if_denied
        && request.params.get("DryRun").is_none_or(|dry| dry != "true");
    if key.denied.contains(name) && !in_silence {
        let message = format!(
            "User not authorized to operate on the specified resource, or this API doesn't support RAM. Action: ecs:{name}"
        );
        return Err(ApiError::new(403, "Forbidden.RAM", message));
    }
    (action.run)(&mut Call { shared, world, key: &key, params: &request.params })
}

fn failed(error: &ApiError, request: &Request, request_id: &str) -> Outcome {
    let host = request.header("host").unwrap_or_default();
    Outcome {
        status: error.status,
        code: Some(error.code.clone()),
        body: error.body(request_id, host),
    }
}

fn record(request: &Request, request_id: &str) -> CallRecord {
    CallRecord {
        action: request.action().to_owned(),
        params: request.params.clone(),
        headers: interesting(&request.headers),
        method: request.method.to_string(),
        signature: match request.scheme {
            Scheme::V1 => Some("v1"),
            Scheme::V3 => Some("v3"),
            Scheme::Unsigned => None,
        },
        status: 0,
        code: None,
        request_id: request_id.to_owned(),
        at: SystemTime::now(),
        violations: violations(request),
    }
}

/// What must not have been in a call.
fn violations(request: &Request) -> Vec<String> {
    let mut found = private_key::violations(&request.params);
    found.extend(fleet::violations(request.action(), &request.params));
    // A query stands in the logs of whatever is on the way.
    if request.query.contains_key("OIDCToken") {
        found.push("an OIDC token in the query".to_owned());
    }
    found
}

fn interesting(headers: &HeaderMap) -> BTreeMap<String, String> {
    let names = ["host", "user-agent", "authorization", "content-type"];
    let wanted = |name: &str| names.contains(&name) || name.starts_with("x-acs-");
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn response(shared: &Shared, status: u16, body: Body, fault: Option<&ApiFault>) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let now = httpdate::fmt_http_date(shared.world().settings.now());
    if let Ok(date) = HeaderValue::from_str(&now) {
        response.headers_mut().insert("date", date);
    }
    for (name, value) in fault.into_iter().flat_map(|fault| &fault.headers) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A body that is all there.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A body that breaks off in the middle, once its first half is on its way.
pub(crate) fn half(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let parts = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(Frame::data(half)), Some(Bytes::new()))),
            Some(_) => {
                tokio::task::yield_now().await; // lets hyper flush the first half
                Some((Err(io::Error::other("cut in the middle, as a fault asked")), None))
            }
            None => None,
        }
    });
    StreamBody::new(parts).boxed()
}

/// A body that stops after its first half, and does not end.
fn stalling(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let parts = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => std::future::pending().await,
        }
    });
    StreamBody::new(parts).boxed()
}

fn lower_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let mut chars = key.chars();
                let first = chars.next().map(|c| c.to_ascii_lowercase());
                (first.into_iter().chain(chars).collect::<String>(), lower_keys(value))
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(lower_keys).collect(),
        other => other,
    }
}

/// In the form the service gives them.
fn request_id() -> String {
    let hex = random_hex(16).to_ascii_uppercase();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_found_by_their_names() {
        assert!(find("StartTerminalSession").is_some());
        assert!(find("startTerminalSession").is_none());
    }

    #[test]
    fn keys_in_lower_case_at_every_depth() {
        let body = lower_keys(json!({"RequestId": "A", "Data": [{"Code": 1}]}));
        assert_eq!(body, json!({"requestId": "A", "data": [{"code": 1}]}));
    }

    #[test]
    fn request_ids_look_like_the_services() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.matches('-').count(), 4);
    }
}
