//! RAM roles, which are assumed through STS.

use std::{collections::BTreeSet, time::Duration};

use super::Lifetime;

/// A RAM role. Every access key may assume it that was not denied the action.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Role {
    /// Its ARN, such as `acs:ram::1234567890:role/ops`.
    pub arn: String,
    /// How long its sessions hold; as long as is asked for, if it does not say.
    pub lifetime: Option<Lifetime>,
    /// The longest session that may be asked for.
    pub max_session: Duration,
    /// The ExternalId that has to come with the call.
    pub external_id: Option<String>,
    /// Actions that its sessions lack the permission for.
    pub denied: BTreeSet<String>,
    /// Identity providers that it trusts, with the tokens that they have issued for it.
    pub(crate) tokens: Vec<OidcToken>,
}

/// A token of an identity provider.
#[derive(Debug, Clone)]
pub(crate) struct OidcToken {
    pub(crate) provider: String,
    pub(crate) token: String,
    pub(crate) is_over: bool,
}

impl Role {
    /// A role that may do everything.
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            lifetime: None,
            max_session: Duration::from_secs(3600),
            external_id: None,
            denied: BTreeSet::new(),
            tokens: Vec::new(),
        }
    }

    /// How long its sessions hold, whatever is asked for.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The longest session that may be asked for (1 h).
    #[must_use]
    pub fn max_session(mut self, longest: Duration) -> Self {
        self.max_session = longest;
        self
    }

    /// The ExternalId that has to come with the call.
    #[must_use]
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Takes the permission for one action away from its sessions.
    #[must_use]
    pub fn deny(mut self, action: impl Into<String>) -> Self {
        self.denied.insert(action.into());
        self
    }

    /// Whoever has this token of this identity provider may assume it.
    #[must_use]
    pub fn oidc_token(self, provider: impl Into<String>, token: impl Into<String>) -> Self {
        self.with_token(provider.into(), token.into(), false)
    }

    /// A token that is over: `AuthenticationFail.OIDCToken.Expired`.
    #[must_use]
    pub fn expired_oidc_token(self, provider: impl Into<String>, token: impl Into<String>) -> Self {
        self.with_token(provider.into(), token.into(), true)
    }

    fn with_token(mut self, provider: String, token: String, is_over: bool) -> Self {
        self.tokens.push(OidcToken { provider, token, is_over });
        self
    }
}
