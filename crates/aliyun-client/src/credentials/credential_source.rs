//! The source of credentials that a profile or the environment names. Nothing is sent yet.

use std::fmt;
use std::time::SystemTime;

use super::answer::Program;
use super::cached::CachedCredentials;
use super::context::FetchContext;
use super::error::Error;
use super::fetch::Address;
use super::keys::Credentials;
use super::login::Login;
use super::metadata::Metadata;
use super::oidc::{self, Oidc};
use super::role::{self, Role};
use super::source::Source;
use super::uri;

/// Listed last where nothing was found.
pub(super) const NO_URI: &str = "CREDENTIALS_URI with the same: not set";

/// The source of credentials. `Display` says where it was named.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialSource {
    source: Source,
    kind: SourceKind,
    /// What they are exchanged for, one after the other.
    roles: Vec<(Role, Source)>,
}

#[derive(Clone, PartialEq, Eq)]
enum SourceKind {
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
    pub(super) looked_at: Vec<String>,
}

impl Instance {
    /// Asks the metadata service, and where it has no credentials, the credentials URI.
    async fn ask(&self, context: &FetchContext) -> Result<CachedCredentials, Error> {
        let problem = match self.metadata.ask_briefly(&Source::Instance, &*context.http).await {
            Ok(cached) => return Ok(cached),
            Err(Error::Metadata { at, problem, .. }) => {
                format!("the metadata service at {at}: {problem}")
            }
            Err(other) => return Err(other),
        };
        tracing::debug!("no credentials from {problem}");
        if let Some((address, source)) = &self.uri {
            return uri::ask(address, source, &*context.http).await;
        }
        let rest = [problem, NO_URI.to_owned()];
        let looked_at = self.looked_at.iter().cloned().chain(rest).collect();
        Err(Error::None { looked_at })
    }
}

impl CredentialSource {
    fn new(source: Source, kind: SourceKind) -> Self {
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

    pub(super) fn uri(address: Address, source: Source) -> Self {
        Self::new(source, SourceKind::Uri(address))
    }

    pub(super) fn metadata(metadata: Metadata, source: Source) -> Self {
        Self::new(source, SourceKind::Metadata(metadata))
    }

    pub(super) fn oidc(oidc: Oidc, source: Source) -> Self {
        Self::new(source, SourceKind::Oidc(oidc))
    }

    pub(super) fn external(program: Program, source: Source) -> Self {
        Self::new(source, SourceKind::External(Box::new(program)))
    }

    pub(super) fn login(login: Login, source: Source) -> Self {
        Self::new(source, SourceKind::Login(login))
    }

    pub(super) fn instance(instance: Instance) -> Self {
        Self::new(Source::Instance, SourceKind::Instance(instance))
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
            SourceKind::Oidc(oidc) => &oidc.role.arn,
            SourceKind::Uri(_)
            | SourceKind::Metadata(_)
            | SourceKind::External(_)
            | SourceKind::Login(_)
            | SourceKind::Instance(_) => "",
        };
        let roles = self.roles.iter().map(|(role, _)| role.arn.as_str());
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
    pub(super) fn login_service(&self) -> Option<&super::login::Service> {
        match &self.kind {
            SourceKind::Login(login) => Some(&login.service),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn seconds(&self) -> Option<u64> {
        self.exchange().map(|role| role.seconds)
    }

    #[cfg(test)]
    fn exchange(&self) -> Option<&Role> {
        match &self.kind {
            SourceKind::Oidc(oidc) => Some(&oidc.role),
            _ => self.roles.last().map(|(role, _)| role),
        }
    }

    /// Fetches credentials from the source. `refused` are those that the service has found to be over:
    /// a login gets new ones in their place, although they say that they still hold.
    pub(super) async fn fetch(
        &self,
        context: &FetchContext,
        refused: Option<&Credentials>,
    ) -> Result<CachedCredentials, Error> {
        let mut source = &self.source;
        let based = match &self.kind {
            SourceKind::Fixed(cached) => fixed(cached, source),
            SourceKind::Uri(address) => uri::ask(address, source, &*context.http).await,
            SourceKind::Metadata(metadata) => metadata.ask(source, &*context.http).await,
            SourceKind::Oidc(oidc) => oidc::exchange(oidc, source, context).await,
            SourceKind::External(program) => program.ask(source, context).await,
            SourceKind::Login(login) => login.keys(source, context, refused).await,
            SourceKind::Instance(instance) => instance.ask(context).await,
        };
        let in_source_chain = |error: Error, source: &Source, left: &[(Role, Source)]| {
            let way = left.iter().rev().map(|(_, source)| source.clone()).collect();
            error.in_source_chain(way, source.clone())
        };
        let mut cached = based.map_err(|error| in_source_chain(error, source, &self.roles))?;
        for (at, (role, by)) in self.roles.iter().enumerate() {
            source = by;
            let assumed = role::assume(role, cached.credentials, source, context).await;
            cached =
                assumed.map_err(|error| in_source_chain(error, source, &self.roles[at + 1..]))?;
        }
        Ok(cached)
    }
}

/// Credentials that stand as they are, unless they have ended.
fn fixed(cached: &CachedCredentials, source: &Source) -> Result<CachedCredentials, Error> {
    let now = SystemTime::now();
    match cached.until {
        Some(at) if !cached.is_good(now) => Err(Error::Expired {
            source_of_it: Box::new(source.clone()),
            field: "sts_expiration",
            at,
            now,
        }),
        _ => Ok(cached.clone()),
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe").field("source", self.source()).finish_non_exhaustive()
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
