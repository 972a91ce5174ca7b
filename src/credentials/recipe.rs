//! How credentials are come by: what a profile or the environment asks for, and nothing sent yet.

use std::fmt;
use std::time::SystemTime;

use super::answer::Program;
use super::fetch::Address;
use super::lease::Lease;
use super::login::Login;
use super::metadata::Metadata;
use super::oidc::{self, Oidc};
use super::provider::Means;
use super::role::{self, Role};
use super::{Credentials, Error, Source, uri};

/// Listed last where nothing was found.
pub(super) const NO_URI: &str = "CREDENTIALS_URI with the same: not set";

/// How credentials are come by. `Display` says from where.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipe {
    source: Source,
    way: Way,
    /// What they are exchanged for, one after the other.
    roles: Vec<(Role, Source)>,
}

#[derive(Clone, PartialEq, Eq)]
enum Way {
    /// As they stand.
    Fixed(Lease),
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
    async fn ask(&self, means: &Means) -> Result<Lease, Error> {
        let problem = match self.metadata.ask_briefly(&Source::Instance, &means.net).await {
            Ok(lease) => return Ok(lease),
            Err(Error::Metadata { at, problem, .. }) => {
                format!("the metadata service at {at}: {problem}")
            }
            Err(other) => return Err(other),
        };
        tracing::debug!("no credentials from {problem}");
        if let Some((address, source)) = &self.uri {
            return uri::ask(address, source, &means.net).await;
        }
        let rest = [problem, NO_URI.to_owned()];
        let looked_at = self.looked_at.iter().cloned().chain(rest).collect();
        Err(Error::None { looked_at })
    }
}

impl Recipe {
    fn new(source: Source, way: Way) -> Self {
        Self { source, way, roles: Vec::new() }
    }

    /// The same, exchanged for a role that a source asks for.
    pub(super) fn exchanged(mut self, role: Role, source: Source) -> Self {
        self.roles.push((role, source));
        self
    }

    pub(super) fn fixed(lease: Lease) -> Self {
        Self::new(lease.credentials.source().clone(), Way::Fixed(lease))
    }

    pub(super) fn uri(address: Address, source: Source) -> Self {
        Self::new(source, Way::Uri(address))
    }

    pub(super) fn metadata(metadata: Metadata, source: Source) -> Self {
        Self::new(source, Way::Metadata(metadata))
    }

    pub(super) fn oidc(oidc: Oidc, source: Source) -> Self {
        Self::new(source, Way::Oidc(oidc))
    }

    pub(super) fn external(program: Program, source: Source) -> Self {
        Self::new(source, Way::External(Box::new(program)))
    }

    pub(super) fn login(login: Login, source: Source) -> Self {
        Self::new(source, Way::Login(login))
    }

    pub(super) fn instance(instance: Instance) -> Self {
        Self::new(Source::Instance, Way::Instance(instance))
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
        let base = match &self.way {
            Way::Fixed(lease) => lease.credentials.access_key_id(),
            Way::Oidc(oidc) => &oidc.role.arn,
            Way::Uri(_)
            | Way::Metadata(_)
            | Way::External(_)
            | Way::Login(_)
            | Way::Instance(_) => "",
        };
        let roles = self.roles.iter().map(|(role, _)| role.arn.as_str());
        let parts: Vec<_> = std::iter::once(base).chain(roles).collect();
        format!("{}: {}", self.source(), parts.join(" "))
    }

    /// Whether a program of the user's own is run for them, which may ask on the terminal.
    pub fn runs_a_program(&self) -> bool {
        matches!(self.way, Way::External(_))
    }

    /// The credentials, where nobody has to be asked for them.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.way {
            Way::Fixed(lease) if self.roles.is_empty() => Some(lease),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn sts(&self) -> Option<&crate::cloud::Endpoint> {
        self.exchange().map(|role| &role.sts)
    }

    #[cfg(test)]
    pub(super) fn login_service(&self) -> Option<&super::login::Service> {
        match &self.way {
            Way::Login(login) => Some(&login.service),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn seconds(&self) -> Option<u64> {
        self.exchange().map(|role| role.seconds)
    }

    #[cfg(test)]
    fn exchange(&self) -> Option<&Role> {
        match &self.way {
            Way::Oidc(oidc) => Some(&oidc.role),
            _ => self.roles.last().map(|(role, _)| role),
        }
    }

    /// Follows it.
    pub(super) async fn follow(&self, means: &Means) -> Result<Lease, Error> {
        let mut source = &self.source;
        let based = match &self.way {
            Way::Fixed(lease) => fixed(lease, source),
            Way::Uri(address) => uri::ask(address, source, &means.net).await,
            Way::Metadata(metadata) => metadata.ask(source, &means.net).await,
            Way::Oidc(oidc) => oidc::exchange(oidc, source, means).await,
            Way::External(program) => program.ask(source, means).await,
            Way::Login(login) => login.keys(source, &means.net).await,
            Way::Instance(instance) => instance.ask(means).await,
        };
        let on_the_way = |error: Error, source: &Source, left: &[(Role, Source)]| {
            let way = left.iter().rev().map(|(_, source)| source.clone()).collect();
            error.on_the_way(way, source.clone())
        };
        let mut lease = based.map_err(|error| on_the_way(error, source, &self.roles))?;
        for (at, (role, by)) in self.roles.iter().enumerate() {
            source = by;
            let assumed = role::assume(role, lease.credentials, source, means).await;
            lease = assumed.map_err(|error| on_the_way(error, source, &self.roles[at + 1..]))?;
        }
        Ok(lease)
    }
}

/// Credentials that stand as they are, unless they have ended.
fn fixed(lease: &Lease, source: &Source) -> Result<Lease, Error> {
    let now = SystemTime::now();
    match lease.until {
        Some(at) if !lease.is_good(now) => {
            Err(Error::Expired { source_of_it: source.clone(), field: "sts_expiration", at, now })
        }
        _ => Ok(lease.clone()),
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe").field("source", self.source()).finish_non_exhaustive()
    }
}

impl fmt::Display for Recipe {
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
