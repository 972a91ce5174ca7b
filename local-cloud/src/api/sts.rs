//! STS: roles are assumed, with an access key or with a token of an identity provider.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Action, ApiError, Call};
use crate::sources::{Lifetime, Role};

/// The sessions that may be asked for, in seconds.
const SHORTEST: u64 = 900;
const USUAL: u64 = 3_600;

pub(super) const ACTIONS: &[Action] = &[
    Action::sts("AssumeRole", assume_role),
    Action::unsigned_sts("AssumeRoleWithOIDC", assume_role_with_oidc),
];

fn assume_role(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let (role, session, seconds) = wanted(call)?;
    if role.external_id.as_deref().is_some_and(|id| call.optional("ExternalId") != Some(id)) {
        return Err(no_permission());
    }
    let policy = call.optional("Policy").map(serde_json::from_str::<Value>);
    if policy.is_some_and(|policy| !policy.is_ok_and(|policy| policy.is_object())) {
        return Err(ApiError::invalid("Policy", "it is not a policy in JSON"));
    }
    Ok(answer(call, &role, &session, seconds))
}

fn assume_role_with_oidc(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let provider = call.require("OIDCProviderArn")?.to_owned();
    let token = call.require("OIDCToken")?.to_owned();
    let (role, session, seconds) = wanted(call)?;
    let mut of_provider = role.tokens.iter().filter(|known| known.provider == provider).peekable();
    if of_provider.peek().is_none() {
        let message = "The specified OIDC Provider does not exist.";
        return Err(ApiError::new(404, "EntityNotExist.OIDCProvider", message));
    }
    match of_provider.find(|known| known.token == token) {
        None => {
            let message = "The OIDC Token is invalid.";
            Err(ApiError::new(400, "AuthenticationFail.OIDCToken.Invalid", message))
        }
        Some(known) if known.is_over => {
            let message = "The OIDC Token is expired.";
            Err(ApiError::new(400, "AuthenticationFail.OIDCToken.Expired", message))
        }
        Some(_) => Ok(answer(call, &role, &session, seconds)),
    }
}

/// What STS says to whoever may not.
pub(super) fn no_permission() -> ApiError {
    let message =
        "You are not authorized to do this action. You should be authorized by RAM.".to_owned();
    ApiError::new(403, "NoPermission", message)
}

/// The role, the session's name, and for how many seconds it is asked for.
fn wanted(call: &Call<'_>) -> Result<(Role, String, u64), ApiError> {
    let arn = call.require("RoleArn")?;
    if !is_arn(arn) {
        return Err(ApiError::invalid("RoleArn", "it is not acs:ram::ACCOUNT:role/NAME"));
    }
    let session = call.require("RoleSessionName")?;
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(is_fine) {
        return Err(ApiError::invalid("RoleSessionName", "it is not 2 to 64 of its characters"));
    }
    let seconds = call.number::<u64>("DurationSeconds")?.unwrap_or(USUAL);
    let Some(role) = call.world.roles.get(arn) else {
        let message = format!("The specified role not exists: {arn}.");
        return Err(ApiError::new(404, "EntityNotExist.Role", message));
    };
    if seconds < SHORTEST || seconds > role.max_session.as_secs() {
        let why = format!("it is not from {SHORTEST} to {}", role.max_session.as_secs());
        return Err(ApiError::invalid("DurationSeconds", &why));
    }
    Ok((role.clone(), session.to_owned(), seconds))
}

fn is_arn(arn: &str) -> bool {
    let rest = arn.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/"));
    rest.is_some_and(|(account, name)| {
        !name.is_empty() && !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit())
    })
}

fn answer(call: &mut Call<'_>, role: &Role, session: &str, seconds: u64) -> Value {
    let asked = Lifetime::new(Duration::from_secs(seconds));
    let denied: Vec<String> = role.denied.iter().cloned().collect();
    let issued = call.world.issue(role.lifetime.unwrap_or(asked), &denied);
    json!({
        "AssumedRoleUser": {
            "Arn": format!("{}/{session}", role.arn),
            "AssumedRoleId": format!("300000000000000000:{session}"),
        },
        "Credentials": {
            "AccessKeyId": issued.id,
            "AccessKeySecret": issued.secret,
            "SecurityToken": issued.token,
            "Expiration": issued.expiration,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_roles() {
        assert!(is_arn("acs:ram::1234567890:role/ops"));
        for other in ["", "ops", "acs:ram::x:role/ops", "acs:ram::1:role/", "acs:ram::1:user/u"] {
            assert!(!is_arn(other), "{other}");
        }
    }
}
