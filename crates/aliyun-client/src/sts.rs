//! The calls of STS that this program makes, version 2015-04-01.

use secrecy::{ExposeSecret as _, SecretString};

use crate::openapi::answer::{field, text};
use crate::openapi::client::Client;
use crate::openapi::config::Call;
use crate::openapi::error::Error;

const VERSION: &str = "2015-04-01";

/// The session of a role that `AssumeRole` or `AssumeRoleWithOIDC` creates.
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
    pub async fn assume_role(&self, role: &AssumeRole) -> Result<RoleSession, Error> {
        let mut call = call("AssumeRole", role);
        call.set("ExternalId", role.external_id.clone());
        call.set("Policy", role.policy.clone());
        self.session(call).await
    }

    /// `AssumeRoleWithOIDC`: exchanges an identity provider's token for the credentials of a role. It
    /// is not signed, and takes neither external id nor policy. `provider_arn` is `OIDCProviderArn`,
    /// `token` is `OIDCToken`.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn assume_role_with_oidc(
        &self,
        role: &AssumeRole,
        provider_arn: &str,
        token: &SecretString,
    ) -> Result<RoleSession, Error> {
        let mut call = call("AssumeRoleWithOIDC", role);
        call.set("OIDCProviderArn", provider_arn.to_owned());
        call.set("OIDCToken", token.expose_secret().to_owned());
        (call.is_signed, call.secret) = (false, Some("OIDCToken"));
        self.session(call).await
    }

    async fn session(&self, call: Call) -> Result<RoleSession, Error> {
        let answer = self.call(&call).await?;
        let missing = |field| self.missing(&call, &answer, field);
        let keys = field(&answer.0, "Credentials").ok_or_else(|| missing("Credentials"))?;
        let need = |name| text(keys, name).ok_or_else(|| missing(name));
        Ok(RoleSession {
            access_key_id: need("AccessKeyId")?,
            access_key_secret: need("AccessKeySecret")?.into(),
            security_token: need("SecurityToken")?.into(),
            expiration: text(keys, "Expiration"),
        })
    }
}

fn call(action: &'static str, role: &AssumeRole) -> Call {
    let params = [
        ("RoleArn".to_owned(), role.role_arn.clone()),
        ("RoleSessionName".to_owned(), role.session_name.clone()),
        ("DurationSeconds".to_owned(), role.seconds.to_string()),
    ];
    Call {
        action,
        version: VERSION,
        params: params.into(),
        // A session more does no harm: there is no limit on them.
        idempotent: true,
        is_signed: true,
        is_last: false,
        secret: None,
        subject: Some(role.role_arn.clone()),
    }
}
