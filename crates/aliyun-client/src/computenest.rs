//! Compute Nest: calls of ECS that are made on behalf of a service instance, version 2021-05-21.

use serde_json::{Map, Value};

use crate::ecs::sessions::{check_id, terminal_session};
use crate::ecs::{StartTerminalSession, TerminalSession};
use crate::endpoint::{Endpoint, EndpointError};
use crate::openapi::answer::text;
use crate::openapi::client::{Client, random_hex};
use crate::openapi::config::{Answer, Call};
use crate::openapi::error::Error;

const ACTION: &str = "InvokeServiceInstanceOperationAPI";
const VERSION: &str = "2021-05-21";
/// The version of the ECS API whose calls are made.
const ECS_VERSION: &str = "2014-05-26";
/// Where Compute Nest is, for every region.
const HOST: &str = "computenestsupplier.cn-hangzhou.aliyuncs.com";

/// The endpoint of Compute Nest, or another one in its place.
///
/// # Errors
/// When the other one is no endpoint.
pub fn endpoint(given: Option<&str>) -> Result<Endpoint, EndpointError> {
    Endpoint::parse(given.filter(|given| !given.is_empty()).unwrap_or(HOST))
}

/// The sessions of a service instance. Its client is one of Compute Nest's [`endpoint`].
#[derive(Clone, Debug)]
pub struct ServiceInstance {
    /// `ServiceInstanceId`.
    pub id: String,
    /// What calls Compute Nest.
    pub client: Client,
}

impl ServiceInstance {
    /// `StartTerminalSession`, as [`Client::start_terminal_session`] has it.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn start_terminal_session(
        &self,
        request: &StartTerminalSession,
        unwanted: impl Future<Output = ()>,
    ) -> Result<TerminalSession, Error> {
        let client = &self.client;
        let call = self.prepare("StartTerminalSession", request.check())?;
        let token = random_hex().map_err(|problem| client.error(&call, (problem, None), 0))?;
        let fields = request.fields(&token).into_iter().map(|(name, value)| match name {
            "InstanceId.1" => ("InstanceId".to_owned(), Value::from(vec![value])),
            // The API's own SDKs send it as a number.
            "PortNumber" => (name.to_owned(), request.port.map_or(Value::Null, Value::from)),
            name => (name.to_owned(), value.into()),
        });
        let call = self.with(call, "StartTerminalSession", fields.collect());
        let answer = client.call_unless(&call, unwanted).await?;
        let results = self.results(&call, &answer)?;
        terminal_session(&results).map_err(|field| client.missing(&call, &results, field))
    }

    /// `EndTerminalSession`.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn end_terminal_session(&self, session_id: &str) -> Result<(), Error> {
        let call = self.prepare("EndTerminalSession", check_id("session id", session_id))?;
        let fields = [("SessionId".to_owned(), session_id.into())].into_iter().collect();
        let mut call = self.with(call, "EndTerminalSession", fields);
        call.is_last = true;
        self.client.call(&call).await.map(drop)
    }

    fn prepare(&self, operation: &'static str, checked: Result<(), String>) -> Result<Call, Error> {
        let checked = checked.and_then(|()| check_id("service instance id", &self.id));
        let call = self.client.prepare(ACTION, Some(self.id.clone()), checked)?;
        tracing::debug!(operation, "is called through Compute Nest");
        Ok(Call { version: VERSION, ..call })
    }

    fn with(&self, mut call: Call, operation: &str, mut fields: Map<String, Value>) -> Call {
        fields.insert("RegionId".to_owned(), self.client.config().region.as_str().into());
        let fields = Value::Object(fields).to_string();
        for (name, value) in [
            ("ServiceInstanceId", self.id.as_str()),
            ("OperationProduct", "ecs"),
            ("OperationAction", operation),
            ("OperationVersion", ECS_VERSION),
            ("OperationParameters", &fields),
        ] {
            call.set(name, value.to_owned());
        }
        call
    }

    /// The answer of the inner call: `OperationResults`, JSON in a string, or as it is.
    fn results(&self, call: &Call, answer: &Answer) -> Result<Answer, Error> {
        const FIELD: &str = "OperationResults";
        let results = match answer.0.get(FIELD) {
            Some(results @ Value::Object(_)) => Some(results.clone()),
            _ => text(&answer.0, FIELD).and_then(|text| serde_json::from_str(&text).ok()),
        };
        let results = results.ok_or_else(|| self.client.missing(call, answer, FIELD))?;
        Ok((results, answer.1.clone()))
    }
}
