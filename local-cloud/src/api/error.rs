//! The errors the API answers with.

use serde_json::{Value, json};

/// An error with its code, as the service writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!("The input parameter {parameter} that is mandatory is missing.");
        Self::new(400, format!("MissingParameter.{parameter}"), message)
    }

    pub(crate) fn invalid(parameter: &str, why: &str) -> Self {
        let message = format!("The specified parameter {parameter} is not valid: {why}.");
        Self::new(400, format!("InvalidParameter.{parameter}"), message)
    }

    /// The answer's body.
    pub(crate) fn body(&self, request_id: &str, host: &str) -> Value {
        json!({
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": format!("https://api.aliyun.com/troubleshoot?q={}", self.code),
        })
    }
}
