//! What the metadata service of an instance knows, and how strict it is.

use std::collections::VecDeque;

use super::Lifetime;
use crate::world::random_hex;

/// So many tokens are remembered.
const TOKENS: usize = 1_024;

/// Whether the metadata service wants to be shown a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MetadataTokens {
    /// It does, and gives one to whoever asks (its version 2 alone).
    #[default]
    Required,
    /// It takes one, and does without (both versions).
    Optional,
    /// It does not know of tokens, and answers 404 where they are asked for.
    Unknown,
}

/// The metadata service of the instance that the client is taken to run on.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// The RAM role that is attached to the instance.
    pub role: Option<String>,
    /// How long its keys hold.
    pub lifetime: Lifetime,
    /// Whether it wants tokens.
    pub tokens: MetadataTokens,
    pub(crate) given: VecDeque<String>,
}

impl Metadata {
    /// A service on an instance without a role.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Attaches a role to the instance.
    #[must_use]
    pub fn role(mut self, name: impl Into<String>) -> Self {
        self.role = Some(name.into());
        self
    }

    /// How long its keys hold (an hour).
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whether it wants tokens (it does).
    #[must_use]
    pub fn tokens(mut self, tokens: MetadataTokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// A new token.
    pub(crate) fn give_token(&mut self) -> String {
        let token = random_hex(32);
        self.given.push_back(token.clone());
        if self.given.len() > TOKENS {
            self.given.pop_front();
        }
        token
    }

    /// Whether a question with this token, or with none, is answered.
    pub(crate) fn takes(&self, token: Option<&str>) -> bool {
        match (self.tokens, token) {
            (MetadataTokens::Required, None) => false,
            (MetadataTokens::Required | MetadataTokens::Optional, Some(token)) => {
                self.given.iter().any(|given| given == token)
            }
            _ => true,
        }
    }
}
