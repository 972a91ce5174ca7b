//! The source of credentials that a profile or the environment names. Nothing is sent yet.

use std::fmt;

use super::cached::CachedCredentials;
use super::external::Program;
use super::fetch::Address;
use super::keys::Credentials;
use super::login::Login;
use super::metadata::Metadata;
use super::oidc::Oidc;
use super::problem::LookedAt;
use super::role::Role;
use super::source::Source;

/// Listed last where nothing was found.
pub(super) fn no_uri() -> LookedAt {
    LookedAt::Other("CREDENTIALS_URI with the same: not set".to_owned())
}

/// The source of credentials. `Display` says where it was named.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialSource {
    pub(super) source: Source,
    pub(super) kind: SourceKind,
    /// What they are exchanged for, one after the other.
    pub(super) roles: Vec<(Role, Source)>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum SourceKind {
    /// As they stand.
    Fixed(CachedCredentials),
    Uri(Address),
    Metadata(Metadata),
    Oidc(Oidc),
    External(Box<Program>),
    Login(Login),
    /// The metadata service, or else a credentials URI.
    Instance(Instance),
}

/// The metadata service where no other source is set, and what is asked after it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) metadata: Metadata,
    /// The credentials URI of the environment.
    pub(super) uri: Option<(Address, Source)>,
    /// What was looked at before.
    pub(super) looked_at: Vec<LookedAt>,
}

impl CredentialSource {
    pub(super) fn new(source: Source, kind: SourceKind) -> Self {
        Self { source, kind, roles: Vec::new() }
    }

    /// The same, exchanged for a role that a source asks for.
    pub(super) fn exchanged(mut self, role: Role, source: Source) -> Self {
        self.roles.push((role, source));
        self
    }

    pub(super) fn fixed(cached: CachedCredentials) -> Self {
        Self::new(cached.credentials.source().clone(), SourceKind::Fixed(cached))
    }

    /// Keys as they stand, which are not known to end.
    pub(super) fn of_keys(credentials: Credentials) -> Self {
        Self::fixed(CachedCredentials::fixed(credentials, None))
    }

    /// Where they come from: the profile, or the variables, that was found.
    pub fn source(&self) -> &Source {
        self.roles.last().map_or(&self.source, |(_, source)| source)
    }

    /// Where credentials have come from that it has led to, in words.
    pub fn source_of(&self, credentials: &Credentials) -> String {
        match self.source() {
            // Only the answer tells which of the two it was.
            Source::Instance => credentials.source().to_string(),
            _ => self.to_string(),
        }
    }

    /// What tells one account from another, as far as it is known before anybody is asked. Profiles of
    /// two files may have one name, and a profile may get other keys.
    pub fn account(&self) -> String {
        let base = match &self.kind {
            SourceKind::Fixed(cached) => cached.credentials.access_key_id(),
            SourceKind::Oidc(oidc) => &oidc.role.request.role_arn,
            SourceKind::Uri(_)
            | SourceKind::Metadata(_)
            | SourceKind::External(_)
            | SourceKind::Login(_)
            | SourceKind::Instance(_) => "",
        };
        let roles = self.roles.iter().map(|(role, _)| role.request.role_arn.as_str());
        let parts: Vec<_> = std::iter::once(base).chain(roles).collect();
        format!("{}: {}", self.source(), parts.join(" "))
    }

    /// Whether a program of the user's own is run for them, which may ask on the terminal.
    pub fn runs_a_program(&self) -> bool {
        matches!(self.kind, SourceKind::External(_))
    }

    /// The credentials, where they stand as they are.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.cached().map(|cached| &cached.credentials)
    }

    /// The credentials, where nobody has to be asked for them.
    pub(super) fn cached(&self) -> Option<&CachedCredentials> {
        match &self.kind {
            SourceKind::Fixed(cached) if self.roles.is_empty() => Some(cached),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn sts(&self) -> Option<&crate::endpoint::Endpoint> {
        self.exchange().map(|role| &role.sts)
    }

    #[cfg(test)]
    pub(super) fn login(&self) -> Option<&Login> {
        match &self.kind {
            SourceKind::Login(login) => Some(login),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn seconds(&self) -> Option<u64> {
        self.exchange().map(|role| role.request.seconds)
    }

    #[cfg(test)]
    fn exchange(&self) -> Option<&Role> {
        match &self.kind {
            SourceKind::Oidc(oidc) => Some(&oidc.role),
            _ => self.roles.last().map(|(role, _)| role),
        }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSource").field("source", self.source()).finish_non_exhaustive()
    }
}

impl fmt::Display for CredentialSource {
    /// Each source by the way, the last one first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.roles.iter().rev().map(|(_, source)| source).chain([&self.source]);
        let mut shown: Option<&Source> = None;
        for source in sources {
            match shown {
                None => write!(f, "{source}")?,
                // A profile that has its own keys for its role.
                Some(before) if before == source => {}
                Some(_) => write!(f, ", by way of {source}")?,
            }
            shown = Some(source);
        }
        Ok(())
    }
}
