//! Access keys: who may call.

use std::{collections::BTreeSet, time::SystemTime};

/// What an access key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyState {
    /// It works.
    #[default]
    Active,
    /// Switched off: `InvalidAccessKeyId.Inactive`.
    Inactive,
    /// Its security token has run out: `InvalidSecurityToken.Expired`.
    Expired,
}

/// An access key that the cloud knows.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessKey {
    /// `AccessKeyId`.
    pub id: String,
    /// `AccessKeySecret`, which never crosses the wire.
    pub secret: String,
    /// The security token that has to come with it, if it is a temporary one.
    pub token: Option<String>,
    /// What it is worth.
    pub state: KeyState,
    /// When it ends, by the cloud's clock: `InvalidSecurityToken.Expired` from then on.
    pub expires: Option<SystemTime>,
    /// Actions its owner lacks the permission for: `Forbidden.RAM`.
    pub denied: BTreeSet<String>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("temporary", &self.token.is_some())
            .field("state", &self.state)
            .field("denied", &self.denied)
            .finish_non_exhaustive()
    }
}

impl AccessKey {
    /// An active, permanent key that may do everything.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            token: None,
            state: KeyState::Active,
            expires: None,
            denied: BTreeSet::new(),
        }
    }

    /// Makes it a temporary one, which needs this security token in each call.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// When it ends, by the cloud's clock.
    #[must_use]
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// Its state.
    #[must_use]
    pub fn state(mut self, state: KeyState) -> Self {
        self.state = state;
        self
    }

    /// Takes the permission for one action away.
    #[must_use]
    pub fn deny(mut self, action: impl Into<String>) -> Self {
        self.denied.insert(action.into());
        self
    }
}
