//! The calls of STS that this program makes, version 2015-04-01.

use secrecy::{ExposeSecret as _, SecretString};

use crate::openapi::answer::{AnswerError, field, text};
use crate::openapi::client::Client;
use crate::openapi::config::{Answer, Call};
use crate::openapi::error::{Error, Problem};
use crate::openapi::sign::Params;

const VERSION: &str = "2015-04-01";

/// What `AssumeRole` is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `RoleArn`, such as `acs:ram::1234567890:role/ops`.
    pub role_arn: String,
    /// `RoleSessionName`: stands in the account's logs.
    pub session_name: String,
    /// `DurationSeconds`: 900 and up to what the role allows.
    pub seconds: u64,
    /// `ExternalId`, for roles of other accounts.
    pub external_id: Option<String>,
    /// `Policy`: what the session is restricted to, of what the role may do.
    pub policy: Option<String>,
}

/// What `AssumeRoleWithOIDC` is asked.
#[derive(Clone, Debug)]
pub struct AssumeRoleWithOidc {
    /// As of [`AssumeRole`].
    pub role_arn: String,
    /// As of [`AssumeRole`].
    pub session_name: String,
    /// As of [`AssumeRole`].
    pub seconds: u64,
    /// `OIDCProviderArn`.
    pub provider_arn: String,
    /// `OIDCToken`.
    pub token: SecretString,
}

/// The keys of a role's session.
#[derive(Clone, Debug)]
pub struct RoleSession {
    /// `AccessKeyId`.
    pub access_key_id: String,
    /// `AccessKeySecret`.
    pub access_key_secret: SecretString,
    /// `SecurityToken`.
    pub security_token: SecretString,
    /// `Expiration`, as it was written.
    pub expiration: Option<String>,
}

impl Client {
    /// `AssumeRole`: exchanges the client's credentials for those of a role.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn assume_role(&self, request: &AssumeRole) -> Result<RoleSession, Error> {
        let AssumeRole { role_arn, session_name, seconds, external_id, policy } = request;
        let mut params = params(role_arn, session_name, *seconds);
        if let Some(id) = external_id {
            params.insert("ExternalId".to_owned(), id.clone());
        }
        if let Some(policy) = policy {
            params.insert("Policy".to_owned(), policy.clone());
        }
        let call = Call {
            action: "AssumeRole",
            version: VERSION,
            params,
            // A session more does no harm: there is no limit on them.
            idempotent: true,
            is_signed: true,
            secret: None,
            subject: Some(role_arn.clone()),
        };
        let answer = self.call(&call).await?;
        self.session(&call, &answer)
    }

    /// `AssumeRoleWithOIDC`: exchanges an identity provider's token for the credentials of a role. It
    /// is not signed.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn assume_role_with_oidc(
        &self,
        request: &AssumeRoleWithOidc,
    ) -> Result<RoleSession, Error> {
        let AssumeRoleWithOidc { role_arn, session_name, seconds, provider_arn, token } = request;
        let mut params = params(role_arn, session_name, *seconds);
        params.insert("OIDCProviderArn".to_owned(), provider_arn.clone());
        params.insert("OIDCToken".to_owned(), token.expose_secret().to_owned());
        let call = Call {
            action: "AssumeRoleWithOIDC",
            version: VERSION,
            params,
            idempotent: true,
            is_signed: false,
            secret: Some("OIDCToken"),
            subject: Some(role_arn.clone()),
        };
        let answer = self.call(&call).await?;
        self.session(&call, &answer)
    }

    fn session(&self, call: &Call, (value, request_id): &Answer) -> Result<RoleSession, Error> {
        let missing = |field| {
            let problem = Problem::Answer(AnswerError::Missing { field });
            self.error(call, (problem, request_id.clone()), 1)
        };
        let keys = field(value, "Credentials").ok_or_else(|| missing("Credentials"))?;
        let need = |name| text(keys, name).ok_or_else(|| missing(name));
        Ok(RoleSession {
            access_key_id: need("AccessKeyId")?,
            access_key_secret: need("AccessKeySecret")?.into(),
            security_token: need("SecurityToken")?.into(),
            expiration: text(keys, "Expiration"),
        })
    }
}

fn params(role_arn: &str, session_name: &str, seconds: u64) -> Params {
    Params::from([
        ("RoleArn".to_owned(), role_arn.to_owned()),
        ("RoleSessionName".to_owned(), session_name.to_owned()),
        ("DurationSeconds".to_owned(), seconds.to_string()),
    ])
}
