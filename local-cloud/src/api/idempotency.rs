//! ClientToken: the same call again, because its answer was lost, is carried out once and answered the same.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Call, Params, error::ApiError};
use crate::world::REMEMBERED;

/// Longest ClientToken.
const MAX_TOKEN: usize = 64;

/// Parameters that say nothing about what is asked for, and differ from one try to the next.
const COMMON: [&str; 10] = [
    "Action",
    "Version",
    "Format",
    "AccessKeyId",
    "SignatureMethod",
    "SignatureVersion",
    "SignatureNonce",
    "Signature",
    "Timestamp",
    "SecurityToken",
];

/// What was asked for with a ClientToken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    key: String,
    token: String,
    action: &'static str,
    params: Params,
}

impl Asked {
    /// What a call asks for, if it has a ClientToken.
    pub(super) fn of(call: &Call<'_>, action: &'static str) -> Result<Option<Self>, ApiError> {
        let Some(token) = call.optional("ClientToken") else { return Ok(None) };
        if token.len() > MAX_TOKEN || !token.is_ascii() {
            let why = "it has more than 64 characters, or others than those of ASCII";
            return Err(ApiError::invalid("ClientToken", why));
        }
        let business = |name: &String| name.starts_with(|c: char| c.is_ascii_uppercase());
        let mut params = call.params.clone();
        params.retain(|name, _| business(name) && !COMMON.contains(&name.as_str()));
        Ok(Some(Self { key: call.key.id.clone(), token: token.to_owned(), action, params }))
    }

    /// Whether it was asked with the same token, by the same client.
    pub(super) fn has_token_of(&self, other: &Self) -> bool {
        self.key == other.key && self.token == other.token
    }

    /// A token that comes again has to come with all that it came with before.
    pub(super) fn same(&self, other: &Self) -> Result<(), ApiError> {
        if self == other {
            return Ok(());
        }
        let message = "The specified ClientToken was used with other parameters.";
        Err(ApiError::new(400, "IdempotentParameterMismatch", message))
    }
}

/// The answers to calls with a ClientToken, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Answered(VecDeque<(Asked, Value)>);

impl Answered {
    /// The answer that the same call was given before.
    pub(super) fn find(&self, asked: Option<&Asked>) -> Result<Option<Value>, ApiError> {
        let Some(asked) = asked else { return Ok(None) };
        let before = self.0.iter().find(|(before, _)| before.has_token_of(asked));
        before.map(|(before, answer)| before.same(asked).map(|()| answer.clone())).transpose()
    }

    pub(super) fn add(&mut self, asked: Option<Asked>, answer: &Value) {
        let Some(asked) = asked else { return };
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((asked, answer.clone()));
    }
}
